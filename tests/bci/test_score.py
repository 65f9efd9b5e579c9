import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bci.errors import DataError
from bci.runtime.score import Score, binomial_interval, chance_limit, grouped_folds, out_of_fold, trial_answers


class Nearest:
    """Nearest class mean of the window's average: enough to be scored."""

    def fit(self, X, y):
        self.classes_ = np.unique(y)
        self._means = np.array([X[y == c].mean() for c in self.classes_])
        return self

    def predict_proba(self, X):
        p = np.exp(-np.abs(X.mean(axis=(1, 2))[:, None] - self._means))
        return p / p.sum(axis=1, keepdims=True)


def test_interval_is_the_published_one():
    # Clopper-Pearson for 8 of 10, as tabulated: 0.4439 to 0.9748.
    assert binomial_interval(8, 10) == pytest.approx((0.4439, 0.9748), abs=1e-4)


def test_interval_of_nothing_is_everything():
    assert binomial_interval(0, 0) == (0.0, 1.0)


def test_chance_limit_of_two_classes():
    # P(X > 20 | n = 30, p = 0.5) < 0.05 <= P(X > 19).
    assert chance_limit(30, 2) == pytest.approx(20 / 30, abs=0.034)


@given(st.integers(2, 4), st.integers(2, 6), st.integers(1, 4), st.integers(0, 5))
def test_folds_never_split_a_trial(n_classes, n_each, n_windows, seed):
    trials = np.repeat(np.arange(n_classes * n_each), n_windows)
    y = trials % n_classes
    seen = []
    for train, test in grouped_folds(y, trials, min(5, n_each), seed):
        assert not set(trials[train]) & set(trials[test])
        seen += test.tolist()
    assert sorted(seen) == list(range(len(y)))


def test_answer_of_a_trial_sums_its_evidence():
    p = np.array([[0.6, 0.4], [0.6, 0.4], [0.01, 0.99]])
    assert trial_answers(p, ["a", "b"], np.array([7, 7, 7])) == {7: "b"}


def test_noise_scores_at_chance():
    rng = np.random.default_rng(0)
    y = np.tile(["a", "b"], 100)
    score, *_ = out_of_fold(Nearest(), rng.standard_normal((200, 2, 10)), y, np.arange(200))
    assert score.interval[0] < 0.5 < score.interval[1]


def test_signal_is_found():
    rng = np.random.default_rng(0)
    y = np.tile(["a", "b"], 20)
    X = rng.standard_normal((40, 2, 10)) + 5.0 * (y == "b")[:, None, None]
    assert out_of_fold(Nearest(), X, y, np.arange(40))[0].accuracy == 1.0


def test_one_class_is_refused():
    with pytest.raises(DataError, match="collect more trials"):
        out_of_fold(Nearest(), np.zeros((4, 1, 5)), np.array(["a"] * 4), np.arange(4))


def test_score_says_everything():
    text = str(Score(8, 10, 2, "a split"))
    assert all(word in text for word in ("0.80", "n = 10", "chance 0.50", "a split"))
