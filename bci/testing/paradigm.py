"""The contract of `Paradigm`, as a checker."""

from __future__ import annotations

from collections.abc import Callable
from itertools import islice

import numpy as np

from bci.decision import Command, Decision
from bci.ports import Block, Paradigm
from bci.stream import StreamInfo
from bci.testing.contract import require
from bci.trial import Locked, Slide


def check_paradigm(make_paradigm: Callable[[], Paradigm], info: StreamInfo, max_trials: int = 1000) -> None:
    """Check that a paradigm is seeded, pure, balanced and answers every decision.

    Parameters
    ----------
    make_paradigm : callable
        Returns a new paradigm each time.
    info : StreamInfo
        A stream its blocks should accept.
    max_trials : int, default=1000
        A calibration run longer than this is refused.

    Raises
    ------
    ContractError
        Naming the first rule that is broken.
    """
    paradigm = make_paradigm()
    require(isinstance(paradigm, Paradigm), "has classes, window, answer_s, blocks, schedule and command", paradigm)
    classes = paradigm.classes
    require(len(classes) >= 2 and len(set(classes)) == len(classes), "has two or more different classes", classes)
    require(isinstance(paradigm.window, Slide | Locked), "window is a Slide or Locked", paradigm.window)
    require(0 <= paradigm.answer_s[0] < paradigm.answer_s[1], "answer_s is (begin, end)", paradigm.answer_s)
    _check_blocks(paradigm, info)
    _check_schedule(make_paradigm, max_trials)
    _check_commands(paradigm)


def _check_blocks(paradigm: Paradigm, info: StreamInfo) -> None:
    first, second = paradigm.blocks(), paradigm.blocks()
    require(all(isinstance(b, Block) for b in first), "blocks() returns a list of Block", first)
    require(not any(a is b for a in first for b in second), "blocks() returns new blocks at each call", first)
    for block in first:
        info = block.prepare(info)


def _check_schedule(make_paradigm: Callable[[], Paradigm], max_trials: int) -> None:
    def trials(seed: int) -> list[object]:
        return list(islice(make_paradigm().schedule(np.random.default_rng(seed)), max_trials + 1))

    once, again = trials(1), trials(1)
    require(0 < len(once) <= max_trials, f"schedule() yields 1 to {max_trials} trials", len(once))
    require(once == again, "the same seed gives the same schedule", (once[:3], again[:3]))
    paradigm = make_paradigm()
    labels = [t.label for t in paradigm.schedule(np.random.default_rng(1))]
    counts = [labels.count(c) for c in paradigm.classes]
    require(set(labels) <= set(paradigm.classes), "every trial's label is one of the classes", sorted(set(labels)))
    require(max(counts) - min(counts) <= 1, "every class is asked for equally often", counts)
    for trial in paradigm.schedule(np.random.default_rng(1)):
        codes = [p.code for p in trial.phases]
        require(trial.label in codes, "a trial's label is the code of one of its phases", codes)
        require(all(p.duration_s >= 0 for p in trial.phases), "phases last 0 s or more", trial)


def _check_commands(paradigm: Paradigm) -> None:
    n = len(paradigm.classes)
    for k in range(n):
        p = np.full(n, 0.1 / max(n - 1, 1))
        p[k] = 0.9
        decision = Decision(paradigm.classes, p, 0, 100, 0.0, 1.0)
        command = paradigm.command(decision)
        again = paradigm.command(decision)
        require(command == again, "command() depends on the decision alone", (command, again))
        if command is None:
            continue
        require(isinstance(command, Command), "command() returns a Command or None", command)
        require(bool(np.isfinite(command.value)), "a command's value is finite", command)
        require(0 < command.valid_s <= 1, "a command expires within 1 s", command)
