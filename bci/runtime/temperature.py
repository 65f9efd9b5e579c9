"""Make probabilities mean what they say: one temperature, fitted on windows that the decoder has not seen."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

HOTTEST = 1000.0
"""A decoder whose answers tell nothing ends here: its probabilities are then all but equal."""
_LEAST = np.finfo(np.float64).tiny


def tempered(probabilities: NDArray[np.float64], temperature: float) -> NDArray[np.float64]:
    """Return ``p ** (1 / temperature)``, normalised: the same order of classes, less sure above a temperature of 1.

    Parameters
    ----------
    probabilities : ndarray, shape (n_epochs, n_classes)
        Probabilities.
    temperature : float
        1 or more; 1 returns `probabilities` bit for bit.
    """
    if temperature == 1.0:
        return probabilities
    logits = np.log(np.maximum(probabilities, _LEAST)) / temperature
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    scaled: NDArray[np.float64] = powers / powers.sum(axis=1, keepdims=True)
    return scaled


def fit_temperature(
    probabilities: NDArray[np.float64], classes: NDArray[Any], y: NDArray[Any], groups: NDArray[np.int64]
) -> float:
    """Return the temperature, from 1 to `HOTTEST`, at which unseen windows are most likely.

    Parameters
    ----------
    probabilities : ndarray, shape (n_epochs, n_classes)
        Out-of-fold probabilities: of a decoder that has not seen any window of the same trial.
    classes : ndarray, shape (n_classes,)
        Names of the columns.
    y : ndarray, shape (n_epochs,)
        True class of each window.
    groups : ndarray of int, shape (n_epochs,)
        Trial of each window; trials weigh the same, however many windows they have.

    Notes
    -----
    Temperature scaling [2]_ is Platt's method [1]_ with one parameter for all classes: it cannot change which
    class is most probable. It never makes a decoder surer than it says it is (no temperature below 1), since a
    few dozen trials could do that by luck and the gate would open.

    References
    ----------
    .. [1] J. Platt. Probabilistic outputs for support vector machines and comparisons to regularized likelihood
       methods. Advances in Large Margin Classifiers, 61-74, 1999.
    .. [2] C. Guo et al. On calibration of modern neural networks. ICML, PMLR 70:1321-1330, 2017.
    """
    from scipy.optimize import minimize_scalar

    column = {str(c): k for k, c in enumerate(classes)}
    true = np.array([column[str(label)] for label in y])
    _, trial, size = np.unique(groups, return_inverse=True, return_counts=True)
    weights = 1.0 / size[trial]
    logits = np.log(np.maximum(probabilities, _LEAST))

    def at(log_temperature: float) -> float:
        return surprise(np.exp(-log_temperature) * logits, true, weights)

    # The negative log-likelihood is convex in 1 / temperature, so there is one minimum to be found.
    found = minimize_scalar(at, bounds=(0.0, np.log(HOTTEST)), method="bounded", options={"xatol": 1e-4})
    return 1.0 if at(0.0) <= found.fun else float(np.exp(found.x))


def surprise(logits: NDArray[np.float64], true: NDArray[np.int64], weights: NDArray[np.float64]) -> float:
    """Return the negative log-likelihood of the true classes.

    Parameters
    ----------
    logits : ndarray, shape (n_epochs, n_classes)
        Logits; their softmax are the probabilities.
    true : ndarray of int, shape (n_epochs,)
        True class of each window, a column of `logits`.
    weights : ndarray, shape (n_epochs,)
        What each window counts.
    """
    highest = logits.max(axis=1)
    norm = highest + np.log(np.exp(logits - highest[:, None]).sum(axis=1))
    return float(weights @ (norm - logits[np.arange(len(true)), true]))
