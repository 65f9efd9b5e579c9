from __future__ import annotations

import numpy as np
import pytest
from scipy.linalg import subspace_angles

from bci.decoding.ssvep import Cca, FilterBankCca
from bci.decoding.ssvep_bank import Span, harmonic_bands, references
from bci.errors import ConfigError, DataError

FREQUENCIES = {"a": 10.0, "b": 12.0, "c": 15.0}
SFREQ = 250.0


def flicker(
    n: int = 60, n_channels: int = 8, n_times: int = 250, gain: float = 0.6, locked: bool = False, seed: int = 0
):
    """Two harmonics in noise that the channels share; the phase is each trial's own unless locked."""
    rng = np.random.default_rng(seed)
    y = np.array(list(FREQUENCIES))[np.arange(n) % 3]
    phase = np.full((n, 1), 0.7) if locked else rng.uniform(0, 2 * np.pi, (n, 1))
    angle = 2 * np.pi * np.array([FREQUENCIES[c] for c in y])[:, None] * np.arange(n_times) / SFREQ + phase
    response = np.sin(angle) + 0.5 * np.sin(2 * angle)
    mixing = rng.standard_normal((n_channels, n_channels))
    X = mixing @ rng.standard_normal((n, n_channels, n_times))
    return X + gain * rng.standard_normal((n_channels, 1)) * response[:, None, :], y


def test_correlations_are_those_of_the_angles_between_the_spaces():
    X, y = flicker(6)
    found = Cca(SFREQ, FREQUENCIES).fit(X, y).correlations(X)[:, 0]
    for window, row in zip(X, found, strict=True):
        centred = (window - window.mean(axis=1, keepdims=True)).T
        for hz, r in zip(FREQUENCIES.values(), row, strict=True):
            angle = subspace_angles(centred, references(hz, 3, SFREQ, 250)).min()
            np.testing.assert_allclose(r, np.cos(angle), atol=1e-9)


def test_correlations_are_those_of_scikit_learn():
    from sklearn.cross_decomposition import CCA

    X, y = flicker(3)
    found = Cca(SFREQ, FREQUENCIES, n_harmonics=1).fit(X, y).correlations(X)[:, 0, 0]
    for window, r in zip(X, found, strict=True):
        a, b = CCA(1, max_iter=5000, tol=1e-12).fit_transform(window.T, references(10.0, 1, SFREQ, 250))
        np.testing.assert_allclose(r, np.corrcoef(a[:, 0], b[:, 0])[0, 1], atol=1e-5)


@pytest.mark.parametrize("make", [Cca, FilterBankCca])
def test_flickers_of_any_phase_are_found(make):
    X, y = flicker(n_times=500)
    assert make(SFREQ, FREQUENCIES).fit(X[:12], y[:12]).score(X[12:], y[12:]) > 0.95


def test_bands_find_a_response_under_slow_drifts_that_hide_it():
    X, y = flicker(90, seed=1)
    rng = np.random.default_rng(4)
    X = X + 1.5 * np.cumsum(rng.standard_normal(X.shape), axis=2)
    plain, banked = (make(SFREQ, FREQUENCIES).fit(X, y).score(X, y) for make in (Cca, FilterBankCca))
    assert banked > plain + 0.1


def test_an_average_reference_changes_only_what_it_takes():
    """The space of the re-referenced channels is what all of them but one span."""
    X, y = flicker(9)
    X = X - X.mean(axis=1, keepdims=True)
    whole = FilterBankCca(SFREQ, FREQUENCIES).fit(X, y).correlations(X)
    part = FilterBankCca(SFREQ, FREQUENCIES).fit(X[:, :-1], y).correlations(X[:, :-1])
    np.testing.assert_allclose(whole, part, atol=1e-8)


def test_a_flat_channel_changes_nothing():
    X, y = flicker(9)
    with_flat = np.insert(X, 3, 5.0, axis=1)
    a, b = FilterBankCca(SFREQ, FREQUENCIES).fit(X, y), FilterBankCca(SFREQ, FREQUENCIES).fit(with_flat, y)
    np.testing.assert_allclose(a.predict_proba(X), b.predict_proba(with_flat), atol=1e-9)


def test_a_window_of_constants_gets_the_same_probability_for_all():
    X, y = flicker(30)
    p = FilterBankCca(SFREQ, FREQUENCIES).fit(X, y).predict_proba(np.full((1, 8, 250), 3.0))
    np.testing.assert_allclose(p, 1 / 3)


def test_the_scale_of_the_signal_does_not_matter():
    X, y = flicker(30)
    a, b = FilterBankCca(SFREQ, FREQUENCIES).fit(X, y), FilterBankCca(SFREQ, FREQUENCIES).fit(1e-6 * X, y)
    np.testing.assert_allclose(a.predict_proba(X), b.predict_proba(1e-6 * X), atol=1e-6)


def test_rest_is_a_class_without_a_frequency():
    X, y = flicker(180, n_times=500)
    nothing, _ = flicker(60, n_times=500, gain=0.0, seed=0)
    X, y = np.concatenate([X, nothing]), np.concatenate([y, np.full(60, "rest")])
    decoder = FilterBankCca(SFREQ, FREQUENCIES).fit(X[::2], y[::2])
    assert decoder.classes_.tolist() == ["a", "b", "c", "rest"]
    assert decoder.score(X[1::2], y[1::2]) > 0.85
    assert (decoder.predict(X[1::2])[y[1::2] == "rest"] == "rest").mean() > 0.6


def test_random_labels_are_at_chance_and_not_believed():
    rng = np.random.default_rng(2)
    X, y = rng.standard_normal((300, 8, 250)), rng.permutation(np.arange(300) % 3).astype(str)
    decoder = FilterBankCca(SFREQ, {"0": 10.0, "1": 12.0, "2": 15.0}).fit(X[:150], y[:150])
    assert abs(decoder.score(X[150:], y[150:]) - 1 / 3) < 0.12  # three standard errors of 150 windows
    assert decoder.predict_proba(X[150:]).max(axis=1).mean() < 0.5


def test_the_filter_of_a_match_gives_its_correlation():
    rng = np.random.default_rng(0)
    signals = rng.standard_normal((6, 200))
    signals -= signals.mean(axis=1, keepdims=True)
    sines = references(10.0, 2, SFREQ, 200)
    r, weights = Span(signals).match(sines)
    seen = weights @ signals
    np.testing.assert_allclose(np.linalg.norm(seen @ sines) / np.linalg.norm(seen), r, atol=1e-12)


def test_default_bands_begin_below_the_harmonics():
    np.testing.assert_allclose(harmonic_bands(10.0, 250.0), [(9, 90), (18, 90), (27, 90)])
    assert harmonic_bands(20.0, 100.0) == [(18.0, 45.0)]


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"sfreq": None}, "give sfreq"),
        ({"frequencies": None}, "frequencies"),
        ({"frequencies": {"a": 10.0}}, "each class but one"),
        ({"frequencies": {**FREQUENCIES, "c": 125.0}}, "between 0 and 125 Hz"),
        ({"n_harmonics": 0}, "n_harmonics >= 1"),
        ({"bands": ((8.0, 130.0),)}, "bands must satisfy"),
    ],
)
def test_settings_that_do_not_fit_are_refused(settings, said):
    X, y = flicker(9)
    with pytest.raises(ConfigError, match=said):
        FilterBankCca(**{"sfreq": SFREQ, "frequencies": FREQUENCIES, **settings}).fit(X, y)


def test_a_class_of_constant_windows_only_is_refused():
    X, y = flicker(9)
    X[y == "b"] = 1.0
    with pytest.raises(DataError, match="check electrodes"):
        Cca(SFREQ, FREQUENCIES).fit(X, y)
