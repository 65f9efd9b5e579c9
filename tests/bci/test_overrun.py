"""A loop that does not keep up: what is left out is counted and flagged, and what is slow is named."""

import logging
import time
from collections import deque

import numpy as np
import pytest

from bci.acquisition.driver import Driver, Samples
from bci.clock import ManualClock
from bci.errors import ConfigError
from bci.ports import Block
from bci.runtime.intake import Intake
from bci.runtime.loop import Loop
from bci.runtime.slow import SlowWatch
from bci.signal.filters import Bandpass, Notch
from bci.signal.pipeline import Pipeline
from bci.stream import Channel, Chunk, Event, Flag, StreamInfo
from bci.trial import Slide

INFO = StreamInfo("amp", 1000.0, (Channel("C3"), Channel("C4")))
CHUNK = 32


def chunk(k, events=(), flags=Flag.OK):
    numbers = np.arange(k * CHUNK, (k + 1) * CHUNK)
    return Chunk(np.repeat(numbers[:, None], 2, 1).astype(float), numbers / 1000, numbers[0], INFO, events, flags)


class Piled:
    """A source with chunks that wait."""

    def __init__(self, chunks):
        self.chunks = deque(chunks)

    def read(self, timeout_s):
        return self.chunks.popleft() if self.chunks else Chunk.empty(INFO, 0)


class Steady(Driver):
    """A chunk each 32 ms, which waits until it is read; never more than one at a time."""

    def _open(self):
        return INFO

    def _start(self):
        self._begin_s, self._k = self._clock.now(), 0

    def _read(self, timeout_s):
        due_s = self._begin_s + (self._k + 1) * CHUNK / 1000
        time.sleep(min(timeout_s, max(0.0, due_s - self._clock.now())))
        if self._clock.now() < due_s:
            return None
        times = due_s + np.arange(-CHUNK, 0) / 1000
        self._k += 1
        return Samples(np.repeat(np.arange(CHUNK)[:, None], 2, 1) + self._k, times)

    def _stop(self):
        pass

    def _close(self):
        pass


class Sluggish(Block):
    """Takes 45 ms for each chunk."""

    def prepare(self, info):
        return info

    def process(self, chunk):
        time.sleep(0.045 if chunk.n_samples else 0.0)
        return chunk

    def reset(self):
        pass


def drained(overrun, chunks, now_s, behind_s=0.1):
    kept = []
    intake = Intake(Piled(chunks), kept.append, overrun, behind_s)
    intake.clock = ManualClock(now_s)
    taken = []
    while (got := intake.take(0.0)).n_samples or intake._waiting:
        taken.append(got)
    return taken, kept, intake


def test_block_takes_all_however_late():
    taken, _, intake = drained("block", [chunk(k) for k in range(20)], 10.0)
    assert [c.start for c in taken] == [k * CHUNK for k in range(20)] and intake.dropped == 0


def test_drop_oldest_keeps_the_newest_tenth_of_a_second_and_flags_it():
    taken, kept, intake = drained("drop-oldest", [chunk(k) for k in range(20)], 10.0)
    taken = [c for c in taken if c.n_samples]
    assert taken[0].start == 540 == intake.dropped and taken[-1].stop == 640
    assert taken[0].flags == Flag.GAP | Flag.OVERFLOW and not any(c.flags for c in taken[1:])
    assert sum(c.n_samples for c in kept) == 640 and intake.n_overruns == 1


def test_skip_to_newest_keeps_one_chunk():
    taken, kept, intake = drained("skip-to-newest", [chunk(k) for k in range(20)], 10.0)
    (only,) = [c for c in taken if c.n_samples]
    assert (only.start, only.flags, intake.dropped) == (19 * CHUNK, Flag.GAP | Flag.OVERFLOW, 19 * CHUNK)
    assert [c.n_samples for c in kept[:20]] == [CHUNK] * 20


@pytest.mark.parametrize("overrun", ["drop-oldest", "skip-to-newest"])
def test_events_of_what_is_left_out_come_with_what_follows(overrun):
    events = [Event(5, 0.005, "phase:drive"), Event(639, 0.639, "now")]
    chunks = [chunk(k, tuple(e for e in events if e.sample // CHUNK == k)) for k in range(20)]
    taken, _, _ = drained(overrun, chunks, 10.0)
    assert [e for c in taken for e in c.events] == events


@pytest.mark.parametrize("overrun", ["drop-oldest", "skip-to-newest"])
def test_a_loop_that_keeps_up_leaves_nothing_out(overrun):
    _, _, intake = drained(overrun, [chunk(k) for k in range(3)], 0.1)
    assert intake.report() == {"overrun": overrun, "dropped": 0, "n_overruns": 0}


@pytest.mark.parametrize("overrun", ["drop-oldest", "skip-to-newest"])
def test_a_source_that_is_late_itself_loses_nothing(overrun):
    taken, _, intake = drained(overrun, [chunk(0)], 10.0)
    assert taken[0].n_samples == CHUNK and not taken[0].flags and intake.dropped == 0


@pytest.mark.parametrize("settings", [{"overrun": "wait"}, {"behind_s": 0.0}])
def test_a_policy_that_does_not_exist_is_refused(settings):
    with pytest.raises(ConfigError, match="block, drop-oldest, skip-to-newest"):
        Intake(Piled([]), lambda c: None, **settings)


def test_a_stage_above_the_length_of_its_chunk_is_named_at_once_and_said_to_be_well_again(caplog):
    watch = SlowWatch(lambda: "")
    watch.turn(0.032, {"block Asr": 0.002, "windows": 0.001})
    assert watch.hint == ""
    watch.turn(0.032, {"block Asr": 0.045, "windows": 0.001})
    watch.turn(0.032, {"block Asr": 0.045, "windows": 0.001})
    assert watch.hint == "block Asr takes 45 ms per 32 ms chunk"
    for _ in range(40):
        watch.turn(0.032, {"block Asr": 0.002, "windows": 0.001})
    assert watch.hint == "" and watch.report() == {"block Asr": {"n": 2, "time": 0.045, "signal": 0.032}}
    assert [r.message.split(":")[0] for r in caplog.records] == [
        "block Asr takes 45 ms per 32 ms chunk",
        "the loop keeps up again",
    ]


def test_one_late_chunk_of_one_sample_is_not_slow():
    watch = SlowWatch(lambda: "")
    for k in range(200):
        watch.turn(0.001, {"windows": 0.005 if k == 100 else 0.0002})
    assert watch.hint == "" and watch.report() == {}


def test_chunks_of_one_sample_that_take_too_long_are_named():
    watch = SlowWatch(lambda: "")
    for _ in range(60):
        watch.turn(0.001, {"windows": 0.0002, "block Asr": 0.0015})
    assert watch.hint.startswith("block Asr takes 2 ms per 1 ms chunk")


def run(n, overrun, blocks):
    loop = Loop(Steady(), Pipeline(blocks, Slide(0.1, 0.1)), overrun=overrun)
    loop.open()
    loop.start()
    turns = []
    for turn in loop.turns():
        turns.append(turn)
        if sum(t.chunk.n_samples > 0 for t in turns) >= n:
            break
    loop.close()
    return turns, loop.report()


def test_a_slow_block_is_named_in_log_report_and_hint(caplog):
    with caplog.at_level(logging.WARNING):
        turns, report = run(6, "block", [Bandpass(8.0, 30.0), Sluggish(), Notch(50.0)])
    assert any("block Sluggish takes" in t.hint for t in turns)
    assert "block Sluggish" in report["slow"] and report["dropped"] == 0
    assert any("block Sluggish" in r.message and "does not keep up" in r.message for r in caplog.records)


def test_a_slow_block_that_drops_decides_on_new_samples_and_counts_what_it_left_out():
    turns, report = run(30, "skip-to-newest", [Sluggish()])
    taken = [t.chunk for t in turns if t.chunk.n_samples]
    holes = sum(b.start - a.stop for a, b in zip(taken, taken[1:], strict=False))
    assert holes == report["dropped"] > 0 and report["overrun"] == "skip-to-newest"
    assert all((Flag.GAP in b.flags) == (b.start > a.stop) for a, b in zip(taken, taken[1:], strict=False))


def test_blocks_that_are_joined_share_a_name():
    pipeline = Pipeline([Bandpass(8.0, 30.0), Notch(50.0), Sluggish(), Notch(60.0)], Slide(0.1, 0.1))
    pipeline.prepare(INFO)
    assert pipeline.chain.step_names == ["blocks Bandpass + Notch", "block Sluggish", "block Notch"]
    pipeline.push(chunk(0))
    assert pipeline.chain.slowest[0] == "block Sluggish" and pipeline.chain.slowest[1] > 0.04
