"""What waits in a block that lowers the rate: events and flags go out with the next sample that does."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace

from bci.stream import Event, Flag

_NOT_KEPT = Flag.NAN | Flag.SILENT
"""What is unknown shows in the samples that go out; silence is over once there are some."""


class Thinned:
    """Events and flags on their way to the next output sample.

    Parameters
    ----------
    place : callable
        Returns the number of the output sample that an event of an input sample belongs to.
    """

    def __init__(self, place: Callable[[int], int]) -> None:
        self._place = place
        self._flags = Flag.OK
        self._events: list[Event] = []

    def take(self, events: Iterable[Event], flags: Flag) -> None:
        """Take in what came with a chunk."""
        self._flags |= flags & ~_NOT_KEPT
        self._events += [replace(e, sample=self._place(e.sample)) for e in events]

    def events(self, stop: int) -> tuple[Event, ...]:
        """Return the events of output samples before number `stop`; the others wait."""
        due = tuple(e for e in self._events if e.sample < stop)
        self._events = [e for e in self._events if e.sample >= stop]
        return due

    def flags(self, n_samples: int, unknown: bool, latest: Flag, begun: Flag = Flag.OK) -> Flag:
        """Return the flags that go out.

        Parameters
        ----------
        n_samples : int
            How many samples go out.
        unknown : bool
            Whether some of their values are unknown.
        latest : Flag
            Flags of the chunk that was taken last; of a silence this says so.
        begun : Flag
            Flags of the input since the last sample that goes out: they hold for the next one, too.
        """
        if not n_samples:
            return latest & Flag.SILENT
        flags, self._flags = self._flags | (latest & Flag.SILENT), begun & ~(_NOT_KEPT | Flag.GAP)
        return flags | (Flag.NAN if unknown else Flag.OK)

    def forget(self, after: int) -> None:
        """Drop events that wait for an output sample beyond number `after`: it comes no more."""
        self._events = [e for e in self._events if e.sample <= after]

    def reset(self) -> None:
        """Forget what waits."""
        self._flags, self._events = Flag.OK, []
