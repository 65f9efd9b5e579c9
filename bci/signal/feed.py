"""What a block does with a chunk before its own arithmetic, and how its output thins out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from bci.signal.stages import Line
from bci.stream import Chunk, Event, Flag, StreamInfo

Array = NDArray[np.float64]
Mask = NDArray[np.uint8]


@dataclass(frozen=True, slots=True, eq=False)
class Rows:
    """The next rows of a stream: finite values in the units of the channels, and where they are made up.

    Parameters
    ----------
    values : ndarray, shape (n_samples, n_channels)
        A copy; an unknown value is its channel's last known one, 0 before the first.
    bad : ndarray of uint8, shape (n_samples, n_channels), or None
        1 where the value was unknown; None if nowhere.
    flags : Flag
        Those of the chunk, with GAP if its number jumped and NAN only where `bad` is given.
    restart : bool
        True if the stream starts anew with the first row.
    """

    values: Array
    bad: Mask | None
    flags: Flag
    restart: bool


class Feed:
    """Brings chunks to rows that arithmetic can take: double precision, units, no NaN.

    Parameters
    ----------
    info : StreamInfo
        The stream it was prepared for.
    """

    def __init__(self, info: StreamInfo) -> None:
        from bci.signal import kernels

        kernels.warm_up()
        self._is_clean, self._hold = kernels.is_clean, kernels.hold
        self._line, self._scales = Line(info), info.scales
        self._last = np.zeros(info.n_channels)
        self._known = np.zeros(info.n_channels, np.uint8)

    def take(self, chunk: Chunk) -> Rows:
        """Return the rows of `chunk`."""
        flags, restart = self._line.follow(chunk)
        values = np.array(chunk.data, dtype=np.float64, order="C")
        if self._scales is not None:
            values *= self._scales
        if restart:
            self._known[:] = 0
        bad = None
        if self._is_clean(values):
            if len(values):
                self._last[:] = values[-1]
                self._known[:] = 1
        else:
            bad = np.zeros(values.shape, np.uint8)
            self._hold(values, bad, self._last, self._known)
        flags = flags & ~Flag.NAN | (Flag.NAN if bad is not None else Flag.OK)
        return Rows(values, bad, flags, restart)

    def reset(self) -> None:
        """Forget all samples."""
        self._line.reset()
        self._known[:] = 0


class Grid:
    """Sends out every `factor`-th sample: number n at input sample n times `factor`, counted since the stream began.

    Parameters
    ----------
    factor : int
        Input samples for one of the output, at least 1.
    out_info : StreamInfo
        What goes out.
    """

    def __init__(self, factor: int, out_info: StreamInfo) -> None:
        self.factor, self._out_info = factor, out_info
        self._waiting: list[tuple[int, int, Event]] = []
        self._flags = Flag.OK

    def rows(self, chunk: Chunk) -> NDArray[np.int64]:
        """Return which rows of `chunk` are sent out."""
        first = -(-chunk.start // self.factor) * self.factor - chunk.start
        return np.arange(first, chunk.n_samples, self.factor, dtype=np.int64)

    def send(
        self, chunk: Chunk, data: Array, flags: Flag, told: Sequence[tuple[int, Event]] = (), skip: int = 0
    ) -> Chunk:
        """Return the output for `chunk`; `data` has the rows said by `rows`, without the first `skip`.

        An event goes to the first output sample at or after it, and comes with that; a flag waits for the next sample.
        `told` are more events, each with the number of the sample that told it: it comes no earlier than that.
        """
        first = -(-chunk.start // self.factor) + skip
        self._flags |= flags & ~(Flag.NAN | Flag.SILENT)
        for number, event in (*((max(e.sample, chunk.start), e) for e in chunk.events), *told):
            thinned = replace(event, sample=-(-event.sample // self.factor))
            self._waiting.append((-(-number // self.factor), number, thinned))
        self._waiting.sort(key=lambda w: w[:2])  # stable: where both are told by one sample, the chunk's own come first
        stop = first + len(data)
        due = tuple(e for row, _, e in self._waiting if row < stop)
        self._waiting = self._waiting[len(due) :]
        out_flags = flags & Flag.SILENT
        if len(data):
            out_flags |= self._flags | (Flag.NAN if np.isnan(data).any() else Flag.OK)
            self._flags = Flag.OK
        times = chunk.times[first * self.factor - chunk.start :: self.factor][: len(data)]
        return Chunk(data, times, first, self._out_info, due, out_flags)

    def reset(self) -> None:
        """Forget events and flags that wait."""
        self._waiting, self._flags = [], Flag.OK
