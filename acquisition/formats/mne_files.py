"""Recordings that MNE reads: GDF, BrainVision, EEGLAB, FIF, CNT and many more."""

from __future__ import annotations

import functools
import warnings
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bci.acquisition.formats.found import Cut, Found, Room, Settings
from bci.acquisition.formats.plausible import check, in_short, resembles
from bci.errors import FormatError
from bci.interop import from_raw
from bci.stream import Event, Flag, StreamInfo

_BREAKS = {"boundary": "cut out of the recording", "New Segment/": "the recording was paused"}
"""Annotations (EEGLAB, BrainVision) at whose place samples are missing; a filter must not run across."""


def prepare() -> None:
    """Import what takes long."""
    from mne.io import read_raw_brainvision, read_raw_cnt, read_raw_eeglab, read_raw_fif, read_raw_gdf

    _ = (read_raw_brainvision, read_raw_cnt, read_raw_eeglab, read_raw_fif, read_raw_gdf)
    _montage()


def read(path: Path, settings: Settings, room: Room) -> Found:
    """Read a recording with MNE.

    Raises
    ------
    FormatError
        If MNE cannot read it.
    """
    import mne

    check(path)
    if path.suffix.lower() == ".mat":  # MNE takes all of them for FieldTrip, and fails within
        raise FormatError(
            f"expected a recording at {path}, got a MATLAB file, which has no agreed place for samples and rate; save "
            f"them as .npz with data (n_samples, n_channels), sfreq and ch_names, or as .csv",
            where="byte 0",
        )
    if path.suffix.lower() == ".set":
        room.library("scipy.io")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            raw = mne.io.read_raw(path, preload=False, verbose="warning")
            _name_positions(raw)
            spans = _spans(raw)
            if np.ptp(raw._raw_extras[0].get("n_samps", [0])):
                room.library("scipy.signal")
                data, info, events = _by_channel(raw, spans, room)
            else:
                data, info, events = from_raw(raw, room.array, spans, room.progress)
        except (MemoryError, FormatError):
            raise
        except Exception as error:  # every reader of MNE raises what it likes for a damaged file
            begin = path.open("rb").read(8) if path.is_file() else b""
            raise FormatError(
                f"expected a recording that MNE reads (FIF, GDF, BrainVision, EEGLAB, ...) at {path}, got "
                f"{resembles(begin)} that it does not ({in_short(error)}); take another copy, or convert it"
            ) from error
    for warning in caught:
        if "file size" in str(warning.message):  # MNE goes on with what is there, which a person must know
            room.warn(f"{path.name} is incomplete: {' '.join(str(warning.message).split())}")
    if not len(data):
        raise FormatError(f"expected samples in {path}, it has none; take another copy", readable="the header")
    info = replace(info, name="")
    if len(spans) > 1:
        return Found(data, info, _moved(events, spans), _spans_cuts(spans))
    return Found(data, info, events, _cuts(raw))


def _by_channel(
    raw: Any, spans: list[tuple[int, int]], room: Room
) -> tuple[NDArray[np.float64], StreamInfo, Sequence[Event]]:
    """Read one whole channel after the other: MNE smooths those of a lower rate, which must not be cut for that."""
    _, info, events = from_raw(raw, spans=[(0, 0)])
    data = room.array((sum(end - begin for begin, end in spans), info.n_channels))
    for k, channel in enumerate(info.channels):
        values = raw[k][0][0]
        row = 0
        for begin, end in spans:
            scale = 1e6 if channel.unit == "uV" else 1.0
            np.multiply(values[begin:end], scale, out=data[row : row + end - begin, k])
            row += end - begin
        room.progress((k + 1) / info.n_channels)
    return data, info, events


def _spans(raw: Any) -> list[tuple[int, int]]:
    """Return what of a FIF file was recorded; MNE fills the rest, which was skipped, with zeros."""
    sfreq = raw.info["sfreq"]
    spans = [(0, int(raw.n_times))]
    for note in sorted(raw.annotations, key=lambda n: n["onset"]):
        if note["description"] == "BAD_ACQ_SKIP":
            first = round(note["onset"] * sfreq) - raw.first_samp
            begin, end = spans.pop()
            spans += [(begin, min(first, end)), (min(first + round(note["duration"] * sfreq), end), end)]
    return [(begin, end) for begin, end in spans if end > begin]


def _spans_cuts(spans: list[tuple[int, int]]) -> list[Cut]:
    cuts, row = [], 0
    for (begin, end), before in zip(spans, [0, *(end for _, end in spans)], strict=False):
        cuts.append(Cut(row, begin, begin - before, Flag.OK, "not recorded" if begin > before else ""))
        row += end - begin
    return cuts


def _moved(events: Sequence[Event], spans: list[tuple[int, int]]) -> list[Event]:
    """Return events of the whole time axis at rows of what was recorded; one in a skip goes to the first row after."""
    starts = np.array([begin for begin, _ in spans])
    rows = np.cumsum([0, *(end - begin for begin, end in spans)])
    moved = []
    for event in events:
        k = max(0, int(np.searchsorted(starts, event.sample, side="right")) - 1)
        row = int(rows[k]) + min(max(0, event.sample - int(starts[k])), spans[k][1] - spans[k][0])
        moved.append(replace(event, sample=min(row, int(rows[-1]) - 1)))
    return [e for e in moved if e.code != "BAD_ACQ_SKIP"]


def _cuts(raw: Any) -> list[Cut]:
    """Return where the contiguous pieces begin."""
    cuts = [Cut(0, 0)]
    sfreq = raw.info["sfreq"]
    shift = 0
    notes = raw.annotations
    for onset, duration, text in zip(notes.onset, notes.duration, notes.description, strict=True):
        row = round((onset - raw.first_samp / sfreq) * sfreq)
        cause = _BREAKS.get(str(text))
        if cause and cuts[-1].row < row < raw.n_times:
            # EEGLAB says how much it cut out; of a pause at least one sample is missing.
            lost = max(1, round(duration * sfreq)) if text == "boundary" else 1
            shift += lost
            cuts.append(Cut(row, row + shift, lost, Flag.OK, cause))
    return cuts


def _name_positions(raw: Any) -> None:
    """Give EEG channels their standard places, where the file has none but names say them ("Fc5." is FC5)."""
    if any(np.any(np.nan_to_num(c["loc"][:3])) for c in raw.info["chs"]):
        return
    eeg = [n for n, k in zip(raw.ch_names, raw.get_channel_types(), strict=True) if k == "eeg"]
    clean = standard_names(eeg)
    if not clean:
        return
    raw.rename_channels({n: c for n, c in clean.items() if n != c}, verbose="error")
    raw.set_montage(_montage(), on_missing="ignore", verbose="error")


def standard_names(names: list[str]) -> dict[str, str]:
    """Return the standard (10-05) names of electrodes; none if fewer than half have one."""
    standard = {n.lower(): n for n in _montage().ch_names}
    clean = {n: standard.get(n.strip(". ").lower()) for n in names}
    found = {n: c for n, c in clean.items() if c is not None}
    return found if names and len(found) >= len(names) / 2 else {}


@functools.cache
def _montage() -> Any:
    import mne

    known = mne.channels.get_builtin_montages()  # MNE 1.13 renamed it
    return mne.channels.make_standard_montage("colin27_1005" if "colin27_1005" in known else "standard_1005")


@functools.cache
def standard_places() -> dict[str, tuple[float, float, float]]:
    """Return where the standard electrodes are, m, in the frame that MNE gives them in a recording."""
    import mne

    montage = _montage()
    info = mne.create_info(montage.ch_names, 1.0, "eeg", verbose="error").set_montage(montage, verbose="error")
    return {c["ch_name"]: _triple(c["loc"]) for c in info["chs"]}


def _triple(place: NDArray[np.float64]) -> tuple[float, float, float]:
    return float(place[0]), float(place[1]), float(place[2])
