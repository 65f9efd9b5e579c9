"""Tell from when packets arrive how fast a source runs, when each was taken, and how late each came."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

_BLOCK_S = 0.25
"""Of so much signal only the packet that came soonest is kept, s; doubles as the stream goes on."""
_LONGEST_BLOCK_S = 5.0
_MOST = 128
"""Blocks that are kept: ten minutes of the longest."""
_FEWEST = 4
"""Blocks before the measured rate is used."""
_RISE = 0.1
"""Times step by at least this part of a packet, so that they rise whatever the clock does."""
_SURE_S = 5.0
_WRONG = 0.01
"""A rate that is off by more is no matter of crystals: they keep to a ten-thousandth."""


class Pace:
    """Follow the arrivals of numbered packets.

    A packet arrives when it was sent or later, never sooner. So the true times lie on the line below all arrivals
    that touches them: its slope is the period of the source on our clock, whatever delays some packets.

    Parameters
    ----------
    period_s : float
        Declared time from packet to packet, s.

    Notes
    -----
    The line is the edge of the lower convex hull over the middle of what was seen, which is the solution of the
    linear program of [1]_, eq. 4. An earlier arrival moves it at once.

    References
    ----------
    .. [1] S. Moon, P. Skelly, D. Towsley. Estimation and removal of clock skew from network delay measurements.
       IEEE INFOCOM 1999, p. 227-234. doi:10.1109/INFCOM.1999.749287
    """

    def __init__(self, period_s: float) -> None:
        self._declared_s = self.period_s = period_s
        self._points: list[tuple[int, float]] = []  # (number, arrival) of the soonest packet of each block
        self._block_s, self._block_until_s = _BLOCK_S, 0.0
        self._best: tuple[float, int, float] | None = None
        self._at: tuple[int, float] | None = None
        self._last_time_s = float("-inf")
        self.error = float("inf")
        """How far off the measured rate may be, as a part of it."""

    @property
    def started(self) -> bool:
        """Whether there is a line yet."""
        return self._at is not None

    @property
    def ratio(self) -> float:
        """Measured rate as a part of the declared one."""
        return self._declared_s / self.period_s

    @property
    def is_wrong(self) -> bool:
        """Whether the source runs at another rate than it declares, beyond any doubt."""
        span_s = self._points[-1][1] - self._points[0][1] if self._points else 0.0
        return span_s >= _SURE_S and abs(self.ratio - 1) > max(_WRONG, 3 * self.error)

    def number_at(self, arrival_s: float) -> float:
        """Return the number of the packet that arrives at `arrival_s` without delay; not whole in between."""
        assert self._at is not None
        return self._at[0] + (arrival_s - self._at[1]) / self.period_s

    def follow(self, first: int, arrivals: NDArray[np.float64]) -> NDArray[np.float64]:
        """Take the arrivals of the packets `first`, `first` + 1, ...; return when they were sent, rising, s.

        Parameters
        ----------
        first : int
            Number of the first packet, above those that were taken before.
        arrivals : ndarray, shape (n_packets,)
            When they arrived, s; not always rising, where packets change places.
        """
        if self._at is None:
            self._at, self._block_until_s = (first, float(arrivals[0])), float(arrivals[0]) + self._block_s
        steps = np.arange(len(arrivals))
        expected = self._at[1] + (first - self._at[0] + steps) * self.period_s
        late: NDArray[np.float64] = arrivals - expected
        times = np.asarray(expected + np.minimum.accumulate(np.minimum(late, 0.0)), dtype=np.float64)
        self._at = (first + len(times) - 1, float(times[-1]))
        self._learn(first, arrivals, late)
        return self._rising(times)

    def _rising(self, times: NDArray[np.float64]) -> NDArray[np.float64]:
        least_s = _RISE * self._declared_s
        before = self._last_time_s
        if times[0] < before + least_s or bool((np.diff(times) < least_s).any()):
            climb = least_s * np.arange(len(times))
            times = np.maximum.accumulate(np.maximum(times - climb, before + least_s)) + climb
        self._last_time_s = float(times[-1])
        return times

    def _learn(self, first: int, arrivals: NDArray[np.float64], late: NDArray[np.float64]) -> None:
        soonest = int(np.argmin(late))
        if self._best is None or late[soonest] <= self._best[0]:
            self._best = (float(late[soonest]), first + soonest, float(arrivals[soonest]))
        if arrivals[-1] < self._block_until_s:
            return
        self._points.append(self._best[1:])
        self._best = None
        if len(self._points) > _MOST:
            self._thin()
        self._block_until_s = float(arrivals[-1]) + self._block_s
        if len(self._points) >= _FEWEST:
            self._fit()

    def _thin(self) -> None:
        """Make room: blocks of twice the length, or, where they are long enough, forget the oldest."""
        if self._block_s >= _LONGEST_BLOCK_S:
            del self._points[0]
            return
        pairs = zip(self._points[::2], self._points[1::2], strict=False)
        self._points = [min(pair, key=lambda p: p[1] - p[0] * self.period_s) for pair in pairs]
        self._block_s *= 2

    def _fit(self) -> None:
        numbers = np.array([n - self._points[0][0] for n, _ in self._points], dtype=np.float64)
        arrivals = np.array([a - self._points[0][1] for _, a in self._points])
        delays = arrivals - numbers * self._declared_s  # small numbers: nothing is lost to rounding
        left, right = _hull_edge(numbers, delays)
        slope = (delays[right] - delays[left]) / (numbers[right] - numbers[left])
        over = delays - delays[left] - slope * (numbers - numbers[left])
        self.period_s = self._declared_s + slope
        self.error = float(np.median(over) / (self.period_s * (numbers[right] - numbers[left])))
        assert self._at is not None
        behind = self._at[0] - self._points[left][0]
        self._at = (self._at[0], self._points[left][1] + behind * self.period_s)


def _hull_edge(x: NDArray[np.float64], y: NDArray[np.float64]) -> tuple[int, int]:
    """Return the two points that the line below all touches, in the middle of rising `x`."""
    hull: list[int] = []
    for k in range(len(x)):
        while len(hull) >= 2:
            a, b = hull[-2], hull[-1]
            if (y[b] - y[a]) * (x[k] - x[a]) < (y[k] - y[a]) * (x[b] - x[a]):
                break
            hull.pop()
        hull.append(k)
    middle = float(x.mean())
    right = next(i for i in range(1, len(hull)) if x[hull[i]] >= middle)
    return hull[right - 1], hull[right]
