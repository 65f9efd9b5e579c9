"""From samples to screen columns: the lowest and highest value of the line within each column.

A screen has about a thousand columns; ten seconds at 1 kHz have ten thousand samples. Keeping both
extremes of every column draws the very picture of all samples, and no spike is ever skipped.

References
----------
.. [1] U. Jugel, Z. Jerzak, G. Hackenbroich, V. Markl. M4: a visualization-oriented time series data aggregation.
   Proc. VLDB Endowment 7(10):797-808, 2014. doi:10.14778/2732951.2732953
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from bci.apps.viewer.history import History

Extremes = tuple[NDArray[np.float64], NDArray[np.float64]]


def extremes(history: History, first: int, stop: int, samples_per_column: float) -> Extremes:
    """Return the extremes of the columns `first` to `stop` of the line through the samples.

    Parameters
    ----------
    history : History
        The samples.
    first, stop : int
        Columns; column c spans the sample numbers ``c * samples_per_column`` to ``(c + 1) * samples_per_column``.
    samples_per_column : float
        Above 0; below 1 a column may hold no sample, but still a piece of the line between two.

    Returns
    -------
    low, high : ndarray, shape (stop - first, n_channels)
        NaN where nothing is known. Unknown samples are not bridged.

    Notes
    -----
    The value at a column's edge belongs to both sides, so neighbouring columns always join. A
    column depends only on its samples: however they came in, the result is the same.
    """
    edges: NDArray[np.float64] = np.arange(first, stop + 1, dtype=np.float64) * samples_per_column
    origin, x = history.view(int(np.floor(edges[0])), int(np.ceil(edges[-1])) + 1)
    if not len(x) or stop <= first:
        empty = np.full((max(0, stop - first), x.shape[1]), np.nan)
        return empty, empty.copy()
    at_edge = _interpolated(x, edges - origin)
    bounds = np.ceil(edges).astype(np.int64) - origin
    inside_low, inside_high = _inside(x, np.clip(bounds, 0, len(x)))
    low = np.fmin(np.fmin(at_edge[:-1], at_edge[1:]), inside_low)
    high = np.fmax(np.fmax(at_edge[:-1], at_edge[1:]), inside_high)
    return low, high


def _interpolated(x: NDArray[np.float64], at: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the line through `x` at fractional rows; NaN outside."""
    row = np.floor(at).astype(np.int64)
    share = (at - row)[:, None]
    after = row + (share[:, 0] > 0)
    known = (row >= 0) & (after < len(x))
    row, after = np.where(known, row, 0), np.where(known, after, 0)
    values = x[row] + share * (x[after] - x[row])
    values[~known] = np.nan
    return values


def _inside(x: NDArray[np.float64], bounds: NDArray[np.int64]) -> Extremes:
    """Return the extremes of the rows ``bounds[i]`` to ``bounds[i + 1]``; NaN where there is none."""
    end = int(bounds[-1])
    is_empty = bounds[1:] <= bounds[:-1]
    if end == 0 or is_empty.all():
        nothing = np.full((len(bounds) - 1, x.shape[1]), np.nan)
        return nothing, nothing
    # reduceat gives the single element of an empty range, which lies outside of it: blank those.
    begins = np.minimum(bounds[:-1], end - 1)
    low, high = np.fmin.reduceat(x[:end], begins, axis=0), np.fmax.reduceat(x[:end], begins, axis=0)
    low[is_empty], high[is_empty] = np.nan, np.nan
    return low, high
