import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bci.apps.control.arbiter import Neighbour, Rules, Situation, critical_gap_m, follow, judge, stop
from bci.errors import ConfigError

SPEEDS = st.floats(5.0, 40.0)
GAPS = st.floats(0.0, 300.0)
NEIGHBOURS = st.none() | st.builds(Neighbour, GAPS, st.floats(0.0, 40.0))


def test_free_lane_is_accepted():
    assert judge(-1, Situation(25.0, lane=1, n_lanes=3)).accepted


@pytest.mark.parametrize(("direction", "lane"), [(-1, 0), (1, 2)])
def test_road_edge_is_refused(direction, lane):
    assert judge(direction, Situation(25.0, lane, 3)).reason == "road edge"


def test_change_in_progress_is_refused():
    assert judge(1, Situation(25.0, 1, 3, is_changing=True)).reason == "change in progress"


def test_standing_car_does_not_change_lanes():
    assert judge(1, Situation(0.0, 1, 3)).reason == "too slow 0.0 m/s"


@pytest.mark.parametrize("gap_m", [-4.0, 0.0, 0.9])
def test_vehicle_beside_the_car_is_refused(gap_m):
    assert judge(1, Situation(25.0, 1, 3, front=Neighbour(gap_m, 25.0))).reason == "vehicle alongside"
    assert judge(1, Situation(25.0, 1, 3, rear=Neighbour(gap_m, 25.0))).reason == "vehicle alongside"


def test_critical_gap_is_that_of_regulation_79():
    # 5.6.4.7 at 70 km/h with a car at 130 km/h behind: dv 0.4 s + dv^2 / 6 + v 1 s.
    own, rear = 70 / 3.6, 130 / 3.6
    expected = (rear - own) * 0.4 + (rear - own) ** 2 / 6 + own
    assert critical_gap_m(own, rear) == pytest.approx(expected)
    assert expected == pytest.approx(72.4, abs=0.1)


def test_rear_vehicle_closer_than_the_critical_gap_is_refused_with_its_time_gap():
    verdict = judge(1, Situation(20.0, 1, 3, rear=Neighbour(20.0, 25.0)))
    assert not verdict.accepted
    assert verdict.reason == "rear vehicle 0.8 s"


def test_front_vehicle_within_four_seconds_of_collision_is_refused():
    assert not judge(1, Situation(25.0, 1, 3, front=Neighbour(39.0, 15.0))).accepted
    assert judge(1, Situation(25.0, 1, 3, front=Neighbour(39.0, 15.0))).reason == "front vehicle, collision in 3.9 s"


def test_leader_that_asks_for_hard_braking_is_refused():
    assert "braking" in judge(1, Situation(25.0, 1, 3, front=Neighbour(42.0, 15.0))).reason


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_unknown_numbers_are_refused(bad):
    assert not judge(1, Situation(bad, 1, 3)).accepted
    assert not judge(1, Situation(25.0, 1, 3, front=Neighbour(bad, 25.0))).accepted
    assert not judge(1, Situation(25.0, 1, 3, rear=Neighbour(50.0, bad))).accepted


def test_direction_other_than_left_or_right_is_an_error():
    with pytest.raises(ConfigError, match="-1"):
        judge(0, Situation(25.0, 1, 3))


def test_rules_of_zero_are_an_error():
    with pytest.raises(ConfigError, match="min_ttc_s"):
        Rules(min_ttc_s=0.0)


@given(SPEEDS, NEIGHBOURS, NEIGHBOURS)
def test_accepted_change_lets_a_braking_follower_stay_behind(speed, front, rear):
    if not judge(1, Situation(speed, 1, 3, front=front, rear=rear)).accepted or rear is None:
        return
    # The follower waits 0.4 s, then brakes at 3 m/s2 until it is as slow as the own car.
    closing = max(0.0, rear.speed_mps - speed)
    assert rear.gap_m - closing * 0.4 - closing**2 / 6 > 0


@given(SPEEDS, NEIGHBOURS, NEIGHBOURS, st.floats(0.0, 100.0))
def test_more_room_never_turns_an_acceptance_into_a_refusal(speed, front, rear, more_m):
    if not judge(1, Situation(speed, 1, 3, front=front, rear=rear)).accepted:
        return
    wider = [n and Neighbour(n.gap_m + more_m, n.speed_mps) for n in (front, rear)]
    assert judge(1, Situation(speed, 1, 3, front=wider[0], rear=wider[1])).accepted


@given(SPEEDS, NEIGHBOURS, NEIGHBOURS)
def test_left_and_right_are_judged_alike(speed, front, rear):
    here = Situation(speed, 1, 3, front=front, rear=rear)
    assert judge(-1, here) == judge(1, here)


def test_following_is_in_equilibrium_at_the_published_gap():
    # Treiber et al. 2000, eq. 5: s_e(v) = (s0 + v T) / sqrt(1 - (v / v0)^4).
    rules = Rules()
    speed = 15.0
    gap = (rules.standstill_m + speed * rules.time_gap_s) / math.sqrt(1 - (speed / rules.desired_speed_mps) ** 4)
    assert follow(speed, Neighbour(gap, speed), rules) == pytest.approx(0.0, abs=1e-12)


def test_free_car_settles_at_the_desired_speed():
    speed = 0.0
    for _ in range(4000):
        speed += 0.05 * follow(speed, None)
    assert speed == pytest.approx(Rules().desired_speed_mps, rel=1e-3)


def test_stop_is_comfortable_unless_a_leader_asks_for_more():
    assert stop(20.0, None, 2.0) == -2.0
    assert stop(20.0, Neighbour(15.0, 5.0), 2.0) < -2.0
    assert stop(0.0, None, 2.0) == 0.0
