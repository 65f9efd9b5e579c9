"""The chunks of an XDF file, each checked before anything relies on it."""

from __future__ import annotations

import io
import re
import struct
from array import array
from collections.abc import Callable, Sequence
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

# How a chunk that may begin anywhere begins: a length in one of three widths, and a tag.
_HEAD = re.compile(rb"(?=\x01.[\x02-\x06]\x00|\x04.{4}[\x02-\x06]\x00|\x08.{8}[\x02-\x06]\x00)", re.DOTALL)

_DOUBLED = "chunks that came before, byte for byte"

_SIZES = {"float32": 4, "double64": 8, "int8": 1, "int16": 2, "int32": 4, "int64": 8, "string": 0}


class DamagedError(Exception):
    """A chunk does not hold what it must."""


@dataclass(frozen=True, slots=True)
class Hurt:
    """Bytes that are no whole chunk: the first, how many, what is wrong there, and whether whole chunks follow."""

    at: int
    length: int
    what: str
    in_the_middle: bool


@dataclass(slots=True)
class Survey:
    """Which bytes of a file are whole chunks.

    Parameters
    ----------
    spans : list of (int, int)
        First byte and the one after the last, of runs of whole chunks; between two of them something is damaged.
    damage : list of Hurt
        What lies between, and behind the last if it is no half chunk.
    cut : int
        Bytes of a half chunk at the end; a recording that was killed has one.
    n_samples : int
        Samples in the whole chunks, of all streams.
    """

    spans: list[tuple[int, int]] = field(default_factory=list)
    damage: list[Hurt] = field(default_factory=list)
    cut: int = 0
    n_samples: int = 0

    def keep(self, at: int, end: int, n_samples: int) -> None:
        """Add a whole chunk."""
        if self.spans[-1][1] == at:
            self.spans[-1] = (self.spans[-1][0], end)
        else:
            self.spans.append((at, end))
        self.n_samples += n_samples

    def leave_out(self, at: int, end: int, what: str, in_the_middle: bool = True) -> None:
        """Add bytes that are damaged; those of them that were kept are kept no more."""
        self.spans[-1] = (self.spans[-1][0], min(at, self.spans[-1][1]))
        last = self.damage[-1] if self.damage else None
        if last is not None and last.what == what and last.at + last.length == at:
            self.damage.pop()
            at = last.at
        self.damage.append(Hurt(at, end - at, what, in_the_middle))


def survey(content: bytes | memoryview, progress: Callable[[int], object] = lambda _n: None) -> Survey:
    """Walk through all chunks of a file that begins with "XDF:"; no chunk is believed to be longer than the file.

    Parameters
    ----------
    content : bytes or memoryview
        The file.
    progress : callable, optional
        Told the number of bytes that were looked at since it was last told.

    Notes
    -----
    Behind a damaged chunk it goes on at the next byte at which a boundary, or any other chunk that holds to the letter
    what it must, begins. Ten bytes or more of such a chunk are fixed; they do not come about by chance. A span that is
    in the file twice counts once: samples that are byte for byte, times too, what came before.
    """
    found = Survey([(0, 4)])
    streams: dict[int, _Form] = {}
    doubles = _Doubles(content)
    at = 4
    while at < len(content):
        try:
            begin, end = _frame(content, at)
            n = _check(content, begin, end, streams)
        except DamagedError as error:
            # From within the chunk before: where bytes were cut out of it, it goes on into the next.
            before = doubles.last_start(at)
            again = _next_chunk(content, before + 1, streams)
            if again is None and _is_cut(content, at):
                found.cut = len(content) - at
                return found
            end = len(content) if again is None else again
            if end < at:
                found.n_samples -= doubles.forget(before)
                progress(end - at)
                at = before
            found.leave_out(at, end, str(error), again is not None)
        else:
            first = doubles.first_of(at, begin, end, n, streams)
            if first is None:
                found.keep(at, end, n)
            else:
                found.n_samples -= doubles.forget(first)
                found.leave_out(first, end, _DOUBLED)
        progress(end - at)
        at = end
    return found


@dataclass(frozen=True, slots=True)
class _Form:
    """What a header says of the samples of its stream; `size` bytes for each value, 0 for texts."""

    n_channels: int
    size: int
    sfreq: float


class _Doubles:
    """Tell chunks that are in the file twice, which no source does: samples whose time steps back to the same bytes."""

    def __init__(self, content: bytes | memoryview) -> None:
        self._content = content
        self._starts, self._ends, self._counts = array("q"), array("q"), array("q")
        self._times: dict[int, tuple[array[float], array[int]]] = {}  # of the first sample, and the chunk's number
        self._next = -1

    def first_of(self, at: int, begin: int, end: int, n: int, streams: dict[int, _Form]) -> int | None:
        """Take the next chunk; return from which byte on the file repeats itself up to its end, None if it does not."""
        if 0 <= self._next < len(self._starts) and self._is_same(self._next, at, end):
            self._next += 1
            return at
        self._next = -1
        stream, time_s = self._stamped(begin, end, n, streams)
        if time_s is not None:
            times, numbers = self._times.setdefault(stream, (array("d"), array("q")))
            if times and (time_s < times[-1] or (n > 1 and time_s == times[-1])):
                for k in np.flatnonzero(np.array(times) == time_s):
                    if self._is_same(numbers[k], at, end):
                        self._next = numbers[k] + 1
                        return self._begin(numbers[k], at)
            times.append(time_s)
            numbers.append(len(self._starts))
        self._starts.append(at)
        self._ends.append(end)
        self._counts.append(n)
        return None

    def last_start(self, at: int) -> int:
        """Return where the last chunk begins, if it ends at byte `at`; else `at`."""
        return self._starts[-1] if self._ends and self._ends[-1] == at else at

    def forget(self, first: int) -> int:
        """Leave out the chunks from byte `first` on; return how many samples they hold."""
        n = 0
        while self._starts and self._starts[-1] >= first:
            n += self._counts.pop()
            self._starts.pop()
            self._ends.pop()
        for times, numbers in self._times.values():
            while numbers and numbers[-1] >= len(self._starts):
                times.pop()
                numbers.pop()
        return n

    def _stamped(self, begin: int, end: int, n: int, streams: dict[int, _Form]) -> tuple[int, float | None]:
        """Return the stream of a chunk and, of samples at a rate, the time stamp of the first."""
        if n == 0 or int.from_bytes(self._content[begin : begin + 2], "little") != SAMPLES:
            return 0, None
        stream = int.from_bytes(self._content[begin + 2 : begin + 6], "little")
        body, _ = _length(self._content, begin + 6, end)
        if not (streams[stream].size and streams[stream].sfreq) or self._content[body] != 8:
            return stream, None
        (time_s,) = struct.unpack_from("<d", self._content, body + 1)
        return stream, time_s

    def _is_same(self, number: int, at: int, end: int) -> bool:
        return self._content[self._starts[number] : self._ends[number]] == self._content[at:end]

    def _begin(self, number: int, at: int) -> int:
        """Return where the span that repeats chunk `number` at byte `at` begins: texts before it came twice too."""
        last = len(self._starts) - 1
        timed = {k for _, numbers in self._times.values() for k in numbers[-1:]}
        while number > 0 and last >= number and last not in timed and self._ends[last] == at:
            number -= 1
            if not self._is_same(number, self._starts[last], at):
                break
            at = self._starts[last]
            last -= 1
        return at


class Joined(io.RawIOBase):
    """Some runs of bytes, read as one file."""

    def __init__(self, pieces: Sequence[bytes | memoryview]) -> None:
        self._pieces = [memoryview(piece) for piece in pieces if len(piece)]
        self._starts = np.cumsum([0, *map(len, self._pieces)])
        self._at = 0

    def readinto(self, buffer: bytearray | memoryview, /) -> int:  # type: ignore[override]  # any writable buffer
        """Read the next bytes; return how many."""
        which = int(np.searchsorted(self._starts, self._at, side="right")) - 1
        if which >= len(self._pieces):
            return 0
        piece = self._pieces[which][self._at - int(self._starts[which]) :]
        n = min(len(buffer), len(piece))
        memoryview(buffer)[:n] = piece[:n]
        self._at += n
        return n

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        """Go to a byte of the joined runs."""
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


def _next_chunk(content: bytes | memoryview, at: int, streams: dict[int, _Form]) -> int | None:
    """Return where the next chunk from byte `at` on begins that is beyond doubt one; None if there is none."""
    return next((m.start() for m in _HEAD.finditer(content, at) if _is_proven(content, m.start(), streams)), None)


def _is_proven(content: bytes | memoryview, at: int, streams: dict[int, _Form]) -> bool:
    try:
        begin, end = _frame(content, at)
        tag = int.from_bytes(content[begin : begin + 2], "little")
        # Looked at first, so that no long run of noise is read as XML.
        if tag in (STREAM_HEADER, STREAM_FOOTER) and bytes(content[begin + 6 : begin + 7]) != b"<":
            return False
        return _check(content, begin, end, dict(streams)) > 0 or tag != SAMPLES
    except DamagedError:
        return False


def _check(content: bytes | memoryview, begin: int, end: int, streams: dict[int, _Form]) -> int:
    """Check one chunk; return how many samples it holds."""
    tag = int.from_bytes(content[begin : begin + 2], "little")
    if tag == FILE_HEADER:
        _xml(content, begin + 2, end, "strict")  # as pyxdf reads it
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
            return _samples(content, begin + 6, end, streams[number])
        elif tag == STREAM_FOOTER:
            _footer(_xml(content, begin + 6, end))
        elif end - begin != 22 or not all(map(isfinite, struct.unpack("<2d", content[begin + 6 : end]))):
            raise DamagedError("a clock offset that is not two numbers")
    else:
        raise DamagedError(f"a chunk of the unknown kind {tag}")
    return 0


def _xml(content: bytes | memoryview, begin: int, end: int, undecodable: str = "replace") -> Element:
    try:
        return fromstring(bytes(content[begin:end]).decode("utf-8", undecodable))
    except (ParseError, UnicodeDecodeError) as error:
        raise DamagedError(f"a header that is no XML ({error})") from error


def _header(info: Element) -> _Form:
    form, count, rate = (info.findtext(key) or "" for key in ("channel_format", "channel_count", "nominal_srate"))
    try:
        n_channels, sfreq = int(count), float(rate)
    except ValueError:
        n_channels, sfreq = 0, 0.0
    if form not in _SIZES or not 0 < n_channels < 1 << 20 or not 0 <= sfreq < 1e9 or not info.findtext("name"):
        raise DamagedError(f"a stream {info.findtext('name')!r} of {count!r} channels of {form!r} at {rate!r} Hz")
    return _Form(n_channels, _SIZES[form], sfreq)


def _footer(info: Element) -> None:
    count = info.findtext("sample_count")
    if count is not None and not count.strip().isdigit():
        raise DamagedError(f"a footer that counts {count!r} samples")


def _samples(content: bytes | memoryview, at: int, end: int, form: _Form) -> int:
    at, n = _length(content, at, end)
    size, row = form.size, form.n_channels * form.size
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
        for _ in range(0 if size else form.n_channels):
            at, length = _length(content, at, end)
            at += length
    if at != end:
        side = "after" if at > end else "before"
        raise DamagedError(f"{n} samples that end {abs(at - end)} bytes {side} the end of their chunk")
    return n


def _stamp(content: bytes | memoryview, at: int, end: int) -> int:
    """Return where the values of a sample begin."""
    if at >= end or content[at] not in (0, 8):
        raise DamagedError("a sample that does not begin with the length of its time stamp, 0 or 8")
    return at + 1 + content[at]
