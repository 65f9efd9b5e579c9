"""What the decoders of flicker share: pass bands, sine references, and the scale of their probabilities."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.fft import dct
from scipy.linalg import eigh, lapack
from scipy.optimize import minimize

from bci.decoding.base import Array, WindowDecoder, softmax
from bci.errors import ConfigError, DataError
from bci.runtime.temperature import surprise

Bands = Sequence[tuple[float, float]]

_LEAST = 1e-10
"""Share of a channel's power that others must leave unexplained for it to count as a direction of its own."""
_ORDER = 4
_NOTHING = (np.zeros((0, 0)), np.zeros(0, dtype=np.int64), 0, 0)


class FlickerDecoder(WindowDecoder):
    """What is common: settings, checks, bands and calibration; authors write `_learn` and `_band_scores`."""

    sfreq: float | None
    frequencies: Mapping[str, float] | None
    n_harmonics: int
    bands: Bands | None

    def _fit(self, X: Array, y: NDArray[np.int64], groups: NDArray[np.int64]) -> None:
        self._design()
        heard = self._power(X) > 0
        if set(y[heard]) != set(y):
            raise DataError("expected windows with a signal in every class, got one of constant windows only; check "
                            "electrodes and amplifier, then calibrate again")  # fmt: skip
        X, y = X[heard], y[heard]
        scale, idle = _calibration(self._learn(X, y, groups[heard]), y, self._stimuli)
        self._calibration = np.array([scale, idle])

    def _predict(self, X: Array) -> Array:
        scores = self._joined(self._band_scores(self._coefficients(X)))
        logits = _logits(scores, self._stimuli, len(self.classes_), self._calibration)
        return softmax(np.where((self._power(X) > 0)[:, None], logits, 0.0))

    def _learn(self, X: Array, y: NDArray[np.int64], groups: NDArray[np.int64]) -> Array:
        """Learn, and return scores of windows not learned from (or as good as), shape (n_epochs, n_stimuli)."""
        raise TypeError(f"{type(self).__name__} must define _learn")

    def _band_scores(self, coefficients: Array) -> Array:
        """Return correlations, squared with their sign kept, shape (n_epochs, n_bands, n_stimuli)."""
        raise TypeError(f"{type(self).__name__} must define _band_scores")

    def _design(self) -> None:
        """Compute what follows from the settings, the classes and the length of the window."""
        if self.sfreq is None or not self.frequencies:
            raise ConfigError(
                f"{type(self).__name__} needs the rate of the windows and what flickers how fast; give sfreq (Hz) "
                "and frequencies, as in {'left': 13.0, 'right': 17.0}"
            )
        known = {str(name): float(hz) for name, hz in self.frequencies.items()}
        names = [str(c) for c in self.classes_]
        self._stimuli = np.array([k for k, name in enumerate(names) if name in known], dtype=np.int64)
        if len(self._stimuli) < len(names) - 1 or not len(self._stimuli):
            raise ConfigError(
                f"expected a frequency for each class but one (rest), got {known} for the classes {names}; name them "
                "as the events are named"
            )
        self._hz = np.array([known[names[k]] for k in self._stimuli])
        if not (self.n_harmonics >= 1 and self._hz.min() > 0 and self._hz.max() < self.sfreq / 2):
            raise ConfigError(
                f"expected n_harmonics >= 1 and frequencies between 0 and {self.sfreq / 2:g} Hz, got "
                f"{self.n_harmonics} and {self._hz.tolist()}"
            )
        self._bank = responses(self.sfreq, self.n_times_, self._pass_bands())
        self._weights = band_weights(len(self._bank))

    def _pass_bands(self) -> Bands:
        bands = harmonic_bands(self._hz.min(), self.sfreq or 0.0) if self.bands is None else self.bands
        for low, high in bands:
            if not 0 < low < high < (self.sfreq or 0.0) / 2:
                raise ConfigError(
                    f"bands must satisfy 0 < low < high < {(self.sfreq or 0.0) / 2:g} Hz, got {low:g} to {high:g} Hz; "
                    "change the bands"
                )
        return bands

    def _sines(self) -> list[Array]:
        """Return the cosine coefficients of the references of each stimulus, shape (n_times, 2 n_harmonics) each."""
        bases = [references(hz, self.n_harmonics, self.sfreq or 0.0, self.n_times_) for hz in self._hz]
        return [dct(base, type=2, norm="ortho", axis=0) for base in bases]

    def _coefficients(self, X: Array) -> Array:
        """Return cosine coefficients of windows without their mean, shape as `X`."""
        centred = X - X.mean(axis=2, keepdims=True)
        coefficients: Array = dct(centred, type=2, norm="ortho", axis=2)
        return coefficients

    def _joined(self, scores: Array) -> Array:
        """Return one score per window and stimulus, -1 to 1: the weighted mean over the bands."""
        joined: Array = np.tensordot(scores, self._weights, axes=(1, 0))
        return joined

    def _power(self, X: Array) -> Array:
        power: Array = np.ptp(X, axis=2).max(axis=1)
        return power

    def _state(self) -> dict[str, NDArray[Any]]:
        return {"calibration": self._calibration}

    def _restore(self, state: dict[str, NDArray[Any]]) -> None:
        self._calibration = state["calibration"]
        self._design()


def harmonic_bands(lowest_hz: float, sfreq: float, n_bands: int = 3) -> Bands:
    """Return pass bands that begin just below each harmonic of the lowest frequency and share their end.

    Parameters
    ----------
    lowest_hz : float
        Lowest frequency that flickers, Hz.
    sfreq : float
        Sampling rate, Hz.
    n_bands : int
        Bands at most; those are left out that would begin above half of the common end.

    Notes
    -----
    This is the design M3 of [1]_. The bands begin a tenth below the harmonic and end at
    90 Hz, or at 0.45 of the rate if that is lower.

    References
    ----------
    .. [1] X. Chen et al. Filter bank canonical correlation analysis for implementing a high-speed SSVEP-based
       brain-computer interface. J Neural Eng 12:046008, 2015. doi:10.1088/1741-2560/12/4/046008
    """
    high = min(90.0, 0.45 * sfreq)
    lows = [0.9 * lowest_hz * (m + 1) for m in range(n_bands)]
    return [(low, high) for k, low in enumerate(lows) if k == 0 or low < high / 2]


def band_weights(n_bands: int) -> Array:
    """Return the weights of the bands, m ** -1.25 + 0.25 divided by their sum (Chen 2015)."""
    weights = np.arange(1, n_bands + 1) ** -1.25 + 0.25
    return np.asarray(weights / weights.sum(), dtype=np.float64)


def responses(sfreq: float, n_times: int, bands: Bands) -> Array:
    """Return what each band does to each cosine coefficient, shape (n_bands, n_times); no bands pass all but 0 Hz.

    The response is the squared magnitude of a Butterworth band-pass of order 4, as of filtering forwards and
    backwards over a window that goes on as its own mirror image.
    """
    hz = np.arange(n_times) * sfreq / (2 * n_times)
    bank = np.ones((max(len(bands), 1), n_times))
    for row, (low, high) in zip(bank, bands, strict=False):
        row[1:] = 1 / (1 + ((hz[1:] ** 2 - low * high) / (hz[1:] * (high - low))) ** (2 * _ORDER))
    bank[:, 0] = 0
    return bank


def references(hz: float, n_harmonics: int, sfreq: float, n_times: int) -> Array:
    """Return an orthonormal basis of a flicker's sines and cosines without mean, shape (n_times, 2 n_harmonics).

    Harmonics at or above half the rate are left out.
    """
    harmonics = [h for h in range(1, n_harmonics + 1) if h * hz < 0.99 * sfreq / 2] or [1]
    angle = 2 * np.pi * hz * np.outer(np.arange(n_times) / sfreq, harmonics)
    waves = np.hstack([np.sin(angle), np.cos(angle)])
    return np.linalg.qr(waves - waves.mean(axis=0))[0]


class Span:
    """The space that the channels of a window span; flat and dependent ones add nothing to it.

    Parameters
    ----------
    signals : ndarray, shape (n_channels, n_times)
        Signals without mean.

    Notes
    -----
    Its orthonormal basis is that of a pivoted Cholesky factor of the correlations: the triangle of a QR
    decomposition in a fraction of its time, as the basis itself is not needed.
    """

    def __init__(self, signals: Array) -> None:
        size = np.sqrt(np.einsum("ij,ij->i", signals, signals))
        heard = np.flatnonzero(size > 1e-9 * size.max(initial=0.0))
        unit = signals[heard] / size[heard, None]
        factor, pivots, rank, _ = lapack.dpstrf(unit @ unit.T, tol=_LEAST, lower=1) if len(heard) else _NOTHING
        kept = pivots[:rank] - 1
        self._n_channels, self._channels, self._size = len(signals), heard[kept], size[heard[kept]]
        self._factor, self._unit = np.asfortranarray(factor[:rank, :rank]), unit[kept]

    def products(self, others: Array) -> Array:
        """Return the inner products of the basis with columns (n_times, n_others), shape (rank, n_others)."""
        if not len(self._channels):
            return np.zeros((0, others.shape[1]))
        solved, _ = lapack.dtrtrs(self._factor, self._unit @ others, lower=1)
        return np.asarray(solved, dtype=np.float64)

    def basis(self) -> Array:
        """Return the orthonormal basis, shape (n_times, rank)."""
        if not len(self._channels):
            return np.zeros((self._unit.shape[1], 0))
        solved, _ = lapack.dtrtrs(self._factor, self._unit, lower=1)
        return np.asarray(solved.T, dtype=np.float64)

    def match(self, others: Array) -> tuple[float, Array]:
        """Return the largest canonical correlation with an orthonormal basis (n_times, n_others) and its filter."""
        products = self.products(others)
        weights = np.zeros(self._n_channels)
        if 0 in products.shape:
            return 0.0, weights
        narrow = products.shape[1] < products.shape[0]
        square = products.T @ products if narrow else products @ products.T
        n = len(square)
        values, vectors = eigh(square, subset_by_index=[n - 1, n - 1], check_finite=False)
        direction = products @ vectors if narrow else vectors
        solved, _ = lapack.dtrtrs(self._factor, direction, lower=1, trans=1)
        weights[self._channels] = solved[:, 0] / self._size
        return float(np.sqrt(np.clip(values[0], 0.0, 1.0))), weights


def _logits(scores: Array, stimuli: NDArray[np.int64], n_classes: int, calibration: Array) -> Array:
    logits = np.full((len(scores), n_classes), calibration[1])
    logits[:, stimuli] = calibration[0] * scores
    return logits


def _calibration(scores: Array, y: NDArray[np.int64], stimuli: NDArray[np.int64]) -> tuple[float, float]:
    """Return the scale of the scores and the logit of rest which make the labels most likely."""
    n_classes = int(y.max()) + 1
    start = np.array([10.0, 10.0 * float(scores.max(axis=1).mean())])

    weights = np.full(len(y), 1 / len(y))

    def loss(values: Array) -> float:
        return surprise(_logits(scores, stimuli, n_classes, values), y, weights)

    found = minimize(loss, start, method="L-BFGS-B", bounds=((1.0, 50.0), (-50.0, 50.0)))
    return float(found.x[0]), float(found.x[1])
