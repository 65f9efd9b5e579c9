"""The truth about a stream that was tampered with: a ledger that only grows."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from bci.acquisition.faults import FaultKind
from bci.errors import FormatError


@dataclass(frozen=True, slots=True)
class Record:
    """One thing that really happened.

    Parameters
    ----------
    kind : FaultKind
        What.
    first : int
        Number of the first sample it happened to; the source's own count from its start, lost ones included.
    n : int
        How many samples: lost, changed, or of the packet that came twice or late.
    time_s : float
        When the first of them was taken, s on the session clock.
    duration_s : float
        How long it lasted, s; 0 for what is over at once.
    lost : bool
        Whether those samples never arrived.
    amount : float
        How much; see `FaultKind`.
    channels : tuple of int
        Columns it happened to; empty for all.
    """

    kind: FaultKind
    first: int
    n: int
    time_s: float
    duration_s: float = 0.0
    lost: bool = False
    amount: float = 0.0
    channels: tuple[int, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        """Return plain values for JSON; what never ended has no duration."""
        plain = asdict(self)
        return plain | {"kind": self.kind.value, "channels": list(self.channels),
                        "duration_s": self.duration_s if math.isfinite(self.duration_s) else None}  # fmt: skip


class Ledger:
    """What really happened, in the order in which it did.

    Attributes
    ----------
    pushed : int
        Samples that the source has made since its start, lost ones included.
    under_way : int
        Those of them that the link still holds.
    """

    def __init__(self, records: Iterable[Record] = (), pushed: int = 0, under_way: int = 0) -> None:
        self._records = list(records)
        self.pushed, self.under_way = pushed, under_way

    def add(self, record: Record) -> None:
        """Append; nothing is ever changed or taken away."""
        self._records.append(record)

    @property
    def records(self) -> tuple[Record, ...]:
        """All records."""
        return tuple(self._records)

    def of(self, *kinds: FaultKind | str) -> list[Record]:
        """Return the records of some kinds."""
        return [r for r in self._records if r.kind in kinds]

    @property
    def n_lost(self) -> int:
        """Samples that never arrived; one that two faults took is lost once."""
        return sum(n for _, n in self.gaps())

    def gaps(self) -> list[tuple[int, int]]:
        """Return (first sample after the gap, samples lost) for every run of lost samples, as a report has it."""
        runs: list[list[int]] = []
        for first, n in sorted((r.first, r.n) for r in self._records if r.lost):
            if runs and first <= runs[-1][1]:
                runs[-1][1] = max(runs[-1][1], first + n)
            else:
                runs.append([first, first + n])
        return [(after, after - first) for first, after in runs]

    def as_json(self) -> str:
        """Return everything as JSON."""
        records = [r.as_dict() for r in self._records]
        return json.dumps({"pushed": self.pushed, "under_way": self.under_way, "records": records}, indent=1)

    def write(self, path: str | Path) -> None:
        """Write everything to a file."""
        Path(path).write_text(self.as_json(), encoding="utf-8")

    @classmethod
    def from_json(cls, text: str) -> Ledger:
        """Return what `as_json` gave; `FormatError` if it is something else."""
        try:
            found = json.loads(text)
            records = (_record(entry) for entry in found["records"])
            return cls(records, int(found["pushed"]), int(found.get("under_way", 0)))
        except (ValueError, TypeError, KeyError) as error:
            raise FormatError(
                f"a ledger is a JSON object with pushed and records, got {text[:80]!r}: {error}; write it with write()"
            ) from error


def differences(ledger: Ledger, report: Mapping[str, Any]) -> list[str]:
    """Hold a report of a driver against the truth; return what does not agree, in words.

    Parameters
    ----------
    ledger : Ledger
        The truth, of a stream whose faults are over.
    report : mapping
        What `bci.acquisition.driver.Driver.report` gave.

    Returns
    -------
    list of str
        Empty if every sample that was pushed is delivered, reported lost, or (those of the last moment) still on its
        way; if every lost sample is in the report, at its place, and nothing else is; and if it knows of every
        packet that came twice or out of order. Packets that were counted as lost and came later count as lost.
    """
    found = []
    waiting = ledger.under_way + report.get("waiting", 0)
    if ledger.pushed != report["delivered"] + report["lost"] + waiting:
        found.append(
            f"{ledger.pushed} samples were pushed; {report['delivered']} delivered, {report['lost']} reported lost and "
            f"{waiting} on their way are {report['delivered'] + report['lost'] + waiting}"
        )
    true, told = ledger.gaps(), [(int(g["sample"]), int(g["lost"])) for g in report["gaps"]]
    if ledger.n_lost != report["lost"]:
        found.append(f"{ledger.n_lost} samples were lost, {report['lost']} are reported")
    if len(true) != report["n_gaps"]:
        found.append(f"there were {len(true)} gaps, {report['n_gaps']} are reported")
    for gap in sorted(set(true[-len(told) :] if told else true) ^ set(told))[:5]:
        where = "truth" if gap in true else "report"
        found.append(f"a gap of {gap[1]} samples before sample {gap[0]} is in the {where} only")
    for kind, key in ((FaultKind.DUPLICATE, "duplicates"), (FaultKind.REORDER, "reordered")):
        if key in report and len(ledger.of(kind)) != report[key]:
            found.append(f"{len(ledger.of(kind))} packets were {key}, {report[key]} are reported")
    return found


def _record(entry: dict[str, Any]) -> Record:
    duration_s = math.inf if entry["duration_s"] is None else float(entry["duration_s"])
    known = entry | {"kind": FaultKind(entry["kind"]), "channels": tuple(entry["channels"]), "duration_s": duration_s}
    return Record(**known)
