from __future__ import annotations

import numpy as np
import pytest
from sklearn.base import clone

from bci.decoding.base import covariances
from bci.decoding.csp import CspLda, FilterBankCsp, csp
from bci.errors import ConfigError, DataError


def mixed(n: int = 60, n_channels: int = 6, n_times: int = 200):
    """Two sources whose power tells the class, in a random mixture."""
    rng = np.random.default_rng(0)
    y = np.arange(n) % 2
    sources = rng.standard_normal((n, n_channels, n_times))
    sources[y == 0, 0] *= 3
    sources[y == 1, 1] *= 3
    mixing = rng.standard_normal((n_channels, n_channels))
    return mixing @ sources, y, mixing


def test_csp_finds_the_sources_that_differ():
    X, y, mixing = mixed()
    filters = csp(covariances(X), y, 2, 0.0)
    gains = np.abs(filters @ mixing)
    gains /= np.linalg.norm(gains, axis=1, keepdims=True)
    assert {int(g.argmax()) for g in gains} == {0, 1}
    assert gains.max(axis=1).min() > 0.98


def test_csp_does_not_depend_on_the_scale_of_the_signal():
    X, y, _ = mixed()
    a, b = CspLda(2).fit(X, y), CspLda(2).fit(1e-6 * X, y)
    np.testing.assert_allclose(a.predict_proba(X), b.predict_proba(1e-6 * X), atol=1e-6)


def test_csp_handles_three_classes():
    rng = np.random.default_rng(0)
    y = np.repeat(["left", "rest", "right"], 20)
    X = rng.standard_normal((60, 4, 200))
    for k, c in enumerate(np.unique(y)):
        X[y == c, k] *= 3
    decoder = CspLda(2).fit(X, y)
    assert decoder.predict_proba(X).shape == (60, 3)
    assert (decoder.predict(X) == y).mean() > 0.95


def test_csp_survives_a_rank_deficient_reference():
    X, y, _ = mixed()
    X = X - X.mean(axis=1, keepdims=True)
    assert CspLda(4).fit(X, y).score(X, y) > 0.9


def test_csp_survives_a_dead_channel():
    X, y, _ = mixed()
    X[:, 3] = 0.0
    assert np.isfinite(CspLda(4).fit(X, y).predict_proba(X)).all()


def test_csp_on_one_channel_uses_its_power():
    rng = np.random.default_rng(0)
    y = np.arange(40) % 2
    X = rng.standard_normal((40, 1, 200)) * np.where(y, 3.0, 1.0)[:, None, None]
    assert CspLda().fit(X, y).score(X, y) > 0.9


def test_number_of_components_below_two_is_refused():
    X, y, _ = mixed()
    with pytest.raises(ConfigError, match="n_components >= 2"):
        CspLda(1).fit(X, y)


def test_decoders_can_be_cloned():
    assert clone(CspLda(4)).n_components == 4
    assert clone(FilterBankCsp(sfreq=100.0)).sfreq == 100.0


def bands():
    """The class is in the power at 22 Hz of one channel; all else is the same."""
    rng = np.random.default_rng(1)
    y = np.arange(60) % 2
    t = np.arange(300) / 100
    X = rng.standard_normal((60, 4, 300))
    X[:, 1] += np.where(y, 2.0, 0.3)[:, None] * np.sin(2 * np.pi * 22 * t + rng.uniform(0, 6, (60, 1)))
    return X, y


def test_filter_bank_finds_the_band_that_differs():
    X, y = bands()
    decoder = FilterBankCsp(sfreq=100.0, n_features=2).fit(X[:40], y[:40])
    assert decoder.score(X[40:], y[40:]) == 1.0
    assert 4 in decoder._kept // 4  # the fifth band is 20-24 Hz


def test_filter_bank_needs_the_rate():
    X, y = bands()
    with pytest.raises(ConfigError, match="sfreq"):
        FilterBankCsp().fit(X, y)


def test_filter_bank_refuses_bands_above_half_the_rate():
    X, y = bands()
    with pytest.raises(ConfigError, match="below 25 Hz"):
        FilterBankCsp(sfreq=50.0).fit(X, y)


@pytest.mark.parametrize("labels", [np.zeros(60), np.arange(60)[:10]])
def test_one_class_or_too_few_labels_are_refused(labels):
    X, _, _ = mixed()
    with pytest.raises(DataError):
        CspLda().fit(X, labels)


@pytest.mark.parametrize("make", [CspLda, lambda: FilterBankCsp(sfreq=125.0)])
def test_a_window_without_any_signal_is_left_out_of_the_patterns(make):
    X, y, _ = mixed()
    X[5] = 0.0
    assert np.isfinite(make().fit(X, y).predict_proba(X)).all()


def test_a_class_of_nothing_but_constant_windows_is_refused():
    X, y, _ = mixed()
    X[y == 1] = 7.0
    with pytest.raises(DataError, match="check electrodes"):
        CspLda().fit(X, y)


@pytest.mark.parametrize("make", [CspLda, lambda: FilterBankCsp(sfreq=125.0)])
def test_one_window_of_each_class_is_refused(make):
    X, y, _ = mixed()
    with pytest.raises(DataError, match="collect more trials"):
        make().fit(X[:2], y[:2])
