"""What happened to a stream since its start: all of it counted, the last of it in detail."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import Any

DETAILS = 1000
"""How many gaps, and silences, a report has in detail: the last ones. All are counted."""
OTHER_CAUSES = "other causes"
"""Where a source words more causes than are kept apart."""


@dataclass(slots=True)
class Tally:
    """What happened since `start`: every number of it, and the last of each kind in detail."""

    delivered: int = 0
    lost: int = 0
    n_gaps: int = 0
    n_silences: int = 0
    silent_s: float = 0.0
    causes: dict[str, dict[str, int]] = field(default_factory=dict)
    gaps: deque[dict[str, Any]] = field(default_factory=lambda: deque(maxlen=DETAILS))
    silences: deque[dict[str, Any]] = field(default_factory=lambda: deque(maxlen=DETAILS))

    def gap(self, sample: int, time_s: float, lost: int, cause: str) -> None:
        """Count a gap."""
        self.lost += lost
        self.n_gaps += 1
        self.gaps.append({"sample": sample, "time": time_s, "lost": lost, "cause": cause})
        if cause not in self.causes and len(self.causes) >= DETAILS:
            cause = OTHER_CAUSES
        count = self.causes.setdefault(cause, {"gaps": 0, "lost": 0})
        count["gaps"] += 1
        count["lost"] += lost

    def silence(self, begin_s: float) -> None:
        """Count a silence that began at `begin_s`."""
        self.n_silences += 1
        self.silences.append({"time": begin_s, "duration": None})

    def end_silence(self, now_s: float) -> None:
        """Say that the last silence is over."""
        duration_s = now_s - self.silences[-1]["time"]
        self.silences[-1]["duration"] = duration_s
        self.silent_s += duration_s

    def report(self) -> dict[str, Any]:
        """Return everything, ready for JSON; see `bci.acquisition.driver.Driver.report`."""
        return {
            "delivered": self.delivered,
            "lost": self.lost,
            "n_gaps": self.n_gaps,
            "n_silences": self.n_silences,
            "silent": self.silent_s,
            "causes": {cause: dict(count) for cause, count in self.causes.items()},
            "gaps": [dict(g) for g in self.gaps],
            "silences": [dict(s) for s in self.silences],
        }
