"""Spatial filters that raise one covariance most against another, in the space that the channels span."""

from __future__ import annotations

import numpy as np

from bci.decoding.base import Array

_LEAST = 1e-9
"""Share of the largest power below which a channel, or a direction, counts as none."""


def contrast(raised: Array, against: Array, n_filters: int) -> Array:
    """Return the filters w that maximise ``w @ raised @ w / (w @ against @ w)``, as rows.

    Parameters
    ----------
    raised : ndarray, shape (n_channels, n_channels)
        Symmetric; what is raised.
    against : ndarray, shape (n_channels, n_channels)
        Covariance; may be singular, filters lie where it is not. Channels may differ in unit and size.
    n_filters : int
        Filters wanted.

    Returns
    -------
    ndarray, shape (n_filters, n_channels)
        The best first, ``w @ against @ w == 1``; fewer than `n_filters` if the rank is lower.
    """
    size = np.sqrt(np.maximum(np.diag(against), 0.0))
    unit = np.divide(1.0, size, out=np.zeros_like(size), where=size > _LEAST * size.max())
    values, vectors = np.linalg.eigh(unit[:, None] * against * unit)
    kept = values > _LEAST * values[-1]
    root = unit[:, None] * vectors[:, kept] / np.sqrt(values[kept])
    _, turned = np.linalg.eigh(root.T @ raised @ root)
    filters: Array = (root @ turned[:, ::-1][:, :n_filters]).T
    return filters
