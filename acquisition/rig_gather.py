"""How a rig hears from all its sources at once: a thread for each, or, on simulated time, one after the other."""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import replace
from typing import Protocol, runtime_checkable

from bci.acquisition.rig_source import Arrival, Source
from bci.clock import Clock, ManualClock
from bci.stream import Chunk, Flag

_log = logging.getLogger(__name__)

_READ_S = 0.1
"""Longest wait of a thread in its device: so long it may take to stop, s."""
_JOIN_S = 3.0
_ROUNDING_S = 1e-9


@runtime_checkable
class KnowsNext(Protocol):
    """A simulated source that knows when it will have something."""

    @property
    def due_s(self) -> float:
        """When the next samples are there, s on the session clock; inf for never."""
        ...


class Gather(Protocol):
    """Brings together what several sources have."""

    def take(self, timeout_s: float) -> tuple[list[Arrival], float]:
        """Return what has arrived, waiting up to `timeout_s` for the first, and until when (s) that is everything."""
        ...

    def close(self) -> None:
        """Stop reading and close the sources."""
        ...


class Threads:
    """A thread for each source: however slow or stuck one is, the others are heard at once.

    Parameters
    ----------
    sources : sequence of Source
        Started already.
    clock : Clock
        The session clock.
    buffer_s : float
        What waits for a reader that is late, s of each stream; more is dropped, counted and flagged OVERFLOW.
    """

    def __init__(self, sources: Sequence[Source], clock: Clock, buffer_s: float) -> None:
        self._clock, self._buffer_s = clock, buffer_s
        self._filled = threading.Condition()
        self._inbox: deque[Arrival] = deque()
        self._waiting_s = dict.fromkeys((s.name for s in sources), 0.0)
        self._overflown: set[str] = set()
        self._stop = threading.Event()
        self._threads = [
            threading.Thread(target=self._serve, args=(s,), name=f"rig {s.name}", daemon=True) for s in sources
        ]
        for thread in self._threads:
            thread.start()

    def take(self, timeout_s: float) -> tuple[list[Arrival], float]:
        """Return what has arrived, waiting up to `timeout_s` for the first."""
        with self._filled:
            if not self._inbox:
                self._filled.wait(max(0.0, timeout_s))
            arrivals, self._inbox = list(self._inbox), deque()
            self._waiting_s = dict.fromkeys(self._waiting_s, 0.0)
            # Under the lock: nothing that arrived before this moment can still be on its way.
            return arrivals, self._clock.now()

    def close(self) -> None:
        """Let every thread close its device; one that is stuck there is left behind."""
        self._stop.set()
        until_s = time.monotonic() + _JOIN_S
        for thread in self._threads:
            thread.join(max(0.0, until_s - time.monotonic()))
            if thread.is_alive():
                _log.error("%s does not come back from its device, which stays open", thread.name)

    def _serve(self, source: Source) -> None:
        while not self._stop.is_set() and not source.at_end:
            arrival = source.read(_READ_S)
            if arrival is not None:
                self._put(arrival)
        source.close()

    def _put(self, arrival: Arrival) -> None:
        with self._filled:
            # Stamped under the lock, so that the order of arrival is the order of these times.
            arrival = replace(arrival, arrived_s=self._clock.now(), chunk=self._bounded(arrival.name, arrival.chunk))
            self._inbox.append(arrival)
            self._filled.notify()

    def _bounded(self, name: str, chunk: Chunk | None) -> Chunk | None:
        """Return the chunk, or, where too much waits already, only its events."""
        if chunk is None or not chunk.n_samples:
            return chunk
        self._waiting_s[name] += chunk.n_samples / chunk.info.sfreq
        if self._waiting_s[name] > self._buffer_s:
            if name not in self._overflown:
                self._overflown.add(name)
                _log.warning("%s: nobody reads the rig, more than %g s wait; samples are lost", name, self._buffer_s)
            return Chunk.empty(chunk.info, chunk.start, Flag.OVERFLOW, chunk.events)
        if name in self._overflown:
            self._overflown.discard(name)
            return chunk.replace(flags=chunk.flags | Flag.OVERFLOW | Flag.GAP)
        return chunk


class Steps:
    """One source after the other on a clock that this moves: simulations and recordings, always the same way.

    Parameters
    ----------
    sources : sequence of Source
        Started already; their devices return at once if nothing is there by the clock.
    clock : ManualClock
        The session clock.
    tick_s : float
        How far the clock moves at a time, where a source cannot tell when it will have something, s.
    speed : float
        Times real time; inf does not wait.
    end_s : float, optional
        Where the clock stops once every source is at its end, s.
    """

    def __init__(
        self, sources: Sequence[Source], clock: ManualClock, tick_s: float, speed: float, end_s: float | None = None
    ) -> None:
        self._sources, self._clock, self._tick_s, self._speed, self._end_s = sources, clock, tick_s, speed, end_s
        self._begin_s, self._wall_s = clock.now(), time.monotonic()
        self._knowing = {s.name: d for s in sources if isinstance(d := getattr(s, "device", None), KnowsNext)}

    def take(self, timeout_s: float) -> tuple[list[Arrival], float]:
        """Return what is there by the clock, moving it by up to `timeout_s` for the first."""
        until_s = self._clock.now() + timeout_s
        while True:
            now_s = self._clock.now()
            arrivals = [a for s in self._sources if self._has(s, now_s) and (a := s.read(0.0)) is not None]
            if arrivals or now_s >= until_s:
                return arrivals, self._clock.now()
            if all(s.at_end for s in self._sources):
                if self._end_s is not None:
                    self._clock.advance_to(self._end_s)
                return [], self._clock.now()
            self._move(min(until_s, self._next_s(now_s)))

    def close(self) -> None:
        """Close every source."""
        for source in self._sources:
            source.close()

    def _has(self, source: Source, now_s: float) -> bool:
        """Whether a source may have something by now."""
        known = self._knowing.get(source.name)
        return not source.at_end and (known is None or bool(source.lost_cause) or known.due_s <= now_s + _ROUNDING_S)

    def _next_s(self, now_s: float) -> float:
        alive = [s for s in self._sources if not s.at_end]
        due_s = [self._knowing[s.name].due_s for s in alive if s.name in self._knowing and not s.lost_cause]
        known = len(due_s) == len(alive) and min(due_s) > now_s
        return min(due_s) if known else now_s + self._tick_s

    def _move(self, to_s: float) -> None:
        if self._speed != float("inf"):
            wait_s = self._wall_s + (to_s - self._begin_s) / self._speed - time.monotonic()
            time.sleep(max(0.0, wait_s))
        self._clock.advance_to(to_s)
