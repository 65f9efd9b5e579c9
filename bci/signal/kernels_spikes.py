"""Compiled loops for threshold crossings of up to 1024 channels at 30 kHz; the rules of `bci.signal.kernels` hold."""

from __future__ import annotations

import functools

import numpy as np
from numpy.typing import NDArray

from bci.signal.assembly import LARGEST
from bci.signal.compiled import njit
from bci.signal.kernels import is_clean
from bci.signal.kernels_normalise import chance, middle_of, sample

Array = NDArray[np.float64]
Mask = NDArray[np.uint8]
Index = NDArray[np.int64]

# Columns of what a channel remembers of its crossings, as numbers of samples.
LAST_BEYOND, LAST_SPIKE = 0, 1
# Tiles of channels that are searched together: most hold no crossing.
TILE = 64
NEVER = -(2**60)


@njit(cache=True, nogil=True)
def learn_magnitudes(
    row: Array, u: float, v: float, fills: bool, signals: Mask, memory: int, most: int, seen: Index, counts: Index,
    kept: Array,
) -> None:  # fmt: skip
    """Offer the magnitudes of one row to the reservoirs `kept`; those with room take them only if the row `fills`."""
    for c in range(row.shape[0]):
        x = abs(row[c])
        if signals[c] and x < LARGEST and seen[c] < most:
            seen[c] += 1
            if fills or counts[c] == kept.shape[1]:
                counts[c] = sample(x, seen[c], memory, u, v, kept[c], counts[c])


@njit(cache=True, nogil=True)
def learn_squares(
    row: Array, signals: Mask, clean: bool, keep: float, most: int, seen: Index, squares: Array, weights: Array
) -> None:
    """Take the squares of one row into their running sums."""
    for c in range(row.shape[0]):
        x = row[c]
        if signals[c] and (clean or abs(x) < LARGEST) and seen[c] < most:
            seen[c] += 1
            squares[c] = keep * squares[c] + x * x
            weights[c] = keep * weights[c] + 1.0


@njit(cache=True, nogil=True)
def read_limits(
    multiple: float, use_median: bool, least: int, signals: Mask, seen: Index, counts: Index, kept: Array,
    squares: Array, weights: Array, limits: Array,
) -> None:  # fmt: skip
    """Write the limit of each channel that has seen `least` values."""
    for c in range(limits.shape[0]):
        if not signals[c] or seen[c] < least:
            continue
        if use_median and counts[c] == 0:
            continue
        if use_median:
            # 0.6745: the normal quantile of 3/4, where the median magnitude of normal noise of spread 1 lies.
            limits[c] = multiple * middle_of(kept[c], counts[c]) / 0.6744897501960817
        else:
            limits[c] = multiple * np.sqrt(squares[c] / weights[c])
        if limits[c] == 0.0:
            limits[c] = np.inf  # a dead channel crosses nothing


@njit(cache=True, nogil=True)
def mark(x: float, c: int, number: int, side: int, limit: float, refractory: int, past: Index) -> bool:
    """Return True if `x` begins to be beyond `limit` and the channel is not refractory."""
    beyond = (side <= 0 and x <= -limit) or (side >= 0 and x >= limit)
    if not beyond:
        return False
    begins = past[c, LAST_BEYOND] != number - 1
    past[c, LAST_BEYOND] = number
    if begins and number - past[c, LAST_SPIKE] >= refractory:
        past[c, LAST_SPIKE] = number
        return True
    return False


@njit(cache=True, nogil=True)
def find(
    row: Array, number: int, clean: bool, signals: Mask, side: int, limits: Array, refractory: int, past: Index,
    out: Array,
) -> None:  # fmt: skip
    """Add 1 to `out` where a channel crosses its limit in `row`; an unknown value makes `out` unknown."""
    n = row.shape[0]
    for begin in range(0, n, TILE):
        end = min(n, begin + TILE)
        # Slices of their own let the compiler compare eight channels at once.
        part, limit = row[begin:end], limits[begin:end]
        some = 0
        for c in range(part.shape[0]):
            some += 1 if abs(part[c]) >= limit[c] else 0
        if clean and some == 0:
            continue
        for c in range(begin, end):
            x = row[c]
            if not signals[c]:
                continue
            if not abs(x) < LARGEST:
                out[c] = np.nan
                past[c, LAST_BEYOND] = number  # what follows may have crossed before
            elif mark(x, c, number, side, limits[c], refractory, past):
                out[c] += 1.0


@njit(cache=True, nogil=True)
def cross(
    values: Array, start: int, begun: int, length: int, clean: bool, signals: Mask, side: int, multiple: float,
    refractory: int, use_median: bool, memory: int, keep: float, least: int, most: int, every: int, past: Index,
    seen: Index, counts: Index, kept: Array, squares: Array, weights: Array, limits: Array, out: Array,
) -> None:  # fmt: skip
    """Count crossings in bins of `length` rows, of which the first has `begun` behind it; `out` has one row a bin.

    The noise learns each row before the row is judged, until a channel has seen `most` values. Limits are read at
    samples whose number is a multiple of `every`. `limits` holds magnitudes, inf where none is known yet.
    """
    n_channels, size = values.shape[1], kept.shape[1]
    fewest, filled = 2**62, True
    for c in range(n_channels):
        if signals[c]:
            fewest = min(fewest, int(seen[c]))
            filled = filled and counts[c] == size
    owed = 0
    for t in range(values.shape[0]):
        number = start + t
        if fewest < most:
            u = chance(number, 3)
            if not use_median:
                learn_squares(values[t], signals, clean, keep, most, seen, squares, weights)
            elif filled and clean and u * min(fewest + t + 1, memory) >= size:
                owed += 1  # no channel has seen fewer: where that many reject the row, all do
            else:
                for c in range(n_channels):
                    seen[c] = min(seen[c] + owed, most)
                owed = 0
                # Twice as many rows fill as there is room for until the first reading: the start is no burst of work.
                fills = chance(number, 5) * least < 2 * size
                learn_magnitudes(values[t], u, chance(number, 4), fills, signals, memory, most, seen, counts, kept)
            if number % every == 0:
                for c in range(n_channels):
                    seen[c] = min(seen[c] + owed, most)
                owed = 0
                read_limits(multiple, use_median, least, signals, seen, counts, kept, squares, weights, limits)
        find(values[t], number, clean, signals, side, limits, refractory, past, out[(begun + t) // length])
    for c in range(n_channels):
        seen[c] = min(seen[c] + owed, most)
        if not signals[c]:
            for t in range(values.shape[0]):
                out[(begun + t) // length, c] = values[t, c]


@functools.cache
def warm_up() -> None:
    """Compile every kernel (or load it from the cache on disk), so that no sample waits for a compiler."""
    values, signals = np.ones((2, 2)), np.ones(2, np.uint8)
    frozen = values.copy()
    frozen.flags.writeable = False  # a type of its own for the compiler
    for rows in (values, frozen):
        is_clean(rows)
        cross(
            rows, 0, 0, 1, True, signals, -1, 4.0, 1, True, 10, 0.5, 1, 10, 1, np.zeros((2, 2), np.int64),
            np.zeros(2, np.int64), np.zeros(2, np.int64), np.zeros((2, 4)), np.zeros(2), np.zeros(2),
            np.full(2, np.inf), np.zeros((2, 2)),
        )  # fmt: skip
