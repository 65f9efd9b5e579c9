"""The loop over time stamps of `bci.acquisition.stamps`, compiled: it stands between a sample and its decision."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from bci.signal.compiled import njit

Array = NDArray[np.float64]

STAMP, LAST, LATE, PEAK, HIGH, EXACT, SEEN, N, LOW, LOW_BEFORE = range(10)
"""Places of a tracker's state: the last stamp and time, s; lateness, its jitter and last height; whether all was exact;
stamps seen; of the window that is open: stamps, lowest lateness; that of the window before."""
SFREQ, PERIOD, WARM_UP_S, KEEP_LATE, KEEP_PEAK, SURE, FULL, EXACTLY = range(8)
"""Places of its settings."""


@njit(cache=True, nogil=True)
def begin(state: Array) -> None:
    """Forget everything."""
    state[:] = 0.0
    state[STAMP] = state[LAST] = np.nan
    state[EXACT] = 1.0
    state[LOW] = state[LOW_BEFORE] = np.inf


@njit(cache=True, nogil=True)
def follow(stamps: Array, shift_s: float, state: Array, settings: Array, times: Array, lost: NDArray[np.int64]) -> int:
    """Write the smooth `times` of `stamps`, less `shift_s`, and the samples `lost` before each.

    Return how many rows have a loss.
    """
    period, n_losses = settings[PERIOD], 0
    for row in range(len(stamps)):
        before = state[STAMP] if state[SEEN] else stamps[row] - period
        state[STAMP] = stamps[row]
        lost[row] = _step((stamps[row] - before) * settings[SFREQ] - 1.0, state, settings)
        n_losses += lost[row] != 0
        time = stamps[row] - (0.0 if state[EXACT] else state[LATE] * period)
        if time <= state[LAST]:  # never step back; a tenth of a period keeps the order
            time = state[LAST] + 0.1 * period
        state[LAST] = time
        times[row] = time - shift_s
    return n_losses


@njit(cache=True, nogil=True)
def _step(more: float, state: Array, settings: Array) -> int:
    """Take one spacing, `more` periods longer than nominal; return the samples lost before it."""
    warm = state[SEEN] * settings[PERIOD] >= settings[WARM_UP_S]
    state[SEEN] += 1
    if state[EXACT]:
        if abs(more) < settings[EXACTLY]:
            return 0
        lost = int(np.rint(more))
        # A whole number of periods, as a counting sender's jumps are (long ones may carry drift).
        whole = abs(more - lost) < max(4 * settings[EXACTLY], 1e-3 * more)
        if warm and lost >= 1 and abs(more - lost) < 0.5 and whole:
            return lost
        state[EXACT] = 0.0
    late = max(0.0, state[LATE] * settings[KEEP_LATE] + more)
    state[LATE] = late
    state[PEAK] *= settings[KEEP_PEAK]
    if more > 0:
        state[HIGH] = late
    else:  # caught up: what was late was jitter
        state[PEAK] = max(state[PEAK], state[HIGH] - late)
    if warm and more >= max(6 * state[PEAK], settings[SURE]):
        return _lose(int(np.rint(more)), state)
    state[LOW] = min(state[LOW], late)
    state[N] += 1
    if state[N] < settings[FULL]:
        return 0
    rise = state[LOW] - state[LOW_BEFORE]
    state[LOW_BEFORE] = state[LOW]
    state[N], state[LOW] = 0.0, np.inf
    return _lose(int(np.rint(rise)), state) if rise >= max(1.5, 0.5 * state[PEAK]) else 0


@njit(cache=True, nogil=True)
def _lose(lost: int, state: Array) -> int:
    state[LATE] = state[HIGH] = max(0.0, state[LATE] - lost)
    state[N], state[LOW], state[LOW_BEFORE] = 0.0, np.inf, state[LATE]
    return lost
