"""Electrode positions of the international 10-10 system on a sphere."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

import numpy as np
from numpy.typing import NDArray

from bci.errors import ConfigError
from bci.stream import unknown

HEAD_RADIUS_M = 0.095
"""Radius of the spherical head, m."""

# Rows from left to right: the outer ring, three steps to the midline, and back.
_ROWS = {"AF": 36.0, "F": 54.0, "FC": 72.0, "C": 90.0, "CP": 108.0, "P": 126.0, "PO": 144.0}
_RING = {"FC": "FT", "C": "T", "CP": "TP"}
_MIDLINE = {"Fp": -72.0, "AF": -54.0, "F": -36.0, "FC": -18.0, "C": 0.0, "CP": 18.0, "P": 36.0, "PO": 54.0, "O": 72.0}


def positions(ch_names: Sequence[str]) -> NDArray[np.float64]:
    """Return the place of each electrode on the unit sphere.

    Parameters
    ----------
    ch_names : sequence of str
        Names in the 10-10 system, such as "C3" or "FCz"; case does not count.

    Returns
    -------
    positions : ndarray, shape (n_channels, 3)
        Unit vectors; x to the right ear, y to the nose, z up.

    Raises
    ------
    ConfigError
        If a name is not in the 10-10 system.

    Notes
    -----
    Distances are the per cents of the standard taken on a sphere: the midline in
    steps of 10 % (18 degrees) from nasion to inion, the outer ring in steps of
    10 % of its half, each row equally divided along the circle through its two
    ring electrodes and its midline electrode.

    References
    ----------
    .. [1] R. Oostenveld, P. Praamstra. The five percent electrode system for high-resolution EEG and
       ERP measurements. Clin Neurophysiol 112:713-719, 2001. doi:10.1016/S1388-2457(00)00527-7
    .. [2] V. Jurcak, D. Tsuzuki, I. Dan. 10/20, 10/10, and 10/5 systems revisited. NeuroImage
       34:1600-1611, 2007. doi:10.1016/j.neuroimage.2006.09.024
    """
    table = _table()
    folded = {name.lower(): place for name, place in table.items()}
    for name in ch_names:
        if name.lower() not in folded:
            raise ConfigError(unknown("electrode", name, table))
    return np.array([folded[name.lower()] for name in ch_names]).reshape(-1, 3)


def names() -> list[str]:
    """Return the names of all electrodes that have a place."""
    return list(_table())


def angles(a: NDArray[np.float64], b: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the angle in radians between each of `a`, shape (n, 3), and each of `b`, shape (m, 3): shape (n, m)."""
    result: NDArray[np.float64] = np.arccos(np.clip(a @ b.T, -1.0, 1.0))
    return result


@cache
def _table() -> dict[str, tuple[float, float, float]]:
    found: dict[str, NDArray[np.float64]] = {}
    for row, inclination in _MIDLINE.items():
        radians = np.deg2rad(inclination)
        found[f"{row}z"] = np.array([0.0, -np.sin(radians), np.cos(radians)])
    for name, azimuth in (("Fp", 18.0), ("O", 162.0)):
        found[f"{name}1"], found[f"{name}2"] = _ring(azimuth, -1), _ring(azimuth, 1)
    for row, azimuth in _ROWS.items():
        arc = _arc(_ring(azimuth, -1), found[f"{row}z"], _ring(azimuth, 1))
        for step, (odd, even) in enumerate(((7, 8), (5, 6), (3, 4), (1, 2))):
            label = _RING.get(row, row) if step == 0 else row
            found[f"{label}{odd}"], found[f"{label}{even}"] = arc[step], arc[8 - step]
    # The names of the older 10-20 system for the temporal electrodes.
    found |= {"T3": found["T7"], "T4": found["T8"], "T5": found["P7"], "T6": found["P8"]}
    return {name: (float(p[0]), float(p[1]), float(p[2])) for name, p in found.items()}


def _ring(azimuth_deg: float, side: int) -> NDArray[np.float64]:
    """Return a point of the outer ring, `azimuth_deg` from the nose, left (-1) or right (1)."""
    azimuth, inclination = np.deg2rad(azimuth_deg), np.deg2rad(72.0)
    ring = np.sin(inclination)
    return np.array([side * ring * np.sin(azimuth), ring * np.cos(azimuth), np.cos(inclination)])


def _arc(
    left: NDArray[np.float64], middle: NDArray[np.float64], right: NDArray[np.float64]
) -> list[NDArray[np.float64]]:
    """Return nine equally spaced points on the circle through three points of the sphere."""
    normal = np.cross(middle - left, right - left)
    normal /= np.linalg.norm(normal)
    centre = normal * (normal @ left)
    across, up = (right - left) / 2, middle - centre
    across, up = across / np.linalg.norm(across), up / np.linalg.norm(up)
    radius = np.linalg.norm(middle - centre)
    half = np.arctan2((right - centre) @ across, (right - centre) @ up)
    return [centre + radius * (np.sin(a) * across + np.cos(a) * up) for a in np.linspace(-half, half, 9)]
