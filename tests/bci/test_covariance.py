import numpy as np
import pytest
from sklearn.covariance import LedoitWolf, oas

from bci.errors import ConfigError, DataError
from bci.signal.covariance import Covariance, matrices
from bci.stream import Channel, Chunk, Flag, StreamInfo
from bci.testing.block import check_block

INFO = StreamInfo("amp", 100.0, tuple(Channel(f"c{k}") for k in range(6)))
RNG = np.random.default_rng(0)
MIXING = RNG.standard_normal((6, 6))


def noise(n):
    return RNG.standard_normal((n, 6)) @ MIXING + 100


def rows(block, data, info=INFO, start=0, flags=Flag.OK):
    if start == 0:
        block.prepare(info)
    return block.process(Chunk(data, (start + np.arange(len(data))) / info.sfreq, start, info, (), flags)).data


@pytest.mark.parametrize("settings", [{"shrinkage": "ledoit-wolf", "step_s": 0.33}, {"memory_s": 2.0}])
def test_covariance_keeps_the_law(settings):
    check_block(lambda: Covariance(**settings), INFO)
    check_block(lambda: Covariance(**settings), StreamInfo("one", 250.0, (Channel("a"),)))


@pytest.mark.parametrize("n_samples", [8, 40, 400])
def test_shrinkage_is_that_of_scikit_learn(n_samples):
    data = noise(n_samples)
    for rule, truth in (("oas", oas(data)[0]), ("ledoit-wolf", LedoitWolf().fit(data).covariance_)):
        found = matrices(rows(Covariance(n_samples / 100, n_samples / 100, rule), data))[0]
        assert np.allclose(found, truth, rtol=1e-10)


def test_columns_are_the_upper_triangle_with_names_and_units():
    info = StreamInfo("amp", 100.0, (Channel("C3"), Channel("C4"), Channel("acc", unit="g")))
    out = Covariance().prepare(info)
    assert out.ch_names == [
        "C3 variance", "C3 × C4 covariance", "C3 × acc covariance", "C4 variance", "C4 × acc covariance",
        "acc variance",
    ]  # fmt: skip
    assert [c.unit for c in out.channels] == ["uV²", "uV²", "uV·g", "uV²", "uV·g", "g²"]


def test_fixed_weight_of_the_identity():
    data = noise(100)
    plain = np.cov(data.T, bias=True)
    found = matrices(rows(Covariance(1.0, 1.0, 0.25), data))[0]
    assert np.allclose(found, 0.75 * plain + 0.25 * np.trace(plain) / 6 * np.eye(6))


def test_recursive_covariance_is_the_exponentially_weighted_one_whatever_the_offset():
    data = noise(500) + 1e6
    found = matrices(rows(Covariance(step_s=0.1, shrinkage=0.0, memory_s=1.0), data))
    for n_steps in (1, 7, 50):
        weights = np.exp(-(np.arange(n_steps)[::-1] // 1) * 0.1).repeat(10)
        truth = np.cov(data[: 10 * n_steps].T, aweights=weights, ddof=0)
        assert np.allclose(found[n_steps - 1], truth, rtol=1e-6)


def test_unknown_channel_leaves_the_others_as_they_are_without_it():
    data = noise(200)
    broken = data.copy()
    broken[150, 2] = np.nan
    others = [0, 1, 3, 4, 5]
    info = INFO.pick([f"c{k}" for k in others])
    for settings in ({}, {"memory_s": 1.0}):
        found = matrices(rows(Covariance(1.0, 0.1, 0.1, **settings), broken))
        truth = matrices(rows(Covariance(1.0, 0.1, 0.1, **settings), data[:, others], info))
        with_nan = np.isnan(found).any(axis=(1, 2))
        assert np.isnan(found[with_nan][:, 2]).all()
        assert np.allclose(found[with_nan][:, others][:, :, others], truth[with_nan])
        assert with_nan.sum() == (1 if settings else 5)  # until it has left the window; here the window is the step


def test_channel_that_was_unknown_from_the_start_is_right_as_soon_as_it_is_known():
    data = noise(1000)
    data[:800, 2] = np.nan
    found = matrices(rows(Covariance(step_s=1.0, shrinkage=0.0, memory_s=100.0), data))
    assert np.isnan(found[7][2]).all()
    assert np.allclose(found[8][2], np.cov(data[800:900].T, bias=True)[2])


def test_gap_starts_anew():
    block = Covariance(step_s=0.1, memory_s=5.0)
    data = noise(100)
    rows(block, 50 * noise(100))
    found = rows(block, data, start=150, flags=Flag.GAP)
    assert np.allclose(found, rows(Covariance(step_s=0.1, memory_s=5.0), data))


def test_delay_is_the_mean_age_of_what_is_remembered():
    block = Covariance(step_s=0.1, memory_s=2.0)
    block.prepare(INFO)
    weights = np.exp(-np.arange(0, 4000) * 0.1 / 2.0).repeat(10)
    assert np.isclose(block.delay_s, (weights * np.arange(40_000)).sum() / weights.sum() / 100)


def test_covariance_says_what_it_needs():
    for settings, match in (
        ({"shrinkage": "ridge"}, "shrinkage"),
        ({"shrinkage": 2.0}, "0 to 1"),
        ({"memory_s": 0.01}, "memory_s"),
    ):
        with pytest.raises(ConfigError, match=match):
            Covariance(**settings)
    with pytest.raises(DataError, match="upper triangle"):
        matrices(np.zeros((1, 5)))
