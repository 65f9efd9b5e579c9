"""Map a source's own count of time to the session clock.

A source counts: its samples at a nominal rate, or the seconds of a clock of its own. What arrives is seen on the
session clock, never before it was sampled and often long after: polling, radio, scheduling. So the truth is the lower
edge of all arrivals, a straight line whose slope is the source's real rate.
"""

from __future__ import annotations

import math
from collections import deque
from typing import overload

import numpy as np
from numpy.typing import NDArray

from bci.errors import DataError

WINDOW_S = 600.0
"""How long arrivals count, s: shorter knows the rate worse, longer follows a quartz that warms up worse."""
_BUCKET_S = 1.0
_FIRST_BUCKET_S = 0.125
_RECENT_S = (2.0, 240.0)
"""The earliest arrival of at least and at most this long sets the offset, s: the surer the slope, the longer."""
_BENT_S = 1e-3
"""What an unsure slope may add up to while the offset is looked for, s."""
_BROKEN_S = 2e-3
"""A line that no arrival comes this near to no longer holds, s ..."""
_BROKEN_FOR_S = 90.0
"""... if that lasts for so long, s: a stall is shorter."""
_STALL_S = 0.05
"""Arrivals that are later than this are in a stall, s, unless it lasts ..."""
_STALLED_FOR_S = 5.0
"""... for so long, s."""
_BLOCKS = 10
_SURE = 3.0
"""Standard errors by which a rate must differ from the nominal one before it is used."""
_SLEW_S = 1.0
"""Delivered times come nearer to the estimate by a factor e in this long, s."""
_SLEW = 0.5
"""Largest share by which the spacing of delivered times differs from the estimate's."""


class ClockFit:
    """Estimate, while a source streams, when each of its moments was on the session clock.

    Parameters
    ----------
    window_s : float, default=600
        Arrivals that are older are forgotten, s of the source.

    Raises
    ------
    DataError
        From `add`, for a time that is not finite; from `at`, before the first arrival.

    Notes
    -----
    Only the earliest arrival of each second is kept. The slope is that of the line below all of them which lies
    nearest to them on the whole: the linear program of [1]_, whose solution is the edge of the lower convex hull
    across the mean of the abscissae. Until it differs from 1 by three standard errors, the slope is drawn towards 1
    (the garrote of [2]_). The offset is the least delay of the last minutes, as in the clock filter of [3]_. A line
    that no arrival comes near to for a minute and a half is that of a rate which has changed: what is older is
    forgotten. What is found is the time of sampling plus the least delay of the way, which no observer of arrivals
    can tell from it. Memory is bounded by `window_s`, and an arrival costs the same at any time but for one fit each
    second.

    References
    ----------
    .. [1] S. Moon, P. Skelly, D. Towsley. Estimation and removal of clock skew from network delay measurements.
       Proc. IEEE INFOCOM 1:227-234, 1999. doi:10.1109/INFCOM.1999.749287
    .. [2] L. Breiman. Better subset regression using the nonnegative garrote. Technometrics 37:373-384, 1995.
       doi:10.1080/00401706.1995.10484371
    .. [3] D. Mills et al. Network Time Protocol version 4, sec. 10 (clock filter algorithm). RFC 5905, 2010.
    """

    def __init__(self, window_s: float = WINDOW_S) -> None:
        self.window_s = window_s
        self._last_source_s = self._last_given_s = float("nan")
        self.forget()

    def forget(self) -> None:
        """Forget all arrivals (the source began to count anew); times from `follow` go on rising."""
        self._earliest: deque[tuple[float, float]] = (
            deque()
        )  # (source, session - source) of each bucket, from the origin
        self._origin: tuple[float, float] | None = None
        self._bucket = (0.0, math.inf)
        self._bucket_end = self._newest = self._fitted = 0.0
        self._slope = self._intercept = 0.0
        self._rate_error = math.inf
        self._last_source_s = float("nan")

    # ----------------------------------------------------------- estimating
    def add(self, source_s: float, session_s: float) -> None:
        """Take an arrival: what the source counted as `source_s` was here at `session_s`, s."""
        if not (math.isfinite(source_s) and math.isfinite(session_s)):
            raise DataError(
                f"an arrival needs two finite times, got {source_s} s of the source and {session_s} s; leave it out"
            )
        if self._origin is None:
            self._origin = (source_s, session_s)
            self._bucket_end = _FIRST_BUCKET_S
        x = source_s - self._origin[0]
        delay = session_s - self._origin[1] - x
        if x >= self._bucket_end:
            self._close_bucket(x)
        if delay < self._bucket[1]:
            self._bucket = (x, delay)
        self._newest = max(self._newest, x)
        # Nothing arrives before it was sampled.
        self._intercept = min(self._intercept, delay - self._slope * x)

    @overload
    def at(self, source_s: float) -> float: ...
    @overload
    def at(self, source_s: NDArray[np.float64]) -> NDArray[np.float64]: ...
    def at(self, source_s: float | NDArray[np.float64]) -> float | NDArray[np.float64]:
        """Return when `source_s` was on the session clock, s, as is best known now; may step from call to call."""
        if self._origin is None:
            raise DataError("a time needs an arrival to be told from, there was none yet; add() one first")
        x = source_s - self._origin[0]
        return self._origin[1] + self._intercept + x * (1 + self._slope)

    def late_s(self, source_s: float, session_s: float) -> float:
        """Return how much later than the estimate an arrival is, s; nothing is learnt from it."""
        return session_s - self.at(source_s)

    # ----------------------------------------------------------- delivering
    def follow(self, source_s: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the times to deliver, s on the session clock: they rise strictly and never step.

        Parameters
        ----------
        source_s : ndarray, shape (n_samples,)
            Times of the next samples as the source counts them, rising, s.

        Returns
        -------
        times : ndarray, shape (n_samples,)
            As `at`, but going on from what was delivered before: a correction is spread over the next seconds,
            and changes the spacing by half at most.
        """
        times = self.at(source_s)
        if not len(times):
            return times
        if not math.isnan(self._last_given_s):
            since = source_s - (source_s[0] if math.isnan(self._last_source_s) else self._last_source_s)
            error = self._last_given_s - (self.at(self._last_source_s) if since[0] > 0 else float(times[0]) - 1e-6)
            if since[0] > 0 or error > 0:
                fading = -error * np.expm1(-since / _SLEW_S)
                times = times + error - np.clip(fading, -_SLEW * since, _SLEW * since)
        self._last_source_s, self._last_given_s = float(source_s[-1]), float(times[-1])
        return times

    # ----------------------------------------------------------- properties
    @property
    def rate(self) -> float:
        """Seconds of the session clock per second of the source: the true sampling rate is the nominal one by this."""
        return 1 + self._slope

    @property
    def rate_error(self) -> float:
        """Standard error of `rate`, as a fraction (1e-6 is 1 ppm); inf while too little has arrived."""
        return self._rate_error

    @property
    def offset_s(self) -> float:
        """Session time less source time of the newest arrival's moment, s; NaN before the first one."""
        if self._origin is None:
            return float("nan")
        return self._origin[1] - self._origin[0] + self._intercept + self._newest * self._slope

    # -------------------------------------------------------------- private
    def _close_bucket(self, x: float) -> None:
        late_s = 0.0
        if math.isfinite(self._bucket[1]):
            self._earliest.append(self._bucket)
            late_s = self._bucket[1] - self._intercept - self._slope * self._bucket[0]
        while self._earliest and self._earliest[0][0] < x - self.window_s:
            self._earliest.popleft()
        # Short buckets at first, so that there are enough of them to fit a line to soon.
        width = min(_BUCKET_S, max(_FIRST_BUCKET_S, x / 32))
        self._bucket, self._bucket_end = (x, math.inf), x + width
        # In the midst of a stall, or of catching up, a fit would take it for drift.
        if late_s < _STALL_S or x - self._fitted > _STALLED_FOR_S:
            self._fitted = x
            self._fit()

    def _fit(self) -> None:
        x, delay = np.array(self._earliest).T
        if len(x) < _BLOCKS:
            return
        slope, intercept = _edge_below(x, delay)
        error = _slope_error(x, delay - intercept - slope * x)
        known = slope * max(0.0, 1 - (_SURE * error / slope) ** 2) if slope else 0.0
        unsure = _SURE * error + abs(slope - known)
        above = delay - known * x
        recent = min(_RECENT_S[1], max(_RECENT_S[0], _BENT_S / unsure))
        self._slope, self._intercept = known, float(above[x >= x[-1] - recent].min())
        self._rate_error = math.hypot(error, _bend(x, delay, error))
        self._break(x, delay - intercept - slope * x)

    def _break(self, x: NDArray[np.float64], above: NDArray[np.float64]) -> None:
        """Forget what lies before the last minute and a half if nothing in it comes near to the line."""
        new = x >= x[-1] - _BROKEN_FOR_S
        if new.all() or above[new].min() <= _BROKEN_S + 3 * float(np.median(above[~new])):
            return
        for _ in range(len(x) - int(new.sum())):
            self._earliest.popleft()


def _edge_below(x: NDArray[np.float64], y: NDArray[np.float64]) -> tuple[float, float]:
    """Return slope and intercept of the edge of the lower convex hull across the mean of `x`."""
    hull: list[tuple[float, float]] = []
    for px, py in zip(x.tolist(), y.tolist(), strict=True):
        while len(hull) > 1:
            (ax, ay), (bx, by) = hull[-2], hull[-1]
            if (bx - ax) * (py - ay) > (px - ax) * (by - ay):
                break
            hull.pop()
        hull.append((px, py))
    middle = float(x.mean())
    right = next(k for k, (px, _) in enumerate(hull) if px >= middle)
    (ax, ay), (bx, by) = hull[right - 1], hull[right]
    slope = (by - ay) / (bx - ax)
    return slope, ay - slope * ax


def _slope_error(x: NDArray[np.float64], above: NDArray[np.float64]) -> float:
    """Return the standard error of the slope from how far the earliest of each block lies above the line."""
    cuts = np.linspace(0, len(x), _BLOCKS + 1).astype(int)[:-1]
    least = np.minimum.reduceat(above, cuts)
    # Two of them lie on the line by construction; the median forgets blocks that a stall spoilt.
    spread = float(np.median(np.sort(least)[2:]))
    places = x[cuts] - x[cuts].mean()
    return 1.5 * max(spread, 1e-9) / math.sqrt(float(places @ places))


def _bend(x: NDArray[np.float64], y: NDArray[np.float64], error: float) -> float:
    """Return how far the slope now may be from that of the whole, by the slopes of the halves; 0 within their error."""
    half = len(x) // 2
    if half < 2 * _BLOCKS:
        return 0.0
    change = abs(_edge_below(x[half:], y[half:])[0] - _edge_below(x[:half], y[:half])[0])
    return max(0.0, change - 3 * error)
