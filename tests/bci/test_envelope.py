"""The envelope holds whatever is asked."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bci.safety.envelope import Envelope, Output, advance, release

number = st.floats(allow_nan=True, allow_infinity=True)


def run(envelope, targets, dt_s=0.01):
    output, values = Output(envelope.neutral, 0.0), []
    for n, target in enumerate(targets, 1):
        output = advance(envelope, output, target, n * dt_s)
        values.append(output.value)
    return values


def test_output_rises_at_the_rate():
    values = run(Envelope(rise_per_s=2.0), [1.0] * 100)
    assert values[9] == pytest.approx(0.2)
    assert values[49] == pytest.approx(1.0)
    assert values[-1] == 1.0


def test_output_falls_at_once_by_default():
    assert run(Envelope(rise_per_s=100.0), [1.0] * 10 + [0.0])[-1] == 0.0


def test_output_falls_at_its_rate():
    values = run(Envelope(rise_per_s=100.0, fall_per_s=5.0), [1.0] * 2 + [0.0] * 10)
    assert values[1:4] == pytest.approx([1.0, 0.95, 0.9])


def test_change_of_side_stops_at_neutral():
    values = run(Envelope(rise_per_s=100.0), [1.0, 1.0, -1.0, -1.0])
    assert values == [1.0, 1.0, 0.0, -1.0]


def test_value_is_capped():
    assert run(Envelope(high=0.3, rise_per_s=1e9), [99.0])[-1] == 0.3


def test_nothing_that_is_not_a_number_moves_it():
    assert run(Envelope(rise_per_s=1e9), [math.nan, math.inf, -math.inf]) == [0.0, 0.0, 0.0]


def test_time_on_ends_and_the_pause_is_kept():
    values = run(Envelope(rise_per_s=1e9, max_on_s=0.5, min_off_s=0.3), [1.0] * 200)
    on = [v != 0 for v in values]
    assert on[:50] == [True] * 50
    assert on[50:80] == [False] * 30
    assert on[81:130] == [True] * 49


def test_short_neutral_does_not_evade_the_pause():
    envelope = Envelope(rise_per_s=1e9, max_on_s=0.5, min_off_s=0.3)
    values = run(envelope, ([1.0] * 49 + [0.0]) * 4)
    assert sum(v != 0 for v in values[49:79]) == 0


def test_guard_that_stood_still_does_not_jump():
    output = advance(Envelope(rise_per_s=2.0), Output(0.0, 0.0), 1.0, 5.0)
    assert output.value == pytest.approx(0.2)


def test_time_that_steps_back_moves_nothing():
    output = advance(Envelope(), Output(0.5, 10.0, 9.0), 1.0, 5.0)
    assert (output.value, output.at_s) == (0.5, 10.0)


def test_release_is_neutral_at_once():
    assert release(Envelope(neutral=0.1), Output(1.0, 0.0, 0.0), 0.5).value == 0.1


@pytest.mark.parametrize("bad", [{"low": 2.0}, {"neutral": math.nan}, {"rise_per_s": 0.0}, {"max_on_s": -1.0}])
def test_impossible_envelope_is_refused(bad):
    with pytest.raises(ValueError, match="low <= neutral <= high"):
        Envelope(**bad)


@given(
    st.lists(st.tuples(number, st.floats(0, 0.5)), max_size=80),
    st.floats(0.1, 50),
    st.floats(0.1, 50),
    st.floats(0.05, 2),
    st.floats(0, 2),
)
def test_no_sequence_leaves_the_envelope(steps, rise, fall, max_on_s, min_off_s):
    envelope = Envelope(-0.5, 0.8, 0.1, rise, fall, max_on_s, min_off_s)
    output, now_s, last_on_s = Output(0.1, 0.0), 0.0, -math.inf
    for target, dt_s in steps:
        now_s += dt_s
        before, output = output, advance(envelope, output, target, now_s)
        assert -0.5 <= output.value <= 0.8
        if abs(output.value - 0.1) > abs(before.value - 0.1):
            assert abs(output.value - before.value) <= rise * dt_s + 1e-9
        if output.value != 0.1:
            assert now_s - output.on_since_s < max_on_s
            assert before.value != 0.1 or now_s - last_on_s >= min_off_s - 1e-9
        if before.value != 0.1 and output.value == 0.1:
            last_on_s = now_s
