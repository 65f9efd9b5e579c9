"""Compiled loops of filters without feedback, over time-major samples, shape (n_samples, n_channels).

An output is the sum over the taps from the first to the last, one after the other, in every loop here.
"""

from __future__ import annotations

import functools

import numpy as np
from numpy.typing import NDArray

from bci.signal.compiled import njit

Array = NDArray[np.float64]
Index = NDArray[np.int64]


@njit(cache=True, nogil=True)
def fir_row(rows: Array, at: int, taps: Array, out: Array) -> None:
    """Write to `out`, shape (n_channels,), the sum over k of ``taps[k] * rows[at - k]``."""
    n_channels = out.shape[0]
    n_taps = taps.shape[0]
    whole = n_taps // 4 * 4
    for c in range(n_channels):
        out[c] = 0.0
    for k in range(0, whole, 4):
        r0, r1, r2, r3 = rows[at - k], rows[at - k - 1], rows[at - k - 2], rows[at - k - 3]
        h0, h1, h2, h3 = taps[k], taps[k + 1], taps[k + 2], taps[k + 3]
        for c in range(n_channels):
            out[c] = out[c] + h0 * r0[c] + h1 * r1[c] + h2 * r2[c] + h3 * r3[c]
    for k in range(whole, n_taps):
        r0, h0 = rows[at - k], taps[k]
        for c in range(n_channels):
            out[c] += h0 * r0[c]


@njit(cache=True, nogil=True)
def fir_each(rows: Array, begin: int, taps: Array, out: Array) -> None:
    """Write to `out[t]` the sum over k of ``taps[k] * rows[begin + t - k]``; `taps` has shape (n_taps, n_channels)."""
    n_samples, n_channels = out.shape
    for t in range(n_samples):
        y = out[t]
        for c in range(n_channels):
            y[c] = 0.0
        for k in range(taps.shape[0]):
            row, h = rows[begin + t - k], taps[k]
            for c in range(n_channels):
                y[c] += h[c] * row[c]


@njit(cache=True, nogil=True)
def fir_phases(rows: Array, at: Index, phase: Index, taps: Array, out: Array) -> None:
    """Write to `out[n]` the sum over k of ``taps[phase[n], k] * rows[at[n] - k]``: a polyphase filter."""
    for n in range(out.shape[0]):
        fir_row(rows, at[n], taps[phase[n]], out[n])


@functools.cache
def warm_up() -> None:
    """Compile every kernel (or load it from the cache on disk), so that no sample waits for a compiler."""
    rows, one, none = np.ones((8, 2)), np.ones((1, 2)), np.zeros(1, np.int64)
    fir_each(rows, 4, one, one)
    fir_phases(rows, none, none, np.ones((1, 1)), one)
