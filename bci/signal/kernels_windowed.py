"""Compiled loops of the windowed features over time-major samples, shape (n_samples, n_channels).

As in `bci.signal.kernels` every number is computed in one fixed order of operations, without fast-math and threads.
"""

from __future__ import annotations

import functools
import math

import numpy as np
from numpy.typing import NDArray

from bci.signal.assembly import LARGEST
from bci.signal.compiled import njit

Array = NDArray[np.float64]
Index = NDArray[np.int64]
Mask = NDArray[np.uint8]

_TILE = 8
"""Channels that are worked on together, so that their errors stay in the cache."""


@njit(cache=True, nogil=True)
def push(
    values: Array, columns: Index, number: int, ring: Array, last: Array, seen: Mask, unknown_at: Index
) -> None:  # fmt: skip
    """Write `columns` of the rows to the ring, twice, so that every window lies in one piece.

    `ring` has shape (2 * length, n_columns); sample n stands in rows n % length and n % length + length. An unknown
    value is replaced by the channel's `last` known one and its number noted in `unknown_at`. The first known value
    (`seen` is 0 until then) stands for all before it as well: a channel that comes late begins without a step.
    """
    length = ring.shape[0] // 2
    slot = number % length
    for t in range(values.shape[0]):
        one, two = ring[slot], ring[slot + length]
        for k in range(columns.size):
            x = values[t, columns[k]]
            if abs(x) < LARGEST:
                last[k] = x
                if seen[k] == 0:
                    seen[k] = 1
                    ring[:, k] = x
            else:
                unknown_at[k] = number + t
                x = last[k]
            one[k] = x
            two[k] = x
        slot += 1
        if slot == length:
            slot = 0


@njit(cache=True, nogil=True)
def moments(window: Array, mean: Array, variance: Array) -> None:
    """Write mean and variance (divided by the number of samples) of every channel, in two passes."""
    n_samples, n_channels = window.shape
    mean[:] = 0.0
    variance[:] = 0.0
    for t in range(n_samples):
        for c in range(n_channels):
            mean[c] += window[t, c]
    for c in range(n_channels):
        mean[c] /= n_samples
    for t in range(n_samples):
        for c in range(n_channels):
            variance[c] += (window[t, c] - mean[c]) ** 2
    for c in range(n_channels):
        variance[c] /= n_samples


@njit(cache=True, nogil=True)
def line_length(window: Array, total: Array) -> None:
    """Write the sum of the absolute differences of neighbouring samples of every channel."""
    total[:] = 0.0
    for t in range(1, window.shape[0]):
        for c in range(window.shape[1]):
            total[c] += abs(window[t, c] - window[t - 1, c])


@njit(cache=True, nogil=True)
def burg(window: Array, lowest: int, best: Array, error: Array) -> None:
    """Fit an autoregressive model to every channel by Burg's recursion.

    `best` has shape (max_order + 1, n_channels) and gets 1, a1, ... ap, then zeros; `error` the variance of the
    innovations. Of the orders from `lowest` to max_order the one with the least AICc is taken, per channel.
    """
    n_samples, n_channels = window.shape
    n_orders = best.shape[0]
    reflections, mean, power = np.zeros((n_orders, _TILE)), np.zeros(n_channels), np.zeros(n_channels)
    moments(window, mean, power)
    forward, backward = np.zeros((n_samples, _TILE)), np.zeros((n_samples, _TILE))
    for first in range(0, n_channels, _TILE):
        width = min(_TILE, n_channels - first)
        for t in range(n_samples):
            for i in range(width):
                forward[t, i] = window[t, first + i] - mean[first + i]
                backward[t, i] = forward[t, i]
        _reflect(forward, backward, reflections)
        for i in range(width):
            c = first + i
            error[c] = _levinson(reflections[:, i], power[c], n_samples, lowest, best[:, c])


@njit(cache=True, nogil=True)
def _reflect(forward: Array, backward: Array, reflections: Array) -> None:
    """Write the reflection coefficients of every order to the rows of `reflections`; the errors are used up.

    Each pass makes the errors of order m and adds up what the coefficients of order m + 1 need.
    """
    n_samples = forward.shape[0]
    cross, energy, coefficient, held = np.zeros(_TILE), np.zeros(_TILE), np.zeros(_TILE), np.zeros(_TILE)
    for t in range(1, n_samples):
        for i in range(_TILE):
            cross[i] += forward[t, i] * backward[t - 1, i]
            energy[i] += forward[t, i] ** 2 + backward[t - 1, i] ** 2
    for m in range(1, reflections.shape[0]):
        for i in range(_TILE):
            coefficient[i] = -2.0 * cross[i] / energy[i] if energy[i] > 0.0 else 0.0
            reflections[m, i] = coefficient[i]
            cross[i] = 0.0
            energy[i] = 0.0
            held[i] = backward[m - 1, i]
        for t in range(m, n_samples):
            counts = t > m
            for i in range(_TILE):
                f, b = forward[t, i], held[i]
                held[i] = backward[t, i]
                new = f + coefficient[i] * b
                forward[t, i] = new
                backward[t, i] = b + coefficient[i] * f
                if counts:
                    before = backward[t - 1, i]
                    cross[i] += new * before
                    energy[i] += new * new + before * before


@njit(cache=True, nogil=True)
def _levinson(reflections: Array, power: float, n_samples: int, lowest: int, best: Array) -> float:
    """Write the model of the order with the least AICc to `best`; return the variance of its innovations."""
    model = np.zeros(reflections.size)
    model[0] = 1.0
    least, error = np.inf, power
    for m in range(1, reflections.size):
        k = reflections[m]
        for i in range(1, m // 2 + 1):
            low, high = model[i], model[m - i]
            model[i] = low + k * high
            model[m - i] = high + k * low
        model[m] = k
        power *= max(1.0 - k * k, 0.0)
        if m < lowest:
            continue
        fit = math.log(power) if power > 0.0 else -np.inf
        score = n_samples * fit + n_samples * (n_samples + m) / (n_samples - m - 2)
        if score < least or m == lowest:
            least, error = score, power
            best[:] = model
    return error


@njit(cache=True, nogil=True)
def permutation_entropy(channels: Array, order: int, delay: int, entropy: Array) -> None:
    """Write the Shannon entropy of the ordinal patterns of every row, over its largest value log(order!).

    `channels` has shape (n_channels, n_samples).
    """
    n_patterns = 1
    for k in range(2, order + 1):
        n_patterns *= k
    counts = np.zeros(n_patterns)
    n = channels.shape[1] - (order - 1) * delay
    for c in range(channels.shape[0]):
        x = channels[c]
        counts[:] = 0.0
        for t in range(n):
            code = 0
            for i in range(order - 1):
                smaller = 0  # the Lehmer code of the pattern; equal values keep their order in time
                for j in range(i + 1, order):
                    smaller += x[t + j * delay] < x[t + i * delay]
                code = (code + smaller) * (order - 1 - i)
            counts[code] += 1.0
        total = 0.0
        for k in range(n_patterns):
            if counts[k] > 0.0:
                share = counts[k] / n
                total -= share * math.log(share)
        entropy[c] = total / math.log(n_patterns)


@njit(cache=True, nogil=True)
def sample_entropy(channels: Array, order: int, tolerance: Array, entropy: Array) -> None:
    """Write -log(A / B) of every row of `channels`, shape (n_channels, n_samples).

    B counts pairs of stretches of `order` samples that differ nowhere by more than `tolerance`, A those of one more.
    Without a match the least A that can be told from 0, half a pair, stands for it.
    """
    n = channels.shape[1] - order
    for c in range(channels.shape[0]):
        x, near = channels[c], tolerance[c]
        short, long = 0, 0
        for i in range(n - 1):
            for j in range(i + 1, n):
                k = 0
                while k < order and abs(x[i + k] - x[j + k]) <= near:
                    k += 1
                if k == order:
                    short += 1
                    long += abs(x[i + order] - x[j + order]) <= near
        pairs = max(short, 1)
        entropy[c] = -math.log(max(float(long), 0.5) / pairs) if short else math.log(n * (n - 1.0))


@functools.cache
def warm_up() -> None:
    """Compile every kernel (or load it from the cache on disk), so that no sample waits for a compiler."""
    values, two = np.arange(12.0).reshape(6, 2), np.zeros(2)
    index = np.arange(2)
    push(values, index, 0, np.zeros((4, 2)), two, np.zeros(2, np.uint8), index.copy())
    moments(values, two, two.copy())
    line_length(values, two)
    burg(values, 1, np.zeros((2, 2)), two)
    permutation_entropy(values, 2, 1, np.zeros(6))
    sample_entropy(values, 2, np.ones(6), np.zeros(6))
