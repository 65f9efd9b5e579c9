"""The chunks of an XDF file, each checked before anything relies on it."""

from __future__ import annotations

import io
import struct
from collections.abc import Sequence
from dataclasses import dataclass, field
from math import isfinite
from xml.etree.ElementTree import Element, ParseError, fromstring

import numpy as np

from bci.acquisition.recorder.xdf_blocks import (
    BOUNDARY,
    BOUNDARY_MARK,
    CLOCK_OFFSET,
    FILE_HEADER,
    SAMPLES,
    STREAM_FOOTER,
    STREAM_HEADER,
)

_SIZES = {"float32": 4, "double64": 8, "int8": 1, "int16": 2, "int32": 4, "int64": 8, "string": 0}


class DamagedError(Exception):
    """A chunk does not hold what it must."""


@dataclass(slots=True)
class Survey:
    """Which bytes of a file are whole chunks.

    Parameters
    ----------
    spans : list of (int, int)
        First byte and the one after the last, of runs of whole chunks.
    damage : list of (int, str)
        Byte and what is wrong there.
    cut : int
        Bytes of a half chunk at the end; a recording that was killed has one.
    n_samples : int
        Samples in the whole chunks, of all streams.
    """

    spans: list[tuple[int, int]] = field(default_factory=list)
    damage: list[tuple[int, str]] = field(default_factory=list)
    cut: int = 0
    n_samples: int = 0


def survey(content: bytes | memoryview) -> Survey:
    """Walk through all chunks of a file that begins with "XDF:"; no chunk is believed to be longer than the file."""
    found = Survey([(0, 4)])
    streams: dict[int, tuple[int, int]] = {}
    at = 4
    while at < len(content):
        try:
            begin, end = _frame(content, at)
            found.n_samples += _check(content, begin, end, streams)
        except DamagedError as error:
            again = _again(content, at)
            if again is None and _is_cut(content, at):
                found.cut = len(content) - at
                return found
            found.damage.append((at, str(error)))
            if again is None:
                return found
            at = again
            found.spans.append((at, at))
            continue
        found.spans[-1] = (found.spans[-1][0], end)
        at = end
    return found


class Spans(io.RawIOBase):
    """Some spans of bytes, read as one file."""

    def __init__(self, content: bytes | memoryview, spans: Sequence[tuple[int, int]]) -> None:
        self._content, self._spans = memoryview(content), [s for s in spans if s[1] > s[0]]
        self._starts = np.cumsum([0, *(last - first for first, last in self._spans)])
        self._at = 0

    def readinto(self, buffer: bytearray | memoryview, /) -> int:  # type: ignore[override]  # any writable buffer
        """Read the next bytes; return how many."""
        which = int(np.searchsorted(self._starts, self._at, side="right")) - 1
        if which >= len(self._spans):
            return 0
        first, last = self._spans[which]
        begin = first + self._at - int(self._starts[which])
        n = min(len(buffer), last - begin)
        memoryview(buffer)[:n] = self._content[begin : begin + n]
        self._at += n
        return n

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        """Go to a byte of the joined spans."""
        self._at = offset + (0, self._at, int(self._starts[-1]))[whence]
        return self._at

    def tell(self) -> int:
        """Return where the next byte is read."""
        return self._at

    def readable(self) -> bool:
        """Return True."""
        return True

    def seekable(self) -> bool:
        """Return True."""
        return True


def _frame(content: bytes | memoryview, at: int) -> tuple[int, int]:
    """Return where the content of the chunk at `at` begins (its tag) and ends."""
    begin, n = _length(content, at, len(content))
    if n < 2 or begin + n > len(content):
        raise DamagedError(f"a chunk of {n} bytes where {len(content) - begin} are left")
    return begin, begin + n


def _is_cut(content: bytes | memoryview, at: int) -> bool:
    """Whether the file just ends here: a chunk with a tag that there is, longer than the rest; or zeros."""
    rest = bytes(content[at : at + 16])
    if len(content) - at < 11 or not any(bytes(content[at:])):
        return True
    n = rest[0]
    if n not in (1, 4, 8):
        return False
    length = int.from_bytes(rest[1 : 1 + n], "little")
    tag = int.from_bytes(rest[1 + n : 3 + n], "little")
    return at + 1 + n + length > len(content) and tag in range(1, 7) and length < 1 << 30


def _length(content: bytes | memoryview, at: int, end: int) -> tuple[int, int]:
    """Return where a number of variable length ends, and the number."""
    n = content[at] if at < end else 0
    if n not in (1, 4, 8) or at + 1 + n > end:
        raise DamagedError(f"a length of {n} bytes, where 1, 4 or 8 are possible")
    return at + 1 + n, int.from_bytes(content[at + 1 : at + 1 + n], "little")


def _again(content: bytes | memoryview, at: int) -> int | None:
    """Return where the first chunk after a damaged one begins: behind it, if one begins there, or behind a boundary."""
    try:
        _, end = _frame(content, at)
        begin, _ = _frame(content, end)
    except DamagedError:
        return _next_boundary(content, at)
    is_known = int.from_bytes(content[begin : begin + 2], "little") in range(1, 7)
    return end if is_known else _next_boundary(content, at)


def _next_boundary(content: bytes | memoryview, at: int) -> int | None:
    """Return where the first chunk after the next boundary begins."""
    step = 1 << 20
    for first in range(at, len(content), step):
        found = bytes(content[first : first + step + len(BOUNDARY_MARK)]).find(BOUNDARY_MARK)
        if found >= 0:
            return first + found + len(BOUNDARY_MARK)
    return None


def _check(content: bytes | memoryview, begin: int, end: int, streams: dict[int, tuple[int, int]]) -> int:
    """Check one chunk; return how many samples it holds."""
    tag = int.from_bytes(content[begin : begin + 2], "little")
    if tag == FILE_HEADER:
        _xml(content, begin + 2, end)
    elif tag == BOUNDARY:
        if bytes(content[begin + 2 : end]) != BOUNDARY_MARK:
            raise DamagedError("a boundary that is none")
    elif tag in (STREAM_HEADER, SAMPLES, CLOCK_OFFSET, STREAM_FOOTER):
        if end - begin < 6:
            raise DamagedError("a chunk without the number of its stream")
        number = int.from_bytes(content[begin + 2 : begin + 6], "little")
        if (number in streams) is (tag == STREAM_HEADER):
            raise DamagedError(f"stream {number} {'begins twice' if tag == STREAM_HEADER else 'was never begun'}")
        if tag == STREAM_HEADER:
            streams[number] = _header(_xml(content, begin + 6, end))
        elif tag == SAMPLES:
            return _samples(content, begin + 6, end, *streams[number])
        elif tag == STREAM_FOOTER:
            _footer(_xml(content, begin + 6, end))
        elif end - begin != 22 or not all(map(isfinite, struct.unpack("<2d", content[begin + 6 : end]))):
            raise DamagedError("a clock offset that is not two numbers")
    else:
        raise DamagedError(f"a chunk of the unknown kind {tag}")
    return 0


def _xml(content: bytes | memoryview, begin: int, end: int) -> Element:
    try:
        return fromstring(bytes(content[begin:end]).decode("utf-8", "replace"))
    except ParseError as error:
        raise DamagedError(f"a header that is no XML ({error})") from error


def _header(info: Element) -> tuple[int, int]:
    """Return number of channels and bytes of one value (0: text) of a stream."""
    form, count, rate = (info.findtext(key) or "" for key in ("channel_format", "channel_count", "nominal_srate"))
    try:
        n_channels, sfreq = int(count), float(rate)
    except ValueError:
        n_channels, sfreq = 0, 0.0
    if form not in _SIZES or not 0 < n_channels < 1 << 20 or not 0 <= sfreq < 1e9 or not info.findtext("name"):
        raise DamagedError(f"a stream {info.findtext('name')!r} of {count!r} channels of {form!r} at {rate!r} Hz")
    return n_channels, _SIZES[form]


def _footer(info: Element) -> None:
    count = info.findtext("sample_count")
    if count is not None and not count.strip().isdigit():
        raise DamagedError(f"a footer that counts {count!r} samples")


def _samples(content: bytes | memoryview, at: int, end: int, n_channels: int, size: int) -> int:
    at, n = _length(content, at, end)
    row = n_channels * size
    if n > end - at:
        raise DamagedError(f"{n} samples in {end - at} bytes")
    if size and n:
        for width, stamp in ((9 + row, 8), (1 + row, 0)):  # all with a time stamp, or none
            if end - at == n * width:
                block = np.frombuffer(content, np.uint8, n * width, at).reshape(n, width)
                if (block[:, 0] == stamp).all():
                    return n
    for _ in range(n):
        at = _stamp(content, at, end) + row
        for _ in range(0 if size else n_channels):
            at, length = _length(content, at, end)
            at += length
    if at != end:
        raise DamagedError(f"{n} samples that end {at - end} bytes after their chunk")
    return n


def _stamp(content: bytes | memoryview, at: int, end: int) -> int:
    """Return where the values of a sample begin."""
    if at >= end or content[at] not in (0, 8):
        raise DamagedError("a sample that does not begin with the length of its time stamp, 0 or 8")
    return at + 1 + content[at]
