import numpy as np
import pytest

from bci.errors import ConfigError
from bci.signal.power import BinPower
from bci.stream import Channel, Chunk, Event, Flag, Kind, StreamInfo

INFO = StreamInfo("amp", 1000.0, (Channel("a", scale=0.5), Channel("t", Kind.TRIG, "")))


def chunk(data, start=0, events=(), flags=Flag.OK):
    return Chunk(np.asarray(data), np.arange(start, start + len(data)) / 1000, start, INFO, events, flags)


@pytest.mark.parametrize(("measure", "truth", "unit"), [("magnitude", 50.0, "uV"), ("power", 2500.0, "uV²")])
def test_bin_is_the_mean_in_the_unit_of_the_channel(measure, truth, unit):
    block = BinPower(0.01, measure)
    out = block.prepare(INFO)
    data = np.column_stack([np.tile([100, -100], 15), np.arange(30)]).astype(np.int16)
    bins = block.process(chunk(data))
    assert (out.sfreq, out.channels[0].unit, block.delay_s) == (100.0, unit, 0.0045)
    assert bins.data.tolist() == [[truth, 9], [truth, 19], [truth, 29]]
    assert np.allclose(bins.times, [0.009, 0.019, 0.029])


def test_bin_with_a_gap_inside_is_left_out_and_the_next_is_flagged():
    block = BinPower(0.01)
    block.prepare(INFO)
    ones = np.ones((40, 2))
    before = block.process(chunk(ones[:15]))
    after = block.process(chunk(ones[:25], 25, flags=Flag.GAP))
    assert (before.start, before.n_samples, after.start, after.n_samples) == (0, 1, 3, 2)
    assert Flag.GAP in after.flags and Flag.GAP not in block.process(chunk(ones[:10], 50)).flags


def test_event_comes_with_the_bin_it_falls_into():
    block = BinPower(0.01)
    block.prepare(INFO)
    assert block.process(chunk(np.ones((5, 2)), events=(Event(3, 0.003, "x"),))).events == ()
    (event,) = block.process(chunk(np.ones((20, 2)), 5, events=(Event(19, 0.019, "y"),))).events[:1]
    assert (event.sample, event.code) == (0, "x")


@pytest.mark.parametrize("settings", [(0.0,), (0.1, "energy")])
def test_settings_are_checked(settings):
    with pytest.raises(ConfigError):
        BinPower(*settings)
    with pytest.raises(ConfigError, match="at least one sample"):
        BinPower(1e-4).prepare(INFO)
