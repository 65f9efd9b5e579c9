"""The blocks of an XDF file (its specification says "chunks"): how they are framed, found and read."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from xml.etree.ElementTree import Element, ParseError, fromstring

from bci.errors import FormatError

MAGIC = b"XDF:"
"""How every file begins."""

FILE_HEADER, STREAM_HEADER, SAMPLES, CLOCK_OFFSET, BOUNDARY, STREAM_FOOTER = range(1, 7)
"""Tags of the blocks."""

# XDF 1.0, "Boundary Chunk": a fixed UUID by which a reader finds its place again in a damaged file.
BOUNDARY_MARK = bytes.fromhex("43a546dccbf5410fb30ed5467383cbe4")

_WITH_STREAM = (STREAM_HEADER, SAMPLES, CLOCK_OFFSET, STREAM_FOOTER)


@dataclass(frozen=True, slots=True)
class Block:
    """Where a block lies, and what it says of itself.

    Parameters
    ----------
    offset, length : int
        First byte in the file and number of bytes, frame included. The first block of a file includes the magic word.
    tag : int
        Its kind.
    stream : int
        Number of the stream it belongs to; 0 for none.
    samples : int
        Samples or texts in it; 0 where it holds none.
    body : int
        First byte of its content after tag, stream number and count.
    """

    offset: int
    length: int
    tag: int
    stream: int = 0
    samples: int = 0
    body: int = 0

    @property
    def stop(self) -> int:
        """First byte after it."""
        return self.offset + self.length


def varlen(value: int) -> bytes:
    """Return `value` as XDF writes lengths: the number of bytes that follow (1, 4 or 8), then those bytes."""
    if value < 1 << 8:
        return struct.pack("<BB", 1, value)
    return struct.pack("<BI", 4, value) if value < 1 << 32 else struct.pack("<BQ", 8, value)


def head(tag: int, length: int) -> bytes:
    """Return what stands before `length` bytes of content."""
    return varlen(length + 2) + struct.pack("<H", tag)


def framed(tag: int, content: bytes) -> bytes:
    """Return a whole block."""
    return head(tag, len(content)) + content


def text_content(entries: list[tuple[float, str]]) -> bytes:
    """Return the content of a block of texts, after the number of its stream."""
    parts = [varlen(len(entries))]
    for time_s, text in entries:
        encoded = text.encode("utf-8", "backslashreplace")
        parts += [b"\x08", struct.pack("<d", time_s), varlen(len(encoded)), encoded]
    return b"".join(parts)


def read_texts(data: bytes, block: Block) -> list[tuple[float, str]]:
    """Return the texts in a block with their times, s (NaN where none is given); `FormatError` if they do not fit."""
    found, at = [], block.body
    try:
        for _ in range(block.samples):
            time_s = float("nan")
            if data[at]:
                (time_s,) = struct.unpack_from("<d", data, at + 1)
            at += 1 + data[at]
            length, at = _length(data, at)
            if at + length > block.stop:
                raise IndexError
            found.append((time_s, bytes(data[at : at + length]).decode("utf-8", "replace")))
            at += length
    except (IndexError, struct.error) as error:
        raise FormatError(
            f"texts were expected at byte {block.offset}, the block does not hold them; the recording is damaged"
        ) from error
    return found


def read_xml(data: bytes, block: Block) -> Element | None:
    """Return the description in a header or footer; None if it is no XML."""
    try:
        return fromstring(bytes(data[block.body : block.stop]))
    except (ParseError, ValueError, LookupError):
        return None


def block_at(data: bytes, offset: int, stop: int | None = None) -> Block | None:
    """Return the whole block that begins at `offset` and ends by `stop`; None if there is none."""
    stop = len(data) if stop is None else stop
    at = offset + len(MAGIC) if offset == 0 and data[: len(MAGIC)] == MAGIC else offset
    try:
        content, body = _length(data, at)
    except (IndexError, struct.error):
        return None
    end = body + content
    if content < 2 or end > stop:  # every block has a tag of two bytes
        return None
    tag = int.from_bytes(data[body : body + 2], "little")
    body += 2
    stream = samples = 0
    if tag in _WITH_STREAM:
        if content < 6:
            return None
        stream = int.from_bytes(data[body : body + 4], "little")
        body += 4
    if tag == SAMPLES:
        try:
            samples, body = _length(data, body)
        except (IndexError, struct.error):
            return None
        if body > end:
            return None
    return Block(offset, end - offset, tag, stream, samples, body)


def walk(data: bytes, offset: int = 0, stop: int | None = None) -> Iterator[Block]:
    """Yield block after block, until `stop` or what is none."""
    block = block_at(data, offset, stop)
    while block is not None:
        yield block
        block = block_at(data, block.stop, stop)


def _length(data: bytes, at: int) -> tuple[int, int]:
    """Return a length in XDF's writing and where what follows it begins."""
    n = data[at]
    if n not in (1, 4, 8):
        raise IndexError
    if at + 1 + n > len(data):
        raise IndexError
    return int.from_bytes(data[at + 1 : at + 1 + n], "little"), at + 1 + n
