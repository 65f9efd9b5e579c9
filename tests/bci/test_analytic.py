from dataclasses import replace

import mne
import numpy as np
import pytest
from scipy.signal import butter, sosfilt, sosfreqz

from bci.errors import ConfigError, DataError
from bci.signal.envelope import Envelope
from bci.signal.phase import Phase, circular
from bci.signal.wavelet import Morlet
from bci.stream import Channel, Chunk, Event, Flag, Kind, StreamInfo
from bci.testing.block import check_block

SFREQ = 250.0
INFO = StreamInfo("eeg", SFREQ, tuple(Channel(n) for n in ("C3", "Cz", "C4")))
ONE = replace(INFO, channels=INFO.channels[:1])
BLOCKS = {
    "wavelets": lambda: Morlet((8.0, 12.0, 20.0)),
    "complex wavelets": lambda: Morlet((8.0, 20.0), (5.0, 7.0), "complex", None),
    "phase": lambda: Phase(8.0, 13.0),
    "amplitude now": lambda: Phase(8.0, 13.0, measure="amplitude", step_s=0.1),
    "envelope": lambda: Envelope(8.0, 12.0),
    "complex envelope": lambda: Envelope(8.0, 30.0, measure="complex"),
}


def chunk(data, start=0, info=INFO, events=(), flags=Flag.OK):
    return Chunk(data, (start + np.arange(len(data))) / info.sfreq, start, info, events, flags)


def run(block, data, info=None):
    info = info or (ONE if data.shape[1] == 1 else INFO)
    block.prepare(info)
    return block.process(chunk(data, info=info)).data


def noise(n=3000, n_channels=3):
    return np.random.default_rng(0).standard_normal((n, n_channels)) * 10 + 500


def sine(frequency_hz, n=3000, phase=0.3):
    return (500 + 7 * np.cos(2 * np.pi * frequency_hz * np.arange(n) / SFREQ + phase))[:, None]


@pytest.mark.parametrize("name", ["complex wavelets", "amplitude now", "complex envelope"])  # others: test_signal.py
def test_law_holds(name):
    check_block(BLOCKS[name], INFO)


@pytest.mark.parametrize("name", BLOCKS)
def test_any_cut_gives_the_same_bits(name):
    data = noise()
    whole = run(BLOCKS[name](), data)
    block = BLOCKS[name]()
    block.prepare(INFO)
    assert (np.concatenate([block.process(chunk(data[a : a + 13], a)).data for a in range(0, 3000, 13)]) == whole).all()


@pytest.mark.parametrize("frequency_hz", [6.0, 10.0, 40.0])
def test_wavelets_are_those_of_mne_shifted_by_the_delay(frequency_hz):
    data, block = noise(), Morlet((frequency_hz,), 7.0, "complex", None, support=5.0)
    out = run(block, data[:, :1])
    (theirs,) = mne.time_frequency.morlet(SFREQ, [frequency_hz], 7.0, zero_mean=True)
    turn = np.exp(-2j * np.pi * frequency_hz / SFREQ * (np.arange(len(theirs)) - len(theirs) // 2))
    theirs = theirs * 2 / np.abs((theirs * turn).sum())
    expected = np.convolve(data[:, 0] - 500, theirs, "same")
    delay = round(block.delay_s * SFREQ)
    got = (out[:, 0] + 1j * out[:, 1])[2 * delay :]
    np.testing.assert_allclose(got, expected[delay:][: len(got)], atol=2e-4 * np.abs(expected).max())


def test_sine_gives_its_amplitude_and_its_phase_the_delay_ago():
    block = Morlet((10.0, 20.0), measure="complex", step_s=None)
    out = run(block, sine(10.0))
    got = out[2000, 0] + 1j * out[2000, 1]
    expected = 7 * np.exp(1j * (2 * np.pi * 10.0 * (2000 / SFREQ - block.delay_s) + 0.3))
    assert abs(got - expected) < 0.01 and np.hypot(out[2000, 2], out[2000, 3]) < 0.01
    assert run(Morlet((10.0,), measure="power"), sine(10.0))[-1, 0] == pytest.approx(49, rel=1e-3)


def test_burst_peaks_at_its_time_plus_the_delay_in_every_band():
    times = np.arange(3000) / SFREQ - 6.0
    data = sum(np.exp(-0.5 * (times / 0.2) ** 2) * np.cos(2 * np.pi * f * times) for f in (8.0, 12.0, 20.0))[:, None]
    block = Morlet((8.0, 12.0, 20.0), step_s=None)
    peaks = run(block, data).argmax(axis=0) / SFREQ - 6.0
    assert (np.abs(peaks - block.delay_s) < 0.02).all()


@pytest.mark.parametrize("name", BLOCKS)
def test_constant_offset_gives_nothing_from_the_first_sample_on(name):
    if name != "phase":
        assert np.abs(run(BLOCKS[name](), np.full((500, 3), 1e4))).max() < 1e-7


def test_weights_are_the_transform_of_the_window_read_at_its_end():
    data, block = noise(600)[:, :1], Phase(8.0, 13.0, measure="complex", calibrate=False)
    out = run(block, data)
    window = data[350:600, 0]
    n = len(window)
    spectrum = np.fft.fft(window)
    spectrum[n // 2 :] = 0  # negative frequencies, and the one at half the rate
    spectrum[1:] *= 2
    sos = butter(2, [8.0, 13.0], "bandpass", fs=SFREQ, output="sos")
    expected = np.fft.ifft(spectrum * sosfreqz(sos, np.arange(n) * SFREQ / n, fs=SFREQ)[1])[-1]
    np.testing.assert_allclose(out[599], [expected.real, expected.imag], rtol=1e-9)


def test_phase_of_a_sine_at_the_centre_is_right_now():
    block = Phase(8.0, 13.0)
    out = run(block, sine(block.centre_hz))[500:, 0]
    truth = 2 * np.pi * block.centre_hz * np.arange(500, 3000) / SFREQ + 0.3
    bias, sd = circular(out - truth)
    assert block.delay_s == 0 and abs(bias) < 1e-3 and sd < 0.03


@pytest.mark.parametrize("frequency_hz", [8.5, 12.5])
def test_error_off_the_centre_is_the_angle_of_the_response(frequency_hz):
    block = Phase(8.0, 13.0)
    out = run(block, sine(frequency_hz))[500:, 0]
    truth = 2 * np.pi * frequency_hz * np.arange(500, 3000) / SFREQ + 0.3
    expected = np.angle(block.response(np.array([frequency_hz]), SFREQ)[0, 0])
    assert circular(out - truth)[0] == pytest.approx(expected, abs=0.01)
    assert np.sign(expected) == (1 if frequency_hz < block.centre_hz else -1)


def test_report_is_the_table_of_the_page():
    block = Phase(8.0, 13.0)
    block.prepare(replace(ONE, sfreq=500.0))
    for snr_db, width, sd in ((10.0, 0.0, 0.24), (10.0, 1.0, 0.57), (0.0, 0.5, 1.0)):
        error = block.report(snr_db, width, 120.0)
        assert error.sd_rad == pytest.approx(sd, abs=0.08) and abs(error.bias_rad) < 0.08


def test_envelope_follows_a_modulation_by_its_delay():
    times = np.arange(5000) / SFREQ
    for low, high in ((8.0, 12.0), (15.0, 25.0)):
        block = Envelope(low, high)
        data = (1 + 0.5 * np.cos(2 * np.pi * 0.3 * times)) * np.cos(2 * np.pi * (low + high) / 2 * times)
        out = run(block, data[:, None])[1000:, 0]
        expected = 1 + 0.5 * np.cos(2 * np.pi * 0.3 * (times[1000:] - block.delay_s))
        np.testing.assert_allclose(out, expected, atol=0.03)


def test_envelope_is_multiply_low_pass_and_multiply_back():
    data, block = noise()[:, :1] - 500, Envelope(8.0, 12.0, measure="complex")
    out = run(block, data)
    high = sosfilt(butter(2, 2.0, "highpass", fs=SFREQ, output="sos"), data[:, 0] - data[0, 0])
    turn = np.exp(2j * np.pi * 10.0 / SFREQ * np.arange(3000))
    base = high * turn.conj()
    low = butter(3, 2.0, fs=SFREQ, output="sos")
    expected = 2 * (sosfilt(low, base.real) + 1j * sosfilt(low, base.imag)) * turn
    np.testing.assert_allclose(out[1500:, 0] + 1j * out[1500:, 1], expected[1500:], atol=1e-9)


def test_half_power_lies_at_the_corners_of_the_envelope():
    for frequency_hz in (8.0, 12.0):
        out = run(Envelope(8.0, 12.0, measure="power"), sine(frequency_hz))[2000:, 0]
        assert out.mean() == pytest.approx(49 / 2, rel=0.02)


def test_output_lies_on_the_grid_of_sample_numbers_across_a_gap():
    block = Morlet((10.0,), step_s=0.1)
    out_info = block.prepare(INFO)
    first = block.process(chunk(noise(60)))
    second = block.process(chunk(noise(60), 111, flags=Flag.GAP))
    assert (out_info.sfreq, first.start, first.n_samples) == (10.0, 0, 3)
    assert (second.start, second.n_samples, Flag.GAP in second.flags) == (5, 2, True)
    assert np.allclose(second.times, [0.5, 0.6])


def test_event_comes_with_the_first_output_at_or_after_it():
    block = Morlet((10.0,), step_s=0.1)
    block.prepare(INFO)
    assert block.process(chunk(noise(20), events=(Event(3, 0.012, "x"),))).events == ()
    assert block.process(chunk(noise(20), 20)).events[0].sample == 1


@pytest.mark.parametrize("name", ["complex wavelets", "phase", "envelope"])
def test_nan_stays_in_its_channel_and_sample(name):
    data = noise()
    data[0:3, 1] = np.nan
    data[700, 1] = np.nan
    data[800:820, 1] = np.inf
    out = run(BLOCKS[name](), data)
    unknown = np.isnan(out).reshape(3000, 3, -1)
    assert unknown[:3, 1].all() and unknown[700, 1].all() and unknown[800:820, 1].all()
    assert unknown.sum() == 24 * unknown.shape[2]


def test_names_and_units_say_what_comes_out_and_triggers_are_left_out():
    info = replace(INFO, channels=(Channel("C3", scale=0.1), Channel("STI", Kind.TRIG, "")))
    out = Morlet((10.0, 12.5), measure="power").prepare(info)
    assert [(c.name, c.unit) for c in out.channels] == [("C3 10 Hz power", "uV²"), ("C3 12.5 Hz power", "uV²")]
    assert Phase(8, 13).prepare(info).channels == (Channel("C3 8-13 Hz phase", unit="rad"),)
    out = Envelope(8, 12, measure="complex").prepare(info)
    assert out.ch_names == ["C3 8-12 Hz real", "C3 8-12 Hz imaginary"]
    with pytest.raises(ConfigError, match="only triggers"):
        Envelope(8, 12).prepare(replace(info, channels=info.channels[1:]))


@pytest.mark.parametrize(
    "make",
    [lambda: Morlet(()), lambda: Morlet((10.0, 12.0), (7.0, 7.0, 7.0)), lambda: Morlet((10.0,), measure="angle"),
     lambda: Morlet((10.0,), step_s=0.0), lambda: Phase(13.0, 8.0), lambda: Phase(8.0, 13.0, 0.1),
     lambda: Envelope(8.0, 8.0), lambda: Morlet((130.0,)).prepare(INFO), lambda: Phase(100.0, 130.0).prepare(INFO),
     lambda: Envelope(100.0, 130.0).prepare(INFO)],
)  # fmt: skip
def test_settings_out_of_range_are_refused(make):
    with pytest.raises(ConfigError, match="got"):
        make()


@pytest.mark.parametrize("name", BLOCKS)
def test_process_before_prepare_is_refused(name):
    with pytest.raises(DataError, match="prepare"):
        BLOCKS[name]().process(chunk(noise()))
