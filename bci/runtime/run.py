"""What a time of driving gave."""

from __future__ import annotations

import hashlib
from collections import Counter, deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from bci.decision import Command, Decision, hashed
from bci.runtime.ledger import summary
from bci.runtime.score import Score

KEPT = 20_000
"""Decisions and commands that a run keeps: the last ones, half an hour at ten per second."""


@dataclass(slots=True)
class Run:
    """Decisions, commands, gate, score and latency of one time of driving.

    Parameters
    ----------
    decisions : sequence of Decision
        The last `KEPT`, in order. A recording has them all.
    commands : sequence of Command
        What was sent to the effectors, the last `KEPT`; neutral wherever the gate was closed.
    gate : dict of str to int
        How often the gate was open, and closed for which reason.
    score : Score or None
        Answers of the cued trials, where there were any.
    n_decisions : int
        All decisions of the run.
    sent : Counter of str
        All commands of the run, by the class they stand for; "" where the gate was closed.
    """

    decisions: deque[Decision] = field(default_factory=lambda: deque(maxlen=KEPT))
    commands: deque[Command] = field(default_factory=lambda: deque(maxlen=KEPT))
    gate: Mapping[str, int] = field(default_factory=dict)
    score: Score | None = None
    n_decisions: int = 0
    sent: Counter[str] = field(default_factory=Counter)
    _digest: Any = field(default_factory=hashlib.sha256, repr=False)

    def add(self, decision: Decision, command: Command | None = None) -> None:
        """Take a decision and the command it led to."""
        self.decisions.append(decision)
        self.n_decisions += 1
        self._digest.update(hashed(decision))
        if command is not None:
            self.commands.append(command)
            self.sent[command.label] += 1

    @property
    def hash(self) -> str:
        """SHA-256 over windows and probabilities of all decisions: equal only if every bit of every one is."""
        return str(self._digest.hexdigest())

    @property
    def latency(self) -> Mapping[str, tuple[float, float]]:
        """Median and 99th percentile of each stage, of their total and of the age, s; of the decisions kept."""
        return summary(self.decisions)

    def __str__(self) -> str:
        """Score, decisions and latency in a few lines."""
        gate = ", ".join(f"{reason} {n}" for reason, n in sorted(self.gate.items()))
        lines = [
            str(self.score or "no cued trial was answered"),
            f"{self.n_decisions} decisions, SHA-256 {self.hash[:16]}; gate: {gate or 'not asked'}",
        ]
        if self.decisions:
            times = (f"{k} {1e3 * a:.2f} / {1e3 * b:.2f}" for k, (a, b) in self.latency.items())
            of = "" if self.n_decisions == len(self.decisions) else f" of the last {len(self.decisions)}"
            lines.append(f"ms, median / 99th percentile{of}: {', '.join(times)}")
        return "\n".join(lines)
