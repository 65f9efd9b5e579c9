import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bci.errors import ConfigError, DataError
from bci.signal.window import Windower
from bci.stream import Channel, Chunk, Event, Flag, StreamInfo
from bci.trial import Locked, Slide

INFO = StreamInfo("amp", 100.0, (Channel("C3"), Channel("C4")))
N = 400


def chunk(a, b, events=(), flags=Flag.OK):
    """The number of a sample is its value in the first channel."""
    data = np.stack([np.arange(a, b, dtype=float), np.ones(b - a)], axis=1)
    return Chunk(data, np.arange(a, b) / 100.0, a, INFO, tuple(events), flags)


def feed(windower, runs, cuts, events=()):
    """Push the runs of samples, with a flagged gap before all but the first, cut at `cuts`."""
    found = []
    for k, (begin, end) in enumerate(runs):
        edges = [begin, *sorted(c for c in cuts if begin < c < end), end]
        for a, b in zip(edges[:-1], edges[1:], strict=True):
            flags = Flag.GAP if k and a == begin and b > a else Flag.OK
            found += windower.push(chunk(a, b, [e for e in events if a <= e.sample < b], flags))
    return found


def summary(cuts):
    return [(c.chunk.start, c.chunk.stop, c.chunk.flags, c.event) for c in cuts]


def runs_of(lengths):
    """Return (begin, end) of runs of samples, every second length being a loss."""
    edges = np.cumsum([0, *lengths])
    return [(int(edges[k]), int(edges[k + 1])) for k in range(0, len(lengths), 2)]


lengths = st.lists(st.integers(1, 90), min_size=1, max_size=7).filter(lambda x: len(x) % 2 == 1)
cuttings = st.lists(st.integers(0, 600), max_size=40)


@settings(deadline=None, max_examples=80)
@given(lengths, cuttings, st.integers(1, 40), st.integers(1, 40))
def test_sliding_windows_are_those_on_the_grid_within_a_run(lengths, cuts, length, step):
    runs = runs_of(lengths)
    expected = []
    for k, (begin, end) in enumerate(runs):
        starts = [s for s in range(0, end) if s % step == 0 and s >= begin and s + length <= end]
        expected += [
            (s, s + length, Flag.GAP if k and (s == begin or s == starts[0]) else Flag.OK, None) for s in starts
        ]
    found = feed(Windower(Slide(length / 100, step / 100), INFO), runs, cuts)
    assert summary(found) == expected
    assert all((c.chunk.data[:, 0] == np.arange(c.chunk.start, c.chunk.stop)).all() for c in found)


@settings(deadline=None, max_examples=80)
@given(lengths, cuttings, st.integers(-30, 30), st.integers(1, 40), st.lists(st.integers(0, 300), max_size=12))
def test_locked_windows_are_those_within_a_run(lengths, cuts, tmin, length, samples):
    runs = runs_of(lengths)
    held = [s for s in samples if any(a <= s < b for a, b in runs)]
    events = [Event(s, s / 100, "go") for s in held]
    expected = []
    for s in sorted(set(held)):
        begin = s + tmin
        run = [k for k, (a, b) in enumerate(runs) if a <= begin and begin + length <= b]
        if run:
            gap = Flag.GAP if run[0] and begin == runs[run[0]][0] else Flag.OK
            expected.append((begin, begin + length, gap, Event(s, s / 100, "go")))
    windower = Windower(Locked(tmin / 100, (tmin + length) / 100), INFO)
    assert summary(feed(windower, runs, cuts, events)) == expected
    unfinished = [s for s in set(held) if s + tmin + length > runs[-1][1]]
    assert windower.dropped == len(set(held)) - len(expected) - len(unfinished)


def test_first_window_after_a_jump_without_a_flag_carries_the_gap():
    windower = Windower(Slide(0.1, 0.05), INFO)
    windower.push(chunk(0, 23))
    (first, second, *_) = windower.push(chunk(31, 60))
    assert (first.chunk.start, first.chunk.flags, second.chunk.flags) == (35, Flag.GAP, Flag.OK)


def test_a_gap_said_by_an_empty_chunk_ends_the_run():
    windower = Windower(Slide(0.1, 0.1), INFO)
    windower.push(chunk(0, 15))
    windower.push(Chunk.empty(INFO, 15, Flag.GAP))
    (cut,) = windower.push(chunk(15, 30))
    assert (cut.chunk.start, cut.chunk.flags) == (20, Flag.GAP)


def test_flags_stay_with_their_samples():
    windower = Windower(Slide(0.1, 0.1), INFO)
    found = windower.push(chunk(0, 20)) + windower.push(chunk(20, 25, flags=Flag.LEAD_OFF))
    found += windower.push(chunk(25, 40))
    assert [c.chunk.flags for c in found] == [Flag.OK, Flag.OK, Flag.LEAD_OFF, Flag.OK]


def test_nan_is_flagged_where_it_is_and_not_where_its_chunk_was():
    data = chunk(0, 40).data.copy()
    data[15, 1] = np.nan
    windower = Windower(Slide(0.1, 0.1), INFO)
    found = windower.push(Chunk(data, np.arange(40) / 100, 0, INFO, (), Flag.NAN))
    assert [c.chunk.flags for c in found] == [Flag.OK, Flag.NAN, Flag.OK, Flag.OK]


def test_an_early_event_waits_for_its_window():
    windower = Windower(Locked(0.5, 0.6), INFO)
    assert windower.push(chunk(0, 50, [Event(0, 0.0, "go")])) == []
    (cut,) = windower.push(chunk(50, 70))
    assert (cut.chunk.start, cut.chunk.stop) == (50, 60)


def test_an_event_before_history_is_dropped_and_counted():
    windower = Windower(Locked(0.0, 0.1), INFO, history_s=1.0)
    for a in range(0, 1000, 50):
        windower.push(chunk(a, a + 50))
    assert windower.push(Chunk.empty(INFO, 1000, events=(Event(900, 9.0, "go"),)))
    assert windower.push(Chunk.empty(INFO, 1000, events=(Event(100, 1.0, "go"),))) == []
    assert windower.dropped == 1


def test_a_locked_window_never_spans_a_gap_of_unknown_length():
    windower = Windower(Locked(0.0, 0.2), INFO)
    windower.push(chunk(0, 15, [Event(10, 0.1, "go")]))
    assert windower.push(chunk(15, 50, flags=Flag.GAP)) == []
    assert windower.dropped == 1


def test_a_late_event_finds_samples_before_a_gap():
    windower = Windower(Locked(0.0, 0.1), INFO)
    windower.push(chunk(0, 50))
    (cut,) = windower.push(chunk(80, 90, [Event(20, 0.2, "go")], Flag.GAP))
    assert (cut.chunk.start, cut.chunk.flags) == (20, Flag.OK)


@pytest.mark.parametrize("tmin", [-0.1, -0.01])
def test_a_window_that_begins_before_the_stream_is_dropped(tmin):
    windower = Windower(Locked(tmin, tmin + 0.01), INFO)
    assert windower.push(chunk(0, 50, [Event(0, 0.0, "go")])) == []
    assert windower.dropped == 1


def test_numbers_that_begin_again_never_mix_with_old_samples():
    windower = Windower(Locked(0.0, 0.2), INFO)
    windower.push(chunk(0, 100, [Event(95, 0.95, "go")]))
    assert windower.push(chunk(0, 10, [Event(5, 0.05, "go")])) == []
    (cut,) = windower.push(chunk(10, 30))
    assert (cut.event.sample, windower.dropped) == (5, 1)


def test_other_codes_are_left_alone():
    windower = Windower(Locked(0.0, 0.1, ("left",)), INFO)
    found = windower.push(chunk(0, 50, [Event(3, 0.03, "right"), Event(4, 0.04, "left")]))
    assert [c.event.code for c in found] == ["left"]


def test_a_chunk_longer_than_the_history_loses_no_window():
    windower = Windower(Locked(0.0, 0.1), INFO, history_s=0.5)
    events = [Event(k, k / 100, "go") for k in range(0, 5000, 100)]
    assert len(windower.push(chunk(0, 5000, events))) == len(events)


def test_reset_forgets_samples_and_events():
    windower = Windower(Locked(0.0, 0.1), INFO)
    windower.push(chunk(0, 50, [Event(45, 0.45, "go")]))
    windower.reset()
    assert windower.push(chunk(0, 60, [Event(2, 0.02, "go")]))[0].event.sample == 2
    assert windower.dropped == 0


def test_a_window_keeps_its_samples_when_the_ring_moves_on():
    windower = Windower(Slide(0.1, 0.1), INFO)
    (cut,) = windower.push(chunk(0, 10))
    windower.push(chunk(10, 500))
    assert (cut.chunk.data[:, 0] == np.arange(10)).all()
    assert not cut.chunk.data.flags.writeable


def test_another_stream_is_refused():
    other = StreamInfo("amp", 200.0, INFO.channels)
    with pytest.raises(DataError, match="prepare"):
        Windower(Slide(0.1, 0.1), INFO).push(Chunk.empty(other, 0).replace(data=np.zeros((1, 2)), times=np.zeros(1)))


def test_a_window_below_one_sample_is_refused():
    with pytest.raises(ConfigError, match="one sample"):
        Windower(Slide(0.001, 0.1), INFO)
