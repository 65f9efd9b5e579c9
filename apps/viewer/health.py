"""Which channels look wrong: flat, at the rail of the converter, or unknown."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

FLAT, RAIL, UNKNOWN = "flat", "rail", "nan"
_RUN_S = 0.02
_RAIL_SHARE = 0.1


def judge(raw: NDArray[np.float64], sfreq: float) -> list[str]:
    """Judge each channel by its newest second, before any filter.

    Parameters
    ----------
    raw : ndarray, shape (n_samples, n_channels)
        Unfiltered samples; NaN is unknown.
    sfreq : float
        Sampling rate in Hz.

    Returns
    -------
    list of str
        Per channel "" (nothing found), "flat" (never changes), "rail" (clipped: a tenth of the samples
        or more stand still at the very lowest or highest value) or "nan" (half or more is unknown).

    Notes
    -----
    Standing still means runs of at least 3 samples and 20 ms of the same value; values that merely
    come in whole steps of a converter do not stay at their extremes for so long so often. Trigger
    channels do: do not ask for them.
    """
    if len(raw) < max(8, 0.2 * sfreq):
        return [""] * raw.shape[1]
    is_unknown = np.isnan(raw).mean(axis=0) >= 0.5
    low, high = np.fmin.reduce(raw), np.fmax.reduce(raw)
    is_flat = ~(high > low)
    share = np.maximum(_still(raw == low, sfreq), _still(raw == high, sfreq))
    names = np.where(is_unknown, UNKNOWN, np.where(is_flat, FLAT, np.where(share >= _RAIL_SHARE, RAIL, "")))
    return [str(n) for n in names]


def _still(at_extreme: NDArray[np.bool_], sfreq: float) -> NDArray[np.float64]:
    """Return the share of samples, per channel, that lie in long runs of True."""
    n_run = max(3, round(_RUN_S * sfreq))
    if len(at_extreme) < n_run:
        return np.zeros(at_extreme.shape[1])
    totals = np.zeros((len(at_extreme) + 1, at_extreme.shape[1]), dtype=np.int32)
    np.cumsum(at_extreme, axis=0, out=totals[1:])
    full = (totals[n_run:] - totals[:-n_run]) == n_run
    return (full.sum(axis=0) + (n_run - 1) * full.any(axis=0)) / len(at_extreme)
