"""Spherical splines: what the electrodes tell about every place on the head."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from bci.errors import ConfigError
from bci.signal.places import Sphere, directions
from bci.signal.stages import MatrixStage, Stage, StagedBlock
from bci.stream import Kind, StreamInfo, listed

Array = NDArray[np.float64]


class SplineLaplacian(StagedBlock):
    """Surface Laplacian by spherical splines: the current that comes through the skull below each electrode.

    Parameters
    ----------
    stiffness : int, default=4
        Order m of the splines, at least 2; higher is smoother.
    smoothing : float, default=1e-5
        Weight lambda of the smoothing.
    n_terms : int, default=50
        Terms of the Legendre series.
    sphere_m : tuple of 4 float, optional
        Centre and radius of the head in the coordinates of the positions, m; fitted by default.

    Raises
    ------
    ConfigError
        If a setting is out of range; from `prepare`, if there are fewer than 4 EEG channels or their places are not
        known.

    Notes
    -----
    Each EEG channel becomes minus the Laplacian of the potential, µV/m², positive over a source, as in [1]_
    with its corrigendum. The reference of the recording cancels. All EEG channels enter, so where one is unknown
    (NaN) all are: interpolate or leave out a bad one first. Other channels pass unchanged.

    References
    ----------
    .. [1] F. Perrin et al. Spherical splines for scalp potential and current density mapping. Electroencephalogr Clin
       Neurophysiol 72:184-187, 1989. doi:10.1016/0013-4694(89)90180-6; corrigendum 76:565-566, 1990.
    """

    def __init__(
        self, stiffness: int = 4, smoothing: float = 1e-5, n_terms: int = 50, sphere_m: Sphere | None = None
    ) -> None:
        if not (stiffness >= 2 and 0 <= smoothing < 1 and n_terms >= 7):
            raise ConfigError(
                f"splines need stiffness >= 2, 0 <= smoothing < 1 and n_terms >= 7, got {stiffness}, {smoothing} and "
                f"{n_terms}; leave the defaults if unsure"
            )
        self.stiffness, self.smoothing, self.n_terms, self.sphere_m = stiffness, smoothing, n_terms, sphere_m

    def design(self, info: StreamInfo) -> tuple[list[Stage], StreamInfo, float]:
        """Return the matrix for `info`."""
        eeg = eeg_columns(info, 4)
        where, radius = directions([info.channels[i] for i in eeg], self.sphere_m)
        cosines = np.clip(where @ where.T, -1.0, 1.0)
        bend = series(cosines, self.stiffness - 1, self.n_terms)
        coefficients, _ = _solve(series(cosines, self.stiffness, self.n_terms), self.smoothing)
        matrix = np.eye(info.n_channels)
        matrix[np.ix_(eeg, eeg)] = bend @ coefficients / radius**2
        current = set(eeg)
        channels = tuple(replace(c, unit=f"{c.unit}/m²") if i in current else c for i, c in enumerate(info.channels))
        return [MatrixStage(matrix)], replace(info, channels=channels), 0.0


class Interpolate(StagedBlock):
    """Replace bad EEG channels by what the others tell about their places, by spherical splines.

    Parameters
    ----------
    bads : str or sequence of str
        Names of the bad channels.
    smoothing : float, default=1e-5
        Weight lambda of the smoothing.
    sphere_m : tuple of 4 float, optional
        Centre and radius of the head in the coordinates of the positions, m; fitted by default.

    Raises
    ------
    ConfigError
        If no channel is named; from `prepare`, if a bad channel is no EEG channel of the stream, fewer than 3 good
        ones are left, or their places are not known.

    Notes
    -----
    Splines of order 4 with 50 terms, as in [1]_. Never silent: the names stand in the stream's `meta` as
    "interpolated". A bad channel counts for nothing, so it may be unknown (NaN) for ever; where a good one is unknown
    the interpolated ones are. An interpolated channel brings no information of its own: the rank of the covariance is
    lower by one for each. Other channels pass unchanged.

    References
    ----------
    .. [1] F. Perrin et al. Spherical splines for scalp potential and current density mapping. Electroencephalogr Clin
       Neurophysiol 72:184-187, 1989. doi:10.1016/0013-4694(89)90180-6; corrigendum 76:565-566, 1990.
    """

    def __init__(self, bads: str | Sequence[str], smoothing: float = 1e-5, sphere_m: Sphere | None = None) -> None:
        self.bads = (bads,) if isinstance(bads, str) else tuple(bads)
        if not self.bads or not 0 <= smoothing < 1:
            raise ConfigError(
                f"interpolation needs bad channels and 0 <= smoothing < 1, got {listed(self.bads) or 'none'} and "
                f"{smoothing}; name them, or leave the block out"
            )
        self.smoothing, self.sphere_m = smoothing, sphere_m

    def design(self, info: StreamInfo) -> tuple[list[Stage], StreamInfo, float]:
        """Return the matrix for `info`."""
        bad = [info.index(name) for name in self.bads]
        others = [info.ch_names[i] for i in bad if info.channels[i].kind is not Kind.EEG]
        if others:
            raise ConfigError(f"expected EEG channels as bad ones, got {listed(others)}; only those can be")
        good = [i for i in eeg_columns(info, 3 + len(set(bad))) if i not in bad]
        where, _ = directions([info.channels[i] for i in (*good, *bad)], self.sphere_m)
        known, wanted = where[: len(good)], where[len(good) :]
        coefficients, constant = _solve(series(np.clip(known @ known.T, -1.0, 1.0), 4, 50), self.smoothing)
        matrix = np.eye(info.n_channels)
        matrix[bad] = 0.0
        matrix[np.ix_(bad, good)] = series(np.clip(wanted @ known.T, -1.0, 1.0), 4, 50) @ coefficients + constant
        before = info.meta.get("interpolated", "").split()
        names = " ".join(dict.fromkeys([*before, *self.bads]))
        return [MatrixStage(matrix)], replace(info, meta={**info.meta, "interpolated": names}), 0.0


def series(cosines: Array, order: int, n_terms: int) -> Array:
    """Return the splines of Perrin et al.: sum of (2n + 1) / (n (n + 1))^order P_n / 4 pi, of each cosine."""
    n = np.arange(1, n_terms + 1, dtype=np.float64)
    weights = np.concatenate([[0.0], (2 * n + 1) / (n * (n + 1)) ** order / (4 * np.pi)])
    return np.asarray(np.polynomial.legendre.legval(cosines, weights))


def eeg_columns(info: StreamInfo, least: int) -> list[int]:
    """Return the columns of the EEG channels; `ConfigError` if there are fewer than `least`."""
    eeg = [i for i, c in enumerate(info.channels) if c.kind is Kind.EEG]
    if len(eeg) < least:
        raise ConfigError(
            f"expected {least} EEG channels or more, got {len(eeg)} in stream {info.name!r}; record more, or leave the "
            "block out"
        )
    return eeg


def _solve(splines: Array, smoothing: float) -> tuple[Array, Array]:
    """Return what potentials are multiplied with to give the coefficients, and the constant, of the splines.

    (G + lambda I) c + c0 = v with sum c = 0.
    """
    inverse = np.linalg.inv(splines + smoothing * np.eye(len(splines)))
    columns = inverse.sum(axis=0)
    constant = columns / columns.sum()
    return np.asarray(inverse - np.outer(inverse.sum(axis=1), constant)), np.asarray(constant)
