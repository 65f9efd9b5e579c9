"""A run of any length: everything is counted and hashed, the last is kept."""

import numpy as np

from bci.decision import Command, Decision, decisions_hash
from bci.runtime.collect import Labeller
from bci.runtime.run import KEPT, Run
from bci.runtime.score import Answers, trial_answers
from bci.stream import Event

CLASSES = ("left", "right")


def decision(k, p=0.5):
    return Decision(CLASSES, np.array([p, 1 - p]), k, k + 10, k / 10, k / 10 + 1)


def test_a_run_keeps_the_last_and_hashes_all():
    run, decisions = Run(), [decision(k, 0.1 + 0.8 * (k % 7) / 7) for k in range(KEPT + 50)]
    for d in decisions:
        run.add(d, Command("intent", 1.0, d.stop_s, label="left"))
    assert run.n_decisions == run.sent["left"] == KEPT + 50
    assert len(run.decisions) == len(run.commands) == KEPT and run.decisions[-1] is decisions[-1]
    assert run.hash == decisions_hash(decisions) != decisions_hash(decisions[50:])
    assert f"of the last {KEPT}" in str(run)


def test_answers_are_counted_as_if_all_windows_were_kept():
    rng = np.random.default_rng(0)
    labels = [CLASSES[k] for k in rng.integers(0, 2, 300)]
    answers, trials, said = Answers(), np.repeat(np.arange(300), 5), rng.dirichlet((1, 1), 1500)
    for trial, p in zip(trials.tolist(), said, strict=True):
        answers.add(trial, labels[trial], Decision(CLASSES, p, 0, 1, 0.0, 0.0))
        assert len(answers._open) <= 64
    whole = trial_answers(said, CLASSES, trials)
    assert answers.count() == (sum(labels[t] == a for t, a in whole.items()), 300)


def test_a_labeller_remembers_as_many_cues_as_it_answers():
    labeller = Labeller(CLASSES, (0.5, 4.0), 250.0)
    for k in range(1000):
        cue = Event(250 * k, float(k), CLASSES[k % 2])
        labeller.see([cue])
        labeller.see([cue])
    assert len(labeller.labels) == 1000 and len(labeller._trial_of) == 64
