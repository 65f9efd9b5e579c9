"""Compiled loops of the adaptive line-noise canceller, over time-major samples, shape (n_samples, n_channels).

Everything happens sample by sample in one fixed order, so the bits of a result do not depend on how a stream was cut.
"""

from __future__ import annotations

import functools
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from bci.signal.compiled import njit

Array = NDArray[np.float64]
Mask = NDArray[np.uint8]

# Of the frequency loop, per frame: how much of an error is taken at once, in the first frames and later. The smaller it
# is, the less a neighbour of the line moves the frequency, and the later a drift is followed.
_FIRST_PART, _PART = 0.3, 0.12
_FIRST_FRAMES = 20
# How fast the frequency returns to the nominal one while the channels do not agree on one.
_RETURN = 0.05


class Plan(NamedTuple):
    """The settings, in samples and parts of a cycle per sample."""

    line: float
    """Nominal frequency, cycles per sample."""
    room: float
    """How far the frequency may move from it, cycles per sample."""
    pace: float
    """The largest error of the frequency that is believed once it runs, cycles per sample."""
    slow: float
    fast: float
    """Smallest and largest gain of the weights."""
    smooth: float
    """Gain of the mean that is taken off before learning."""
    trust: float
    """A residual this many times its usual power says that the line changed."""
    limit: float
    """A deviation counts as this many times the usual one at most."""
    rise: float
    fall: float
    """Gains of the usual power."""
    settle: float
    learn: float
    """Samples after its first one until a channel knows its usual power, and begins to learn it before that."""
    frame: int
    """Samples between updates of the frequency."""


class State(NamedTuple):
    """What is known, in arrays that are updated; k counts harmonics, c channels."""

    weights: Array
    """Cosine and sine of the line, shape (n_harmonics, 2, n_channels)."""
    residual: Array
    """Cosine and sine of what is left of it, fast, same shape."""
    gain: Array
    usual: Array
    """Gain of the weights and usual power of the residual, shape (n_harmonics, n_channels)."""
    mean: Array
    seen: Array
    spread: Array
    """Mean of the output, known samples so far, and mean absolute deviation, shape (n_channels,); a mean of NaN begins
    with the next sample."""
    before: Array
    """Cosine and sine of the fundamental at the last frame, shape (2, n_channels)."""
    clock: Array
    """Phase (cycles), frequency and drift (cycles per sample, per frame), samples since the last frame, frames."""
    lead: Array
    """Phase that taking off the mean adds, per harmonic, rad."""


@njit(cache=True, nogil=True)
def cancel(values: Array, bad: Mask, masked: bool, plan: Plan, state: State, error: Array) -> None:
    """Subtract the line from `values`, in place; `error`, shape (n_channels,), is room to work in."""
    clock = state.clock
    for t in range(values.shape[0]):
        clock[0] = (clock[0] + clock[1]) % 1.0
        angle = 2.0 * np.pi * clock[0]
        row = values[t]
        _subtract(row, angle, state.weights)
        for c in range(row.shape[0]):
            known = not masked or bad[t, c] == 0
            if known and np.isnan(state.mean[c]):
                state.mean[c] = row[c]
            error[c] = 0.0  # without an error nothing is learned
            if known:
                state.mean[c] += plan.smooth * (row[c] - state.mean[c])
                state.seen[c] += 1.0
                left, seen = row[c] - state.mean[c], state.seen[c]
                size = abs(left) if seen <= plan.learn else min(abs(left), 4.0 * state.spread[c] + 1e-3 * abs(left))
                state.spread[c] += max(plan.fall, 1.0 / seen) * (size - state.spread[c])
                most = plan.limit * state.spread[c]
                error[c] = 2.0 * min(max(left, -most), most)
        _learn(row, error, bad[t] if masked else bad[0], masked, angle, plan, state)
        clock[3] += 1.0
        if clock[3] >= plan.frame:
            clock[3] = 0.0
            _track(plan, state)


@njit(cache=True, nogil=True)
def _subtract(row: Array, angle: float, weights: Array) -> None:
    for k in range(weights.shape[0]):
        cosine, sine = np.cos((k + 1) * angle), np.sin((k + 1) * angle)
        first, second = weights[k, 0], weights[k, 1]
        for c in range(row.shape[0]):
            row[c] -= first[c] * cosine + second[c] * sine


@njit(cache=True, nogil=True)
def _learn(row: Array, error: Array, bad: Mask, masked: bool, angle: float, plan: Plan, state: State) -> None:
    """Move the weights along the error; fast where the residual is far above its usual power.

    The output lies half-way between what the weights made of it before and after: the first alone is too large by the
    gain at all frequencies, the second too small.
    """
    for k in range(state.weights.shape[0]):
        turned = (k + 1) * angle + state.lead[k]
        cosine, sine = np.cos(turned), np.sin(turned)
        first, second = state.weights[k, 0], state.weights[k, 1]
        left, right = state.residual[k, 0], state.residual[k, 1]
        gain, usual = state.gain[k], state.usual[k]
        for c in range(error.shape[0]):
            if masked and bad[c]:
                continue
            left[c] += plan.fast * (error[c] * cosine - left[c])
            right[c] += plan.fast * (error[c] * sine - right[c])
            power = left[c] * left[c] + right[c] * right[c]
            seen = state.seen[c] - plan.learn
            # Down as 1 / n: the weights become the mean of all since the line changed.
            slower = max(plan.slow, gain[c] / (1.0 + gain[c]))
            gain[c] = plan.fast if seen <= 0.0 or power > plan.trust * usual[c] else slower
            if seen > plan.settle:
                power = min(power, 4.0 * usual[c] + 1e-3 * power)
                usual[c] += (plan.rise if power > usual[c] else plan.fall) * (power - usual[c])
            elif seen > 0.0:
                usual[c] += (power - usual[c]) / seen
            first[c] += gain[c] * error[c] * cosine
            second[c] += gain[c] * error[c] * sine
            row[c] -= 0.5 * gain[c] * error[c]


@njit(cache=True, nogil=True)
def _track(plan: Plan, state: State) -> None:
    """Correct the frequency by how far the line of all channels turned against the reference since the last frame."""
    clock, before = state.clock, state.before
    n_channels = before.shape[1]
    along, across = 0.0, 0.0
    for c in range(n_channels):
        first = state.weights[0, 0, c] + state.residual[0, 0, c]
        second = state.weights[0, 1, c] + state.residual[0, 1, c]
        noise = 0.5 * state.usual[0, c]
        old = before[0, c] * before[0, c] + before[1, c] * before[1, c] + noise
        size = (first * first + second * second + noise) * old
        if size > 0.0:
            # Every channel counts by its phase, not by its power; one without a line hardly at all.
            along += (first * before[0, c] + second * before[1, c]) / np.sqrt(size)
            across += (first * before[1, c] - second * before[0, c]) / np.sqrt(size)
        before[0, c], before[1, c] = first, second
    agreed = np.sqrt(along * along + across * across) / n_channels
    turned = np.arctan2(across, along) / (2.0 * np.pi * plan.frame) * agreed
    if clock[4] >= _FIRST_FRAMES:  # an artefact turns it anyhow, the mains does not run away
        turned = min(max(turned, -plan.pace), plan.pace)
    clock[4] += 1.0
    doubt = _RETURN * (1.0 - agreed)
    if clock[4] <= _FIRST_FRAMES:
        clock[1] += _FIRST_PART * turned
    else:
        clock[2] += 0.25 * _PART * _PART * turned - doubt * clock[2]  # critically damped
        clock[1] += _PART * turned + clock[2] + doubt * (plan.line - clock[1])
    if abs(clock[1] - plan.line) > plan.room:
        clock[1] = min(max(clock[1], plan.line - plan.room), plan.line + plan.room)
        clock[2] = 0.0
    _lead(plan.smooth, clock[1], state.lead)


@njit(cache=True, nogil=True)
def _lead(smooth: float, frequency: float, lead: Array) -> None:
    """Write the phase of ``(1 - z^-1) / (1 - (1 - smooth) z^-1)`` at every harmonic to `lead`."""
    for k in range(lead.shape[0]):
        w = 2.0 * np.pi * (k + 1) * frequency
        keep = 1.0 - smooth
        lead[k] = np.arctan2(np.sin(w), 1.0 - np.cos(w)) - np.arctan2(keep * np.sin(w), 1.0 - keep * np.cos(w))


def begin(plan: Plan, state: State) -> None:
    """Forget all samples, in place."""
    for array in state:
        array[:] = 0.0
    state.gain[:] = plan.fast
    state.mean[:] = np.nan
    state.clock[1] = plan.line
    _lead(plan.smooth, plan.line, state.lead)


def allocate(n_harmonics: int, n_channels: int) -> State:
    """Return a state to `begin` with."""
    pairs, each = (n_harmonics, 2, n_channels), (n_harmonics, n_channels)
    return State(
        weights=np.zeros(pairs),
        residual=np.zeros(pairs),
        gain=np.zeros(each),
        usual=np.zeros(each),
        mean=np.zeros(n_channels),
        seen=np.zeros(n_channels),
        spread=np.zeros(n_channels),
        before=np.zeros((2, n_channels)),
        clock=np.zeros(5),
        lead=np.zeros(n_harmonics),
    )


@functools.cache
def warm_up() -> None:
    """Compile every kernel (or load it from the cache on disk), so that no sample waits for a compiler."""
    plan = Plan(0.2, 0.004, 0.001, 0.005, 0.06, 0.3, 20.0, 8.0, 0.001, 0.004, 250.0, 75.0, 25)
    state = allocate(1, 2)
    begin(plan, state)
    cancel(np.ones((2, 2)), np.zeros((2, 2), np.uint8), False, plan, state, np.zeros(2))
