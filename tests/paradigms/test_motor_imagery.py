import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bci.decision import Decision
from bci.errors import ConfigError
from bci.paradigms.motor_imagery import MotorImagery
from bci.paradigms.schedule import balanced
from bci.stream import Channel, StreamInfo
from bci.testing.contract import ContractError
from bci.testing.paradigm import check_paradigm
from bci.trial import Locked, Phase, Slide, Trial

INFO = StreamInfo("amp", 250.0, tuple(Channel(n) for n in ("C3", "Cz", "C4")))


def test_keeps_the_contract():
    check_paradigm(MotorImagery, INFO)


@given(st.integers(1, 5), st.integers(1, 10), st.integers(0, 1000))
def test_schedule_is_balanced_at_every_block(n_labels, n_each, seed):
    labels = [f"c{k}" for k in range(n_labels)]
    order = list(balanced(labels, n_each, np.random.default_rng(seed)))
    for begin in range(0, len(order), n_labels):
        assert sorted(order[begin : begin + n_labels]) == labels


def test_intent_runs_from_left_to_right():
    mi = MotorImagery()
    values = [mi.command(Decision(mi.classes, np.array(p), 0, 1, 0.0, 1.0)).value
              for p in ([0.9, 0.05, 0.05], [0.1, 0.1, 0.8], [0.05, 0.9, 0.05])]  # fmt: skip
    assert values[0] < -0.8
    assert values[1] == 0.0
    assert values[2] > 0.8


@pytest.mark.parametrize(
    "settings",
    [
        {"classes": ("left",)},
        {"classes": ("up", "down")},
        {"pause_s": (3.0, 1.0)},
        {"window": Slide(10.0, 0.1)},
    ],
)
def test_settings_that_do_not_fit_are_refused(settings):
    with pytest.raises(ConfigError):
        MotorImagery(**settings)


class Unseeded(MotorImagery):
    def schedule(self, rng):
        return super().schedule(np.random.default_rng())


class Unbalanced(MotorImagery):
    def schedule(self, rng):
        yield Trial("left", (Phase("left", 1.0),))
        yield Trial("left", (Phase("left", 1.0),))


class Forever(MotorImagery):
    def schedule(self, rng):
        while True:
            yield Trial("left", (Phase("left", 1.0),))


class Uncued(MotorImagery):
    def schedule(self, rng):
        for label in self.classes:
            yield Trial(label, (Phase("go", 1.0),))


class SharedBlocks(MotorImagery):
    def __init__(self):
        super().__init__()
        self._kept = super().blocks()

    def blocks(self):
        return self._kept


@pytest.mark.parametrize("bad", [Unseeded, Unbalanced, Forever, Uncued, SharedBlocks])
def test_checker_catches_a_bad_paradigm(bad):
    with pytest.raises(ContractError):
        check_paradigm(bad, INFO)


@pytest.mark.parametrize(
    "settings",
    [
        {"cue_s": -1.0}, {"cue_s": float("nan")}, {"cue_s": 1.0}, {"pause_s": (1.0,)}, {"n_trials": 0},
        {"answer_s": (4.0, 0.5)}, {"window": Locked(0.0, 5.0)}, {"command_valid_s": 0.0},
    ],
)  # fmt: skip
def test_times_that_do_not_fit_are_refused(settings):
    with pytest.raises(ConfigError):
        MotorImagery(**settings)


def test_a_locked_window_without_codes_is_locked_to_the_cues():
    assert MotorImagery(window=Locked(0.5, 3.5)).window.codes == ("left", "right", "rest")
