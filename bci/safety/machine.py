"""The guard's state machine: pure, ``(machine, event, now) -> (machine, notes)``. Standard library only."""

from __future__ import annotations

import enum
import math
from dataclasses import dataclass, field, replace

from bci.safety.envelope import Envelope, Output, advance, release
from bci.safety.frame import HALT, QUALITY, Frame, refuse


class State(enum.StrEnum):
    """Where the guard is; every state but ACTIVE and HOLD holds the output at its safe value."""

    OFF = "off"
    SELF_TEST = "self-test"
    IDLE = "idle"
    ARMED = "armed"
    ACTIVE = "active"
    HOLD = "hold"
    SAFE = "safe"
    STOPPED = "stopped"
    FAULT = "fault"


STATES = tuple(State)
"""States by the number that an output frame carries."""
DRIVING = (State.ACTIVE, State.HOLD)
_TRIPS = (State.ARMED, *DRIVING)
PERSON = ("arm", "confirm", "press", "keepalive", "release", "stop", "acknowledge", "reset")
ASKED = ("arm", "confirm", "acknowledge", "reset", "status")
"""What is answered. A held deadman is not: nobody reads it, and it would fill the asker's queue within seconds."""
HOST = ("alive", "passed")
_RATE_WINDOW_S = 0.1


@dataclass(frozen=True, slots=True)
class Rules:
    """Times in s; a plugin may tighten them.

    A command holds for `deadline_s`; the signal may be `max_age_s` old. Good frames and a held deadman for
    `good_s` lead from ARMED to ACTIVE; HOLD lasts at most `hold_s`; a deadman not renewed for `deadman_s` is
    released. Arming is two acts at least `confirm_min_s` (a key that bounces) and at most `confirm_s` apart.
    The effector's host answers within `host_s`, its self test within `self_test_s`. More than `max_rate_hz`
    frames are a flood. `strict`: the stop must have been tried before arming (touches or moves a person).
    """

    deadline_s: float = 0.1
    max_age_s: float = 1.0
    good_s: float = 1.0
    hold_s: float = 5.0
    deadman_s: float = 0.2
    confirm_min_s: float = 0.2
    confirm_s: float = 10.0
    host_s: float = 0.3
    self_test_s: float = 60.0
    max_rate_hz: float = 1000.0
    strict: bool = False

    def __post_init__(self) -> None:
        if not 0 < self.max_age_s <= 1.0:  # what is not a number is no limit either
            raise ValueError(f"a signal may be at most 1 s old, got max_age_s={self.max_age_s}; correct the limits")


@dataclass(frozen=True, slots=True)
class Tick:
    """Time passed."""


@dataclass(frozen=True, slots=True)
class Junk:
    """Bytes on the command port that are no frame of this session."""

    reason: str


@dataclass(frozen=True, slots=True)
class Act:
    """Somebody did something: a person (`PERSON`), the effector's host (`HOST`), or the guard itself ("start")."""

    verb: str


@dataclass(frozen=True, slots=True)
class Fault:
    """Something around the guard broke: the effector, the log, the session."""

    cause: str


Event = Tick | Frame | Junk | Act | Fault


@dataclass(frozen=True, slots=True)
class Machine:
    """Everything the guard remembers."""

    state: State = State.OFF
    since_s: float = -math.inf
    now_s: float = -math.inf
    cause: str = "switched off"
    command: Frame = field(default_factory=lambda: Frame(0, -math.inf, 0.0, 0.0, 0))
    good_since_s: float = math.inf
    held_since_s: float = math.inf
    held_at_s: float = -math.inf
    armed_at_s: float = -math.inf
    host_at_s: float = -math.inf
    stop_tried: bool = False
    window_s: float = -math.inf
    in_window: int = 0
    refusal: str = ""
    output: Output = field(default_factory=lambda: Output(0.0))

    @property
    def is_ready(self) -> bool:
        """Whether the deadman is held and good, fresh frames come."""
        return math.isfinite(self.good_since_s) and math.isfinite(self.held_since_s)


def step(
    machine: Machine, event: Event, now_s: float, rules: Rules, envelope: Envelope
) -> tuple[Machine, tuple[tuple[str, str], ...]]:
    """Return the machine after `event` at `now_s`, and notes (kind, text) for the log.

    A refused event leaves its reason in `refusal`. Time is looked at last, so that nothing outlives its expiry.
    """
    now_s = max(now_s, machine.now_s)
    m = replace(machine, now_s=now_s, refusal="")
    if isinstance(event, Frame | Junk):
        m = _arrive(m, event, rules, envelope)
    elif isinstance(event, Act):
        m = _act(m, event.verb, rules)
    elif isinstance(event, Fault):
        m = _to(m, State.FAULT if m.state in (State.OFF, State.SELF_TEST) else State.SAFE, event.cause)
    m = _put_out(_expire(m, rules), envelope)
    acted = isinstance(event, Act) and event.verb in PERSON and event.verb not in ("press", "keepalive")
    notes = [("person", event.verb)] if isinstance(event, Act) and acted else []
    if m.refusal and m.refusal != machine.refusal:
        notes.append(("refused", m.refusal))
    if m.state is not machine.state:
        notes.append(("state", f"{machine.state} > {m.state}: {m.cause}"))
    return m, tuple(notes)


def _to(m: Machine, state: State, cause: str) -> Machine:
    if m.state is state or (m.state in (State.STOPPED, State.FAULT) and state is State.SAFE):
        return m
    return replace(m, state=state, since_s=m.now_s, cause=cause, armed_at_s=-math.inf)


def _trip(m: Machine, cause: str) -> Machine:
    return _to(m, State.SAFE, cause) if m.state in _TRIPS else m


def _arrive(m: Machine, event: Frame | Junk, r: Rules, e: Envelope) -> Machine:
    if m.now_s - m.window_s >= _RATE_WINDOW_S:
        m = replace(m, window_s=m.now_s, in_window=0)
    m = replace(m, in_window=m.in_window + 1)
    if m.in_window > r.max_rate_hz * _RATE_WINDOW_S:
        return _trip(replace(m, refusal="flooded with commands"), "flooded with commands")
    if isinstance(event, Junk):
        return replace(m, refusal=event.reason)
    reason = refuse(event, m.command.sequence, m.now_s, e.low, e.high, r.max_age_s, r.deadline_s)
    if reason:
        m = replace(m, refusal=reason)
        # These come from our own session: what computes them is broken.
        return _trip(m, f"command {reason}") if reason in ("not a number", "out of range") else m
    gap = event.sent_s - m.command.sent_s > r.deadline_s
    good_since_s = math.inf
    if event.code & QUALITY:
        good_since_s = event.sent_s if gap or math.isinf(m.good_since_s) else m.good_since_s
    if gap and m.state in DRIVING:
        m = _to(m, State.SAFE, f"no valid command for {r.deadline_s:g} s")
    if event.code & HALT:
        m = _trip(m, "the session asked for the safe state")
    return replace(m, command=event, good_since_s=good_since_s)


def _act(m: Machine, verb: str, r: Rules) -> Machine:
    now_s, state = m.now_s, m.state
    if verb in HOST:
        m = replace(m, host_at_s=now_s)
        return _to(m, State.IDLE, "self test passed") if (verb, state) == ("passed", State.SELF_TEST) else m
    if verb == "start" and state is State.OFF:
        return _to(m, State.SELF_TEST, "switched on")
    if verb == "stop":
        m = replace(m, stop_tried=True, held_since_s=math.inf)
        return m if state in (State.OFF, State.FAULT) else _to(m, State.STOPPED, "stopped by a person")
    if verb in ("press", "keepalive"):
        held = math.isfinite(m.held_since_s)  # a keepalive alone holds nothing: a stuck key must be let go and pressed
        since_s = m.held_since_s if held or verb == "keepalive" else now_s
        return replace(m, held_since_s=since_s, held_at_s=now_s)
    if verb == "release":
        return replace(m, held_since_s=math.inf)
    if verb == "acknowledge" and state is State.SAFE:
        return _to(m, State.IDLE, f"a person acknowledged: {m.cause}")
    if verb == "reset" and state is State.STOPPED:
        return _to(m, State.SELF_TEST, "reset by a person")
    if verb == "arm" and state is State.IDLE:
        if r.strict and not m.stop_tried:
            return replace(m, refusal="arm: the stop has not been tried in this session; stop, reset, then arm")
        return replace(m, armed_at_s=now_s)
    if verb == "confirm" and state is State.IDLE and r.confirm_min_s <= now_s - m.armed_at_s <= r.confirm_s:
        return _to(replace(m, held_since_s=math.inf, good_since_s=math.inf), State.ARMED, "armed by a person")
    return replace(m, refusal=f"{verb}: not possible now, the guard is {state}")


def _expire(m: Machine, r: Rules) -> Machine:
    now_s, c = m.now_s, m.command
    silent = now_s - c.sent_s > r.deadline_s
    if silent or c.age_s + now_s - c.sent_s > r.max_age_s:
        m = replace(m, good_since_s=math.inf)
    if now_s - m.held_at_s > r.deadman_s:
        m = replace(m, held_since_s=math.inf)
    state, lasted_s = m.state, now_s - m.since_s
    if state is State.SELF_TEST and lasted_s > r.self_test_s:
        return _to(m, State.FAULT, f"the self test did not end within {r.self_test_s:g} s")
    if state in (State.IDLE, *_TRIPS) and now_s - m.host_at_s > r.host_s:
        return _to(m, State.SAFE, "the effector's process is silent")
    if state in DRIVING and silent:
        return _to(m, State.SAFE, f"no valid command for {r.deadline_s:g} s")
    if state is State.HOLD and lasted_s > r.hold_s:
        return _to(m, State.SAFE, f"held for {r.hold_s:g} s: {m.cause}")
    if state is State.ACTIVE and not m.is_ready:
        held = math.isfinite(m.held_since_s)
        return _to(m, State.HOLD, "the signal is not good" if held else "the deadman was released")
    if state is State.HOLD and m.is_ready:
        return _to(m, State.ACTIVE, "good again")
    if state is State.ARMED and m.is_ready and now_s - max(m.good_since_s, m.held_since_s) >= r.good_s:
        return _to(m, State.ACTIVE, f"good and held for {r.good_s:g} s")
    return m


def _put_out(m: Machine, e: Envelope) -> Machine:
    if m.state not in DRIVING:
        return replace(m, output=release(e, m.output, m.now_s))
    target = m.command.value if m.state is State.ACTIVE else e.neutral
    return replace(m, output=advance(e, m.output, target, m.now_s))
