"""Mutants of numbers, times, waiting and markers."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from bci.acquisition.conformance.reference import ReferenceDriver
from bci.acquisition.driver import Samples
from bci.stream import Chunk, Flag, StreamInfo

_LATE = 600
"""Faults begin with this sample, so that they do not meet the cases that need a few samples only."""


class NumbersFromOne(ReferenceDriver):
    """Begins with sample number 1."""

    _n_starts = 0

    def _start(self) -> None:
        super()._start()
        self._n_starts += 1

    def read(self, timeout_s: float) -> Chunk:
        """Read."""
        chunk = super().read(timeout_s)
        if self._n_starts > 1:
            return chunk
        events = tuple(replace(e, sample=e.sample + 1) for e in chunk.events)
        return chunk.replace(start=chunk.start + 1, events=events)


class CountsOn(ReferenceDriver):
    """Does not begin to count again when it is started again."""

    def _reset(self) -> None:
        number = getattr(self, "_next", 0)
        super()._reset()
        self._next = number


class KeepsLeftovers(ReferenceDriver):
    """Delivers after a restart what was measured before it."""

    _running = False

    def _start(self) -> None:
        if not self._running:
            super()._start()
        self._running = True

    def _close(self) -> None:
        self._running = False


class StepsBackInNumber(ReferenceDriver):
    """Gives three numbers twice."""

    def read(self, timeout_s: float) -> Chunk:
        """Read."""
        chunk = super().read(timeout_s)
        return chunk.replace(start=chunk.start - 3) if chunk.start >= _LATE and chunk.n_samples else chunk


class JumpsInSecret(ReferenceDriver):
    """Leaves out three numbers without a flag."""

    def read(self, timeout_s: float) -> Chunk:
        """Read."""
        chunk = super().read(timeout_s)
        return chunk.replace(start=chunk.start + 3) if chunk.start >= _LATE and chunk.n_samples else chunk


class CriesWolf(ReferenceDriver):
    """Flags a gap where there is none."""

    def read(self, timeout_s: float) -> Chunk:
        """Read."""
        chunk = super().read(timeout_s)
        return chunk.replace(flags=chunk.flags | Flag.GAP) if chunk.start == _LATE else chunk


class StepsBackInTime(ReferenceDriver):
    """Stamps a chunk earlier than the one before it."""

    def read(self, timeout_s: float) -> Chunk:
        """Read."""
        chunk = super().read(timeout_s)
        return chunk.replace(times=chunk.times - 0.06) if chunk.start == _LATE else chunk


class DropsInSecret(ReferenceDriver):
    """Loses samples soon after the start and counts on as if it had not."""

    _dropped = False

    def _read(self, timeout_s: float) -> Samples | None:
        got = super()._read(timeout_s)
        if got is not None and not self._dropped and self._n >= 40:
            self._dropped = True
            self._n += 30
        return got

    def _start(self) -> None:
        super()._start()
        self._dropped = False


class StampsTooFast(ReferenceDriver):
    """Stamps its samples 1.5 % closer together than it says."""

    def _read(self, timeout_s: float) -> Samples | None:
        got = super()._read(timeout_s)
        return got if got is None else replace(got, times=self._begin_s + (got.times - self._begin_s) / 1.015)


class RunsTooFast(ReferenceDriver):
    """Says and stamps 1.5 % less than the rate at which its samples come."""

    def _open(self) -> StreamInfo:
        info = super()._open()
        return replace(info, sfreq=info.sfreq / 1.015)

    def _read(self, timeout_s: float) -> Samples | None:
        got = super()._read(timeout_s)
        return got if got is None else replace(got, times=self._begin_s + 1.015 * (got.times - self._begin_s))


class BelievesItsError(ReferenceDriver):
    """Says that it measured the rate far better than it did."""

    def report(self) -> dict[str, Any]:
        """Return what happened."""
        return {**super().report(), "sfreq": 252.0, "sfreq_error": 0.01}


class StampsWallTime(ReferenceDriver):
    """Stamps with the seconds since 1970."""

    def _read(self, timeout_s: float) -> Samples | None:
        got = super()._read(timeout_s)
        return got if got is None else replace(got, times=got.times + 1.7e9)


class BlocksOnZero(ReferenceDriver):
    """Takes a timeout of 0 for none at all and waits."""

    def read(self, timeout_s: float) -> Chunk:
        """Read."""
        if timeout_s == 0:
            self._clock.sleep_until(self._clock.now() + 0.5)
        return super().read(timeout_s)


class WaitsToTheEnd(ReferenceDriver):
    """Returns from a long read when its time is up, whatever came meanwhile."""

    def read(self, timeout_s: float) -> Chunk:
        """Read."""
        if timeout_s > 1:
            self._clock.sleep_until(self._clock.now() + timeout_s)
        return super().read(timeout_s)


class ReturnsNone(ReferenceDriver):
    """Returns None where there is nothing."""

    def read(self, timeout_s: float) -> Chunk | Any:
        """Read."""
        chunk = super().read(timeout_s)
        return chunk if chunk.n_samples or timeout_s > 0 else None


class ForgetsTheOldest(ReferenceDriver):
    """Keeps a second of samples for a late reader and forgets the others without a word."""

    def _read(self, timeout_s: float) -> Samples | None:
        got = super()._read(timeout_s)
        return got if got is None else replace(got, data=got.data[-250:], times=got.times[-250:])


class MarksTooEarly(ReferenceDriver):
    """Puts a marker one sample before its own."""

    def read(self, timeout_s: float) -> Chunk:
        """Read."""
        chunk = super().read(timeout_s)
        return chunk.replace(events=tuple(replace(e, sample=e.sample - 1) for e in chunk.events))


class MergesMarkers(ReferenceDriver):
    """Gives all markers of a chunk the time of the first."""

    def read(self, timeout_s: float) -> Chunk:
        """Read."""
        chunk = super().read(timeout_s)
        return chunk.replace(events=tuple(replace(e, time=chunk.events[0].time) for e in chunk.events))


class ForgetsLateMarkers(ReferenceDriver):
    """Drops a marker whose sample is gone."""

    def mark(self, code: str, time_s: float, source: str = "") -> None:
        """Attach an event, if it is not late."""
        if time_s > self._begin_s + self._n / self.info.sfreq:
            super().mark(code, time_s, source)


class HurriesMarkers(ReferenceDriver):
    """Delivers a marker at once although its time is to come."""

    def mark(self, code: str, time_s: float, source: str = "") -> None:
        """Attach an event."""
        newest_s = self._begin_s + self._n / self.info.sfreq
        super().mark(code, newest_s if time_s > newest_s + 0.2 else time_s, source)
