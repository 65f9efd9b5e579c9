"""What a time of driving gave."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from bci.decision import Command, Decision, decisions_hash
from bci.runtime.ledger import summary
from bci.runtime.score import Score


@dataclass(slots=True)
class Run:
    """Decisions, commands, gate, score and latency of one time of driving.

    Parameters
    ----------
    decisions : list of Decision
        Every decision, in order.
    commands : list of Command
        What was sent to the effectors; neutral wherever the gate was closed.
    gate : dict of str to int
        How often the gate was open, and closed for which reason.
    score : Score or None
        Answers of the cued trials, where there were any.
    """

    decisions: list[Decision] = field(default_factory=list)
    commands: list[Command] = field(default_factory=list)
    gate: Mapping[str, int] = field(default_factory=dict)
    score: Score | None = None

    @property
    def hash(self) -> str:
        """SHA-256 over windows and probabilities: equal only if every bit of every decision is."""
        return decisions_hash(self.decisions)

    @property
    def latency(self) -> Mapping[str, tuple[float, float]]:
        """Median and 99th percentile of each stage, of their total and of the age, s."""
        return summary(self.decisions)

    def __str__(self) -> str:
        """Score, decisions and latency in a few lines."""
        gate = ", ".join(f"{reason} {n}" for reason, n in sorted(self.gate.items()))
        lines = [
            str(self.score or "no cued trial was answered"),
            f"{len(self.decisions)} decisions, SHA-256 {self.hash[:16]}; gate: {gate or 'not asked'}",
        ]
        if self.decisions:
            times = (f"{k} {1e3 * a:.2f} / {1e3 * b:.2f}" for k, (a, b) in self.latency.items())
            lines.append(f"ms, median / 99th percentile: {', '.join(times)}")
        return "\n".join(lines)
