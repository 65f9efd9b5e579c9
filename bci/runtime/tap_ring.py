"""Memory that a session writes and the readers of its tap map: samples pass without a system call for each."""

from __future__ import annotations

import contextlib
import mmap
import os

import numpy as np
from numpy.typing import NDArray

from bci.errors import DataError
from bci.stream import Chunk, StreamInfo

IS_POSSIBLE = hasattr(os, "memfd_create")
"""Whether this system has memory without a name: it goes with the last process that maps it, however that ends."""

_HEAD = 64
_STEP = 64
"""Chunks begin at multiples of this, bytes: a line of the cache."""
_LEAST, _MOST, _KEPT_S = 1 << 22, 1 << 24, 0.25


class RingWriter:
    """The session's end.

    Parameters
    ----------
    info : StreamInfo
        The stream; a quarter second of it is kept, at least 4 MB and at most 16 MB.

    Notes
    -----
    The first eight bytes say how many bytes were ever promised to chunks, and are written before the chunk is. A
    reader that copied a chunk looks at them again: if the ring has come round to it, the copy is thrown away.
    """

    def __init__(self, info: StreamInfo) -> None:
        wanted = int(_KEPT_S * info.sfreq * info.n_channels * 8)
        self.size = -(-min(max(wanted, _LEAST), _MOST) // _STEP) * _STEP
        self.fd = os.memfd_create("bci-tap")
        os.ftruncate(self.fd, _HEAD + self.size)
        self._map = mmap.mmap(self.fd, _HEAD + self.size)
        self._promised = np.frombuffer(self._map, np.uint64, 1)
        self._map[_HEAD:] = bytes(self.size)  # the system hands out pages when they are first written to
        self._at = 0

    def put(self, chunk: Chunk, dtype: np.dtype[np.generic]) -> int | None:
        """Write times and samples; return where, or None if they would fill more than half of the ring."""
        n_times, n_data = 8 * chunk.n_samples, chunk.data.size * dtype.itemsize
        n = -(-(n_times + n_data) // _STEP) * _STEP
        if n > self.size // 2:
            return None
        at = self._at
        if at % self.size + n > self.size:
            at += self.size - at % self.size
        self._promised[0] = at + n
        place = _HEAD + at % self.size
        np.ndarray(chunk.n_samples, np.float64, self._map, place)[:] = chunk.times
        np.ndarray(chunk.data.shape, dtype, self._map, place + n_times)[:] = chunk.data
        self._at = at + n
        return at

    def close(self) -> None:
        """Let the memory go; readers keep theirs."""
        del self._promised
        self._map.close()
        os.close(self.fd)


class RingReader:
    """The reader's end, which cannot write.

    Parameters
    ----------
    fd : int
        What the session handed over; it is closed.
    """

    def __init__(self, fd: int) -> None:
        flags = mmap.MAP_SHARED | getattr(mmap, "MAP_POPULATE", 0)
        try:
            self._map = mmap.mmap(fd, 0, flags=flags, prot=mmap.PROT_READ)
        finally:
            os.close(fd)
        self._promised = np.frombuffer(self._map, np.uint64, 1)
        self._size = len(self._map) - _HEAD

    def take(
        self, at: int, n_samples: int, n_channels: int, dtype: np.dtype[np.generic]
    ) -> tuple[NDArray[np.generic], NDArray[np.float64]] | None:
        """Return copies of samples and times; None if the ring has come round to them.

        Raises
        ------
        DataError
            If they would lie outside.
        """
        size = self._size
        n_times, n_data = 8 * n_samples, n_samples * n_channels * dtype.itemsize
        row = at % size
        if min(at, n_samples) < 0 or row % 8 or row + n_times + n_data > size:
            raise DataError(f"a chunk lies inside the ring of {size} bytes, got {n_data} bytes at {at}; connect again")
        times = np.ndarray(n_samples, np.float64, self._map, _HEAD + row).copy()
        data = np.ndarray((n_samples, n_channels), dtype, self._map, _HEAD + row + n_times).copy()
        return None if int(self._promised[0]) - at > size else (data, times)

    def close(self) -> None:
        """Unmap the memory; any number of times."""
        with contextlib.suppress(AttributeError):
            del self._promised
        self._map.close()
