"""Drive: decide on every window, pass the gate, act."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bci.clock import Clock
from bci.decision import Command, Decision
from bci.ports import Decoder, Paradigm
from bci.runtime.collect import Labeller
from bci.runtime.loop import Turn
from bci.runtime.run import Run
from bci.runtime.score import Answers, Score
from bci.safety.gate import Gate, Verdict
from bci.signal.pipeline import Pipeline
from bci.signal.window import Cut

OnDecision = Callable[[Decision, Command | None], None]
Note = Callable[[str, Mapping[str, Any], float], None]


class Driver:
    """Turns windows into decisions, and decisions into commands.

    Parameters
    ----------
    decoder, paradigm, gate, clock
        Parts of the session.
    labeller : Labeller
        Knows which trial a window answers.
    note : callable
        Takes (stream, record, time in s) for the recording.
    on_decision : callable, optional
        Called with each decision and its command.
    """

    def __init__(
        self,
        decoder: Decoder,
        paradigm: Paradigm,
        gate: Gate,
        clock: Clock,
        labeller: Labeller,
        note: Note,
        on_decision: OnDecision | None = None,
    ) -> None:
        self._decoder, self._paradigm, self._gate, self._clock = decoder, paradigm, gate, clock
        self._labeller, self._note, self._on_decision = labeller, note, on_decision
        self._classes = tuple(str(c) for c in decoder.classes_)
        self._answers = Answers()
        gate.reset()  # each drive is judged for itself
        self.run = Run()

    def decide(self, cut: Cut, turn: Turn) -> tuple[Command | None, Verdict]:
        """Decide on one window; return the command, and what the gate says."""
        decision, command, verdict = self._decide(cut, turn)
        self.run.add(decision, command)
        trial = self._labeller.trial(cut)
        if trial is not None:
            self._answers.add(trial, self._labeller.labels[trial], decision)
        if command is not None:
            self._note(
                "Commands", {"name": command.name, "value": command.value, "label": command.label}, decision.stop_s
            )
        if self._on_decision is not None:
            self._on_decision(decision, command)
        return command, verdict

    def finish(self) -> Run:
        """Score the answered trials and return the run."""
        self.run.gate = dict(self._gate.counts)
        correct, n = self._answers.count()
        if n:
            self.run.score = Score(correct, n, len(self._classes), "online, after calibration")
        return self.run

    def _decide(self, cut: Cut, turn: Turn) -> tuple[Decision, Command | None, Verdict]:
        chunk = cut.chunk
        begin = time.perf_counter()
        X = Pipeline.transpose(cut)[np.newaxis]
        p = self._probabilities(X)
        decoded = time.perf_counter()
        decision = Decision(
            self._classes,
            p,
            chunk.start,
            chunk.stop,
            float(chunk.times[0]),
            float(chunk.times[-1]),
            cut.event.code if cut.event is not None else "",
            chunk.flags,
            self._clock.now() - float(chunk.times[-1]),
            bad_channels=cut.bad_channels,
        )
        no_contact = turn.quality.no_contact if turn.quality is not None else ()
        verdict = self._gate.check(decision, self._clock.now(), no_contact)
        command = self._paradigm.command(decision)
        if command is not None and not verdict.open:
            command = replace(command, value=0.0, label="")
        stages = {**turn.stages, "decode": decoded - begin, "decide": time.perf_counter() - decoded}
        decision = replace(decision, stages=stages)
        self._note("Decisions", _record(decision, verdict.reason), decision.stop_s)
        return decision, command, verdict

    def _probabilities(self, X: NDArray[np.float64]) -> NDArray[np.float64]:
        if not np.isfinite(X).all():
            return np.full(len(self._classes), np.nan)  # unknown in, unknown out: the gate refuses it
        return np.asarray(self._decoder.predict_proba(X)[0], dtype=np.float64)


def _record(decision: Decision, reason: str) -> dict[str, Any]:
    bad = {"bad_channels": list(decision.bad_channels)} if decision.bad_channels else {}
    return {
        "start": decision.start,
        "stop": decision.stop,
        "event": decision.event,
        "p": {c: round(float(p), 6) for c, p in zip(decision.classes, decision.probabilities, strict=True)},
        "flags": int(decision.flags),
        "age_s": round(decision.age_s, 6),
        "stages_s": {k: round(v, 7) for k, v in decision.stages.items()},
        "gate": reason,
        **bad,
    }
