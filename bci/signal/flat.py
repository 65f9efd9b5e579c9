"""Look at raw samples: which stand still, which are at the rail of the converter; and thin them out for measuring."""

from __future__ import annotations

import functools

import numpy as np
from numpy.typing import NDArray

from bci.signal.compiled import njit

FLAT_S = 0.1
"""A brain does not give bit for bit the same value for so long, s; the gate has to close within twice that."""
RAIL_S = 0.02
"""How long a value has to lie at or beyond the stated range of the converter, s."""
LOOKS_HZ = 2000.0
"""At most so many samples of each channel are looked at in a second; of faster streams every n-th."""
BINS_HZ = 250.0
"""Looks are averaged to bins at a rate from this to twice it, Hz, where the stream is fast enough."""
HOP_S = 0.2
"""How often the bins are measured, s."""
STILL, AT_RAIL = 1, 2
"""Bits of what a look finds."""

_FEWEST = 10  # looks; at a low rate a coarse converter may repeat a value a few times
_CLIP_S, _FEWEST_CLIPPED = 0.008, 3

Array = NDArray[np.float64]
Count = NDArray[np.int64]


class Looks:
    """Follow the samples of one stream, look by look.

    Parameters
    ----------
    sfreq : float
        Rate of the stream, Hz.
    rail : ndarray, shape (n_channels,)
        Largest value of the converter in the unit of each channel; inf where it is not known.
    matters : ndarray of bool, shape (n_channels,)
        Channels whose state is told for each look.

    Attributes
    ----------
    every : int
        Samples from one look to the next; looks are at the sample numbers divisible by it.
    per_bin, bins_per_hop, per_hop : int
        Looks in a bin, bins in a hop, looks in a hop; a hop begins at the looks divisible by `per_hop`.
    bins_hz : float
        Rate of the bins, Hz.

    Notes
    -----
    The work is bounded: `LOOKS_HZ` looks a second, whatever the rate. An average of n looks is a weak filter
    against what lies beyond half the rate of the bins: white noise up there comes down to 1 / n of its power.
    """

    def __init__(self, sfreq: float, rail: Array, matters: NDArray[np.bool_]) -> None:
        self.every = max(1, int(sfreq // LOOKS_HZ))
        looks_hz = sfreq / self.every
        self.per_bin = max(1, int(looks_hz // BINS_HZ))
        self.bins_hz = looks_hz / self.per_bin
        self.bins_per_hop = max(2, round(HOP_S * self.bins_hz))
        self.per_hop = self.per_bin * self.bins_per_hop
        self._limits = np.array(
            [
                max(_FEWEST, round(FLAT_S * looks_hz)),
                max(2, round(RAIL_S * looks_hz)),
                max(_FEWEST_CLIPPED, round(_CLIP_S * looks_hz)) - 1,
                self.per_bin,
            ],
            dtype=np.int64,
        )
        self._rail, self._matters = rail, matters
        self.bins: Array = np.empty((self.bins_per_hop, len(rail)))
        self.reset()

    def reset(self, look: int = 0) -> None:
        """Forget all samples; the next look is number `look`, which may lie within a hop."""
        n = len(self._rail)
        self._last = np.full(n, np.nan)
        self._counts = np.zeros((2, n), dtype=np.int64)  # looks in a row: the same value; at the rail
        self._total = np.zeros(n)
        self._filled = look % self.per_hop
        self.begin_hop()

    def begin_hop(self) -> None:
        """Begin to collect anew what belongs to one hop: `bins`, `extremes`, `clipped`."""
        n = len(self._rail)
        self.extremes = np.stack([np.full(n, np.inf), np.full(n, -np.inf), np.full(n, np.inf)])
        """Lowest and highest value and smallest step of the hop, shape (3, n_channels)."""
        self.clipped = np.stack([np.full(n, np.inf), np.full(n, -np.inf)])
        """Lowest and highest value that stood still in the hop, shape (2, n_channels)."""
        self.n_clipped = np.zeros((2, n), dtype=np.int64)
        """For how many looks it stood there, those left out that make a channel still."""
        self.n_unknown = np.zeros(n, dtype=np.int64)
        """Looks that were NaN."""

    def take(self, rows: Array) -> NDArray[np.uint8]:
        """Look at `rows`, shape (n_looks, n_channels), none beyond the end of the hop; return their states by bits.

        A bit stands for any of the channels that matter: `STILL`, `AT_RAIL`.
        """
        states = np.empty(len(rows), dtype=np.uint8)
        self._filled = _look(
            rows, self._last, self._counts, self._limits, self._rail, self._matters, self._total, self.bins,
            self._filled, self.extremes, self.clipped, self.n_clipped, self.n_unknown, states,
        )  # fmt: skip
        if self._filled == self.per_hop:
            self._filled = 0
        return states

    @property
    def still(self) -> NDArray[np.bool_]:
        """Which channels have stood still for `FLAT_S`, shape (n_channels,)."""
        result: NDArray[np.bool_] = self._counts[0] >= self._limits[0]
        return result

    @property
    def at_rail(self) -> NDArray[np.bool_]:
        """Which channels have been at or beyond the stated range for `RAIL_S`, shape (n_channels,)."""
        result: NDArray[np.bool_] = self._counts[1] >= self._limits[1]
        return result


@njit(cache=True)
def _look(
    rows: Array,
    last: Array,
    counts: Count,
    limits: Count,
    rail: Array,
    matters: NDArray[np.bool_],
    total: Array,
    bins: Array,
    filled: int,
    extremes: Array,
    clipped: Array,
    n_clipped: Count,
    n_unknown: Count,
    states: NDArray[np.uint8],
) -> int:
    """Look at each row in order, so that the result does not depend on how a stream was cut; return `filled`."""
    least_still, least_rail, clip_run, per_bin = limits[0], limits[1], limits[2], limits[3]
    for t in range(rows.shape[0]):
        state = 0
        for c in range(rows.shape[1]):
            x = rows[t, c]
            if x == last[c]:
                counts[0, c] += 1
            else:
                counts[0, c] = 0
                step = abs(x - last[c])
                extremes[2, c] = min(extremes[2, c], step)
            last[c] = x
            counts[1, c] = counts[1, c] + 1 if abs(x) >= rail[c] else 0
            if matters[c]:
                if counts[0, c] >= least_still:
                    state |= 1
                if counts[1, c] >= least_rail:
                    state |= 2
            if np.isnan(x):
                n_unknown[c] += 1
            total[c] += x
            extremes[0, c] = min(extremes[0, c], x)
            extremes[1, c] = max(extremes[1, c], x)
            if counts[0, c] == least_still:  # not clipped but still: that is told at once, and not once more
                for side in range(2):
                    if x == clipped[side, c]:
                        n_clipped[side, c] = max(0, n_clipped[side, c] - least_still)
            elif clip_run <= counts[0, c] < least_still:
                new = 1 if counts[0, c] > clip_run else clip_run + 1
                if x < clipped[0, c]:
                    clipped[0, c], n_clipped[0, c] = x, clip_run + 1
                elif x == clipped[0, c]:
                    n_clipped[0, c] += new
                if x > clipped[1, c]:
                    clipped[1, c], n_clipped[1, c] = x, clip_run + 1
                elif x == clipped[1, c]:
                    n_clipped[1, c] += new
        states[t] = state
        filled += 1
        if filled % per_bin == 0:
            for c in range(rows.shape[1]):
                bins[filled // per_bin - 1, c] = total[c] / per_bin
                total[c] = 0.0
    return filled


@functools.cache
def warm_up() -> None:
    """Compile the kernel (or load it from the cache on disk), so that no sample waits for a compiler."""
    Looks(250.0, np.full(1, np.inf), np.ones(1, dtype=np.bool_)).take(np.zeros((2, 1)))
