"""Which channels were unknown or changed travels from the samples to the window, the decision and the gate."""

import numpy as np
import pytest

from bci.decision import Decision
from bci.errors import ConfigError
from bci.safety.gate import Gate
from bci.signal.chain import Chain
from bci.signal.filters import Bandpass
from bci.signal.marks import ChannelMarks
from bci.signal.pipeline import Pipeline
from bci.signal.rails import Rails
from bci.signal.reject import Reject
from bci.signal.spatial import Bipolar
from bci.stream import Channel, Chunk, Flag, StreamInfo
from bci.trial import Slide

SFREQ = 200.0
INFO = StreamInfo("amp", SFREQ, (Channel("C3"), Channel("Cz"), Channel("C4")))


def windows(blocks, data, cuts=()):
    """Return {start: names} of windows of 0.5 s."""
    pipeline = Pipeline(blocks, Slide(0.5, 0.5))
    pipeline.prepare(INFO)
    edges = [0, *cuts, len(data)]
    chunks = [Chunk(data[a:b], np.arange(a, b) / SFREQ, a, INFO) for a, b in zip(edges[:-1], edges[1:], strict=True)]
    return {cut.chunk.start: cut.bad_channels for chunk in chunks for cut in pipeline.push(chunk)}


def eeg():
    return 20 * np.random.default_rng(0).standard_normal((1000, 3))


def test_a_window_names_the_channels_that_are_unknown_in_it():
    data = eeg()
    data[150, 2], data[199:201, 0] = np.nan, np.nan
    found = windows([Bandpass(8, 30)], data)
    assert {k: v for k, v in found.items() if v} == {100: ("C3", "C4"), 200: ("C3",)}


@pytest.mark.parametrize("cuts", [range(1, 1000), range(7, 1000, 7), (100, 350, 351)])
def test_the_names_do_not_depend_on_cuts(cuts):
    data = eeg()
    data[150, 2], data[330:350, 1] = np.nan, 900.0
    blocks = lambda: [Rails(500.0), Reject(400.0, None, None), Bandpass(8, 30)]  # noqa: E731
    assert windows(blocks(), data, cuts) == windows(blocks(), data)


def test_a_channel_that_went_into_another_is_named_by_who_changed_it():
    data = eeg()
    data[330:350, 1] = 900.0
    found = windows([Rails(500.0, 0.0), Bipolar([("C3", "Cz"), ("C4", "Cz")])], data)
    assert {k: v for k, v in found.items() if v} == {300: ("C3-Cz", "C4-Cz", "Cz")}


def test_rejected_segments_name_their_channel_where_they_are_delivered():
    data = eeg()
    data[410, 0] = 900.0  # in the segment from 400 on, which comes out 0.25 s later
    block = Reject(segment_s=0.25)
    chain = Chain([Chain([block]), Bandpass(8, 30)])
    chain.prepare(INFO)
    chain.process(Chunk(data, np.arange(1000) / SFREQ, 0, INFO))
    assert chain.marked_channels(2.2, 2.3) == ("C3",)
    assert chain.marked_channels(0.0, 2.2) == chain.marked_channels(2.6, 5.0) == ()
    chain.reset()
    assert chain.marked_channels(0.0, 5.0) == ()


def test_marks_are_told_by_channel():
    marks = ChannelMarks(100.0, ["a", "b"])
    marks.add([0, 1], 10, 20)
    marks.add([1], 50, 60)
    assert marks.touched(0.15, 0.16) == ("a", "b") and marks.touched(0.2, 0.55) == ("b",)
    marks.clear()
    assert marks.touched(0.0, 1.0) == ()


def decision(names):
    return Decision(("left", "right"), np.array([0.9, 0.1]), 0, 100, 8.0, 10.0, "cue", bad_channels=names)


def test_too_many_bad_channels_close_the_gate_and_are_named():
    verdict = Gate(most_bad_channels=1).check(decision(("C3", "Cz")), 10.0)
    assert (verdict.open, verdict.signal_ok, verdict.reason) == (False, False, "bad channels: C3, Cz")
    assert Gate(most_bad_channels=1).check(decision(("C3",)), 10.0).open
    assert Gate().check(decision(("C3", "Cz")), 10.0).open
    with pytest.raises(ConfigError, match="most_bad_channels"):
        Gate(most_bad_channels=-1)


def test_flags_of_a_window_without_bad_channels_need_no_names():
    data = eeg()
    pipeline = Pipeline([Bandpass(8, 30)], Slide(0.5, 0.5))
    pipeline.prepare(INFO)
    (cut,) = pipeline.push(Chunk(data[:100], np.arange(100) / SFREQ, 0, INFO, (), Flag.NOISY))
    assert cut.bad_channels == () and cut.chunk.flags == Flag.NOISY
