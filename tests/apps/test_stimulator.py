from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bci.apps.rehab.stimulator import CAP_STEP_MA, MAX_ON_S, TIMEOUT_S, Pulse, SimulatedStimulator
from bci.clock import ManualClock
from bci.decision import Command
from bci.errors import ConfigError, SafetyError
from bci.ports import Effector, Hazard

VALUES = st.one_of(
    st.floats(-2, 2), st.sampled_from([0.0, 1.0, math.nan, math.inf, -math.inf, 1e300]), st.just(1.0), st.just(1.0)
)
STEPS = st.one_of(st.floats(0, 0.19), st.floats(0, 0.19), st.floats(0, 15), st.floats(-1, 0))
ACTS = st.lists(
    st.one_of(
        st.tuples(st.just("demand"), VALUES, STEPS),
        st.tuples(st.just("cap"), st.floats(-5, 30), STEPS),
        st.tuples(st.just("hold"), st.just(1.0), st.floats(1, 13)),
        st.tuples(st.just("halt"), st.just(0.0), STEPS),
    ),
    max_size=40,
)


def stimulator(cap_ma: float | None = 10.0, **settings: float) -> tuple[SimulatedStimulator, ManualClock]:
    clock = ManualClock()
    return SimulatedStimulator(cap_ma, clock=clock, **settings), clock


def hold(device: SimulatedStimulator, clock: ManualClock, value: float, seconds: float, step_s: float = 0.05) -> None:
    for _ in range(round(seconds / step_s)):
        device.demand(value, clock.now())
        clock.advance(step_s)


def trace_of(acts: list[tuple[str, float, float]]) -> list[tuple[float, float, float]]:
    """Return (time, current, cap) after each step of a random session."""
    device, clock = stimulator(6.0)
    trace = [(0.0, 0.0, 6.0)]

    def look() -> None:
        reading = device.reading()
        trace.append((clock.now(), reading.current_ma, reading.cap_ma))

    for what, value, step_s in acts:
        if what == "demand":
            device.send(Command("intent", value, clock.now()))
        elif what == "cap":
            try:
                device.set_cap(value)
            except SafetyError:
                look()
        elif what == "halt":
            device.halt()
        else:
            for _ in range(int(step_s / 0.1)):
                device.demand(1.0, clock.now())
                clock.advance(0.1)
                look()
        look()
        if step_s < 0:  # a clock that steps back must not help
            device.demand(value, clock.now() + step_s)
        else:
            clock.advance(step_s)
        look()
    return trace


@given(ACTS)
@settings(max_examples=200, deadline=None)
def test_no_sequence_exceeds_cap_or_rate(acts):
    trace = trace_of(acts)
    for (t0, i0, c0), (t1, i1, c1) in zip(trace, trace[1:], strict=False):
        assert 0.0 <= i1 <= c1 <= 20.0
        assert i1 - i0 <= max(c0, c1) * (t1 - t0) + 1e-9


@given(ACTS)
@settings(max_examples=200, deadline=None)
def test_no_sequence_is_on_longer_than_allowed_or_pauses_less(acts):
    on_s, off_s, needed_s = None, -math.inf, 0.0
    for t, current, _ in trace_of(acts):
        if current > 0 and on_s is None:
            # The rise began after the last look at 0; the pause is at least what was seen of the time on.
            assert t - off_s >= needed_s - 1e-9
            on_s = t
        elif current > 0:
            assert t - on_s <= MAX_ON_S + 1e-9
            needed_s, off_s = t - on_s, t
        elif on_s is not None:
            on_s = None


def test_is_an_effector_that_touches_a_body():
    device, _ = stimulator()
    assert isinstance(device, Effector) and device.limits.hazard == Hazard.BODY and device.limits.neutral == 0.0


def test_current_starts_at_zero():
    device, _ = stimulator()
    assert device.reading().current_ma == 0.0


def test_current_rises_by_a_tenth_of_the_cap_in_100_ms():
    device, clock = stimulator(10.0)
    device.demand(1.0, clock.now())
    clock.advance(0.1)
    assert device.reading().current_ma == pytest.approx(1.0)


def test_current_reaches_the_demand_and_stays():
    device, clock = stimulator(10.0)
    hold(device, clock, 0.5, 3.0)
    assert device.reading().current_ma == pytest.approx(5.0)


def test_halt_is_at_once():
    device, clock = stimulator()
    hold(device, clock, 1.0, 2.0)
    device.halt()
    assert device.reading().current_ma == 0.0


def test_silence_switches_off():
    device, clock = stimulator()
    hold(device, clock, 1.0, 2.0)
    clock.advance(TIMEOUT_S)
    assert device.reading().current_ma == 0.0


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, -1.0, 0.0])
def test_what_is_no_demand_switches_off(value):
    device, clock = stimulator()
    hold(device, clock, 1.0, 2.0)
    device.send(Command("intent", value, clock.now()))
    assert device.reading().current_ma == 0.0


def test_on_for_ten_seconds_then_off_for_as_long():
    device, clock = stimulator()
    hold(device, clock, 1.0, 9.9)
    assert device.reading().current_ma == pytest.approx(10.0)
    hold(device, clock, 1.0, 9.9)  # 0.1 s on, 9.8 s off
    assert device.reading().current_ma == 0.0
    hold(device, clock, 1.0, 0.5)
    assert device.reading().current_ma > 0.0


def test_missing_cap_refuses():
    with pytest.raises(SafetyError, match="needs a cap"):
        stimulator(None)[0].self_test()


def test_without_cap_no_demand_gives_current():
    device, clock = stimulator(None)
    hold(device, clock, 1.0, 3.0)
    assert device.reading().current_ma == 0.0


@pytest.mark.parametrize("cap_ma", [-1.0, 20.1, math.nan, math.inf])
def test_wrong_cap_refuses(cap_ma):
    with pytest.raises(SafetyError, match="between 0 and 20 mA"):
        stimulator(cap_ma)


def test_cap_rises_only_step_by_step():
    device, _ = stimulator(None)
    with pytest.raises(SafetyError, match="at a time"):
        device.set_cap(CAP_STEP_MA + 0.1)
    for k in range(1, 6):
        device.set_cap(k * CAP_STEP_MA)
    device.self_test()
    assert device.cap_ma == 5 * CAP_STEP_MA


def test_lower_cap_lowers_the_current_at_once():
    device, clock = stimulator(10.0)
    hold(device, clock, 1.0, 2.0)
    device.set_cap(3.0)
    assert device.reading().current_ma == 3.0


def test_charge_and_density_are_shown():
    device, clock = stimulator(10.0)
    hold(device, clock, 1.0, 2.0)
    reading = device.reading()
    assert reading.charge_uc == pytest.approx(2.5)  # 10 mA x 250 us
    assert reading.density_ma_cm2 == pytest.approx(10 * math.sqrt(2 * 250e-6 * 35) / 25)


def test_too_dense_electrodes_are_refused():
    with pytest.raises(ConfigError, match="larger electrodes"):
        SimulatedStimulator(1.0, max_ma=20.0, pulse=Pulse(area_cm2=1.0))


def test_phases_longer_than_a_period_are_refused():
    with pytest.raises(ConfigError):
        Pulse(width_us=20_000)


def test_close_may_be_repeated():
    device, _ = stimulator()
    device.close()
    device.close()
    assert device.reading().current_ma == 0.0
