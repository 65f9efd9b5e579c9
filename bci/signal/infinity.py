"""The reference at infinity: potentials as if the reference were far from the head."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

_SHELLS = (0.87, 0.92, 1.0)  # outer radii of brain, skull and scalp [1]
_CONDUCTIVITIES = (1.0, 0.0125, 1.0)
_LAYER = 0.86  # radius of the equivalent sources, just inside the brain
_N_SOURCES = 1000
_N_TERMS = 80
_SMALLEST = 1e-3  # singular values below that part of the largest are noise, not brain


def to_infinity(where: Array) -> Array:
    """Return the matrix from potentials with any reference to those against infinity.

    Parameters
    ----------
    where : ndarray, shape (n_channels, 3)
        Directions of the electrodes, unit vectors.

    Returns
    -------
    ndarray, shape (n_channels, n_channels)
        Every row differs from the average reference by the same weights: the estimate of the potential of the average.

    Notes
    -----
    Whatever generates the EEG, dipoles on a closed surface around it generate the same potentials. They are estimated
    from the average-referenced potentials by a pseudo-inverse, and give the potentials against infinity, as in
    [1]_, with the lead field of radial dipoles on a sphere in a head of three shells. The series of the
    lead field is solved term by term from the conditions at the shells.

    References
    ----------
    .. [1] D. Yao. A method to standardize a reference of scalp EEG recordings to a point at infinity. Physiol Meas
       22:693-711, 2001. doi:10.1088/0967-3334/22/4/305
    """
    field = lead_field(where, _LAYER * sunflower(_N_SOURCES))
    average = np.eye(len(where)) - 1.0 / len(where)
    return np.asarray(field @ np.linalg.pinv(average @ field, rcond=_SMALLEST) @ average)


def lead_field(where: Array, sources: Array) -> Array:
    """Return the potentials of radial unit dipoles on the surface of a head of three shells of radius 1.

    Parameters
    ----------
    where : ndarray, shape (n_channels, 3)
        Directions of the electrodes, unit vectors.
    sources : ndarray, shape (n_sources, 3)
        Places of the dipoles, inside the innermost shell.

    Returns
    -------
    ndarray, shape (n_channels, n_sources)
        Potentials against infinity, up to one factor.
    """
    radii = np.linalg.norm(sources, axis=1)
    cosines = np.clip(where @ (sources / radii[:, None]).T, -1.0, 1.0)
    field = np.zeros_like(cosines)
    before, legendre = np.ones_like(cosines), cosines.copy()
    for n in range(1, _N_TERMS + 1):
        field += _surface_gain(n) * n * radii ** (n - 1) * legendre
        before, legendre = legendre, ((2 * n + 1) * cosines * legendre - n * before) / (n + 1)
    return field


def sunflower(n: int) -> Array:
    """Return `n` points that are spread evenly over the unit sphere, shape (n, 3)."""
    k = np.arange(n) + 0.5
    z, turn = 1 - 2 * k / n, np.pi * (1 + 5**0.5) * k
    ring = np.sqrt(1 - z**2)
    return np.column_stack([ring * np.cos(turn), ring * np.sin(turn), z])


def _surface_gain(n: int) -> float:
    """Return the potential at radius 1 per unit of the term r^-(n + 1) that a source in the middle shell sends out.

    Inside each shell the potential is A r^n + B r^-(n + 1). No current leaves the outermost; at the others potential
    and current go on. So the ratio A / B is known outside, and follows shell by shell towards the middle.
    """
    ratio = (n + 1) / n  # A / B in the outermost shell, of radius 1
    surface = 1.0 + ratio  # potential there for B = 1
    for inner in (1, 0):
        radius, outside, inside = _SHELLS[inner], _CONDUCTIVITIES[inner + 1], _CONDUCTIVITIES[inner]
        up, down = ratio * radius**n, radius ** -(n + 1)
        potential, current = up + down, (n * up - (n + 1) * down) * outside / inside
        # potential = a + b and current = n a - (n + 1) b, with a = A r^n and b = B r^-(n + 1) of the inner shell.
        b = (n * potential - current) / (2 * n + 1)
        a = potential - b
        scale = b / down  # B of the inner shell for B = 1 of the outer one
        ratio, surface = a / radius**n / scale, surface / scale
    return surface
