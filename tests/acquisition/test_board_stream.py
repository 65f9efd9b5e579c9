"""From pulls to samples, with the clock and the arrivals given by hand."""

import numpy as np
import pytest

from bci.acquisition.board_process import Pull
from bci.acquisition.board_stream import BoardStream
from bci.acquisition.boards import Board
from bci.stream import Channel, Flag

SFREQ = 250.0
BOARD = Board("fed", 0, 0, 0, "Fed", SFREQ, (1,), (Channel("Cz"),), 0, 2)


class Fed:
    """A board that sends five samples at a time; row 1 holds the true number of the sample."""

    def __init__(self, counter="byte", rate=1.0, board=BOARD):
        self.stream, self.counter, self.rate = BoardStream(board, 60.0), counter, rate
        self.sent, self.times, self.numbers, self.lost, self.flags, self.causes = 0, [], [], 0, [], []
        self.n_delivered = 0

    def pull(self, n=5, late_s=0.0, battery=0.0, **more):
        number = np.arange(self.sent, self.sent + n)
        self.sent += n
        counts = {"byte": number % 256, "none": 0 * number, "pairs": number // 2 % 201}[self.counter]
        raw = np.array([counts, number, battery + 0.0 * number])
        self.stream.take(Pull(raw, 0.0, 1, **more), 10.0 + self.rate * self.sent / SFREQ + late_s)
        self.collect()

    def run(self, seconds, **more):
        for _ in range(round(seconds * SFREQ / 5)):
            self.pull(**more)

    def collect(self):
        while (samples := self.stream.next()) is not None:
            if samples.lost:
                self.causes.append(samples.cause)
            self.n_delivered += samples.lost
            self.lost += samples.lost
            self.numbers += list(self.n_delivered + np.arange(len(samples.data)))
            self.n_delivered += len(samples.data)
            self.times += samples.times.tolist()
            self.flags.append(samples.flags)

    def true_error_s(self):
        return np.array(self.times) - 10.0 - self.rate * (np.array(self.numbers) + 1) / SFREQ


@pytest.mark.parametrize("lost", [1, 100, 255, 256, 257, 512, 1999, 2048])
def test_loss_is_exact_for_a_counter_of_one_byte(lost):
    fed = Fed()
    fed.run(2.0)
    fed.sent += lost
    fed.run(2.0)
    assert fed.lost == lost and fed.numbers[-1] == fed.sent - 1
    assert np.abs(fed.true_error_s()).max() < 1e-3


@pytest.mark.parametrize("lost", [30, 256, 700])
def test_loss_without_a_counter_is_told_by_time(lost):
    fed = Fed("none")
    fed.run(2.0)
    fed.sent += lost
    fed.run(2.0)
    assert fed.lost == lost and fed.causes == ["more time passed than samples came"]


@pytest.mark.parametrize("counter", ["byte", "none", "pairs"])
@pytest.mark.parametrize("stalled_s", [0.3, 1.2, 5.0])
def test_stall_that_is_caught_up_with_is_no_loss(counter, stalled_s):
    fed = Fed(counter)
    fed.run(2.0)
    for k in range(round(stalled_s * SFREQ / 5)):
        fed.pull(late_s=max(0.0, stalled_s - 5 * k / SFREQ))
    fed.run(2.0)
    assert fed.lost == 0 and np.abs(fed.true_error_s()).max() < 2e-3


def test_backlog_that_trickles_in_is_no_loss():
    fed = Fed("none")
    fed.run(2.0)
    for late_s in np.linspace(1.0, 0.0, 60):  # 0.2 s of catching up for each second of signal
        fed.pull(late_s=float(late_s))
    fed.run(2.0)
    assert fed.lost == 0


@pytest.mark.parametrize("rate", [0.95, 1.05])
def test_board_that_is_far_from_its_nominal_rate_loses_nothing(rate):
    fed = Fed("none", rate)
    fed.run(20.0)
    assert fed.lost == 0 and fed.stream.fit.rate == pytest.approx(rate, rel=1e-6)
    assert np.abs(fed.true_error_s()[-1000:]).max() < 1e-3


def test_loss_of_pairs_is_told_by_their_counter():
    fed = Fed("pairs")
    fed.run(4.0)
    fed.sent += 14
    fed.run(1.0)
    assert fed.lost == 14


def test_samples_dropped_by_the_ring_are_lost_once():
    fed = Fed()
    fed.run(2.0)
    fed.sent += 300
    fed.pull(dropped=300)
    fed.run(1.0)
    assert fed.lost == 300 and Flag.OVERFLOW in fed.flags[-51]
    assert fed.causes == ["nobody read in time, and the ring of 60 s ran over"]


def test_restart_is_counted_by_time_and_its_late_begin_is_none():
    fed = Fed()
    fed.run(2.0)
    fed.stream.restart("started anew")
    fed.sent += 170
    for late_s in (0.06, 0.03, 0.0):
        fed.pull(late_s=late_s)
    fed.run(1.0)
    assert fed.lost == 170 and fed.causes == ["started anew"]


def test_restart_before_the_first_sample_is_no_loss():
    fed = Fed()
    fed.stream.restart("started anew")
    fed.run(1.0)
    assert fed.lost == 0


def test_samples_that_are_held_come_when_nothing_follows():
    fed = Fed()
    fed.run(2.0)
    fed.sent += 256
    fed.pull()
    assert fed.numbers[-1] == 499
    fed.stream.give_up_waiting(10.0 + fed.sent / SFREQ + 1.0)
    fed.collect()
    assert fed.lost == 256 and fed.numbers[-1] == fed.sent - 1


def test_battery_is_unknown_until_the_board_says_it():
    fed = Fed()
    fed.pull()
    assert np.isnan(fed.stream.battery)
    fed.pull(battery=80.0)
    fed.pull()
    assert fed.stream.battery == 0.8


def schedule(seed):
    """Run losses (whole turns of the counter too) and stalls at random; return the board and what it lost."""
    rng = np.random.default_rng(seed)
    fed, lost, free_s = Fed(rate=1 + rng.uniform(-300e-6, 300e-6)), 0, 0.0

    def run(seconds, stalled_s=0.0):
        nonlocal free_s
        until_s = 10.0 + fed.rate * fed.sent / SFREQ + stalled_s
        end = fed.sent + seconds * SFREQ
        while fed.sent < end:
            n = int(rng.integers(1, 12))
            sampled_s = 10.0 + fed.rate * (fed.sent + n) / SFREQ
            free_s = max(sampled_s + rng.exponential(2e-3), until_s, free_s)  # arrivals keep their order
            fed.pull(n, late_s=free_s - sampled_s)

    run(1.6)
    for _ in range(rng.integers(1, 6)):
        if rng.random() < 2 / 3:
            n = int(rng.choice([rng.integers(1, 2001), 256 * rng.integers(1, 8), rng.integers(1, 5)]))
            fed.sent, lost = fed.sent + n, lost + n
            run(rng.uniform(0.5, 1.5))
        else:
            stalled_s = rng.uniform(0.05, 3.0)
            run(stalled_s + rng.uniform(0.4, 1.0), stalled_s)
    return fed, lost


@pytest.mark.parametrize("seeds", [range(25), pytest.param(range(25, 1000), marks=pytest.mark.slow)])
def test_random_losses_and_stalls_are_told_exactly(seeds):
    for seed in seeds:
        fed, lost = schedule(seed)
        assert (fed.lost, fed.numbers[-1]) == (lost, fed.sent - 1), f"schedule {seed}"
        assert np.abs(fed.true_error_s()[400:]).max() < 5e-3, f"schedule {seed}"
