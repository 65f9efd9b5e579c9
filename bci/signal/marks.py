"""Which samples a block has changed or thrown out: told sample by sample, however the stream was cut."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Sequence
from typing import Protocol, runtime_checkable

from bci.stream import Flag

CHANGED = Flag.REPAIRED | Flag.REJECTED
"""What a block does to single samples; a window has the flag if one of its own samples has it."""
KEPT_S = 600.0
"""How long it is known which samples were changed, s."""


@runtime_checkable
class MarksSamples(Protocol):
    """A block that changes some samples and knows which: whoever sets a flag of `CHANGED` tells it here as well."""

    def marked(self, begin_s: float, end_s: float) -> Flag:
        """Return the flags of its output samples from `begin_s` to before `end_s`, s since the stream began.

        Notes
        -----
        The position is the sample number over the rate: the same at any rate that later blocks give the stream.
        """
        ...


@runtime_checkable
class NamesChannels(Protocol):
    """A block that changes samples of single channels and knows in which."""

    def marked_channels(self, begin_s: float, end_s: float) -> tuple[str, ...]:
        """Return the channels of which it changed a sample from `begin_s` to before `end_s`, counted as in `marked`."""
        ...


class Marks:
    """The spans of one stream that were changed, the newest `KEPT_S` of them.

    Parameters
    ----------
    sfreq : float
        Rate of the stream, Hz.
    """

    def __init__(self, sfreq: float) -> None:
        self._sfreq = sfreq
        self._starts: list[int] = []
        self._stops: list[int] = []

    def add(self, start: int, stop: int) -> None:
        """Mark the samples from `start` to before `stop`, which come after all marked ones."""
        if self._stops and start < self._stops[-1]:
            self.clear()  # the numbers began again
        if self._stops and start == self._stops[-1]:
            self._stops[-1] = stop
        else:
            self._starts.append(start)
            self._stops.append(stop)
        while self._stops[0] < stop - KEPT_S * self._sfreq:
            del self._starts[0], self._stops[0]

    def clear(self) -> None:
        """Forget all."""
        self._starts.clear()
        self._stops.clear()

    def touches(self, begin_s: float, end_s: float) -> bool:
        """Return whether a sample from `begin_s` to before `end_s`, s since the stream began, is marked."""
        # A position is a quotient of whole numbers; a thousandth of a sample is more than its rounding.
        start, stop = begin_s * self._sfreq + 1e-3, end_s * self._sfreq - 1e-3
        after = bisect_right(self._stops, start)
        return after < len(self._starts) and self._starts[after] < stop

    @property
    def spans(self) -> list[tuple[int, int]]:
        """The marked spans, as sample numbers of the first and of the one after the last."""
        return list(zip(self._starts, self._stops, strict=True))


class ChannelMarks:
    """The spans of each channel of one stream that were changed, the newest `KEPT_S` of them.

    Parameters
    ----------
    sfreq : float
        Rate of the stream, Hz.
    names : sequence of str
        The channels, in column order.
    """

    def __init__(self, sfreq: float, names: Sequence[str]) -> None:
        self._marks = [(name, Marks(sfreq)) for name in names]

    def add(self, columns: Iterable[int], start: int, stop: int) -> None:
        """Mark the samples from `start` to before `stop`, which come after all marked ones of those columns."""
        for column in columns:
            self._marks[column][1].add(start, stop)

    def clear(self) -> None:
        """Forget all."""
        for _, marks in self._marks:
            marks.clear()

    def touched(self, begin_s: float, end_s: float) -> tuple[str, ...]:
        """Return the channels with a marked sample from `begin_s` to before `end_s`, s since the stream began."""
        return tuple(name for name, marks in self._marks if marks.touches(begin_s, end_s))
