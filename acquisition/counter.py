"""Tell from a source's package counter, and from time, what is missing.

A counter of one byte cannot tell a loss of 256 packages from none, and some
count nothing that helps. Time can: after a loss every later arrival stays late,
while a stall is caught up with.
"""

from __future__ import annotations

import logging
from collections import deque

import numpy as np
from numpy.typing import NDArray

from bci.acquisition.timebase import ClockFit

_log = logging.getLogger(__name__)

_LEARN = 50
"""Samples whose counts are watched before a counter is believed."""
_WIDTHS = (1 << 8, 1 << 16, 1 << 24, 1 << 32)
_LEAST_S = 0.1
"""What a source without a useful counter must be late to be suspected, s: less cannot be told from jitter."""
_WATCH_S = 0.15
"""How long a suspicion is looked at, s."""
_STEADY_S = 0.02
"""What lateness may shrink by, while it is looked at, and still be that of a loss, s."""
_WARM_UP_S = 1.0
"""For how long after the first arrival nothing is suspected, s."""
_MOST_S = 2.0
"""A suspicion is decided after so long even if the source is still catching up, s."""


class PackageCounter:
    """Tell from a board's package counter what is missing.

    Boards differ: some count samples, some packages of several samples, some
    every second sample. So the first samples only teach how this one counts; one
    that does not step evenly is never believed.
    """

    def __init__(self) -> None:
        self._last: int | None = None
        self._highest = 0
        self._counts: list[int] = []
        self._step = 0
        self._per_count = 1
        self._run = 0
        self._width: int | None = None
        self._wrapped_by: int | None = None
        self._learnt = False
        self.repeated = False
        """Whether a count came twice in the last `follow`: nothing is missing, or a turn of the counter less one."""

    @property
    def blind_to(self) -> int:
        """Samples in one turn of the counter: a loss of that many, or a multiple, does not show. 0: none shows."""
        if not self._step:
            return 0
        return (self._width or self._power()) // self._step * self._per_count

    def restart(self) -> None:
        """Begin anew at the next count (the source was started again); how it counts is kept."""
        self._last, self._run = None, 0
        if not self._learnt:
            self._counts = []

    def skip(self, n_samples: int) -> None:
        """Take that `n_samples` were dropped after the source, so that their counts are not missed."""
        if self._last is None or not self._learnt or not self._step:
            self.restart()
            return
        counts, self._run = divmod(self._run + n_samples, self._per_count)
        self._last = (self._last + counts * self._step) % (self._width or self._power())

    def follow(self, counts: NDArray[np.int64]) -> list[tuple[int, int]]:
        """Take the counter of the next samples; return (row, lost before that row) for each loss."""
        taught = 0
        while not self._learnt and taught < len(counts):
            self._counts.append(int(counts[taught]))
            taught += 1
            if len(self._counts) >= _LEARN:
                self._learn()
        self._highest, self.repeated = max(self._highest, int(counts.max(initial=0))), False
        losses: list[tuple[int, int]] = []
        for row, count in enumerate(counts[taught:].tolist(), taught):
            lost = self._take(count) if self._step else 0
            if lost:
                losses.append((row, lost))
        return losses

    def _learn(self) -> None:
        """Decide from the first counts how this counter counts, or that it is of no use."""
        counts, self._learnt = np.array(self._counts), True
        changes = np.flatnonzero(np.diff(counts)) + 1
        steps = np.diff(counts)[changes - 1]
        if len(steps):
            usual, n_usual = _most_frequent(steps)
            length, n_length = _most_frequent(np.diff(changes, prepend=0)[1:] if len(changes) > 1 else changes)
            if usual > 0 and n_usual >= 0.8 * len(steps) and n_length >= 0.8 * (len(changes) - 1):
                self._step, self._per_count = usual, length
        if not self._step:
            _log.info("the source does not count its samples evenly; losses are told by time only")
            return
        self._last, self._run = int(counts[-1]), len(counts) - int(changes[-1])

    def _take(self, count: int) -> int:
        """Return the samples missing before the sample that bears `count`."""
        last, self._last = self._last, count
        if last is None:
            self._run = 1
            return 0
        run, self._run = self._run, (self._run + 1 if count == last and self._run < self._per_count else 1)
        if self._run > 1:
            return 0
        step = count - last
        self.repeated |= step == 0 and self._per_count == 1
        if step <= 0:
            step = self._turned(step)
        whole, rest = divmod(step, self._step)
        if rest or whole < 1:
            return 0
        # Packages come whole: where a run was cut short, its rest is missing too.
        return (whole - 1) * self._per_count + max(0, self._per_count - run)

    def _turned(self, step: int) -> int:
        """Return a step across the end of the counter, where it began again; 0 if that end is not known."""
        if self._width is not None:
            return step % self._width
        if step % self._power() == self._step:
            self._width = self._power()
            return self._step
        by = self._step - step  # the width, if nothing was lost just there
        if by > self._highest - self._step and by == self._wrapped_by:
            self._width = by
            return self._step
        first, self._wrapped_by = self._wrapped_by is None and by > self._highest - self._step, by
        known = self._power() == _WIDTHS[0] or self._highest > 0.9 * self._power()
        return step % self._power() if known and not first else 0

    def _power(self) -> int:
        return next((w for w in _WIDTHS if w > self._highest), _WIDTHS[-1])


class LateWatch:
    """Tell a loss from a stall by how late samples arrive.

    Parameters
    ----------
    fit : ClockFit
        What is known of the source's clock; nothing is added to it here.
    sfreq : float
        Nominal rate, Hz.

    Notes
    -----
    An arrival that is late by half a turn of the counter (0.1 s, where none
    helps) raises a suspicion, but for the first second. It is dropped as soon as
    the source has caught up, and is a loss when lateness stays what it is for
    0.15 s.
    """

    def __init__(self, fit: ClockFit, sfreq: float) -> None:
        self._fit, self._sfreq = fit, sfreq
        self._begin_s: float | None = None
        self._usual: deque[float] = deque([0.0], 50)
        self._seen: list[tuple[float, float]] = []
        self._told = False

    def suspect(self) -> None:
        """Take that the next samples come after a loss of unknown length."""
        self._seen, self._told = [], self._begin_s is not None

    def follow(self, source_s: float, session_s: float, blind_to: int) -> int | None:
        """Take an arrival; return the samples lost before the first suspicious one, None while that is not known.

        Parameters
        ----------
        source_s, session_s : float
            Newest sample as the source counts, nothing lost, and when it arrived, s.
        blind_to : int
            `PackageCounter.blind_to`: losses the counter does not show are multiples of it; 0 if it shows none.
        """
        if self._begin_s is None:
            self._begin_s = source_s
        if source_s - self._begin_s < _WARM_UP_S and not self._told:
            return 0
        late_s = self._fit.late_s(source_s, session_s) - min(self._usual)
        least_s = max(_LEAST_S, 2.5 / self._sfreq, 0.5 * blind_to / self._sfreq)
        # A loss comes at once; a rate that is not known yet makes arrivals later little by little.
        creeps = not self._seen and late_s + min(self._usual) - self._usual[-1] < 0.5 * least_s
        if not self._told and (late_s < least_s or creeps):
            self._usual.append(late_s + min(self._usual))
            self._seen = []
            return 0
        self._seen.append((session_s, late_s))
        watched_s = session_s - self._seen[0][0]
        if watched_s < _WATCH_S:
            return None
        before = [late for at, late in self._seen if at <= session_s - 0.6 * _WATCH_S]
        if watched_s < _MOST_S and min(before) - late_s > _STEADY_S:
            return None
        return self.decide(blind_to)

    def is_stuck(self, session_s: float) -> bool:
        """Whether nothing has arrived for so long that a suspicion should be decided."""
        return bool(self._seen) and session_s - self._seen[-1][0] > 2 * _WATCH_S

    def decide(self, blind_to: int) -> int:
        """Return the samples lost, by what was seen so far, and suspect no longer."""
        late = max(0.0, min((late_s for _, late_s in self._seen), default=0.0)) * self._sfreq
        multiple = blind_to if blind_to and not self._told else 1
        self._seen, self._told = [], False
        return round(late / multiple) * multiple


def _most_frequent(values: NDArray[np.int64]) -> tuple[int, int]:
    """Return the most frequent value and how often it comes; (1, 0) of none."""
    found, times = np.unique(values, return_counts=True)
    return (int(found[times.argmax()]), int(times.max())) if len(found) else (1, 0)
