import copy
import pickle

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import signal

from bci.errors import ConfigError
from bci.signal.chain import Chain
from bci.signal.filters import Highpass
from bci.signal.fir import Fir, FirStage
from bci.signal.spatial import Reference
from bci.stream import Channel, Chunk, Flag, Kind, StreamInfo
from bci.testing.block import check_block

INFO = StreamInfo("amp", 250.0, tuple(Channel(n) for n in ("C3", "Cz", "C4")))
FIRS = {
    "low": lambda: Fir(high_hz=40.0),
    "high": lambda: Fir(low_hz=2.0, transition_hz=4.0),
    "band": lambda: Fir(8, 30),
    "stop": lambda: Fir(45, 55, stop=True, n_taps=101),
    "minimum": lambda: Fir(8, 30, phase="minimum"),
    "remez": lambda: Fir(8, 30, method="remez"),
    "own": lambda: Fir(taps=[0.5, 0.25, 0.25]),
    "one": lambda: Fir(taps=[2.0]),
}


def taps_of(block, info=INFO):
    block.prepare(info)
    (stage,) = block.stages()
    return stage.taps


def stream(block, data, cuts=(), info=INFO):
    block.prepare(info)
    edges = [0, *sorted(cuts), len(data)]
    return np.concatenate([
        block.process(Chunk(data[a:b], np.arange(a, b) / info.sfreq, a, info)).data
        for a, b in zip(edges[:-1], edges[1:], strict=True)
    ])  # fmt: skip


@pytest.mark.parametrize("name", ["band", "stop", "minimum", "own"])
def test_fir_keeps_the_law(name):
    check_block(FIRS[name], INFO)


@pytest.mark.parametrize("name", FIRS)
@settings(deadline=None, max_examples=8)
@given(st.lists(st.integers(0, 900), max_size=30), st.integers(0, 100))
def test_output_is_bit_equal_under_any_cutting(name, cuts, seed):
    data = np.random.default_rng(seed).standard_normal((900, 3))
    data[:3, 1] = np.nan  # the channel begins late
    data[500:503, 2] = np.nan
    assert np.array_equal(stream(FIRS[name](), data, cuts), stream(FIRS[name](), data), equal_nan=True)


@pytest.mark.parametrize("name", FIRS)
def test_output_equals_scipy_from_the_first_sample(name):
    x = np.random.default_rng(0).standard_normal((700, 3)) + 50.0
    taps = taps_of(FIRS[name]())
    rest = np.cumsum(taps[:0:-1])[::-1, None] * x[0]
    expected, _ = signal.lfilter(taps, [1.0], x, axis=0, zi=rest)
    assert stream(FIRS[name](), x, [13, 300]) == pytest.approx(expected, abs=1e-10)


@pytest.mark.parametrize("hz", [4.0, 8.0, 19.0, 30.0, 45.0])
def test_gain_through_the_stream_is_that_of_theory(hz):
    t = np.arange(3000) / 250.0
    y = stream(Fir(8, 30), np.repeat(np.sin(2 * np.pi * hz * t)[:, None], 3, axis=1), [77])[2000:, 0]
    _, expected = signal.freqz(taps_of(Fir(8, 30)), worN=[hz], fs=250)
    assert 2 * abs(np.mean(y * np.exp(-2j * np.pi * hz * t[2000:]))) == pytest.approx(abs(expected[0]), abs=1e-9)


@pytest.mark.parametrize(
    ("block", "half_hz"),
    [
        (Fir(high_hz=40.0, transition_hz=8.0), 4.0),
        (Fir(low_hz=6.0, transition_hz=4.0), 2.0),
        (Fir(8, 30, transition_hz=2.0), 1.0),
        (Fir(45, 55, stop=True, transition_hz=4.0), 2.0),
        (Fir(8, 30, transition_hz=2.0, method="remez"), 1.0),
    ],
)
def test_pass_band_is_one_and_stop_band_is_as_far_down_as_asked(block, half_hz):
    hz, response = signal.freqz(taps_of(block), worN=4096, fs=250)
    edges = [e for e in (block.low_hz, block.high_hz) if e is not None]
    far = np.min([np.abs(hz - e) for e in edges], axis=0) > half_hz
    inside = (hz > (block.low_hz or -1.0)) & (hz < (block.high_hz or 126.0))
    passed = inside != block.stop
    # 60 dB are 0.001; the estimates of the length are good to a decibel or two.
    assert np.abs(response[far & passed]) == pytest.approx(1.0, abs=1.4e-3)
    assert np.abs(response[far & ~passed]).max() < 1.4e-3


def test_a_sine_in_the_band_comes_out_after_the_stated_delay():
    block = Fir(8, 30)
    t = np.arange(2000) / 250.0
    y = stream(block, np.repeat(np.sin(2 * np.pi * 18 * t)[:, None], 3, axis=1))
    late = np.sin(2 * np.pi * 18 * (t - block.delay_s))
    assert y[500:, 0] == pytest.approx(late[500:], abs=2e-3)


def test_minimum_phase_has_the_same_gain_and_a_fraction_of_the_delay():
    linear, minimum = Fir(8, 30, transition_hz=4.0), Fir(8, 30, transition_hz=4.0, phase="minimum")
    _, one = signal.freqz(taps_of(linear), worN=2048)
    _, other = signal.freqz(taps_of(minimum), worN=2048)
    assert np.abs(other) == pytest.approx(np.abs(one), abs=2e-3)
    assert minimum.delay_s < 0.3 * linear.delay_s


def test_minimum_phase_puts_every_zero_inside_the_unit_circle():
    taps = taps_of(Fir(high_hz=40.0, n_taps=31, phase="minimum"))
    assert np.abs(np.roots(taps)).max() < 1.0 + 1e-3


def test_equal_ripples_need_fewer_taps():
    assert len(taps_of(Fir(8, 30, method="remez"))) < len(taps_of(Fir(8, 30)))


def test_offset_causes_no_transient_and_none_after_a_gap():
    block = Fir(8, 30)
    block.prepare(INFO)
    first = block.process(Chunk(np.full((300, 3), 1e5), np.arange(300) / 250, 0, INFO)).data
    after = block.process(Chunk(np.full((300, 3), -3e4), np.arange(400, 700) / 250, 400, INFO)).data
    level = 1e5 * taps_of(Fir(8, 30)).sum()
    assert first == pytest.approx(np.full((300, 3), level), abs=1e-8)
    assert after == pytest.approx(np.full((300, 3), -0.3 * level), abs=1e-8)


def test_unknown_values_are_unknown_where_they_are_and_nowhere_else():
    x = np.random.default_rng(0).standard_normal((400, 3))
    x[100:120, 1] = np.nan
    y = stream(Fir(8, 30), x, [90, 110])
    assert np.array_equal(np.isnan(y), np.isnan(x))
    held = x.copy()
    held[100:120, 1] = x[99, 1]
    assert np.array_equal(y[120:], stream(Fir(8, 30), held)[120:])


def test_triggers_pass_unchanged_and_undelayed():
    info = StreamInfo("amp", 250.0, (Channel("C3"), Channel("trig", Kind.TRIG, "")))
    x = np.random.default_rng(0).standard_normal((300, 2))
    assert np.array_equal(stream(Fir(8, 30), x, [7], info)[:, 1], x[:, 1])


def test_a_chain_takes_it_into_one_program():
    blocks = [Highpass(1.0), Fir(8, 30), Reference()]
    chain = Chain(blocks)
    x = np.random.default_rng(0).standard_normal((500, 3))
    together = chain.run(x, INFO)
    for block in blocks:
        x = stream(block, x)
    assert together == pytest.approx(x, abs=1e-12)
    chain.prepare(INFO)
    (program,) = chain._steps
    assert [type(s) for s in program.stages][1] is FirStage


def test_it_can_be_copied_and_pickled_in_the_middle_of_a_stream():
    x = np.random.default_rng(0).standard_normal((400, 3))
    block = Fir(8, 30)
    block.prepare(INFO)
    block.process(Chunk(x[:200], np.arange(200) / 250, 0, INFO))
    rest = Chunk(x[200:], np.arange(200, 400) / 250, 200, INFO)
    other, third = copy.deepcopy(block), pickle.loads(pickle.dumps(block))
    expected = block.process(rest)
    assert np.array_equal(other.process(rest).data, expected.data)
    assert np.array_equal(third.process(rest).data, expected.data)
    assert expected.flags == Flag.OK


@pytest.mark.parametrize(
    "bad",
    [
        {},
        {"low_hz": 8, "stop": True},
        {"low_hz": 8, "n_taps": 100},
        {"low_hz": 8, "n_taps": 101, "transition_hz": 2.0},
        {"low_hz": 8, "transition_hz": 0.0},
        {"low_hz": 8, "attenuation_db": 5.0},
        {"low_hz": 8, "phase": "zero"},
        {"low_hz": 8, "taps": [1.0]},
        {"taps": []},
        {"taps": [[1.0]]},
        {"taps": [np.nan]},
    ],
)
def test_settings_that_contradict_one_another_are_refused(bad):
    with pytest.raises(ConfigError):
        Fir(**bad)


@pytest.mark.parametrize(
    "block",
    [
        Fir(30, 8),
        Fir(high_hz=125.0),
        Fir(low_hz=0.0),
        Fir(low_hz=1.0, transition_hz=1e-4),
        Fir(1.0, 2.0, transition_hz=3.0, method="remez"),
    ],
)
def test_settings_that_do_not_fit_the_stream_are_refused(block):
    with pytest.raises(ConfigError, match="got"):
        block.prepare(INFO)
