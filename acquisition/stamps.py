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
        self._warm_up_s = 0.0 if trusted else _WARM_UP_S
        self._sfreq, self._period = sfreq, 1.0 / sfreq
        self._last_stamp = self._last_time = float("nan")
        self._late = self._peak = self._high = 0.0
        self._exact = True
        self._seen = 0
        self._keep_late, self._keep_peak = 1 - _LEAK_PER_S * self._period, 1 - self._period / _FORGET_S
        self._sure, self._window_full = max(_SURE_S * sfreq, 1.5), max(2.0, _WINDOW_S * sfreq)
        self._window_n, self._window_low, self._low_before = 0, float("inf"), float("inf")

    def follow(self, stamps: NDArray[np.float64]) -> tuple[NDArray[np.float64], list[tuple[int, int]]]:
        """Take the next stamps, s; return smooth times, s, and (row, lost before that row) for each loss.

        Parameters
        ----------
        stamps : ndarray, shape (n_samples,)
            At least one stamp.
        """
        previous = stamps[0] - self._period if self._seen == 0 else self._last_stamp
        extra = np.empty(len(stamps))
        extra[0] = stamps[0] - previous
        np.subtract(stamps[1:], stamps[:-1], out=extra[1:])
        extra *= self._sfreq
        extra -= 1.0
        self._last_stamp = float(stamps[-1])
        if self._exact and bool((np.abs(extra) < _EXACT).all()):
            self._seen += len(stamps)
            self._last_time = self._last_stamp
            return stamps, []
        return self._follow_uneven(stamps, extra)

    def _follow_uneven(
        self, stamps: NDArray[np.float64], extra: NDArray[np.float64]
    ) -> tuple[NDArray[np.float64], list[tuple[int, int]]]:
        losses: list[tuple[int, int]] = []
        times: list[float] = []
        last, period, step = self._last_time, self._period, self._step
        for row, (stamp, more) in enumerate(zip(stamps.tolist(), extra.tolist(), strict=True)):
            lost = step(more)
            if lost:
                losses.append((row, lost))
            time = stamp if self._exact else stamp - self._late * period
            if time <= last:  # never step back; a tenth of a period keeps the order
                time = last + 0.1 * period
            times.append(time)
            last = time
        self._last_time = last
        return np.array(times), losses

    def _step(self, more: float) -> int:
        """Take one spacing, `more` periods longer than nominal; return the samples lost before it."""
        warm = self._seen * self._period >= self._warm_up_s
        self._seen += 1
        if self._exact:
            if abs(more) < _EXACT:
                return 0
            lost = round(more)
            if warm and lost >= 1 and abs(more - lost) < 0.5 and self._is_whole(more):
                return lost
            self._exact = False
        late = self._late * self._keep_late + more
        self._late = late = late if late > 0.0 else 0.0
        self._peak *= self._keep_peak
        if more > 0:
            self._high = late
        elif self._high - late > self._peak:  # caught up: what was late was jitter
            self._peak = self._high - late
        # 6 * peak as well, which only matters once the others are passed
        if warm and more >= self._sure and more >= 6 * self._peak:
            return self._lose(round(more))
        self._window_low = min(self._window_low, late)
        self._window_n += 1
        return 0 if self._window_n < self._window_full else self._roll()

    def _is_whole(self, more: float) -> bool:
        """Whether a jump is a whole number of periods, as a counting sender's is (long ones may carry drift)."""
        return abs(more - round(more)) < max(4 * _EXACT, 1e-3 * more)

    def _lose(self, lost: int) -> int:
        self._late = self._high = max(0.0, self._late - lost)
        self._window_n, self._window_low, self._low_before = 0, float("inf"), self._late
        return lost

    def _roll(self) -> int:
        """Close a window of stamps; a lowest lateness well above the window before it is a loss."""
        rise, self._low_before = self._window_low - self._low_before, self._window_low
        self._window_n, self._window_low = 0, float("inf")
        return self._lose(round(rise)) if rise >= max(1.5, 0.5 * self._peak) else 0


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
