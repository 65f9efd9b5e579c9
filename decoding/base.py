"""What all decoders share: checks, classes, and a state that can be saved without pickle."""

from __future__ import annotations

from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from bci.decoding.estimator import Estimator
from bci.errors import ConfigError, DataError
from bci.runtime.temperature import tempered

Array = NDArray[np.float64]
State = dict[str, NDArray[Any]]


class WindowDecoder(Estimator):
    """A scikit-learn classifier of windows, shape (n_epochs, n_channels, n_times).

    Authors write `_fit`, `_predict`, `_state` and `_restore`; checks and labels are done here.
    """

    classes_: NDArray[Any]
    temperature_: float = 1.0
    """What probabilities are tempered by (`bci.runtime.temperature`); 1 after `fit`, set by the session's fit."""

    def fit(self, X: Array, y: NDArray[Any], groups: NDArray[np.int64] | None = None) -> Self:
        """Learn.

        Parameters
        ----------
        X : ndarray, shape (n_epochs, n_channels, n_times)
            Windows.
        y : ndarray, shape (n_epochs,)
            Class of each window.
        groups : ndarray of int, shape (n_epochs,), optional
            Trial of each window; each window is a trial of its own if not given.

        Raises
        ------
        DataError
            If shapes do not fit, values are not finite, or there is one class only.
        """
        X, y = _checked(X), np.asarray(y)
        if y.shape != X.shape[:1]:
            raise DataError(f"fit needs one class per window, got {len(X)} windows and {y.shape} classes")
        self.classes_, codes = np.unique(y, return_inverse=True)
        if len(self.classes_) < 2:
            raise DataError(
                f"fit needs windows of two classes or more, got {self.classes_.tolist()}; collect the other"
            )
        self.n_channels_, self.n_times_ = X.shape[1], X.shape[2]
        self.temperature_ = 1.0
        trials = np.arange(len(X)) if groups is None else np.asarray(groups)
        self._fit(X, codes.astype(np.int64), trials)
        return self

    def predict_proba(self, X: Array) -> Array:
        """Return class probabilities, shape (n_epochs, n_classes), columns as `classes_`."""
        if not hasattr(self, "classes_"):
            raise ConfigError(f"{type(self).__name__} is not fitted; call fit first or load a model")
        X = _checked(X)
        if X.shape[1:] != (self.n_channels_, self.n_times_):
            raise DataError(
                f"expected windows of {self.n_channels_} channels x {self.n_times_} samples, as fitted, "
                f"got {X.shape[1]} x {X.shape[2]}; use the chain and window it was fitted with"
            )
        return tempered(self._predict(X), self.temperature_)

    def predict(self, X: Array) -> NDArray[Any]:
        """Return the most probable class of each window, shape (n_epochs,)."""
        return self.classes_[self.predict_proba(X).argmax(axis=1)]

    def get_state(self) -> State:
        """Return everything learned, as arrays."""
        if not hasattr(self, "classes_"):
            raise ConfigError(f"{type(self).__name__} is not fitted; there is nothing to save")
        shape, temperature = np.array([self.n_channels_, self.n_times_]), np.array([self.temperature_])
        return {"shape": shape, "temperature": temperature, **self._state()}

    def set_state(self, state: State, classes: list[str]) -> Self:
        """Take back what `get_state` returned."""
        self.classes_ = np.array(classes)
        self.n_channels_, self.n_times_ = (int(n) for n in state["shape"])
        self.temperature_ = float(state["temperature"][0]) if "temperature" in state else 1.0
        self._restore(state)
        return self

    def _fit(self, X: Array, y: NDArray[np.int64], groups: NDArray[np.int64]) -> None:
        raise TypeError(f"{type(self).__name__} must define _fit")

    def _predict(self, X: Array) -> Array:
        raise TypeError(f"{type(self).__name__} must define _predict")

    def _state(self) -> State:
        raise TypeError(f"{type(self).__name__} must define _state")

    def _restore(self, state: State) -> None:
        raise TypeError(f"{type(self).__name__} must define _restore")


class LinearModel:
    """A linear classifier as plain arrays: softmax of ``F @ coef.T + intercept`` (two classes: logistic)."""

    def __init__(self, coef: Array, intercept: Array) -> None:
        self.coef, self.intercept = np.atleast_2d(coef), np.atleast_1d(intercept)

    @classmethod
    def of(cls, fitted: Any) -> LinearModel:
        """Take over a fitted linear classifier of scikit-learn (LDA, logistic regression)."""
        return cls(np.asarray(fitted.coef_, np.float64), np.asarray(fitted.intercept_, np.float64))

    def probabilities(self, features: Array) -> Array:
        """Return class probabilities, shape (n_epochs, n_classes), for features (n_epochs, n_features)."""
        return softmax(self.scores(features))

    def scores(self, features: Array) -> Array:
        """Return the logits, shape (n_epochs, n_classes); that of the first of two classes is 0."""
        scores = features @ self.coef.T + self.intercept
        return np.hstack([np.zeros_like(scores), scores]) if scores.shape[1] == 1 else scores

    def state(self, prefix: str = "linear.") -> State:
        """Return the arrays."""
        return {prefix + "coef": self.coef, prefix + "intercept": self.intercept}

    @classmethod
    def from_state(cls, state: State, prefix: str = "linear.") -> LinearModel:
        """Take back the arrays."""
        return cls(state[prefix + "coef"], state[prefix + "intercept"])


def softmax(scores: Array) -> Array:
    """Return probabilities, shape (n_epochs, n_classes), for logits of the same shape."""
    powers = np.exp(scores - scores.max(axis=1, keepdims=True))
    probabilities: Array = powers / powers.sum(axis=1, keepdims=True)
    return probabilities


def covariances(X: Array, shrinkage: float = 0.0) -> Array:
    """Return spatial covariances, shape (n_epochs, n_channels, n_channels), shrunk towards a scaled identity.

    References
    ----------
    .. [1] O. Ledoit, M. Wolf. A well-conditioned estimator for large-dimensional covariance matrices.
       J Multivar Anal 88:365-411, 2004. doi:10.1016/S0047-259X(03)00096-4
    """
    centred = X - X.mean(axis=2, keepdims=True)
    cov = centred @ centred.transpose(0, 2, 1) / X.shape[2]
    if shrinkage:
        n = X.shape[1]
        level = np.trace(cov, axis1=1, axis2=2)[:, None, None] / n
        cov = (1 - shrinkage) * cov + shrinkage * level * np.eye(n)
    return cov


def _checked(X: Array) -> Array:
    X = np.asarray(X, dtype=np.float64)
    if X.ndim != 3 or 0 in X.shape:
        raise DataError(f"expected windows of shape (n_epochs, n_channels, n_times), none of them 0, got {X.shape}")
    if not np.isfinite(X).all():
        raise DataError("expected finite samples, got NaN or infinity; leave out windows with Flag.NAN")
    return X
