"""A channel that stands still closes the gate, wherever the chunks were cut."""

import numpy as np
import pytest

from bci.acquisition.driver import Samples
from bci.acquisition.participant import Participant
from bci.acquisition.replay import Replay
from bci.paradigms.motor_imagery import MotorImagery
from bci.ports import Limits
from bci.runtime.session import Session
from bci.signal.quality import QualityWatch
from bci.signal.verdict import Level
from bci.stream import Channel, Chunk, Event, Flag, Kind, StreamInfo

INFO = StreamInfo("amp", 250.0, (Channel("C3"), Channel("C4"), Channel("still", Kind.TRIG)))
N, FROM, TO = 1000, 300, 500  # C4 stands still between the two


def signal():
    data = np.random.default_rng(0).normal(0, 10, (N, 3))
    data[:, 2] = 0.0
    data[FROM:TO, 1] = data[FROM, 1]
    return data


def chunks(data, size, flags=Flag.OK, events=()):
    times = np.arange(len(data)) / 250.0
    for begin in range(0, len(data), size):
        rows = slice(begin, begin + size)
        mine = tuple(e for e in events if begin <= e.sample < begin + size)
        yield Chunk(data[rows], times[rows], begin, INFO, mine, flags)


def flagged(parts):
    """Numbers of the flagged samples."""
    return [k for p in parts if Flag.FLAT in p.flags for k in range(p.start, p.stop)]


@pytest.mark.parametrize("size", [1, 7, 32, 160, 1000])
def test_same_samples_are_flagged_however_the_stream_is_cut(size):
    watch = QualityWatch(INFO, ["C3", "C4"])
    parts = [p for c in chunks(signal(), size) for p in watch.split(c)]
    assert flagged(parts) == list(range(FROM + 25, TO))
    assert np.array_equal(np.concatenate([p.data for p in parts]), signal())
    assert [p.start for p in parts[1:]] == [p.stop for p in parts[:-1]]


def test_channels_that_nothing_rests_on_are_not_watched():
    watch = QualityWatch(INFO, ["C3"])
    assert not flagged(p for c in chunks(signal(), 50) for p in watch.split(c))


def test_railed_channel_is_found():
    data = np.clip(signal() + np.where(np.arange(N) > 600, 1e6, 0.0)[:, None], -187500.0, 187500.0)
    watch = QualityWatch(INFO, ["C3", "C4"])
    parts = [p for c in chunks(data, 50) for p in watch.split(c)]
    assert flagged(parts)[-1] == N - 1
    assert [c.name for c in watch.quality.at(Level.BAD)] == ["C3", "C4"]


def test_empty_chunk_says_it_too_while_it_lasts():
    watch = QualityWatch(INFO, ["C3", "C4"])
    for chunk in chunks(signal()[:400], 40):
        watch.split(chunk)
    assert watch.split(Chunk.empty(INFO, 400))[0].flags == Flag.FLAT


def test_events_and_what_belongs_to_the_first_sample_stay_where_they_were():
    events = tuple(Event(k, k / 250.0, str(k)) for k in (0, FROM + 24, FROM + 25, TO, N - 1))
    parts = QualityWatch(INFO, ["C4"]).split(next(chunks(signal(), N, Flag.GAP | Flag.LEAD_OFF, events)))
    assert [[e.sample for e in p.events] for p in parts] == [[0, FROM + 24], [FROM + 25], [TO, N - 1]]
    assert [Flag.GAP in p.flags for p in parts] == [True, False, False]
    assert all(Flag.LEAD_OFF in p.flags for p in parts)


def test_run_does_not_go_on_over_a_gap():
    data = signal()
    data[:, 1] = 5.0
    watch = QualityWatch(INFO, ["C4"])
    pieces = [c for c in chunks(data, 20) if c.start % 40 == 0]  # every second one is lost
    assert not flagged(p for c in pieces for p in watch.split(c))


def test_coarse_converter_at_a_low_rate_is_not_taken_for_flat():
    info = StreamInfo("amp", 160.0, (Channel("C3"),))
    data = np.round(np.cumsum(np.random.default_rng(0).normal(0, 0.7, (100_000, 1)), axis=0))  # slow, in whole µV
    watch = QualityWatch(info, ["C3"])
    assert not flagged(watch.split(Chunk(data, np.arange(len(data)) / 160.0, 0, info)))


# ---------------------------------------------------------------- in a session
class LooseElectrode(Participant):
    """C3 stands still from 12 s to 15 s after the start."""

    def _read(self, timeout_s):
        got = super()._read(timeout_s)
        if got is None:
            return None
        data, at_s = got.data.copy(), got.times - self._t0
        data[(at_s >= 12.0) & (at_s < 15.0), self.channels.index("C3")] = 7.0
        return Samples(data, got.times, got.lost, got.flags, got.events, got.cause)


class Sure:
    classes_ = np.array(["left", "rest", "right"])
    n = 0

    def fit(self, X, y):
        return self

    def predict_proba(self, X):
        self.n += 1
        p = 0.9 + 1e-6 * self.n
        return np.array([[(1 - p) / 2, (1 - p) / 2, p]])


class Arm:
    limits = Limits()

    def __init__(self):
        self.sent = []

    def self_test(self): ...
    def halt(self): ...
    def close(self): ...

    def send(self, command):
        self.sent.append(command)


def play(device, **settings):
    arm = Arm()
    with Session(device, MotorImagery(), Sure(), effectors=[arm], **settings) as session:
        return session.drive(20.0, cues=False), arm.sent


def test_gate_closes_within_200_ms_of_an_electrode_that_comes_off_and_opens_when_it_was_good_for_a_second():
    run, sent = play(LooseElectrode(seed=2))
    begin_s = run.decisions[0].start_s
    moved = [c.signal_s - begin_s for c in sent if c.value]
    assert max(t for t in moved if t < 14) <= 12.2
    assert 17.9 <= min(t for t in moved if t > 14) <= 18.2  # the window of 2 s is good, then a second
    assert any("FLAT" in reason for reason in run.gate)


def test_replay_flags_the_same_windows_whatever_the_chunk(tmp_path):
    run, _ = play(LooseElectrode(seed=2), record=tmp_path / "run.xdf")
    hashes = {play(Replay(tmp_path / "run.xdf", chunk_samples=n))[0].hash for n in (1, 32, 500)}
    assert len(hashes) == 1
    live = [(d.stop, d.flags) for d in run.decisions]
    again = play(Replay(tmp_path / "run.xdf", chunk_samples=7))[0]
    assert [(d.stop, d.flags) for d in again.decisions] == live
