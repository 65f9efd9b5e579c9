"""Play a schedule: which cue is due when."""

from __future__ import annotations

from collections.abc import Iterable

from bci.trial import Trial


class Cues:
    """Phases of trials on the session clock; each is due once.

    Parameters
    ----------
    trials : iterable of Trial
        Read lazily, one trial ahead.
    begin_s : float
        When the first phase begins, s on the session clock.
    """

    def __init__(self, trials: Iterable[Trial], begin_s: float) -> None:
        self._trials = iter(trials)
        self._queue: list[tuple[float, str]] = []
        self._end_s = begin_s
        self._said = False
        self._fill()

    def due(self, now_s: float) -> list[str]:
        """Return the codes of all phases that should have begun by `now_s`, once each."""
        codes: list[str] = []
        while self._queue and self._queue[0][0] <= now_s:
            codes.append(self._queue.pop(0)[1])
            if not self._queue:
                self._fill()
        return codes

    def just_finished(self, now_s: float) -> bool:
        """Return True once, when the last phase is over."""
        over = not self._queue and now_s >= self._end_s and not self._said
        self._said = self._said or over
        return over

    def _fill(self) -> None:
        trial = next(self._trials, None)
        if trial is None:
            return
        for phase in trial.phases:
            self._queue.append((self._end_s, phase.code))
            self._end_s += phase.duration_s
