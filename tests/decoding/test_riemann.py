from __future__ import annotations

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from bci.decoding.base import covariances
from bci.decoding.riemann import (
    Imagery,
    TangentSpace,
    inverse_root,
    mirror_channels,
    montages,
    riemannian_mean,
    tangent_vectors,
    window_weights,
)
from bci.errors import ConfigError
from bci.testing.decoder import CHANNELS, imagery_windows


def cov(n: int = 30, p: int = 5) -> np.ndarray:
    rng = np.random.default_rng(0)
    return covariances(rng.standard_normal((n, p, 40)) * rng.uniform(0.5, 3, (n, p, 1)))


def test_riemannian_mean_agrees_with_pyriemann():
    mean_riemann = pytest.importorskip("pyriemann.geometry.mean").mean_riemann
    np.testing.assert_allclose(riemannian_mean(cov()), mean_riemann(cov(), tol=1e-10), rtol=1e-6, atol=1e-8)


def test_riemannian_mean_of_two_scaled_matrices_is_their_geometric_mean():
    one = cov(1)[0]
    np.testing.assert_allclose(riemannian_mean(np.stack([one, 4 * one])), 2 * one, rtol=1e-9)


def test_tangent_vectors_agree_with_pyriemann():
    tangent = pytest.importorskip("pyriemann.geometry.tangentspace")
    C = cov()
    mean = riemannian_mean(C)
    expected = tangent.upper(tangent.log_map_riemann(C, mean, C12=False))
    np.testing.assert_allclose(tangent_vectors(C, inverse_root(mean)), expected, rtol=1e-6, atol=1e-9)


def test_length_of_a_tangent_vector_is_the_riemannian_distance():
    C = cov(2)
    vector = tangent_vectors(C[:1], inverse_root(C[1]))[0]
    values = np.linalg.eigvals(np.linalg.solve(C[1], C[0])).real
    np.testing.assert_allclose(np.linalg.norm(vector), np.sqrt((np.log(values) ** 2).sum()), rtol=1e-9)


def test_tangent_space_decoder_agrees_with_pyriemann_and_sklearn():
    tangent = pytest.importorskip("pyriemann.tangentspace")
    X, y, _ = imagery_windows(40, 128.0, 256, 0)
    features = tangent.TangentSpace().fit_transform(covariances(X, 0.1))
    expected = LogisticRegression(C=0.1, max_iter=2000).fit(features, y).predict_proba(features)
    np.testing.assert_allclose(TangentSpace(0.1, 0.1).fit(X, y).predict_proba(X), expected, atol=1e-4)


def test_mirror_exchanges_odd_and_even_electrodes():
    assert mirror_channels(["C3", "Cz", "C4", "TP10", "tp9"]).tolist() == [2, 1, 0, 4, 3]


@pytest.mark.parametrize("names", [["C3", "Cz"], ["Ch1", "Ch2"], ["EEG 001", "EEG 002"], []])
def test_mirror_needs_the_twin_of_every_electrode(names):
    assert mirror_channels(names) is None


def test_montages_are_nested_and_end_with_all():
    parts = montages(["FC3", "Fz", "C3", "C4", "Oz", "X1"], 6)
    assert [p.tolist() for p in parts] == [[0, 2, 3], [0, 1, 2, 3], [0, 1, 2, 3, 4, 5]]


def test_montages_that_are_the_same_count_once():
    assert [len(p) for p in montages(["C3", "Cz", "C4"], 3)] == [3]
    assert [len(p) for p in montages(None, 4)] == [4]


def test_weights_are_equal_for_classes_and_trials():
    y, groups = np.array([0, 0, 0, 0, 1]), np.array([7, 7, 7, 8, 9])
    np.testing.assert_allclose(window_weights(y, groups), [0.25, 0.25, 0.25, 0.75, 1.5])


def test_imagery_with_full_mirror_is_antisymmetric():
    X, y, groups = imagery_windows(40, 128.0, 256, 0)
    decoder = Imagery(CHANNELS, mirror=1.0).fit(X, y, groups)
    p, mirrored = decoder.predict_proba(X), decoder.predict_proba(X[:, mirror_channels(CHANNELS)])
    np.testing.assert_allclose(p, mirrored[:, ::-1], atol=1e-3)


def test_mirror_teaches_the_other_side():
    X, y, groups = imagery_windows(60, 128.0, 256, 0)
    new, y_new, _ = imagery_windows(40, 128.0, 256, 1)
    few = np.r_[np.flatnonzero(y == "left"), np.flatnonzero(y == "right")[:2]]
    score = {m: Imagery(CHANNELS, mirror=m).fit(X[few], y[few], groups[few]).score(new, y_new) for m in (0.0, 0.5)}
    assert score[0.5] >= score[0.0]
    assert score[0.5] > 0.9


def test_imagery_learns_rest_beside_left_and_right():
    X, y, groups = imagery_windows(60, 128.0, 256, 0)
    rng = np.random.default_rng(0)
    rest = 5 * rng.standard_normal((30, *X.shape[1:]))
    X, y = np.concatenate([X, rest]), np.concatenate([y, np.full(30, "rest")])
    decoder = Imagery(CHANNELS).fit(X, y, np.r_[groups, 100 + np.arange(30)])
    assert decoder.score(X, y) > 0.9


def test_imagery_without_names_has_no_mirror():
    X, y, groups = imagery_windows(40, 128.0, 256, 0)
    a, b = Imagery(None, mirror=0.5).fit(X, y, groups), Imagery(None, mirror=0.0).fit(X, y, groups)
    assert (a.predict_proba(X) == b.predict_proba(X)).all()


def test_imagery_of_other_classes_has_no_mirror():
    X, y, groups = imagery_windows(40, 128.0, 256, 0)
    other = np.where(y == "left", "feet", "rest")
    a, b = Imagery(CHANNELS).fit(X, other, groups), Imagery(CHANNELS, mirror=0.0).fit(X, other, groups)
    assert (a.predict_proba(X) == b.predict_proba(X)).all()


def test_half_a_pair_has_no_mirror():
    X, y, groups = imagery_windows(40, 128.0, 256, 0)
    half = np.where(y == "left", "left", "rest")
    a, b = Imagery(CHANNELS).fit(X, half, groups), Imagery(CHANNELS, mirror=0.0).fit(X, half, groups)
    assert (a.predict_proba(X) == b.predict_proba(X)).all()


def test_dead_channels_and_silence_give_finite_answers():
    X, y, groups = imagery_windows(40, 128.0, 256, 0)
    X[:, 3] = 0.0
    decoder = Imagery(CHANNELS).fit(X, y, groups)
    assert np.isfinite(decoder.predict_proba(np.zeros_like(X[:2]))).all()
    assert decoder.score(X, y) > 0.9


def test_names_that_do_not_fit_the_windows_are_refused():
    X, y, groups = imagery_windows(20, 128.0, 256, 0)
    with pytest.raises(ConfigError, match="2 names for 8 channels"):
        Imagery(["C3", "C4"]).fit(X, y, groups)


@pytest.mark.parametrize("settings", [{"mirror": 2.0}, {"shrinkage": 0.0}, {"C": -1.0}])
def test_settings_out_of_range_are_refused(settings):
    X, y, groups = imagery_windows(20, 128.0, 256, 0)
    with pytest.raises(ConfigError, match="leave the defaults"):
        Imagery(**settings).fit(X, y, groups)
