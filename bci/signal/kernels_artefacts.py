"""Compiled loops of the blocks against artefacts; time-major samples, shape (n_samples, n_channels).

As in `bci.signal.kernels` every row is computed in one fixed order of operations, so the bits of a result do not
depend on how a stream was cut.
"""

from __future__ import annotations

import functools

import numpy as np
from numba import njit
from numpy.typing import NDArray

Array = NDArray[np.float64]
Mask = NDArray[np.uint8]
Index = NDArray[np.int64]

# No converter delivers this; beyond it a sum of squares could overflow and never come back.
LARGEST = 1e30


@njit(cache=True, nogil=True)
def hold_unknown(values: Array, bad: Mask, last: Array) -> bool:
    """Replace unknown values by the channel's last known one, in place, and mark them; return whether there are any.

    `last` is NaN for a channel that has not begun; its unknown values become 0.
    """
    found = False
    for t in range(values.shape[0]):
        for c in range(values.shape[1]):
            if abs(values[t, c]) < LARGEST:
                last[c] = values[t, c]
                bad[t, c] = 0
            else:
                bad[t, c] = 1
                values[t, c] = last[c] if abs(last[c]) < LARGEST else 0.0
                found = True
    return found


@njit(cache=True, nogil=True)
def blend(values: Array, before: Array, after: Array, weights: Array, mixed: Array) -> None:
    """Write ``(1 - w) * values @ before + w * values @ after`` to `mixed`, row by row, with one weight w for each row.

    `before` and `after` have shape (n_channels, n_channels).
    """
    n = before.shape[0]
    for t in range(values.shape[0]):
        row, w = mixed[t], weights[t]
        for j in range(n):
            row[j] = 0.0
        for k in range(n):
            x, one, two = values[t, k], before[k], after[k]
            for j in range(n):
                row[j] += x * (one[j] + w * (two[j] - one[j]))


@functools.cache
def warm_up() -> None:
    """Compile every kernel (or load it from the cache on disk), so that no sample waits for a compiler."""
    values, bad = np.ones((2, 2)), np.zeros((2, 2), np.uint8)
    hold_unknown(values, bad, np.zeros(2))
    blend(values, np.eye(2), np.eye(2), np.zeros(2), np.empty((2, 2)))
