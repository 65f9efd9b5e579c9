import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import signal

from bci.errors import ConfigError
from bci.signal.detrend import Detrend
from bci.stream import Channel, Chunk, Kind, StreamInfo
from bci.testing.block import check_block

INFO = StreamInfo("amp", 250.0, tuple(Channel(n) for n in ("C3", "Cz", "C4")))
T = np.arange(5000) / 250.0


def noise(seed=0, n=5000):
    return 10 * np.random.default_rng(seed).standard_normal((n, 3))


def stream(block, data, cuts=(), info=INFO):
    block.prepare(info)
    edges = [0, *sorted(cuts), len(data)]
    return np.concatenate([
        block.process(Chunk(data[a:b], np.arange(a, b) / info.sfreq, a, info)).data
        for a, b in zip(edges[:-1], edges[1:], strict=True)
    ])  # fmt: skip


@pytest.mark.parametrize("make", [Detrend, lambda: Detrend(0.3, 1), lambda: Detrend(limit=np.inf)])
def test_detrend_keeps_the_law(make):
    check_block(make, INFO)


@pytest.mark.parametrize("order", [0, 1])
@settings(deadline=None, max_examples=10)
@given(st.lists(st.integers(0, 900), max_size=30), st.integers(0, 100))
def test_output_is_bit_equal_under_any_cutting(order, cuts, seed):
    data = noise(seed, 900)
    data[:70, 1] = np.nan
    data[400:, 2] += 300.0
    one = stream(Detrend(order=order, patience_s=0.2), data, cuts)
    assert np.array_equal(one, stream(Detrend(order=order, patience_s=0.2), data), equal_nan=True)


@pytest.mark.parametrize("order", [0, 1])
def test_it_is_the_linear_filter_of_theory_once_the_start_is_forgotten(order):
    x = noise() + 50.0
    keep = np.exp(-1 / (0.2 * 250))
    b, a = np.array([keep, -keep]), np.array([1.0, -keep])
    if order == 1:
        b, a = np.convolve(b, b), np.convolve(a, a)
    expected = signal.lfilter(b, a, x, axis=0)
    assert stream(Detrend(0.2, order, np.inf), x, [70])[2500:] == pytest.approx(expected[2500:], abs=1e-9)


def test_at_first_the_level_is_the_mean_so_far():
    x = noise()
    means = np.cumsum(x, axis=0) / np.arange(1, 5001)[:, None]
    assert stream(Detrend(10.0), x)[:500] == pytest.approx((x - means)[:500], abs=1e-9)


def test_at_first_the_line_is_the_least_squares_line_so_far():
    x = noise() + 100.0 * T[:, None]
    y = stream(Detrend(10.0, 1), x)
    for n in (2, 3, 10, 100, 400):
        k = np.arange(n)
        fit = np.polynomial.polynomial.polyfit(k, x[:n], 1)
        assert y[n - 1] == pytest.approx(x[n - 1] - fit[0] - fit[1] * (n - 1), abs=1e-6)


@pytest.mark.parametrize("level", [0.0, 1e5, -3e5])
def test_an_offset_gives_no_transient(level):
    assert np.abs(stream(Detrend(), np.full((500, 3), level), [3])).max() == 0.0


def test_a_drift_leaves_its_lag_in_order_0_and_nothing_in_order_1():
    x = np.repeat(40.0 * T[:, None], 3, axis=1) + 1e4
    lag = 40.0 / 250 * np.exp(-1 / 250) / (1 - np.exp(-1 / 250))  # about drift times time constant
    assert stream(Detrend(1.0, 0), x)[4000:] == pytest.approx(np.full((1000, 3), lag), rel=1e-4)
    assert np.abs(stream(Detrend(1.0, 1), x)[2:]).max() < 1e-6


def test_an_artefact_does_not_bend_the_level():
    x = noise()
    blink = x.copy()
    blink[2000:2075] += 400.0
    clean, robust = stream(Detrend(), x), stream(Detrend(), blink)
    plain = stream(Detrend(limit=np.inf), blink)
    assert np.abs((robust - clean)[2075:]).max() < 5.0
    assert np.abs((plain - clean)[2075:]).max() > 80.0


def test_a_jump_that_stays_becomes_the_level_after_the_patience():
    x = noise()
    x[2000:] += 5000.0
    y = stream(Detrend(patience_s=0.5), x)
    assert y[2000:2120].min() > 4900.0
    assert np.abs(y[2125:]).max() < 60.0


def test_a_flat_channel_that_comes_alive_is_followed_again():
    x = noise()
    x[:2000] = 7.0
    y = stream(Detrend(), x)
    assert (y[:2000] == 0).all()
    assert np.abs(y[2300:].mean(axis=0)).max() < 1.0


def test_unknown_values_stay_where_they_are():
    x = noise()
    x[1000:1100, 1] = np.nan
    y = stream(Detrend(), x, [1050])
    assert np.array_equal(np.isnan(y), np.isnan(x))


def test_triggers_pass_unchanged():
    info = StreamInfo("amp", 250.0, (Channel("C3"), Channel("trig", Kind.TRIG, "")))
    x = noise()[:, :2]
    assert np.array_equal(stream(Detrend(), x, [5], info)[:, 1], x[:, 1])


@pytest.mark.parametrize(
    "make",
    [
        lambda: Detrend(0.0),
        lambda: Detrend(order=2),
        lambda: Detrend(limit=1.0),
        lambda: Detrend(patience_s=0.0),
        lambda: Detrend(0.005).prepare(INFO),
    ],
)
def test_what_does_not_fit_is_refused(make):
    with pytest.raises(ConfigError, match="got"):
        make()
