"""MNE in and out: units, positions, kinds and events are kept."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from bci.errors import DataError
from bci.signal.pieces import ROWS, fresh
from bci.signal.spatial import SpatialFilter
from bci.stream import Channel, Chunk, Event, Flag, Kind, StreamInfo
from bci.units import factor, is_voltage

if TYPE_CHECKING:
    import mne

    from bci.signal.chain import Chain

_TO_MNE = {
    Kind.EEG: "eeg", Kind.EOG: "eog", Kind.EMG: "emg", Kind.ECG: "ecg", Kind.GAZE: "eyegaze", Kind.TRIG: "stim",
    Kind.TEMP: "temperature", Kind.GSR: "gsr",
}  # fmt: skip
# Electrodes on and in the brain are of one kind here, as in the streams of LSL and XDF.
_FROM_MNE = {name: kind for kind, name in _TO_MNE.items()} | dict.fromkeys(("ecog", "seeg", "dbs"), Kind.EEG)
_VOLTS = {"eeg", "eog", "emg", "ecg", "ecog", "seeg", "dbs"}
_BLOCK = 1 << 17
"""How many numbers are converted at a time."""


def from_raw(
    raw: mne.io.BaseRaw,
    make: Callable[[tuple[int, int]], NDArray[np.float64]] = np.empty,
    spans: Sequence[tuple[int, int]] | None = None,
    progress: Callable[[float], None] = lambda _: None,
) -> tuple[NDArray[np.float64], StreamInfo, tuple[Event, ...]]:
    """Return samples, description and events of an MNE recording.

    Parameters
    ----------
    raw : mne.io.BaseRaw
        Any recording that MNE reads; one that is not loaded is read block by block, and no second copy is held.
    make : callable
        Makes the array for the samples, given its shape.
    spans : sequence of (int, int), optional
        First sample and the one after the last of what is read, one piece after the other; all by default.
    progress : callable
        Told how much is read, 0 to 1.

    Returns
    -------
    data : ndarray, shape (n_samples, n_channels)
        µV for EEG, EOG, EMG and ECG; what MNE holds for other kinds.
    info : StreamInfo
        Names, kinds and positions (m, head coordinates).
    events : tuple of Event
        The annotations, and what rises on the trigger channel (its code as text); times in s since the first sample.
    """
    info = describe_info(raw.info)
    spans = spans or [(0, raw.n_times)]
    data = make((sum(end - begin for begin, end in spans), info.n_channels))
    step = max(1, _BLOCK // info.n_channels)
    row = 0
    for begin, end in spans:
        for first in range(begin, end, step):
            last = min(first + step, end)
            np.multiply(raw[:, first:last][0].T, _scales(info), out=data[row : row + last - first])
            row += last - first
            progress(row / len(data))
    return data, info, _events(raw, info.sfreq)


def stream_raw(
    raw: mne.io.BaseRaw, gaps: str | Sequence[str] = (), progress: Callable[[float], None] = lambda _: None
) -> tuple[StreamInfo, Iterator[Chunk]]:
    """Return what an MNE recording is, and its samples as chunks, read block by block.

    Parameters
    ----------
    raw : mne.io.BaseRaw
        The recording.
    gaps : str or sequence of str
        What annotations begin with that stand for lost samples, as in "BAD": filters start anew behind them. One
        without duration ("BAD boundary", where recordings were joined) is a gap of unknown length. Those of single
        channels do not count.
    progress : callable
        Told how much was taken, 0 to 1.
    """
    info = describe_info(raw.info)
    return info, _chunks(raw, info, _spans(raw, (gaps,) if isinstance(gaps, str) else tuple(gaps)), progress)


def run_raw(
    chain: Chain,
    raw: mne.io.BaseRaw,
    gaps: str | Sequence[str] = (),
    progress: Callable[[float], None] = lambda _: None,
) -> mne.io.RawArray:
    """Return a recording as a chain would have made it live.

    Parameters
    ----------
    chain : Chain
        A copy of it runs.
    raw : mne.io.BaseRaw
        The recording.
    gaps : str or sequence of str
        See `stream_raw`; samples inside are NaN in what comes out.
    progress : callable
        Told how much is done, 0 to 1.

    Returns
    -------
    mne.io.RawArray
        In volts, with all annotations where they were; the signal is later by `chain.delay_s`, as it is live. What is
        no voltage any more (power, phase) is of type "misc".

    Raises
    ------
    DataError
        If nothing comes out.
    """
    info, chunks = stream_raw(raw, gaps, progress)
    ready = fresh(chain)
    out_info = ready.prepare(info)
    made = [chunk for chunk in map(ready.process, chunks) if chunk.n_samples]
    if not made:
        raise DataError(
            f"expected samples to come out of the chain, got none of {raw.n_times}; give a longer recording"
        )
    n_samples = max(made[-1].stop, int(raw.n_times * out_info.sfreq / info.sfreq + 1e-6))
    data = np.full((n_samples, out_info.n_channels), np.nan)
    for chunk in made:
        data[chunk.start : chunk.stop] = chunk.data
    return like_raw(data, out_info, raw)


def like_raw(data: NDArray[np.float64], info: StreamInfo, raw: mne.io.BaseRaw) -> mne.io.RawArray:
    """Return `data`, shape (n_samples, n_channels), with the date, the annotations and the bad channels of `raw`."""
    import mne

    kept = [
        replace(c, kind=Kind.MISC) if _TO_MNE.get(c.kind) in _VOLTS and not is_voltage(c.unit) else c
        for c in info.channels
    ]
    made = _raw_array(data, replace(info, channels=tuple(kept)), round(raw.first_samp * info.sfreq / raw.info["sfreq"]))
    made.info["bads"] = [name for name in raw.info["bads"] if name in made.ch_names]
    made.set_meas_date(raw.info["meas_date"])
    marks = raw.annotations
    onset = marks.onset - raw.first_samp / raw.info["sfreq"]
    made.set_annotations(mne.Annotations(onset, marks.duration, marks.description), verbose="error")
    return made


def to_raw(
    data: NDArray[Any] | Iterable[Chunk], info: StreamInfo | None = None, events: Sequence[Event] = ()
) -> mne.io.RawArray:
    """Return an MNE recording.

    Parameters
    ----------
    data : ndarray, shape (n_samples, n_channels), or iterable of Chunk
        Samples; chunks bring their own description and events. Lost samples
        between chunks become NaN with an annotation "BAD_gap".
    info : StreamInfo, optional
        What an array is.
    events : sequence of Event
        Become annotations.

    Raises
    ------
    DataError
        If an array comes without `info`, or there are no samples.
    """
    import mne

    gaps: list[tuple[int, int]] = []
    if not isinstance(data, np.ndarray):
        data, info, events, gaps = _join(list(data), events)
    if info is None or data.ndim != 2 or data.shape[1] != info.n_channels:
        raise DataError(f"to_raw needs samples of shape (n_samples, n_channels) and their StreamInfo, got {data.shape}")
    raw = _raw_array(data, info)
    marks = [(e.sample / info.sfreq, 0.0, e.code) for e in events]
    marks += [(first / info.sfreq, n / info.sfreq, "BAD_gap") for first, n in gaps]
    onset, duration, text = zip(*marks, strict=True) if marks else ((), (), ())
    raw.set_annotations(mne.Annotations(list(onset), list(duration), list(text)), verbose="error")
    return raw


def from_ica(ica: mne.preprocessing.ICA, exclude: Sequence[int] | None = None) -> SpatialFilter:
    """Return what an ICA of MNE does as a block.

    Parameters
    ----------
    ica : mne.preprocessing.ICA
        Fitted on EEG alone.
    exclude : sequence of int, optional
        Components that are taken out of the channels, such as blinks. Without it the block gives the components
        themselves, "ICA000" and so on.

    Raises
    ------
    DataError
        If the ICA is not fitted, or on other channels than EEG.

    Notes
    -----
    MNE subtracts the mean of its training data and, from channels, adds it again; here offsets pass as they are, so
    components differ by a constant: put a high-pass before it.
    """
    import mne

    names = list(ica.ch_names or [])
    kinds = {mne.channel_type(ica.info, k) for k in range(len(names))}
    if kinds != {"eeg"}:
        found = ", ".join(sorted(kinds)) or "one that is not fitted"
        raise DataError(f"expected an ICA that was fitted on EEG channels, got {found}; fit it with picks='eeg'")
    scale = 1e6 * np.ones(len(names)) * np.asarray(ica.pre_whitener_).reshape(-1)  # MNE counts in volts
    axes = ica.pca_components_[: ica.n_components_]
    unmixing = ica.unmixing_matrix_ @ axes / scale
    if exclude is None:
        return SpatialFilter(unmixing, [f"ICA{k:03d}" for k in range(len(unmixing))], names, unit="1")
    taken = list(exclude)
    back = scale[:, None] * (axes.T @ ica.mixing_matrix_)[:, taken]
    return SpatialFilter(np.eye(len(names)) - back @ unmixing[taken], names, names)


def places_of(montage: Any) -> dict[str, tuple[float, float, float]]:
    """Return where the electrodes of a montage are, m, head coordinates."""
    import mne

    names = list(montage.ch_names)
    info = mne.create_info(names, 1.0, "eeg", verbose="error").set_montage(montage, verbose="error")
    return {c.name: c.position for c in describe_info(info).channels if c.position}


def projection(projectors: Sequence[Any], names: list[str]) -> NDArray[np.float64]:
    """Return the matrix of projectors for the channels `names`, shape (n_channels, n_channels)."""
    import mne

    info = mne.create_info(names, 1.0, "eeg", verbose="error")
    raw = mne.io.RawArray(np.eye(len(names)), info, verbose="error")
    made = raw.add_proj([p.copy() for p in projectors], verbose="error").apply_proj(verbose="error")
    matrix: NDArray[np.float64] = made.get_data()
    return matrix


def default_taps(sfreq: float, low_hz: float, high_hz: float) -> NDArray[np.float64] | None:
    """Return the filter that MNE designs by default for a band; None where it passes everything."""
    import mne

    low, high = low_hz if low_hz > 0 else None, high_hz if 0 < high_hz < sfreq / 2 else None
    if low is None and high is None:
        return None
    taps: NDArray[np.float64] = mne.filter.create_filter(None, sfreq, low, high, verbose="error")
    return taps


def _raw_array(data: NDArray[Any], info: StreamInfo, first_samp: int = 0) -> mne.io.RawArray:
    import mne

    kinds = [_TO_MNE.get(c.kind, "misc") for c in info.channels]
    scale = [c.scale * (factor(c.unit, "V") if k in _VOLTS else 1.0) for c, k in zip(info.channels, kinds, strict=True)]
    made = mne.create_info(info.ch_names, info.sfreq, kinds, verbose="error")
    raw = mne.io.RawArray(data.T * np.array(scale)[:, None], made, first_samp, verbose="error")
    places = {c.name: c.position for c, k in zip(info.channels, kinds, strict=True) if k == "eeg" and c.position}
    if places:
        montage = mne.channels.make_dig_montage(places, coord_frame="head")
        raw.set_montage(montage, on_missing="ignore", verbose="error")
    return raw


def describe_info(info: Any) -> StreamInfo:
    """Return what an `mne.Info` is as a stream of chunks, which are in µV where MNE has volts."""
    import mne

    channels = []
    for k, entry in enumerate(info["chs"]):
        kind = mne.channel_type(info, k)
        where = np.asarray(entry["loc"][:3], dtype=float)
        known = kind in _VOLTS and np.isfinite(where).all() and where.any()
        position = (float(where[0]), float(where[1]), float(where[2])) if known else None
        unit = "uV" if kind in _VOLTS else ""
        channels.append(Channel(entry["ch_name"], _FROM_MNE.get(kind, Kind.MISC), unit, position))
    return StreamInfo("mne", float(info["sfreq"]), tuple(channels))


def _scales(info: StreamInfo) -> list[float]:
    """Return what MNE's numbers are multiplied with."""
    return [1e6 if c.unit == "uV" else 1.0 for c in info.channels]


def _chunks(
    raw: mne.io.BaseRaw,
    info: StreamInfo,
    spans: list[tuple[int, int]],
    progress: Callable[[float], None],
) -> Iterator[Chunk]:
    waiting = list(_events(raw, info.sfreq))
    for k, (first, end) in enumerate(spans):
        for begin in range(first, end, ROWS):
            stop = min(begin + ROWS, end)
            data = np.multiply(raw[:, begin:stop][0].T, _scales(info), order="C")
            due, waiting = [e for e in waiting if e.sample < stop], [e for e in waiting if e.sample >= stop]
            flags = Flag.GAP if begin == first and (k or first) else Flag.OK
            yield Chunk(data, np.arange(begin, stop) / info.sfreq, begin, info, tuple(due), flags)
            progress(stop / raw.n_times)


def _spans(raw: mne.io.BaseRaw, gaps: tuple[str, ...]) -> list[tuple[int, int]]:
    """Return the stretches between gaps, as first sample and the one after the last; none is empty."""
    marks, sfreq = raw.annotations, float(raw.info["sfreq"])
    lost = []
    for onset, duration, text, names in zip(
        marks.onset, marks.duration, marks.description, marks.ch_names, strict=True
    ):
        if gaps and not names and str(text).startswith(gaps):
            at_s = float(onset) - raw.first_samp / sfreq
            begin, end = (int(np.ceil(t * sfreq - 1e-3)) for t in (at_s, at_s + float(duration)))
            lost.append((max(begin, 0), min(end, raw.n_times)))
    spans, at = [], 0
    for begin, end in sorted(lost):
        if begin > at:
            spans.append((at, begin))
        at = max(at, end)
    return [*spans, *([(at, raw.n_times)] if at < raw.n_times else [])]


def _events(raw: mne.io.BaseRaw, sfreq: float) -> tuple[Event, ...]:
    first_s = raw.first_samp / sfreq  # MNE counts onsets from before the first sample of a cropped recording
    found = []
    for onset, text in zip(raw.annotations.onset, raw.annotations.description, strict=True):
        at_s = float(onset) - first_s
        found.append(Event(max(0, int(np.ceil(at_s * sfreq - 1e-3))), at_s, str(text), "annotations"))
    found += _triggers(raw, sfreq)
    return tuple(sorted((e for e in found if e.sample < raw.n_times), key=lambda e: e.sample))


def _triggers(raw: mne.io.BaseRaw, sfreq: float) -> list[Event]:
    """Return what rises on the trigger channel that MNE takes to be the one."""
    import mne

    if "stim" not in raw.get_channel_types():
        return []
    # The lower 16 bits are the triggers; BioSemi keeps its own state in those above.
    rises = mne.find_events(raw, shortest_event=1, uint_cast=True, mask=0xFFFF, mask_type="and", verbose="error")
    rows = [(int(sample) - raw.first_samp, int(code)) for sample, _, code in rises]
    return [Event(row, row / sfreq, str(code), "triggers") for row, code in rows]


def _join(
    chunks: list[Chunk], events: Sequence[Event]
) -> tuple[NDArray[np.float64], StreamInfo | None, list[Event], list[tuple[int, int]]]:
    filled = [c for c in chunks if c.n_samples]
    if not filled:
        raise DataError("to_raw needs at least one sample, got none")
    begin, end = filled[0].start, filled[-1].stop
    joined = np.full((end - begin, filled[0].info.n_channels), np.nan)
    gaps, at = [], begin
    for chunk in filled:
        if chunk.start > at:
            gaps.append((at - begin, chunk.start - at))
        joined[chunk.start - begin : chunk.stop - begin] = chunk.physical().data
        at = chunk.stop
    own = [Event(e.sample - begin, e.time, e.code, e.source) for c in chunks for e in c.events]
    return joined, filled[0].info.physical(), [*own, *events], gaps
