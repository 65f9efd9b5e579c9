"""The guard's state machine: every row of the table of states, every rule, and random lives."""

import math
import random

import pytest

from bci.safety.envelope import Envelope
from bci.safety.frame import HALT, Frame
from bci.safety.machine import DRIVING, Act, Fault, Junk, Machine, Rules, State, Tick, step

DT_S = 0.02


class Life:
    """A guard, its clock, and a session, a person and a host that can each fall silent."""

    def __init__(self, rules=Rules(), envelope=Envelope(), **alive):  # noqa: B008  # frozen
        self.rules, self.envelope = rules, envelope
        self.machine, self.now_s, self.sequence = Machine(), 50.0, 0
        self.alive = {"session": True, "person": True, "host": True, **alive}
        self.values, self.notes, self.frame = [], [], {}

    def do(self, event):
        self.machine, notes = step(self.machine, event, self.now_s, self.rules, self.envelope)
        self.notes += notes
        self.values.append(self.machine.output.value)
        return self

    def act(self, *verbs):
        for verb in verbs:
            self.do(Act(verb))
        return self

    def send(self, **changes):
        self.sequence += 1
        return self.do(Frame(**{"sequence": self.sequence, "sent_s": self.now_s, "value": 0.8, **changes}))

    def run(self, seconds):
        for _ in range(round(seconds / DT_S)):
            self.now_s += DT_S
            if self.alive["host"]:
                self.act("alive")
            if self.alive["person"]:
                self.act("press")
            if self.alive["session"]:
                self.send(**self.frame)
            self.do(Tick())
        return self

    def armed(self):
        self.act("start", "passed", "stop", "reset", "passed", "arm").run(0.3).act("confirm")
        assert self.state is State.ARMED
        return self

    def active(self):
        self.armed().run(1.2)
        assert self.state is State.ACTIVE
        return self

    def held(self):
        self.active()
        self.frame = {"code": 0}
        self.run(0.02)
        assert self.state is State.HOLD
        return self

    @property
    def state(self):
        return self.machine.state


# ---------------------------------------------------------------- starting and arming
def test_starting_is_off_and_neutral():
    assert Machine().state is State.OFF
    assert Life(envelope=Envelope(neutral=0.2)).do(Tick()).values == [0.2]


def test_self_test_leads_to_idle():
    assert Life().act("start").state is State.SELF_TEST
    assert Life().act("start", "passed").state is State.IDLE


def test_failed_self_test_is_a_fault_for_service():
    life = Life().act("start").do(Fault("no current limit"))
    assert life.state is State.FAULT
    assert life.act("reset", "acknowledge", "stop", "arm", "confirm", "passed", "start").state is State.FAULT


def test_self_test_without_end_is_a_fault():
    assert Life().act("start").run(61).state is State.FAULT


def test_one_step_does_not_arm():
    assert Life().act("start", "passed", "arm").run(1).state is State.IDLE
    assert Life().act("start", "passed").run(1).act("confirm").state is State.IDLE


def test_bouncing_key_does_not_arm():
    life = Life().act("start", "passed", "arm").run(0.1).act("confirm")
    assert life.state is State.IDLE
    assert "not possible now" in life.machine.refusal


def test_confirming_too_late_does_not_arm():
    assert Life().act("start", "passed", "arm").run(10.5).act("confirm").state is State.IDLE


def test_effector_that_touches_needs_its_stop_tried():
    life = Life(Rules(strict=True)).act("start", "passed", "arm")
    assert "stop has not been tried" in life.machine.refusal
    assert life.run(0.3).act("confirm").state is State.IDLE
    assert Life(Rules(strict=True)).active().state is State.ACTIVE


def test_armed_becomes_active_after_a_second_of_all_three():
    assert Life().armed().run(0.96).state is State.ARMED
    assert Life().armed().run(1.06).state is State.ACTIVE


@pytest.mark.parametrize("missing", ["session", "person"])
def test_armed_waits_for(missing):
    life = Life().armed()
    life.alive[missing] = False
    assert life.run(5).state is State.ARMED


def test_armed_waits_for_good_signal():
    life = Life().armed()
    life.frame = {"code": 0}
    assert life.run(5).state is State.ARMED


def test_stuck_deadman_does_not_count_as_held():
    life = Life(person=False).armed()
    for _ in range(100):
        life.run(0.02).act("keepalive")
    assert life.state is State.ARMED


def test_gap_in_armed_starts_the_second_again():
    life = Life().armed().run(0.8)
    life.alive["session"] = False
    life.run(0.2)
    life.alive["session"] = True
    assert life.run(0.9).state is State.ARMED


def test_nothing_is_put_out_before_active():
    assert set(Life().armed().run(0.9).values) == {0.0}


# ---------------------------------------------------------------- active and hold
def test_active_slews_to_the_command():
    life = Life(envelope=Envelope(rise_per_s=1.0)).armed().run(1.06)
    begin = life.machine.output.value
    assert life.run(0.2).machine.output.value == pytest.approx(begin + 0.2, abs=0.02)
    assert life.run(2).machine.output.value == 0.8


def test_released_deadman_holds_at_once():
    life = Life().active().act("release")
    assert life.state is State.HOLD
    assert life.machine.output.value == 0.0


def test_silent_deadman_holds():
    life = Life().active()
    life.alive["person"] = False
    assert life.run(0.18).state is State.ACTIVE
    assert life.run(0.06).state is State.HOLD


def test_bad_signal_holds_and_good_signal_goes_on():
    life = Life().held()
    life.frame = {}
    assert life.run(0.04).state is State.ACTIVE


def test_hold_ramps_to_neutral():
    life = Life(envelope=Envelope(fall_per_s=1.0)).active().run(1).act("release")
    life.alive["person"] = False
    assert life.run(0.4).machine.output.value == pytest.approx(0.4, abs=0.03)


def test_hold_ends_in_safe():
    assert Life().held().run(4.9).state is State.HOLD
    assert Life().held().run(5.1).state is State.SAFE


def test_old_signal_marked_bad_keeps_the_hold_alive():
    life = Life().held()
    life.frame = {"code": 0, "age_s": 20.0}
    assert life.run(2).state is State.HOLD


# ---------------------------------------------------------------- safe
@pytest.mark.parametrize("reach", ["active", "held"])
def test_silence_is_safe_after_the_deadline(reach):
    life = getattr(Life(), reach)()
    life.alive["session"] = False
    last_s = life.machine.command.sent_s
    while life.state in DRIVING:
        life.run(0.02)
    assert life.now_s - last_s <= 0.1 + DT_S + 1e-9


@pytest.mark.parametrize("value", [math.nan, math.inf, 1.5, -2.0])
@pytest.mark.parametrize("reach", ["armed", "active", "held"])
def test_broken_value_is_safe_at_once(reach, value):
    life = getattr(Life(), reach)().send(value=value)
    assert life.state is State.SAFE
    assert life.machine.output.value == 0.0


@pytest.mark.parametrize("fault", [{"sequence": 1}, {"age_s": 1.1}, {"sent_s": 0.0}, {"age_s": -1.0}])
def test_refused_frames_do_not_extend_the_deadline(fault):
    life = Life().active()
    life.frame = fault
    assert life.run(0.14).state is State.SAFE


def test_junk_does_not_extend_the_deadline():
    life = Life().active()
    life.alive["session"] = False
    for _ in range(7):
        life.run(0.02).do(Junk("bad checksum"))
    assert life.state is State.SAFE


def test_junk_between_good_frames_does_no_harm():
    life = Life().active()
    for _ in range(50):
        life.run(0.02).do(Junk("foreign session"))
    assert life.state is State.ACTIVE


@pytest.mark.parametrize("reach", ["armed", "active", "held"])
def test_flood_is_safe(reach):
    life = getattr(Life(), reach)()
    for _ in range(101):
        life.do(Junk("not a frame"))
    assert life.state is State.SAFE


def test_flood_of_valid_frames_is_safe():
    life = Life().active()
    for _ in range(101):
        life.send()
    assert life.state is State.SAFE


def test_session_may_ask_for_safe():
    assert Life().active().send(code=HALT).state is State.SAFE


def test_silent_host_is_safe():
    life = Life().active()
    life.alive["host"] = False
    assert life.run(0.36).state is State.SAFE


def test_fault_is_safe():
    life = Life().active().do(Fault("the event log cannot be written"))
    assert (life.state, life.machine.cause) == (State.SAFE, "the event log cannot be written")


def test_frames_that_were_queued_with_a_hole_are_safe():
    life = Life().active()
    life.now_s += 0.15
    assert life.send(sent_s=life.now_s - 0.01).state is State.SAFE


def test_frames_that_were_queued_without_a_hole_are_obeyed():
    life = Life().active()
    life.now_s += 0.15
    for late_s in (0.09, 0.05, 0.01):
        life.sequence += 1
        life.machine, _ = step(
            life.machine, Frame(life.sequence, life.now_s - late_s, 0.5), life.now_s, life.rules, life.envelope
        )
    assert life.act("press").state in DRIVING


def test_safe_never_ends_by_itself():
    life = Life().active().do(Fault("cause"))
    assert life.run(60).state is State.SAFE
    assert life.act("arm").run(0.3).act("confirm").run(2).state is State.SAFE


def test_safe_ends_by_acknowledging_and_arming_in_two_steps():
    life = Life().active().do(Fault("cause")).act("acknowledge")
    assert "cause" in life.machine.cause
    assert life.run(3).state is State.IDLE
    assert life.act("arm").run(0.3).act("confirm").run(1.1).state is State.ACTIVE


def test_time_that_steps_back_changes_nothing():
    life = Life().active()
    value = life.machine.output.value
    life.now_s -= 1000
    life.do(Tick())
    assert (life.state, life.machine.output.value) == (State.ACTIVE, pytest.approx(value))


# ---------------------------------------------------------------- stop
@pytest.mark.parametrize("reach", ["armed", "active", "held"])
def test_stop_is_neutral_at_once(reach):
    life = getattr(Life(), reach)().act("stop")
    assert (life.state, life.machine.output.value) == (State.STOPPED, 0.0)


def test_stopped_is_left_by_a_reset_and_a_self_test_only():
    life = Life().active().act("stop").run(10).act("acknowledge", "arm", "confirm", "passed")
    assert life.state is State.STOPPED
    assert life.do(Fault("something")).state is State.STOPPED
    assert life.act("reset").state is State.SELF_TEST
    assert life.act("passed").state is State.IDLE


# ---------------------------------------------------------------- notes
def test_changes_and_acts_are_noted_and_the_deadman_is_not():
    life = Life().active()
    assert ("person", "arm") in life.notes
    assert ("state", "armed > active: good and held for 1 s") in life.notes
    assert not any("press" in text for _, text in life.notes)


def test_refusal_is_noted():
    assert ("refused", "bad checksum") in Life().do(Junk("bad checksum")).notes


# ---------------------------------------------------------------- random lives
RANDOM_RULES = Rules(good_s=0.1, hold_s=0.3, confirm_min_s=0.02, strict=True)
RANDOM_ENVELOPE = Envelope(-0.5, 1.0, 0.0, 4.0, 8.0, max_on_s=0.5, min_off_s=0.2)
SENSIBLE = ("press",) * 3 + ("alive",) * 3 + ("send",) * 6 + ("tick",) * 2
PERSON = ("start", "passed", "arm", "confirm", "acknowledge", "reset")
WILD = ("stop", "release", "keepalive", "fault", "junk", "flood", "nonsense", "pause")


def happen(life, rng):
    """Let something happen, mostly something sensible, and return its name."""
    pick = rng.random()
    event = rng.choice(SENSIBLE if pick < 0.9 else PERSON if pick < 0.992 else WILD)
    life.now_s += rng.choice((0.0, 0.002, 0.01)) if event != "pause" else rng.choice((0.11, 0.4, 6.0, -3.0))
    if event == "send":
        value = rng.uniform(-0.5, 1.0) if rng.random() < 0.999 else rng.choice((math.nan, math.inf, 3.0))
        changes = {"age_s": 5.0} if rng.random() < 0.01 else {"code": 0} if rng.random() < 0.003 else {}
        life.send(value=value, **({"sequence": 1} if rng.random() < 0.005 else changes))
    elif event == "flood":
        for _ in range(105):
            life.do(Junk("not a frame"))
    elif event in ("tick", "pause", "fault", "junk"):
        life.do({"fault": Fault("fault"), "junk": Junk("bad checksum")}.get(event, Tick()))
    else:
        life.act(event)
    return event


def check_way(before, after, event, steps):
    """Check how states are left; `steps` counts what a person did since the last latched state: 3 is armed."""
    if after.state in (State.SAFE, State.STOPPED):
        steps = 0
    elif after.state is State.IDLE and before.state is not State.IDLE:
        assert event in ("acknowledge", "passed")
        steps = 1
    elif event == "arm" and steps:
        steps = max(steps, 2)
    elif event == "confirm" and steps == 2:
        steps = 3
    if after.state in (State.ARMED, *DRIVING):
        assert steps == 3
        assert after.stop_tried
    if before.state is State.SAFE and after.state is not State.SAFE:
        assert event in ("acknowledge", "stop")
    if before.state is State.STOPPED and after.state is not State.STOPPED:
        assert event == "reset"
    return steps


def check_output(before, after, last_off_s):
    """Check that the output is in its envelope; return when it last went off."""
    value, last = after.output.value, before.output.value
    assert -0.5 <= value <= 1.0
    assert value == 0.0 or after.state in DRIVING
    if after.state in DRIVING:
        assert after.now_s - after.command.sent_s <= RANDOM_RULES.deadline_s
    if after.state is State.HOLD:
        assert abs(value) <= abs(last)
        assert after.now_s - after.since_s <= RANDOM_RULES.hold_s
    if abs(value) > abs(last):
        assert after.state is State.ACTIVE
        assert abs(value - last) <= 4.0 * (after.now_s - before.now_s) + 1e-9
        assert abs(value) <= abs(after.command.value) + 1e-9
    if value != 0.0:
        assert after.now_s - after.output.on_since_s < 0.5
        assert last != 0.0 or after.now_s - last_off_s >= 0.2 - 1e-9
    return after.now_s if last != 0.0 and value == 0.0 else last_off_s


def wander(n_steps, seed):
    """Live at random, check after each step what must always hold, and return the states that were seen."""
    rng, seen, life = random.Random(seed), set(), Life(RANDOM_RULES, RANDOM_ENVELOPE)
    steps, last_off_s = 0, -math.inf
    for _ in range(n_steps):
        before = life.machine
        event = happen(life, rng)
        after = life.machine
        seen.add(after.state)
        steps = check_way(before, after, event, steps)
        last_off_s = check_output(before, after, last_off_s)
        life.values.clear()
        life.notes.clear()
        if after.state is State.FAULT:
            life, steps, last_off_s = Life(RANDOM_RULES, RANDOM_ENVELOPE), 0, -math.inf
    return seen


def test_random_life_never_leaves_the_envelope_or_the_table():
    assert wander(100_000, 0) == set(State)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(1, 11))
def test_random_life_of_a_hundred_thousand_more_steps(seed):
    wander(100_000, seed)
