"""What a paradigm asks for: phases, trials, and the windows it decides on."""

from __future__ import annotations

from dataclasses import dataclass

from bci.errors import ConfigError


@dataclass(frozen=True, slots=True)
class Phase:
    """One part of a trial: what happens (`code`, sent as an event) and for how long (s)."""

    code: str
    duration_s: float


@dataclass(frozen=True, slots=True)
class Trial:
    """One trial: the class asked for and its phases, in order."""

    label: str
    phases: tuple[Phase, ...]

    @property
    def duration_s(self) -> float:
        """Length of all phases, s."""
        return sum(p.duration_s for p in self.phases)


@dataclass(frozen=True, slots=True)
class Slide:
    """Windows of `length_s` that follow one another every `step_s`, for as long as the stream runs."""

    length_s: float
    step_s: float

    def __post_init__(self) -> None:
        if not (self.length_s > 0 and self.step_s > 0):
            raise ConfigError(
                f"a sliding window needs a length and a step above 0 s, got {self.length_s} s and {self.step_s} s"
            )


@dataclass(frozen=True, slots=True)
class Locked:
    """One window from `tmin_s` to `tmax_s` after each event whose code is in `codes` (empty: every event)."""

    tmin_s: float
    tmax_s: float
    codes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not self.tmax_s > self.tmin_s:
            raise ConfigError(f"a locked window needs tmin_s < tmax_s, got {self.tmin_s} s to {self.tmax_s} s")


Window = Slide | Locked
