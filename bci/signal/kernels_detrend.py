"""Compiled loop of the trend follower, over time-major samples, shape (n_samples, n_channels)."""

from __future__ import annotations

import functools
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from bci.signal.compiled import njit

Array = NDArray[np.float64]
Mask = NDArray[np.uint8]


class Plan(NamedTuple):
    """The settings, in samples."""

    sloped: bool
    """Whether a slope is followed, not a level alone."""
    gain: float
    gain_of_slope: float
    """What they fall to."""
    limit: float
    """A deviation of this many times the usual one moves nothing."""
    settle: float
    """Samples until the usual deviation is believed."""
    patience: float
    """Samples in a row beyond the limit after which the trend starts anew."""


class State(NamedTuple):
    """What is known per channel, each of shape (n_channels,), updated."""

    level: Array
    slope: Array
    usual: Array
    """Mean absolute deviation from the trend."""
    seen: Array
    """Samples since the trend started."""
    beyond: Array
    """Samples in a row beyond the limit."""


@njit(cache=True, nogil=True)
def detrend(values: Array, bad: Mask, masked: bool, plan: Plan, state: State) -> None:
    """Subtract the trend from `values`, in place."""
    level, slope, usual, seen, beyond = state
    for t in range(values.shape[0]):
        row = values[t]
        for c in range(row.shape[0]):
            if masked and bad[t, c]:
                continue
            deviation = row[c] - level[c] - slope[c]
            outside = seen[c] >= plan.settle and abs(deviation) > plan.limit * usual[c]
            beyond[c] = beyond[c] + 1.0 if outside else 0.0
            if seen[c] == 0.0 or beyond[c] >= plan.patience:
                level[c], slope[c], usual[c], seen[c], beyond[c] = row[c], 0.0, 0.0, 1.0, 0.0
                row[c] = 0.0
                continue
            level[c] += slope[c]
            if not outside:
                n = seen[c]
                # The least-squares mean or line of all samples so far, until its memory is as long as was asked for.
                gain = 2.0 * (2.0 * n + 1.0) / ((n + 2.0) * (n + 1.0)) if plan.sloped else 1.0 / (n + 1.0)
                gain_of_slope = 6.0 / ((n + 2.0) * (n + 1.0)) if plan.sloped else 0.0
                if gain <= plan.gain:
                    gain, gain_of_slope = plan.gain, plan.gain_of_slope
                level[c] += gain * deviation
                slope[c] += gain_of_slope * deviation
                usual[c] += max(plan.gain, 1.0 / n) * (abs(deviation) - usual[c])
                seen[c] += 1.0
            row[c] -= level[c]


def allocate(n_channels: int) -> State:
    """Return the state of channels that have not begun."""
    return State(*(np.zeros(n_channels) for _ in State._fields))


@functools.cache
def warm_up() -> None:
    """Compile the kernel (or load it from the cache on disk), so that no sample waits for a compiler."""
    plan = Plan(False, 0.01, 0.0, 8.0, 100.0, 100.0)
    detrend(np.ones((2, 2)), np.zeros((2, 2), np.uint8), False, plan, allocate(2))
