"""The zero-phase twin: what it is for each step, and which blocks have none."""

import numpy as np
import pytest
from scipy import signal

from bci.errors import ConfigError, DataError
from bci.signal.bank import FilterBank
from bci.signal.chain import Chain
from bci.signal.decimate import Decimate
from bci.signal.detrend import Detrend
from bci.signal.filters import Bandpass, Notch
from bci.signal.fir import Fir
from bci.signal.fixed import FixedFilter
from bci.signal.fractional import FractionalDelay
from bci.signal.line import LineCanceller
from bci.signal.power import BinPower
from bci.signal.resample import Resample
from bci.signal.spatial import Pick, Reference, SpatialFilter
from bci.signal.twin import to_offline
from bci.signal.whiten import Whiten
from bci.stream import Channel, Kind, StreamInfo

INFO = StreamInfo("amp", 250.0, (*(Channel(n) for n in ("C3", "Cz", "C4")), Channel("stim", Kind.TRIG, "")))


def noise(n=3000):
    data = 20 * np.random.default_rng(0).standard_normal((n, 4)) + 100.0
    data[:, 3] = np.arange(n) % 5
    return data


def test_recursive_filters_go_both_ways():
    sos = signal.butter(4, [8, 30], "bandpass", fs=250, output="sos")
    made = to_offline(Bandpass(8, 30)).apply(noise(), INFO)
    assert np.array_equal(made[:, :3], signal.sosfiltfilt(sos, noise()[:, :3], axis=0))
    assert np.array_equal(made[:, 3], noise()[:, 3])


def test_symmetric_taps_are_those_of_mne():
    mne = pytest.importorskip("mne", reason="needs mne")
    taps = mne.filter.create_filter(None, 250.0, 8.0, 30.0, verbose="error")
    expected = mne.filter.filter_data(noise().T[:3], 250.0, 8.0, 30.0, verbose="error").T
    made = to_offline(FixedFilter(250.0, taps=taps)).apply(noise(), INFO)[:, :3]
    assert made[500:-500] == pytest.approx(expected[500:-500], abs=1e-9)  # mne pads the ends otherwise


def test_taps_that_are_not_symmetric_go_both_ways():
    block = Fir(8, 30, n_taps=101, phase="minimum")
    block.prepare(INFO)
    (stage,) = block.stages()
    expected = signal.filtfilt(stage.taps, [1.0], noise()[:, :3], axis=0)
    assert to_offline(block).apply(noise(), INFO)[:, :3] == pytest.approx(expected, abs=1e-12)


def test_a_chain_has_the_twin_of_its_blocks():
    chain = Chain([Pick("eeg"), Chain([Notch(50), Reference()]), FilterBank([(8, 12), (12, 30)]), Decimate(5)])
    made = to_offline(chain).apply(noise(), INFO)
    x = to_offline([Notch(50)]).apply(noise(), INFO)[:, :3]
    x = x - x.mean(axis=1, keepdims=True)
    sos = signal.ellip(8, 0.05, 80.0, 0.8 / 5, output="sos")
    for k, band in enumerate([(8, 12), (12, 30)]):
        y = signal.sosfiltfilt(signal.butter(4, band, "bandpass", fs=250, output="sos"), x, axis=0)
        assert made[:, 3 * k : 3 * k + 3] == pytest.approx(signal.sosfiltfilt(sos, y, axis=0)[::5], abs=1e-9)


@pytest.mark.parametrize("to_hz", [100.0, 160.0, 500.0, 375.0])
def test_resampled_waves_are_where_they_were(to_hz):
    wave = np.cos(2 * np.pi * 11.0 * np.arange(3000)[:, None] / 250.0 + np.arange(4))
    wave[:, 3] = np.arange(3000) // 500
    made = to_offline(Resample(to_hz)).apply(wave, INFO)
    t = np.arange(len(made)) / to_hz
    assert len(made) == 12 * to_hz
    inside = (t > 1) & (t < 11)
    assert np.abs(made[:, :3] - np.cos(2 * np.pi * 11.0 * t[:, None] + np.arange(3)))[inside].max() < 3e-4
    assert np.array_equal(made[:, 3], np.floor(t * 250 + 1e-9) // 500)


def test_steps_over_channels_are_as_live_and_gaps_stay():
    data = noise()
    data[1000:1200] = np.nan
    matrix = SpatialFilter(np.eye(3)[::-1], "abc", channels=("C3", "Cz", "C4"))
    made = to_offline([matrix, Bandpass(8, 30)]).apply(data, INFO)
    assert np.isnan(made[1000:1200]).all()
    expected = to_offline(Bandpass(8, 30)).apply(data[1200:], INFO)[:, 2::-1]
    assert np.array_equal(made[1200:], expected)


@pytest.mark.parametrize(
    "block",
    [
        Whiten(),
        LineCanceller(),
        BinPower(0.1),
        Detrend(),
        FractionalDelay(0.001),
        FractionalDelay([0.0, 0.001, 0.0, 0.0]),
    ],
)
def test_what_has_no_twin_is_named(block):
    with pytest.raises(ConfigError, match=f"got {type(block).__name__}, which has no zero-phase"):
        to_offline(Chain([Notch(50), block])).apply(noise(), INFO)


def test_a_value_that_is_unknown_in_one_channel_is_refused():
    data = noise()
    data[50, 1] = np.nan
    with pytest.raises(DataError, match="1 unknown"):
        to_offline(Bandpass(8, 30)).apply(data, INFO)
    with pytest.raises(DataError, match="StreamInfo"):
        to_offline(Bandpass(8, 30)).apply(data)


def test_a_recording_of_mne_gives_one():
    mne = pytest.importorskip("mne", reason="needs mne")
    info = mne.create_info(INFO.ch_names, 250.0, ["eeg", "eeg", "eeg", "stim"])
    raw = mne.io.RawArray(noise().T * [[1e-6], [1e-6], [1e-6], [1.0]], info, verbose="error")
    raw.set_annotations(mne.Annotations([1.0], [2.0], ["task"]))
    made = to_offline([Bandpass(8, 30), Decimate(2)]).apply(raw)
    assert made.info["sfreq"] == 125.0 and list(made.annotations.description) == ["task"]
    expected = to_offline([Bandpass(8, 30), Decimate(2)]).apply(noise(), INFO)
    assert made.get_data().T[:, :3] * 1e6 == pytest.approx(expected[:, :3], abs=1e-9)
