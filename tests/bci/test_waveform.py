import math

import numpy as np
import pytest

from bci.errors import ConfigError
from bci.signal.entropy import PermutationEntropy, SampleEntropy, SpectralEntropy
from bci.signal.waveform import LineLength, LogVariance
from bci.stream import Channel, Chunk, StreamInfo

SFREQ = 250.0
INFO = StreamInfo("amp", SFREQ, tuple(Channel(n) for n in ("a", "b")))
BLOCKS = {
    "log-variance": LogVariance,
    "line length": LineLength,
    "permutation entropy": PermutationEntropy,
    "sample entropy": SampleEntropy,
    "spectral entropy": SpectralEntropy,
}
RNG = np.random.default_rng(0)


def rows(block, data):
    block.prepare(INFO)
    return block.process(Chunk(data, np.arange(len(data)) / SFREQ, 0, INFO)).data


@pytest.mark.parametrize("name", BLOCKS)
def test_feature_has_its_name(name):
    assert BLOCKS[name]().prepare(INFO).ch_names == [f"a {name}", f"b {name}"]


def test_log_variance_is_that_of_numpy():
    data = RNG.standard_normal((500, 2)) * [1, 30] + 1e5
    assert np.allclose(rows(LogVariance(2.0, 2.0), data), np.log(data.var(axis=0)))
    assert np.allclose(rows(LogVariance(2.0, 2.0), np.ones((500, 2))), np.log(1e-12))


def test_line_length_of_a_triangle_is_its_slope():
    triangle = np.abs(np.arange(500) % 50 - 25.0)  # up and down by 1 uV a sample
    data = np.column_stack([triangle, 3 * triangle])
    assert np.allclose(rows(LineLength(), data), [[SFREQ, 3 * SFREQ]])


@pytest.mark.parametrize("order", [2, 3, 5])
def test_permutation_entropy_is_that_of_counted_patterns(order):
    data = RNG.standard_normal((500, 2)).cumsum(axis=0)
    data[:, 1] = np.round(data[:, 1])  # with equal values
    found = rows(PermutationEntropy(2.0, 2.0, order, 3 / SFREQ), data)[0]
    for c in range(2):
        stretches = np.lib.stride_tricks.sliding_window_view(data[:, c], 3 * (order - 1) + 1)[:, ::3]
        _, counts = np.unique(np.argsort(stretches, axis=1, kind="stable"), axis=0, return_counts=True)
        share = counts / counts.sum()
        assert np.isclose(found[c], -(share * np.log(share)).sum() / math.log(math.factorial(order)))


def test_permutation_entropy_is_0_of_a_ramp_and_1_of_noise():
    data = np.column_stack([np.arange(5000.0), RNG.standard_normal(5000)])
    found = rows(PermutationEntropy(20.0, 20.0), data)[0]
    assert found[0] == 0.0 and 0.999 < found[1] <= 1.0


def slow_sample_entropy(x, m, r):
    n = len(x) - m
    counts = []
    for length in (m, m + 1):
        stretches = np.array([x[i : i + length] for i in range(n)])
        apart = np.abs(stretches[:, None] - stretches[None]).max(axis=2)
        counts.append((apart[np.triu_indices(n, 1)] <= r).sum())
    return -math.log(counts[1] / counts[0])


def test_sample_entropy_is_that_of_its_definition_and_of_theory():
    data = np.column_stack([RNG.standard_normal(1000), np.sin(np.arange(1000) / 7)])
    found = rows(SampleEntropy(4.0, 4.0), data)[0]
    assert np.allclose(found, [slow_sample_entropy(x, 2, 0.2 * x.std()) for x in data.T])
    # White noise: two samples, of variance 2 apart, match with probability erf(0.2 / 2).
    assert abs(found[0] + math.log(math.erf(0.1))) < 0.15 and found[1] < 0.3


def test_sample_entropy_without_matches_is_finite():
    data = np.column_stack([2.0 ** np.arange(20), np.ones(20)])
    found = rows(SampleEntropy(20 / SFREQ, 20 / SFREQ, 2, 1e-9), data)[0]
    assert np.isfinite(found).all() and found[1] == 0.0


def test_spectral_entropy_is_1_of_a_flat_spectrum_and_small_of_a_sine():
    data = np.column_stack([RNG.standard_normal(10_000), np.sin(2 * np.pi * 10 * np.arange(10_000) / SFREQ)])
    found = rows(SpectralEntropy((1, 45), 40.0, 40.0), data)[0]
    assert 0.9 < found[0] < 1.0 and found[1] < 0.25


@pytest.mark.parametrize(
    ("make", "match"),
    [
        (lambda: LineLength(0.004), "two samples"),
        (lambda: PermutationEntropy(order=8), "order"),
        (lambda: PermutationEntropy(0.1, order=5), "patterns"),
        (lambda: SampleEntropy(tolerance=0), "tolerance"),
        (lambda: SampleEntropy(0.01), "at least 4 samples"),
        (lambda: SpectralEntropy((1, 200)), "half the sampling rate"),
    ],
)
def test_feature_says_what_it_needs(make, match):
    with pytest.raises(ConfigError, match=match):
        make().prepare(INFO)
