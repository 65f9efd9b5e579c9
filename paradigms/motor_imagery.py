"""Motor imagery: imagine moving the left or the right hand, or rest."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np

from bci.decision import Command, Decision
from bci.errors import ConfigError
from bci.paradigms.schedule import balanced
from bci.ports import Block
from bci.signal.filters import Bandpass, Notch
from bci.signal.spatial import Pick, Reference
from bci.signal.whiten import Whiten
from bci.trial import Locked, Phase, Slide, Trial, Window


class MotorImagery:
    """Cued motor imagery with continuous decisions and rest as a state.

    Parameters
    ----------
    classes : sequence of str, default=("left", "right", "rest")
        What is asked for; "left" drives towards -1, "right" towards +1, "rest" to 0.
    n_trials : int, default=15
        Trials of each class in one calibration run.
    cue_s : float, default=4.0
        How long the imagery is asked for, s.
    pause_s : tuple of 2 float, default=(1.5, 2.5)
        Shortest and longest pause between trials, s; random, so that nobody imagines ahead.
    low_hz, high_hz : float, default=8.0, 30.0
        Pass band: mu and beta rhythms, which imagery weakens over the other hemisphere's hand area [1]_.
    order : int, default=4
        Order of the band-pass; a low one delays less.
    line_hz : float or None, default=None
        Mains frequency for a notch; None where the pass band excludes it anyway.
    reference : str or sequence of str, default="average"
        See `bci.signal.spatial.Reference`.
    channels : sequence of str, optional
        Channels to use; all EEG channels by default.
    whiten : bool, default=False
        Whiten by the recent past (`bci.signal.whiten.Whiten`), so that runs and days share one centre.
    window : Window, default=Slide(2.0, 0.1)
        What is decided on.
    answer_s : tuple of 2 float, default=(0.5, 4.0)
        When imagery shows after the cue, s.
    command_valid_s : float, default=0.3
        For how long a command may be obeyed, s.

    Raises
    ------
    ConfigError
        If classes, times or windows do not fit together.

    References
    ----------
    .. [1] G. Pfurtscheller, C. Neuper. Motor imagery and direct brain-computer communication.
       Proc IEEE 89:1123-1134, 2001. doi:10.1109/5.939829
    """

    def __init__(
        self,
        classes: Sequence[str] = ("left", "right", "rest"),
        n_trials: int = 15,
        cue_s: float = 4.0,
        pause_s: tuple[float, float] = (1.5, 2.5),
        low_hz: float = 8.0,
        high_hz: float = 30.0,
        order: int = 4,
        line_hz: float | None = None,
        reference: str | Sequence[str] = "average",
        channels: Sequence[str] | None = None,
        whiten: bool = False,
        window: Window = Slide(2.0, 0.1),  # noqa: B008  # frozen
        answer_s: tuple[float, float] = (0.5, 4.0),
        command_valid_s: float = 0.3,
    ) -> None:
        self.classes = tuple(classes)
        self.n_trials, self.cue_s = n_trials, cue_s
        self.pause_s: tuple[float, ...] = tuple(pause_s)
        self.low_hz, self.high_hz, self.order, self.line_hz = low_hz, high_hz, order, line_hz
        self.reference, self.channels, self.whiten = reference, channels, whiten
        if isinstance(window, Locked) and not window.codes:
            window = replace(window, codes=self.classes)  # not to pauses and phases
        self.window = window
        self.answer_s: tuple[float, float] = tuple(answer_s)  # type: ignore[assignment]  # its length is checked
        self.command_valid_s = command_valid_s
        self._check()

    def _check(self) -> None:
        if len(set(self.classes)) < 2 or len(set(self.classes)) != len(self.classes):
            raise ConfigError(f"motor imagery needs two different classes or more, got {self.classes}; name them")
        if not {"left", "right"} & set(self.classes):
            raise ConfigError(f"motor imagery drives by 'left' and 'right', got {self.classes}; name at least one")
        if self.n_trials < 1 or not self.command_valid_s > 0:
            raise ConfigError(
                f"motor imagery needs a trial or more and commands that hold for longer than 0 s, got {self.n_trials} "
                f"trials and {self.command_valid_s} s; correct n_trials or command_valid_s"
            )
        if len(self.pause_s) != 2 or not 0 <= self.pause_s[0] <= self.pause_s[1] < math.inf:
            raise ConfigError(f"pause_s must be (shortest, longest) in s, got {self.pause_s}; correct it")
        if len(self.answer_s) != 2 or not 0 <= self.answer_s[0] < self.answer_s[1] <= self.cue_s < math.inf:
            raise ConfigError(
                f"the answer lies within the cue, 0 <= answer_s[0] < answer_s[1] <= cue_s, got {self.answer_s} s in a "
                f"cue of {self.cue_s} s; shorten answer_s or lengthen cue_s"
            )
        window, (begin_s, end_s) = self.window, self.answer_s
        first_s, last_s = (0.0, window.length_s) if isinstance(window, Slide) else (window.tmin_s, window.tmax_s)
        too_long = last_s - first_s > end_s - begin_s + 1e-9
        outside = isinstance(window, Locked) and (first_s < begin_s - 1e-9 or last_s > end_s + 1e-9)
        if too_long or outside:
            raise ConfigError(
                f"a window of {last_s - first_s:g} s ({window}) does not fit into the answer from {begin_s:g} to "
                f"{end_s:g} s after the cue; shorten the window or lengthen answer_s"
            )

    def blocks(self) -> list[Block]:
        """Return the chain: pick channels, notch, re-reference, band-pass, whiten."""
        blocks: list[Block] = [Pick(self.channels if self.channels is not None else ("eeg",))]
        if self.line_hz is not None:
            blocks.append(Notch(self.line_hz))
        if self.reference != "none":
            blocks.append(Reference(self.reference))
        blocks.append(Bandpass(self.low_hz, self.high_hz, self.order))
        return [*blocks, Whiten()] if self.whiten else blocks

    def schedule(self, rng: np.random.Generator) -> Iterator[Trial]:
        """Yield balanced trials: a pause of random length, then the cue."""
        for label in balanced(self.classes, self.n_trials, rng):
            pause_s = float(rng.uniform(self.pause_s[0], self.pause_s[1]))
            yield Trial(label, (Phase("pause", pause_s), Phase(label, self.cue_s)))

    def command(self, decision: Decision) -> Command | None:
        """Return the intent: probability of right less that of left, so that rest is 0."""
        value = decision.probability("right") - decision.probability("left")
        return Command(
            "intent",
            0.0 if decision.label == "rest" else float(np.clip(value, -1, 1)),
            decision.stop_s + decision.age_s,
            self.command_valid_s,
            decision.stop_s,
            decision.label,
        )
