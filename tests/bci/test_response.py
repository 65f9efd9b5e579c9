"""Frequency response, delay and memory of a chain: against scipy, and against what comes out of the stream."""

import numpy as np
import pytest
from scipy import signal

from bci.errors import ConfigError, DataError
from bci.signal.bank import FilterBank
from bci.signal.chain import Chain
from bci.signal.decimate import Decimate
from bci.signal.filters import Bandpass, Highpass, Lowpass, Notch
from bci.signal.fir import Fir
from bci.signal.fractional import FractionalDelay
from bci.signal.line import LineCanceller
from bci.signal.power import BinPower
from bci.signal.resample import Resample
from bci.signal.response import delays, linear_run, paths
from bci.signal.spatial import Bipolar, Pick, Reference
from bci.signal.whiten import Whiten
from bci.stream import Channel, Kind, StreamInfo

INFO = StreamInfo("amp", 1000.0, (*(Channel(n) for n in ("C3", "Cz", "C4")), Channel("stim", Kind.TRIG, "")))
HZ = np.array([2.0, 7.5, 20.0, 50.0, 110.0])


def prepared(*blocks, info=INFO):
    chain = Chain(blocks)
    chain.prepare(info)
    return chain


def measured(chain, hz, source):
    """Return what comes out, for a complex wave of 40 s on one channel, as complex amplitudes."""
    t = np.arange(40_000) / 1000.0
    out = 0
    for part, wave in ((1, np.cos), (1j, np.sin)):
        data = np.zeros((len(t), INFO.n_channels))
        data[:, INFO.index(source)] = wave(2 * np.pi * hz * t)
        out = out + part * chain.run(data, INFO)
    at = np.arange(len(out)) / chain.infos[-1].sfreq
    amplitudes = out * np.exp(-2j * np.pi * hz * at)[:, None]
    return amplitudes[len(out) // 2 :].mean(axis=0)


# ------------------------------------------------------------------ against scipy
@pytest.mark.parametrize(
    ("block", "sos"),
    [
        (Bandpass(8, 30), signal.butter(4, [8, 30], "bandpass", fs=1000, output="sos")),
        (Highpass(1, 3, "elliptic", 0.5, 40), signal.ellip(3, 0.5, 40, 1, "highpass", fs=1000, output="sos")),
        (Lowpass(40, 5, "bessel"), signal.bessel(5, 40, "lowpass", norm="mag", fs=1000, output="sos")),
        (Notch(50, False), signal.tf2sos(*signal.iirnotch(50, 30, fs=1000))),
    ],
)
def test_recursive_filters_respond_as_scipy_says(block, sos):
    expected = signal.sosfreqz(sos, HZ, fs=1000)[1]
    assert prepared(block).response(HZ) == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("phase", ["linear", "minimum"])
def test_taps_respond_as_scipy_says(phase):
    block = Fir(8, 30, n_taps=501, phase=phase)
    chain = prepared(block)
    (stage,) = block.stages()
    assert chain.response(HZ) == pytest.approx(signal.freqz(stage.taps, 1, HZ, fs=1000)[1], abs=1e-9)


# ------------------------------------------------------------------ against the stream
CHAINS = {
    "usual": (lambda: [Notch(50), Reference(), Bandpass(8, 30), Decimate(4), Lowpass(20)], 1e-9),
    "bank": (lambda: [FilterBank([(4, 8), (12, 30)]), Decimate(2)], 1e-9),
    "pairs": (lambda: [Bipolar((("C3", "Cz"), ("C4", "C3"))), Fir(8, 30, n_taps=301)], 1e-9),
    "shifts": (lambda: [FractionalDelay([0.0, 0.0013, -0.0004, 0.0]), Pick("eeg")], 1e-9),
    "down": (lambda: [Highpass(1), Resample(256)], 1e-4),  # the images are 80 dB down
    "up": (lambda: [Resample(1500), Lowpass(40)], 1e-4),
}


@pytest.mark.parametrize("name", CHAINS)
def test_the_stream_answers_as_the_response_says(name):
    make, within = CHAINS[name]
    chain = prepared(*make())
    for source in ("C3", "Cz"):
        said = chain.response(HZ, source)
        for k, hz in enumerate(HZ):
            assert np.abs(measured(chain, hz, source) - said[k]).max() < within


def test_what_folds_is_told_at_the_frequency_that_comes_in():
    chain = prepared(Decimate(4))
    (said,) = chain.response([180.0])  # comes out at 70 Hz, below half of 250 Hz
    assert 1e-6 < abs(said) < 1e-3
    assert measured(chain, 180.0, "C3")[0] == pytest.approx(said, abs=1e-9)


# ------------------------------------------------------------------ over time, and what has none
def test_without_a_source_only_filters_over_time_count():
    alone, referred = prepared(Bandpass(8, 30)), prepared(Pick("eeg"), Reference(), Chain([Bandpass(8, 30)]))
    assert np.array_equal(alone.response(HZ), referred.response(HZ))
    assert referred.response(HZ, "Cz")[:, 1] == pytest.approx(2 / 3 * alone.response(HZ))
    assert prepared().response(HZ) == pytest.approx(np.ones(5))


def test_a_bank_has_a_column_for_each_band():
    said = prepared(FilterBank([(4, 8), (12, 30)])).response(HZ)
    for k, band in enumerate([(4, 8), (12, 30)]):
        assert np.array_equal(said[:, k], prepared(Bandpass(*band)).response(HZ))


def test_a_trigger_is_not_filtered():
    assert np.array_equal(prepared(Bandpass(8, 30)).response(HZ, "stim")[:, 3], np.ones(5))
    assert np.array_equal(prepared(Resample(500)).response(HZ, "stim")[:, 3], np.ones(5))


@pytest.mark.parametrize("block", [LineCanceller(), Whiten(), BinPower(0.1)])
def test_what_adapts_or_is_not_linear_is_named(block):
    chain = prepared(Bandpass(8, 30), block)
    with pytest.raises(ConfigError, match=type(block).__name__):
        chain.response(HZ)


def test_skip_leaves_out_what_keeps_the_signals_and_ends_before_features():
    chain = prepared(LineCanceller(), Bandpass(8, 30), BinPower(0.1), Lowpass(2))
    assert np.array_equal(chain.response(HZ, skip=True), prepared(Bandpass(8, 30)).response(HZ))
    assert linear_run(chain).in_words() == "without LineCanceller (no fixed response); up to BinPower"


def test_a_chain_that_is_not_prepared_says_so():
    with pytest.raises(DataError, match="prepare"):
        Chain([Bandpass(8, 30)]).response(HZ)


# ------------------------------------------------------------------ delay and memory
@pytest.mark.parametrize("block", [Bandpass(8, 30), Lowpass(40), Fir(8, 30), Decimate(4), Resample(256)])
def test_the_stated_delay_is_the_slope_of_the_phase(block):
    at_hz = {"Bandpass": np.sqrt(240.0), "Fir": 19.0}.get(type(block).__name__, 0.5)
    (path,) = paths(linear_run(prepared(block)).links)
    assert delays([path], np.array([at_hz]))[0, 0] == pytest.approx(block.delay_s, rel=1e-3)


def test_a_pulse_is_answered_by_the_taps():
    block = Fir(8, 30, n_taps=301)
    (path,) = paths(linear_run(prepared(block)).links)
    times, answer = path.pulse()
    (stage,) = block.stages()
    assert answer[times >= 0][:301] == pytest.approx(stage.taps, abs=1e-15) and not answer[times < 0].any()


@pytest.mark.parametrize("block", [Bandpass(8, 30), Highpass(1), Notch(50, False), Fir(8, 30, n_taps=301), Decimate(5)])
def test_after_the_settling_time_no_disturbance_counts(block):
    chain = prepared(block)
    (path,) = paths(linear_run(chain).links)
    settled_s = path.settling_s()
    _, pulse = path.pulse()
    rng = np.random.default_rng(0)
    data = np.zeros((4000 + int(1000 * settled_s) + 2000, 4))
    data[2:4000, :3] = rng.choice([-1.0, 1.0], (3998, 3))
    out = chain.run(data, INFO)[:, :3]
    late = np.arange(len(out)) / chain.infos[-1].sfreq > 4.0 + settled_s
    assert np.abs(out[late]).max() <= 0.0101 * np.abs(pulse).sum() * 5  # five phases of a decimated pulse at most
    early = np.arange(len(out)) / chain.infos[-1].sfreq > 4.0
    assert np.abs(out[early]).max() > np.abs(out[late]).max()


# ------------------------------------------------------------------ in words and as a picture
def test_a_description_says_what_each_block_does():
    chain = prepared(Notch(50), Reference(), Bandpass(8, 30), Decimate(4), BinPower(0.1))
    lines = chain.describe().splitlines()
    assert lines[0] == "Chain for 'amp': 4 channels at 1000 Hz"
    assert lines[1].split() == ["block", "comes", "out", "delay", "ms", "settles", "ms"]
    assert lines[4].split()[:6] == ["Bandpass(low_hz=8,", "high_hz=30)", "4", "at", "1000", "Hz"]
    assert lines[6].split()[-2:] == ["48.0", "?"]  # (25 samples - 1) / 2 at 250 Hz; power has no response
    assert "Lets through 8.01 to 30 Hz (-3 dB)" in lines[8] and lines[9] == "That is up to BinPower."


def test_cost_is_measured_where_it_is_asked_for():
    chain = prepared(Notch(50), Bandpass(8, 30))
    before = chain.run(np.ones((50, 4)), INFO)
    rows = [line.split() for line in chain.describe(measure=True, chunk_samples=10).splitlines()[2:5]]
    assert all(float(row[-1]) > 0 for row in rows)
    assert np.array_equal(chain.run(np.ones((50, 4)), INFO), before)


def test_bands_that_are_alike_share_a_line():
    info = StreamInfo("amp", 250.0, tuple(Channel(f"E{k}") for k in range(64)))
    lines = prepared(FractionalDelay([1e-6 * k for k in range(64)]), Fir(8, 30), info=info).describe().splitlines()
    assert sum(line.startswith("Lets through") for line in lines) == 1


@pytest.mark.parametrize(
    "blocks", [[Notch(50), Reference(), Bandpass(8, 30), Decimate(4), Whiten()], CHAINS["bank"][0]()]
)
def test_a_picture_shows_every_band_four_times(blocks, tmp_path):
    chain = prepared(*blocks)
    figure = chain.plot()
    figure.savefig(tmp_path / "chain.png", dpi=40)
    gain, delay, pulse, step = figure.axes[:4]
    n = 2 if isinstance(blocks[0], FilterBank) else 1
    assert [len(a.lines) for a in (gain, delay, pulse, step)] == [n, n, n, n + 1]
    hz, decibel = gain.lines[0].get_data()
    said = 20 * np.log10(np.abs(chain.response(hz, skip=True).reshape(len(hz), -1)[:, 0]))
    seen = said > -100
    assert decibel[seen] == pytest.approx(said[seen])
    _, answer = step.lines[0].get_data()
    assert np.abs(answer[:3]).max() < 1e-9  # an offset at the start is no transient
    assert ("up to Whiten" in figure.get_suptitle()) == (n == 1)


def test_nothing_to_draw_is_an_error():
    with pytest.raises(ConfigError, match="got BinPower"):
        prepared(BinPower(0.1)).plot()
