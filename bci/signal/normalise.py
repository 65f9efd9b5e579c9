"""Normalisation that follows the signal: running mean and variance, median and spread, and rest as the reference."""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from bci.errors import ConfigError
from bci.signal.running import Running, positive
from bci.stream import Chunk, StreamInfo

Array = NDArray[np.float64]


class Standardize(Running):
    """Distance from the running mean in running standard deviations, per channel.

    Parameters
    ----------
    memory_s : float, default=30
        Time constant of forgetting, s: a sample that long ago weighs 1/e of the newest; inf forgets nothing.

    Raises
    ------
    ConfigError
        If `memory_s` is not above 0.

    Notes
    -----
    The update is West's [1]_ with all old weights multiplied by exp(-1 / (memory_s sfreq)) at each sample, which is
    exact for the weighted mean and variance and does not cancel on large offsets, as sums of squares do. It is
    defined from the first sample on, which comes out as 0: a sample counts itself before it is normalised, so the
    n-th is at most sqrt(n - 1) away from 0. A channel that has not changed yet comes out as 0.

    Behind a gap the mean starts anew with the first sample, the standard deviation is kept. An unknown value (NaN)
    stays unknown and is not learned. Trigger channels pass unchanged. The unit of the output is "1" (standard
    deviations); `delay_s` is 0.

    References
    ----------
    .. [1] D. West. Updating mean and variance estimates: an improved method. Communications of the ACM 22:532-535,
       1979. doi:10.1145/359146.359153
    .. [2] B. Welford. Note on a method for calculating corrected sums of squares and products. Technometrics
       4:419-420, 1962. doi:10.1080/00401706.1962.10490022
    """

    def __init__(self, memory_s: float = 30.0) -> None:
        self.memory_s = positive(memory_s)

    def _design(self, info: StreamInfo) -> None:
        from bci.signal.kernels_normalise import standardize

        self._kernel, self._keep = standardize, float(np.exp(-1.0 / (self.memory_s * info.sfreq)))

    def _forget(self) -> None:
        self._moments = np.zeros((len(self._signals), 4))

    def _restart(self) -> None:
        self._moments[:, :2] = 0.0

    def _change(self, values: Array, chunk: Chunk) -> None:
        self._kernel(values, self._signals, self._keep, self._moments)


class RobustStandardize(Running):
    """Distance from the running median in robust standard deviations (1.4826 MAD), per channel: artefacts hardly count.

    Parameters
    ----------
    memory_s : float, default=30
        Time constant of forgetting, s.
    points : int, default=1000
        How many past values a channel keeps, 50 to 100000 (never more than a memory holds). For normal noise the
        median errs by 1.25 / sqrt(points) standard deviations, the spread by 1.17 / sqrt(points) of itself.
    warm_s : float, default=1
        For that long after the beginning or a gap, mean and standard deviation (behind a gap: the spread from
        before it) stand in: the spread of a few neighbours says nothing.

    Raises
    ------
    ConfigError
        If a setting is out of range.

    Notes
    -----
    Each channel keeps a sorted random sample of its past, a biased reservoir [2]_: the n-th value is taken with
    probability points / min(n, memory_s sfreq) and replaces one at random. So all past weighs the same [1]_ until
    `memory_s` is over, and from then on the age of what is kept is distributed exponentially. "Random" is a hash of the
    sample number: results repeat to the bit and do not depend on cuts. Median and MAD [3]_ of what is kept are exact;
    they are read every 50 ms. A channel of which more than half the values are alike has no spread: it comes out as 0.

    A gap starts the median anew. An unknown value (NaN) stays unknown and is not learned. Trigger channels pass
    unchanged. The unit of the output is "1"; `delay_s` is 0.

    References
    ----------
    .. [1] J. Vitter. Random sampling with a reservoir. ACM Trans Math Softw 11:37-57, 1985. doi:10.1145/3147.3165
    .. [2] C. Aggarwal. On biased reservoir sampling in the presence of stream evolution. Proc. 32nd VLDB,
       607-618, 2006.
    .. [3] P. Rousseeuw, C. Croux. Alternatives to the median absolute deviation. J Am Stat Assoc 88:1273-1283, 1993.
       doi:10.1080/01621459.1993.10476408
    """

    def __init__(self, memory_s: float = 30.0, points: int = 1000, warm_s: float = 1.0) -> None:
        if not (50 <= points <= 100_000 and points == int(points) and 0 <= warm_s < np.inf):
            raise ConfigError(
                f"expected 50 to 100000 points and warm_s of 0 s or more, got {points} and {warm_s} s; "
                "leave the defaults if unsure"
            )
        self.memory_s, self.points, self.warm_s = positive(memory_s), int(points), warm_s

    def _design(self, info: StreamInfo) -> None:
        from bci.signal.kernels_normalise import robust

        self._kernel = robust
        # No stream lasts for 2**60 samples: it stands for an infinite memory.
        self._memory = max(10, int(min(self.memory_s * info.sfreq, 2.0**60)))
        self._n_points = min(self.points, self._memory)
        self._warm = max(2, round(self.warm_s * info.sfreq))
        self._every = max(1, round(0.05 * info.sfreq))

    def _forget(self) -> None:
        n = len(self._signals)
        self._rows = np.zeros((n, self._n_points))
        self._levels = np.zeros((n, 2))
        self._counts, self._seen = np.zeros(n, np.int64), np.zeros(n, np.int64)
        self._moments = np.zeros((n, 4))

    def _restart(self) -> None:
        self._counts[:] = 0
        self._seen[:] = 0
        self._moments[:] = 0.0

    def _change(self, values: Array, chunk: Chunk) -> None:
        self._kernel(
            values, chunk.start, self._signals, self._memory, self._warm, self._every, self._rows, self._counts,
            self._seen, self._moments, self._levels,
        )  # fmt: skip


class Baseline(Running):
    """Distance from rest: only samples between an event that says "rest" and one that ends it are learned.

    Parameters
    ----------
    rest_code : str, default="rest"
        Code of the event that begins a rest; its sample belongs to the rest.
    until_code : str, optional
        Code of the event that ends it; its sample does not belong to it. By default any event of another code does.
    measure : {"zscore", "percent"}, default="zscore"
        (x - mean) / standard deviation, unit "1"; or 100 (x - mean) / mean, unit "%", for powers: there it is the
        event-related desynchronisation (negative) and synchronisation of [1]_.
    memory_s : float, default=inf
        Time constant of forgetting in s of rest; inf forgets nothing.
    least_s : float, default=1
        Rest needed before it counts, s; until then all samples so far stand in.

    Raises
    ------
    ConfigError
        If a setting is out of range.

    Notes
    -----
    The update is that of `Standardize`. A gap ends a rest, since the event that ends it may be lost in it, and keeps
    what rest was; while all samples still stand in for it, their mean starts anew. An event that arrives late, with a
    number before its chunk, acts from the first sample of that chunk on. An unknown value (NaN) stays unknown and is
    not learned; a percentage of a mean of 0 is unknown. Trigger channels pass unchanged; `delay_s` is 0.

    References
    ----------
    .. [1] G. Pfurtscheller, F. Lopes da Silva. Event-related EEG/MEG synchronization and desynchronization: basic
       principles. Clin Neurophysiol 110:1842-1857, 1999. doi:10.1016/S1388-2457(99)00141-8
    """

    def __init__(
        self, rest_code: str = "rest", until_code: str | None = None, measure: Literal["zscore", "percent"] = "zscore",
        memory_s: float = np.inf, least_s: float = 1.0,
    ) -> None:  # fmt: skip
        if (
            not rest_code
            or rest_code == until_code
            or measure not in ("zscore", "percent")
            or not 0 <= least_s < np.inf
        ):
            raise ConfigError(
                "expected two different codes, 'zscore' or 'percent' and least_s of 0 s or more, got "
                f"{rest_code!r} and {until_code!r}, {measure!r} and {least_s} s; leave the defaults if unsure"
            )
        self.rest_code, self.until_code, self.measure = rest_code, until_code, measure
        self.memory_s, self.least_s = positive(memory_s), least_s

    @property
    def is_resting(self) -> bool:
        """True while samples are learned as rest."""
        return self._is_resting

    _is_resting = False

    def _design(self, info: StreamInfo) -> None:
        from bci.signal.kernels_normalise import against_rest

        self._kernel, self._keep = against_rest, float(np.exp(-1.0 / (self.memory_s * info.sfreq)))
        # A weight that forgets never exceeds 1 / (1 - keep): ask for no more than it can reach.
        reach = np.inf if self._keep == 1.0 else 0.9 / (1.0 - self._keep)
        self._least = max(2.0, min(self.least_s * info.sfreq, reach))

    def _forget(self) -> None:
        self._rest = np.zeros((len(self._signals), 4))
        self._every = np.zeros((len(self._signals), 4))
        self._is_resting = False

    def _restart(self) -> None:
        self._is_resting = False
        self._every[:, :2] = 0.0

    def _change(self, values: Array, chunk: Chunk) -> None:
        at = 0
        for event in sorted(chunk.events, key=lambda e: e.sample):
            begins = event.code == self.rest_code
            if begins or event.code == self.until_code or self.until_code is None:
                begin = max(0, event.sample - chunk.start)
                self._learn(values[at:begin])
                at, self._is_resting = begin, begins
        self._learn(values[at:])

    def _learn(self, values: Array) -> None:
        percent = self.measure == "percent"
        self._kernel(
            values, self._signals, self._is_resting, self._keep, percent, self._least, self._rest, self._every
        )  # fmt: skip

    def _unit(self, unit: str) -> str:
        return "%" if self.measure == "percent" else "1"
