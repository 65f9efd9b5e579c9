"""What recordings hold: everything MNE reads, and XDF, in contiguous parts."""

from __future__ import annotations

import itertools
import json
import logging
import warnings
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bci.acquisition.montage import Entry, described
from bci.acquisition.recorder.quality import row_flags, sample_numbers
from bci.acquisition.recorder.recover import open_complete
from bci.acquisition.stamps import numbered
from bci.errors import DeviceNotFound, FormatError
from bci.interop import from_raw
from bci.stream import Event, Flag, StreamInfo, unknown

_log = logging.getLogger(__name__)

_MARKERS = ("marker", "event", "trigger", "stim")
"""Words in the name or type of a text stream that holds markers."""


class Part:
    """One contiguous piece of a recording.

    Parameters
    ----------
    data : ndarray, shape (n_samples, n_channels)
        Samples in the units of `info`.
    info : StreamInfo
        What they are.
    events : sequence of Event
        Their `sample` is a row of `data`.
    offset : int
        Number of the first row since the stream began, lost samples counted.
    lost : int
        Samples missing just before.
    flags : Flag
        What is known of all rows; GAP if the stream began anew here.
    """

    def __init__(
        self,
        data: NDArray[Any],
        info: StreamInfo,
        events: Sequence[Event] = (),
        offset: int = 0,
        lost: int = 0,
        flags: Flag = Flag.OK,
    ) -> None:
        self.data, self.info, self.offset, self.lost, self.flags = data, info, offset, lost, flags
        self.cause = "missing in the recording" if lost else ""
        self._events: list[Event] = []
        for event in events:
            self.add(event)

    @property
    def stop(self) -> int:
        """Number of the sample after the last."""
        return self.offset + len(self.data)

    @property
    def events(self) -> list[Event]:
        """All events, by row."""
        return self._events

    def add(self, event: Event) -> None:
        """Take one more event, of a row that is not before those of the others."""
        self._events.append(event)

    def between(self, first: int, last: int) -> list[Event]:
        """Return the events of the rows from `first` to before `last`."""
        begin, end = (bisect_left(self._events, row, key=lambda e: e.sample) for row in (first, last))
        return self._events[begin:end]


def load(path: Path, stream: str | None = None) -> list[Part]:
    """Return the parts of a recording, by time.

    Parameters
    ----------
    path : Path
        File (or folder, for formats that are one).
    stream : str, optional
        Name of the stream in an XDF file; the first with EEG by default.

    Raises
    ------
    DeviceNotFound
        If there is no such file.
    FormatError
        If the file is damaged or of an unknown format, or has no such stream.
    """
    if not path.exists():
        raise DeviceNotFound(f"expected a recording at {path}, there is no such file; check the path")
    is_file = path.is_file()
    try:
        begin = path.open("rb").read(8) if is_file else b""
    except OSError as error:
        raise FormatError(
            f"expected a recording at {path}, could not read it: {error.strerror}; check your rights to it"
        ) from error
    if is_file and not begin:
        raise FormatError(f"expected a recording at {path}, got an empty file; take another copy")
    if begin.startswith(b"XDF:"):  # whatever its name says
        return _load_xdf(path, stream)
    if path.suffix.lower() in (".xdf", ".xdfz") and not begin.startswith(b"\x1f\x8b"):
        raise FormatError(
            f"expected an XDF file at {path}, got {_resembles(begin)}; give it the name that fits, or take another copy"
        )
    return _load_xdf(path, stream) if path.suffix.lower() in (".xdf", ".xdfz") else [_load_mne(path, begin)]


def _resembles(begin: bytes) -> str:
    """Say what a file that begins so may be."""
    known = {b"0       ": "an EDF file", b"\xffBIOSEMI": "a BDF file", b"\x89PNG": "a picture", b"PK": "an archive"}
    found = [what for start, what in known.items() if begin.startswith(start)]
    return found[0] if found else f"something that begins with {begin!r}" if begin else "a folder"


def _load_mne(path: Path, begin: bytes) -> Part:
    import mne

    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            raw = mne.io.read_raw(path, preload=True, verbose="warning")
    except Exception as error:  # every reader of MNE raises what it likes for a damaged file
        why = " ".join(str(error).split()).rstrip(".") or type(error).__name__
        raise FormatError(
            f"expected a recording that MNE reads (EDF, BDF, FIF, BrainVision, ...) or XDF at {path}, got "
            f"{_resembles(begin)} ({why}); check or convert it"
        ) from error
    for warning in caught:
        if "file size" in str(warning.message):  # MNE goes on with what is there, which a person must know
            _log.warning("%s is incomplete: %s", path.name, " ".join(str(warning.message).split()))
    _name_positions(raw)
    data, info, events = from_raw(raw)
    info = replace(info, name=path.stem, source_id=path.name)
    return Part(data, info, sorted(events, key=lambda e: e.sample))


def _name_positions(raw: Any) -> None:
    """Give EEG channels their standard places, where the file has none but names say them ("Fc5." is FC5)."""
    import mne

    if any(np.any(np.nan_to_num(c["loc"][:3])) for c in raw.info["chs"]):
        return
    known = mne.channels.get_builtin_montages()  # MNE 1.13 renamed it
    montage = mne.channels.make_standard_montage("colin27_1005" if "colin27_1005" in known else "standard_1005")
    standard = {n.lower(): n for n in montage.ch_names}
    eeg = [n for n, k in zip(raw.ch_names, raw.get_channel_types(), strict=True) if k == "eeg"]
    clean = {n: standard.get(n.strip(". ").lower()) for n in eeg}
    if not eeg or sum(v is not None for v in clean.values()) < len(eeg) / 2:
        return
    raw.rename_channels({n: c for n, c in clean.items() if c is not None and n != c}, verbose="error")
    raw.set_montage(montage, on_missing="ignore", verbose="error")


def _load_xdf(path: Path, wanted: str | None) -> list[Part]:
    import pyxdf

    try:
        # The samples as they were stamped: smoothing would move them against their markers.
        with open_complete(path) as file:  # a recording that was killed ends with half a chunk
            streams, _ = pyxdf.load_xdf(file, synchronize_clocks=True, dejitter_timestamps=False, verbose=False)
    except Exception as error:
        raise FormatError(f"expected an XDF file at {path}, got: {error}; take another copy") from error
    found = {s["info"]["name"][0]: s for s in streams if s["info"]["channel_format"][0] != "string" and
             float(s["info"]["nominal_srate"][0]) > 0 and len(s["time_stamps"])}  # fmt: skip
    if wanted is not None and wanted not in found:
        raise FormatError(unknown("stream", wanted, found))
    eeg = [n for n, s in found.items() if (s["info"]["type"][0] or "").lower() == "eeg"]
    name = wanted or next(iter(eeg or found), None)
    if name is None:
        raise FormatError(f"expected a stream of samples in {path.name}, it has none; choose another recording")
    texts = [s for s in streams if s["info"]["channel_format"][0] == "string" and len(s["time_stamps"])]
    return _xdf_parts(found[name], texts, path)


def _xdf_parts(stream: Any, texts: list[Any], path: Path) -> list[Part]:
    scale, info = _xdf_info(stream, path)
    times, data = np.asarray(stream["time_stamps"], dtype=np.float64), np.asarray(stream["time_series"])
    if scale is not None:
        data = data * scale
    lines = [str(v[0]) for s in texts if s["info"]["name"][0] == f"{info.name}-quality" for v in s["time_series"]]
    if lines:  # a recording of ours knows the number of every sample, and what was wrong with it
        numbers, flags = sample_numbers(lines, len(times)), row_flags(lines, len(times))
        noted = [json.loads(line) for line in lines]
        marks = [(int(n["sample"]), str(n["event"]), str(n["source"])) for n in noted if "event" in n]
    else:
        numbers, flags = numbered(times, info.sfreq), np.zeros(len(times), np.int64)
        marks = _foreign_marks(times, numbers, texts, info.sfreq)
    parts = _cut(data, info, numbers, flags)
    for number, code, source in sorted(marks):
        # An event inside a gap goes to the first sample after it, one after the end to the last sample.
        part = next((p for p in parts if number < p.stop), parts[-1])
        part.add(Event(min(max(number - part.offset, 0), len(part.data) - 1), 0.0, code, source))
    return parts


def _cut(data: NDArray[Any], info: StreamInfo, numbers: NDArray[np.int64], flags: NDArray[np.int64]) -> list[Part]:
    """Return the contiguous pieces of a stream, each with one set of flags."""
    anew = (flags & int(Flag.GAP)) != 0
    # Silence is no property of samples, and what is unknown shows by itself.
    lasting = flags & ~int(Flag.GAP | Flag.SILENT | Flag.NAN)
    edge = (np.diff(numbers) != 1) | (np.diff(lasting) != 0) | anew[1:]
    edges = [0, *(np.flatnonzero(edge) + 1), len(data)]
    parts = []
    expected = 0
    for first, last in itertools.pairwise(edges):
        begun = Flag.GAP if anew[first] else Flag.OK
        offset = int(numbers[first])
        parts.append(Part(data[first:last], info, (), offset, offset - expected, Flag(int(lasting[first])) | begun))
        expected = parts[-1].stop
    return parts


def _foreign_marks(
    times: NDArray[np.float64], numbers: NDArray[np.int64], texts: list[Any], sfreq: float
) -> list[tuple[int, str, str]]:
    """Return (sample number, code, source) of the markers of a recording that is not ours."""
    marks = []
    for stream in texts:
        name = stream["info"]["name"][0]
        says = f"{name} {stream['info']['type'][0]}".lower()
        if not any(word in says for word in _MARKERS):
            continue
        for time_s, value in zip(stream["time_stamps"], stream["time_series"], strict=True):
            row = int(np.searchsorted(times, time_s - 1e-3 / sfreq))
            if row < len(times):
                marks.append((int(numbers[row]), str(value[0]), name))
    return marks


def _xdf_info(stream: Any, path: Path) -> tuple[NDArray[np.float64] | None, StreamInfo]:
    """Return what converts the samples to µV (None: nothing) and the description of the stream."""
    head = stream["info"]
    try:
        nodes = head["desc"][0]["channels"][0]["channel"]
    except (KeyError, TypeError, IndexError):
        nodes = []
    nodes = [*nodes, *[{}] * int(head["channel_count"][0])][: int(head["channel_count"][0])]
    scale, channels = described([_entry(node) for node in nodes], head["type"][0] or "eeg")
    return scale, StreamInfo(head["name"][0], float(head["nominal_srate"][0]), channels, path.name)


def _entry(node: Any) -> Entry:
    def text(*path: str) -> str:
        at = node
        for key in path:
            at = at.get(key, [None])[0] if hasattr(at, "get") else None
        return at if isinstance(at, str) else ""

    return text
