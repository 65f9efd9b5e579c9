"""Which of several flickers is looked at, from templates of one's own responses; their phase must be locked."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bci.decoding.base import Array
from bci.decoding.contrast import contrast
from bci.decoding.ssvep_bank import Bands, FlickerDecoder, Span
from bci.errors import DataError
from bci.runtime.score import grouped_folds

_FOLDS = 5


class TemplateDecoder(FlickerDecoder):
    """What decoders with templates share: means of the classes' windows, scores of held-out trials."""

    def _learn(self, X: Array, y: NDArray[np.int64], groups: NDArray[np.int64]) -> Array:
        n_trials = [len(np.unique(groups[y == k])) for k in self._stimuli]
        if min(n_trials) < 3:
            raise DataError(
                f"{type(self).__name__} needs three trials or more of each class that flickers, got {min(n_trials)}; "
                "collect more"
            )
        coefficients = self._coefficients(X)
        scores = np.empty((len(X), len(self._stimuli)))
        for seen, left_out in grouped_folds(y, groups, min(_FOLDS, *n_trials)):
            self._learn_templates(coefficients[seen], y[seen])
            scores[left_out] = self._joined(self._band_scores(coefficients[left_out]))
        self._learn_templates(coefficients, y)
        return scores

    def _learn_templates(self, coefficients: Array, y: NDArray[np.int64]) -> None:
        raise TypeError(f"{type(self).__name__} must define _learn_templates")


class Trca(TemplateDecoder):
    """Task-related component analysis: the filter that makes trials of a class most alike, then correlation.

    Parameters
    ----------
    sfreq : float, optional
        Rate of the windows in Hz; set by the session if not given.
    frequencies : mapping of str to float
        Frequency of each class, Hz; one class may have none: rest.
    ensemble : bool, default=True
        Whether windows are compared through the filters of all classes, or of one at a time.
    bands : sequence of (float, float), optional
        Pass bands in Hz, the most telling first; by default those of `harmonic_bands`.

    Raises
    ------
    DataError
        From `fit`, if a class that flickers has fewer than three trials.
    ConfigError
        From `fit`, if a class has no frequency, or a band does not fit below half the rate.

    Notes
    -----
    Windows must begin at the same time after the flicker does, and the flicker at the same phase; `phase_lock`
    tells. The scores are the bands' weighted mean of signed squares of the correlations, those of trials that the
    templates were not made from give the scale of the softmax.

    References
    ----------
    .. [1] M. Nakanishi et al. Enhancing detection of SSVEPs for a high-speed brain speller using task-related
       component analysis. IEEE Trans Biomed Eng 65:104-112, 2018. doi:10.1109/TBME.2017.2694818
    """

    n_harmonics = 1

    def __init__(
        self,
        sfreq: float | None = None,
        frequencies: Mapping[str, float] | None = None,
        ensemble: bool = True,
        bands: Bands | None = None,
    ) -> None:
        self.sfreq, self.frequencies, self.ensemble, self.bands = sfreq, frequencies, ensemble, bands

    def _learn_templates(self, coefficients: Array, y: NDArray[np.int64]) -> None:
        n_bands, n_stimuli, n_channels = len(self._bank), len(self._stimuli), coefficients.shape[1]
        self._filters = np.empty((n_bands, n_stimuli, n_channels))
        self._templates = np.empty((n_stimuli, *coefficients.shape[1:]))
        for k, code in enumerate(self._stimuli):
            trials = coefficients[y == code]
            self._templates[k] = trials.mean(axis=0)
            for b, response in enumerate(self._bank):
                self._filters[b, k] = trca(trials * response)
        self._project()

    def _project(self) -> None:
        """Compute the templates as seen through the filters, of length 1."""
        seen = np.einsum("bfc,kct->bkft", self._filters, self._templates) * self._bank[:, None, None, :]
        if not self.ensemble:
            seen = np.einsum("bkkt->bkt", seen)[:, :, None, :]
        length = np.sqrt((seen**2).sum(axis=(2, 3), keepdims=True))
        self._seen = np.divide(seen, length, out=np.zeros_like(seen), where=length > 0)

    def _band_scores(self, coefficients: Array) -> Array:
        seen = np.einsum("bfc,nct->nbft", self._filters, coefficients, optimize=True) * self._bank[:, None, :]
        if self.ensemble:
            products = np.einsum("nbft,bkft->nbk", seen, self._seen, optimize=True)
            length = np.sqrt((seen**2).sum(axis=(2, 3)))[:, :, None]
        else:
            products = np.einsum("nbkt,bkt->nbk", seen, self._seen[:, :, 0], optimize=True)
            length = np.sqrt((seen**2).sum(axis=3))
        correlations = np.divide(products, length, out=np.zeros_like(products), where=length > 0)
        return np.abs(correlations) * correlations

    def _state(self) -> dict[str, NDArray[Any]]:
        return {"filters": self._filters, "templates": self._templates, **super()._state()}

    def _restore(self, state: dict[str, NDArray[Any]]) -> None:
        super()._restore(state)
        self._filters, self._templates = state["filters"], state["templates"]
        self._project()


class ExtendedCca(TemplateDecoder):
    """Extended canonical correlation: with sines, and with the class's template through three spatial filters.

    Parameters
    ----------
    sfreq : float, optional
        Rate of the windows in Hz; set by the session if not given.
    frequencies : mapping of str to float
        Frequency of each class, Hz; one class may have none: rest.
    n_harmonics : int, default=3
        Harmonics of the references, the fundamental included.
    bands : sequence of (float, float), optional
        Pass bands in Hz, the most telling first; by default those of `harmonic_bands`.

    Raises
    ------
    DataError
        From `fit`, if a class that flickers has fewer than three trials.
    ConfigError
        From `fit`, if a class has no frequency, or a frequency or band does not fit below half the rate.

    Notes
    -----
    The score of a band is the mean of sign(r) r ** 2 over the four correlations of [1]_: of the window with the
    references, and of the window and the template through the filters that canonical correlation finds between
    window and references, template and references, window and template. Phases must be locked, as for `Trca`.

    References
    ----------
    .. [1] X. Chen et al. High-speed spelling with a noninvasive brain-computer interface.
       Proc Natl Acad Sci 112:E6058-E6067, 2015. doi:10.1073/pnas.1508080112
    .. [2] M. Nakanishi et al. A comparison study of canonical correlation analysis based methods for detecting
       steady-state visual evoked potentials. PLoS ONE 10:e0140703, 2015. doi:10.1371/journal.pone.0140703
    """

    def __init__(
        self,
        sfreq: float | None = None,
        frequencies: Mapping[str, float] | None = None,
        n_harmonics: int = 3,
        bands: Bands | None = None,
    ) -> None:
        self.sfreq, self.frequencies, self.n_harmonics, self.bands = sfreq, frequencies, n_harmonics, bands

    def _learn_templates(self, coefficients: Array, y: NDArray[np.int64]) -> None:
        self._templates = np.stack([coefficients[y == code].mean(axis=0) for code in self._stimuli])
        self._prepare_templates()

    def _prepare_templates(self) -> None:
        """Compute what does not depend on the window: filtered templates, their bases and filters."""
        self._banked = self._templates * self._bank[:, None, None, :]
        spans = [[Span(template) for template in banked] for banked in self._banked]
        self._bases = [[span.basis() for span in row] for row in spans]
        self._own = [[span.match(s)[1] for span, s in zip(row, self._references, strict=True)] for row in spans]

    def _band_scores(self, coefficients: Array) -> Array:
        scores = np.empty((len(coefficients), len(self._bank), len(self._hz)))
        for window, row in zip(coefficients, scores, strict=True):
            for b, response in enumerate(self._bank):
                signals = window * response
                span = Span(signals)
                row[b] = [self._score(signals, span, b, k) for k in range(len(self._hz))]
        return scores

    def _score(self, signals: Array, span: Span, b: int, k: int) -> float:
        r, to_sines = span.match(self._references[k])
        _, to_template = span.match(self._bases[b][k])
        found = [r]
        for weights in (to_sines, self._own[b][k], to_template):
            found.append(_correlation(weights @ signals, weights @ self._banked[b, k]))
        return float(np.mean(np.abs(found) * found))

    def _design(self) -> None:
        super()._design()
        self._references = self._sines()

    def _state(self) -> dict[str, NDArray[Any]]:
        return {"templates": self._templates, **super()._state()}

    def _restore(self, state: dict[str, NDArray[Any]]) -> None:
        super()._restore(state)
        self._templates = state["templates"]
        self._prepare_templates()


def trca(trials: Array) -> Array:
    """Return the spatial filter of the strongest task-related component, shape (n_channels,).

    Parameters
    ----------
    trials : ndarray, shape (n_trials, n_channels, n_times)
        Trials of one class without mean; dependent channels do no harm.

    Notes
    -----
    The filter w maximises w'Sw / w'Qw, S being the sum of the covariances between different trials and Q that
    within them (Nakanishi 2018), in the space that the channels span.
    """
    total = trials.sum(axis=0)
    within = np.einsum("nct,ndt->cd", trials, trials, optimize=True)
    weights: Array = contrast(total @ total.T - within, within, 1)[0]
    return weights


def _correlation(a: Array, b: Array) -> float:
    """Return the correlation of two signals without mean; 0 if one is flat."""
    length = float(np.sqrt((a @ a) * (b @ b)))
    return float(a @ b) / length if length > 0 else 0.0
