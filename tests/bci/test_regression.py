"""Regression of eyes: fixed against least squares, adaptive against the equations of the paper."""

import numpy as np
import pytest

from bci.errors import ConfigError, DataError
from bci.signal.chain import Chain
from bci.signal.filters import Highpass
from bci.signal.regression import AdaptiveRegress, Regress
from bci.stream import Channel, Chunk, Flag, Kind, StreamInfo
from bci.testing.block import check_block

EYES = (Channel("VEOG", Kind.EOG), Channel("HEOG", Kind.EOG))
INFO = StreamInfo("amp", 250.0, (Channel("Fp1"), *EYES, Channel("STI", Kind.TRIG, "1"), Channel("Cz")))
TRUE = np.array([[0.8, 0.3], [0.2, -0.1]])


def recording(n=6000, seed=0):
    rng = np.random.default_rng(seed)
    eyes = np.stack([100 * np.convolve(rng.standard_normal(n), np.hanning(k) / k**0.5, "same") for k in (60, 90)], 1)
    brain = 10 * rng.standard_normal((n, 2))
    eeg = brain + eyes @ TRUE.T
    return np.column_stack([eeg[:, 0], eyes, np.arange(n) % 5, eeg[:, 1]]), brain


def run(block, data, flags=Flag.OK):
    out_info = block.prepare(INFO)
    out = block.process(Chunk(data, np.arange(len(data)) / 250.0, 0, INFO, (), flags))
    return out.data, out_info


def test_weights_are_those_that_were_mixed_in():
    data, _ = recording()
    np.testing.assert_allclose(Regress().fit(data, INFO).weights, TRUE, atol=0.01)


def test_fixed_regression_leaves_the_brain_and_the_other_channels():
    data, brain = recording(seed=1)
    out, info = run(Regress().fit(recording()[0], INFO), data)
    left = out[:, [0, 4]] - brain
    assert (left**2).sum() < 0.001 * ((data[:, [0, 4]] - brain) ** 2).sum()
    assert np.array_equal(out[:, 1:4], data[:, 1:4])
    assert info.meta["regressed"] == "VEOG HEOG"


def test_fixed_regression_fuses_with_its_neighbours():
    data, _ = recording()
    block = Regress().fit(data, INFO)
    chain = Chain([Highpass(1.0), block, Regress(("VEOG", "HEOG")).fit(data, INFO)])
    chain.prepare(INFO)
    assert len(chain._steps) == 1


def test_adaptive_regression_equals_the_equations_of_the_paper():
    """He et al. 2004 written down as vectors, the inverse updated without regard for its symmetry."""
    data, _ = recording(1500)
    out, _ = run(AdaptiveRegress(n_taps=3, memory_s=40.0), data)
    keep = np.exp(-1 / (40.0 * 250.0))
    inverse, weights = 100.0 * np.eye(6), np.zeros((6, 2))
    expected = np.empty((1500, 2))
    for t in range(1500):
        r = np.concatenate([[data[max(0, t - k), c] for k in range(3)] for c in (1, 2)])
        gain = inverse @ r / (keep + r @ inverse @ r)
        weights = weights + np.outer(gain, data[t, [0, 4]] - r @ weights)
        inverse = (inverse - np.outer(gain, r @ inverse)) / keep
        expected[t] = data[t, [0, 4]] - r @ weights
    np.testing.assert_allclose(out[:, [0, 4]], expected, rtol=0, atol=1e-6 * np.abs(data).max())


def test_adaptive_regression_follows_a_change():
    data, brain = recording(20000)
    data[10000:, 0] += 0.5 * data[10000:, 1]
    block = AdaptiveRegress(memory_s=5.0)
    out, _ = run(block, data)
    late = slice(17000, 20000)
    assert ((out[late][:, [0, 4]] - brain[late]) ** 2).mean() < 0.05 * (brain[late] ** 2).mean()
    assert block.weights[0, 0].sum() == pytest.approx(1.3, abs=0.05)


def test_silent_references_do_not_blow_up_what_was_learned():
    data, _ = recording(4000)
    still = data.copy()
    still[:, 1:3] = 0.0
    block = AdaptiveRegress(memory_s=0.02)
    block.prepare(INFO)
    for k in range(20):
        block.process(Chunk(still, np.arange(4000.0), 4000 * k, INFO))
    out = block.process(Chunk(data, np.arange(4000.0), 80000, INFO)).data
    assert np.isfinite(out).all() and np.abs(out[100:, 0]).max() < np.abs(data[:, 0]).max()


@pytest.mark.parametrize("make", [lambda: Regress().fit(recording()[0], INFO), AdaptiveRegress])
def test_unknown_reference_makes_the_eeg_unknown_and_no_other(make):
    data, _ = recording(1000)
    data[500, 1] = np.nan
    data[700, 0] = np.nan
    out, _ = run(make(), data)
    assert np.isnan(out[500, [0, 1, 4]]).all() and np.isfinite(out[500, [2, 3]]).all()
    assert np.isnan(out[700]).tolist() == [True, False, False, False, False]
    assert np.isfinite(out[510:700]).all() and np.isfinite(out[701:]).all()


@pytest.mark.parametrize("make", [lambda: Regress().fit(recording()[0], INFO), AdaptiveRegress])
def test_regression_keeps_the_law(make):
    check_block(make, INFO)


def test_adaptive_regression_is_bit_equal_however_the_stream_is_cut():
    data, _ = recording(1000)
    whole, _ = run(AdaptiveRegress(), data)
    for size in (1, 7, 333):
        block = AdaptiveRegress()
        block.prepare(INFO)
        chunks = [
            Chunk(data[a : a + size], np.arange(len(data[a : a + size])) / 250.0, a, INFO) for a in range(0, 1000, size)
        ]
        assert np.array_equal(np.concatenate([block.process(c).data for c in chunks]), whole)


def test_what_cannot_work_is_an_error():
    data, _ = recording(400)
    with pytest.raises(ConfigError, match="call fit"):
        Regress().prepare(INFO)
    with pytest.raises(ConfigError, match="those of other channels"):
        Regress("VEOG").fit(data, INFO).prepare(INFO.pick(["VEOG", "Cz"]))
    with pytest.raises(ConfigError, match="name the references"):
        AdaptiveRegress("emg").prepare(INFO)
    with pytest.raises(DataError, match="the eyes move"):
        Regress().fit(data[:50], INFO)
    with pytest.raises(ConfigError, match="leave the defaults"):
        AdaptiveRegress(n_taps=0)
