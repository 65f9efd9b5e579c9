"""Compiled loops over time-major samples, shape (n_samples, n_channels).

Every row is computed in one fixed order of operations, without fast-math and
threads, so the bits of a result do not depend on how a stream was cut.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from bci.signal import plain
from bci.signal.assembly import LARGEST, Assembly
from bci.signal.compiled import IS_COMPILED, njit
from bci.stream import read_only

if IS_COMPILED or TYPE_CHECKING:
    from bci.signal.engine import run
else:
    from bci.signal.plain import run

Array = NDArray[np.float64]
Mask = NDArray[np.uint8]
Index = NDArray[np.int64]

__all__ = ["add_to_bins", "hold", "is_clean", "load", "mix", "run", "spread", "subtract_known_average", "warm_up"]


@njit(cache=True, nogil=True)
def is_clean(values: Array) -> bool:
    """Return True if every value is a finite number that a signal can have."""
    flat = values.ravel()
    strange = 0
    for i in range(flat.size):
        strange += not (abs(flat[i]) < LARGEST)
    return strange == 0


@njit(cache=True, nogil=True)
def load(numbers: NDArray[np.generic], scales: Array, values: Array) -> None:
    """Write `numbers` of any type times the scales of their columns to `values`."""
    for t in range(values.shape[0]):
        for c in range(values.shape[1]):
            values[t, c] = numbers[t, c] * scales[c]


@njit(cache=True, nogil=True)
def hold(values: Array, bad: Mask, last: Array, known: Mask) -> bool:
    """Mark unknown values in `bad` and replace them by the channel's last known one, in place (0 before the first).

    Return True if there are some.
    """
    n_samples, n_channels = values.shape
    some = False
    for t in range(n_samples):
        for c in range(n_channels):
            if abs(values[t, c]) < LARGEST:
                last[c] = values[t, c]
                known[c] = 1
            else:
                some = True
                bad[t, c] = 1
                values[t, c] = last[c] if known[c] else 0.0
    return some


@njit(cache=True, nogil=True)
def subtract_known_average(values: Array, bad: Mask, members: Index, targets: Index, out: Array) -> None:
    """Write `targets` less the mean of the known `members` to `out`, in the rows where some are unknown.

    Where no member is known the targets become unknown too.
    """
    for t in range(values.shape[0]):
        total = 0.0
        count = 0
        for i in members:
            if bad[t, i] == 0:
                total += values[t, i]
                count += 1
        if count == members.size:
            continue
        mean = total / count if count else 0.0
        for i in targets:
            out[t, i] = values[t, i] - mean
            if count == 0:
                bad[t, i] = 1


@njit(cache=True, nogil=True)
def spread(bad: Mask, weights: Array, out_bad: Mask) -> None:
    """Mark an output where an input of weight other than 0 is unknown; `weights` has shape (n_inputs, n_outputs)."""
    for t in range(bad.shape[0]):
        for k in range(weights.shape[0]):
            if bad[t, k]:
                for j in range(weights.shape[1]):
                    if weights[k, j] != 0.0:
                        out_bad[t, j] = 1


@njit(cache=True, nogil=True)
def mix(values: Array, weights: Array, mixed: Array) -> None:
    """Write ``values @ weights`` to `mixed`; `weights` has shape (n_inputs, n_outputs)."""
    n_outputs = weights.shape[1]
    for t in range(values.shape[0]):
        row = mixed[t]
        for j in range(n_outputs):
            row[j] = 0.0
        for k in range(weights.shape[0]):
            x = values[t, k]
            for j in range(n_outputs):
                row[j] += x * weights[k, j]


@njit(cache=True, nogil=True)
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


if not IS_COMPILED:  # loops over every value would take longer than the samples
    is_clean, load, hold = plain.is_clean, plain.load, plain.hold


@functools.cache
def warm_up() -> None:
    """Compile every kernel (or load it from the cache on disk), so that no sample waits for a compiler."""
    values, bad = np.ones((2, 2)), np.zeros((2, 2), np.uint8)
    index, none = np.arange(2), np.zeros(2, np.uint8)
    for number in (np.float64, np.float32, np.int16, np.int32):
        load(read_only(np.ones((2, 2), number)), np.ones(2), values)
    hold(values, bad, np.zeros(2), none)
    subtract_known_average(values, bad, index, index, values)
    spread(bad, np.eye(2), bad)
    mix(values, np.eye(2), np.empty((2, 2)))
    for numbers in (values, read_only(np.ones((2, 2)))):  # what is read-only has a type of its own
        is_clean(numbers)
        add_to_bins(numbers, 0, 2, False, none, np.zeros(2), np.empty((1, 2)))
    empty = Assembly([], 2)
    run(read_only(np.ones((2, 2))), values, empty.code, empty.memory)
