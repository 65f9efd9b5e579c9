"""MNE in and out: units, positions, kinds and events are kept."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from bci.errors import DataError
from bci.signal.spatial import SpatialFilter
from bci.stream import Channel, Chunk, Event, Kind, StreamInfo
from bci.units import factor

if TYPE_CHECKING:
    import mne

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
    kinds = raw.get_channel_types()
    channels, scales = [], []
    for name, kind, entry in zip(raw.ch_names, kinds, raw.info["chs"], strict=True):
        in_volts = kind in _VOLTS
        where = np.asarray(entry["loc"][:3], dtype=float)
        known = in_volts and np.isfinite(where).all() and where.any()
        position = (float(where[0]), float(where[1]), float(where[2])) if known else None
        channels.append(Channel(name, _FROM_MNE.get(kind, Kind.MISC), "uV" if in_volts else "", position))
        scales.append(1e6 if in_volts else 1.0)
    sfreq = float(raw.info["sfreq"])
    info = StreamInfo("mne", sfreq, tuple(channels))
    spans = spans or [(0, raw.n_times)]
    data = make((sum(end - begin for begin, end in spans), len(channels)))
    step = max(1, _BLOCK // max(1, len(channels)))
    row = 0
    for begin, end in spans:
        for first in range(begin, end, step):
            last = min(first + step, end)
            np.multiply(raw[:, first:last][0].T, scales, out=data[row : row + last - first])
            row += last - first
            progress(row / len(data))
    return data, info, _events(raw, sfreq)


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
    kinds = [_TO_MNE.get(c.kind, "misc") for c in info.channels]
    scale = [c.scale * (factor(c.unit, "V") if k in _VOLTS else 1.0) for c, k in zip(info.channels, kinds, strict=True)]
    made = mne.create_info(info.ch_names, info.sfreq, kinds, verbose="error")
    raw = mne.io.RawArray(data.T * np.array(scale)[:, None], made, verbose="error")
    places = {c.name: c.position for c, k in zip(info.channels, kinds, strict=True) if k == "eeg" and c.position}
    if places:
        montage = mne.channels.make_dig_montage(places, coord_frame="head")
        raw.set_montage(montage, on_missing="ignore", verbose="error")
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
