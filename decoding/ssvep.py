"""Which of several flickers is looked at, from its frequency alone: canonical correlation with sines."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from bci.decoding.base import Array
from bci.decoding.ssvep_bank import Bands, FlickerDecoder, Span


class FilterBankCca(FlickerDecoder):
    """Canonical correlation with sines and their harmonics in several pass bands.

    Which flicker is picked is not learned: `fit` only learns how sure a score is, and, if the windows have a class
    without a frequency (rest), how high a score rest reaches.

    Parameters
    ----------
    sfreq : float, optional
        Rate of the windows in Hz; set by the session if not given.
    frequencies : mapping of str to float
        Frequency of each class, Hz; names that no window has are ignored. One class may have none: rest.
    n_harmonics : int, default=3
        Harmonics of the references, the fundamental included.
    bands : sequence of (float, float), optional
        Pass bands in Hz, the most telling first; by default those of `harmonic_bands`.

    Raises
    ------
    ConfigError
        From `fit`, if a class has no frequency, or a frequency or band does not fit below half the rate.

    Notes
    -----
    The squares of the largest canonical correlations of the bands [2]_, weighted, are the score; softmax of the
    scaled scores are the probabilities. The scale (1 to 50) makes the labels given to `fit` most likely.
    Bands are filtered on the cosine transform of the window, without a phase. A window in which no channel
    changes gives the same probability to all classes; flat and dependent channels are left out.

    References
    ----------
    .. [1] Z. Lin et al. Frequency recognition based on canonical correlation analysis for SSVEP-based BCIs.
       IEEE Trans Biomed Eng 53:2610-2614, 2006. doi:10.1109/TBME.2006.886577
    .. [2] X. Chen et al. Filter bank canonical correlation analysis for implementing a high-speed SSVEP-based
       brain-computer interface. J Neural Eng 12:046008, 2015. doi:10.1088/1741-2560/12/4/046008
    """

    def __init__(
        self,
        sfreq: float | None = None,
        frequencies: Mapping[str, float] | None = None,
        n_harmonics: int = 3,
        bands: Bands | None = None,
    ) -> None:
        self.sfreq, self.frequencies, self.n_harmonics, self.bands = sfreq, frequencies, n_harmonics, bands

    def correlations(self, X: Array) -> Array:
        """Return the largest canonical correlations, shape (n_epochs, n_bands, n_stimuli), of a fitted decoder."""
        return np.sqrt(self._band_scores(self._coefficients(np.asarray(X, dtype=np.float64))))

    def _learn(self, X: Array, y: NDArray[np.int64], groups: NDArray[np.int64]) -> Array:
        return self._joined(self._band_scores(self._coefficients(X)))

    def _band_scores(self, coefficients: Array) -> Array:
        scores = np.empty((len(coefficients), len(self._bank), len(self._hz)))
        for window, row in zip(coefficients, scores, strict=True):
            for response, cell in zip(self._bank, row, strict=True):
                cell[:] = self._strongest(Span(window * response).products(self._references))
        return scores

    def _strongest(self, products: Array) -> Array:
        """Return the square of the largest singular value of each stimulus's part."""
        parts = [products[:, a:b] for a, b in zip(self._edges[:-1], self._edges[1:], strict=True)]
        squares = [np.linalg.eigvalsh(part.T @ part)[-1] if len(part) else 0.0 for part in parts]
        return np.clip(squares, 0.0, 1.0)

    def _design(self) -> None:
        super()._design()
        bases = self._sines()
        self._edges = np.cumsum([0, *(b.shape[1] for b in bases)])
        self._references = np.hstack(bases)


class Cca(FilterBankCca):
    """Canonical correlation of the windows as they are with sines and their harmonics.

    Filter before: without it, slow drifts count as much as the response. `FilterBankCca` has the bands built in.

    Parameters
    ----------
    sfreq : float, optional
        Rate of the windows in Hz; set by the session if not given.
    frequencies : mapping of str to float
        Frequency of each class, Hz, as in `FilterBankCca`.
    n_harmonics : int, default=3
        Harmonics of the references, the fundamental included.
    bands : sequence of (float, float), default=()
        Pass bands in Hz; none by default.

    References
    ----------
    .. [1] Z. Lin et al. Frequency recognition based on canonical correlation analysis for SSVEP-based BCIs.
       IEEE Trans Biomed Eng 53:2610-2614, 2006. doi:10.1109/TBME.2006.886577
    """

    def __init__(
        self,
        sfreq: float | None = None,
        frequencies: Mapping[str, float] | None = None,
        n_harmonics: int = 3,
        bands: Bands | None = (),
    ) -> None:
        super().__init__(sfreq, frequencies, n_harmonics, bands)
