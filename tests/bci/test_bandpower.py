import numpy as np
import pytest
from scipy import signal

from bci.errors import ConfigError
from bci.signal import kernels_windowed
from bci.signal.bandpower import BandPower
from bci.signal.filters import Bandpass
from bci.stream import Channel, Chunk, StreamInfo
from bci.testing.block import check_block

SFREQ = 250.0
INFO = StreamInfo("amp", SFREQ, tuple(Channel(n) for n in ("C3", "C4")))
METHODS = ("multitaper", "welch", "dft", "ar", "filter")
RNG = np.random.default_rng(0)


def rows(block, data, info=INFO, cut=1000):
    block.prepare(info)
    times = np.arange(len(data)) / info.sfreq
    edges = range(0, len(data), cut)
    return np.concatenate([block.process(Chunk(data[a : a + cut], times[a : a + cut], a, info)).data for a in edges])


@pytest.mark.parametrize("method", METHODS[1:])
def test_band_power_keeps_the_law(method):
    check_block(lambda: BandPower({"mu": (8, 12), "beta": (13, 30)}, method), INFO)


@pytest.mark.parametrize("method", ["dft", "filter"])
def test_what_is_kept_between_windows_keeps_the_law_at_an_odd_step(method):
    check_block(lambda: BandPower([(1, 4)], method, 0.9, 0.07, "relative", (1, 40)), INFO)


def test_names_and_units_say_what_it_is():
    relative = BandPower({"mu": (8, 12)}, scale="relative", total_hz=(1, 40)).prepare(INFO)
    absolute = BandPower([(8, 12), (13, 30.5)], scale="absolute").prepare(INFO)
    log = BandPower([(8, 12)]).prepare(INFO)
    assert absolute.ch_names == ["C3 8-12 Hz power", "C4 8-12 Hz power", "C3 13-30.5 Hz power", "C4 13-30.5 Hz power"]
    assert relative.ch_names == ["C3 mu relative power", "C4 mu relative power"]
    assert [absolute.channels[0].unit, relative.channels[0].unit, log.channels[0].unit] == ["uV²", "1", "dB"]


@pytest.mark.parametrize("method", METHODS)
def test_white_noise_has_its_share_in_every_band(method):
    noise = 3.0 * RNG.standard_normal((40_000, 2)) + 1000.0
    block = BandPower([(8, 12), (13, 30), (40, 100)], method, scale="absolute", order=4)
    mean = rows(block, noise).mean(axis=0).reshape(3, 2).mean(axis=1)
    # 160 s tell a band of 4 Hz to 4 % (one standard error over the root of 2 x 640), the filter's skirts add 3 %.
    assert np.allclose(mean / (2 * 9.0 * np.array([4, 17, 60]) / SFREQ), 1.0, atol=0.12)


@pytest.mark.parametrize("method", METHODS)
def test_sine_has_half_its_squared_amplitude(method):
    t = np.arange(5000) / SFREQ
    data = np.column_stack([10 * np.sin(2 * np.pi * 10.3 * t), 10 * np.sin(2 * np.pi * 60 * t)])
    data += 2.0 * RNG.standard_normal(data.shape)
    found = rows(BandPower([(7, 14), (25, 35)], method, scale="absolute", bandwidth_hz=3.0), data)[10:].mean(axis=0)
    assert np.allclose(found[0], 50.0, rtol=0.05) and found[3] < 0.7


@pytest.mark.parametrize(("method", "bandwidth_hz"), [("multitaper", 1), ("welch", 4), ("dft", 4), ("ar", 4)])
def test_resonance_has_the_power_of_its_spectrum(method, bandwidth_hz):
    # An AR(2) process has the density 2 / (sfreq |A(f)|²); 400 s of two channels tell its power to about 2 %.
    a = np.array([1.0, -2 * 0.96 * np.cos(2 * np.pi * 10 / SFREQ), 0.96**2])
    data = signal.lfilter([1.0], a, RNG.standard_normal((100_000, 2)), axis=0)
    f = np.linspace(8, 12, 2001)
    _, response = signal.freqz([1.0], a, f, fs=SFREQ)
    truth = np.trapezoid(2 / SFREQ * np.abs(response) ** 2, f)
    found = rows(BandPower([(8, 12)], method, 2.0, 0.5, "absolute", bandwidth_hz=bandwidth_hz), data).mean()
    assert abs(found / truth - 1) < 0.08


def test_welch_is_that_of_scipy():
    data = RNG.standard_normal((500, 2)) + 5
    found = rows(BandPower([(8, 12), (20, 40)], "welch", 2.0, 2.0, "absolute"), data)[0].reshape(2, 2)
    f, density = signal.welch(data, SFREQ, "hann", 250, axis=0)
    for band, (low, high) in zip(found, [(8, 12), (20, 40)], strict=True):
        inside = (f >= low) & (f <= high)
        weights = np.where((f[inside] == low) | (f[inside] == high), 0.5, 1.0)  # half of the edges' bins is inside
        assert np.allclose(band, weights @ density[inside], rtol=1e-10)


@pytest.mark.parametrize("n_bands", [1, 3])  # few frequencies go through a matrix, many through a fast transform
def test_multitaper_is_the_mean_of_tapered_periodograms(n_bands):
    bands = [(8, 12), (20, 60), (60, 125)][:n_bands]
    data = RNG.standard_normal((500, 2)) + 5
    found = rows(BandPower(bands, "multitaper", 2.0, 2.0, "absolute"), data)[0].reshape(n_bands, 2)
    density = np.mean(
        [signal.periodogram(data, SFREQ, taper, axis=0)[1] for taper in signal.windows.dpss(500, 4.0, 7)], axis=0
    )
    f = np.arange(251) / 2
    for band, (low, high) in zip(found, bands, strict=True):
        inside = (f >= low) & (f <= high)
        weights = np.where((f[inside] == low) | (f[inside] == high), 0.25, 0.5)
        weights[f[inside] == SFREQ / 2] = 0.25
        assert np.allclose(band, weights @ density[inside], rtol=1e-9)


@pytest.mark.parametrize("band", [(0.5, 3), (8, 12), (100, 125)])  # beside 0 Hz, inside, up to the end
def test_sliding_dft_is_a_hann_periodogram_however_long_it_runs(band):
    data = RNG.standard_normal((25_000, 2)) + 1e4
    data[300:310] = 1e9  # what has left the window leaves no trace
    found = rows(BandPower([band], "dft", 1.0, 0.1, "absolute"), data)[-1]
    # scipy takes the plain mean out before the window; the DFT takes it out of the window's transform: the same.
    f, density = signal.periodogram(data[-250:], SFREQ, "hann", axis=0, detrend="constant")
    weights = np.clip(np.minimum(f + 0.5, band[1]) - np.maximum(f - 0.5, band[0]), 0, None)
    assert np.allclose(found, weights @ density, rtol=1e-8)


def test_filter_power_is_the_mean_square_behind_the_band_pass():
    data = RNG.standard_normal((2500, 2))
    found = rows(BandPower([(8, 12)], "filter", 0.5, 0.1, "absolute"), data)
    band_pass = Bandpass(8, 12)
    band_pass.prepare(INFO)
    filtered = band_pass.process(Chunk(data, np.arange(2500) / SFREQ, 0, INFO)).data
    truth = [(filtered[stop - 125 : stop] ** 2).mean(axis=0) for stop in range(125, 2501, 25)]
    assert np.allclose(found, truth, rtol=1e-9)


@pytest.mark.parametrize("method", METHODS)
def test_channel_that_comes_late_has_its_power_as_soon_as_it_fills_a_window(method):
    data = RNG.standard_normal((2500, 2)) + 1e5
    late = data.copy()
    late[:1013, 1] = np.nan
    found, truth = (rows(BandPower([(4, 8)], method, scale="absolute"), one) for one in (late, data))
    first = 41  # the first row whose window, which begins with sample 41 * 25, is known
    assert np.isnan(found[:first, 1]).all() and np.allclose(found[:, 0], truth[:, 0])
    assert np.allclose(found[first:, 1], truth[first:, 1], rtol=1e-6) or method == "filter"
    assert (found[first:, 1] < 1.0).all()  # no trace of a step of 1e5; the true power is about 0.03


def test_relative_powers_of_a_partition_sum_to_one_and_log_is_decibels():
    data = RNG.standard_normal((1000, 2))
    relative = rows(BandPower([(4, 8), (8, 20), (20, 40)], scale="relative"), data).reshape(-1, 3, 2)
    assert np.allclose(relative.sum(axis=1), 1.0)
    absolute, log = (rows(BandPower([(8, 12)], scale=scale), data) for scale in ("absolute", "log"))
    assert np.allclose(log, 10 * np.log10(absolute))
    assert (rows(BandPower([(8, 12)]), np.zeros((500, 2))) == -120.0).all()


def yule_walker_of_burg(x, order):
    """Burg's recursion, written for one channel."""
    x = x - x.mean()
    f, b, a, error = x[1:], x[:-1], np.array([1.0]), (x**2).mean()
    for _ in range(order):
        k = -2 * (f @ b) / (f @ f + b @ b)
        a = np.append(a, 0.0)
        a, error = a + k * a[::-1], error * (1 - k * k)
        f, b = (f + k * b)[1:], (b + k * f)[:-1]
    return a, error


def test_burg_recursion_is_that_of_the_paper_and_finds_the_model():
    truth = np.array([1.0, -1.5, 0.9])
    x = signal.lfilter([1.0], truth, RNG.standard_normal((4000, 2)), axis=0)
    best, error = np.zeros((6, 2)), np.zeros(2)
    kernels_windowed.burg(x, 5, best, error)
    for c in range(2):
        a, e = yule_walker_of_burg(x[:, c], 5)
        assert np.allclose(best[:, c], a, rtol=1e-9, atol=1e-12) and np.isclose(error[c], e)
    assert np.allclose(best[:3].T, truth, atol=0.06) and np.allclose(error, 1.0, atol=0.1)


def test_order_with_least_aicc_is_that_of_the_process():
    best, error = np.zeros((21, 40)), np.zeros(40)
    x = signal.lfilter([1.0], [1.0, -1.5, 0.9, 0.1, -0.4], RNG.standard_normal((500, 40)), axis=0)[100:]
    kernels_windowed.burg(np.ascontiguousarray(x), 1, best, error)
    orders = (best != 0).sum(axis=0) - 1
    assert np.median(orders) == 4 and (orders >= 4).all()


@pytest.mark.parametrize(
    ("settings", "match"),
    [
        ({"bands": [(12, 8)]}, "rising"),
        ({"bands": []}, "at least one band"),
        ({"bands": [(8, 12)], "method": "fft"}, "multitaper"),
        ({"bands": [(8, 12)], "order": 0}, "order"),
        ({"bands": [(8, 130)]}, "half the sampling rate"),
        ({"bands": [(8, 12)], "window_s": 0.2}, "closer than 5 Hz"),
        ({"bands": [(8, 18)], "window_s": 0.15, "method": "ar"}, "at least 48 samples"),
    ],
)
def test_band_power_says_what_it_needs(settings, match):
    with pytest.raises(ConfigError, match=match):
        BandPower(**settings).prepare(INFO)
