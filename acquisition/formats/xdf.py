"""XDF: several streams, chosen by name, with their losses, clock resets and markers."""

from __future__ import annotations

import contextlib
import gzip
import io
import itertools
import json
import logging
import mmap
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bci.acquisition.codes import event_code
from bci.acquisition.formats.found import Cut, Found, Room, Settings, copy_rows
from bci.acquisition.formats.xdf_chunks import Joined, Survey, survey
from bci.acquisition.montage import described, xdf_entry
from bci.acquisition.recorder.quality import row_flags, sample_numbers
from bci.acquisition.recorder.rejoin import Rejoined
from bci.acquisition.recorder.xdf_blocks import Block
from bci.acquisition.stamps import numbered
from bci.errors import FormatError
from bci.signal.contact import KEY, noted
from bci.stream import Event, Flag, StreamInfo, unknown

_MARKERS = ("marker", "event", "trigger", "stim")
"""Words in the name or type of a stream of numbers at irregular times that holds markers."""
_OWN_TEXT, _OWN_MARKERS = "Text", "Markers"
"""Types of the text streams that the recorder writes: what it notes of itself is no marker."""

_YEAR_S = 3.2e7
"""No two samples of one recording are further apart, s."""


def prepare() -> None:
    """Import what takes long."""
    import pyxdf  # noqa: F401

    logging.getLogger("pyxdf").disabled = True  # what it would say is checked here


def read(path: Path, settings: Settings, room: Room) -> Found:
    """Read one stream of an XDF file, and the markers.

    Raises
    ------
    FormatError
        If the file is damaged (a half chunk at its end is left out, and said), or has no such stream.
    """
    import pyxdf

    content = _content(path)
    if bytes(content[:4]) != b"XDF:":
        raise FormatError(
            f"expected an XDF file at {path}, got {bytes(content[:4])!r}; take another copy", where="byte 0"
        )
    chunks = survey(content)
    _judge(chunks, path, settings.salvage, room)
    room.progress(0.1)
    file = io.BufferedReader(Joined(_pieces(content, chunks)), 1 << 16)
    # The samples as they were stamped: smoothing would move them against their markers.
    streams, _ = pyxdf.load_xdf(file, synchronize_clocks=True, dejitter_timestamps=False, verbose=None)
    room.progress(0.8)
    stream = _chosen(streams, settings.stream, path, room)
    texts = [s for s in streams if len(s["time_stamps"]) and s is not stream and (
        s["info"]["channel_format"][0] == "string" or _has_marker_word(s))]  # fmt: skip
    _say_unread(streams, texts, stream, path, room)
    return _found(stream, texts, path, settings.salvage, room)


def _content(path: Path) -> memoryview:
    with path.open("rb") as file:
        if file.read(2) == b"\x1f\x8b":
            try:
                return memoryview(gzip.decompress(path.read_bytes()))
            except (OSError, EOFError) as error:
                raise FormatError(
                    f"expected a compressed XDF file at {path}, got: {error}; take another copy"
                ) from error
        return memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))


def _pieces(content: memoryview, chunks: Survey) -> list[bytes | memoryview]:
    """Return what is to be read: the file up to where it was cut, or, of a damaged one, what a repair would keep."""
    if not chunks.damage:
        return [content[first:last] for first, last in chunks.spans]
    pieces: list[bytes | memoryview] = []
    run = (0, 0)
    for part in Rejoined(content, chunks.spans).parts():
        if isinstance(part, Block) and part.offset == run[1]:
            run = (run[0], part.stop)
            continue
        pieces.append(content[run[0] : run[1]])
        run = (part.offset, part.stop) if isinstance(part, Block) else (0, 0)
        if isinstance(part, bytes):
            pieces.append(part)
    return [*pieces, content[run[0] : run[1]]]


def _judge(chunks: Survey, path: Path, salvage: bool, room: Room) -> None:
    """Say what is cut off; refuse what is damaged, unless it is to be salvaged."""
    if chunks.cut:
        room.warn(f"{path.name} ends within a chunk; its last {chunks.cut} bytes are left out")
    if not chunks.damage:
        return
    first = chunks.damage[0]
    readable = f"{chunks.n_samples} samples of all its streams"
    if not salvage:
        raise FormatError(
            f"expected whole chunks in the XDF file {path}, got at byte {first.at} {first.what}; {readable} can "
            f"still be read with salvage=True, or from the copy that `bci recording repair` writes",
            where=f"byte {first.at}", readable=readable,
        )  # fmt: skip
    places = ", ".join(f"{hurt.at} to {hurt.at + hurt.length - 1}" for hurt in chunks.damage[:10])
    room.warn(f"{path.name} is damaged at {len(chunks.damage)} places (bytes {places}); read are {readable}")


def _name(stream: Mapping[str, Any]) -> str:
    return str(_text(stream["info"], "name"))


def _text(info: Mapping[str, Any], key: str) -> str:
    got = (info.get(key) or [""])[0]
    return got if isinstance(got, str) else ""


def _chosen(streams: list[Any], wanted: str | None, path: Path, room: Room) -> Any:
    """Return the stream of samples called `wanted`, or the first with EEG."""
    signals = [s for s in streams if s["info"]["channel_format"][0] != "string" and
               float(s["info"]["nominal_srate"][0]) > 0 and len(s["time_stamps"])]  # fmt: skip
    names = [_name(s) for s in signals]
    # Of several with one name each also has the number that the file gives it.
    named = {
        n if names.count(n) == 1 else f"{n}#{s['info']['stream_id']}": s for n, s in zip(names, signals, strict=True)
    }
    if wanted is not None and wanted not in named:
        raise FormatError(unknown("stream", wanted, named), readable=", ".join(named))
    eeg = [n for n, s in named.items() if _text(s["info"], "type").lower() == "eeg"]
    name = wanted or next(iter(eeg or named), None)
    if name is None:
        raise FormatError(f"expected a stream of samples in {path.name}, it has none; choose another recording")
    if wanted is None and len(eeg or named) > 1:
        room.warn(f"{path.name} holds several streams, {', '.join(named)}; {name} is taken, stream=NAME takes another")
    return named[name]


def _has_marker_word(stream: Any) -> bool:
    """Whether a stream of numbers at irregular times says that they are markers; of text all are."""
    said = f"{_name(stream)} {_text(stream['info'], 'type')}".lower()
    return float(stream["info"]["nominal_srate"][0]) == 0 and any(word in said for word in _MARKERS)


def _say_unread(streams: list[Any], texts: list[Any], chosen: Any, path: Path, room: Room) -> None:
    """Name the streams that are neither samples that can be chosen nor markers."""
    taken = {id(s) for s in (chosen, *texts)}
    for stream in streams:
        n = len(stream["time_stamps"])
        if n and id(stream) not in taken and float(stream["info"]["nominal_srate"][0]) == 0:
            kind = _text(stream["info"], "type") or "none"
            room.warn(
                f"{path.name}: {_name(stream)} (type {kind}) holds {n} numbers at irregular times, which are neither "
                f"played nor taken for markers; those have {', '.join(_MARKERS)} in their name or type"
            )


def _found(stream: Any, texts: list[Any], path: Path, salvage: bool, room: Room) -> Found:
    scale, info = _xdf_info(stream)
    times, data = np.asarray(stream["time_stamps"], dtype=np.float64), np.asarray(stream["time_series"])
    times, data = _plausible(times, data, path, salvage, room)
    room_for = room.array(data.shape, data.dtype if scale is None else np.float64)
    copy_rows(room_for, len(data), lambda a, b: data[a:b] if scale is None else data[a:b] * scale, room)
    lines = [str(v[0]) for s in texts if _name(s) == f"{info.name}-quality" for v in s["time_series"]]
    if lines:  # a recording of ours knows the number of every sample, and what was wrong with it
        numbers, flags = sample_numbers(lines, len(times)), row_flags(lines, len(times))
    else:
        numbers, flags = numbered(times, info.sfreq), np.zeros(len(times), np.int64)
    noted = [json.loads(line) for line in lines]
    marks = [(int(n["sample"]), str(n["event"]), str(n["source"])) for n in noted if "event" in n]
    marks = marks if lines else _foreign_marks(times, numbers, texts, info.sfreq)
    return Found(room_for, info, _events(marks, numbers), _cuts(numbers, flags))


def _plausible(
    times: NDArray[np.float64], data: NDArray[Any], path: Path, salvage: bool, room: Room
) -> tuple[NDArray[np.float64], NDArray[Any]]:
    """Refuse, or leave out, samples whose time cannot be."""
    usual = float(np.nanmedian(times))
    good = np.abs(times - usual) < _YEAR_S
    if good.all():
        return times, data
    n, first = int((~good).sum()), int(np.argmin(good))
    if not salvage or not good.any():
        raise FormatError(
            f"expected times in the XDF file {path}, got {times[first]} s for sample {first}, and {n} like it; "
            f"read the others with salvage=True, or take another copy",
            where=f"sample {first}", readable=f"{len(times) - n} samples",
        )  # fmt: skip
    room.warn(f"{path.name}: {n} samples with impossible times are left out, the first of them sample {first}")
    return times[good], data[good]


def _events(marks: list[tuple[int, str, str]], numbers: NDArray[np.int64]) -> list[Event]:
    events = []
    for number, code, source in sorted(marks):
        # An event inside a gap goes to the first sample after it, one after the end to the last sample.
        row = int(np.searchsorted(numbers, number))
        events.append(Event(min(row, len(numbers) - 1), 0.0, code, source))
    return events


def _cuts(numbers: NDArray[np.int64], flags: NDArray[np.int64]) -> list[Cut]:
    """Return the contiguous pieces of a stream, each with one set of flags."""
    anew = (flags & int(Flag.GAP)) != 0
    # Silence is no property of samples, and what is unknown shows by itself.
    lasting = flags & ~int(Flag.GAP | Flag.SILENT | Flag.NAN)
    edge = (np.diff(numbers) != 1) | (np.diff(lasting) != 0) | anew[1:]
    edges = [0, *(np.flatnonzero(edge) + 1).tolist(), len(numbers)]
    cuts = []
    expected = 0
    for first, last in itertools.pairwise(edges):
        begun = Flag.GAP if anew[first] else Flag.OK
        offset = int(numbers[first])
        cuts.append(Cut(first, offset, offset - expected, Flag(int(lasting[first])) | begun))
        expected = offset + last - first
    return cuts


def _foreign_marks(
    times: NDArray[np.float64], numbers: NDArray[np.int64], texts: list[Any], sfreq: float
) -> list[tuple[int, str, str]]:
    """Return (sample number, code, source) of the markers of a recording that is not ours."""
    marks = []
    is_ours = any(_name(s) == "Config" and _text(s["info"], "type") == _OWN_TEXT for s in texts)
    for stream in texts:
        name = _name(stream)
        if is_ours and _text(stream["info"], "type") != _OWN_MARKERS:
            continue
        for time_s, value in zip(stream["time_stamps"], stream["time_series"], strict=True):
            # As in recordings of ours, what came after the last sample stands at it.
            row = min(int(np.searchsorted(times, time_s - 1e-3 / sfreq)), len(times) - 1)
            marks.append((int(numbers[row]), event_code(value), name))
    return marks


def _xdf_info(stream: Any) -> tuple[NDArray[np.float64] | None, StreamInfo]:
    """Return what converts the samples to µV (None: nothing) and the description of the stream."""
    head = stream["info"]
    n_channels = stream["time_series"].shape[1]
    try:
        nodes = head["desc"][0]["channels"][0]["channel"]
    except (KeyError, TypeError, IndexError):
        nodes = []
    nodes = [*nodes, *[{}] * n_channels][:n_channels]
    entries = [xdf_entry(node) for node in nodes]
    scale, channels = described(entries, _text(head, "type") or "eeg")
    info = StreamInfo(_name(stream), float(head["nominal_srate"][0]), channels)
    contacts = {}
    for channel, entry in zip(channels, entries, strict=True):
        with contextlib.suppress(ValueError):  # "" where none was measured
            contacts[channel.name] = float(entry(KEY))
    return scale, noted(info, contacts)
