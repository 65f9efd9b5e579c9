import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bci.acquisition.timebase import ClockFit
from bci.errors import DataError


def fed(late_s, rate=1.0, step_s=0.04, begin_s=500.0, fit=None):
    """A fit that saw one arrival every `step_s`; the source counts from 7 s."""
    fit = ClockFit() if fit is None else fit
    counted = 7.0 + step_s * np.arange(len(late_s))
    for source_s, session_s in zip(counted, begin_s + rate * (counted - 7.0) + late_s, strict=True):
        fit.add(source_s, session_s)
    return fit, counted


@pytest.mark.parametrize("ppm", [-200.0, 0.0, 200.0, 20_000.0])
def test_arrivals_without_delay_give_the_rate_and_every_time(ppm):
    fit, counted = fed(np.zeros(500), 1 + 1e-6 * ppm)
    assert fit.rate == pytest.approx(1 + 1e-6 * ppm, abs=1e-8)
    assert fit.at(counted) == pytest.approx(500.0 + (counted - 7.0) * (1 + 1e-6 * ppm), abs=1e-5)
    assert fit.offset_s == pytest.approx(fit.at(counted[-1]) - counted[-1], abs=1e-9)


@pytest.mark.parametrize("ppm", [-200.0, 200.0])
def test_rate_is_known_to_10_ppm_after_ten_minutes_of_jitter(ppm):
    late = np.random.default_rng(0).gamma(2.0, 5e-3, 15_000)
    fit, counted = fed(late, 1 + 1e-6 * ppm)
    assert abs(fit.rate - 1 - 1e-6 * ppm) < 10e-6
    assert abs(fit.rate - 1 - 1e-6 * ppm) < 3 * fit.rate_error < 30e-6
    assert abs(fit.at(counted[-1]) - 500.0 - (counted[-1] - 7.0) * (1 + 1e-6 * ppm)) < 2e-3


def test_standard_error_covers_the_truth():
    near = 0
    for seed in range(20):
        fit, _ = fed(np.random.default_rng(seed).exponential(5e-3, 2500), 1 + 50e-6)
        near += abs(fit.rate - 1 - 50e-6) < 2 * fit.rate_error
    assert near >= 18


def test_stalls_that_are_caught_up_with_do_not_shift_times():
    late = np.random.default_rng(0).exponential(1e-3, 5000)
    for begin in range(700, 5000, 400):
        late[begin : begin + 50] = np.maximum(late[begin : begin + 50], 0.04 * np.arange(50, 0, -1))
    fit = ClockFit()
    for begin in range(0, 5000, 250):
        fit, counted = fed(late[: begin + 250], fit=ClockFit())
        assert abs(fit.at(counted[-1]) - 500.0 - (counted[-1] - 7.0)) < 1e-3


@pytest.mark.parametrize("stalled_s", [0.5, 2.7])
def test_stall_soon_after_the_begin_is_not_taken_for_drift(stalled_s):
    fit, late = ClockFit(), np.zeros(200)
    held = np.arange(50, 50 + round(stalled_s / 0.04))
    late[held] = 0.04 * np.arange(len(held), 0, -1)
    for k in range(200):
        fit.add(0.04 * k, 0.04 * k + late[k])
        assert abs(fit.at(0.04 * k) - 0.04 * k) < 1e-6


def test_rate_that_changes_is_followed():
    fit = ClockFit()
    counted = 0.1 * np.arange(12_000)
    true = counted + 1e-4 * np.maximum(0, counted - 600)
    late = np.random.default_rng(0).exponential(1e-3, len(counted))
    for k in range(len(counted)):
        fit.add(counted[k], true[k] + late[k])
    assert abs(fit.at(counted[-1]) - true[-1]) < 2e-3
    assert fit.rate == pytest.approx(1 + 1e-4, abs=5e-6)


def test_memory_is_bounded():
    fit, _ = fed(np.zeros(7200), step_s=0.5)
    assert len(fit._earliest) <= 602


@settings(max_examples=50, deadline=None)
@given(
    st.lists(st.tuples(st.floats(1e-3, 2.0), st.floats(0.0, 3.0), st.booleans()), min_size=1, max_size=60),
    st.floats(0.97, 1.03),
)
def test_delivered_times_rise_strictly_whatever_arrives(steps, rate):
    fit, source_s, last = ClockFit(), 0.0, -np.inf
    for step_s, late_s, forget in steps:
        if forget:
            fit.forget()
        source_s += step_s
        fit.add(source_s, rate * source_s + late_s)
        times = fit.follow(np.linspace(source_s - 0.9 * step_s, source_s, 4))
        assert times[0] > last and (np.diff(times) > 0).all()
        last = times[-1]


def test_late_first_arrival_is_slewed_away_without_a_step():
    late = np.zeros(200)
    late[0] = 0.3
    fit, given_s = ClockFit(), []
    for k in range(200):
        fit.add(0.04 * k, 0.04 * k + late[k])
        given_s += fit.follow(np.array([0.04 * k])).tolist()
    spacing = np.diff(given_s)
    assert given_s[0] == 0.3 and abs(given_s[-1] - 0.04 * 199) < 1e-3
    assert spacing.min() >= 0.5 * 0.04 - 1e-9 and spacing.max() <= 0.04 + 1e-9


def test_delivered_times_are_the_estimate_once_it_is_reached():
    fit, _ = fed(np.zeros(500))
    later = 7.0 + 0.04 * np.arange(500, 600)
    assert fit.follow(later) == pytest.approx(fit.at(later), abs=1e-9)


def test_source_that_counts_anew_goes_on_rising():
    fit, counted = fed(np.zeros(100))
    before = fit.follow(counted)
    fit.forget()
    fit.add(0.0, before[-1] + 0.5)
    assert fit.follow(np.array([0.0])) == pytest.approx(before[-1] + 0.5)


def test_lateness_is_told_without_learning():
    fit, counted = fed(np.zeros(100))
    assert fit.late_s(counted[-1], fit.at(counted[-1]) + 0.7) == pytest.approx(0.7)


def test_no_arrival_and_a_time_that_is_not_finite_are_refused():
    with pytest.raises(DataError, match="there was none yet"):
        ClockFit().at(1.0)
    with pytest.raises(DataError, match="two finite times"):
        ClockFit().add(float("nan"), 1.0)
    assert np.isnan(ClockFit().offset_s) and ClockFit().rate == 1.0 and ClockFit().rate_error == np.inf
