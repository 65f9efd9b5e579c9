import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import signal

from bci.errors import ConfigError
from bci.signal.bank import FilterBank
from bci.signal.chain import Chain
from bci.signal.filters import Bandpass, Notch
from bci.stream import Channel, Chunk, Kind, StreamInfo
from bci.testing.block import check_block

INFO = StreamInfo("amp", 250.0, tuple(Channel(n) for n in ("C3", "Cz", "C4")))
MIXED = StreamInfo("amp", 250.0, (Channel("C3"), Channel("trig", Kind.TRIG, ""), Channel("C4")))
BANDS = ((4, 8), (8, 12), (12, 30))


def stream(block, data, cuts=(), info=INFO):
    block.prepare(info)
    edges = [0, *sorted(cuts), len(data)]
    return np.concatenate([
        block.process(Chunk(data[a:b], np.arange(a, b) / info.sfreq, a, info)).data
        for a, b in zip(edges[:-1], edges[1:], strict=True)
    ])  # fmt: skip


@pytest.mark.parametrize("make", [lambda: FilterBank(BANDS), lambda: FilterBank([(8, 30)], 3, "chebyshev2")])
def test_bank_keeps_the_law(make):
    check_block(make, INFO)


@settings(deadline=None, max_examples=15)
@given(st.lists(st.integers(0, 600), max_size=30), st.integers(0, 100))
def test_output_is_bit_equal_under_any_cutting(cuts, seed):
    data = np.random.default_rng(seed).standard_normal((600, 3))
    data[:70, 1] = np.nan
    assert np.array_equal(stream(FilterBank(BANDS), data, cuts), stream(FilterBank(BANDS), data, []), equal_nan=True)


def test_every_band_equals_its_band_pass():
    x = np.random.default_rng(0).standard_normal((500, 3)) + 7.0
    y = stream(FilterBank(BANDS), x, [13]).reshape(500, 3, 3)
    for b, (low, high) in enumerate(BANDS):
        assert np.array_equal(y[:, b], stream(Bandpass(low, high), x))


def test_every_band_equals_scipy():
    x = np.random.default_rng(0).standard_normal((500, 3)) + 7.0
    y = stream(FilterBank(BANDS, 3, "elliptic"), x, [13]).reshape(500, 3, 3)
    for b, band in enumerate(BANDS):
        sos = signal.ellip(3, 0.5, 40, band, "bandpass", fs=250, output="sos")
        expected, _ = signal.sosfilt(sos, x, axis=0, zi=signal.sosfilt_zi(sos)[:, :, None] * x[0])
        assert y[:, b] == pytest.approx(expected, abs=1e-10)


def test_names_say_channel_and_band_and_triggers_come_last_unchanged():
    block = FilterBank(BANDS[:2])
    out = block.prepare(MIXED)
    assert out.ch_names == ["C3 4-8 Hz", "C4 4-8 Hz", "C3 8-12 Hz", "C4 8-12 Hz", "trig"]
    x = np.random.default_rng(0).standard_normal((300, 3))
    y = stream(block, x, [50], MIXED)
    assert np.array_equal(y[:, 4], x[:, 1])
    assert np.array_equal(y[:, 3], stream(Bandpass(8, 12), x, [], MIXED)[:, 2])


def test_an_unknown_value_is_unknown_in_every_band_of_its_channel():
    x = np.random.default_rng(0).standard_normal((300, 3))
    x[100:110, 1] = np.nan
    y = stream(FilterBank(BANDS), x, [105]).reshape(300, 3, 3)
    assert np.isnan(y[100:110, :, 1]).all()
    assert np.isnan(y).sum() == 30


def test_a_chain_takes_it_into_one_program():
    chain = Chain([Notch(50.0), FilterBank(BANDS)])
    x = np.random.default_rng(0).standard_normal((500, 3))
    assert chain.run(x, INFO) == pytest.approx(stream(FilterBank(BANDS), stream(Notch(50.0), x)), abs=1e-12)
    chain.prepare(INFO)
    assert len(chain._steps) == 1


def test_stated_delay_is_that_of_the_slowest_band():
    block, slow = FilterBank(BANDS), Bandpass(4, 8)
    block.prepare(INFO)
    slow.prepare(INFO)
    assert block.delay_s == slow.delay_s


@pytest.mark.parametrize("bands", [[], [(8, 12), (8, 12)], [(12, 8)], [(8, 200)]])
def test_bands_that_do_not_fit_are_refused(bands):
    with pytest.raises(ConfigError):
        FilterBank(bands).prepare(INFO)
