"""Windows of random streams against a look at the whole array; `benchmarks/bench_windows.py` runs 10 000 of them."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bci.signal.ring import Ring
from bci.signal.spans import Spans
from bci.signal.window import Windower
from bci.stream import Chunk, Event, Flag
from bci.trial import Locked, Slide
from benchmarks import schedules

INFO = schedules.INFO


def chunk(start, stop, events=(), flags=Flag.OK):
    data = np.repeat(np.arange(start, stop, dtype=float)[:, None], INFO.n_channels, axis=1)
    return Chunk(data, np.arange(start, stop) / INFO.sfreq, start, INFO, tuple(events), flags)


@settings(deadline=None, max_examples=150)
@given(st.integers(0, 2**31))
def test_no_event_locked_window_is_lost_shifted_or_doubled(seed):
    _, *wrong = schedules.locked(schedules.schedule(seed), np.random.default_rng(seed))
    assert wrong == [0, 0, 0]


@settings(deadline=None, max_examples=100)
@given(st.integers(0, 2**31))
def test_no_sliding_window_is_lost_shifted_or_doubled(seed):
    _, *wrong = schedules.sliding(schedules.schedule(seed), np.random.default_rng(seed))
    assert wrong == [0, 0, 0]


def test_a_schedule_has_what_it_is_to_try():
    made = [schedules.schedule(seed) for seed in range(60)]
    late = [m.chunks[at].start > e.sample for m in made for at, e in m.events]
    in_gap = [e.sample < len(m.run) and m.run[e.sample] < 0 for m in made for _, e in m.events]
    doubled = sum(len(m.arrivals) - len(m.events) for m in made)
    assert any(late) and not all(late) and any(in_gap) and doubled > 10


def test_a_window_that_begins_long_before_its_event_is_found_however_late_that_comes():
    windower = Windower(Locked(-5.0, -4.5), INFO, history_s=1.0)
    for start in range(0, 1000, 50):
        windower.push(chunk(start, start + 50))
    (cut,) = windower.push(Chunk.empty(INFO, 1000, events=(Event(901, 9.01, "a"),)))
    assert (cut.chunk.start, windower.dropped) == (401, 0)


def test_flags_and_nan_are_those_of_the_samples_of_a_window():
    windower = Windower(Slide(0.1, 0.1), INFO)
    windower.push(chunk(0, 5))
    windower.push(chunk(5, 12, flags=Flag.LEAD_OFF))
    data = chunk(12, 40).data.copy()
    data[21 - 12, 1] = np.nan
    found = windower.push(Chunk(data, np.arange(12, 40) / INFO.sfreq, 12, INFO, (), Flag.NAN))
    assert [c.chunk.flags for c in found] == [Flag.LEAD_OFF, Flag.NAN, Flag.OK]


def test_infinite_values_are_no_unknown_ones():
    data = np.full((10, 3), np.inf)
    data[::2] = -np.inf
    (cut,) = Windower(Slide(0.1, 0.1), INFO).push(Chunk(data, np.arange(10) / INFO.sfreq, 0, INFO))
    assert cut.chunk.flags == Flag.OK


@pytest.mark.parametrize("start", [0, 3, 7, -4])
def test_a_ring_gives_back_what_was_written_across_its_edge(start):
    ring = Ring(8, 2)
    data = np.arange(start, start + 8.0)[:, None] * [1, 10]
    ring.write(start, data, data[:, 0] / 10)
    got, times = ring.read(start + 1, 6)
    assert np.array_equal(got, data[1:7]) and np.array_equal(times, data[1:7, 0] / 10)


def test_spans_join_what_lasts_and_forget_what_is_over():
    spans = Spans()
    for k in range(0, 1000, 10):
        spans.add(k, k + 10, 4)
    spans.add(1000, 1001, 6)
    assert len(spans._starts) == 2
    assert (spans.of(990, 1000), spans.of(990, 1001), spans.of(1001, 2000)) == (4, 6, 0)
    spans.forget(1001)
    assert not spans._starts and spans.of(0, 2000) == 0
