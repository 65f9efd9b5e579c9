"""The quality ladder: which steps a driver has reached, and what is in its way."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from bci.acquisition.conformance.case import Case, Outcome, Result, Step

MEANING = {
    Step.BRONZE: "can be used: lifecycle, errors, shape and unit of the data",
    Step.SILVER: "tells the truth while all is well: numbers, times, rate, waiting, markers",
    Step.GOLD: "tells the truth when something breaks: silence, loss, unplugging; leaks nothing",
    Step.PLATINUM: "exact under every fault of its emulator, in every state",
}


@dataclass(frozen=True, slots=True)
class StepGrade:
    """One step of the ladder.

    Parameters
    ----------
    step : Step
        Which.
    is_done : bool
        Whether every case of this step and of those below passed or does not apply.
    passed : int
        Cases of this step that passed.
    failed, untested : tuple of str
        Cases of this step that failed, or could not be tried.
    exempt : tuple of str
        Why cases of this step do not apply, each reason once.
    said : str
        ``done``, ``done, exempt: why``, or what is in the way.
    """

    step: Step
    is_done: bool
    passed: int
    failed: tuple[str, ...]
    untested: tuple[str, ...]
    exempt: tuple[str, ...]
    said: str


def grade(results: Sequence[Result], cases: Sequence[Case] | None = None) -> list[StepGrade]:
    """Return the four steps from bronze to platinum.

    What is left out of `cases` (all of the kit if not given) keeps its step from being done.
    """
    from bci.acquisition.conformance.suite import CASES  # it is made of cases, as this is

    whole = CASES if cases is None else cases
    tried = {r.case.name for r in results}
    grades: list[StepGrade] = []
    for step in Step:
        left_out = sum(c.step is step and c.name not in tried for c in whole)
        own = [r for r in results if r.case.step is step]
        failed = tuple(r.case.name for r in own if r.outcome is Outcome.FAILED)
        untested = tuple(r.case.name for r in own if r.outcome is Outcome.EXEMPT and r.untested)
        why = tuple(dict.fromkeys(r.reason for r in own if r.untested))
        exempt = tuple(dict.fromkeys(r.reason for r in own if r.outcome is Outcome.EXEMPT and not r.untested))
        below = not grades or grades[-1].is_done
        is_done = below and bool(own) and not failed and not untested and not left_out
        ways = [f"failed: {', '.join(failed)}"] if failed else []
        ways += [f"untested: {len(untested)} cases ({'; '.join(why)})"] if untested else []
        ways += [f"left out: {left_out} cases"] if left_out else []
        ways += [f"needs {grades[-1].step}"] if not below else []
        said = "; ".join(ways) if ways else "done" + (f", exempt: {'; '.join(exempt)}" if exempt else "")
        passed = sum(r.outcome is Outcome.PASSED for r in own)
        grades.append(StepGrade(step, is_done, passed, failed, untested, exempt, said))
    return grades


def reached(grades: Sequence[StepGrade]) -> str:
    """Return the highest step that is done; "none" below bronze."""
    return next((str(g.step) for g in reversed(grades) if g.is_done), "none")
