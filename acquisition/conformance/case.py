"""A case of the kit: one rule, how much depends on it, what it needs, and how it ended."""

from __future__ import annotations

import enum
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from bci.acquisition.conformance.subject import Subject

Figures = Mapping[str, float]
"""What a case measured, by name with its unit."""


class Step(enum.StrEnum):
    """The quality ladder; a step needs all cases of its own and of those below."""

    BRONZE = "bronze"
    """Can be used: lifecycle, errors, shape and unit of the data."""
    SILVER = "silver"
    """Tells the truth while all is well: numbers, times, rate, waiting, markers."""
    GOLD = "gold"
    """Tells the truth when something breaks: silence, loss, unplugging; leaks nothing."""
    PLATINUM = "platinum"
    """Exact under every fault that an emulator can make, and in every state."""


class Severity(enum.StrEnum):
    """What a failure means to a user."""

    CRITICAL = "critical"
    """The signal cannot be trusted."""
    MAJOR = "major"
    """A session can fail."""
    MINOR = "minor"
    """A nuisance."""


class Need(enum.StrEnum):
    """What a case needs of a driver or of the machine."""

    SIGNAL = "signal"
    """Some seconds of signal could be read."""
    LIVE = "live"
    """The device runs in real time."""
    MARKERS = "markers"
    IMPEDANCE = "impedance"
    BATTERY = "battery"
    REPORT = "report"
    """The driver counts what it delivered and lost (`Driver.report`)."""
    EMULATOR = "emulator"
    """The maker's emulator can break its device (`bci.acquisition.conformance.emulated.Emulated`)."""
    COUNTS = "counts"
    """The system tells threads, handles and memory of a process (Linux)."""


class Outcome(enum.StrEnum):
    """How a case ended."""

    PASSED = "passed"
    FAILED = "failed"
    EXEMPT = "exempt"


class Exempt(Exception):
    """Raised by a case that does not apply.

    Parameters
    ----------
    why : str
        The reason, for the report.
    untested : bool, default=False
        Whether the rule would apply but could not be tried: the step is then not reached.
    """

    def __init__(self, why: str, untested: bool = False) -> None:
        super().__init__(why)
        self.why, self.untested = why, untested


@dataclass(frozen=True, slots=True)
class Case:
    """One rule that a driver obeys.

    Parameters
    ----------
    name : str
        What the report calls it.
    rule : str
        The rule in one sentence.
    step : Step
        The lowest step of the ladder that needs it.
    severity : Severity
        What a failure means.
    needs : tuple of Need
        Without these it is exempt.
    judge : callable
        Tries it; raises `ContractError` if the rule is broken, returns what was measured.
    """

    name: str
    rule: str
    step: Step
    severity: Severity
    needs: tuple[Need, ...]
    judge: Callable[[Subject], Figures | None]


@dataclass(frozen=True, slots=True)
class Result:
    """How a case ended on a driver.

    Parameters
    ----------
    case : Case
        The case.
    outcome : Outcome
        How it ended.
    reason : str
        Why it failed or does not apply.
    untested : bool
        Whether it was exempt although the rule applies.
    figures : mapping of str to float
        What was measured.
    took_s : float
        How long it took, s.
    """

    case: Case
    outcome: Outcome
    reason: str = ""
    untested: bool = False
    figures: Figures = field(default_factory=dict)
    took_s: float = 0.0


def case(step: Step, severity: Severity, *needs: Need) -> Callable[[Callable[[Subject], Figures | None]], Case]:
    """Make a `Case` of a function: its name is the case's, its docstring the rule."""

    def make(judge: Callable[[Subject], Figures | None]) -> Case:
        return Case(judge.__name__, " ".join((judge.__doc__ or "").split()), step, severity, needs, judge)

    return make
