from dataclasses import replace

import numpy as np
import pytest
from scipy.signal import butter, sosfilt

from bci.errors import ConfigError, DataError
from bci.signal.emg import EmgEnvelope
from bci.signal.heart import HeartRate, RPeaks
from bci.signal.rate import EventRate
from bci.stream import Channel, Chunk, Event, Flag, Kind, StreamInfo
from bci.testing.block import check_block

INFO = StreamInfo("body", 250.0, (Channel("ECG", Kind.ECG), Channel("C3"), Channel("EMG", Kind.EMG)))
FAST = StreamInfo("arm", 1000.0, (Channel("FDI", Kind.EMG), Channel("STI", Kind.TRIG, "")))
BLOCKS = {
    "peaks": RPeaks,
    "heart rate": lambda: HeartRate("C3", step_s=0.1),
    "rectified": EmgEnvelope,
    "rms": lambda: EmgEnvelope("rms", window_s=0.1),
    "rate": lambda: EventRate("e7", 5.0, 0.5),
}
# Amplitude in uV, time from the R peak and width in s of the waves P, Q, R, S, T of a healthy heart.
WAVES = ((100, -0.17, 0.025), (-120, -0.03, 0.01), (1000, 0, 0.011), (-250, 0.03, 0.01), (300, 0.28, 0.05))


def chunk(data, start=0, info=INFO, events=(), flags=Flag.OK):
    return Chunk(data, (start + np.arange(len(data))) / info.sfreq, start, info, events, flags)


def heart(sfreq, per_minute, noise_uv, n_beats=40, leave_out=()):
    """An electrocardiogram with drift, and the times of its R peaks."""
    rng = np.random.default_rng(0)
    peaks = 1.0 + np.cumsum(60 / per_minute * (1 + 0.05 * rng.standard_normal(n_beats)))
    times = np.arange(round((peaks[-1] + 1) * sfreq)) / sfreq
    signal = noise_uv * rng.standard_normal(len(times)) + 200 * np.sin(2 * np.pi * 0.2 * times)
    for k, peak in enumerate(peaks):
        scale = 0.45 if k in leave_out else 1.0
        for height, after, width in WAVES:
            signal += scale * height * np.exp(-0.5 * ((times - peak - after) / width) ** 2)
    return signal[:, None], peaks


def peaks_of(signal, sfreq):
    info = StreamInfo("heart", sfreq, (Channel("ECG", Kind.ECG),))
    block = RPeaks()
    block.prepare(info)
    return np.array([e.time for e in block.process(chunk(signal, info=info)).events])


@pytest.mark.parametrize("name", ["rms", "rate"])  # the others: test_signal.py
def test_law_holds(name):
    check_block(BLOCKS[name], INFO)


@pytest.mark.parametrize("name", BLOCKS)
def test_any_cut_gives_the_same_bits_and_events(name):
    data = np.random.default_rng(0).standard_normal((4000, 3)) * 50
    whole, block = BLOCKS[name](), BLOCKS[name]()
    whole.prepare(INFO)
    block.prepare(INFO)
    one = whole.process(chunk(data))
    parts = [block.process(chunk(data[a : a + 13], a)) for a in range(0, 4000, 13)]
    assert np.array_equal(np.concatenate([p.data for p in parts]), one.data, equal_nan=True)
    assert [(e.sample, e.code) for p in parts for e in p.events] == [(e.sample, e.code) for e in one.events]


@pytest.mark.parametrize("sfreq", [100.0, 250.0, 1000.0])
@pytest.mark.parametrize(("per_minute", "noise_uv"), [(45, 60), (70, 30), (150, 50), (180, 20)])
def test_every_r_peak_is_found_at_its_time(sfreq, per_minute, noise_uv):
    signal, truth = heart(sfreq, per_minute, noise_uv)
    found, due = peaks_of(signal, sfreq), truth[truth > 3.5]  # it learns for 2 s
    assert np.abs(found[:, None] - due[None]).min(axis=0).max() < 0.012
    settled = found[found > 3.5]
    assert (np.abs(settled[:, None] - truth[None]).min(axis=1) > 0.012).sum() <= (1 if noise_uv > 50 else 0)


def test_small_beat_is_searched_back():
    signal, truth = heart(250.0, 70, 10, leave_out=(20, 30))
    found = peaks_of(signal, 250.0)
    assert np.abs(found[:, None] - truth[[20, 30]][None]).min(axis=0).max() < 0.015


def test_heart_rate_is_that_of_the_last_intervals():
    signal, truth = heart(500.0, 70, 20)
    info = StreamInfo("heart", 500.0, (Channel("ECG", Kind.ECG),))
    block = HeartRate(n_beats=4)
    out_info = block.prepare(info)
    out = block.process(chunk(signal, info=info))
    assert (out_info.ch_names, out_info.channels[0].unit, out_info.sfreq) == (["ECG heart rate"], "1/min", 4.0)
    for row in (20, 60, 100):
        known = truth[truth < out.times[row] - 0.3][-5:]
        late = truth[truth < out.times[row] - 0.1][-5:]
        rates = [60 * 4 / (t[-1] - t[0]) for t in (known, late)]
        assert min(abs(out.data[row, 0] - r) for r in rates) < 0.5


def test_heart_that_stops_has_an_unknown_rate():
    signal, truth = heart(250.0, 70, 5)
    signal = np.concatenate([signal, 5 * np.random.default_rng(1).standard_normal((2500, 1))])
    info = StreamInfo("heart", 250.0, (Channel("ECG", Kind.ECG),))
    block = HeartRate(silent_s=3.0)
    block.prepare(info)
    out = block.process(chunk(signal, info=info))
    assert np.isnan(out.data[out.times > truth[-1] + 3.1]).all() and Flag.NAN in out.flags
    assert np.isfinite(out.data[out.times < truth[-1]]).all()


def test_no_interval_spans_a_gap():
    signal, _ = heart(250.0, 70, 20)
    info = StreamInfo("heart", 250.0, (Channel("ECG", Kind.ECG),))
    block = HeartRate()
    block.prepare(info)
    block.process(chunk(signal[:5000], info=info))
    after = block.process(chunk(signal[5000:], 20_000, info, flags=Flag.GAP))
    assert after.start > 20_000 / 62 + 2 and Flag.GAP in after.flags
    assert np.abs(after.data - 70).max() < 12


def test_peaks_pass_the_samples_and_carry_the_channel_as_source():
    signal, _ = heart(250.0, 70, 20)
    data = np.column_stack([signal, np.arange(len(signal)), np.arange(len(signal))])
    block = RPeaks()
    block.prepare(INFO)
    out = block.process(chunk(data))
    assert (out.data == data).all() and {(e.code, e.source) for e in out.events} == {("r-peak", "ECG")}


def test_ecg_must_be_named_where_no_channel_is_of_its_kind():
    with pytest.raises(ConfigError, match="kind ecg"):
        RPeaks().prepare(replace(INFO, channels=(Channel("C3"),)))
    with pytest.raises(ConfigError, match="60 Hz"):
        RPeaks("C3").prepare(replace(INFO, sfreq=50.0))


def emg(n=4000):
    return np.column_stack([np.random.default_rng(0).standard_normal(n) * 100 + 3000, np.arange(n)])


def test_rectified_envelope_is_band_absolute_value_and_low_pass():
    block, data = EmgEnvelope(), emg()
    block.prepare(FAST)
    out = block.process(chunk(data, info=FAST)).data
    band = sosfilt(butter(2, [20, 450], "bandpass", fs=1000, output="sos"), data[:, 0] - data[0, 0])
    # 450 Hz lies at 0.9 of half the rate: there is no low-pass there
    high = sosfilt(butter(2, 20, "highpass", fs=1000, output="sos"), data[:, 0] - data[0, 0])
    smooth = [sosfilt(butter(2, 6, fs=1000, output="sos"), np.abs(x)) for x in (high, band)]
    np.testing.assert_allclose(out[:, 0], smooth[0], atol=1e-9)
    assert (out[:, 1] == data[:, 1]).all() and not np.allclose(smooth[0], smooth[1])


def test_moving_rms_is_exact_at_every_sample():
    data, info = emg(), replace(FAST, sfreq=2000.0)
    block = EmgEnvelope("rms", window_s=0.1)
    block.prepare(info)
    out = block.process(chunk(data, info=info)).data[:, 0]
    band = sosfilt(butter(2, [20, 450], "bandpass", fs=2000, output="sos"), data[:, 0] - data[0, 0])
    for t in (0, 1, 150, 199, 200, 201, 399, 400, 3999):
        expected = np.sqrt(np.mean(band[max(0, t - 199) : t + 1] ** 2))
        assert out[t] == pytest.approx(expected, rel=1e-9, abs=1e-9)


def test_huge_artefact_leaves_nothing_in_the_moving_rms():
    data = emg(6000)
    dirty = data.copy()
    dirty[1000, 0] += 1e12
    clean, after = (EmgEnvelope("rms", window_s=0.1), EmgEnvelope("rms", window_s=0.1))
    outs = []
    for block, x in ((clean, data), (after, dirty)):
        block.prepare(FAST)
        outs.append(block.process(chunk(x, info=FAST)).data[5000:, 0])
    np.testing.assert_allclose(outs[1], outs[0], rtol=1e-6)


def test_contraction_shows_after_the_delay():
    data = emg()
    data[:, 0] -= 3000
    data[:2000, 0] *= 0.1
    for method in ("rectify", "rms"):
        block = EmgEnvelope(method)
        out_info = block.prepare(FAST)
        out = block.process(chunk(data, info=FAST)).data[:, 0]
        half = (out[1900] + out[3000:].mean()) / 2
        late = (np.flatnonzero(out[1900:] > half)[0] - 100) / 1000
        assert 0.1 * block.delay_s < late < 2 * block.delay_s
    assert out_info.ch_names == ["FDI envelope", "STI"]


def test_nan_in_muscle_stays_where_it_is():
    data = emg()
    data[2000, 0] = np.nan
    for method in ("rectify", "rms"):
        block = EmgEnvelope(method)
        block.prepare(FAST)
        out = block.process(chunk(data, info=FAST))
        assert np.isnan(out.data).sum() == 1 and Flag.NAN in out.flags


def test_rate_counts_the_events_of_its_window():
    block = EventRate("blink", window_s=10.0, step_s=1.0)
    out_info = block.prepare(INFO)
    times = np.array([0.5, 2.0, 2.4, 11.9, 12.0, 12.004, 25.0])
    events = (Event(100, 0.4, "cue"), *(Event(round(t * 250), t, "blink") for t in times))
    out = block.process(chunk(np.zeros((7500, 3)), events=events))
    assert out_info.ch_names == ["blink rate"]
    for row in (10, 12, 13, 22, 29):
        assert out.data[row, 0] == 6 * np.sum((times > row - 10) & (times <= row))
    assert out.data[2, 0] == pytest.approx(60 * 2 / (501 / 250))


def test_rate_starts_anew_behind_a_gap():
    block = EventRate("blink", window_s=10.0)
    block.prepare(INFO)
    block.process(chunk(np.zeros((500, 3)), events=(Event(10, 0.04, "blink"),)))
    after = block.process(chunk(np.zeros((500, 3)), 1000, events=(Event(1200, 4.8, "blink"),), flags=Flag.GAP))
    assert after.data[:, 0].tolist() == [0.0, pytest.approx(60 / (251 / 250))] and Flag.GAP in after.flags


@pytest.mark.parametrize(
    "make",
    [lambda: EmgEnvelope("mean"), lambda: EmgEnvelope(smooth_hz=30.0), lambda: EmgEnvelope(window_s=0.0),
     lambda: HeartRate(n_beats=0), lambda: EventRate(""), lambda: EventRate("blink", 1.0, 2.0)],
)  # fmt: skip
def test_settings_out_of_range_are_refused(make):
    with pytest.raises(ConfigError, match="got"):
        make()


@pytest.mark.parametrize("name", BLOCKS)
def test_process_before_prepare_is_refused(name):
    with pytest.raises(DataError, match="prepare"):
        BLOCKS[name]().process(chunk(np.zeros((5, 3))))
