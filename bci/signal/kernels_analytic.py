"""Compiled loops of complex filters over time-major samples; the rules of `bci.signal.kernels` hold."""

from __future__ import annotations

import functools
import math

import numpy as np
from numpy.typing import NDArray

from bci.signal.compiled import njit

Array = NDArray[np.float64]
Mask = NDArray[np.uint8]
Index = NDArray[np.int64]

# What comes out of a complex number.
AMPLITUDE, POWER, PHASE, COMPLEX = 0, 1, 2, 3


@njit(cache=True, nogil=True)
def write(re: float, im: float, what: int, out: Array, at: int) -> None:
    """Write what was asked of re + i im to `out`, from `at` on."""
    if what == AMPLITUDE:
        out[at] = math.sqrt(re * re + im * im)
    elif what == POWER:
        out[at] = re * re + im * im
    elif what == PHASE:
        out[at] = math.atan2(im, re)
    else:
        out[at], out[at + 1] = re, im


@njit(cache=True, nogil=True)
def remember(row: Array, bad: Array, masked: bool, started: Mask, unknown: Mask, ring: Array, place: int) -> None:
    """Put `row` into the `ring`; a channel that has not begun has had its first known value for ever."""
    ring[place] = row
    for c in range(row.shape[0]):
        if masked and bad[c]:
            unknown[c] = 1
        elif not started[c]:
            started[c] = 1
            for k in range(ring.shape[0]):
                ring[k, c] = row[c]


@njit(cache=True, nogil=True)
def dot(ring: Array, place: int, first: int, taps: Array, sums: Array) -> None:
    """Add the past of every channel, weighted by the complex `taps`, to `sums`, both shape (2, ...); newest first.

    `taps[:, 0]` meets the row `first` samples before the one at `place`.
    """
    n_ring = ring.shape[0]
    re, im = sums[0], sums[1]
    for c in range(re.shape[0]):
        re[c] = 0.0
        im[c] = 0.0
    n_taps = taps.shape[1]
    whole = n_taps - n_taps % 4
    for k in range(0, whole, 4):  # four at a time: the sums are loaded and stored a quarter as often
        at = place - first - k + n_ring
        r0, r1 = ring[at % n_ring], ring[(at - 1) % n_ring]
        r2, r3 = ring[(at - 2) % n_ring], ring[(at - 3) % n_ring]
        a0, a1, a2, a3 = taps[0, k], taps[0, k + 1], taps[0, k + 2], taps[0, k + 3]
        b0, b1, b2, b3 = taps[1, k], taps[1, k + 1], taps[1, k + 2], taps[1, k + 3]
        for c in range(re.shape[0]):
            re[c] += (a0 * r0[c] + a1 * r1[c]) + (a2 * r2[c] + a3 * r3[c])
            im[c] += (b0 * r0[c] + b1 * r1[c]) + (b2 * r2[c] + b3 * r3[c])
    for k in range(whole, n_taps):
        row = ring[(place - first - k + n_ring) % n_ring]
        a, b = taps[0, k], taps[1, k]
        for c in range(re.shape[0]):
            re[c] += a * row[c]
            im[c] += b * row[c]


@njit(cache=True, nogil=True)
def fir_bank(
    values: Array, bad: Mask, masked: bool, skip: int, step: int, place: int, taps: Array, firsts: Index,
    lengths: Index, started: Mask, unknown: Mask, ring: Array, sums: Array, what: int, out: Array,
) -> int:  # fmt: skip
    """Filter by a bank of complex `taps`, shape (n_filters, 2, n_taps), at every `step`-th row from `skip` on.

    `out` has the columns of a channel together, filter by filter. Returns the new place in the `ring`.
    """
    n_filters, width = taps.shape[0], 2 if what == COMPLEX else 1
    k = 0
    for t in range(values.shape[0]):
        place = place + 1 if place + 1 < ring.shape[0] else 0
        remember(values[t], bad[t if masked else 0], masked, started, unknown, ring, place)
        if t < skip or (t - skip) % step:
            continue
        for f in range(n_filters):
            dot(ring, place, firsts[f], taps[f, :, : lengths[f]], sums)
            for c in range(values.shape[1]):
                at = (c * n_filters + f) * width
                if unknown[c]:
                    out[k, at : at + width] = np.nan
                else:
                    write(sums[0, c], sums[1, c], what, out[k], at)
        unknown[:] = 0
        k += 1
    return place


@njit(cache=True, nogil=True)
def one_sided(
    values: Array, bad: Mask, masked: bool, poles: Array, zero: Array, gain: Array, steady: Array, started: Mask,
    state: Array, what: int, out: Array,
) -> None:  # fmt: skip
    """Filter by a cascade of complex sections of first order with one `zero`, shape (2,), and write what was asked.

    A section is y = g (x + z x') + p y' with x', y' of the sample before: `poles`, `gain` and `steady`, shape
    (n_sections, 2); `steady` is the output of each for an input of 1 for ever. `state` has shape
    (n_sections, 4, n_channels): x' and y' as real and imaginary parts.
    """
    zr, zi = zero[0], zero[1]
    width = 2 if what == COMPLEX else 1
    for t in range(values.shape[0]):
        for c in range(values.shape[1]):
            re, im = values[t, c], 0.0
            unknown = masked and bad[t, c] != 0
            if not started[c]:
                if unknown:
                    out[t, c * width : (c + 1) * width] = np.nan
                    continue
                started[c] = 1
                xr, xi = re, 0.0
                for s in range(poles.shape[0]):
                    state[s, 0, c], state[s, 1, c] = xr, xi
                    xr, xi = steady[s, 0] * re, steady[s, 1] * re
                    state[s, 2, c], state[s, 3, c] = xr, xi
            for s in range(poles.shape[0]):
                xr, xi, yr, yi = state[s, 0, c], state[s, 1, c], state[s, 2, c], state[s, 3, c]
                ur, ui = re + zr * xr - zi * xi, im + zr * xi + zi * xr
                state[s, 0, c], state[s, 1, c] = re, im
                re = gain[s, 0] * ur - gain[s, 1] * ui + poles[s, 0] * yr - poles[s, 1] * yi
                im = gain[s, 0] * ui + gain[s, 1] * ur + poles[s, 0] * yi + poles[s, 1] * yr
                state[s, 2, c], state[s, 3, c] = re, im
            if unknown:
                out[t, c * width : (c + 1) * width] = np.nan
            else:
                write(re, im, what, out[t], c * width)


@functools.cache
def warm_up() -> None:
    """Compile every kernel (or load it from the cache on disk), so that no sample waits for a compiler."""
    values, bad, ones = np.ones((2, 2)), np.zeros((2, 2), np.uint8), np.ones(2, np.uint8)
    firsts, lengths = np.zeros(1, np.int64), np.ones(1, np.int64)
    fir_bank(
        values, bad, False, 0, 1, 0, np.zeros((1, 2, 1)), firsts, lengths, ones, ones.copy(), np.zeros((2, 2)),
        np.zeros((2, 2)), AMPLITUDE, np.zeros((2, 2)),
    )  # fmt: skip
    section = np.zeros((1, 2))
    one_sided(
        values, bad, False, section, np.zeros(2), section, section, ones, np.zeros((1, 4, 2)), AMPLITUDE,
        np.zeros((2, 2)),
    )  # fmt: skip
