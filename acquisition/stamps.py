"""Read from time stamps what is lost and what only came late.

A loss shifts every later stamp for good; a late stamp is caught up with by the
next ones. Sources that stamp by counting (spacing exact to a twentieth of a
sample) show a loss at once; sources that stamp on arrival must be watched a
moment longer.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

_EXACT = 0.05
"""Largest deviation of a spacing that still counts as exact, sample periods."""
_WARM_UP_S = 0.25
_WINDOW_S = 0.1
"""A lateness that lasts for a whole window of stamps is a loss, s."""
_SURE_S = 0.1
"""A jump of at least this (and six times the known jitter) is a loss at once, s."""
_LEAK_PER_S = 1.0
"""How fast lateness is forgotten, so that a sender's clock drift is not taken for loss, 1/s."""

_FORGET_S = 10.0
"""How long a burst of jitter is remembered, s."""
STEP_BACK_S = 0.5
"""Stamps that step back by more come from another clock, s."""


class StampTracker:
    """Follow the stamps of a regular stream: smooth times and the losses in them.

    Parameters
    ----------
    sfreq : float
        Nominal rate, Hz.
    trusted : bool, default=False
        Whether the sender is known to stamp by counting: its losses are believed from the first stamp on.

    Notes
    -----
    *Lateness* is how much later a stamp is than the earliest line of slope
    ``1 / sfreq`` through the stamps before it, in samples. Times come out as
    stamps less their lateness; with exact stamps they are the stamps, bit by bit.
    """

    def __init__(self, sfreq: float, trusted: bool = False) -> None:
        # Here, since who reads a recording takes `numbered` alone and need not wait for a compiler.
        from bci.acquisition import kernels_stamps as k

        period = 1.0 / sfreq
        self._follow = k.follow
        self._state, self._settings = np.empty(10), np.empty(8)
        self._lost = np.empty(64, np.int64)
        self._settings[[k.SFREQ, k.PERIOD]] = sfreq, period
        self._settings[k.WARM_UP_S] = 0.0 if trusted else _WARM_UP_S
        self._settings[k.KEEP_LATE] = 1 - _LEAK_PER_S * period
        self._settings[k.KEEP_PEAK] = 1 - period / _FORGET_S
        self._settings[k.SURE] = max(_SURE_S * sfreq, 1.5)
        self._settings[k.FULL] = max(2.0, _WINDOW_S * sfreq)
        self._settings[k.EXACTLY] = _EXACT
        k.begin(self._state)
        self.follow(np.zeros(1))  # compiled now, not with the first samples
        k.begin(self._state)

    def follow(
        self, stamps: NDArray[np.float64], shift_s: float = 0.0
    ) -> tuple[NDArray[np.float64], list[tuple[int, int]]]:
        """Take the next stamps, s; return smooth times, s, and (row, lost before that row) for each loss.

        Parameters
        ----------
        stamps : ndarray, shape (n_samples,)
            At least one stamp.
        shift_s : float, default=0
            Taken off the times that are returned, s.
        """
        n = len(stamps)
        if n > len(self._lost):
            self._lost = np.empty(n, np.int64)
        times = np.empty(n)
        if not self._follow(stamps, shift_s, self._state, self._settings, times, self._lost):
            return times, []
        return times, [(row, int(self._lost[row])) for row in np.flatnonzero(self._lost[:n]).tolist()]


def numbered(stamps: NDArray[np.float64], sfreq: float) -> NDArray[np.int64]:
    """Return the number of each sample of a whole recording, told with hindsight; a jump by more than one is a loss.

    Parameters
    ----------
    stamps : ndarray, shape (n_samples,)
        All time stamps, s.
    sfreq : float
        Nominal rate, Hz.

    Notes
    -----
    `StampTracker` has to decide at once; here a stall that is caught up with later is seen to be one. After a loss
    all stamps stay late: the earliest of the quarter second after a jump (two seconds, where stamps come in bursts)
    is compared with the earliest of as long before it; what is less than half of the usual jitter is not seen. How
    much faster or slower than its nominal rate a sender is shows in the rise of the earliest stamp from second to
    second, and is no loss. Where stamps step back another clock begins, and at least one sample is missing.
    """
    n = len(stamps)
    if n < 3:
        return np.arange(n)
    spacing = np.diff(stamps) * sfreq
    late = stamps * sfreq - np.arange(n)
    per_s = max(2, round(sfreq))
    drift = swing = 0.0
    if n >= 4 * per_s:
        seconds = late[: n // per_s * per_s].reshape(-1, per_s)
        drift = float(np.median(np.diff(seconds.min(axis=1)))) / per_s
        swing = float(np.median(np.ptp(seconds - drift * np.arange(per_s), axis=1)))
    late = late - drift * np.arange(n)
    sure = max(0.75, 0.5 * swing)
    in_bursts = abs(float(np.median(spacing)) - 1 - drift) > 0.2
    width = max(2, round(sfreq * (2.0 if in_bursts else 0.25)))
    numbers = np.arange(n)
    steps_back = spacing < -STEP_BACK_S * sfreq
    for row in np.flatnonzero((np.diff(late) > 0.5) | steps_back) + 1:
        rise = float(late[row : row + width].min() - late[max(0, row - width) : row].min())
        lost = 1 if steps_back[row - 1] else round(rise) if rise > sure else 0
        if lost:
            numbers[row:] += lost
            late[row:] -= rise if steps_back[row - 1] else lost  # what is told must not be told again
    return numbers
