import threading
import time

import numpy as np
import pytest

pytest.importorskip("highway_env", reason="needs highway-env: pip install 'bci[control]'")

from bci.apps.control.car import HUMAN_HOLD_S, PHYSICS_S, STOP_BRAKE_MPS2, Car
from bci.apps.control.highway import Highway
from bci.decision import Command
from bci.errors import ConfigError
from bci.ports import Effector, HasStop, Hazard, OwnsLoop, ReportsEvents, ShowsStatus, Status
from bci.safety.link import GuardedEffector
from bci.testing.effector import check_effector


def drive(car, intent, seconds, name="intent"):
    """Send `intent` at 45 Hz of simulated time for so long; return the codes that came back."""
    codes = []
    for _ in range(max(1, round(seconds / PHYSICS_S))):
        if intent is not None:
            for _ in range(3):
                car.send(Command(name, intent, 0.0))
        car.step(PHYSICS_S)
        codes += [code for _, code in car.take_events()]
    return codes


@pytest.fixture
def car():
    car = Car(n_vehicles=0)
    yield car
    car.close()


def episode(seed, seconds):
    """Drive through traffic with random intents, silences and halts; return the car and its codes."""
    car, rng, codes = Car(seed=seed), np.random.default_rng(seed + 10_000), []
    while len(codes) < 10_000 and car.highway.time_s < seconds and car.state != "crashed":
        intent = float(rng.choice([-1, 0, 0, 1]) * rng.uniform(0.4, 1.0))
        codes += drive(car, intent, rng.uniform(0.3, 2.0))
        if rng.random() < 0.08:
            car.halt()
            codes += drive(car, None, rng.uniform(0.5, 10.0))
    car.close()
    return car, codes


def test_car_has_the_protocols_the_host_asks_for(car):
    for protocol in (Effector, ShowsStatus, ReportsEvents, HasStop, OwnsLoop):
        assert isinstance(car, protocol)
    assert car.limits.hazard is Hazard.VEHICLE
    assert car.limits.safe_state == "keeps its lane and slows to a stop"


def test_car_keeps_the_contract_of_effectors():
    check_effector(lambda: Car(n_vehicles=0))


@pytest.mark.slow
def test_car_drives_behind_the_guard_and_stops_when_it_falls_silent(tmp_path):
    effector = GuardedEffector("car", settings={"n_vehicles": 2}, log_path=tmp_path / "log", auto_operator=True)
    effector.self_test()
    codes = []

    def drive(seconds, until):
        end_s = time.monotonic() + seconds
        while time.monotonic() < end_s and not any(code.startswith(until) for code in codes):
            if until == "car:driving":
                effector.send(Command("intent", 0.0, time.monotonic()))
            effector.show(Status(state=effector.state))
            codes.extend(code for _, code in effector.take_events())
            time.sleep(0.02)

    try:
        drive(20.0, "car:driving")
        assert "car:driving" in codes
        drive(5.0, "car:stopping")
        assert any(code.startswith("car:stopping") for code in codes)
    finally:
        effector.close()


def test_self_test_passes():
    Car(n_vehicles=0).self_test()


def test_real_vehicle_is_refused():
    with pytest.raises(ConfigError, match="simulator only"):
        Car(simulated=False)


@pytest.mark.parametrize("settings", [{"render": "video"}, {"hold_frames": 0}, {"timeout_s": 1.0}, {"n_vehicles": -1}])
def test_setting_out_of_range_is_refused(settings):
    with pytest.raises(ConfigError):
        Car(**settings)


def test_car_does_not_drive_before_a_command(car):
    drive(car, None, 15.0)
    assert car.state == "standing"
    assert car.highway.speed_mps == 0.0


@pytest.mark.parametrize(("intent", "side", "step"), [(-0.8, "left", -1), (0.8, "right", 1)])
def test_held_intent_changes_one_lane(intent, side, step):
    car = Car(seed=3, n_vehicles=0)
    drive(car, 0.0, 1.0)
    car.highway._keep(1)
    drive(car, 0.0, 6.0)
    codes = drive(car, intent, 8.0)
    assert codes == [f"car:{side}:accepted", f"car:lane:{1 + step}"]
    assert car.highway.lane == 1 + step


def test_short_flicker_of_the_intent_asks_for_nothing(car):
    drive(car, 0.0, 1.0)
    for _ in range(20):
        for value in (0.9, 0.9, 0.9, 0.9, 0.3):
            car.send(Command("intent", value, 0.0))
        car.step(PHYSICS_S)
    assert not [code for _, code in car.take_events() if ":right:" in code]


def test_next_wish_needs_neutral_first(car):
    drive(car, 0.0, 1.0)
    drive(car, 0.9, 5.0)
    assert not drive(car, -0.9, 5.0)
    drive(car, 0.0, 0.5)
    assert any(code.startswith("car:left:") for code in drive(car, -0.9, 1.0))


def test_road_edge_is_said(car):
    drive(car, 0.0, 1.0)
    codes = []
    for _ in range(5):
        codes += drive(car, -0.9, 4.0) + drive(car, 0.0, 0.5)
    assert "car:left:refused:road edge" in codes
    assert car.highway.lane == 0


def test_decoder_never_controls_the_speed():
    speeds = []
    for intent in (0.0, 0.45, -0.45):
        car = Car(n_vehicles=0)
        drive(car, intent, 20.0)
        speeds.append(car.highway.speed_mps)
    assert np.ptp(speeds) == 0.0


def test_silence_slows_to_a_stop_in_the_lane_without_discomfort(car):
    drive(car, 0.0, 10.0)
    lane, speeds, codes = car.highway.lane, [car.highway.speed_mps], []
    while car.state != "standing" and len(speeds) < 1000:
        codes += drive(car, None, PHYSICS_S)
        speeds.append(car.highway.speed_mps)
    assert codes == ["car:stopping:silence", "car:standing"]
    assert car.highway.lane == lane
    assert not car.highway.is_changing
    assert np.min(np.diff(speeds)) / PHYSICS_S >= -STOP_BRAKE_MPS2 - 1e-9


def test_silence_is_noticed_within_200_ms(car):
    drive(car, 0.0, 5.0)
    speed, began = car.highway.speed_mps, car.highway.time_s
    while car.state == "driving":
        drive(car, None, PHYSICS_S)
    assert car.highway.time_s - began <= 0.2 + 1e-9
    assert car.highway.speed_mps < speed


def test_halt_latches_until_a_command_comes(car):
    drive(car, 0.0, 5.0)
    car.halt()
    assert car.is_stopping
    assert "car:stopping:halt" in drive(car, None, 20.0)
    assert car.state == "standing"
    assert "car:driving" in drive(car, 0.0, 5.0)
    assert car.highway.speed_mps > 3.0


def test_intent_held_through_a_halt_does_nothing_after_it(car):
    drive(car, 0.0, 1.0)
    drive(car, 0.9, 3.0)
    car.halt()
    codes = drive(car, None, 2.0) + drive(car, -0.9, 8.0)
    assert not [code for code in codes if ":left:" in code]


def test_halt_in_the_middle_of_a_change_keeps_the_nearer_lane(car):
    drive(car, 0.0, 3.0)
    side = -0.9 if car.highway.lane else 0.9
    drive(car, side, 0.8)
    assert car.highway.is_changing
    here = car.highway.lane
    car.halt()
    drive(car, None, 20.0)
    assert car.highway.lane == here
    assert not car.highway.is_changing


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_command_without_a_number_counts_as_silence(car, value):
    drive(car, 0.0, 5.0)
    assert "car:stopping:silence" in drive(car, value, 1.0)


def test_command_of_another_name_counts_as_silence(car):
    drive(car, 0.0, 5.0)
    assert "car:stopping:silence" in drive(car, 0.0, 1.0, name="speed")


def test_human_lane_change_wins_over_the_decoder(car):
    drive(car, 0.0, 3.0)
    human, decoder = ("right", -0.9) if car.highway.lane == 0 else ("left", 0.9)
    wanted = car.highway.lane + (1 if human == "right" else -1)
    drive(car, decoder, PHYSICS_S)
    car.human(human)
    codes = drive(car, decoder, HUMAN_HOLD_S - 0.2)
    assert f"car:human:{human}:accepted" in codes
    assert car.highway.lane == wanted


def test_human_brake_holds_against_commands_until_let_go(car):
    drive(car, 0.0, 5.0)
    car.human("brake")
    assert "car:stopping:human" in drive(car, 0.0, 20.0)
    assert car.highway.speed_mps == 0.0
    car.human("go")
    assert "car:driving" in drive(car, 0.0, 2.0)


def test_unknown_key_is_an_error(car):
    with pytest.raises(ConfigError, match="brake"):
        car.human("up")


def test_traffic_never_thins_out_and_the_road_never_ends():
    road = Highway(seed=1)
    road.car.position[0] = 7990.0
    for other in road.others:
        other.position[0] += 7800.0
    for _ in range(40):
        road.step(0.0)
    assert 1000.0 < road.car.position[0] < 3000.0
    assert all(abs(other.position[0] - road.car.position[0]) < 400.0 for other in road.others)


def test_same_seed_and_intents_give_the_same_drive():
    first, second = (episode(5, 3.0) for _ in range(2))
    assert first[1] == second[1]
    assert np.array_equal(first[0].highway.car.position, second[0].highway.car.position)


@pytest.mark.parametrize("seed", range(2))
def test_random_intents_cause_no_collision(seed):
    car, codes = episode(seed, 10.0)
    assert not [code for code in codes if code.startswith("car:collision")]
    assert car.state != "crashed"


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(100, 120))
def test_no_collision_by_an_accepted_change_or_a_stop(seed):
    _, codes = episode(seed, 40.0)
    assert not [code for code in codes if code.startswith("car:collision")]


def test_run_drives_in_real_time_and_polls_often(car):
    began, polls = time.monotonic(), []

    def poll():
        polls.append(time.monotonic())
        car.send(Command("intent", 0.0, 0.0))
        return polls[-1] - began < 0.6

    car.run(poll)
    assert 1 <= car.highway.time_s / PHYSICS_S <= 10
    assert len(polls) > 10


def test_halt_from_another_thread_stops_a_running_car(car):
    began = time.monotonic()

    def poll():
        if time.monotonic() - began < 0.2:
            car.send(Command("intent", 0.0, 0.0))
        return time.monotonic() - began < 0.5

    threading.Timer(0.2, car.halt).start()
    car.run(poll)
    assert car.is_stopping


def test_picture_shows_the_intent_and_the_answer():
    car = Car(seed=1, render="frames")
    car.show(Status(state="ACTIVE", cue="right"))
    drive(car, 0.0, 0.2)
    plain = car.frames[-1]
    drive(car, 0.9, 0.3)
    assert plain.shape == car.picture().shape == (384, 1120, 3)
    strip = slice(260, None)
    assert np.any(car.frames[-1][strip, 197:340] != plain[strip, 197:340])
    car.close()


def test_close_twice_is_harmless(car):
    car.close()
    car.close()
    car.halt()
