from __future__ import annotations

import numpy as np
import pytest
from scipy.linalg import eigh
from sklearn.covariance import ledoit_wolf
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.metrics import roc_auc_score

from bci.decoding.contrast import contrast
from bci.decoding.erp import ErpLda, XdawnLda, span_means
from bci.decoding.lda import blocks, fit_scale, shrinkage_lda
from bci.errors import ConfigError, DataError

SFREQ = 100.0
FAMILY = [ErpLda, XdawnLda]


def flashes(n: int = 360, amplitude: float = 1.0, n_channels: int = 5, seed: int = 0):
    """One target in six: a bump at 0.3 s from one source, in noise that the channels share."""
    rng = np.random.default_rng(seed)
    mixing = np.random.default_rng(9).standard_normal((n_channels, n_channels))
    y = (np.arange(n) % 6 == 2).astype(int)
    t = np.arange(80) / SFREQ
    sources = rng.standard_normal((n, n_channels, len(t)))
    sources[:, 0] += amplitude * y[:, None] * np.exp(-(((t - 0.3) / 0.05) ** 2))
    return 5.0 * mixing @ sources, y, mixing


def test_discriminant_is_that_of_the_closed_form():
    rng = np.random.default_rng(0)
    y = (np.arange(90) % 3 == 0).astype(int)
    F = rng.standard_normal((90, 12)) @ rng.standard_normal((12, 12)) + y[:, None]
    m0, m1 = F[y == 0].mean(axis=0), F[y == 1].mean(axis=0)
    inverse = np.linalg.inv(ledoit_wolf(F - np.where(y[:, None], m1, m0), assume_centered=True)[0])
    model = shrinkage_lda(F, y)
    np.testing.assert_allclose(model.coef[0], inverse @ (m1 - m0), rtol=1e-8)
    np.testing.assert_allclose(model.intercept[0], -0.5 * (m1 - m0) @ inverse @ (m1 + m0), rtol=1e-8)


def test_discriminant_without_need_of_shrinkage_is_that_of_scikit_learn():
    # With many epochs Ledoit-Wolf hardly shrinks, whether before or after pooling the classes and scaling the features.
    rng = np.random.default_rng(0)
    y = np.arange(40_000) % 2
    F = rng.standard_normal((len(y), 4)) @ (np.eye(4) + 0.3) + 0.5 * y[:, None]
    ours, theirs = shrinkage_lda(F, y), LinearDiscriminantAnalysis(solver="lsqr", shrinkage="auto").fit(F, y)
    np.testing.assert_allclose(ours.coef, theirs.coef_, rtol=0.02, atol=0.01)
    np.testing.assert_allclose(ours.intercept, theirs.intercept_, rtol=0.02, atol=0.01)


def test_three_classes_have_a_row_each():
    rng = np.random.default_rng(0)
    y = np.arange(90) % 3
    F = rng.standard_normal((90, 3)) + 4 * np.eye(3)[y]
    model = shrinkage_lda(F, y)
    assert model.coef.shape == (3, 3)
    assert (model.scores(F).argmax(axis=1) == y).mean() > 0.95


def test_scale_makes_a_model_less_sure_never_surer():
    rng = np.random.default_rng(0)
    y = rng.integers(0, 2, 4000)
    ratio = np.where(y, 1.0, -1.0) + np.sqrt(2) * rng.standard_normal(4000)  # is its own log-likelihood ratio
    scores = np.stack([0 * ratio, ratio], axis=1)
    assert fit_scale(4 * scores, y) == pytest.approx(0.25, abs=0.03)
    assert fit_scale(0.2 * scores, y) == 1.0
    assert fit_scale(-scores, y) == 0.0


def test_blocks_keep_trials_whole():
    trial = np.repeat(np.arange(7), 12)
    block = blocks(np.arange(84) % 6 // 5, trial, 5)
    assert all(len(set(block[trial == k])) == 1 for k in range(7)) and set(block) == set(range(5))


def test_blocks_of_a_single_trial_are_neighbours_in_time():
    y = np.arange(60) % 2
    block = blocks(y, np.zeros(60, int), 5)
    np.testing.assert_array_equal(block, np.repeat(np.arange(5), 12))


def test_span_means_share_all_samples_behind_the_baseline():
    X = np.arange(11.0)[None, None]
    np.testing.assert_allclose(span_means(X, 2, 4)[0, 0], [3.5 - 0.5, 8.0 - 0.5])
    np.testing.assert_allclose(span_means(X, 0, 11)[0, 0], [5.0])


def test_baseline_takes_an_offset_off():
    X, y, _ = flashes()
    offset = np.random.default_rng(1).uniform(-1e4, 1e4, (len(X), X.shape[1], 1))
    a, b = ErpLda(SFREQ, baseline_s=0.1).fit(X, y), ErpLda(SFREQ, baseline_s=0.1).fit(X + offset, y)
    np.testing.assert_allclose(a.predict_proba(X), b.predict_proba(X + offset), atol=1e-6)


def test_xdawn_solves_the_generalised_eigenvalue_problem():
    rng = np.random.default_rng(0)
    response, signal = (a @ a.T for a in (rng.standard_normal((6, 2)), rng.standard_normal((6, 20))))
    filters = contrast(response, signal, 2)
    values, vectors = eigh(response, signal)
    for w, value, v in zip(filters, values[::-1], vectors.T[::-1], strict=False):
        assert w @ response @ w == pytest.approx(value)
        np.testing.assert_allclose(w * np.sign(w @ v), v * np.sign(v @ v), atol=1e-8)


def test_xdawn_finds_the_planted_source_as_the_peer_does():
    mne = pytest.importorskip("mne")
    X, y, mixing = flashes(amplitude=2.0)
    ours = XdawnLda(SFREQ).fit(X, y)._filters[2]  # the first of the target
    peer = mne.decoding.XdawnTransformer(n_components=1).fit(X, y).filters_[1][0]
    for w in (ours, peer):
        gains = np.abs(w @ mixing) / np.linalg.norm(w @ mixing)
        assert gains.argmax() == 0 and gains[0] > 0.99
    assert abs(np.corrcoef(ours, peer)[0, 1]) > 0.999


def test_xdawn_of_a_singular_signal_has_as_many_filters_as_its_rank():
    rng = np.random.default_rng(0)
    reference = np.eye(4) - 0.25
    signal = reference @ np.diag(rng.uniform(1, 2, 4)) @ reference
    filters = contrast(reference, signal, 10)
    assert filters.shape == (3, 4)
    np.testing.assert_allclose(filters @ signal @ filters.T, np.eye(3), atol=1e-9)


@pytest.mark.parametrize("make", FAMILY)
def test_rare_targets_are_told_apart(make):
    X, y, _ = flashes(amplitude=1.5)
    new, y_new, _ = flashes(amplitude=1.5, seed=1)
    p = make(SFREQ).fit(X, y).predict_proba(new)[:, 1]
    assert roc_auc_score(y_new, p) > 0.9
    hits, rejections = (p > 0.5)[y_new == 1].mean(), (p < 0.5)[y_new == 0].mean()
    assert hits > 0.75 and rejections > 0.75  # however rare targets are


@pytest.mark.parametrize("make", FAMILY)
def test_random_labels_are_at_chance_and_nothing_is_sure(make):
    X, y, _ = flashes(amplitude=0.0)
    new, y_new, _ = flashes(n=1200, amplitude=0.0, seed=1)
    p = make(SFREQ).fit(X, y).predict_proba(new)[:, 1]
    if np.ptp(p) > 0:  # standard error of the AUC of 200 and 1000: 0.022
        assert abs(roc_auc_score(y_new, p) - 0.5) < 0.07
    assert np.abs(p - 0.5).max() < 0.25


@pytest.mark.parametrize("make", FAMILY)
def test_probabilities_mean_what_they_say(make):
    X, y, _ = flashes(amplitude=0.5)
    new, y_new, _ = flashes(n=3000, amplitude=0.5, seed=1)
    ratio = np.log(1 / make(SFREQ).fit(X, y).predict_proba(new)[:, 0] - 1)
    # Of a log-likelihood ratio, E[exp(ratio) | not] = 1; that of one that is too sure is larger.
    assert 0.7 < np.exp(ratio[y_new == 0]).mean() < 1.4


@pytest.mark.parametrize("make", FAMILY)
def test_average_reference_costs_nothing(make):
    X, y, _ = flashes(amplitude=1.5)
    X = X - X.mean(axis=1, keepdims=True)
    new, y_new, _ = flashes(amplitude=1.5, seed=1)
    p = make(SFREQ).fit(X, y).predict_proba(new - new.mean(axis=1, keepdims=True))[:, 1]
    assert roc_auc_score(y_new, p) > 0.85


@pytest.mark.parametrize("make", FAMILY)
def test_dead_channel_takes_no_part(make):
    X, y, _ = flashes()
    with_dead = np.insert(X, 2, 7.0, axis=1)
    a, b = make(SFREQ).fit(X, y), make(SFREQ).fit(with_dead, y)
    np.testing.assert_allclose(a.predict_proba(X), b.predict_proba(with_dead), atol=1e-9)


@pytest.mark.parametrize("make", FAMILY)
@pytest.mark.parametrize("level", [0.0, 187_500.0])
def test_flat_or_railed_channel_makes_nothing_sure(make, level):
    X, y, _ = flashes(amplitude=2.0)
    decoder = make(SFREQ).fit(X, y)
    one, all_of_them = X.copy(), np.full_like(X, level)
    one[:, 1] = level
    np.testing.assert_array_equal(decoder.predict_proba(one), 0.5)
    np.testing.assert_array_equal(decoder.predict_proba(all_of_them), 0.5)


@pytest.mark.parametrize("make", FAMILY)
def test_window_with_a_jump_to_the_rail_makes_nothing_sure(make):
    X, y, _ = flashes(amplitude=2.0)
    decoder = make(SFREQ).fit(X, y)
    X[:, 1, 40:] = 187_500.0
    np.testing.assert_array_equal(decoder.predict_proba(X), 0.5)


def test_flat_windows_take_no_part_in_training():
    X, y, _ = flashes()
    bad = np.concatenate([X, np.zeros_like(X[:30])])
    a, b = ErpLda(SFREQ).fit(X, y), ErpLda(SFREQ).fit(bad, np.r_[y, np.ones(30, int)])
    np.testing.assert_allclose(a.predict_proba(X), b.predict_proba(X), atol=1e-9)


@pytest.mark.parametrize("make", FAMILY)
def test_more_features_than_windows_still_decide_finitely(make):
    X, y, _ = flashes(n=36)
    p = make(SFREQ, mean_s=0.01).fit(X, y).predict_proba(X)
    assert np.isfinite(p).all()


def test_too_few_targets_are_counted():
    X, y, _ = flashes(n=24)
    with pytest.raises(DataError, match="got 20 of 0, 4 of 1"):
        ErpLda(SFREQ).fit(X, y)


def test_nothing_but_flat_channels_is_refused():
    X, y, _ = flashes()
    with pytest.raises(DataError, match="0 of 5 channels"):
        ErpLda(SFREQ).fit(np.zeros_like(X), y)


def test_single_class_is_refused():
    X, _, _ = flashes()
    with pytest.raises(DataError, match="two classes"):
        XdawnLda(SFREQ).fit(X, np.zeros(len(X)))


def test_three_kinds_of_event_are_told_apart():
    X, y, _ = flashes(n=300, amplitude=0.0)
    y = np.arange(300) % 3
    X[:, 0, 20:30] += 20.0 * (y == 1)[:, None]
    X[:, 1, 40:50] += 20.0 * (y == 2)[:, None]
    assert XdawnLda(SFREQ).fit(X[:200], y[:200]).score(X[200:], y[200:]) > 0.8


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({}, "sfreq"),
        ({"sfreq": 100.0, "baseline_s": 0.8}, "baseline_s"),
        ({"sfreq": 100.0, "mean_s": 0.0}, "mean_s"),
        ({"sfreq": 100.0, "n_components": 0}, "n_components"),
    ],
)
def test_settings_that_do_not_fit_are_refused(settings, said):
    X, y, _ = flashes(n=60)
    with pytest.raises(ConfigError, match=said):
        XdawnLda(**settings).fit(X, y)
