"""Artefact subspace reconstruction: against the batch formula, on planted bursts, and the flags that it leaves."""

import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from bci.errors import ConfigError, DataError, FormatError
from bci.signal.asr import Asr
from bci.signal.asr_calibration import AsrCalibration, calibrate
from bci.signal.chain import Chain
from bci.signal.decimate import Decimate
from bci.signal.filters import Highpass
from bci.signal.pipeline import Pipeline
from bci.stream import Channel, Chunk, Flag, Kind, StreamInfo
from bci.testing.block import check_block
from bci.trial import Slide

NAMES = ("Fp1", "Fp2", "F3", "Fz", "F4", "C3", "Cz", "C4", "P3", "Pz", "P4", "O1", "O2", "T7", "T8", "Oz")
SFREQ = 200.0
INFO = StreamInfo("amp", SFREQ, tuple(Channel(n) for n in NAMES))
DATA = Path(os.environ.get("BCI_DATA") or Path(__file__).resolve().parents[3] / "shared" / "data")
S001 = DATA / "eegmmidb" / "S001" / "S001R04.edf"


def brain(n: int, seed: int = 0) -> np.ndarray:
    """Sources with a 1/f spectrum, mixed into all channels: neighbours tell of one another."""
    rng = np.random.default_rng(seed)
    spectrum = np.fft.rfft(rng.standard_normal((n, 24)), axis=0)
    spectrum /= np.sqrt(np.maximum(np.fft.rfftfreq(n, 1 / SFREQ), 1.0))[:, None]
    sources = np.fft.irfft(spectrum, n, axis=0)
    places = np.random.default_rng(7).standard_normal((24, 16))
    return 40 * sources @ (places + 3 * np.roll(places, 1, axis=1)) / 4


def burst(n: int, begin: int, stop: int, size: float, seed: int = 1, channels: int = 16) -> np.ndarray:
    rng = np.random.default_rng(seed)
    wave = np.zeros(n)
    wave[begin:stop] = rng.standard_normal(stop - begin)
    place = np.zeros(channels)
    place[:3] = (1.0, 0.8, 0.4)
    return size * np.outer(wave, place)


def chunk(data, start=0, info=INFO):
    return Chunk(data, (start + np.arange(len(data))) / info.sfreq, start, info)


CLEAN = brain(12000)
CALIBRATION = calibrate(CLEAN, INFO)


def run(block, data, info=INFO):
    block.prepare(info)
    return block.process(chunk(data, info=info)).data


def test_planted_burst_loses_nine_tenths_of_its_power_and_clean_signal_passes_bit_for_bit():
    signal = brain(4000, 2)
    block = Asr(CALIBRATION)
    out = run(block, signal + burst(4000, 2000, 2300, 1000.0))
    delay = round(block.delay_s * SFREQ)
    aligned, left = out[delay:], out[delay:] - signal[:-delay]
    assert (left[2000:2300] ** 2).sum() < 0.1 * (burst(4000, 2000, 2300, 1000.0) ** 2).sum()
    spans = block.spans
    assert spans and all(a > 1900 and b < 2600 for a, b in spans)
    untouched = np.ones(len(aligned), bool)
    for begin, stop in spans:
        untouched[begin - delay : stop - delay] = False
    assert np.array_equal(aligned[untouched], signal[:-delay][untouched])


def test_channels_far_from_the_burst_keep_their_signal():
    signal = brain(4000, 2)
    block = Asr(CALIBRATION)
    out = run(block, signal + burst(4000, 2000, 2300, 1000.0))
    delay = round(block.delay_s * SFREQ)
    inside = slice(2000, 2300)
    correlation = [np.corrcoef(out[delay:][inside, c], signal[inside, c])[0, 1] for c in range(5, 16)]
    assert min(correlation) > 0.9


def test_streamed_output_equals_the_batch_formula():
    """The formula of the paper: roots, pseudo-inverse and one look after the other, over the whole array."""
    data = brain(2000, 3) + burst(2000, 900, 1100, 800.0)
    block = Asr(CALIBRATION, look_ahead_s=0.0)
    out = run(block, data)
    step, window = 25, 100
    values, vectors = np.linalg.eigh(CALIBRATION.covariance)
    root = (vectors * np.sqrt(values)) @ vectors.T
    limits = np.diag(CALIBRATION.centre + 20 * CALIBRATION.spread) @ CALIBRATION.axes.T
    matrices = {k: np.eye(16) for k in (-1, 0, 1)}
    for k in range(2, 80):
        rows = data[max(0, k * step - window) : k * step]
        powers, axes = np.linalg.eigh(rows.T @ rows / len(rows))
        keep = (powers < ((limits @ axes) ** 2).sum(axis=0)) | (np.arange(16) < 16 - int(0.66 * 16))
        matrices[k] = np.eye(16) if keep.all() else root @ np.linalg.pinv(keep[:, None] * (axes.T @ root)) @ axes.T
    expected = data.copy()
    for t in range(2000):
        k, place = divmod(t, step)
        w = (1 - np.cos(np.pi * (place + 0.5) / step)) / 2
        expected[t] = ((1 - w) * matrices[k - 1] + w * matrices[k]) @ data[t]
    assert np.abs(expected - data).max() > 100
    np.testing.assert_allclose(out, expected, rtol=0, atol=1e-8 * np.abs(data).max())


@pytest.mark.skipif(not S001.exists(), reason=f"needs the recording {S001}")
def test_planted_bursts_on_real_eeg_are_taken_out():
    import mne

    from bci.interop import from_raw

    raw = mne.io.read_raw_edf(S001, preload=True, verbose="error")
    data, info, _ = from_raw(raw)
    filtered = Chain([Highpass(1.0)]).run(data, info)[160:]
    block = Asr(calibrate(filtered[: 40 * 160], info))
    signal = filtered[40 * 160 :].copy()
    planted = burst(len(signal), 1000, 1200, 2000.0, channels=64)
    plain, out = run(Asr(block.calibration), signal, info), run(block, signal + planted, info)
    delay = round(block.delay_s * info.sfreq)
    left = (out - plain)[delay + 1000 : delay + 1200]
    assert (left**2).sum() < 0.1 * (planted**2).sum()


@pytest.mark.parametrize("settings", [{}, {"look_ahead_s": 0.0, "cutoff": 3.0}, {"step_s": 0.05, "cutoff": 1.0}])
def test_it_keeps_the_law(settings):
    info = StreamInfo("amp", 250.0, tuple(Channel(n) for n in ("C3", "Cz", "C4", "Pz")))
    like = 20 * np.random.default_rng(5).standard_normal((6000, 4)) + 100.0
    check_block(lambda: Asr(calibrate(like, info), **settings), info)


@pytest.mark.parametrize("size", [1, 7, 32, 301])
def test_output_and_window_flags_do_not_depend_on_cutting(size):
    data = brain(1600, 4) + burst(1600, 500, 560, 1500.0)

    def windows(n):
        pipeline = Pipeline([Asr(CALIBRATION), Decimate(2)], Slide(0.25, 0.1))
        pipeline.prepare(INFO)
        return [cut.chunk for a in range(0, 1600, n) for cut in pipeline.push(chunk(data[a : a + n], a))]

    whole, parts = windows(1600), windows(size)
    assert [c.flags for c in whole] == [c.flags for c in parts]
    assert all(np.array_equal(a.data, b.data) for a, b in zip(whole, parts, strict=True))
    flagged = [Flag.REPAIRED in c.flags for c in whole]
    assert any(flagged) and not all(flagged)


def test_a_window_is_flagged_exactly_if_one_of_its_samples_was_repaired():
    data = brain(1600, 4) + burst(1600, 500, 560, 1500.0)
    block = Asr(CALIBRATION)
    pipeline = Pipeline([block], Slide(0.25, 0.05))
    pipeline.prepare(INFO)
    cuts = pipeline.push(chunk(data))
    for cut in cuts:
        touched = any(a < cut.chunk.stop and cut.chunk.start < b for a, b in block.spans)
        assert (Flag.REPAIRED in cut.chunk.flags) == touched


def test_chunk_says_that_it_was_repaired_and_the_report_how_much():
    block = Asr(CALIBRATION)
    block.prepare(INFO)
    assert Flag.REPAIRED not in block.process(chunk(brain(1000, 5))).flags
    assert Flag.REPAIRED in block.process(chunk(brain(1000, 5) + burst(1000, 300, 500, 1500.0), 1000)).flags
    report = block.report()
    assert report["seen_s"] == 10.0 and 1.0 < report["repaired_s"] < 2.5
    assert report["removed"]["Fp1"] > 0.9 > report["removed"]["Oz"]


def test_output_is_the_past_delayed_and_triggers_are_not():
    info = replace(INFO, channels=(*INFO.channels, Channel("VEOG", Kind.EOG), Channel("STI", Kind.TRIG, "1")))
    data = np.column_stack([brain(1000, 6), np.arange(1000.0), np.arange(1000.0)])
    block = Asr(CALIBRATION)
    out = run(block, data, info)
    assert block.delay_s == 0.25
    assert np.array_equal(out[50:, :17], data[:-50, :17])
    assert np.array_equal(out[:50, :17], np.repeat(data[:1, :17], 50, axis=0))
    assert np.array_equal(out[:, 17], data[:, 17])


def test_average_reference_is_repaired_too():
    clean = CLEAN - CLEAN.mean(axis=1, keepdims=True)
    data = brain(3000, 2) + burst(3000, 1000, 1200, 1000.0)
    signal, data = (d - d.mean(axis=1, keepdims=True) for d in (brain(3000, 2), data))
    block = Asr(calibrate(clean, INFO))
    out = run(block, data)
    left, planted = (out[50:] - signal[:-50])[1000:1200], (data - signal)[1000:1200]
    assert (left**2).sum() < 0.1 * (planted**2).sum()


def test_unknown_value_stays_in_its_channel_and_comes_out_late():
    data = brain(1000, 6)
    data[400, 3] = np.nan
    out = run(Asr(CALIBRATION), data)
    assert np.argwhere(np.isnan(out)).tolist() == [[450, 3]]


def test_a_few_artefacts_in_the_calibration_change_little():
    dirty = CLEAN + burst(12000, 3000, 3400, 2000.0)
    one, two = CALIBRATION, calibrate(dirty, INFO)
    assert np.linalg.norm(one.covariance - two.covariance) < 0.1 * np.linalg.norm(one.covariance)
    assert run(Asr(two), burst(2000, 900, 1100, 1000.0) + brain(2000, 8))[950:1150, 0].std() < 100


def test_calibration_survives_a_file(tmp_path):
    CALIBRATION.save(tmp_path / "clean.npz")
    data = brain(1000, 4) + burst(1000, 500, 560, 1500.0)
    assert np.array_equal(run(Asr(str(tmp_path / "clean.npz")), data), run(Asr(CALIBRATION), data))
    (tmp_path / "no.npz").write_text("nothing")
    with pytest.raises(FormatError, match="calibrate again"):
        AsrCalibration.load(tmp_path / "no.npz")


def test_what_does_not_fit_is_an_error():
    with pytest.raises(ConfigError, match="call fit"):
        Asr().prepare(INFO)
    with pytest.raises(ConfigError, match="calibrate for this stream"):
        Asr(CALIBRATION).prepare(INFO.pick(NAMES[1:]))
    with pytest.raises(ConfigError, match="leave the defaults"):
        Asr(look_ahead_s=1.0)
    with pytest.raises(DataError, match="record a minute"):
        Asr().fit(CLEAN[:500], INFO)


def test_numbers_that_begin_again_forget_the_marks():
    block = Asr(CALIBRATION)
    block.prepare(INFO)
    block.process(chunk(brain(1000, 5) + burst(1000, 300, 500, 1500.0)))
    assert block.marked(0.0, 5.0) is Flag.REPAIRED
    block.process(Chunk(brain(200, 5), np.arange(200) / SFREQ, 0, INFO, (), Flag.GAP))
    assert block.marked(0.0, 5.0) is Flag.OK
