import numpy as np
import pytest

from bci.errors import ConfigError, DataError
from bci.signal.bandpower import BandPower
from bci.signal.waveform import LineLength, LogVariance
from bci.signal.windowed import Feature, Features, WindowedBlock
from bci.stream import Channel, Chunk, Event, Flag, Kind, StreamInfo
from bci.testing.block import check_block

INFO = StreamInfo("amp", 100.0, (Channel("n", position=(0, 0, 1)), Channel("t", Kind.TRIG, ""), Channel("b", scale=2)))


class Span(WindowedBlock):
    """First, last and number of samples of the window; the mean over known channels."""

    def design(self, info):
        assert info.ch_names == ["n", "b"]
        return [Feature("first", "1", (0,)), Feature("last", "1", (0,)), Feature("mean", "uV", ())]

    def compute(self, window, known):
        assert window.shape == (self.length, 2) and np.isfinite(window).all()
        return np.array([window[0, 0], window[-1, 0], window[:, known].mean() if known.any() else np.nan])


def chunk(start, stop, flags=Flag.OK, events=()):
    numbers = np.arange(start, stop)
    data = np.column_stack([numbers, np.zeros(len(numbers)), numbers / 2])
    return Chunk(data, numbers / 100, start, INFO, events, flags)


def prepared(window_s=0.1, step_s=0.04):
    block = Span(window_s, step_s)
    return block, block.prepare(INFO)


def test_row_is_told_by_the_window_that_ends_with_its_step():
    block, out = prepared()
    rows = block.process(chunk(0, 24))
    assert (out.sfreq, out.ch_names, block.delay_s) == (25.0, ["first", "last", "mean"], 0.045)
    assert (rows.start, rows.stop) == (2, 6)
    assert rows.data[:, :2].tolist() == [[2, 11], [6, 15], [10, 19], [14, 23]]
    assert rows.data[:, 2].tolist() == [6.5, 10.5, 14.5, 18.5]  # the second channel, scaled, is the same
    assert np.allclose(rows.times, [0.11, 0.15, 0.19, 0.23])


@pytest.mark.parametrize("step_s", [0.01, 0.04, 0.25])  # a sample; overlapping; with samples that no window has
@pytest.mark.parametrize("cut", [1, 3, 7, 24, 100])
def test_windows_hold_their_samples_wherever_a_stream_begins_and_is_cut(step_s, cut):
    block, _ = prepared(0.1, step_s)
    for start in range(1003, 1203, cut):
        rows = block.process(chunk(start, start + cut))
        for number, row in zip(range(rows.start, rows.stop), rows.data, strict=True):
            stop = (number + 1) * block.step
            assert row[:2].tolist() == [stop - 10, stop - 1] and stop - 10 >= 1003


def test_no_window_spans_a_gap_and_the_next_row_is_flagged():
    block, _ = prepared()
    assert block.process(chunk(0, 12)).stop == 3
    waiting = block.process(chunk(21, 30, Flag.GAP | Flag.STALE))
    assert (waiting.n_samples, waiting.start) == (0, 7)
    rows = block.process(chunk(30, 40))
    assert rows.data[:, 0].tolist() == [22, 26, 30] and rows.start == 7
    assert rows.flags == Flag.GAP | Flag.STALE
    assert block.process(chunk(40, 44)).flags == Flag.OK  # the window now begins behind the stale samples


def test_flag_stays_while_its_samples_are_in_the_window():
    block, _ = prepared()
    block.process(chunk(0, 16))
    seen = [block.process(chunk(16, 20, Flag.SATURATED | Flag.SILENT)).flags]
    seen += [block.process(chunk(k, k + 4)).flags for k in range(20, 36, 4)]
    assert seen == [Flag.SATURATED | Flag.SILENT, Flag.SATURATED, Flag.SATURATED, Flag.OK, Flag.OK]


def test_numbers_that_begin_again_leave_no_flags_and_no_events_waiting():
    block, _ = prepared()
    block.process(chunk(1000, 1013, Flag.SATURATED, (Event(1012, 10.12, "lost"),)))
    block.process(Chunk.empty(INFO, 1013, Flag.OVERFLOW))
    rows = block.process(chunk(0, 16, Flag.GAP, (Event(1, 0.01, "kept"),)))
    assert (rows.start, rows.flags, [e.code for e in rows.events]) == (2, Flag.GAP | Flag.OVERFLOW, ["kept"])
    assert block.process(chunk(16, 32)).flags == Flag.OVERFLOW  # of the row whose window begins at 10
    assert block.process(chunk(32, 36)).flags == Flag.OK


def test_unknown_value_is_unknown_in_its_channel_while_in_the_window():
    block, _ = prepared()
    data = np.array(chunk(0, 40).data)
    data[13, 0] = np.nan
    rows = block.process(Chunk(data, np.arange(40) / 100, 0, INFO))
    assert np.isnan(rows.data[:, 0]).tolist() == [False, True, True, False, False, False, False, False]
    assert np.isfinite(rows.data[:, 2]).all() and Flag.NAN in rows.flags
    assert rows.data[1, 2] == np.arange(6, 16).mean()  # told by the other channel alone


def test_event_comes_with_the_step_it_falls_into():
    block, _ = prepared()
    assert block.process(chunk(0, 3, events=(Event(1, 0.01, "x"),))).events == ()
    (x,) = block.process(chunk(3, 4)).events
    late = block.process(chunk(4, 13, events=(Event(2, 0.02, "late"), Event(12, 0.12, "y")))).events
    assert (x.sample, [(e.code, e.sample) for e in late]) == (0, [("late", 0)])
    assert [e.sample for e in block.process(chunk(13, 16)).events] == [3]


def test_features_are_no_signals_but_keep_the_place_of_their_electrode():
    _, out = prepared()
    assert [c.kind for c in out.channels] == [Kind.MISC] * 3
    assert [c.position for c in out.channels] == [(0, 0, 1), (0, 0, 1), None]


def test_windowed_block_says_what_it_needs():
    with pytest.raises(ConfigError, match="longer than 0 s"):
        Span(0.0, 0.1)
    with pytest.raises(ConfigError, match="at least one sample"):
        Span(0.001, 0.1).prepare(INFO)
    with pytest.raises(ConfigError, match="triggers only"):
        LineLength().prepare(StreamInfo("t", 100.0, (Channel("t", Kind.TRIG),)))
    with pytest.raises(DataError, match="before prepare"):
        LineLength().process(chunk(0, 1))


def test_features_side_by_side_come_once_the_longest_window_is_full():
    info = StreamInfo("amp", 250.0, (Channel("C3"), Channel("C4")))
    make = lambda: [LogVariance(0.5, 0.1), BandPower([(8, 12)], window_s=1.0, step_s=0.1)]  # noqa: E731
    block = Features(make())
    out = block.prepare(info)
    assert out.ch_names == ["C3 log-variance", "C4 log-variance", "C3 8-12 Hz power", "C4 8-12 Hz power"]
    data = np.random.default_rng(0).standard_normal((500, 2))
    rows = block.process(Chunk(data, np.arange(500) / 250, 0, info))
    parts = make()
    for part in parts:
        part.prepare(info)
    variance, power = (part.process(Chunk(data, np.arange(500) / 250, 0, info)).data for part in parts)
    assert rows.start == 9 and np.array_equal(rows.data, np.hstack([variance[5:], power]))
    assert block.delay_s == parts[1].delay_s
    check_block(lambda: Features(make()), info)


def test_features_need_one_step():
    with pytest.raises(ConfigError, match="one step"):
        Features([LineLength(1.0, 0.1), LogVariance(1.0, 0.2)])
    with pytest.raises(ConfigError, match="windowed"):
        Features([])
