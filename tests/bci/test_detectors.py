"""Blinks and jaws: found where they were planted, once, however the stream is cut."""

from itertools import pairwise

import numpy as np
import pytest

from bci.errors import ConfigError
from bci.signal.detectors import BlinkDetector, JawDetector
from bci.stream import Channel, Chunk, Event, Kind, StreamInfo
from bci.testing.block import check_block

SFREQ = 250.0
INFO = StreamInfo("amp", SFREQ, tuple(Channel(n) for n in ("Fp1", "Fp2", "T7", "T8")))
BLINKS = [2000, 2600, 3300, 5000, 5200, 7000]
CLENCHES = [2500, 6000]


def background(n=8000, seed=0):
    rng = np.random.default_rng(seed)
    t = np.arange(n)[:, None] / SFREQ
    return 6 * rng.standard_normal((n, 4)) + 10 * np.sin(2 * np.pi * 10 * t + np.arange(4)) + 40


def with_blinks():
    data = background()
    shape = np.hanning(75)  # 0.3 s
    for k, peak in enumerate(BLINKS):
        data[peak - 37 : peak + 38, :2] += (100 + 20 * k) * shape[:, None]
    return data


def with_clenches():
    data = background()
    for begin in CLENCHES:
        data[begin : begin + 250, 2:] += 60 * np.random.default_rng(begin).standard_normal((250, 2))
    return data


def events(block, data, sizes=(8000,), given=(), info=INFO, skip=range(0)):
    block.prepare(info)
    edges = [0, *np.cumsum(np.resize(sizes, len(data)))]
    found = []
    for a, b in pairwise([min(e, len(data)) for e in edges]):
        if a == b or a in skip:
            continue
        inside = tuple(e for e in given if a <= e.sample < b)
        out = block.process(Chunk(data[a:b], np.arange(a, b) / SFREQ, a, info, inside))
        assert np.array_equal(out.data, data[a:b], equal_nan=True)
        assert all(e.sample < b for e in out.events)
        found += [(e, b) for e in out.events]
    return found


@pytest.mark.parametrize(("make", "data"), [(BlinkDetector, with_blinks()), (JawDetector, with_clenches())])
def test_events_do_not_depend_on_cutting(make, data):
    given = [Event(k, k / SFREQ, f"e{k}") for k in (0, 1990, 2010, 2050, 2100, 6010, 7040)]
    whole = [e for e, _ in events(make(), data, given=given)]
    assert len(whole) > len(given)
    for sizes in ((1,), (7,), (32,), (1000,), (13, 401, 2)):
        parts = [e for e, _ in events(make(), data, sizes, given)]
        assert [(e.sample, e.code) for e in parts] == [(e.sample, e.code) for e in whole]
        np.testing.assert_allclose([e.time for e in parts], [e.time for e in whole], rtol=0, atol=1e-9)


def test_every_blink_is_told_once_within_20_ms_of_its_peak():
    found = [e.sample for e, _ in events(BlinkDetector(), with_blinks())]
    assert len(found) == len(BLINKS)
    assert np.abs(np.array(found) - BLINKS).max() <= 5


def test_blinks_are_told_within_the_stated_delay():
    block = BlinkDetector()
    for event, told_at in events(block, with_blinks(), (1,)):
        assert told_at - event.sample <= block.event_delay_s * SFREQ + 1
        assert event.time == pytest.approx(event.sample / SFREQ)


def test_jaw_is_told_at_its_onset_within_the_stated_delay():
    block = JawDetector()
    found = events(block, with_clenches(), (1,))
    assert len(found) == len(CLENCHES)
    assert all(abs(e.sample - c) <= 25 for (e, _), c in zip(found, CLENCHES, strict=True))
    assert all(told - e.sample <= block.event_delay_s * SFREQ + 1 for e, told in found)


def test_blink_rate_is_that_of_the_last_minute():
    block = BlinkDetector()
    events(block, np.concatenate([with_blinks(), background(8000, 1), background(8000, 2)]), (777,))
    assert block.per_minute == 0  # all were more than a minute before the end
    block.reset()
    assert np.isnan(block.per_minute)
    events(block, with_blinks(), (777,))
    assert block.per_minute == pytest.approx(60 * len(BLINKS) / 32)


def test_background_alone_gives_no_event():
    assert not events(BlinkDetector(), background()) and not events(JawDetector(), background())


def test_blinks_are_no_jaw_and_a_jaw_no_blink():
    assert not events(JawDetector(), with_blinks())
    assert not events(BlinkDetector(("Fp1", "Fp2")), with_clenches())


def test_a_step_of_the_electrode_is_no_blink():
    data = background()
    data[3000:, :2] += 300 * (1 - np.exp(-np.arange(5000) / 2000))[:, None]
    assert not events(BlinkDetector(), data)


def test_eyes_below_are_seen_negative_and_eog_channels_are_found():
    info = StreamInfo("amp", SFREQ, (Channel("Cz"), Channel("VEOG", Kind.EOG)))
    data = with_blinks()[:, [3, 0]] * (1, -1)
    assert len(events(BlinkDetector(negative=True), data, info=info)) == len(BLINKS)


def test_unknown_values_make_no_blink_and_end():
    data = with_blinks()
    data[1900:1950] = np.nan
    data[2590:2610, 0] = np.nan  # the other channel still tells
    assert [abs(e.sample - b) < 12 for (e, _), b in zip(events(BlinkDetector(), data, (7,)), BLINKS, strict=True)]


def test_a_gap_keeps_the_threshold_and_makes_no_blink():
    data = with_blinks()
    data[3000:] += 500.0
    found = events(BlinkDetector(), data, (500,), skip=range(2500, 3000))
    assert [round(e.sample, -2) for e, _ in found] == [2000, 3300, 5000, 5200, 7000]


@pytest.mark.parametrize("make", [lambda: BlinkDetector("C3"), JawDetector])
def test_detector_keeps_the_law(make):
    check_block(make, StreamInfo("amp", 250.0, tuple(Channel(n) for n in ("C3", "Cz", "C4"))))


def test_what_cannot_work_is_an_error():
    with pytest.raises(ConfigError, match="channels="):
        BlinkDetector().prepare(StreamInfo("amp", 250.0, (Channel("Cz"),)))
    with pytest.raises(ConfigError, match="leave the defaults"):
        BlinkDetector(n_sigma=0)
    with pytest.raises(ConfigError, match="40 suits"):
        BlinkDetector(least_uv=-1)
    assert BlinkDetector().prepare(INFO) == INFO
