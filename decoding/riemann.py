"""Riemannian decoders: covariances as points of a curved space."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from bci.decoding.base import Array, LinearModel, State, WindowDecoder, covariances, softmax
from bci.errors import ConfigError


class TangentSpace(WindowDecoder):
    """Covariances projected to the tangent space of their mean, then logistic regression.

    Parameters
    ----------
    shrinkage : float, default=0.1
        Shrinkage of each covariance towards a scaled identity, 0 to 1.
    C : float, default=0.1
        Inverse strength of the L2 penalty.

    References
    ----------
    .. [1] A. Barachant et al. Classification of covariance matrices using a Riemannian-based kernel for BCI
       applications. Neurocomputing 112:172-178, 2013. doi:10.1016/j.neucom.2012.12.039
    """

    def __init__(self, shrinkage: float = 0.1, C: float = 0.1) -> None:
        self.shrinkage, self.C = shrinkage, C

    def _fit(self, X: Array, y: NDArray[np.int64], groups: NDArray[np.int64]) -> None:
        from sklearn.linear_model import LogisticRegression

        cov = covariances(X, self.shrinkage)
        self._whiten = inverse_root(riemannian_mean(cov))
        features = tangent_vectors(cov, self._whiten)
        self._model = LinearModel.of(LogisticRegression(C=self.C, max_iter=2000).fit(features, y))

    def _predict(self, X: Array) -> Array:
        return self._model.probabilities(tangent_vectors(covariances(X, self.shrinkage), self._whiten))

    def _state(self) -> State:
        return {"whiten": self._whiten, **self._model.state()}

    def _restore(self, state: State) -> None:
        self._whiten, self._model = state["whiten"], LinearModel.from_state(state)


class Imagery(WindowDecoder):
    """The default for motor imagery: tangent spaces of nested montages that know left from right.

    Each montage (sensorimotor rows, these and their neighbours, all channels)
    has its own tangent space and logistic regression; their logits are averaged.
    Every window is learned twice: as it is, and mirrored, with hemispheres and
    sides exchanged. That is the one thing known beforehand about moving the left
    and the right hand, and it halves what few trials must teach. Put it behind
    `bci.signal.whiten.Whiten`, which takes out what runs and days differ in.

    Parameters
    ----------
    ch_names : sequence of str, optional
        Names of the channels in the 10-10 system; set by the session if not given. Without them, or
        if they are other names, there is one montage and no mirror.
    mirror : float, default=0.5
        Weight of the mirrored windows, 0 (none) to 1 (as much as the others).
    sides : sequence of (str, str), default=(("left", "right"),)
        Classes that are each other's mirror image; others are their own.
    shrinkage : float, default=0.05
        Shrinkage of each covariance towards a scaled identity.
    C : float, default=1.0
        Inverse strength of the L2 penalty.

    Raises
    ------
    ConfigError
        From `fit`, if a setting is out of range or `ch_names` do not fit the windows.

    Notes
    -----
    The tangent space lies at the arithmetic mean of all windows and their mirror
    images [1]_; [2]_ compares it with other families. Classes weigh the same, and so
    do trials, however many windows they have.
    See ``docs/decisions/0002-imagery-default.md`` for how the defaults were chosen.

    References
    ----------
    .. [1] A. Barachant et al. Classification of covariance matrices using a Riemannian-based kernel for BCI
       applications. Neurocomputing 112:172-178, 2013. doi:10.1016/j.neucom.2012.12.039
    .. [2] F. Lotte et al. A review of classification algorithms for EEG-based brain-computer interfaces:
       a 10 year update. J Neural Eng 15:031005, 2018. doi:10.1088/1741-2552/aab2f2
    """

    def __init__(
        self,
        ch_names: Sequence[str] | None = None,
        mirror: float = 0.5,
        sides: Sequence[tuple[str, str]] = (("left", "right"),),
        shrinkage: float = 0.05,
        C: float = 1.0,
    ) -> None:
        self.ch_names, self.mirror, self.sides = ch_names, mirror, sides
        self.shrinkage, self.C = shrinkage, C

    def _fit(self, X: Array, y: NDArray[np.int64], groups: NDArray[np.int64]) -> None:
        from sklearn.linear_model import LogisticRegression

        self._check()
        cov = covariances(X, self.shrinkage)
        weights = window_weights(y, groups)
        twin, swapped = self._mirrored(y)
        self._montages = montages(self.ch_names, X.shape[1])
        self._whiten: list[Array] = []
        self._models: list[LinearModel] = []
        for picks in self._montages:
            part = cov[:, picks[:, None], picks]
            if twin is not None:
                across = twin[picks]  # a montage is symmetric, so this is a reordering of it
                part = np.concatenate([part, cov[:, across[:, None], across]])
            whiten = inverse_root(part.mean(axis=0))
            model = LogisticRegression(C=self.C, max_iter=2000)
            model.fit(
                tangent_vectors(part, whiten),
                y if twin is None else np.concatenate([y, swapped]),
                sample_weight=weights if twin is None else np.concatenate([weights, self.mirror * weights]),
            )
            self._whiten.append(whiten)
            self._models.append(LinearModel.of(model))

    def _predict(self, X: Array) -> Array:
        cov = covariances(X, self.shrinkage)
        scores = [
            model.scores(tangent_vectors(cov[:, picks[:, None], picks], whiten))
            for picks, whiten, model in zip(self._montages, self._whiten, self._models, strict=True)
        ]
        return softmax(np.mean(scores, axis=0))

    def _state(self) -> State:
        state: State = {}
        parts = zip(self._montages, self._whiten, self._models, strict=True)
        for k, (picks, whiten, model) in enumerate(parts):
            state |= {f"{k}.picks": picks, f"{k}.whiten": whiten, **model.state(f"{k}.")}
        return state

    def _restore(self, state: State) -> None:
        keys = range(sum(name.endswith(".whiten") for name in state))
        self._montages = [state[f"{k}.picks"] for k in keys]
        self._whiten = [state[f"{k}.whiten"] for k in keys]
        self._models = [LinearModel.from_state(state, f"{k}.") for k in keys]

    def _check(self) -> None:
        if not (0 <= self.mirror <= 1 and 0 < self.shrinkage <= 1 and self.C > 0):
            raise ConfigError(
                f"expected 0 <= mirror <= 1, 0 < shrinkage <= 1 and C > 0, got {self.mirror}, {self.shrinkage} and "
                f"{self.C}; leave the defaults if unsure"
            )
        if self.ch_names is not None and len(self.ch_names) != self.n_channels_:
            raise ConfigError(
                f"expected one name per channel, got {len(self.ch_names)} names for {self.n_channels_} channels; "
                "give the names of the channels after the chain"
            )

    def _mirrored(self, y: NDArray[np.int64]) -> tuple[NDArray[np.int64] | None, NDArray[np.int64]]:
        """Return the mirror image of each channel (None if there is none) and of each class."""
        names = [str(c) for c in self.classes_]
        other = {a: b for left, right in self.sides for a, b in ((left, right), (right, left))}
        pairs = [
            names.index(other[n]) if other.get(n) in names else -1 if n in other else k for k, n in enumerate(names)
        ]
        code = np.array(pairs, dtype=np.int64)
        twin = None if self.ch_names is None else mirror_channels(self.ch_names)
        if self.mirror == 0 or twin is None or (code < 0).any() or (code == np.arange(len(code))).all():
            return None, y
        return twin, code[y]


def window_weights(y: NDArray[np.int64], groups: NDArray[np.int64]) -> Array:
    """Return weights that sum to the number of trials, with equal classes and, within a class, equal trials."""
    _, trial, size = np.unique(groups, return_inverse=True, return_counts=True)
    weights: Array = 1.0 / size[trial]
    classes = np.unique(y)
    for code in classes:
        weights[y == code] *= len(size) / len(classes) / weights[y == code].sum()
    return weights


# 10-10 names: rows from front to back, an odd number to the left, an even one to the right, z between.
_NAME = re.compile(r"(fp|af|f|ft|fc|a|t|tp|c|cp|p|po|o|i|m)(z|[1-9]|10)", re.IGNORECASE)
_REGIONS = (("fc", "c", "cp"), ("f", "fc", "c", "cp", "p", "t"))


def mirror_channels(ch_names: Sequence[str]) -> NDArray[np.int64] | None:
    """Return the column of each channel's mirror image, shape (n_channels,); None if one has none.

    Parameters
    ----------
    ch_names : sequence of str
        Names in the 10-10 system; case does not count.
    """
    matches = [_NAME.fullmatch(name) for name in ch_names]
    found = [m.group(1, 2) if m else ("", "") for m in matches]
    column = {(row.lower(), place.lower()): k for k, (row, place) in enumerate(found)}
    images = []
    for row, place in found:
        image = place.lower()
        if image.isdigit():
            image = str(int(image) + 1 if int(image) % 2 else int(image) - 1)
        images.append(column.get((row.lower(), image), -1) if row else -1)
    return np.array(images, dtype=np.int64) if min(images, default=-1) >= 0 else None


def montages(ch_names: Sequence[str] | None, n_channels: int) -> list[NDArray[np.int64]]:
    """Return the columns of nested montages: sensorimotor rows, these and their neighbours, everything."""
    everything = np.arange(n_channels, dtype=np.int64)
    if ch_names is None:
        return [everything]
    matches = [_NAME.fullmatch(name) for name in ch_names]
    rows = [m.group(1).lower() if m else "" for m in matches]
    nested = [np.array([k for k, row in enumerate(rows) if row in region], dtype=np.int64) for region in _REGIONS]
    sizes = [*(len(part) for part in nested[1:]), n_channels]
    return [part for part, larger in zip(nested, sizes, strict=True) if 2 <= len(part) < larger] + [everything]


def riemannian_mean(cov: Array, tolerance: float = 1e-7, max_steps: int = 50) -> Array:
    """Return the Riemannian mean of covariances, shape (n_channels, n_channels).

    Parameters
    ----------
    cov : ndarray, shape (n_epochs, n_channels, n_channels)
        Positive definite matrices.
    tolerance : float
        Stop when a step, relative to the size of the matrix, is shorter than this.
    max_steps : int
        Stop after so many steps in any case.

    References
    ----------
    .. [1] M. Moakher. A differential geometric approach to the geometric mean of symmetric positive-definite
       matrices. SIAM J Matrix Anal Appl 26:735-747, 2005. doi:10.1137/S0895479803436937
    """
    mean: Array = cov.mean(axis=0)
    for _ in range(max_steps):
        values, vectors = _positive(mean)
        root, inverse = (vectors * np.sqrt(values)) @ vectors.T, (vectors / np.sqrt(values)) @ vectors.T
        step = _logarithms(inverse @ cov @ inverse).mean(axis=0)
        values, vectors = np.linalg.eigh(step)
        mean = root @ ((vectors * np.exp(values)) @ vectors.T) @ root
        if np.abs(values).max() < tolerance:
            break
    return (mean + mean.T) / 2


def inverse_root(matrix: Array) -> Array:
    """Return the inverse square root of a positive definite matrix."""
    values, vectors = _positive(matrix)
    root: Array = (vectors / np.sqrt(values)) @ vectors.T
    return root


def tangent_vectors(cov: Array, whiten: Array) -> Array:
    """Return the upper triangles of the logarithms of whitened covariances, shape (n_epochs, n (n + 1) / 2).

    Off-diagonal elements are weighted by the square root of 2, so that the
    Euclidean norm is the Riemannian distance to the reference point.
    """
    logs = _logarithms(whiten @ cov @ whiten)
    rows, columns = np.triu_indices(cov.shape[1])
    features: Array = logs[:, rows, columns] * np.where(rows == columns, 1.0, np.sqrt(2.0))
    return features


def _positive(matrix: Array) -> tuple[Array, Array]:
    """Return eigenvalues, kept above 0 in spite of rounding and dead channels, and eigenvectors."""
    values, vectors = np.linalg.eigh(matrix)
    floor = np.maximum(values[..., -1:] * 1e-12, np.finfo(np.float64).tiny)
    return np.maximum(values, floor), vectors


def _logarithms(matrices: Array) -> Array:
    values, vectors = _positive(matrices)
    logs: Array = (vectors * np.log(values)[..., None, :]) @ np.swapaxes(vectors, -1, -2)
    return logs
