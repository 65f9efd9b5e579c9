"""From what a board gives at once to numbered runs of samples, with times and losses."""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from bci.acquisition.board_process import Pull
from bci.acquisition.boards import Board
from bci.acquisition.counter import LateWatch, PackageCounter
from bci.acquisition.driver import Samples
from bci.acquisition.timebase import ClockFit
from bci.stream import Flag

_COUNTED = "the board's counter jumped"
_TIMED = "more time passed than samples came"
_DROPPED = "nobody read in time, and the ring of {:g} s ran over"
_FULL = "the session stood still, and BrainFlow's ring ran over"


@dataclass(frozen=True, slots=True, eq=False)
class _Run:
    """Contiguous samples that have no times yet."""

    data: NDArray[np.float64]
    lost: int
    cause: str
    flags: Flag


class BoardStream:
    """What a board has delivered since it was started.

    Parameters
    ----------
    board : Board
        What its rows are.
    ring_s : float
        What the ring holds, s; only for the words of a report.
    """

    def __init__(self, board: Board, ring_s: float) -> None:
        self._board, self._ring_s = board, ring_s
        self.fit = ClockFit()
        self.battery = math.nan
        self._counter = PackageCounter()
        self._watch = LateWatch(self.fit, board.sfreq)
        self._arrived = self._placed = 0  # samples until now, lost ones counted: all, and those with times
        self._anew = ""
        self._short = 0
        self._held: list[_Run] = []
        self._ready: deque[Samples] = deque()

    def take(self, pull: Pull, arrival_s: float) -> None:
        """Take what was pulled at `arrival_s`, s on the session clock."""
        n = pull.raw.shape[1]
        losses = self._losses(pull)
        if not self._held:
            self._short = int(self._counter.repeated)
        self._arrived += n + sum(lost for lost, _ in losses.values())
        self._held += self._runs(pull, losses)
        lost = self._watch.follow(self._arrived / self._board.sfreq, arrival_s, self._counter.blind_to)
        if lost is None:
            return
        if self._anew:  # it counts anew: what it counted before may lie up to half a sample beside
            self.fit.forget()
        self._let_go(lost)
        self.fit.add(self._arrived / self._board.sfreq, arrival_s)
        self._stamp()
        if self._board.battery is not None and 0 < pull.raw[self._board.battery, -1] <= 100:
            self.battery = float(pull.raw[self._board.battery, -1]) / 100

    def next(self) -> Samples | None:
        """Return what is ready as one run; None if nothing is."""
        if not self._ready:
            return None
        runs = [self._ready.popleft()]
        while self._ready and not self._ready[0].lost and not self._ready[0].flags:
            runs.append(self._ready.popleft())
        if len(runs) == 1:
            return runs[0]
        data, times = np.concatenate([r.data for r in runs]), np.concatenate([r.times for r in runs])
        return replace(runs[0], data=data, times=times)

    def restart(self, cause: str) -> None:
        """Take that the board begins anew; what is missing until it is back is told by time."""
        if self._held:
            self._let_go(self._watch.decide(self._counter.blind_to))
        self._stamp()
        self._anew = cause
        self._counter.restart()
        self._watch.suspect()

    def give_up_waiting(self, now_s: float) -> None:
        """Hand on samples that are held when nothing comes that could tell more."""
        if self._watch.is_stuck(now_s):
            self._let_go(self._watch.decide(self._counter.blind_to))
            self._stamp()

    # -------------------------------------------------------------- private
    def _losses(self, pull: Pull) -> dict[int, tuple[int, str]]:
        """Return what is known to be missing: row to (samples before it, cause)."""
        losses: dict[int, tuple[int, str]] = {}
        if pull.dropped:
            self._counter.skip(pull.dropped)
            losses[0] = pull.dropped, _DROPPED.format(self._ring_s)
        counts = None if self._board.counter is None else pull.raw[self._board.counter]
        if counts is None or not np.isfinite(counts).all():
            return losses
        for row, lost in self._counter.follow(counts.astype(np.int64)):
            before, cause = losses.get(row, (0, _FULL if pull.is_full and row == 0 else _COUNTED))
            losses[row] = before + lost, cause
        return losses

    def _runs(self, pull: Pull, losses: dict[int, tuple[int, str]]) -> list[_Run]:
        data = np.ascontiguousarray(pull.raw[list(self._board.rows)].T)
        flags = Flag.OVERFLOW if pull.dropped or pull.is_full else Flag.OK
        edges = [*sorted({0, *losses}), len(data)]
        runs: list[_Run] = []
        for row, end in zip(edges, edges[1:], strict=False):
            lost, cause = losses.get(row, (0, ""))
            runs.append(_Run(data[row:end], lost, cause, flags if row == 0 else Flag.OK))
        return runs

    def _let_go(self, lost: int) -> None:
        """Settle that `lost` samples are missing before the first one that is held, besides those known."""
        if lost and self._held:
            first, lost = self._held[0], lost - self._short
            self._held[0] = replace(first, lost=first.lost + lost, cause=first.cause or self._anew or _TIMED)
            self._arrived += lost
        self._anew = ""

    def _stamp(self) -> None:
        """Give the held samples their times, and hand them on."""
        for run in self._held:
            self._placed += run.lost
            places = np.arange(self._placed + 1, self._placed + len(run.data) + 1)
            self._placed += len(run.data)
            times = self.fit.follow(places / self._board.sfreq)
            self._ready.append(Samples(run.data, times, run.lost, run.flags, cause=run.cause))
        self._held = []
