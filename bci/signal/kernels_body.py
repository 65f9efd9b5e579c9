"""Compiled loops for muscle and heart; the rules of `bci.signal.kernels` hold."""

from __future__ import annotations

import functools
import math

import numpy as np
from numpy.typing import NDArray

from bci.signal.compiled import njit

Array = NDArray[np.float64]
Mask = NDArray[np.uint8]
Index = NDArray[np.int64]

# Levels of a detector of QRS complexes, floats.
(SIGNAL, NOISE, FILTERED_SIGNAL, FILTERED_NOISE, LAST_SLOPE, RR_ALL, RR_REGULAR, TOP, TOP_FILTERED, TOP_SLOPE, BEST,
 BEST_FILTERED, BEST_SLOPE, LEARN_TOP, LEARN_FILTERED, LEARN_SUM, LEARN_FILTERED_SUM, N_LEVELS) = range(18)  # fmt: skip
# Places of a detector, numbers of samples.
FALLS, LAST_R, TOP_AT, FILLED, LEARNED, N_RR, N_REGULAR, TOP_R, BEST_R, N_PLACES = range(10)
NONE = -(2**60)


@njit(cache=True, nogil=True)
def moving_rms(values: Array, signals: Mask, marks: Index, block: Array, suffix: Array, prefix: Array) -> None:
    """Replace `values` by the root of the mean square of the last ``len(block)`` rows (of fewer at first), in place.

    A sum of squares that only grows cannot cancel: `suffix` holds the sums from each row of the block before to its
    end, `prefix` that of the block that fills. `marks` is (rows seen, rows in the block).
    """
    window = block.shape[0]
    for t in range(values.shape[0]):
        seen, k = min(marks[0] + 1, window), marks[1]
        for c in range(values.shape[1]):
            if signals[c]:
                square = values[t, c] * values[t, c]
                block[k, c] = square
                prefix[c] += square
                values[t, c] = math.sqrt((prefix[c] + suffix[k + 1, c]) / seen)
        marks[0], marks[1] = seen, k + 1
        if k + 1 == window:
            for c in range(values.shape[1]):
                suffix[window, c] = 0.0
                prefix[c] = 0.0
                for i in range(window - 1, -1, -1):
                    suffix[i, c] = suffix[i + 1, c] + block[i, c]
            marks[1] = 0


@njit(cache=True, nogil=True)
def accept(at: int, height: float, filtered: float, slope: float, weight: float, refractory: int, levels: Array,
           places: Index, intervals: Array, regular: Array) -> None:  # fmt: skip
    """Take a QRS complex with its R peak at `at`: levels follow it by `weight`, intervals by the one it ends."""
    levels[SIGNAL] += weight * (height - levels[SIGNAL])
    levels[FILTERED_SIGNAL] += weight * (filtered - levels[FILTERED_SIGNAL])
    levels[LAST_SLOPE] = slope
    if places[LAST_R] != NONE and at - places[LAST_R] >= refractory:
        rr = float(at - places[LAST_R])
        intervals[places[N_RR] % 8] = rr
        places[N_RR] += 1
        levels[RR_ALL] = intervals[: min(places[N_RR], 8)].mean()
        if places[N_REGULAR] == 0 or 0.92 * levels[RR_REGULAR] <= rr <= 1.16 * levels[RR_REGULAR]:
            regular[places[N_REGULAR] % 8] = rr
            places[N_REGULAR] += 1
            levels[RR_REGULAR] = regular[: min(places[N_REGULAR], 8)].mean()
        elif places[N_RR] % 8 == 0:
            levels[RR_REGULAR] = levels[RR_ALL]  # the rhythm has changed for good
            regular[:] = levels[RR_ALL]
    places[LAST_R] = at
    levels[BEST] = 0.0


@njit(cache=True, nogil=True)
def threshold(signal: float, noise: float) -> float:
    """Return the higher threshold, eq. 12 and 17."""
    return noise + 0.25 * (signal - noise)


@njit(cache=True, nogil=True)
def judge(sfreq: float, levels: Array, places: Index, intervals: Array, regular: Array) -> bool:
    """Judge the peak that has just ended; return True if it is a QRS complex."""
    height, filtered, slope, at = levels[TOP], levels[TOP_FILTERED], levels[TOP_SLOPE], places[TOP_R]
    refractory = round(0.2 * sfreq)
    since = at - places[LAST_R] if places[LAST_R] != NONE else 2**60
    if since < refractory:
        return False
    high = threshold(levels[SIGNAL], levels[NOISE])
    high_filtered = threshold(levels[FILTERED_SIGNAL], levels[FILTERED_NOISE])
    is_t_wave = since < 0.36 * sfreq and slope < 0.5 * levels[LAST_SLOPE]
    if height > high and filtered > high_filtered and not is_t_wave:
        accept(at, height, filtered, slope, 0.125, refractory, levels, places, intervals, regular)
        return True
    levels[NOISE] += 0.125 * (height - levels[NOISE])
    levels[FILTERED_NOISE] += 0.125 * (filtered - levels[FILTERED_NOISE])
    if height > levels[BEST] and not is_t_wave:
        levels[BEST], levels[BEST_FILTERED], levels[BEST_SLOPE] = height, filtered, slope
        places[BEST_R] = at
    return False


@njit(cache=True, nogil=True)
def search_back(number: int, sfreq: float, levels: Array, places: Index, intervals: Array, regular: Array) -> bool:
    """Where a beat is missing, take the best of what was noise if it is above the lower threshold (half)."""
    if places[N_RR] == 0 or places[LAST_R] == NONE or levels[BEST] == 0.0:
        return False
    if number - places[LAST_R] < 1.66 * levels[RR_REGULAR]:
        return False
    low = 0.5 * threshold(levels[SIGNAL], levels[NOISE])
    low_filtered = 0.5 * threshold(levels[FILTERED_SIGNAL], levels[FILTERED_NOISE])
    if levels[BEST] > low and levels[BEST_FILTERED] > low_filtered:
        accept(
            places[BEST_R], levels[BEST], levels[BEST_FILTERED], levels[BEST_SLOPE], 0.25, round(0.2 * sfreq),
            levels, places, intervals, regular,
        )  # fmt: skip
        return True
    return False


@njit(cache=True, nogil=True)
def beats(
    values: Array, start: int, sfreq: float, delay: int, window: int, levels: Array, places: Index, intervals: Array,
    regular: Array, past: Array, squares: Array, found: Index,
) -> int:  # fmt: skip
    """Find QRS complexes in the band-passed `values`, shape (n_samples,); return how many.

    `found`, shape (n, 2), gets the sample that tells and the one of the R peak. `past` and `squares` are rings of the
    values and of their squared slope.
    """
    n_past, d = past.shape[0], max(1, round(sfreq / 200.0))
    learning = round(2.0 * sfreq)
    n_found = 0
    for t in range(values.shape[0]):
        number = start + t
        past[number % n_past] = values[t]
        if places[FILLED] == 0:
            past[:] = values[t]
            squares[:] = 0.0
        places[FILLED] += 1
        # Eq. 6, with its sample at 200 Hz stretched to the rate.
        slope = (
            2.0 * past[number % n_past] + past[(number - d) % n_past] - past[(number - 3 * d) % n_past]
            - 2.0 * past[(number - 4 * d) % n_past]
        ) / 8.0  # fmt: skip
        squares[number % n_past] = slope * slope
        height = 0.0
        for k in range(window):  # in one order, whatever the number: nothing accumulates
            height += squares[(number - k) % n_past]
        height /= window
        if places[LEARNED] < learning:
            learn(height, abs(values[t]), learning, levels, places)
            continue
        if height > levels[TOP]:
            levels[TOP], places[TOP_AT], places[FALLS] = height, number, 0
        elif places[FALLS]:
            levels[TOP] = height
        elif height < 0.5 * levels[TOP] or number - places[TOP_AT] > 2 * window:
            locate(window, window + 4 * d, delay, levels, places, past, squares)
            if judge(sfreq, levels, places, intervals, regular):
                found[n_found, 0], found[n_found, 1] = number, places[LAST_R]
                n_found += 1
            levels[TOP], places[FALLS] = height, 1
        if search_back(number, sfreq, levels, places, intervals, regular):
            found[n_found, 0], found[n_found, 1] = number, places[LAST_R]
            n_found += 1
    return n_found


@njit(cache=True, nogil=True)
def learn(height: float, filtered: float, learning: int, levels: Array, places: Index) -> None:
    """Take one sample of the first two seconds; at their end set the levels."""
    places[LEARNED] += 1
    levels[LEARN_TOP] = max(levels[LEARN_TOP], height)
    levels[LEARN_FILTERED] = max(levels[LEARN_FILTERED], filtered)
    levels[LEARN_SUM] += height
    levels[LEARN_FILTERED_SUM] += filtered
    if places[LEARNED] == learning:
        # The largest stands for a beat, though an artefact may be larger; half of the mean for what lies between.
        levels[SIGNAL], levels[FILTERED_SIGNAL] = 0.5 * levels[LEARN_TOP], 0.5 * levels[LEARN_FILTERED]
        levels[NOISE] = 0.5 * levels[LEARN_SUM] / learning
        levels[FILTERED_NOISE] = 0.5 * levels[LEARN_FILTERED_SUM] / learning


@njit(cache=True, nogil=True)
def locate(window: int, back: int, delay: int, levels: Array, places: Index, past: Array, squares: Array) -> None:
    """Find the R peak of the peak at TOP_AT, among the values of the band within `back` samples before it."""
    n_past, largest, slope, top = past.shape[0], 0.0, 0.0, places[TOP_AT]
    for k in range(back + 1):
        largest = max(largest, abs(past[(top - k) % n_past]))
        if k < window:
            slope = max(slope, squares[(top - k) % n_past])
    # The S wave may swing further than the R wave: take the first extremum of nearly that height.
    places[TOP_R] = top - delay
    for k in range(back, 0, -1):
        x = abs(past[(top - k) % n_past])
        if x >= 0.7 * largest and x > abs(past[(top - k + 1) % n_past]):
            places[TOP_R] = top - k - delay
            break
    levels[TOP_FILTERED], levels[TOP_SLOPE] = largest, math.sqrt(slope)


@functools.cache
def warm_up() -> None:
    """Compile every kernel (or load it from the cache on disk), so that no sample waits for a compiler."""
    values, ones = np.ones((2, 2)), np.ones(2, np.uint8)
    moving_rms(values, ones, np.zeros(2, np.int64), np.zeros((3, 2)), np.zeros((4, 2)), np.zeros(2))
    beats(
        np.ones(3), 0, 200.0, 0, 30, np.zeros(N_LEVELS), np.zeros(N_PLACES, np.int64), np.zeros(8), np.zeros(8),
        np.zeros(200), np.zeros(200), np.zeros((3, 2), np.int64),
    )  # fmt: skip
