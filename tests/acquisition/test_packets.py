"""Numbers from a counter that wraps: each case is a list of packets, and channel 0 holds the true number."""

import numpy as np
import pytest

from bci.acquisition.packets import JUMPED, RESTARTED, WRAPPED, PacketTracker
from bci.errors import ConfigError, DataError
from bci.stream import Flag

SFREQ = 250.0
P = 1 / SFREQ


class Wire:
    """Hand packets to a tracker one by one and keep what comes out."""

    def __init__(self, **settings):
        self.tracker = PacketTracker(SFREQ, **settings)
        self.bits = settings.get("counter_bits", 8)
        self.runs = []

    def send(self, numbers, at_s=None):
        """Packets `numbers`, each when it is due, or all at `at_s`."""
        for number in numbers:
            counter = np.array([number % 2**self.bits])
            arrival = np.array([number * P if at_s is None else at_s])
            self.runs += self.tracker.push(counter, np.array([[float(number)]]), arrival)
        return self

    def got(self):
        self.runs += self.tracker.flush()
        return [int(v) for run in self.runs for v in run.data[:, 0]]

    def losses(self):
        self.got()
        return [(int(r.data[0, 0]), r.lost, r.cause) for r in self.runs if r.lost]


def numbers_follow(wire):
    """Whether each run begins where the one before ended and its losses end."""
    at = 0
    for run in wire.runs:
        at += run.lost
        if run.data[:, 0].tolist() != list(range(at, at + len(run.data))):
            return False
        at += len(run.data)
    return True


@pytest.mark.parametrize("lost", [1, 2, 5, 100, 251, 252, 255, 256, 257, 511, 512, 768, 1999, 2000, 2048])
def test_every_length_of_gap_is_told_whole_turns_too(lost):
    wire = Wire().send(range(400)).send(range(400 + lost, 800 + lost))
    assert wire.losses() == [(400 + lost, lost, JUMPED if lost < 251 else WRAPPED)] and numbers_follow(wire)


@pytest.mark.parametrize("held", [10, 120, 200, 256, 300, 512, 1000])
def test_a_backlog_is_no_loss_however_long_it_was_held_up(held):
    wire = Wire().send(range(400)).send(range(400, 400 + held), at_s=(400 + held) * P).send(range(400 + held, 1800))
    assert wire.got() == list(range(1800)) and not wire.losses()


def test_a_backlog_of_which_the_first_part_was_lost():
    wire = Wire().send(range(400)).send(range(700, 1000), at_s=1000 * P).send(range(1000, 1400))
    assert wire.losses() == [(700, 300, WRAPPED)] and numbers_follow(wire)


def test_whole_turns_missing_within_a_backlog_are_put_where_the_counter_jumps():
    wire = Wire().send(range(400)).send([400, 401], at_s=1000 * P).send(range(1000, 1400))
    assert wire.losses() == [(1000, 598, WRAPPED)] and numbers_follow(wire)


@pytest.mark.parametrize("back", [1, 2, 3, 4])
@pytest.mark.parametrize("on_the_way", [2, 6])
def test_nearly_whole_turns_missing_behind_packets_on_their_way_are_no_duplicates(back, on_the_way):
    begin = 400 + on_the_way
    after = begin - back + 7 * 256
    wire = Wire().send(range(400)).send(range(400, begin), at_s=after * P).send(range(after, after + 400))
    assert wire.losses() == [(after, after - begin, WRAPPED)] and numbers_follow(wire)
    assert wire.tracker.duplicates == 0


def test_a_duplicate_in_a_backlog_before_which_whole_turns_are_missing_is_one():
    wire = Wire().send(range(400)).send([1000, 1001, 1001, 1002], at_s=1003 * P).send(range(1003, 1400))
    assert wire.losses() == [(1000, 600, WRAPPED)] and wire.tracker.duplicates == 1 and numbers_follow(wire)


def test_packets_out_of_order_are_put_right_and_counted():
    wire = Wire().send([*range(300), 301, 302, 303, 304, 300, *range(305, 600)])
    assert wire.got() == list(range(600)) and wire.tracker.reordered == 1 and not wire.losses()


def test_what_is_overtaken_by_more_than_may_be_is_lost_and_said_to_be_late():
    wire = Wire(reorder=2).send([*range(300), *range(301, 306), 300, *range(306, 600)])
    assert wire.losses() == [(301, 1, JUMPED)] and wire.tracker.late == 1 and numbers_follow(wire)


def test_a_packet_that_is_much_too_late_is_not_taken_for_a_loss_of_a_turn():
    wire = Wire(reorder=2).send([*range(300), *range(301, 341), 300, *range(341, 600)])
    assert wire.losses() == [(301, 1, JUMPED)] and 300 not in wire.got() and numbers_follow(wire)


def test_duplicates_are_dropped_and_counted():
    wire = Wire().send([*range(300), 299, *range(300, 305), 302, *range(305, 400)])
    assert wire.got() == list(range(400)) and wire.tracker.duplicates == 2


@pytest.mark.parametrize("rate", [0.5, 0.9, 1.1, 2.0])
def test_a_wrong_rate_is_told_and_no_reason_to_lose_count(rate):
    wire = Wire()
    arrivals = np.arange(4000) * P / rate
    for begin in (*range(0, 2000, 10), *range(2512, 4000, 10)):
        rows = slice(begin, min(begin + 10, 4000))
        numbers = np.arange(4000)[rows]
        wire.runs += wire.tracker.push(numbers % 256, numbers[:, None].astype(float), arrivals[rows])
    assert wire.losses() == [(2512, 512, WRAPPED)]
    assert wire.tracker.report()["sfreq"] == pytest.approx(rate * SFREQ, rel=1e-6)
    assert wire.runs[-1].flags == Flag.RATE and wire.runs[0].flags == Flag.OK


def test_a_source_that_began_again_is_numbered_by_time():
    wire = Wire().send(range(400))
    wire.runs += wire.tracker.restart()
    numbers = np.arange(1000, 1300)
    wire.runs += wire.tracker.push(numbers - 1000 & 255, numbers[:, None].astype(float), numbers * P)
    assert wire.losses() == [(1000, 600, RESTARTED)] and numbers_follow(wire)


def test_what_the_transport_knows_is_the_cause():
    wire = Wire().send(range(400))
    wire.tracker.explain("the plug was out")
    assert wire.send(range(500, 900)).losses() == [(500, 100, "the plug was out")]


def test_first_packets_that_are_missing_are_counted_if_the_source_begins_anew():
    assert Wire(first_counter=0).send(range(7, 50)).losses() == [(7, 7, JUMPED)]
    assert Wire().send(range(7, 50)).losses() == []


@pytest.mark.parametrize("lost", [0, 7, 100, 255, 256, 257, 512, 768, 2000])
def test_whole_turns_missing_at_the_start_are_told_by_time_if_the_start_is_known(lost):
    wire = Wire(first_counter=0)
    wire.tracker.begin(-P)
    cause = JUMPED if lost < 251 else WRAPPED
    assert wire.send(range(lost, lost + 400)).losses() == ([(lost, lost, cause)] if lost else [])
    assert numbers_follow(wire)


@pytest.mark.parametrize("late_s", [0.0, 0.1, 0.4])
def test_source_that_is_slow_to_start_has_lost_nothing(late_s):
    wire = Wire(first_counter=0)
    wire.tracker.begin(-P - late_s)
    assert wire.send(range(600)).losses() == []


@pytest.mark.parametrize("held", [10, 256, 1000])
def test_a_backlog_at_the_start_is_no_loss(held):
    wire = Wire(first_counter=0)
    wire.tracker.begin(-P)
    wire.send(range(held), at_s=held * P).send(range(held, held + 800))
    assert wire.got() == list(range(held + 800)) and not wire.losses()


def test_start_without_a_known_counter_is_refused():
    with pytest.raises(DataError, match="first_counter"):
        Wire().tracker.begin(0.0)


def test_what_waits_for_a_missing_packet_waits_a_tenth_of_a_second():
    wire = Wire().send([*range(300), 301])
    assert wire.tracker.due_s == pytest.approx(301 * P + 0.1)
    assert not wire.tracker.poll(wire.tracker.due_s - 0.01)
    (run,) = wire.tracker.poll(wire.tracker.due_s)
    assert run.lost == 1 and run.data[0, 0] == 301


def test_a_wide_counter_needs_no_time():
    wire = Wire(counter_bits=16).send(range(400)).send(range(3000, 3300), at_s=3.0)
    assert wire.losses() == [(3000, 2600, JUMPED)]


def test_samples_of_a_packet_are_spaced_evenly_and_times_rise():
    tracker = PacketTracker(SFREQ, samples_per_packet=5)
    runs = tracker.push(np.arange(10), np.zeros((50, 1)), np.arange(1, 11) * 5 * P)
    times = np.concatenate([run.times for run in runs])
    np.testing.assert_allclose(times, np.arange(1, 51) * P)
    assert (np.diff(times) > 0).all()


def test_times_follow_the_soonest_packets_and_the_rate_is_found_to_ten_ppm():
    rng = np.random.default_rng(0)
    tracker, n = PacketTracker(SFREQ), round(600 * SFREQ)
    sent = np.arange(n) * P * (1 - 200e-6)
    arrivals = np.maximum.accumulate(sent + rng.uniform(0, 0.02, n))
    runs = []
    for k in range(0, n, 50):
        numbers = np.arange(k, k + 50)
        runs += tracker.push(numbers % 256, np.zeros((50, 1)), arrivals[k : k + 50])
    times = np.concatenate([r.times for r in runs])
    rate_hz = tracker.report()["sfreq"]
    assert abs(times[5000:] - sent[5000:]).max() < 2e-3
    assert abs(rate_hz / (SFREQ / (1 - 200e-6)) - 1) < 10e-6 and (np.diff(times) > 0).all()


@pytest.mark.parametrize("bad", [{"counter_bits": 2}, {"samples_per_packet": 0}, {"reorder": 65}, {"reorder": -1}])
def test_settings_out_of_range_are_refused(bad):
    with pytest.raises(ConfigError):
        PacketTracker(SFREQ, **bad)


def test_half_packets_are_refused():
    with pytest.raises(DataError, match="whole packets"):
        PacketTracker(SFREQ, samples_per_packet=2).push(np.array([0]), np.zeros((3, 1)), np.array([0.0]))
