"""A delay of whole samples, for blocks that must see what comes next before they judge what is here."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Mask = NDArray[np.uint8]


class DelayLine:
    """Give every row back `delay` rows later, with the marks of what is unknown in it.

    Parameters
    ----------
    delay : int
        Number of rows, >= 0.
    n_channels : int
        Number of columns.

    Notes
    -----
    It starts as a filter does that has seen the first row for ever, so that an offset causes no transient.
    """

    def __init__(self, delay: int, n_channels: int) -> None:
        self.delay = delay
        self._values = np.empty((delay, n_channels))
        self._bad = np.zeros((delay, n_channels), np.uint8)
        self._is_empty = True

    def push(self, values: Array, bad: Mask) -> tuple[Array, Mask]:
        """Take in rows; return as many, `delay` rows older. The arrays may be the ones given."""
        if self.delay == 0 or not len(values):
            return values, bad
        if self._is_empty:
            self._values[:], self._bad[:], self._is_empty = values[0], bad[0], False
        n = len(values)
        joined, joined_bad = np.concatenate([self._values, values]), np.concatenate([self._bad, bad])
        self._values[:], self._bad[:] = joined[n:], joined_bad[n:]
        return joined[:n], joined_bad[:n]

    def reset(self) -> None:
        """Forget all rows."""
        self._is_empty = True
