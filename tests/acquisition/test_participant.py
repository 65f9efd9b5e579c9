"""The simulated participant as a device: time, cues and faults."""

import time

import numpy as np
import pytest

from bci.acquisition.participant import Participant
from bci.clock import ManualClock, MonotonicClock
from bci.errors import ConfigError, DeviceError, DeviceLost
from bci.ports import AcceptsMarkers, AnswersCues, Device, HasOwnTime
from bci.stream import Flag


def read_all(device, seconds):
    chunks = []
    while device.clock.now() < seconds:
        chunks.append(device.read(0.1))
    return chunks


def test_participant_has_the_ports_it_promises():
    for port in (Device, AcceptsMarkers, AnswersCues, HasOwnTime):
        assert isinstance(Participant(), port)


def test_clock_stands_at_the_newest_sample():
    with Participant() as device:
        for _ in range(10):
            chunk = device.read(0.1)
            assert device.clock.now() == chunk.times[-1]
        assert chunk.stop == 100


def test_same_seed_and_cues_give_the_same_samples():
    def run():
        with Participant(seed=4) as device:
            device.respond("left", 0.5)
            return np.concatenate([c.data for c in read_all(device, 3)])

    np.testing.assert_array_equal(run(), run())


def test_restart_begins_anew():
    device = Participant(seed=4)
    with device:
        first = device.read(0.1)
    with device:
        again = device.read(0.1)
    assert again.start == 0
    assert device.truth == []
    np.testing.assert_array_equal(first.data, again.data)


def test_cue_acts_from_its_time():
    with Participant() as device:
        device.respond("left", 0.5)
        device.respond("fixation", 1.0)
        assert device.truth == [(125, "left"), (250, "rest")]


def test_cue_from_the_past_acts_from_the_next_sample():
    with Participant() as device:
        device.read(0.1)
        device.respond("right", 0.0)
        assert device.truth == [(10, "right")]


def test_cue_before_start_is_refused():
    with pytest.raises(DeviceError, match="start"):
        Participant().respond("left", 0.0)


def test_lost_samples_are_a_jump_with_gap():
    with Participant(drop=[(1.0, 7)]) as device:
        chunks = read_all(device, 2)
    after = next(c for c in chunks if Flag.GAP in c.flags)
    assert after.start == 257
    assert after.times[0] == pytest.approx(257 / 250)
    assert sum(Flag.GAP in c.flags for c in chunks) == 1


def test_loss_takes_the_samples_that_would_have_been_there():
    with Participant(seed=2) as whole, Participant(seed=2, drop=[(0.3, 20)]) as lossy:
        full = np.concatenate([c.data for c in read_all(whole, 2)])
        for chunk in read_all(lossy, 1.5):
            np.testing.assert_array_equal(chunk.data, full[chunk.start : chunk.stop])


def test_silence_is_said_within_a_quarter_second():
    with Participant(silent=[(1.0, 2.0)]) as device:
        while not (chunk := device.read(5.0)).flags & Flag.SILENT:
            last_s = chunk.times[-1]
        assert device.clock.now() - last_s <= 0.25
        while not (chunk := device.read(0.1)).n_samples:
            pass
    assert chunk.flags == Flag.GAP
    assert chunk.start == 750


def test_silence_passes_for_a_reader_without_patience():
    with Participant(silent=[(0.2, 0.4)]) as device:
        n = sum(device.read(0.0).n_samples for _ in range(300))
    assert n > 500


def test_disconnection_is_an_error_once_all_before_it_is_delivered():
    with Participant(disconnect_at_s=1.0) as device, pytest.raises(DeviceLost, match="disconnected"):
        while True:
            chunk = device.read(0.1)
    assert chunk.stop == 250


def test_real_time_runs_on_the_monotonic_clock_and_rests_between_packets():
    with Participant(speed=1.0) as device:
        assert isinstance(device.clock, MonotonicClock)
        begin_s, busy_s = time.monotonic(), time.process_time()
        n = sum(device.read(0.1).n_samples for _ in range(8))
        assert n >= 80
        assert time.monotonic() - begin_s >= 0.99 * (n - 1) / 250 - 0.04
        assert time.process_time() - busy_s < 0.2


def test_late_reader_in_real_time_gets_all_that_arrived():
    with Participant(speed=1.0) as device:
        device.read(0.1)
        time.sleep(0.2)
        chunk = device.read(0.1)
    assert chunk.n_samples >= 40
    assert chunk.start == 10
    assert not chunk.flags


def test_factor_runs_on_a_paced_clock_of_its_own():
    begin_s = time.monotonic()
    with Participant(speed=10.0) as device:
        read_all(device, 2)
        assert isinstance(device.clock, ManualClock)
    assert time.monotonic() - begin_s >= 0.19


def test_samples_do_not_depend_on_the_speed():
    def first(speed):
        with Participant(speed=speed, seed=6) as device:
            return np.concatenate([device.read(1.0).data for _ in range(5)])[:50]

    np.testing.assert_array_equal(first("max"), first(20.0))


def test_channels_carry_positions_and_settings_are_recorded():
    device = Participant(channels=["C3", "C4"], strength=0.5)
    info = device.open()
    device.close()
    assert info.channels[0].position == pytest.approx((-0.0558, 0, 0.0769), abs=1e-3)
    assert info.meta["strength"] == "0.5"


@pytest.mark.parametrize(
    ("settings", "word"),
    [
        ({"speed": 0}, "speed"),
        ({"speed": "fast"}, "fast"),
        ({"speed": "max", "clock": MonotonicClock()}, "ManualClock"),
        ({"chunk_s": 0.0}, "chunk_s"),
        ({"drop": [(1.0, 0)]}, "drop"),
        ({"silent": [(-1.0, 1.0)]}, "silent"),
        ({"channels": ["C99"]}, "C99"),
    ],
)
def test_bad_settings_are_named(settings, word):
    with pytest.raises(ConfigError, match=word):
        Participant(**settings)
