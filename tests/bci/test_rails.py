import math
from dataclasses import replace

import numpy as np
import pytest

from bci.errors import ConfigError
from bci.signal.chain import Chain
from bci.signal.filters import Bandpass, Highpass
from bci.signal.pipeline import Pipeline
from bci.signal.rails import Rails, rails
from bci.stream import Channel, Chunk, Flag, Kind, StreamInfo
from bci.testing import check_block
from bci.trial import Slide

SFREQ = 250.0
CHANNELS = (Channel("C3"), Channel("C4"), Channel("trigger", Kind.TRIG), Channel("force", Kind.MISC, "N"))
INFO = StreamInfo("rails", SFREQ, CHANNELS, meta={"range_uv": "1000"})


def stream(block, data, cuts=(), info=INFO):
    out_info = block.prepare(info)
    edges = [0, *cuts, len(data)]
    chunks = [Chunk(data[a:b], np.arange(a, b) / SFREQ, a, info) for a, b in zip(edges[:-1], edges[1:], strict=True)]
    outs = [block.process(c) for c in chunks]
    assert all(o.info == out_info for o in outs)
    return np.concatenate([o.data for o in outs]), [o.flags for o in outs]


def test_samples_at_the_rail_are_unknown_in_their_channel_and_for_a_while_after():
    data = np.zeros((100, 4))
    data[10:20, 0], data[30, 1] = 996.0, -2000.0
    data[:, 2:] = 5000.0  # a code and a force have no rail in uV
    out, flags = stream(Rails(recovery_s=0.02), data)
    expected = np.zeros((100, 4), bool)
    expected[10:25, 0], expected[30:36, 1] = True, True
    assert np.array_equal(np.isnan(out), expected) and flags == [Flag.NAN]
    assert np.array_equal(out[~expected], data[~expected])


def test_the_way_back_does_not_depend_on_cuts():
    rng = np.random.default_rng(0)
    data = np.where(rng.random((400, 4)) < 0.05, 1000.0, 0.0)
    once, _ = stream(Rails(), data)
    for cuts in (range(1, 400), range(7, 400, 7), sorted(rng.integers(0, 400, 30))):
        assert np.array_equal(once, stream(Rails(), data, cuts)[0], equal_nan=True)


def test_a_gap_ends_the_way_back_and_a_clean_chunk_is_passed_on():
    block, data = Rails(recovery_s=0.5), np.full((10, 4), 1000.0)
    block.prepare(INFO)
    block.process(Chunk(data, np.arange(10) / SFREQ, 0, INFO))
    after = Chunk(np.ones((10, 4)), np.arange(20, 30) / SFREQ, 20, INFO)
    assert np.shares_memory(block.process(after).data, after.data)


def test_integers_are_judged_in_microvolts():
    info = StreamInfo("counts", SFREQ, (Channel("C3", scale=0.5),), meta=INFO.meta)
    out, _ = stream(Rails(recovery_s=0.0), np.array([[1000], [1989], [1991]], np.int16), info=info)
    assert np.array_equal(out[:, 0], [500, 994.5, np.nan], equal_nan=True)


def test_windows_that_hold_a_railed_sample_say_so_and_others_do_not():
    pipeline = Pipeline([Rails(), Bandpass(8, 30)], Slide(0.4, 0.4))
    pipeline.prepare(INFO)
    data = np.zeros((500, 4))
    data[250, 0] = 1000.0
    cuts = pipeline.push(Chunk(data, np.arange(500) / SFREQ, 0, INFO))
    assert [c.chunk.flags for c in cuts] == [
        Flag.SATURATED | Flag.NAN if c.chunk.start == 200 else Flag.OK for c in cuts
    ]


@pytest.mark.parametrize("sign", [1, -1])
def test_a_channel_that_comes_back_from_the_rail_does_not_ring(sign):
    rng, t = np.random.default_rng(1), np.arange(5000)[:, None] / SFREQ
    data = 500 + 10 * np.sin(2 * np.pi * 10 * t + rng.uniform(0, 6, 4)) + 2 * rng.standard_normal((5000, 4))
    railed = data.copy()
    railed[3000:3110, 0] = sign * 1000.0
    for make in (lambda: [Bandpass(8, 30)], lambda: [Bandpass(1, 40)], lambda: [Highpass(0.5)]):
        whole, _ = stream(Chain(make()), data)
        out, _ = stream(Chain([Rails(), *make()]), railed)
        later = slice(3115, None)
        assert np.isfinite(out[later]).all()
        assert np.abs(out - whole)[later, 0].max() <= 2 * np.abs(whole[2000:, 0]).max()
        assert np.array_equal(out[:, 1], whole[:, 1])


def test_without_a_range_nothing_can_be_at_the_rail():
    for info in (replace(INFO, meta={}), replace(INFO, meta={"range_uv": "wide"}), INFO.pick(["trigger", "force"])):
        with pytest.raises(ConfigError, match="limit_uv"):
            Rails().prepare(info)
        assert (rails(info) == math.inf).all()


@pytest.mark.parametrize("settings", [{"limit_uv": 0.0}, {"limit_uv": math.inf}, {"recovery_s": -1.0}])
def test_settings_out_of_range_are_refused(settings):
    with pytest.raises(ConfigError, match="expected limit_uv"):
        Rails(**settings)


@pytest.mark.parametrize("make", [lambda: Rails(1e4), lambda: Chain([Rails(1e4, 0.1), Bandpass(8, 30)])])
def test_it_keeps_the_contract_of_blocks(make):
    check_block(make, INFO.pick(["C3", "C4"]))
