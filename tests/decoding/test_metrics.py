from __future__ import annotations

import numpy as np
import pytest

from bci.decoding.metrics import accuracy, auc, balanced_accuracy, cohen_kappa, confusion, itr_bits_per_min
from bci.errors import DataError

TRUE = np.array(["a"] * 6 + ["b"] * 2)
PRED = np.array(["a"] * 5 + ["b"] + ["b", "a"])


def test_accuracy_comes_with_interval_and_chance_limit():
    score = accuracy(TRUE, PRED)
    assert score.accuracy == 0.75
    assert score.interval == pytest.approx((0.3491, 0.9681), abs=1e-4)  # Clopper-Pearson for 6 of 8
    assert (score.chance, score.chance_limit) == (0.5, 0.75)


def test_confusion_counts_asked_in_rows_and_decided_in_columns():
    assert confusion(TRUE, PRED).tolist() == [[5, 1], [1, 1]]
    assert confusion(TRUE, PRED, ["b", "a"]).tolist() == [[1, 1], [1, 5]]


def test_confusion_refuses_an_unknown_class():
    with pytest.raises(DataError, match="got b"):
        confusion(TRUE, PRED, ["a", "c"])


def test_balanced_accuracy_is_the_mean_recall():
    assert balanced_accuracy(TRUE, PRED) == pytest.approx((5 / 6 + 1 / 2) / 2)


@pytest.mark.parametrize("seed", range(3))
def test_scores_agree_with_sklearn(seed):
    sk = pytest.importorskip("sklearn.metrics")
    rng = np.random.default_rng(seed)
    y, p = rng.integers(0, 3, 50), rng.integers(0, 3, 50)
    assert balanced_accuracy(y, p) == pytest.approx(sk.balanced_accuracy_score(y, p))
    assert cohen_kappa(y, p) == pytest.approx(sk.cohen_kappa_score(y, p))
    scores = np.round(rng.standard_normal(50), 1)
    assert auc(y, scores, 1) == pytest.approx(sk.roc_auc_score(y == 1, scores))


def test_kappa_of_one_constant_class_is_zero():
    assert cohen_kappa(["a", "a"], ["a", "a"]) == 0.0


def test_auc_needs_both_kinds():
    with pytest.raises(DataError, match="2 with and 0 without"):
        auc(["a", "a"], [0.1, 0.2], "a")


@pytest.mark.parametrize(
    ("p", "n", "bits"), [(1.0, 2, 1.0), (1.0, 4, 2.0), (0.5, 2, 0.0), (0.1, 2, 0.0), (0.9, 2, 0.5310), (0.8, 4, 0.9610)]
)
def test_transfer_rate_per_decision_is_that_of_wolpaw(p, n, bits):
    assert itr_bits_per_min(p, n, 60.0) == pytest.approx(bits, abs=1e-4)


def test_lists_of_other_lengths_are_refused():
    with pytest.raises(DataError, match="same length"):
        accuracy(["a"], ["a", "b"])
