"""Give windows the label of the cue they answer."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bci.errors import DataError
from bci.signal.pipeline import Pipeline
from bci.signal.window import Cut
from bci.stream import Event, Flag, StreamInfo, listed


@dataclass(frozen=True, slots=True, eq=False)
class Calibration:
    """Labelled windows, ready for a decoder.

    Parameters
    ----------
    X : ndarray, shape (n_epochs, n_channels, n_times)
        Windows as they left the chain.
    y : ndarray of str, shape (n_epochs,)
        Class of each window.
    groups : ndarray of int, shape (n_epochs,)
        Trial of each window; windows of one trial overlap and must not be split.
    info : StreamInfo
        The stream the windows were cut from.
    """

    X: NDArray[np.float64]
    y: NDArray[np.str_]
    groups: NDArray[np.int64]
    info: StreamInfo

    @property
    def n_trials(self) -> int:
        """Number of trials."""
        return len(np.unique(self.groups))


class Labeller:
    """Find the trial that a window answers.

    A sliding window belongs to a trial if it lies within `answer_s` after the
    trial's cue; a locked window belongs to the event it is locked to. Positions
    are sample numbers over the rate, so they do not depend on time stamps.

    Parameters
    ----------
    classes : sequence of str
        Event codes that ask for an answer.
    answer_s : tuple of 2 float
        Begin and end of the answer, s after the cue.
    sfreq : float
        Rate of the stream that the events number, Hz.
    """

    def __init__(self, classes: Sequence[str], answer_s: tuple[float, float], sfreq: float) -> None:
        self._classes, self._answer_s, self._sfreq = tuple(classes), answer_s, sfreq
        self._cues: deque[tuple[float, Event, int]] = deque(maxlen=64)
        self._trial_of: dict[tuple[float, str], int] = {}
        self.labels: list[str] = []
        self.others: set[str] = set()

    @property
    def classes(self) -> tuple[str, ...]:
        """The codes that are cues."""
        return self._classes

    def see(self, events: Iterable[Event]) -> None:
        """Remember the cues among `events`; the same one twice counts once."""
        for event in events:
            key = (event.sample / self._sfreq, event.code)
            if event.code in self._classes and key not in self._trial_of:
                if len(self._cues) == self._cues.maxlen:
                    begin_s, oldest, _ = self._cues[0]
                    self._trial_of.pop((begin_s, oldest.code), None)
                self._trial_of[key] = len(self.labels)
                self._cues.append((key[0], event, len(self.labels)))
                self.labels.append(event.code)
            elif event.code not in self._classes:
                self.others.add(event.code)

    def trial(self, cut: Cut) -> int | None:
        """Return the number of the trial that `cut` answers, None if it answers none."""
        if cut.event is not None:
            return self._by_event(cut.event)
        sfreq = cut.chunk.info.sfreq
        first, last = cut.chunk.start / sfreq, (cut.chunk.stop - 1) / sfreq
        slack = 0.5 / sfreq
        for begin, _, trial in reversed(self._cues):
            if first >= begin + self._answer_s[0] - slack and last <= begin + self._answer_s[1] + slack:
                return trial
        return None

    def _by_event(self, event: Event) -> int | None:
        if event.code not in self._classes:
            return None
        # The chain may have changed the rate, and with it sample numbers; no block changes an event's time.
        near = [(abs(cue.time - event.time), trial) for _, cue, trial in self._cues if cue.code == event.code]
        return min(near)[1] if near else None


class Collector:
    """Collect the labelled windows of a calibration.

    Parameters
    ----------
    labeller : Labeller
        Decides what belongs to which trial.
    late_s : float, default=2.0
        Windows wait this long for the cue they answer, since markers may arrive late.
    """

    def __init__(self, labeller: Labeller, late_s: float = 2.0) -> None:
        self.labeller, self._late_s = labeller, late_s
        self._waiting: deque[Cut] = deque()
        self._kept: list[tuple[Cut, int]] = []

    def add(self, cuts: Iterable[Cut]) -> None:
        """Take windows in order; keep those that answer a cue and have no flaw.

        Noise is no flaw here, nor is a repair: who decides beside it has to learn beside it, and one bad electrode of
        many must not keep a person from calibrating.
        """
        for cut in cuts:
            self._waiting.append(cut)
            limit = cut.chunk.stop - self._late_s * cut.chunk.info.sfreq
            while self._waiting and self._waiting[0].chunk.stop < limit:
                self._settle(self._waiting.popleft())

    def finish(self) -> Calibration:
        """Return everything that was labelled.

        Raises
        ------
        DataError
            If no window answers a cue.
        """
        while self._waiting:
            self._settle(self._waiting.popleft())
        if not self._kept:
            raise DataError(self._why_nothing())
        X = np.stack([Pipeline.transpose(cut) for cut, _ in self._kept])
        trials = np.array([trial for _, trial in self._kept], dtype=np.int64)
        y: NDArray[Any] = np.array(self.labeller.labels)[trials]
        return Calibration(X, y, trials, self._kept[0][0].chunk.info)

    def _why_nothing(self) -> str:
        wanted, n = ", ".join(self.labeller.classes), len(self.labeller.labels)
        if n:
            return (
                f"calibration needs whole windows of good signal that answer a cue, got none for {n} cues; check the "
                "signal, the window's event codes, and that answer_s is longer than the window"
            )
        return (
            f"calibration needs events called {wanted}, got {listed(sorted(self.labeller.others)) or 'no event'}; name "
            "what they mean with --event CODE=CLASS (rename= of a replay), or take another recording"
        )

    def _settle(self, cut: Cut) -> None:
        trial = self.labeller.trial(cut)
        allowed = Flag.NOISY | Flag.REPAIRED
        if trial is not None and not cut.chunk.flags & ~allowed and np.isfinite(cut.chunk.data).all():
            self._kept.append((cut, trial))
