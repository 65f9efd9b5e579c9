"""Cases of what a driver leaves behind after many cycles of open, start, read, stop, close."""

from __future__ import annotations

from bci.acquisition.conformance.case import Exempt, Figures, Need, Severity, Step, case
from bci.acquisition.conformance.subject import Subject
from bci.testing.contract import require

_FEWEST_CYCLES = 10
_MEMORY_MB = 4.0
"""What libraries and the allocator may take in all, MB ..."""
_MEMORY_PER_CYCLE_MB = 0.04
"""... and for each cycle, MB: a thousand restarts would cost 40 MB."""


@case(Step.GOLD, Severity.MAJOR, Need.COUNTS)
def leaks_no_thread(subject: Subject) -> Figures:
    """No thread is left after many cycles of open, start, read, stop, close."""
    return _judge(subject, "threads")


@case(Step.GOLD, Severity.MAJOR, Need.COUNTS)
def leaks_no_handle(subject: Subject) -> Figures:
    """No file handle or socket is left after many cycles."""
    return _judge(subject, "handles")


@case(Step.GOLD, Severity.MAJOR, Need.COUNTS)
def leaks_no_memory(subject: Subject) -> Figures:
    """Memory does not grow with the cycles: at most 40 kB for each, and 4 MB."""
    _refuse_few(subject)
    grown = subject.growth["memory_mb"]
    limit = _MEMORY_MB + _MEMORY_PER_CYCLE_MB * subject.cycles
    require(grown <= limit, f"{subject.cycles} cycles take at most {limit:.0f} MB", f"{grown:.1f} MB")
    return {"grown_mb": grown, "cycles": float(subject.cycles)}


def _refuse_few(subject: Subject) -> None:
    if subject.cycles < _FEWEST_CYCLES:
        raise Exempt(f"{subject.cycles} cycles are too few to see a leak", untested=True)


def _judge(subject: Subject, what: str) -> Figures:
    _refuse_few(subject)
    grown = subject.growth[what]
    # One may belong to a library that keeps it for good; a leak grows with the cycles.
    require(grown <= 1, f"no {what} grow over {subject.cycles} cycles", f"{grown:+.0f}")
    return {"grown": grown, "cycles": float(subject.cycles)}


CASES = (leaks_no_thread, leaks_no_handle, leaks_no_memory)
