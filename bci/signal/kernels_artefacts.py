"""Compiled loops of the blocks against artefacts; time-major samples, shape (n_samples, n_channels).

As in `bci.signal.kernels` every row is computed in one fixed order of operations, so the bits of a result do not
depend on how a stream was cut.
"""

from __future__ import annotations

import functools

import numpy as np
from numpy.typing import NDArray

from bci.signal.assembly import LARGEST
from bci.signal.compiled import njit

Array = NDArray[np.float64]
Mask = NDArray[np.uint8]
Index = NDArray[np.int64]


@njit(cache=True, nogil=True)
def blend(values: Array, before: Array, after: Array, weights: Array, mixed: Array) -> None:
    """Write ``(1 - w) * values @ before + w * values @ after`` to `mixed`, row by row, with one weight w for each row.

    `before` and `after` have shape (n_channels, n_channels).
    """
    n = before.shape[0]
    for t in range(values.shape[0]):
        row, w = mixed[t], weights[t]
        for j in range(n):
            row[j] = 0.0
        for k in range(n):
            x, one, two = values[t, k], before[k], after[k]
            for j in range(n):
                row[j] += x * (one[j] + w * (two[j] - one[j]))


@njit(cache=True, nogil=True)
def adapt(
    values: Array, bad: Mask, inputs: Index, outputs: Index, taps: Array, fresh: Index, inverse: Array, weights: Array,
    keep: float, most: float,
) -> None:  # fmt: skip
    """Take what the columns `inputs` tell about the columns `outputs` out of them, in place; learn from every row.

    `taps` are the newest values of the inputs, shape (n_inputs, n_taps), newest first; `fresh`, shape (1,), is for how
    many rows all of them have been known. `inverse`, shape (n, n) with n inputs times taps, and `weights`, shape
    (n_outputs, n), are what was learned. The trace of `inverse` is kept below `most`.
    """
    n_inputs, n_taps = taps.shape
    n = n_inputs * n_taps
    x, gain = taps.ravel(), np.empty(n)
    for t in range(values.shape[0]):
        is_known = True
        for i in range(n_inputs):
            for k in range(n_taps - 1, 0, -1):
                taps[i, k] = taps[i, k - 1]
            taps[i, 0] = values[t, inputs[i]]
            if bad[t, inputs[i]]:
                is_known = False
        fresh[0] = fresh[0] + 1 if is_known else 0
        if fresh[0] < n_taps:
            for j in outputs:
                bad[t, j] = 1
            continue
        total = keep
        for a in range(n):
            gain[a] = 0.0
            for b in range(n):
                gain[a] += inverse[a, b] * x[b]
            total += x[a] * gain[a]
        trace = 0.0
        for a in range(n):
            trace += inverse[a, a] - gain[a] * gain[a] / total
        scale = 1.0 / keep if trace / keep < most else 1.0
        for a in range(n):
            for b in range(a + 1):
                inverse[a, b] = (inverse[a, b] - gain[a] * gain[b] / total) * scale
                inverse[b, a] = inverse[a, b]
        for j in range(outputs.size):
            column = outputs[j]
            error = values[t, column]
            for a in range(n):
                error -= weights[j, a] * x[a]
            if bad[t, column] == 0:
                for a in range(n):
                    weights[j, a] += gain[a] / total * error
                # After learning from this row: 1 - x' g is keep / total.
                values[t, column] = error * (keep / total)


@njit(cache=True, nogil=True)
def survey(values: Array, bad: Mask, extremes: Array, last: Array) -> None:
    """Follow the known values of each channel: lowest, highest, largest step, in rows 0 to 2 of `extremes`.

    `last` is the value before, NaN where there was none.
    """
    for t in range(values.shape[0]):
        for c in range(values.shape[1]):
            if bad[t, c]:
                last[c] = np.nan
                continue
            x = values[t, c]
            extremes[0, c] = min(extremes[0, c], x)
            extremes[1, c] = max(extremes[1, c], x)
            step = abs(x - last[c])
            extremes[2, c] = max(extremes[2, c], step)
            last[c] = x


@njit(cache=True, nogil=True)
def across(values: Array, square: bool, sign: float, trace: Array) -> None:
    """Write the mean of the known values of each row, or of their squares, times `sign` to `trace`; NaN if none is."""
    for t in range(values.shape[0]):
        total, count = 0.0, 0
        for c in range(values.shape[1]):
            x = values[t, c]
            if abs(x) < LARGEST:
                total += x * x if square else x
                count += 1
        trace[t] = sign * total / count if count else np.nan


@njit(cache=True, nogil=True)
def find_pulses(
    trace: Array, high: float, low: float, least: int, most: int, at_end: bool, number: int, state: Index, peak: Array,
    found: Index,
) -> int:  # fmt: skip
    """Find where `trace` rises above `high` and stays above `low` for `least` to `most` samples; return how many.

    `number` is the sample number of the first value. A pulse is told when it is over (`at_end`) or as soon as it has
    lasted `least` samples. `found` takes (sample, told at sample) for each: the highest sample, or the first one.
    `state` is (is in a pulse, first sample, highest sample, was told), `peak`, shape (1,), its height.
    """
    n = 0
    for t in range(trace.size):
        x, at = trace[t], number + t
        if not abs(x) < LARGEST:
            state[0] = 0
        elif state[0] == 0:
            if x > high:
                state[0], state[1], state[2], state[3] = 1, at, at, 0
                peak[0] = x
        elif x < low:
            lasted = at - state[1]
            if at_end and least <= lasted <= most:
                found[n, 0], found[n, 1] = state[2], at
                n += 1
            state[0] = 0
        elif x > peak[0]:
            peak[0], state[2] = x, at
        if state[0] and not at_end and not state[3] and at - state[1] + 1 >= least:
            found[n, 0], found[n, 1] = state[1], at
            n += 1
            state[3] = 1
    return n


@functools.cache
def warm_up() -> None:
    """Compile every kernel (or load it from the cache on disk), so that no sample waits for a compiler."""
    values, bad = np.ones((2, 2)), np.zeros((2, 2), np.uint8)
    blend(values, np.eye(2), np.eye(2), np.zeros(2), np.empty((2, 2)))
    index, few = np.arange(1), np.zeros(1, np.int64)
    adapt(values, bad, index, index + 1, np.ones((1, 1)), few, np.eye(1), np.zeros((1, 1)), 1.0, 1.0)
    survey(values, bad, np.zeros((3, 2)), np.zeros(2))
    across(values, True, 1.0, np.empty(2))
    find_pulses(np.zeros(2), 1.0, 1.0, 1, 1, True, 0, np.zeros(4, np.int64), np.zeros(1), np.zeros((2, 2), np.int64))
