"""The flags of single samples, kept as spans: nothing is stored where nothing is wrong."""

from __future__ import annotations

from bisect import bisect_right


class Spans:
    """Remember which flags the samples of a stream have.

    Notes
    -----
    Spans are disjoint and in order of their numbers, so they are added in that order. A flag that lasts is one span,
    however the stream is cut.
    """

    def __init__(self) -> None:
        self._starts: list[int] = []
        self._stops: list[int] = []
        self._flags: list[int] = []

    def add(self, start: int, stop: int, flags: int) -> None:
        """Give the samples from `start` to before `stop`, none of which had flags before, the `flags`."""
        if start >= stop or not flags:
            return
        if self._stops and self._stops[-1] == start and self._flags[-1] == flags:
            self._stops[-1] = stop
            return
        self._starts.append(start)
        self._stops.append(stop)
        self._flags.append(flags)

    def of(self, start: int, stop: int) -> int:
        """Return the flags of the samples from `start` to before `stop`, joined."""
        flags = 0
        for k in range(bisect_right(self._stops, start), len(self._starts)):
            if self._starts[k] >= stop:
                break
            flags |= self._flags[k]
        return flags

    def forget(self, before: int) -> None:
        """Forget the samples before number `before`."""
        if self._stops and self._stops[0] <= before:
            old = bisect_right(self._stops, before)
            # In large bites: a list is moved as a whole when its head goes.
            if old > 64 or old == len(self._stops):
                del self._starts[:old], self._stops[:old], self._flags[:old]

    def clear(self) -> None:
        """Forget all."""
        self._starts.clear()
        self._stops.clear()
        self._flags.clear()
