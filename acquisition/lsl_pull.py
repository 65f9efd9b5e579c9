"""Take samples from a liblsl inlet with as few steps as possible: each one is time between a push and a decision."""

from __future__ import annotations

import ctypes
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import pylsl


_LEAST_ROOM, _FIRST_ROOM = 8, 64
"""Samples that there is always room for, and at first."""


class Puller:
    """Pull what is there into memory that was made ready before, while nothing was to be done.

    Parameters
    ----------
    inlet : pylsl.StreamInlet
        Of numbers.
    lsl : module
        pylsl.
    most : int
        Samples that are pulled at a time, at least 2.

    Notes
    -----
    pylsl's own ``pull_chunk`` makes two pairs of arrays and joins them, each time. It is in two steps for liblsl as
    well: the first waits for one sample, the second takes what came with it. There is room for twice what came last
    time: the samples need not be copied, and whoever keeps them keeps little more.
    """

    def __init__(self, inlet: pylsl.StreamInlet, lsl: Any, most: int) -> None:
        self.inlet = inlet
        self._pull, self._raise = inlet.do_pull_chunk, lsl.util.handle_error
        self._n_channels, self._dtype, self._most = inlet.channel_count, inlet.np_dtype, most
        self._code = ctypes.c_int()
        self._at_once = ctypes.c_double(0.0)
        # Where samples and stamps go, as liblsl takes it: the first one, and those behind it.
        room = ctypes.c_void_p(), ctypes.c_void_p(), ctypes.c_size_t(self._n_channels), ctypes.c_size_t(1)
        self._first, self._rest = room, (ctypes.c_void_p(), ctypes.c_void_p(), ctypes.c_size_t(), ctypes.c_size_t())
        self._make_room(_FIRST_ROOM)

    def wait(self, wait_s: float) -> int:
        """Wait up to `wait_s` for a sample; return 1 if there is one, and raise what liblsl says."""
        if self._n_taken:
            self._make_room(2 * self._n_taken)
        n = self._pull(self.inlet.obj, *self._first, ctypes.c_double(wait_s), ctypes.byref(self._code))
        self._raise(self._code)
        return 1 if n else 0

    def rest(self) -> int:
        """Take what came with the sample that was waited for; return how many, and raise what liblsl says."""
        n = self._pull(self.inlet.obj, *self._rest, self._at_once, ctypes.byref(self._code))
        self._raise(self._code)
        return int(n) // self._n_channels

    def take(self, n: int) -> tuple[NDArray[Any], NDArray[np.float64]]:
        """Return the `n` samples that were pulled, shape (n, n_channels), and their stamps, s."""
        self._n_taken = n
        data, stamps = self._data[:n], self._stamps[:n]
        data.setflags(write=False)
        return data, stamps

    def _make_room(self, wanted: int) -> None:
        """Make memory for `wanted` samples, if that is not too few or too many."""
        rows = min(max(wanted, _LEAST_ROOM), self._most)
        self._data: NDArray[Any] = np.empty((rows, self._n_channels), self._dtype)
        self._stamps = np.empty(rows)
        self._n_taken = 0
        data, stamps = (array.__array_interface__["data"][0] for array in (self._data, self._stamps))
        self._first[0].value, self._first[1].value = data, stamps
        self._rest[0].value, self._rest[1].value = data + self._data.strides[0], stamps + self._stamps.itemsize
        self._rest[2].value, self._rest[3].value = (rows - 1) * self._n_channels, rows - 1
