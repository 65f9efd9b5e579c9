"""Clocks: only monotonic time steers; wall time only labels files.

A session has one clock. Live sources use `MonotonicClock`; a recording or a
simulation that runs faster than real time uses a `ManualClock` that the source
moves to the time of its newest sample, so that results do not depend on speed.
"""

from __future__ import annotations

import threading
import time
from typing import Protocol, runtime_checkable

from bci.errors import ConfigError


@runtime_checkable
class Clock(Protocol):
    """Seconds that never step back, and a way to wait for them."""

    def now(self) -> float:
        """Return the time, s."""
        ...

    def sleep_until(self, time_s: float) -> None:
        """Return at `time_s` or at once if that is over."""
        ...


class MonotonicClock:
    """The machine's monotonic clock (that of `time.monotonic`, LSL's on Linux)."""

    def now(self) -> float:
        """Return the time, s."""
        return time.monotonic()

    def sleep_until(self, time_s: float) -> None:
        """Sleep until `time_s`."""
        wait = time_s - time.monotonic()
        if wait > 0:
            time.sleep(wait)


class ManualClock:
    """A clock that moves only when told to; safe to share between threads.

    Parameters
    ----------
    start_s : float, default=0
        First time shown, s.
    """

    def __init__(self, start_s: float = 0.0) -> None:
        self._now = float(start_s)
        self._lock = threading.Lock()

    def now(self) -> float:
        """Return the time, s."""
        return self._now

    def advance(self, seconds: float) -> None:
        """Move forward by `seconds` >= 0."""
        if not seconds >= 0:
            raise ConfigError(f"a clock moves forward by 0 s or more, got {seconds} s; make a new clock instead")
        with self._lock:
            self._now += seconds

    def advance_to(self, time_s: float) -> None:
        """Move forward to `time_s`; stay if that is over."""
        with self._lock:
            self._now = max(self._now, float(time_s))

    def sleep_until(self, time_s: float) -> None:
        """Move to `time_s` at once."""
        self.advance_to(time_s)


class SkewedClock:
    """A clock that goes wrong by a known amount: that of a device, for simulations and tests.

    Parameters
    ----------
    clock : Clock
        The true one.
    ppm : float, default=0
        How much faster than the true clock it runs, millionths; a cheap quartz is off by 20 to 200.
    offset_s : float, default=0
        What it is ahead of the true clock now, s.
    """

    def __init__(self, clock: Clock, ppm: float = 0.0, offset_s: float = 0.0) -> None:
        if not abs(ppm) < 1e6:
            raise ConfigError(f"a clock runs on, less than 1e6 ppm off, got ppm={ppm}; 200 is a bad quartz")
        self.ppm, self.offset_s = ppm, offset_s
        self._true, self._rate, self._zero_s = clock, 1.0 + 1e-6 * ppm, clock.now()

    def now(self) -> float:
        """Return the (wrong) time, s."""
        return self.shown(self._true.now())

    def sleep_until(self, time_s: float) -> None:
        """Return when this clock shows `time_s`."""
        self._true.sleep_until(self.true(time_s))

    def shown(self, true_s: float) -> float:
        """Return what it shows when the true clock shows `true_s`, s."""
        return self._zero_s + self.offset_s + (true_s - self._zero_s) * self._rate

    def true(self, shown_s: float) -> float:
        """Return what the true clock shows when it shows `shown_s`, s."""
        return self._zero_s + (shown_s - self._zero_s - self.offset_s) / self._rate
