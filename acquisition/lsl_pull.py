"""Take samples from a liblsl inlet with as few steps as possible: each one is time between a push and a decision."""

from __future__ import annotations

import ctypes
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import pylsl


class Puller:
    """Pull what is there into one piece of memory that is kept.

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
    well: the first waits for one sample, the second takes what came with it.
    """

    def __init__(self, inlet: pylsl.StreamInlet, lsl: Any, most: int) -> None:
        self.inlet = inlet
        self._pull, self._raise = inlet.do_pull_chunk, lsl.util.handle_error
        self._data: NDArray[Any] = np.empty((most, inlet.channel_count), inlet.np_dtype)
        self._stamps = np.empty(most)
        self._code = ctypes.c_int()
        self._first = self._place(0, 1)
        self._rest = self._place(1, most - 1)
        self._at_once = ctypes.c_double(0.0)

    def wait(self, wait_s: float) -> int:
        """Wait up to `wait_s` for a sample; return 1 if there is one, and raise what liblsl says."""
        n = self._pull(self.inlet.obj, *self._first, ctypes.c_double(wait_s), ctypes.byref(self._code))
        self._raise(self._code)
        return 1 if n else 0

    def rest(self) -> int:
        """Take what came with the sample that was waited for; return how many, and raise what liblsl says."""
        n = self._pull(self.inlet.obj, *self._rest, self._at_once, ctypes.byref(self._code))
        self._raise(self._code)
        return int(n) // self._data.shape[1]

    def copy(self, n: int) -> tuple[NDArray[Any], NDArray[np.float64]]:
        """Return the `n` samples that were pulled, shape (n, n_channels), and their stamps, s."""
        return self._data[:n].copy(), self._stamps[:n].copy()

    def _place(self, row: int, n: int) -> tuple[Any, ...]:
        """Return where `n` samples from `row` on go, as liblsl takes it."""
        data, stamps = self._data[row:], self._stamps[row:]
        pointers = ctypes.c_void_p(data.ctypes.data), ctypes.c_void_p(stamps.ctypes.data)
        return *pointers, ctypes.c_size_t(n * data.shape[1]), ctypes.c_size_t(n)
