"""Compiled loops of the windowed features over time-major samples, shape (n_samples, n_channels).

As in `bci.signal.kernels` every number is computed in one fixed order of operations, without fast-math and threads.
"""

from __future__ import annotations

import functools
import math

import numpy as np
from numba import njit
from numpy.typing import NDArray

from bci.signal.kernels import LARGEST

Array = NDArray[np.float64]
Index = NDArray[np.int64]


@njit(cache=True, nogil=True)
def push(values: Array, columns: Index, number: int, ring: Array, last: Array, unknown_at: Index) -> None:
    """Write `columns` of the rows to the ring, twice, so that every window lies in one piece.

    `ring` has shape (2 * length, n_columns); sample n stands in rows n % length and n % length + length. An unknown
    value is replaced by the channel's `last` known one and its number noted in `unknown_at`.
    """
    length = ring.shape[0] // 2
    slot = number % length
    for t in range(values.shape[0]):
        one, two = ring[slot], ring[slot + length]
        for k in range(columns.size):
            x = values[t, columns[k]]
            if abs(x) < LARGEST:
                last[k] = x
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
    highest = best.shape[0] - 1
    mean, power = np.zeros(n_channels), np.zeros(n_channels)
    moments(window, mean, power)
    forward = window - mean
    backward = forward.copy()
    model = np.zeros((highest + 1, n_channels))
    model[0] = 1.0
    criterion = np.full(n_channels, np.inf)
    cross, energy, reflection = np.zeros(n_channels), np.zeros(n_channels), np.zeros(n_channels)
    for m in range(1, highest + 1):
        cross[:] = 0.0
        energy[:] = 0.0
        for t in range(m, n_samples):
            f, b = forward[t], backward[t - 1]
            for c in range(n_channels):
                cross[c] += f[c] * b[c]
                energy[c] += f[c] * f[c] + b[c] * b[c]
        for c in range(n_channels):
            reflection[c] = -2.0 * cross[c] / energy[c] if energy[c] > 0.0 else 0.0
        for t in range(n_samples - 1, m - 1, -1):  # from the end: backward[t - 1] is still that of order m - 1
            f, b, new = forward[t], backward[t - 1], backward[t]
            for c in range(n_channels):
                old = f[c]
                f[c] = old + reflection[c] * b[c]
                new[c] = b[c] + reflection[c] * old
        for c in range(n_channels):
            k = reflection[c]
            for i in range(1, m // 2 + 1):
                low, high = model[i, c], model[m - i, c]
                model[i, c] = low + k * high
                model[m - i, c] = high + k * low
            model[m, c] = k
            power[c] *= max(1.0 - k * k, 0.0)
            if m < lowest:
                continue
            fit = math.log(power[c]) if power[c] > 0.0 else -np.inf
            score = n_samples * fit + n_samples * (n_samples + m) / (n_samples - m - 2)
            if score < criterion[c] or m == lowest:
                criterion[c] = score
                best[:, c] = model[:, c]
                error[c] = power[c]


@njit(cache=True, nogil=True)
def permutation_entropy(window: Array, order: int, delay: int, entropy: Array) -> None:
    """Write the Shannon entropy of the ordinal patterns of every channel, over its largest value log(order!)."""
    n_patterns = 1
    for k in range(2, order + 1):
        n_patterns *= k
    counts = np.zeros(n_patterns)
    n = window.shape[0] - (order - 1) * delay
    for c in range(window.shape[1]):
        counts[:] = 0.0
        for t in range(n):
            code = 0
            for i in range(order - 1):
                smaller = 0  # the Lehmer code of the pattern; equal values keep their order in time
                for j in range(i + 1, order):
                    smaller += window[t + j * delay, c] < window[t + i * delay, c]
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
    push(values, index, 0, np.zeros((4, 2)), two, index.copy())
    moments(values, two, two.copy())
    line_length(values, two)
    burg(values, 1, np.zeros((2, 2)), two)
    permutation_entropy(values, 2, 1, two)
    sample_entropy(values, 2, np.ones(6), np.zeros(6))
