"""All cases, and the verb that runs them on a driver."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence

from bci.acquisition.conformance import capabilities, ladder, leaks, loss, markers, reading, signal, timing
from bci.acquisition.conformance.case import Case, Exempt, Outcome, Result
from bci.acquisition.conformance.subject import Subject
from bci.errors import ConfigError
from bci.stream import unknown
from bci.testing.contract import ContractError

CASES: tuple[Case, ...] = (
    *ladder.CASES,
    *signal.CASES,
    *timing.CASES,
    *reading.CASES,
    *markers.CASES,
    *capabilities.CASES,
    *loss.CASES,
    *leaks.CASES,
)
"""In the order in which they are run: what costs least first."""

_PATIENCE_S = 60.0
"""How long a case may take before its driver counts as hanging, s."""
_CYCLE_S = 10.0
"""How much longer for each cycle of the search for leaks, s."""


def run_cases(
    subject: Subject,
    cases: Sequence[Case] = CASES,
    *,
    patience_s: float = _PATIENCE_S,
    follow: Callable[[Result], None] = lambda _: None,
) -> list[Result]:
    """Try every case on a driver, one after another.

    Parameters
    ----------
    subject : Subject
        The driver.
    cases : sequence of Case
        All of them if not given.
    patience_s : float, default=60
        A case that takes longer has failed: the driver hangs, s. What it holds
        cannot be taken from it, so the cases that follow are not tried.
    follow : callable, optional
        Called with each result.

    Returns
    -------
    list of Result
        In the order of `cases`.
    """
    results: list[Result] = []
    hung = ""
    for case in cases:
        if hung:
            result = Result(case, Outcome.EXEMPT, f"the driver hangs since {hung}", untested=True)
        else:
            extra_s = _CYCLE_S * 1.2 * subject.cycles if case in leaks.CASES else 0.0
            found = _within(patience_s + extra_s, subject, case)
            hung = case.name if found is None else ""
            result = found or Result(case, Outcome.FAILED, f"it did not come back within {patience_s:g} s")
        results.append(result)
        follow(result)
    return results


def named(names: Sequence[str]) -> tuple[Case, ...]:
    """Return the cases called `names`; `ConfigError` with the nearest for one that is not known."""
    known = {case.name: case for case in CASES}
    for name in names:
        if name not in known:
            raise ConfigError(unknown("case", name, known))
    return tuple(known[name] for name in names)


def _within(limit_s: float, subject: Subject, case: Case) -> Result | None:
    """Judge in a thread, so that a driver that hangs does not hang the kit; None if it does."""
    found: list[Result] = []
    worker = threading.Thread(target=lambda: found.append(_judge(subject, case)), daemon=True, name=case.name)
    worker.start()
    worker.join(limit_s)
    return found[0] if found else None


def _judge(subject: Subject, case: Case) -> Result:
    begin_s = time.monotonic()

    def result(outcome: Outcome, reason: str = "", **more: object) -> Result:
        return Result(case, outcome, reason, took_s=time.monotonic() - begin_s, **more)  # type: ignore[arg-type] # names of Result

    try:
        for need in case.needs:
            lack = subject.lacks(need)
            if lack is not None:
                raise lack
        figures = case.judge(subject)
    except Exempt as exempt:
        return result(Outcome.EXEMPT, exempt.why, untested=exempt.untested)
    except ContractError as broken:
        return result(Outcome.FAILED, str(broken).removeprefix("the contract says: "))
    except Exception as error:  # noqa: BLE001 - a stranger's driver may raise anything, and that is a result
        return result(Outcome.FAILED, f"it raised {type(error).__name__}: {error}")
    return result(Outcome.PASSED, figures=dict(figures or {}))
