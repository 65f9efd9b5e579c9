"""The gate: which decisions may act."""

import numpy as np
import pytest

from bci.decision import Decision
from bci.errors import ConfigError
from bci.safety.gate import BAD, Gate
from bci.stream import Flag

CLASSES = ("left", "rest", "right")


def decide(label="right", p=0.9, stop_s=10.0, tiny=0.0, **changes):
    others = (1 - p - tiny) / 2
    values = np.array([p + tiny if c == label else others for c in CLASSES])
    return Decision(CLASSES, values, 0, 100, stop_s - 2.0, stop_s, **changes)


class Stream:
    """Decisions every 0.1 s, never twice the same."""

    def __init__(self, **settings):
        self.gate, self.now_s = Gate(**settings), 10.0

    def next(self, label="right", p=0.9, late_s=0.0, tiny=None, **changes):
        self.now_s += 0.1
        tiny = self.now_s * 1e-6 if tiny is None else tiny
        return self.gate.check(decide(label, p, self.now_s - late_s, tiny, **changes), self.now_s)

    def opened(self):
        for _ in range(3):
            verdict = self.next()
        assert verdict.open
        return self


def test_second_confident_decision_opens():
    stream = Stream()
    assert stream.next().reason == "waiting for a second vote"
    assert stream.next().open


def test_votes_are_for_the_same_class():
    stream = Stream()
    assert [stream.next(label).open for label in ("left", "right", "left", "right")] == [False, False, True, True]


def test_uncertain_decision_closes_but_the_signal_is_trusted():
    verdict = Stream().opened().next(p=0.6)
    assert (verdict.open, verdict.reason, verdict.signal_ok) == (False, "uncertain", True)


def test_one_uncertain_window_does_not_lose_the_votes():
    stream = Stream().opened()
    stream.next(p=0.5)
    assert stream.next().open


def test_decision_locked_to_an_event_stands_alone():
    assert Stream().next(event="right").open


@pytest.mark.parametrize("flag", list(BAD))
def test_bad_signal_closes_at_once_for_a_second(flag):
    stream = Stream().opened()
    verdict = stream.next(flags=flag)
    assert (verdict.open, verdict.signal_ok, verdict.broken) == (False, False, False)
    assert flag.name in verdict.reason
    verdicts = [stream.next() for _ in range(12)]
    assert {v.reason for v in verdicts[:9]} == {"settling"}
    assert verdicts[-1].open


def test_every_flag_but_that_of_a_repair_is_bad_by_default():
    assert set(BAD) == set(Flag) - {Flag.REPAIRED}


def test_flags_that_are_allowed_do_not_close():
    stream = Stream(bad_flags=Flag.GAP).opened()
    assert stream.next(flags=Flag.FLAT).open


def test_stale_decision_closes():
    assert Stream().opened().next(late_s=1.05).reason == "stale"
    assert Stream().opened().next(late_s=0.95).open


def test_age_at_the_decision_counts_too():
    assert Stream().opened().next(age_s=1.5).reason == "stale"
    assert Stream().opened().next(age_s=np.nan).reason == "stale"


def test_probabilities_that_are_not_numbers_are_a_broken_model():
    verdict = Stream().opened().next(p=np.nan)
    assert (verdict.open, verdict.signal_ok, verdict.broken) == (False, False, True)


@pytest.mark.parametrize("values", [(0.1, 0.2, 7.0), (-1.0, 0.5, 1.5), (0.9, 0.9, 0.9), (0.0, 0.0, 0.0)])
def test_scores_that_are_no_probabilities_are_a_broken_model(values):
    stream = Stream().opened()
    decision = Decision(CLASSES, np.array(values), 0, 100, stream.now_s - 1.9, stream.now_s + 0.1)
    verdict = stream.gate.check(decision, stream.now_s + 0.1)
    assert (verdict.open, verdict.signal_ok, verdict.broken) == (False, False, True)


def test_unknown_input_is_not_the_models_fault():
    verdict = Stream().opened().next(p=np.nan, flags=Flag.NAN)
    assert (verdict.broken, verdict.reason) == (False, "bad signal: NAN")


def test_same_answer_again_and_again_is_a_broken_model():
    stream = Stream()
    verdicts = [stream.next(tiny=0.0) for _ in range(12)]
    assert [v.broken for v in verdicts] == [False] * 9 + [True] * 3


def test_same_answer_to_a_dead_signal_is_not_the_models_fault():
    stream = Stream()
    assert not any(stream.next(tiny=0.0, flags=Flag.FLAT).broken for _ in range(20))


def test_reasons_are_counted():
    stream = Stream().opened()
    stream.next(p=0.5)
    assert stream.gate.counts == {"open": 2, "waiting for a second vote": 1, "uncertain": 1}


def test_reset_forgets():
    stream = Stream().opened()
    stream.next(flags=Flag.GAP)
    stream.gate.reset()
    assert not stream.gate.counts
    assert stream.next().reason == "waiting for a second vote"


@pytest.mark.parametrize(
    "bad", [{"min_confidence": 1.5}, {"votes": 4}, {"votes": 0}, {"max_age_s": 0}, {"n_frozen": 1}]
)
def test_impossible_setting_is_refused(bad):
    with pytest.raises(ConfigError, match="a gate needs"):
        Gate(**bad)
