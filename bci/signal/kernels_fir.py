"""Compiled loops of filters without feedback, over time-major samples, shape (n_samples, n_channels).

An output is the sum over the taps from the first to the last, one after the other, in every loop here: four outputs
and four taps are taken at a time so that a sample is read from memory once for all of them, which changes no bit.
"""

from __future__ import annotations

import functools

import numpy as np
from numba import njit
from numpy.typing import NDArray

Array = NDArray[np.float64]
Index = NDArray[np.int64]


@njit(cache=True, nogil=True)
def fir(rows: Array, begin: int, taps: Array, out: Array) -> None:
    """Write to `out[t]` the sum over k of ``taps[k] * rows[begin + t - k]``; `taps` has shape (n_taps,)."""
    n_samples, n_channels = out.shape
    n_taps = taps.shape[0]
    whole = n_taps // 4 * 4
    fours = n_samples // 4 * 4
    for t in range(0, fours, 4):
        y0, y1, y2, y3 = out[t], out[t + 1], out[t + 2], out[t + 3]
        for c in range(n_channels):
            y0[c] = y1[c] = y2[c] = y3[c] = 0.0
        for k in range(0, whole, 4):
            at = begin + t - k
            r0, r1, r2, r3 = rows[at - 3], rows[at - 2], rows[at - 1], rows[at]
            r4, r5, r6 = rows[at + 1], rows[at + 2], rows[at + 3]
            h0, h1, h2, h3 = taps[k], taps[k + 1], taps[k + 2], taps[k + 3]
            for c in range(n_channels):
                x0, x1, x2, x3, x4, x5, x6 = r0[c], r1[c], r2[c], r3[c], r4[c], r5[c], r6[c]
                y0[c] = y0[c] + h0 * x3 + h1 * x2 + h2 * x1 + h3 * x0
                y1[c] = y1[c] + h0 * x4 + h1 * x3 + h2 * x2 + h3 * x1
                y2[c] = y2[c] + h0 * x5 + h1 * x4 + h2 * x3 + h3 * x2
                y3[c] = y3[c] + h0 * x6 + h1 * x5 + h2 * x4 + h3 * x3
        for k in range(whole, n_taps):
            at = begin + t - k
            r0, r1, r2, r3, h0 = rows[at], rows[at + 1], rows[at + 2], rows[at + 3], taps[k]
            for c in range(n_channels):
                y0[c] += h0 * r0[c]
                y1[c] += h0 * r1[c]
                y2[c] += h0 * r2[c]
                y3[c] += h0 * r3[c]
    for t in range(fours, n_samples):
        fir_row(rows, begin + t, taps, out[t])


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
    """Do as `fir`, with taps of its own for every channel: shape (n_taps, n_channels)."""
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
    fir(rows, 4, np.ones(1), one)
    fir_each(rows, 4, one, one)
    fir_phases(rows, none, none, np.ones((1, 1)), one)
