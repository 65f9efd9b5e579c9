"""The check file beside a recording (``run.xdf.check``): one line per block, by which every change is found.

A line holds, with blanks between: offset, length, tag, stream and samples of the
block; CRC-32 and SHA-256 of its bytes (in base64); its bytes in base64 for what is small and
precious (headers, markers, losses), "-" for all else; the chain, SHA-256 of the
chain of the line before and of this line so far; and the CRC-32 of the line
itself. The last line of a finished recording has length and tag 0 and counts the
blocks. Lines are only ever appended, after the block they speak of is written.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import logging
import os
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

_log = logging.getLogger(__name__)

SUFFIX = ".check"
"""What the check file's name adds to that of the recording."""

_FIRST = b"bci-check 1: offset length tag stream samples crc32 sha256 content chain crc32-of-line\n"
_ROOT = "-"
_END = 0


def check_path(path: str | os.PathLike[str]) -> Path:
    """Return where the check file of the recording `path` lies."""
    return Path(f"{os.fspath(path)}{SUFFIX}")


@dataclass(frozen=True, slots=True)
class Line:
    """What the check file says of one block; see the module."""

    offset: int
    length: int
    tag: int
    stream: int
    samples: int
    crc: int
    sha256: str
    content: bytes | None = None

    @classmethod
    def of(cls, offset: int, data: bytes | memoryview, tag: int, stream: int, samples: int, keep: bool) -> Line:
        """Return the line for a block of these bytes, with its content if it is to be kept."""
        content = bytes(data) if keep else None
        return cls(offset, len(data), tag, stream, samples, zlib.crc32(data), sha256_text(data), content)

    @property
    def stop(self) -> int:
        """First byte after the block."""
        return self.offset + self.length

    def fits(self, data: bytes | memoryview) -> bool:
        """Return whether `data` is that block."""
        return len(data) == self.length and zlib.crc32(data) == self.crc and sha256_text(data) == self.sha256

    def text(self) -> str:
        """Return the line as it is written, up to the chain."""
        content = "-" if self.content is None else base64.b64encode(self.content).decode()
        where = f"{self.offset} {self.length} {self.tag} {self.stream} {self.samples}"
        return f"{where} {self.crc:08x} {self.sha256} {content}"


class CheckWriter:
    """Append to a check file; never raises once it is open.

    Parameters
    ----------
    path : path
        File to create; `FileExistsError` if there is one.

    Notes
    -----
    Where a line cannot be written (the disk is full) it waits for the next time: the
    file is then behind the recording, not wrong.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | getattr(os, "O_BINARY", 0)
        self._fd = os.open(self.path, flags | getattr(os, "O_CLOEXEC", 0), 0o644)
        self._length, self._blocks, self._chain = 0, 0, _ROOT
        self._waiting: list[bytes] = [_FIRST]
        self._failed = False
        self._write()

    def add(self, lines: Sequence[Line]) -> None:
        """Append lines, in the order of their blocks, with one write."""
        for line in lines:
            text = line.text()
            self._chain = _next_chain(self._chain, text)
            body = f"{text} {self._chain}".encode()
            self._waiting.append(b"%s %08x\n" % (body, zlib.crc32(body)))
        self._blocks += len(lines)
        self._write()

    def end(self, length: int) -> None:
        """Say that the recording was finished with `length` bytes."""
        self.add([Line(length, 0, _END, 0, self._blocks, 0, sha256_text(b""))])

    @property
    def is_behind(self) -> bool:
        """Whether lines wait because there was no room for them."""
        return bool(self._waiting)

    def sync(self) -> None:
        """Have the system bring the file to the disk; `OSError` if it cannot."""
        os.fsync(self._fd)

    def close(self) -> None:
        """Release the file."""
        os.close(self._fd)

    def _write(self) -> None:
        text = b"".join(self._waiting)
        try:
            written = os.write(self._fd, text)
        except OSError as error:
            written, reason = 0, error.strerror
        else:
            reason = "the disk took only a part of it"
        if written == len(text):
            self._length += written
            self._waiting.clear()
            return
        if not self._failed:
            self._failed = True
            _log.error("%s falls behind its recording: %s", self.path.name, reason)
        os.ftruncate(self._fd, self._length)


@dataclass(slots=True)
class Ledger:
    """A check file as it was read.

    Parameters
    ----------
    lines : list of Line
        Those that are sound, by offset; each block once.
    faults : list of str
        What is wrong with the check file itself, in words.
    end : Line, optional
        The last line of a finished recording.
    """

    lines: list[Line] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)
    end: Line | None = None


def read_check(path: str | os.PathLike[str]) -> Ledger:
    """Read a check file, leaving out what is damaged in it; `OSError` if it cannot be read at all."""
    data = Path(path).read_bytes()
    ledger, seen = Ledger(), set()
    rows = data.split(b"\n")
    rows.pop()  # what follows the last line end: nothing, or half a line that a kill left
    if not rows or rows[0] + b"\n" != _FIRST:
        ledger.faults.append("line 1 is not how a check file begins")
    chain: str | None = _ROOT
    for number, row in enumerate(rows[1:], 2):
        parsed = _parsed(row)
        if parsed is None:
            ledger.faults.append(f"line {number} is damaged")
            chain = None
            continue
        line, said = parsed
        if chain is not None and _next_chain(chain, line.text()) != said:
            ledger.faults.append(f"line {number} does not continue the line before: lines were removed, moved or added")
        chain = said
        if line.tag == _END:
            ledger.end = line
        elif line.offset not in seen:
            seen.add(line.offset)
            ledger.lines.append(line)
    if ledger.end is not None and ledger.end.samples != len(ledger.lines) and not ledger.faults:
        ledger.faults.append(f"it ends after {len(ledger.lines)} blocks and counts {ledger.end.samples}")
    ledger.lines.sort(key=lambda line: line.offset)
    return ledger


def sha256_text(data: bytes | memoryview) -> str:
    """Return the SHA-256 of `data` as 43 characters of base64."""
    return base64.b64encode(hashlib.sha256(data).digest()).decode().rstrip("=")


def _next_chain(chain: str, text: str) -> str:
    return sha256_text(f"{chain} {text}".encode())


def _parsed(row: bytes) -> tuple[Line, str] | None:
    """Return the line and its chain; None if a byte of it was changed."""
    body, _, crc = row.rpartition(b" ")
    fields = body.split(b" ")
    try:
        if len(fields) != 9 or int(crc, 16) != zlib.crc32(body) or len(crc) != 8:
            return None
        content = None if fields[7] == b"-" else base64.b64decode(fields[7], validate=True)
        offset, length, tag, stream, samples = (int(f) for f in fields[:5])
        sha256, chain = fields[6].decode("ascii"), fields[8].decode("ascii")
        return Line(offset, length, tag, stream, samples, int(fields[5], 16), sha256, content), chain
    except (ValueError, binascii.Error):
        return None
