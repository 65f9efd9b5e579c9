"""Open recordings that were cut off: find the last whole chunk, and leave the half one out."""

from __future__ import annotations

import io
import logging
import os
from pathlib import Path
from typing import BinaryIO

from bci.acquisition.recorder.xdf_blocks import MAGIC
from bci.errors import FormatError

_log = logging.getLogger(__name__)


def complete_length(path: str | os.PathLike[str]) -> int:
    """Return how many bytes of an XDF file are whole chunks.

    Parameters
    ----------
    path : path
        File to look at; it is only read.

    Returns
    -------
    length : int
        Bytes up to the end of the last whole chunk; the size of the file if nothing was cut off.

    Raises
    ------
    FormatError
        If the file does not begin as XDF does.

    Notes
    -----
    A file that was cut at any byte ends here before the half chunk. So does one whose end
    was filled with zeros by a power cut. XDF has no checksums: a changed byte inside a
    chunk is not seen.
    """
    with open(path, "rb") as file:
        return _whole(file, os.fspath(path))


def open_complete(path: str | os.PathLike[str]) -> BinaryIO:
    """Open an XDF file for reading, as if it ended after its last whole chunk.

    ``pyxdf.load_xdf`` takes the result in place of a file name. The file itself is not changed.
    """
    length = complete_length(path)
    _say(Path(path), length)
    return io.BufferedReader(_Beginning(path, length))


class _Beginning(io.RawIOBase):
    """The first `length` bytes of a file."""

    def __init__(self, path: str | os.PathLike[str], length: int) -> None:
        self._file = open(path, "rb", buffering=0)  # noqa: SIM115 - closed by close()
        self._length = length

    def readinto(self, buffer: bytearray | memoryview, /) -> int:  # type: ignore[override]  # any writable buffer
        left = max(self._length - self._file.tell(), 0)
        return self._file.readinto(memoryview(buffer)[:left]) or 0

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        if whence == io.SEEK_END:
            offset, whence = offset + self._length, io.SEEK_SET
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        return self._file.tell()

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def close(self) -> None:
        self._file.close()
        super().close()


def _whole(file: BinaryIO, name: str) -> int:
    start = file.read(len(MAGIC))
    if start != MAGIC:
        raise FormatError(f"an XDF file begins with {MAGIC!r}, {name} with {start!r}; it is of another format or empty")
    size = file.seek(0, os.SEEK_END)
    position = len(MAGIC)
    while True:
        file.seek(position)
        head = file.read(9)
        n = head[0] if head else 0
        if n not in (1, 4, 8) or len(head) <= n:
            return position
        content = int.from_bytes(head[1 : 1 + n], "little")
        # Every chunk has a tag of two bytes.
        if content < 2 or position + 1 + n + content > size:
            return position
        position += 1 + n + content


def _say(path: Path, length: int) -> None:
    cut = path.stat().st_size - length
    if cut:
        _log.warning("%s ends within a chunk; its last %d bytes are left out", path.name, cut)
