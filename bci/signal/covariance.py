"""Covariance of the channels in a sliding window, shrunk, as one row of features."""

from __future__ import annotations

from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from bci.errors import ConfigError, DataError
from bci.signal.stages import Array
from bci.signal.windowed import Feature, WindowedBlock
from bci.stream import StreamInfo

Shrinkage: TypeAlias = float | Literal["oas", "ledoit-wolf"]


class Covariance(WindowedBlock):
    """Covariance matrix of all channels: "C3 variance", "C3 × C4 covariance", ... Put it after the band-pass.

    The columns are the upper triangle, row by row; `matrices` makes matrices of them.

    Parameters
    ----------
    window_s : float, default=1
        Length of the window, s.
    step_s : float, default=0.1
        Time from one row to the next, s.
    shrinkage : {"oas", "ledoit-wolf"} or float, default="oas"
        Weight of the scaled identity mean(variance) * I, from 0 to 1; or the rule that chooses it per window: "oas"
        [1]_ (eq. 23; its terms in 2 / n_channels are left out, as scikit-learn does), or "ledoit-wolf" [2]_.
    memory_s : float, optional
        If given, the covariance forgets exponentially with this time constant, s, and learns from each step as it
        ends; `window_s` has no meaning then.

    Raises
    ------
    ConfigError
        If a setting is out of range.

    Notes
    -----
    Sums are divided by the number of samples; the mean is removed, of the window, or with `memory_s` the equally
    forgetting mean, updated by steps as in [3]_ (eq. 2.1), which no offset harms. Both rules take samples as
    independent; in a narrow band there are fewer independent ones and the right shrinkage is larger. With `memory_s`
    the rules count (sum w)² / sum w² samples of weights w.

    A channel unknown in the window is left out of the shrinkage of the others. With `memory_s` it learns nothing from
    that step; covariances with it then rest on other steps than the rest, and only shrinkage keeps the matrix positive
    definite. A gap starts anew. `delay_s` is half a window, or the mean age of what is remembered.

    References
    ----------
    .. [1] Y. Chen et al. Shrinkage algorithms for MMSE covariance estimation. IEEE Trans Signal Process 58:5016-5029,
       2010. doi:10.1109/TSP.2010.2053029
    .. [2] O. Ledoit, M. Wolf. A well-conditioned estimator for large-dimensional covariance matrices. J Multivar Anal
       88:365-411, 2004. doi:10.1016/S0047-259X(03)00096-4
    .. [3] T. Chan, G. Golub, R. LeVeque. Algorithms for computing the sample variance: analysis and recommendations.
       Am Stat 37:242-247, 1983. doi:10.1080/00031305.1983.10483115
    """

    def __init__(
        self, window_s: float = 1.0, step_s: float = 0.1, shrinkage: Shrinkage = "oas", memory_s: float | None = None
    ) -> None:  # fmt: skip
        super().__init__(window_s if memory_s is None else step_s, step_s)
        known_rule = shrinkage in ("oas", "ledoit-wolf")
        if not known_rule and not (isinstance(shrinkage, int | float) and 0 <= shrinkage <= 1):
            raise ConfigError(
                f"shrinkage is a number from 0 to 1, 'oas' or 'ledoit-wolf', got {shrinkage!r}; leave it out if unsure"
            )
        if memory_s is not None and not memory_s >= step_s:
            raise ConfigError(f"memory_s must be step_s ({step_s:g} s) or longer, got {memory_s}; 10 s is usual")
        self.shrinkage, self.memory_s = shrinkage, memory_s

    def design(self, info: StreamInfo) -> list[Feature]:
        """Return the upper triangle, row by row."""
        n = info.n_channels
        self._upper = np.triu_indices(n)
        self._memory: _Memory | None = None
        if self.memory_s is not None:
            keep = float(np.exp(-self.step / (self.memory_s * info.sfreq)))
            self._memory = _Memory(n, keep)
            self.delay_s = (self.step * keep / (1 - keep) + (self.step - 1) / 2) / info.sfreq
        units = [c.unit for c in info.channels]
        return [
            Feature(f"{info.ch_names[i]} variance", f"{units[i]}²", (i,))
            if i == j
            else Feature(f"{info.ch_names[i]} × {info.ch_names[j]} covariance", _product(units[i], units[j]), (i, j))
            for i, j in zip(*(k.tolist() for k in self._upper), strict=True)
        ]

    def compute(self, window: Array, known: NDArray[np.bool_]) -> Array:
        """Return the upper triangle of the shrunk covariance."""
        if known.all():
            return self._estimate(window, known)[self._upper]
        matrix = np.full((len(known), len(known)), np.nan)
        matrix[np.ix_(known, known)] = self._estimate(window, known)
        return matrix[self._upper]

    def forget(self) -> None:
        """Forget what was learned."""
        if self._memory is not None:
            self._memory.forget()

    def _estimate(self, window: Array, known: NDArray[np.bool_]) -> Array:
        if not known.any():
            return np.empty((0, 0))
        values = window if known.all() else np.ascontiguousarray(window[:, known])
        if self._memory is not None:
            covariance, quartic, n_samples = self._memory.learn(values, known)
        else:
            values = values - values.mean(axis=0)
            n_samples = float(len(values))
            covariance = values.T @ values / n_samples
            quartic = _quartic(values) if self.shrinkage == "ledoit-wolf" else 0.0
        return shrink(covariance, self._weight(covariance, quartic, n_samples))

    def _weight(self, covariance: Array, quartic: float, n_samples: float) -> float:
        if self.shrinkage == "oas":
            return oas(covariance, n_samples)
        if self.shrinkage == "ledoit-wolf":
            return ledoit_wolf(covariance, quartic, n_samples)
        return float(self.shrinkage)


class _Memory:
    """Exponentially forgetting mean and covariance; each pair of channels has its weight."""

    def __init__(self, n_channels: int, keep: float) -> None:
        self._n, self._keep = n_channels, keep
        self.forget()

    def forget(self) -> None:
        self._mean, self._covariance = np.zeros(self._n), np.zeros((self._n, self._n))
        self._weight, self._mean_weight = np.zeros((self._n, self._n)), np.zeros(self._n)
        self._sum, self._sum_of_squares, self._quartic = 0.0, 0.0, 0.0

    def learn(self, values: Array, known: NDArray[np.bool_]) -> tuple[Array, float, float]:
        """Return the covariance of the known channels after the step `values`, E|x - mean|⁴, and the sample count."""
        n, keep, pairs = len(values), self._keep, np.ix_(known, known)
        new_mean = values.mean(axis=0)
        away = new_mean - self._mean[known]
        centred = values - new_mean
        old = keep * self._weight[pairs]
        # Where nothing is remembered of a channel its mean is the step's, and `old` is 0.
        total = old + n
        between = (old * n / total) * np.outer(away, away)
        self._covariance[pairs] = (old * self._covariance[pairs] + centred.T @ centred + between) / total
        self._weight[pairs] = total
        mean_total = keep * self._mean_weight[known] + n
        self._mean[known] += away * n / mean_total
        self._mean_weight[known] = mean_total
        fourth = _quartic(values - self._mean[known])
        self._quartic = (keep * self._sum * self._quartic + n * fourth) / (keep * self._sum + n)
        self._sum, self._sum_of_squares = keep * self._sum + n, keep**2 * self._sum_of_squares + n
        return self._covariance[pairs], self._quartic, self._sum**2 / self._sum_of_squares


def matrices(rows: Array) -> Array:
    """Return rows of `Covariance`, shape (n_rows, n (n + 1) / 2), as symmetric matrices, shape (n_rows, n, n)."""
    rows = np.atleast_2d(rows)
    n = (np.sqrt(8 * rows.shape[1] + 1) - 1) / 2
    if n != int(n):
        raise DataError(
            f"expected rows of an upper triangle (1, 3, 6, 10, ... numbers), got {rows.shape[1]}; pass all columns"
        )
    found = np.empty((len(rows), int(n), int(n)))
    i, j = np.triu_indices(int(n))
    found[:, i, j] = found[:, j, i] = rows
    return found


def shrink(covariance: Array, weight: float) -> Array:
    """Return ``(1 - weight) * covariance + weight * mean(variance) * I``."""
    n = len(covariance)
    shrunk = (1.0 - weight) * covariance
    shrunk.flat[:: n + 1] += weight * np.trace(covariance) / n
    return shrunk


def oas(covariance: Array, n_samples: float) -> float:
    """Return the weight by oracle approximating shrinkage."""
    n = len(covariance)
    level = np.trace(covariance) / n
    square = (covariance**2).mean()
    away = (n_samples + 1.0) * (square - level**2 / n)
    return 1.0 if not away > 0 else min(float((square + level**2) / away), 1.0)


def ledoit_wolf(covariance: Array, quartic: float, n_samples: float) -> float:
    """Return the weight by Ledoit and Wolf; `quartic` is the mean of |x - mean|⁴ over the samples."""
    n = len(covariance)
    level = np.trace(covariance) / n
    square = (covariance**2).sum()
    distance = (square - n * level**2) / n
    noise = (quartic - square) / (n * n_samples)
    return 0.0 if not distance > 0 else float(min(max(noise, 0.0), distance) / distance)


def _quartic(values: Array) -> float:
    """Return the mean of |x|⁴ over the rows."""
    return float((np.einsum("ij,ij->i", values, values) ** 2).mean())


def _product(one: str, other: str) -> str:
    return f"{one}²" if one == other else f"{one}·{other}"
