"""Scores that say how sure they are, beyond accuracy (`bci.runtime.score` has intervals and chance limits)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from bci.errors import DataError
from bci.runtime.score import Score

Table = NDArray[np.int64]


def accuracy(y_true: ArrayLike, y_pred: ArrayLike, n_classes: int | None = None, split: str = "not said") -> Score:
    """Return accuracy with its exact interval, chance level and chance limit.

    Parameters
    ----------
    y_true, y_pred : array_like, shape (n_trials,)
        Classes asked for and decided; one entry per independent trial, not per window.
    n_classes : int, optional
        Number of classes one could choose from; those in `y_true` by default.
    split : str
        How training and test data were kept apart, in words.

    Raises
    ------
    DataError
        If lengths differ or there is no trial.

    References
    ----------
    .. [1] G. Müller-Putz et al. Better than random? A closer look on BCI results.
       Int J Bioelectromagn 10:52-55, 2008.
    """
    true, pred = _pair(y_true, y_pred)
    return Score(int((true == pred).sum()), len(true), n_classes or len(np.unique(true)), split)


def confusion(y_true: ArrayLike, y_pred: ArrayLike, classes: Sequence[Any] | None = None) -> Table:
    """Return how often each class (row) was decided as each class (column), shape (n_classes, n_classes).

    Parameters
    ----------
    y_true, y_pred : array_like, shape (n_trials,)
        Classes asked for and decided.
    classes : sequence, optional
        Order of rows and columns; all that occur, sorted, by default.

    Raises
    ------
    DataError
        If lengths differ, there is no trial, or a class is not in `classes`.
    """
    true, pred = _pair(y_true, y_pred)
    names = list(np.unique(np.concatenate([true, pred])) if classes is None else classes)
    place = {name: k for k, name in enumerate(names)}
    strange = sorted({str(c) for c in (*true, *pred) if c not in place})
    if strange:
        raise DataError(f"expected the classes {names}, got {', '.join(strange)}; add them to classes")
    table = np.zeros((len(names), len(names)), dtype=np.int64)
    np.add.at(table, ([place[c] for c in true], [place[c] for c in pred]), 1)
    return table


def balanced_accuracy(y_true: ArrayLike, y_pred: ArrayLike) -> float:
    """Return the mean over classes of the share decided rightly, so that a frequent class counts no more.

    References
    ----------
    .. [1] K. Brodersen et al. The balanced accuracy and its posterior distribution. ICPR 3121-3124, 2010.
       doi:10.1109/ICPR.2010.764
    """
    table = confusion(y_true, y_pred)
    asked = table.sum(axis=1)
    return float((table.diagonal()[asked > 0] / asked[asked > 0]).mean())


def cohen_kappa(y_true: ArrayLike, y_pred: ArrayLike) -> float:
    """Return agreement beyond chance: 0 for guessing, 1 for no error.

    References
    ----------
    .. [1] J. Cohen. A coefficient of agreement for nominal scales. Educ Psychol Meas 20:37-46, 1960.
       doi:10.1177/001316446002000104
    """
    table = confusion(y_true, y_pred) / len(np.asarray(y_true))
    expected = float(table.sum(axis=1) @ table.sum(axis=0))
    if expected >= 1.0:
        return 0.0  # one class asked for and decided: nothing was shown
    return (float(np.trace(table)) - expected) / (1.0 - expected)


def auc(y_true: ArrayLike, scores: ArrayLike, positive: Any) -> float:
    """Return the area under the receiver operating characteristic: 0.5 for guessing, 1 for perfect order.

    Parameters
    ----------
    y_true : array_like, shape (n_trials,)
        Classes asked for.
    scores : array_like, shape (n_trials,)
        Probability or any other score of the class `positive`.
    positive : object
        The class the scores are for; all others are against it.

    Raises
    ------
    DataError
        If lengths differ, scores are not finite, or only one of the two kinds is there.

    Notes
    -----
    It is the Mann-Whitney statistic: the share of pairs in the right order, ties counted half.

    References
    ----------
    .. [1] T. Fawcett. An introduction to ROC analysis. Pattern Recognit Lett 27:861-874, 2006.
       doi:10.1016/j.patrec.2005.10.010
    """
    from scipy.stats import rankdata

    true, values = _pair(y_true, scores)
    values = values.astype(np.float64)
    hit = true == positive
    n_hit, n_miss = int(hit.sum()), int((~hit).sum())
    if not (n_hit and n_miss and np.isfinite(values).all()):
        raise DataError(
            f"AUC needs finite scores of trials with and without {positive!r}, got {n_hit} with and {n_miss} without; "
            "check the name of the class and the scores"
        )
    ranks = float(rankdata(values)[hit].sum())
    return (ranks - n_hit * (n_hit + 1) / 2) / (n_hit * n_miss)


def itr_bits_per_min(accuracy: float, n_classes: int, decision_s: float) -> float:
    """Return Wolpaw's information transfer rate, bits per minute.

    Parameters
    ----------
    accuracy : float
        Share of right decisions, 0 to 1; at or below chance the rate is 0.
    n_classes : int
        Number of equally probable classes, 2 or more.
    decision_s : float
        Time from one decision to the next, pauses included, s.

    Raises
    ------
    DataError
        If an argument is out of range.

    Notes
    -----
    ``log2 N + P log2 P + (1 - P) log2((1 - P) / (N - 1))`` bits per decision. It holds for equal
    classes and equal errors only, and says nothing about whether the rate can be used.

    References
    ----------
    .. [1] J. Wolpaw et al. Brain-computer interface technology: a review of the first international meeting.
       IEEE Trans Rehabil Eng 8:164-173, 2000. doi:10.1109/TRE.2000.847807
    """
    if not (0 <= accuracy <= 1 and n_classes >= 2 and decision_s > 0):
        raise DataError(
            f"the rate needs an accuracy from 0 to 1, 2 classes or more and a time above 0 s, got {accuracy}, "
            f"{n_classes} and {decision_s} s"
        )
    if accuracy <= 1 / n_classes:
        return 0.0
    bits = np.log2(n_classes) + accuracy * np.log2(accuracy)
    if accuracy < 1:
        bits += (1 - accuracy) * np.log2((1 - accuracy) / (n_classes - 1))
    return float(60 * bits / decision_s)


def _pair(one: ArrayLike, other: ArrayLike) -> tuple[NDArray[Any], NDArray[Any]]:
    a, b = np.asarray(one), np.asarray(other)
    if a.ndim != 1 or a.shape != b.shape or not len(a):
        raise DataError(f"a score needs two lists of the same length, one entry per trial, got {a.shape} and {b.shape}")
    return a, b
