"""The classical families of recursive filters, as second-order sections."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, TypeAlias, get_args

import numpy as np
from numpy.typing import NDArray

from bci.errors import ConfigError

Family: TypeAlias = Literal["butterworth", "chebyshev1", "chebyshev2", "elliptic", "bessel"]
Shape: TypeAlias = Literal["bandpass", "highpass", "lowpass", "bandstop"]

_LARGEST_ORDER = {"butterworth": 20, "chebyshev1": 20, "chebyshev2": 20, "elliptic": 12, "bessel": 20}
_LARGEST_DB = 200.0


def recursive_sections(
    kind: Shape,
    edges_hz: float | Sequence[float],
    order: int,
    sfreq: float,
    family: Family = "butterworth",
    ripple_db: float = 0.5,
    attenuation_db: float = 40.0,
) -> NDArray[np.float64]:
    """Design a recursive filter.

    Parameters
    ----------
    kind : {"bandpass", "highpass", "lowpass", "bandstop"}
        What it lets pass.
    edges_hz : float or sequence of 2 float
        The cut-off, or the two of a band, Hz; -3 dB for Butterworth and Bessel, the end of the ripple for
        Chebyshev 1 and elliptic, where the stop band begins for Chebyshev 2.
    order : int
        Order of the low-pass prototype.
    sfreq : float
        Sampling rate, Hz.
    family : str, default="butterworth"
        Which approximation.
    ripple_db : float, default=0.5
        Ripple in the pass band of Chebyshev 1 and elliptic, dB.
    attenuation_db : float, default=40
        Least attenuation in the stop band of Chebyshev 2 and elliptic, dB.

    Returns
    -------
    ndarray, shape (n_sections, 6)
        Sections as `scipy.signal` writes them.

    Raises
    ------
    ConfigError
        If a setting is out of range, or no stable filter of these settings exists in double precision.
    """
    _check(order, family, ripple_db, attenuation_db)
    from scipy import signal

    rest: dict[str, Any] = {"btype": kind, "fs": sfreq, "output": "sos"}
    if family == "chebyshev1":
        sos = signal.cheby1(order, ripple_db, edges_hz, **rest)
    elif family == "chebyshev2":
        sos = signal.cheby2(order, attenuation_db, edges_hz, **rest)
    elif family == "elliptic":
        sos = signal.ellip(order, ripple_db, attenuation_db, edges_hz, **rest)
    elif family == "bessel":
        sos = signal.bessel(order, edges_hz, norm="mag", **rest)
    else:
        sos = signal.butter(order, edges_hz, **rest)
    return _stable(np.asarray(sos, dtype=np.float64), kind, family, order)


def _check(order: int, family: str, ripple_db: float, attenuation_db: float) -> None:
    if family not in get_args(Family):
        raise ConfigError(f"family must be one of {', '.join(get_args(Family))}, got {family!r}; correct it")
    largest = _LARGEST_ORDER[family]
    if order != int(order) or not 1 <= order <= largest:
        raise ConfigError(f"order must be a whole number from 1 to {largest}, got {order}; 4 suits most signals")
    if not 0 < ripple_db < attenuation_db <= _LARGEST_DB:
        raise ConfigError(
            f"expected 0 < ripple_db < attenuation_db <= {_LARGEST_DB:g} dB, got {ripple_db} and {attenuation_db} dB; "
            "0.5 and 40 are usual"
        )


def _stable(sos: NDArray[np.float64], kind: str, family: str, order: int) -> NDArray[np.float64]:
    """Return `sos`; a pole on or outside the unit circle is an error (stability triangle of a second-order section)."""
    a1, a2 = sos[:, 4], sos[:, 5]
    if not (np.isfinite(sos).all() and (np.abs(a2) < 1).all() and (np.abs(a1) < 1 + a2).all()):
        raise ConfigError(
            f"expected a stable {kind}, got a {family} of order {order} whose poles leave the unit circle in double "
            "precision; lower the order, widen the band, or decimate first"
        )
    return sos
