import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import signal

from bci.errors import ConfigError
from bci.signal.chain import Chain
from bci.signal.filters import Lowpass
from bci.signal.resample import Resample
from bci.stream import Channel, Chunk, Event, Flag, Kind, StreamInfo
from bci.testing.block import check_block

INFO = StreamInfo("amp", 250.0, (Channel("C3"), Channel("Cz"), Channel("C4")))
RATES = (100.0, 125.0, 160.0, 250.0, 256.0, 500.0, 333.0)


def stream(block, data, cuts=(), begin=0, info=INFO):
    block.prepare(info)
    edges = [0, *sorted(cuts), len(data)]
    chunks = [
        block.process(Chunk(data[a:b], 3.0 + np.arange(begin + a, begin + b) / info.sfreq, begin + a, info))
        for a, b in zip(edges[:-1], edges[1:], strict=True)
    ]
    return np.concatenate([c.data for c in chunks]), np.concatenate([c.times for c in chunks]), chunks


@pytest.mark.parametrize("to_hz", [100.0, 256.0])
def test_resample_keeps_the_law(to_hz):
    check_block(lambda: Resample(to_hz), INFO)


@pytest.mark.parametrize("to_hz", RATES)
@settings(deadline=None, max_examples=8)
@given(st.lists(st.integers(0, 900), max_size=30), st.integers(0, 1000))
def test_output_is_bit_equal_under_any_cutting(to_hz, cuts, begin):
    data = np.random.default_rng(0).standard_normal((900, 3))
    data[500:503, 2] = np.nan
    whole, times, _ = stream(Resample(to_hz), data, begin=begin)
    again, times_again, _ = stream(Resample(to_hz), data, cuts, begin)
    assert np.array_equal(whole, again, equal_nan=True)
    assert np.array_equal(times, times_again)


@pytest.mark.parametrize("to_hz", RATES)
def test_output_equals_upfirdn_from_the_first_sample(to_hz):
    block = Resample(to_hz)
    x = np.random.default_rng(0).standard_normal((600, 3)) + 20.0
    y, _, _ = stream(block, x, [100, 333])
    pad = -(-len(block.taps) // (block.up * block.down)) * block.down  # whole output samples of the first value
    padded = np.vstack([np.repeat(x[:1], pad, axis=0), x])
    expected = signal.upfirdn(block.taps, padded, block.up, block.down, axis=0)[pad * block.up // block.down :]
    assert y == pytest.approx(expected[: len(y)], abs=1e-10)
    assert len(y) == -(-600 * block.up // block.down)


@pytest.mark.parametrize("to_hz", [100.0, 256.0, 333.0])
def test_sines_come_out_later_by_the_stated_delay(to_hz):
    block = Resample(to_hz)
    t = np.arange(2000) / 250.0
    x = np.repeat((np.sin(2 * np.pi * 7 * t) + np.cos(2 * np.pi * 23 * t))[:, None], 3, axis=1)
    y, times, _ = stream(block, x, [900])
    late = times - 3.0 - block.delay_s
    expected = np.sin(2 * np.pi * 7 * late) + np.cos(2 * np.pi * 23 * late)
    assert y[200:-200, 0] == pytest.approx(expected[200:-200], abs=4e-4)


def test_output_is_that_of_resample_poly_later_by_half_the_filter():
    block = Resample(500.0)
    x = np.random.default_rng(0).standard_normal((1000, 3))
    y, _, _ = stream(block, x, [400])
    offline = signal.resample_poly(x, block.up, block.down, axis=0, window=block.taps / block.up)
    half = (len(block.taps) - 1) // 2
    assert y[2 * half :] == pytest.approx(offline[half:-half], abs=1e-10)


@pytest.mark.parametrize("to_hz", [100.0, 160.0])
def test_what_would_fold_into_the_pass_band_is_far_down(to_hz):
    t = np.arange(3000) / 250.0
    folds = 1.2 * to_hz / 2 + 1.0
    y, _, _ = stream(Resample(to_hz), np.repeat(np.sin(2 * np.pi * folds * t)[:, None], 3, axis=1))
    assert np.abs(y[300:]).max() < 2e-4


def test_up_makes_no_images():
    t = np.arange(3000) / 250.0
    y, _, _ = stream(Resample(1000.0), np.repeat(np.sin(2 * np.pi * 90 * t)[:, None], 3, axis=1))
    power = np.abs(np.fft.rfft(y[4000:8000, 0] * np.hanning(4000))) ** 2
    hz = np.fft.rfftfreq(4000, 1 / 1000)
    assert power[np.abs(hz - 90) > 3].max() < 1e-7 * power.max()


@pytest.mark.parametrize("to_hz", RATES)
def test_a_constant_stays_a_constant(to_hz):
    y, _, _ = stream(Resample(to_hz), np.full((500, 3), 1e5), [3])
    assert y == pytest.approx(np.full_like(y, 1e5), rel=1e-13)


@pytest.mark.parametrize("to_hz", RATES)
def test_samples_stand_at_their_number_over_the_rate_across_a_gap(to_hz):
    block = Resample(to_hz)
    out = block.prepare(INFO)
    found = []
    for a, b in ((0, 37), (37, 38), (38, 400), (733, 900)):
        found.append(block.process(Chunk(np.zeros((b - a, 3)), np.arange(a, b) / 250.0, a, INFO)))
    for chunk in found:
        assert chunk.times == pytest.approx(np.arange(chunk.start, chunk.stop) / out.sfreq, abs=1e-9)
    assert [Flag.GAP in c.flags for c in found] == [False, False, False, True]


@pytest.mark.parametrize("to_hz", [100.0, 256.0])
@pytest.mark.parametrize("size", [1, 3, 100])
def test_an_event_stays_on_the_first_sample_at_or_after_it(to_hz, size):
    block = Resample(to_hz)
    out = block.prepare(INFO)
    found = []
    for a in range(0, 300, size):
        events = tuple(Event(k, k / 250, str(k)) for k in range(a, a + size) if k % 7 == 0)
        chunk = block.process(Chunk(np.zeros((size, 3)), np.arange(a, a + size) / 250, a, INFO, events))
        assert all(e.sample < chunk.stop for e in chunk.events)
        found += chunk.events
    wanted = [(str(k), int(np.ceil(k / 250 * out.sfreq - 1e-9))) for k in range(0, 290, 7)]
    assert [(e.code, e.sample) for e in found][: len(wanted)] == wanted


def test_an_unknown_value_is_unknown_where_it_is_and_nowhere_else():
    x = np.random.default_rng(0).standard_normal((500, 3))
    x[200:250, 1] = np.nan
    y, _, _ = stream(Resample(100.0), x, [222])
    numbers = np.flatnonzero(np.isnan(y[:, 1]))
    # Samples 248 and 249 come with no output; the next one, 250, tells of them.
    assert (numbers[0], numbers[-1], len(numbers)) == (80, 100, 21)
    assert np.isfinite(y[:, [0, 2]]).all()


@pytest.mark.parametrize("cuts", [[], [201], [202], [201, 202]])
def test_an_unknown_value_between_two_outputs_is_not_lost(cuts):
    x = np.zeros((500, 3))
    x[201, 1] = np.nan
    y, _, chunks = stream(Resample(50.0), x, cuts)
    assert np.argwhere(np.isnan(y)).tolist() == [[41, 1]]
    assert sum(Flag.NAN in c.flags for c in chunks) == 1


def test_triggers_take_the_value_of_their_sample():
    info = StreamInfo("amp", 250.0, (Channel("C3"), Channel("trig", Kind.TRIG, "")))
    x = np.repeat(np.arange(500.0)[:, None], 2, axis=1)
    y, _, _ = stream(Resample(100.0), x, [77], info=info)
    assert np.array_equal(y[:, 1], np.arange(200) * 5 // 2)


def test_a_chain_goes_on_at_the_new_rate():
    chain = Chain([Resample(100.0), Lowpass(20.0)])
    assert chain.prepare(INFO).sfreq == 100.0
    assert chain.delay_s == pytest.approx(sum(b.delay_s for b in chain.blocks))


@pytest.mark.parametrize(
    "bad", [{"to_hz": 0.0}, {"to_hz": 100.0, "passband": 1.0}, {"to_hz": 1.0, "attenuation_db": 9}]
)
def test_settings_out_of_range_are_refused(bad):
    with pytest.raises(ConfigError):
        Resample(**bad)


@pytest.mark.parametrize("to_hz", [0.1, 1e6])
def test_a_rate_too_far_away_is_refused(to_hz):
    with pytest.raises(ConfigError, match="two steps"):
        Resample(to_hz).prepare(INFO)
