from __future__ import annotations

import numpy as np
import pytest
from scipy.linalg import eig

from bci.decoding import passport
from bci.decoding.phase_lock import phase_lock
from bci.decoding.ssvep_templates import ExtendedCca, Trca, trca
from bci.errors import DataError
from bci.registry import create
from bci.stream import Channel, StreamInfo
from bci.trial import Slide

from .test_ssvep import FREQUENCIES, SFREQ, flicker

MAKERS = {
    "trca": lambda: Trca(SFREQ, FREQUENCIES, ensemble=False),
    "ensemble": lambda: Trca(SFREQ, FREQUENCIES),
    "ecca": lambda: ExtendedCca(SFREQ, FREQUENCIES),
}


def test_trca_filter_is_the_generalised_eigenvector():
    X, y = flicker(30, locked=True)
    trials = X[y == "a"] - X[y == "a"].mean(axis=2, keepdims=True)
    between = sum(trials[i] @ trials[j].T for i in range(10) for j in range(10) if i != j)
    within = sum(t @ t.T for t in trials)
    values, vectors = eig(between, within)
    best, found = vectors[:, values.real.argmax()].real, trca(trials)
    cosine = abs(best @ within @ found) / np.sqrt((best @ within @ best) * (found @ within @ found))
    np.testing.assert_allclose(cosine, 1, atol=1e-9)


def test_trca_filter_sees_the_same_signal_after_an_average_reference():
    X, _ = flicker(10, locked=True)
    X = X - X.mean(axis=1, keepdims=True)
    whole, part = trca(X) @ X, trca(X[:, :-1]) @ X[:, :-1]
    cosine = abs((whole * part).sum()) / (np.linalg.norm(whole) * np.linalg.norm(part))
    np.testing.assert_allclose(cosine, 1, atol=1e-7)


@pytest.mark.parametrize("name", MAKERS)
def test_locked_responses_are_found(name):
    X, y = flicker(90, gain=0.4, locked=True)
    assert MAKERS[name]().fit(X[:60], y[:60]).score(X[60:], y[60:]) > 0.9


@pytest.mark.parametrize("name", MAKERS)
def test_random_labels_are_at_chance_and_not_believed(name):
    rng = np.random.default_rng(2)
    X, y = rng.standard_normal((180, 8, 250)), np.array(list(FREQUENCIES))[rng.permutation(np.arange(180) % 3)]
    decoder = MAKERS[name]().fit(X[:60], y[:60])
    assert abs(decoder.score(X[60:], y[60:]) - 1 / 3) < 0.13  # three standard errors of 120 windows
    assert decoder.predict_proba(X[60:]).max(axis=1).mean() < 0.5


@pytest.mark.parametrize("name", MAKERS)
def test_dependent_and_flat_channels_do_no_harm(name):
    X, y = flicker(90, gain=0.4, locked=True)
    X = np.insert(X - X.mean(axis=1, keepdims=True), 2, 7.0, axis=1)
    decoder = MAKERS[name]().fit(X[:60], y[:60])
    assert decoder.score(X[60:], y[60:]) > 0.9
    np.testing.assert_allclose(decoder.predict_proba(np.zeros((1, 9, 250))), 1 / 3)


@pytest.mark.parametrize("name", MAKERS)
def test_too_few_trials_are_refused(name):
    X, y = flicker(6, locked=True)
    with pytest.raises(DataError, match="three trials"):
        MAKERS[name]().fit(X, y)


def test_windows_of_one_trial_count_as_one():
    X, y = flicker(18, locked=True)
    with pytest.raises(DataError, match="got 2; collect more"):
        Trca(SFREQ, FREQUENCIES).fit(X, y, np.arange(18) // 3 % 2 + 10 * (np.arange(18) % 3))


def test_locked_phases_are_told_from_random_ones():
    for locked in (True, False):
        X, y = flicker(60, locked=locked)
        found = phase_lock(X, y, SFREQ, FREQUENCIES)
        assert [lock.is_locked for lock in found.values()] == [locked] * 3
        assert [lock.n_trials for lock in found.values()] == [20] * 3


def test_limit_is_exceeded_as_seldom_as_it_says():
    rng = np.random.default_rng(0)
    trials, names = rng.standard_normal((12000, 1, 50)), np.repeat(np.arange(1000), 12).astype(str)
    found = phase_lock(trials, names, 50.0, dict.fromkeys(map(str, range(1000)), 10.0), alpha=0.05)
    share = np.mean([lock.is_locked for lock in found.values()])
    assert abs(share - 0.05) < 0.021  # three standard errors


def test_phase_lock_needs_four_trials():
    X, y = flicker(9)
    with pytest.raises(DataError, match="four windows"):
        phase_lock(X, y, SFREQ, FREQUENCIES)


@pytest.mark.parametrize("name", ["fbcca", "trca", "ecca"])
def test_a_saved_decoder_decides_the_same(name, tmp_path):
    X, y = flicker(30, locked=True)
    decoder = create("decoders", name, sfreq=SFREQ, frequencies=FREQUENCIES).fit(X, y)
    info = StreamInfo("eeg", SFREQ, tuple(Channel(f"E{k}") for k in range(8)))
    path = passport.save(tmp_path / "m.bci", decoder, info, blocks=[], window=Slide(1.0, 0.1))
    loaded = passport.load(path).decoder
    np.testing.assert_array_equal(loaded.predict_proba(X), decoder.predict_proba(X))
