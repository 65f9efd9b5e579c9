"""A contiguous piece of a recording."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from typing import Any

from numpy.typing import NDArray

from bci.stream import Event, Flag, StreamInfo


class Part:
    """One contiguous piece of a recording.

    Parameters
    ----------
    data : ndarray, shape (n_samples, n_channels)
        Samples in the units of `info`.
    info : StreamInfo
        What they are.
    events : sequence of Event
        By `sample`, which is a row of `data`.
    offset : int
        Number of the first row since the stream began, lost samples counted.
    lost : int
        Samples missing just before.
    flags : Flag
        What is known of all rows; GAP if the stream began anew here.
    cause : str
        Why samples are missing.
    """

    def __init__(
        self,
        data: NDArray[Any],
        info: StreamInfo,
        events: Sequence[Event] = (),
        offset: int = 0,
        lost: int = 0,
        flags: Flag = Flag.OK,
        cause: str = "",
    ) -> None:
        self.data, self.info, self.offset, self.lost, self.flags = data, info, offset, lost, flags
        self.cause = cause or ("missing in the recording" if lost else "")
        self.events = list(events)

    @property
    def stop(self) -> int:
        """Number of the sample after the last."""
        return self.offset + len(self.data)

    def between(self, first: int, last: int) -> list[Event]:
        """Return the events of the rows from `first` to before `last`."""
        begin, end = (bisect_left(self.events, row, key=lambda e: e.sample) for row in (first, last))
        return self.events[begin:end]
