"""Where electrodes are on the head, for whatever rests on a sphere."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from bci.errors import ConfigError
from bci.stream import Channel, listed

Array = NDArray[np.float64]
Sphere = tuple[float, float, float, float]
"""Centre x, y, z in head coordinates, and radius, m."""

_RADII_M = (0.06, 0.13)  # of a head; a fit beyond has nothing to do with one
_DEFAULT: Sphere = (0.0, 0.0, 0.04, 0.095)


def directions(channels: Sequence[Channel], sphere_m: Sphere | None = None) -> tuple[Array, float]:
    """Return where electrodes are, seen from the middle of the head, and the radius of the head.

    Parameters
    ----------
    channels : sequence of Channel
        The electrodes: all with a `position`, or all with names of the 10-10 system.
    sphere_m : tuple of 4 float, optional
        Centre and radius of the head in the coordinates of the positions, m; by default the sphere that fits the
        positions best.

    Returns
    -------
    directions : ndarray, shape (n_channels, 3)
        Unit vectors.
    radius_m : float
        Radius, m.

    Raises
    ------
    ConfigError
        If a place is not known, or two electrodes share one.
    """
    from bci.simulation.electrodes import HEAD_RADIUS_M, names, positions

    known = {n.lower() for n in names()}
    unplaced = [c.name for c in channels if c.position is None]
    if not unplaced:
        where = np.array([c.position for c in channels], dtype=np.float64).reshape(-1, 3)
        x, y, z, radius = sphere_m or _fit(where)
        where = where - (x, y, z)
    elif all(c.name.lower() in known for c in channels):
        where, radius = positions([c.name for c in channels]), HEAD_RADIUS_M if sphere_m is None else sphere_m[3]
    else:
        missing = [n for n in unplaced if n.lower() not in known] or unplaced
        raise ConfigError(
            "expected EEG channels with a position, or all with names of the 10-10 system such as C3, got no place for "
            f"{listed(missing)}; give Channel(position=...) in m, or rename or pick the channels"
        )
    where = where / np.linalg.norm(where, axis=1, keepdims=True)
    close = np.argwhere(np.triu(where @ where.T > 1 - 1e-9, 1))
    if len(close):
        pairs = [f"{channels[i].name} and {channels[j].name}" for i, j in close]
        raise ConfigError(f"expected electrodes at places of their own, got one for {listed(pairs)}; correct them")
    return where, radius


def _fit(where: Array) -> Sphere:
    """Return the sphere closest to points, from |p|² = 2 c·p + r² - |c|², or a usual head where that gives none."""
    if len(where) >= 4:
        left = np.column_stack([2 * where, np.ones(len(where))])
        (x, y, z, rest), _, rank, _ = np.linalg.lstsq(left, (where**2).sum(axis=1))
        radius = float(np.sqrt(max(rest + x**2 + y**2 + z**2, 0.0)))
        if rank == 4 and _RADII_M[0] < radius < _RADII_M[1]:
            return float(x), float(y), float(z), radius
    return _DEFAULT
