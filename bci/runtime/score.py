"""Scores that say how sure they are: exact intervals, chance limits, grouped cross-validation."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bci.decision import Decision
from bci.errors import DataError
from bci.ports import Decoder

_OPEN_TRIALS = 64
"""As many trials as a `bci.runtime.collect.Labeller` still finds windows for."""


@dataclass(frozen=True, slots=True)
class Score:
    """An accuracy with everything needed to judge it.

    Parameters
    ----------
    correct, n : int
        Right answers out of `n` independent trials.
    n_classes : int
        Number of classes.
    split : str
        How training and test data were kept apart, in words.
    """

    correct: int
    n: int
    n_classes: int
    split: str

    @property
    def accuracy(self) -> float:
        """Share of right answers."""
        return self.correct / self.n if self.n else float("nan")

    @property
    def interval(self) -> tuple[float, float]:
        """Exact 95 % interval of the accuracy."""
        return binomial_interval(self.correct, self.n)

    @property
    def chance(self) -> float:
        """Accuracy expected from guessing."""
        return 1 / self.n_classes

    @property
    def chance_limit(self) -> float:
        """Accuracy that guessing reaches in at most 5 % of such experiments."""
        return chance_limit(self.n, self.n_classes)

    def __str__(self) -> str:
        low, high = self.interval
        return (
            f"accuracy {self.accuracy:.2f} (95 % interval {low:.2f}-{high:.2f}, n = {self.n} trials, "
            f"chance {self.chance:.2f}, chance limit {self.chance_limit:.2f}; {self.split})"
        )

    def as_dict(self) -> dict[str, Any]:
        """Return everything as plain values, for JSON."""
        low, high = self.interval
        return {
            "accuracy": self.accuracy,
            "low": low,
            "high": high,
            "correct": self.correct,
            "n": self.n,
            "chance": self.chance,
            "chance_limit": self.chance_limit,
            "split": self.split,
        }


def binomial_interval(k: int, n: int, level: float = 0.95) -> tuple[float, float]:
    """Return the exact (Clopper-Pearson) interval of a proportion of `k` out of `n`.

    References
    ----------
    .. [1] C. Clopper, E. Pearson. The use of confidence or fiducial limits illustrated in the case
       of the binomial. Biometrika 26:404-413, 1934. doi:10.1093/biomet/26.4.404
    """
    from scipy.stats import beta

    if not 0 <= k <= n:
        raise DataError(f"a proportion needs 0 <= k <= n, got k = {k} and n = {n}")
    if n == 0:
        return 0.0, 1.0
    tail = (1 - level) / 2
    low = 0.0 if k == 0 else float(beta.ppf(tail, k, n - k + 1))
    high = 1.0 if k == n else float(beta.ppf(1 - tail, k + 1, n - k))
    return low, high


def chance_limit(n: int, n_classes: int, level: float = 0.95) -> float:
    """Return the accuracy that guessing among `n_classes` exceeds with probability 1 - `level` at most.

    References
    ----------
    .. [1] G. Müller-Putz et al. Better than random? A closer look on BCI results.
       Int J Bioelectromagn 10:52-55, 2008.
    """
    from scipy.stats import binom

    return float(binom.ppf(level, n, 1 / n_classes)) / n if n else 1.0


def grouped_folds(
    y: NDArray[Any], groups: NDArray[np.int64], n_splits: int, seed: int = 0
) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """Yield (train, test) indices; windows of one trial stay together, classes are spread evenly."""
    labels = {int(g): y[np.argmax(groups == g)] for g in np.unique(groups)}
    rng = np.random.default_rng(seed)
    fold_of: dict[int, int] = {}
    k = 0
    for label in np.unique(y):
        members = np.array([g for g, name in labels.items() if name == label])
        for g in rng.permutation(members):
            fold_of[int(g)] = k % n_splits
            k += 1
    folds = np.array([fold_of[int(g)] for g in groups])
    for f in range(n_splits):
        test = np.flatnonzero(folds == f)
        if len(test):
            yield np.flatnonzero(folds != f), test


def trial_answers(
    probabilities: NDArray[np.float64], classes: Sequence[str] | NDArray[Any], groups: NDArray[np.int64]
) -> dict[int, str]:
    """Return one answer per trial: the class with the largest sum of log-probabilities over its windows."""
    logs = np.log(np.clip(probabilities, 1e-12, 1.0))
    return {int(g): str(classes[int(np.argmax(logs[groups == g].sum(axis=0)))]) for g in np.unique(groups)}


class Answers:
    """Count right answers of trials while they come; as `trial_answers`, with the memory of a few trials."""

    def __init__(self) -> None:
        self._open: dict[int, tuple[str, tuple[str, ...], NDArray[np.float64]]] = {}
        self._correct = self._n = 0

    def add(self, trial: int, label: str, decision: Decision) -> None:
        """Take the decision on one window of `trial`, whose right answer is `label`."""
        logs = np.log(np.clip(decision.probabilities, 1e-12, 1.0))
        before = self._open.get(trial)
        self._open[trial] = (label, decision.classes, logs if before is None else before[2] + logs)
        while len(self._open) > _OPEN_TRIALS:
            self._settle(min(self._open))

    def count(self) -> tuple[int, int]:
        """Return the number of right answers, and of trials."""
        for trial in list(self._open):
            self._settle(trial)
        return self._correct, self._n

    def _settle(self, trial: int) -> None:
        label, classes, logs = self._open.pop(trial)
        self._correct += classes[int(np.argmax(logs))] == label
        self._n += 1


def fit_decoder(decoder: Decoder, X: NDArray[np.float64], y: NDArray[Any], groups: NDArray[np.int64]) -> Decoder:
    """Fit `decoder`, handing over the trial of each window where it asks for it."""
    import inspect

    if "groups" in inspect.signature(decoder.fit).parameters:
        return decoder.fit(X, y, groups=groups)  # type: ignore[call-arg]  # asked for just above
    return decoder.fit(X, y)


def out_of_fold(
    decoder: Decoder,
    X: NDArray[np.float64],
    y: NDArray[Any],
    groups: NDArray[np.int64],
    n_splits: int = 5,
    seed: int = 0,
) -> tuple[Score, NDArray[np.float64], NDArray[Any]]:
    """Return the score per trial of an unfitted `decoder`, and what it says of windows that it has not seen.

    Parameters
    ----------
    decoder : Decoder
        Copied for every fold, left as it is.
    X : ndarray, shape (n_epochs, n_channels, n_times)
        Windows.
    y : ndarray, shape (n_epochs,)
        Class of each window.
    groups : ndarray of int, shape (n_epochs,)
        Trial of each window.

    Returns
    -------
    score : Score
        By folds over trials.
    probabilities : ndarray, shape (n_epochs, n_classes)
        Of each window, by a decoder fitted without any window of its trial.
    classes : ndarray, shape (n_classes,)
        Names of the columns.

    Raises
    ------
    DataError
        If a class has fewer than two trials.
    """
    trials = {int(g): str(y[np.argmax(groups == g)]) for g in np.unique(groups)}
    classes, counts = np.unique(list(trials.values()), return_counts=True)
    if len(classes) < 2 or counts.min() < 2:
        found = ", ".join(f"{c}: {n}" for c, n in zip(classes, counts, strict=True)) or "none"
        raise DataError(f"a score needs two classes with two trials each, got {found}; collect more trials")
    n_splits = int(min(n_splits, counts.min()))
    correct, said = 0, np.full((len(X), len(classes)), np.nan)
    for train, test in grouped_folds(y, groups, n_splits, seed):
        fitted = fit_decoder(copy.deepcopy(decoder), X[train], y[train], groups[train])
        said[test] = fitted.predict_proba(X[test])
        answers = trial_answers(said[test], fitted.classes_, groups[test])
        correct += sum(trials[g] == answer for g, answer in answers.items())
    score = Score(correct, len(trials), len(classes), f"{n_splits}-fold over trials")
    return score, said, np.asarray(fitted.classes_)
