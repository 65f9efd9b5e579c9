"""Memory that a session writes and the readers of its tap map: samples pass without a system call for each."""

from __future__ import annotations

import contextlib
import mmap
import os
import platform
import sys
import time
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bci.errors import DataError
from bci.runtime.tap_wire import dtype_from
from bci.stream import Chunk, StreamInfo

IS_POSSIBLE = hasattr(os, "memfd_create")
"""Whether this system has memory without a name: it goes with the last process that maps it, however that ends."""

_HEAD = 64
_STEP = 64
"""Chunks begin at multiples of this, bytes: a line of the cache."""
_LEAST, _MOST, _KEPT_S = 1 << 22, 1 << 24, 0.25
_PATIENCE_S, _SPIN_S = 0.1, 0.0005
KEEPS_ORDER = platform.machine() in ("x86_64", "AMD64")
"""Whether another core sees writes in their order; elsewhere a chunk is written before anything is said of it."""
_MOST_ROOMS = 4
"""Copies of chunks whose memory a reader keeps to use it again."""


class RingWriter:
    """The session's end.

    Parameters
    ----------
    info : StreamInfo
        The stream; a quarter second of it is kept, at least 4 MB and at most 16 MB.

    Notes
    -----
    The first eight bytes say how many bytes were ever promised to chunks, and are written before the chunk is. A
    reader that copied a chunk looks at them again: if the ring has come round to it, the copy is thrown away. The
    next eight say how many bytes are written: a reader is woken while its chunk is, and waits for that.
    """

    def __init__(self, info: StreamInfo) -> None:
        wanted = int(_KEPT_S * info.sfreq * info.n_channels * 8)
        self.size = -(-min(max(wanted, _LEAST), _MOST) // _STEP) * _STEP
        self.fd = os.memfd_create("bci-tap")
        os.ftruncate(self.fd, _HEAD + self.size)
        self._map = mmap.mmap(self.fd, _HEAD + self.size)
        self._promised = memoryview(self._map)[:8].cast("Q")
        self._written = memoryview(self._map)[8:16].cast("Q")
        self._map[_HEAD:] = bytes(self.size)  # the system hands out pages when they are first written to
        self._at = self._end = 0

    def put(self, chunk: Chunk, dtype: np.dtype[Any]) -> int | None:
        """Write times and samples; return where, or None if they would fill more than half of the ring."""
        at = self.promise(chunk, dtype)
        if at is not None:
            self.fill(chunk, dtype)
        return at

    def promise(self, chunk: Chunk, dtype: np.dtype[Any]) -> int | None:
        """Return where `chunk` will lie, or None if it would fill more than half of the ring; `fill` has to follow."""
        n = -(-(8 * len(chunk.times) + chunk.data.size * dtype.itemsize) // _STEP) * _STEP
        if n > self.size // 2:
            return None
        at = self._end
        if at % self.size + n > self.size:
            at += self.size - at % self.size
        self._promised[0] = self._end = at + n
        self._at = at
        return at

    def fill(self, chunk: Chunk, dtype: np.dtype[Any]) -> None:
        """Write the times and samples for which a place was promised last."""
        data, times = chunk.data, chunk.times
        place = _HEAD + self._at % self.size
        middle = place + 8 * len(times)
        # The memory takes bytes as they are: no array has to be made for it.
        self._map[place:middle] = (times if times.flags.c_contiguous else times.copy()).data
        self._map[middle : middle + data.size * dtype.itemsize] = (
            data if data.dtype == dtype else data.astype(dtype)
        ).data
        self._written[0] = self._end

    def close(self) -> None:
        """Let the memory go; readers keep theirs."""
        self._promised.release()
        self._written.release()
        self._map.close()
        os.close(self.fd)


_Room = tuple[NDArray[np.uint8], NDArray[Any], NDArray[np.float64]]
"""Memory for a chunk, and its samples and times as views of it."""


def _holders(room: _Room) -> int:
    """Return how many references there are to the memory and its views; views of views hold one of them."""
    return sys.getrefcount(room[0]) + sys.getrefcount(room[1]) + sys.getrefcount(room[2])


class RingReader:
    """The reader's end, which cannot write.

    Parameters
    ----------
    fd : int
        What the session handed over; it is closed.
    n_channels : int
        Channels of the stream.

    Notes
    -----
    The copies lie in memory that is kept and used again once nobody holds a copy or a part of it any more: fresh
    memory comes in pages that the system has to find first, which takes longer than the copy.
    """

    def __init__(self, fd: int, n_channels: int) -> None:
        flags = mmap.MAP_SHARED | getattr(mmap, "MAP_POPULATE", 0)
        try:
            self._map = mmap.mmap(fd, 0, flags=flags, prot=mmap.PROT_READ)
        finally:
            os.close(fd)
        self._promised = memoryview(self._map)[:8].cast("Q")
        self._written = memoryview(self._map)[8:16].cast("Q")
        self._bytes = np.frombuffer(self._map, np.uint8)
        self._size = len(self._map) - _HEAD
        self._n_channels = n_channels
        self._lay_out(0, b"<f8")

    def take(self, at: int, n_samples: int, code: bytes) -> tuple[NDArray[Any], NDArray[np.float64]] | None:
        """Return copies of samples and times, not to be written to; None if the ring has come round to them.

        Raises
        ------
        DataError
            If they would lie outside, or `code` is no type of numbers.
        """
        if n_samples != self._n_samples or code != self._code:
            self._lay_out(n_samples, code)
        row, n = at % self._size, self._n_bytes
        if at < 0 or row % 8 or row + n > self._size:
            raise DataError(f"a chunk lies inside the ring of {self._size} bytes, got {n} bytes at {at}; connect again")
        for room in self._rooms:
            if _holders(room) == self._unheld:
                break
        else:
            room = self._new_room()
        if self._written[0] < at + n and not self._await(at + n):
            return None
        row += _HEAD
        room[0][:] = self._bytes[row : row + n]
        return None if self._promised[0] - at > self._size else room[1:]

    def _await(self, end: int) -> bool:
        """Wait until the ring is written up to `end`; False if the session stands still or died."""
        begin_s = time.monotonic()
        while self._written[0] < end:
            waited_s = time.monotonic() - begin_s
            if waited_s > _PATIENCE_S:
                return False
            if waited_s < _SPIN_S:
                os.sched_yield()  # the session may need this very core
            else:
                time.sleep(_SPIN_S)
        return True

    def _lay_out(self, n_samples: int, code: bytes) -> None:
        """Take on that chunks have `n_samples` and the type `code` from now on."""
        self._dtype = dtype_from(code)
        self._n_samples, self._code = n_samples, code
        self._n_bytes = n_samples * (8 + self._n_channels * self._dtype.itemsize)
        self._rooms: list[_Room] = []
        if self._n_bytes <= self._size:
            self._unheld = _holders(self._new_room())

    def _new_room(self) -> _Room:
        """Return memory for a chunk; of the ones before it the last few are kept."""
        block = np.empty(self._n_bytes, np.uint8)
        times: NDArray[np.float64] = np.ndarray(self._n_samples, np.float64, block)
        shape = self._n_samples, self._n_channels
        data: NDArray[Any] = np.ndarray(shape, self._dtype, block, times.nbytes)
        times.setflags(write=False)
        data.setflags(write=False)
        self._rooms = [*self._rooms[1 - _MOST_ROOMS :], (block, data, times)]
        return self._rooms[-1]

    def close(self) -> None:
        """Unmap the memory; any number of times."""
        self._promised.release()
        self._written.release()
        with contextlib.suppress(AttributeError):
            del self._bytes
        self._map.close()
