"""Compiled loops of the running statistics; the rules of `bci.signal.kernels` hold."""

from __future__ import annotations

import functools

import numpy as np
from numpy.typing import NDArray

from bci.signal.assembly import LARGEST
from bci.signal.compiled import njit

Array = NDArray[np.float64]
Mask = NDArray[np.uint8]
Index = NDArray[np.int64]

# Columns of the moments of a channel: mean, its weight, sum of squared deviations, its weight.
MEAN, MEAN_WEIGHT, SQUARES, SQUARES_WEIGHT = 0, 1, 2, 3
# Below it a spread is the rounding of a signal that does not change.
SMALLEST = 1e-290


@njit(cache=True, nogil=True)
def absorb(x: float, keep: float, moments: Array) -> None:
    """Take `x` into the `moments` of its channel, shape (4,), after forgetting by the factor `keep`.

    With weight w' = keep w + 1 and mean m' = m + (x - m) / w' the weighted sum of squares about the mean is exactly
    S' = keep S + (x - m)(x - m'). Where the mean starts anew on known squares, its first sample says nothing of them.
    """
    begins = moments[MEAN_WEIGHT] == 0.0
    moments[MEAN_WEIGHT] = keep * moments[MEAN_WEIGHT] + 1.0
    deviation = x - moments[MEAN]
    moments[MEAN] = x if begins else moments[MEAN] + deviation / moments[MEAN_WEIGHT]
    if not begins:
        moments[SQUARES] = keep * moments[SQUARES] + deviation * (x - moments[MEAN])
        moments[SQUARES_WEIGHT] = keep * moments[SQUARES_WEIGHT] + 1.0
    elif moments[SQUARES_WEIGHT] == 0.0:
        moments[SQUARES_WEIGHT] = 1.0


@njit(cache=True, nogil=True)
def spread(moments: Array) -> float:
    """Return the standard deviation that `moments` tell, 0 if they tell none."""
    return np.sqrt(moments[SQUARES] / moments[SQUARES_WEIGHT]) if moments[SQUARES] > SMALLEST else 0.0


@njit(cache=True, nogil=True)
def standardize(values: Array, signals: Mask, keep: float, moments: Array) -> None:
    """Replace `values` by their distance from the running mean in running standard deviations, in place."""
    for t in range(values.shape[0]):
        for c in range(values.shape[1]):
            x = values[t, c]
            if not signals[c]:
                continue
            if not abs(x) < LARGEST:
                values[t, c] = np.nan
                continue
            absorb(x, keep, moments[c])
            sd = spread(moments[c])
            values[t, c] = (x - moments[c, MEAN]) / sd if sd > 0.0 else 0.0


@njit(cache=True, nogil=True)
def against_rest(
    values: Array, signals: Mask, resting: bool, keep: float, percent: bool, least: float, rest: Array, every: Array
) -> None:
    """Replace `values` by their distance from rest, in place; `rest` learns if `resting`, `every` until `least`."""
    for t in range(values.shape[0]):
        for c in range(values.shape[1]):
            x = values[t, c]
            if not signals[c]:
                continue
            if not abs(x) < LARGEST:
                values[t, c] = np.nan
                continue
            if resting:
                absorb(x, keep, rest[c])
            known = rest[c]
            if rest[c, MEAN_WEIGHT] < least:
                absorb(x, keep, every[c])
                known = every[c]
            if percent:
                mean = known[MEAN]
                values[t, c] = 100.0 * (x - mean) / mean if abs(mean) > SMALLEST else np.nan
            else:
                sd = spread(known)
                values[t, c] = (x - known[MEAN]) / sd if sd > 0.0 else 0.0


@njit(cache=True, nogil=True)
def chance(number: int, salt: int) -> float:
    """Return a number in [0, 1) that looks random and depends on nothing but its arguments (SplitMix64)."""
    z = np.uint64(number) * np.uint64(0x9E3779B97F4A7C15) + np.uint64(salt) * np.uint64(0xD1B54A32D192ED03)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    z = z ^ (z >> np.uint64(31))
    return float(z >> np.uint64(11)) * 2.0**-53


@njit(cache=True, nogil=True)
def insert(x: float, row: Array, count: int, rank: int) -> None:
    """Put `x` into the sorted `row` of `count` values, in the place of the one at `rank` (`count` for none)."""
    low, high = 0, count
    while low < high:
        middle = (low + high) // 2
        if row[middle] < x:
            low = middle + 1
        else:
            high = middle
    if low > rank:
        for i in range(rank, low - 1):
            row[i] = row[i + 1]
        row[low - 1] = x
    else:
        for i in range(rank, low, -1):
            row[i] = row[i - 1]
        row[low] = x


@njit(cache=True, nogil=True)
def sample(x: float, n_seen: int, memory: int, u: float, v: float, row: Array, count: int) -> int:
    """Offer `x`, the `n_seen`-th value, to the reservoir `row`; return how many values it then has."""
    size = row.shape[0]
    if count < size:
        insert(x, row, count, count)
        return count + 1
    if u * min(n_seen, memory) < size:
        insert(x, row, count, int(v * count))
    return count


@njit(cache=True, nogil=True)
def middle_of(row: Array, count: int) -> float:
    """Return the median of the first `count` values of the sorted `row`."""
    half = count // 2
    return row[half] if count % 2 else 0.5 * (row[half - 1] + row[half])


@njit(cache=True, nogil=True)
def deviation_of(row: Array, count: int, median: float) -> float:
    """Return the median distance of the sorted values from their `median`: the least distances lie in its middle."""
    left, right = (count - 1) // 2, (count - 1) // 2 + 1
    before, last = 0.0, 0.0
    for _ in range(count // 2 + 1):
        before = last
        if left >= 0 and (right >= count or median - row[left] <= row[right] - median):
            last = median - row[left]
            left -= 1
        else:
            last = row[right] - median
            right += 1
    return last if count % 2 else 0.5 * (before + last)


@njit(cache=True, nogil=True)
def robust(
    values: Array, start: int, signals: Mask, memory: int, warm: int, every: int, rows: Array, counts: Index,
    seen: Index, moments: Array, levels: Array,
) -> None:  # fmt: skip
    """Replace `values` by their distance from the running median in robust standard deviations, in place.

    `levels`, shape (n_channels, 2), holds median and spread as last read from the reservoirs, which is at samples
    whose number is a multiple of `every`; a channel that has seen fewer than `warm` values uses its `moments`.
    """
    for t in range(values.shape[0]):
        u, v = chance(start + t, 1), chance(start + t, 2)
        read = (start + t) % every == 0
        for c in range(values.shape[1]):
            x = values[t, c]
            if not signals[c]:
                continue
            if not abs(x) < LARGEST:
                values[t, c] = np.nan
                continue
            seen[c] += 1
            counts[c] = sample(x, seen[c], memory, u, v, rows[c], counts[c])
            if seen[c] < warm:
                absorb(x, 1.0, moments[c])
                sd = levels[c, 1] if levels[c, 1] > 0.0 else spread(moments[c])
                values[t, c] = (x - moments[c, MEAN]) / sd if sd > 0.0 else 0.0
                continue
            if read or seen[c] == warm:
                levels[c, 0] = middle_of(rows[c], counts[c])
                # 1.4826 = 1 / (normal quantile of 3/4): the scale at which a normal signal has spread 1.
                levels[c, 1] = 1.482602218505602 * deviation_of(rows[c], counts[c], levels[c, 0])
            values[t, c] = (x - levels[c, 0]) / levels[c, 1] if levels[c, 1] > SMALLEST else 0.0


@njit(cache=True, nogil=True)
def log_power(values: Array, signals: Mask, keep: float, floor: float, sums: Array, weights: Array) -> None:
    """Replace `values` by the decimal logarithm of their running mean square, in place."""
    for t in range(values.shape[0]):
        for c in range(values.shape[1]):
            x = values[t, c]
            if not signals[c]:
                continue
            if not abs(x) < LARGEST:
                values[t, c] = np.nan
                continue
            weights[c] = keep * weights[c] + 1.0
            sums[c] = keep * sums[c] + x * x
            values[t, c] = np.log10(max(sums[c] / weights[c], floor))


@functools.cache
def warm_up() -> None:
    """Compile every kernel (or load it from the cache on disk), so that no sample waits for a compiler."""
    values, signals = np.ones((2, 2)), np.ones(2, np.uint8)
    moments = np.zeros((2, 4))
    standardize(values, signals, 0.5, moments)
    against_rest(values, signals, True, 0.5, False, 1.0, moments, moments.copy())
    counts, seen = np.zeros(2, np.int64), np.zeros(2, np.int64)
    robust(values, 0, signals, 4, 1, 1, np.zeros((2, 4)), counts, seen, moments, np.zeros((2, 2)))
    log_power(values, signals, 0.5, 1e-6, np.zeros(2), np.zeros(2))
