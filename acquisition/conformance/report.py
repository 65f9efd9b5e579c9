"""The report of an examination: a plain dictionary, ready for JSON, that a maker can publish."""

from __future__ import annotations

import datetime
import platform
import sys
from collections.abc import Sequence
from dataclasses import asdict
from importlib.metadata import PackageNotFoundError, packages_distributions, version
from typing import Any

import bci
from bci.acquisition.conformance.case import Outcome, Result
from bci.acquisition.conformance.grade import grade, reached
from bci.acquisition.conformance.subject import Subject
from bci.stream import StreamInfo

FORMAT = "bci-conformance-1"
_LIBRARIES = ("numpy", "brainflow", "pylsl", "pyserial")


def make_report(spec: str, subject: Subject, results: Sequence[Result], info: StreamInfo | None) -> dict[str, Any]:
    """Return what was examined, how, and how it ended.

    Parameters
    ----------
    spec : str
        How the driver was named, as on the command line.
    subject : Subject
        The driver.
    results : sequence of Result
        From `suite.run_cases`.
    info : StreamInfo or None
        What its `open` said, if it could be opened.

    Returns
    -------
    dict
        ``format``, ``made`` (UTC), ``driver``, ``stream``, ``versions``, ``options``, ``reached``, ``steps``,
        ``counts`` and ``cases``; `seal.seal` adds ``seal``.
    """
    grades = grade(results)
    return {
        "format": FORMAT,
        "made": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "driver": _driver(spec, subject),
        "stream": _stream(info),
        "versions": _versions(),
        "options": {
            "seconds": subject.seconds,
            "cycles": subject.cycles,
            "pause_s": subject.pause_s,
            "against": "emulator" if subject.emulator is not None else "device",
        },
        "reached": reached(grades),
        "steps": [
            asdict(g) | {"failed": [*g.failed], "untested": [*g.untested], "exempt": [*g.exempt]} for g in grades
        ],
        "counts": {str(o): sum(r.outcome is o for r in results) for o in Outcome},
        "cases": [_case(r) for r in results],
    }


def summary(report: dict[str, Any]) -> str:
    """Return the report in a few lines of text."""
    counts = report["counts"]
    lines = [
        f"{report['driver']['spec']}: {report['reached']}; {counts['passed']} of {len(report['cases'])} cases passed, "
        f"{counts['failed']} failed, {counts['exempt']} exempt"
    ]
    lines += [f"  {step['step']:<9}{step['said']}" for step in report["steps"]]
    lines += [f"  FAILED {c['name']}: {c['reason']}" for c in report["cases"] if c["outcome"] == Outcome.FAILED]
    return "\n".join(lines)


def _driver(spec: str, subject: Subject) -> dict[str, str]:
    with subject.fresh() as device:
        kind = type(device)
    top = kind.__module__.split(".")[0]
    owners = packages_distributions().get(top, [])
    owner = "bci" if top == "bci" else (owners[0] if owners else "")
    return {"spec": spec, "class": f"{kind.__module__}:{kind.__qualname__}", "distribution": owner,
            "version": bci.__version__ if owner == "bci" else _version(owner)}  # fmt: skip


def _stream(info: StreamInfo | None) -> dict[str, Any]:
    if not isinstance(info, StreamInfo):
        return {"error": "it could not be opened, or did not say what it delivers"}
    channels = [{"name": c.name, "kind": str(c.kind), "unit": c.unit, "scale": c.scale} for c in info.channels]
    return {"name": info.name, "source_id": info.source_id, "sfreq_hz": info.sfreq, "channels": channels}


def _versions() -> dict[str, str]:
    found = {"bci": bci.__version__, "python": sys.version.split()[0],
             "system": f"{platform.system()} {platform.machine()}"}  # fmt: skip
    return found | {name: v for name in _LIBRARIES if (v := _version(name))}


def _version(name: str) -> str:
    try:
        return version(name) if name else ""
    except PackageNotFoundError:
        return ""


def _case(result: Result) -> dict[str, Any]:
    case = result.case
    return {
        "name": case.name,
        "rule": case.rule,
        "step": str(case.step),
        "severity": str(case.severity),
        "needs": [str(n) for n in case.needs],
        "outcome": str(result.outcome),
        "reason": result.reason,
        "untested": result.untested,
        "figures": {k: round(float(v), 6) for k, v in result.figures.items()},
        "took_s": round(result.took_s, 3),
    }
