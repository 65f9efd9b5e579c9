"""Event-related potentials: window means and a discriminant with shrinkage, alone and behind xDAWN filters."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from bci.decoding.base import Array, LinearModel, State, WindowDecoder
from bci.decoding.contrast import contrast
from bci.decoding.lda import blocks, fit_scale, scaled, shrinkage_lda
from bci.errors import ConfigError, DataError

_BLOCKS = 5
_FLAT, _LOUD = 1e-3, 3.0  # of the usual, and times the largest, span of a channel in training


class ErpLda(WindowDecoder):
    """Means over short spans of every channel, and linear discriminant analysis with shrinkage.

    Parameters
    ----------
    sfreq : float, optional
        Rate of the windows in Hz; set by the session if not given.
    baseline_s : float, default=0
        How much of the beginning of a window is before the event, s: its mean is taken off each channel.
        0 takes nothing off; put a high-pass before the window then.
    mean_s : float, default=0.05
        Length of the spans that are averaged, s; they divide what follows the baseline evenly.

    Raises
    ------
    ConfigError
        From `fit`, if the rate is missing or the times do not fit the windows.
    DataError
        From `fit`, if a class has less than 5 windows in which the channels carry a signal.

    Notes
    -----
    After [1]_. Probabilities are those of classes that were equally likely beforehand, however rare targets are: 0.5
    means that a flash tells nothing, and the logit is the log-likelihood ratio that `bci.decoding.evidence.Evidence`
    adds up. They are scaled on windows left out of the fit (`bci.decoding.lda.fit_scale`).

    A window tells nothing, and all classes are equally probable, if a channel that carried a signal in training is
    flat (spans less than 0.001 of its usual span) or wild (spans more than 3 times its largest one in training).
    Windows like that take no part in training; channels that were flat throughout training take no part at all.

    References
    ----------
    .. [1] B. Blankertz et al. Single-trial analysis and classification of ERP components: a tutorial.
       NeuroImage 56:814-825, 2011. doi:10.1016/j.neuroimage.2010.06.048
    """

    def __init__(self, sfreq: float | None = None, baseline_s: float = 0.0, mean_s: float = 0.05) -> None:
        self.sfreq, self.baseline_s, self.mean_s = sfreq, baseline_s, mean_s

    def _fit(self, X: Array, y: NDArray[np.int64], groups: NDArray[np.int64]) -> None:
        self._check()
        span = np.ptp(X, axis=2)
        self._live = np.median(span, axis=0) > 0
        self._least = _FLAT * np.median(span, axis=0)
        self._most = np.full(X.shape[1], np.inf)
        kept = self._heard(span)
        X, y, groups = X[kept], y[kept], groups[kept]
        self._enough(y, int((~kept).sum()))
        self._most = _LOUD * span[kept].max(axis=0)
        X = X[:, self._live]
        block, scores = blocks(y, groups, _BLOCKS), np.zeros((len(y), len(self.classes_)))
        for b in range(_BLOCKS):
            left_out = block == b
            filters = self._filters_of(X[~left_out], y[~left_out])
            model = shrinkage_lda(self._features(X[~left_out], filters), y[~left_out])
            scores[left_out] = model.scores(self._features(X[left_out], filters))
        self._filters = self._filters_of(X, y)
        self._model = scaled(shrinkage_lda(self._features(X, self._filters), y), fit_scale(scores, y))

    def _predict(self, X: Array) -> Array:
        probabilities = self._model.probabilities(self._features(X[:, self._live], self._filters))
        probabilities[~self._heard(np.ptp(X, axis=2))] = 1 / len(self.classes_)
        return probabilities

    def _state(self) -> State:
        state = {"live": self._live, "least": self._least, "most": self._most, "filters": self._filters}
        return {**state, **self._model.state()}

    def _restore(self, state: State) -> None:
        self._live, self._filters = state["live"].astype(bool), state["filters"]
        self._least, self._most = state["least"], state["most"]
        self._model = LinearModel.from_state(state)
        self._check()

    def _check(self) -> None:
        if self.sfreq is None:
            raise ConfigError(f"{type(self).__name__} needs the rate of the windows; give sfreq (Hz)")
        length = self.n_times_ / self.sfreq
        if not (0 <= self.baseline_s < length and 0 < self.mean_s <= length - self.baseline_s):
            raise ConfigError(
                f"expected 0 <= baseline_s and 0 < mean_s, together within the window of {length:g} s, got "
                f"{self.baseline_s:g} s and {self.mean_s:g} s; make them shorter or the window longer"
            )

    def _enough(self, y: NDArray[np.int64], left_out: int) -> None:
        counts = np.bincount(y, minlength=len(self.classes_))
        if not self._live.any() or counts.min() < _BLOCKS:
            said = ", ".join(f"{n} of {c}" for n, c in zip(counts, self.classes_, strict=True))
            raise DataError(
                f"fit needs {_BLOCKS} windows of each class in which the channels carry a signal, got {said} "
                f"({left_out} more have flat channels, {int(self._live.sum())} of {self.n_channels_} channels ever "
                "carry one); check the electrodes and collect more"
            )

    def _heard(self, span: Array) -> NDArray[np.bool_]:
        """Return which windows tell something, by the span of each of their channels."""
        within = (span > self._least) & (span <= self._most)
        heard: NDArray[np.bool_] = within[:, self._live].all(axis=1)
        return heard

    def _filters_of(self, X: Array, y: NDArray[np.int64]) -> Array:
        return np.eye(X.shape[1])

    def _features(self, X: Array, filters: Array) -> Array:
        start = round(self.baseline_s * (self.sfreq or 0))
        means = span_means(X, start, max(1, round(self.mean_s * (self.sfreq or 0))))
        return (filters @ means).reshape(len(X), -1)


class XdawnLda(ErpLda):
    """The filters of xDAWN, means over short spans of what they give, and the discriminant with shrinkage.

    Parameters
    ----------
    sfreq : float, optional
        Rate of the windows in Hz; set by the session if not given.
    baseline_s : float, default=0
        As in `ErpLda`.
    mean_s : float, default=0.05
        As in `ErpLda`.
    n_components : int, default=2
        Filters for each class, at most the rank of the channels.

    Raises
    ------
    ConfigError
        From `fit`, as in `ErpLda`, or if `n_components` is below 1.
    DataError
        From `fit`, as in `ErpLda`.

    Notes
    -----
    xDAWN [1]_ looks for the filters after which the response to an event is largest against everything else. The
    response of a class is the mean of its windows here, as windows do not tell which others they overlap; [1]_ solves
    for overlapping responses by least squares. Each class has its filters; those of the frequent one find the
    response that all flashes share. Probabilities, and flat or wild channels, are as in `ErpLda`.

    References
    ----------
    .. [1] B. Rivet et al. xDAWN algorithm to enhance evoked potentials: application to brain-computer interface.
       IEEE Trans Biomed Eng 56:2035-2043, 2009. doi:10.1109/TBME.2009.2012869
    """

    def __init__(
        self,
        sfreq: float | None = None,
        baseline_s: float = 0.0,
        mean_s: float = 0.05,
        n_components: int = 2,
    ) -> None:
        super().__init__(sfreq, baseline_s, mean_s)
        self.n_components = n_components

    def _check(self) -> None:
        super()._check()
        if self.n_components < 1:
            raise ConfigError(f"xDAWN needs n_components >= 1, got {self.n_components}; ask for a filter at least")

    def _filters_of(self, X: Array, y: NDArray[np.int64]) -> Array:
        X = X - X.mean(axis=2, keepdims=True)
        signal = np.tensordot(X, X, axes=((0, 2), (0, 2))) / (len(X) * X.shape[2])
        responses = (X[y == k].mean(axis=0) for k in range(len(self.classes_)))
        return np.vstack([contrast(r @ r.T / X.shape[2], signal, self.n_components) for r in responses])


def span_means(X: Array, n_baseline: int, n_span: int) -> Array:
    """Return means over spans of about `n_span` samples, shape (n_epochs, n_channels, n_spans).

    Parameters
    ----------
    X : ndarray, shape (n_epochs, n_channels, n_times)
        Windows.
    n_baseline : int
        Samples at the beginning whose mean is taken off; they are in no span. 0 takes nothing off.
    n_span : int
        Length of a span in samples; the spans share what follows the baseline, each sample being in one of them.
    """
    n = X.shape[2] - n_baseline
    n_spans = max(1, round(n / n_span))
    edges = n_baseline + np.arange(n_spans + 1) * n // n_spans
    # `reduceat` sums to the end after the last edge, which is where the window ends.
    means: Array = np.add.reduceat(X, edges[:-1], axis=2) / np.diff(edges)
    if n_baseline:
        means = means - X[:, :, :n_baseline].mean(axis=2, keepdims=True)
    return means
