"""Compiled loops over time-major samples, shape (n_samples, n_channels).

Every row is computed in one fixed order of operations, without fast-math and
threads, so the bits of a result do not depend on how a stream was cut.
"""

from __future__ import annotations

import functools

import numpy as np
from numba import njit
from numpy.typing import NDArray

Array = NDArray[np.float64]
Mask = NDArray[np.uint8]
Index = NDArray[np.int64]

# No converter delivers this; beyond it a filter state could overflow and never come back.
LARGEST = 1e30


@njit(cache=True)
def is_clean(values: Array) -> bool:
    """Return True if every value is a finite number that a signal can have."""
    flat = values.ravel()
    strange = 0
    for i in range(flat.size):
        strange += not (abs(flat[i]) < LARGEST)
    return strange == 0


@njit(cache=True)
def hold(values: Array, bad: Mask, last: Array, known: Mask) -> None:
    """Mark unknown values in `bad` and replace them by the channel's last known one, in place (0 before the first)."""
    n_samples, n_channels = values.shape
    for t in range(n_samples):
        for c in range(n_channels):
            if abs(values[t, c]) < LARGEST:
                last[c] = values[t, c]
                known[c] = 1
            else:
                bad[t, c] = 1
                values[t, c] = last[c] if known[c] else 0.0


@njit(cache=True)
def sos_filter(values: Array, sections: Array, state: Array) -> None:
    """Filter in place by second-order sections, transposed direct form II.

    `sections` has shape (n_sections, 5): b0, b1, b2, a1, a2. `state` has shape
    (n_sections, 2, n_channels) and is updated.
    """
    n_samples, n_channels = values.shape
    for s in range(sections.shape[0]):
        b0, b1, b2, a1, a2 = sections[s, 0], sections[s, 1], sections[s, 2], sections[s, 3], sections[s, 4]
        first, second = state[s, 0], state[s, 1]
        for t in range(n_samples):
            row = values[t]
            for c in range(n_channels):
                x = row[c]
                y = b0 * x + first[c]
                first[c] = b1 * x - a1 * y + second[c]
                second[c] = b2 * x - a2 * y
                row[c] = y


@njit(cache=True)
def subtract_average(values: Array, bad: Mask, masked: bool, members: Index, targets: Index) -> None:
    """Subtract the mean of the known `members` from the `targets`, in place, row by row.

    Where no member is known the targets become unknown too.
    """
    for t in range(values.shape[0]):
        total = 0.0
        count = 0
        for i in members:
            if not masked or bad[t, i] == 0:
                total += values[t, i]
                count += 1
        if count == 0:
            for i in targets:
                bad[t, i] = 1
        else:
            mean = total / count
            for i in targets:
                values[t, i] -= mean


@njit(cache=True)
def mix(values: Array, bad: Mask, masked: bool, weights: Array, mixed: Array, mixed_bad: Mask) -> None:
    """Write ``values @ weights`` to `mixed`; an output is unknown where an input of weight other than 0 is.

    `weights` has shape (n_inputs, n_outputs).
    """
    n_outputs = weights.shape[1]
    for t in range(values.shape[0]):
        row = mixed[t]
        for j in range(n_outputs):
            row[j] = 0.0
        for k in range(weights.shape[0]):
            x = values[t, k]
            for j in range(n_outputs):
                row[j] += x * weights[k, j]
            if masked and bad[t, k]:
                for j in range(n_outputs):
                    if weights[k, j] != 0.0:
                        mixed_bad[t, j] = 1


@njit(cache=True)
def add_to_bins(values: Array, begun: int, length: int, square: bool, signals: Mask, sums: Array, bins: Array) -> None:
    """Add rows to `sums` and write the mean of every bin that becomes complete to `bins`.

    `begun` samples of the first bin are in `sums` already. A channel that is no signal keeps its last value. What is
    not a number that a signal can have makes the bin unknown.
    """
    n_samples, n_channels = values.shape
    k = 0
    for t in range(n_samples):
        row = values[t]
        if square:
            for c in range(n_channels):
                sums[c] += row[c] * row[c]
        else:
            for c in range(n_channels):
                sums[c] += abs(row[c])
        begun += 1
        if begun == length:
            for c in range(n_channels):
                bins[k, c] = sums[c] / length if signals[c] else row[c]
                if not abs(bins[k, c]) < LARGEST:
                    bins[k, c] = np.nan
                sums[c] = 0.0
            begun, k = 0, k + 1


@functools.cache
def warm_up() -> None:
    """Compile every kernel (or load it from the cache on disk), so that no sample waits for a compiler."""
    values, bad = np.ones((2, 2)), np.zeros((2, 2), np.uint8)
    index, none = np.arange(2), np.zeros(2, np.uint8)
    is_clean(values)
    hold(values, bad, np.zeros(2), none)
    sos_filter(values, np.zeros((1, 5)), np.zeros((1, 2, 2)))
    subtract_average(values, bad, False, index, index)
    mix(values, bad, False, np.eye(2), np.empty((2, 2)), bad)
    add_to_bins(values, 0, 2, False, none, np.zeros(2), np.empty((1, 2)))
