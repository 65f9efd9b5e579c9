"""Linear discriminant analysis with shrinkage, and a scale that unseen windows agree with."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from bci.decoding.base import Array, LinearModel
from bci.runtime.temperature import surprise


def shrinkage_lda(features: Array, y: NDArray[np.int64]) -> LinearModel:
    """Return a linear discriminant for classes of equal prior probability.

    Parameters
    ----------
    features : ndarray, shape (n_epochs, n_features)
        Features of one unit and of like size: the covariance is shrunk towards a scaled identity.
    y : ndarray of int, shape (n_epochs,)
        Class codes 0, 1, ...; every class has two epochs or more.

    Notes
    -----
    The covariance is that of the features about the mean of their class [1]_, shrunk as in [2]_. Because no prior
    enters, the logit of two classes is the logarithm of their likelihood ratio, however unequal their numbers are.
    A covariance that is still singular is inverted where it has a rank.

    References
    ----------
    .. [1] B. Blankertz et al. Single-trial analysis and classification of ERP components: a tutorial.
       NeuroImage 56:814-825, 2011. doi:10.1016/j.neuroimage.2010.06.048
    .. [2] O. Ledoit, M. Wolf. A well-conditioned estimator for large-dimensional covariance matrices.
       J Multivar Anal 88:365-411, 2004. doi:10.1016/S0047-259X(03)00096-4
    """
    from sklearn.covariance import ledoit_wolf  # takes half a second; a saved model needs none

    means = np.stack([features[y == k].mean(axis=0) for k in range(y.max() + 1)])
    covariance, _ = ledoit_wolf(features - means[y], assume_centered=True)
    coef = np.linalg.lstsq(covariance, means.T, rcond=1e-12)[0].T
    intercept = -0.5 * np.sum(coef * means, axis=1)
    if len(means) == 2:
        coef, intercept = coef[1:] - coef[:1], intercept[1:] - intercept[:1]
    return LinearModel(coef, intercept)


def scaled(model: LinearModel, scale: float) -> LinearModel:
    """Return the model with its logits multiplied by `scale`."""
    return LinearModel(scale * model.coef, scale * model.intercept)


def fit_scale(scores: Array, y: NDArray[np.int64]) -> float:
    """Return the factor, 0 to 1, at which logits of unseen windows are most likely, classes weighing the same.

    Parameters
    ----------
    scores : ndarray, shape (n_epochs, n_classes)
        Logits of windows that the model has not seen.
    y : ndarray of int, shape (n_epochs,)
        Class codes; every class is there.

    Notes
    -----
    A discriminant of many features and few epochs is surer than it should be. This is temperature scaling [1]_ with
    balanced classes; 0 is a model that knows nothing of unseen windows. It makes no model surer than it says it is.

    References
    ----------
    .. [1] C. Guo et al. On calibration of modern neural networks. ICML, PMLR 70:1321-1330, 2017.
    """
    from scipy.optimize import minimize_scalar

    weights = 1.0 / np.bincount(y)[y]

    def loss(scale: float) -> float:
        return surprise(scale * scores, y, weights)

    best = float(minimize_scalar(loss, bounds=(0.0, 1.0), method="bounded", options={"xatol": 1e-6}).x)
    return min((0.0, best, 1.0), key=loss)


def blocks(y: NDArray[np.int64], groups: NDArray[np.int64], n_blocks: int) -> NDArray[np.int64]:
    """Return the block of each window, shape (n_epochs,): trials stay whole and neighbours in time together.

    Parameters
    ----------
    y : ndarray of int, shape (n_epochs,)
        Class codes; every class has `n_blocks` epochs or more.
    groups : ndarray of int, shape (n_epochs,)
        Trial of each window.
    n_blocks : int
        Blocks, 3 or more.

    Notes
    -----
    Where leaving a block of whole trials out would leave a class with less than two windows (a trial or two hold
    everything), windows count as trials.
    """
    _, trial = np.unique(groups, return_inverse=True)
    block = _dealt(y, trial, n_blocks)
    spared = np.stack([np.bincount(y[block != b], minlength=y.max() + 1) for b in range(n_blocks)])
    return block if spared.min() >= 2 else _dealt(y, np.arange(len(y)), n_blocks)


def _dealt(y: NDArray[np.int64], trial: NDArray[np.int64], n_blocks: int) -> NDArray[np.int64]:
    first = np.array([np.flatnonzero(trial == t)[0] for t in range(trial.max() + 1)])
    kind = np.array([np.bincount(y[trial == t]).argmax() for t in range(trial.max() + 1)])
    block = np.zeros(len(first), np.int64)
    for k in np.unique(kind):
        of_kind = np.flatnonzero(kind == k)
        for b, part in enumerate(np.array_split(of_kind[np.argsort(first[of_kind])], n_blocks)):
            block[part] = b
    return block[trial]
