"""Common spatial patterns, alone and over a bank of filters."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import eigh

from bci.decoding.base import Array, LinearModel, State, WindowDecoder, covariances
from bci.errors import ConfigError, DataError

BANDS = ((4.0, 8.0), (8.0, 12.0), (12.0, 16.0), (16.0, 20.0), (20.0, 24.0), (24.0, 28.0), (28.0, 32.0))


class CspLda(WindowDecoder):
    """Common spatial patterns and linear discriminant analysis with shrinkage.

    Parameters
    ----------
    n_components : int, default=6
        Spatial filters per pair of one class against the others.
    regularisation : float, default=0.05
        Shrinkage of the class covariances towards a scaled identity, 0 to 1.

    Notes
    -----
    With more than two classes each class is contrasted with all others. Each
    trial's covariance is divided by its trace, as in [1]_; log power of the filtered
    windows goes to a linear discriminant, see [2]_.

    References
    ----------
    .. [1] H. Ramoser, J. Müller-Gerking, G. Pfurtscheller. Optimal spatial filtering of single trial EEG
       during imagined hand movement. IEEE Trans Rehabil Eng 8:441-446, 2000. doi:10.1109/86.895946
    .. [2] B. Blankertz et al. Optimizing spatial filters for robust EEG single-trial analysis.
       IEEE Signal Process Mag 25:41-56, 2008. doi:10.1109/MSP.2008.4408441
    """

    def __init__(self, n_components: int = 6, regularisation: float = 0.05) -> None:
        self.n_components, self.regularisation = n_components, regularisation

    def _fit(self, X: Array, y: NDArray[np.int64], groups: NDArray[np.int64]) -> None:
        _enough(y)
        self._filters = csp(covariances(X), y, self.n_components, self.regularisation)
        self._model = _shrinkage_lda(log_variance(X, self._filters), y)

    def _predict(self, X: Array) -> Array:
        return self._model.probabilities(log_variance(X, self._filters))

    def _state(self) -> State:
        return {"filters": self._filters, **self._model.state()}

    def _restore(self, state: State) -> None:
        self._filters, self._model = state["filters"], LinearModel.from_state(state)


class FilterBankCsp(WindowDecoder):
    """Filter-bank CSP: patterns per band, the features that tell most about the class, shrinkage LDA.

    Parameters
    ----------
    sfreq : float, optional
        Rate of the windows in Hz; set by the session if not given.
    bands : sequence of (float, float)
        Pass bands in Hz; those that do not fit below sfreq / 2 are an error.
    n_components : int, default=4
        Spatial filters per band and contrast.
    n_features : int, default=8
        Features kept, those with the highest mutual information with the class.
    regularisation : float, default=0.05
        Shrinkage of the class covariances.

    Notes
    -----
    Windows are filtered from rest (causally); the first 0.25 s of each are left
    out of the variances, so that the filters' onset does not enter.

    References
    ----------
    .. [1] K. K. Ang et al. Filter bank common spatial pattern algorithm on BCI competition IV datasets 2a and 2b.
       Front Neurosci 6:39, 2012. doi:10.3389/fnins.2012.00039
    """

    def __init__(
        self,
        sfreq: float | None = None,
        bands: Sequence[tuple[float, float]] = BANDS,
        n_components: int = 4,
        n_features: int = 8,
        regularisation: float = 0.05,
    ) -> None:
        self.sfreq, self.bands, self.n_components = sfreq, bands, n_components
        self.n_features, self.regularisation = n_features, regularisation

    def _fit(self, X: Array, y: NDArray[np.int64], groups: NDArray[np.int64]) -> None:
        from sklearn.feature_selection import mutual_info_classif

        _enough(y)
        self._design()
        filtered = self._filtered(X)
        self._filters = np.stack([csp(covariances(b), y, self.n_components, self.regularisation) for b in filtered])
        features = self._features(filtered)
        gain = mutual_info_classif(features, y, random_state=0, n_neighbors=min(3, len(y) - 1))
        self._kept = np.sort(np.argsort(gain)[::-1][: self.n_features]).astype(np.int64)
        self._model = _shrinkage_lda(features[:, self._kept], y)

    def _predict(self, X: Array) -> Array:
        return self._model.probabilities(self._features(self._filtered(X))[:, self._kept])

    def _state(self) -> State:
        return {"filters": self._filters, "kept": self._kept, **self._model.state()}

    def _restore(self, state: State) -> None:
        self._filters, self._kept = state["filters"], state["kept"]
        self._model = LinearModel.from_state(state)
        self._design()

    def _design(self) -> None:
        from scipy.signal import butter

        if self.sfreq is None:
            raise ConfigError("FilterBankCsp needs the rate of the windows; give sfreq (Hz)")
        top = max(high for _, high in self.bands)
        if top >= self.sfreq / 2:
            raise ConfigError(f"bands must end below {self.sfreq / 2:g} Hz, got {top:g} Hz; drop the highest bands")
        self._sos = [butter(2, band, "bandpass", fs=self.sfreq, output="sos") for band in self.bands]

    def _filtered(self, X: Array) -> list[Array]:
        from scipy.signal import sosfilt

        skip = min(round(0.25 * (self.sfreq or 0)), X.shape[2] // 4)
        return [sosfilt(sos, X, axis=2)[:, :, skip:] for sos in self._sos]

    def _features(self, filtered: list[Array]) -> Array:
        return np.hstack([log_variance(b, w) for b, w in zip(filtered, self._filters, strict=True)])


def csp(cov: Array, y: NDArray[np.int64], n_components: int, regularisation: float) -> Array:
    """Return spatial filters as rows, shape (n_filters, n_channels).

    Parameters
    ----------
    cov : ndarray, shape (n_epochs, n_channels, n_channels)
        Spatial covariances.
    y : ndarray of int, shape (n_epochs,)
        Class codes.
    n_components : int
        Filters per contrast: half from each end of the spectrum.
    regularisation : float
        Shrinkage of the class means towards a scaled identity.

    Raises
    ------
    ConfigError
        If a setting is out of range.
    DataError
        If a class has nothing but constant windows; single ones do not count.
    """
    if not (n_components >= 2 and 0 <= regularisation <= 1):
        raise ConfigError(
            f"CSP needs n_components >= 2 and 0 <= regularisation <= 1, got {n_components}, {regularisation}"
        )
    power = np.trace(cov, axis1=1, axis2=2)
    heard = power > 0
    if set(y[heard]) != set(y):
        raise DataError(
            f"expected windows with a signal in every class, got {len(y) - heard.sum()} of {len(y)} windows in which "
            "no channel changes; check electrodes and amplifier, then calibrate again"
        )
    scaled = cov[heard] / power[heard, None, None]
    n = cov.shape[1]
    means = [scaled[y[heard] == k].mean(axis=0) for k in np.unique(y)]
    means = [(1 - regularisation) * m + regularisation * np.trace(m) / n * np.eye(n) for m in means]
    contrasts = means[:1] if len(means) == 2 else means
    filters = []
    for mean in contrasts:
        _, vectors = eigh(mean, np.sum(means, axis=0))
        low, high = (n_components + 1) // 2, n_components // 2
        picked = np.r_[0 : min(low, n), max(n - high, min(low, n)) : n]
        filters.append(vectors[:, picked].T)
    return np.vstack(filters)


def log_variance(X: Array, filters: Array) -> Array:
    """Return the log variances of filtered windows, shape (n_epochs, n_filters)."""
    return np.log(np.maximum(np.var(filters @ X, axis=2), 1e-20))


def _enough(y: NDArray[np.int64]) -> None:
    """A discriminant needs the spread within a class, which single windows do not have."""
    if len(y) <= len(np.unique(y)):
        raise DataError(f"fit needs two windows of some class at least, got {len(y)} of {len(np.unique(y))} classes; "
                        "collect more trials")  # fmt: skip


def _shrinkage_lda(features: Array, y: NDArray[np.int64]) -> LinearModel:
    from sklearn.discriminant_analysis import (
        LinearDiscriminantAnalysis,
    )  # takes half a second; a saved model needs none

    return LinearModel.of(LinearDiscriminantAnalysis(solver="lsqr", shrinkage="auto").fit(features, y))
