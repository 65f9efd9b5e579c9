"""Rejection: the segment and the channel that are out of limits, nothing else, flagged to the sample."""

import numpy as np
import pytest

from bci.errors import ConfigError
from bci.signal.aligned import Aligner
from bci.signal.chain import Chain
from bci.signal.pipeline import Pipeline
from bci.signal.reject import Reject
from bci.stream import Channel, Chunk, Flag, Kind, StreamInfo
from bci.testing.block import check_block
from bci.trial import Slide

INFO = StreamInfo("amp", 200.0, (Channel("C3"), Channel("C4"), Channel("STI", Kind.TRIG, "1")))
LENGTH = 50  # samples of a segment of 0.25 s


def recording(n=1000):
    rng = np.random.default_rng(0)
    return np.column_stack([10 * rng.standard_normal((n, 2)), np.arange(n)])


def run(block, data, size=0):
    block.prepare(INFO)
    size = size or len(data)
    starts = range(0, len(data), size)
    outs = [
        block.process(Chunk(data[a : a + size], np.arange(len(data))[a : a + size] / 200.0, a, INFO)) for a in starts
    ]
    return np.concatenate([out.data for out in outs]), outs


def segments(out):
    """(segment of the input, channel) of everything unknown; each whole."""
    unknown = np.isnan(out[LENGTH:, :2])
    whole = unknown.reshape(-1, LENGTH, 2)
    assert (whole.all(axis=1) == whole.any(axis=1)).all()
    return [tuple(k) for k in np.argwhere(whole.any(axis=1)).tolist()]


def test_large_steep_and_flat_segments_are_unknown_in_their_channel():
    data = recording()
    data[210:230, 0] += 300 * np.hanning(20)  # segment 4, large
    data[520, 1] += 500  # segment 10: steeper than 50 mV/s only if the limit on size is off
    data[600:650, 0] = 7.0  # segment 12, flat
    assert segments(run(Reject(), data)[0]) == [(4, 0), (10, 1), (12, 0)]
    assert segments(run(Reject(None, None), data)[0]) == [(12, 0)]
    assert segments(run(Reject(None, 50e3, None), data)[0]) == [(10, 1)]


def test_what_is_not_rejected_is_the_past_bit_for_bit():
    data = recording()
    data[210:230, 0] += 300
    block = Reject()
    out, _ = run(block, data)
    kept = ~np.isnan(out[LENGTH:])
    assert np.array_equal(out[LENGTH:][kept], np.where(np.arange(3) < 2, data[:-LENGTH], data[LENGTH:])[kept])
    assert block.delay_s == 0.25
    assert block.report() == {"seen_s": 5.0, "rejected_s": {"C3": 0.25, "C4": 0.0}}


@pytest.mark.parametrize("size", [1, 7, 32, 333])
def test_output_and_window_flags_do_not_depend_on_cutting(size):
    data = recording()
    data[210:230, 0] += 300
    data[333, 1] = np.nan

    def windows(n):
        pipeline = Pipeline([Reject()], Slide(0.1, 0.05))
        pipeline.prepare(INFO)
        starts = range(0, 1000, n)
        chunks = [Chunk(data[a : a + n], np.arange(len(data[a : a + n])) / 200.0, a, INFO) for a in starts]
        return [cut.chunk for c in chunks for cut in pipeline.push(c)]

    whole, parts = windows(1000), windows(size)
    assert [c.flags for c in whole] == [c.flags for c in parts]
    assert all(np.array_equal(a.data, b.data, equal_nan=True) for a, b in zip(whole, parts, strict=True))
    for c in whole:
        assert (Flag.REJECTED in c.flags) == (c.start < 300 and c.stop > 250)
        assert (Flag.NAN in c.flags) == bool(np.isnan(c.data).any())


@pytest.mark.parametrize("size", [7, 1000])
def test_windows_across_streams_have_the_flags_of_their_own_samples(size):
    data = recording()
    data[210:230, 0] += 300
    aligner = Aligner(Slide(0.1, 0.05), {"eeg": INFO}, 0.0, blocks={"eeg": [Chain([Reject()])]})
    parts = [data[a : a + size] for a in range(0, 1000, size)]
    for k, part in enumerate(parts):
        aligner.push("eeg", Chunk(part, (k * size + np.arange(len(part))) / 200.0, k * size, INFO))
    windows = aligner.due(10.0)
    assert len(windows) > 90
    for window in windows[:-1]:
        numbers = window.streams["eeg"].numbers
        assert (Flag.REJECTED in window.flags) == bool(((numbers >= 250) & (numbers < 300)).any())


def test_chunk_with_a_rejected_sample_says_so():
    data = recording()
    data[210:230, 0] += 300
    flags = [out.flags for out in run(Reject(), data, LENGTH)[1]]
    assert [Flag.REJECTED | Flag.NAN in f for f in flags] == [k == 5 for k in range(20)]


def test_a_start_within_a_segment_is_judged_by_what_is_there_and_not_for_flatness():
    data = recording(200)
    data[:20, :2] = 0.0
    block = Reject()
    block.prepare(INFO)
    out = block.process(Chunk(data, np.arange(200) / 200.0, 1030, INFO))
    assert np.isfinite(out.data).all()
    data[5, 0] = 400.0
    block.reset()
    out = block.process(Chunk(data, np.arange(200) / 200.0, 1030, INFO)).data
    assert np.isnan(out[20:70, 0]).all() and np.isfinite(out[70:]).all() and np.isfinite(out[:, 1]).all()


def test_rejection_keeps_the_law():
    check_block(lambda: Reject(500.0), StreamInfo("amp", 250.0, (Channel("C3"), Channel("Cz"), Channel("C4"))))


def test_what_cannot_work_is_an_error():
    with pytest.raises(ConfigError, match="leave the defaults"):
        Reject(-1.0)
    with pytest.raises(ConfigError, match="lengthen it"):
        Reject(segment_s=0.001).prepare(INFO)
