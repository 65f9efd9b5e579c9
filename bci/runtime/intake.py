"""What the loop takes in: everything is recorded; what it does when it cannot keep up is said beforehand."""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Callable
from dataclasses import replace
from typing import Any, Literal

from bci.clock import Clock
from bci.errors import ConfigError
from bci.ports import Device
from bci.stream import Chunk, Event, Flag

_log = logging.getLogger(__name__)

Overrun = Literal["block", "drop-oldest", "skip-to-newest"]
POLICIES = ("block", "drop-oldest", "skip-to-newest")
BEHIND_S = 0.2
"""How far behind the newest sample a loop may be before it leaves samples out, s."""
_MOST_READS = 1000
_ONCE = Flag.GAP | Flag.OVERFLOW | Flag.CLOCK_JUMP
"""What is said of the first sample behind it."""


class Intake:
    """Read a device, record what comes, and keep the loop near the newest sample.

    Parameters
    ----------
    device : Device
        The source; it streams.
    record : callable
        Keeps a raw chunk; called with every one.
    overrun : {"block", "drop-oldest", "skip-to-newest"}, default="block"
        What is done when the loop is more than `behind_s` late and more samples wait: take all, late ("block"); leave
        the oldest out and take the newest `behind_s` ("drop-oldest"); take only the newest chunk ("skip-to-newest").
    behind_s : float, default=0.2
        See `overrun`.

    Raises
    ------
    ConfigError
        If there is no such policy.

    Notes
    -----
    "block" is the default: it leaves the data as they are, so that a recording gives the same decisions, and a
    decision that comes too late is refused by the gate, which knows its age. Take one of the others where decisions
    of now are worth more than whole windows: what follows samples that were left out has `Flag.GAP` and
    `Flag.OVERFLOW`, filters begin anew, and windows do not span it. Events are never left out.
    """

    def __init__(
        self, device: Device, record: Callable[[Chunk], None], overrun: Overrun = "block", behind_s: float = BEHIND_S
    ) -> None:
        if overrun not in POLICIES or not behind_s > 0:
            raise ConfigError(
                f"overrun is one of {', '.join(POLICIES)} and behind_s above 0 s, got {overrun!r} and {behind_s}; "
                "choose one"
            )
        self.overrun, self.behind_s = overrun, behind_s
        self._device, self._record = device, record
        self._waiting: deque[Chunk] = deque()
        self.clock: Clock | None = None
        """The session clock, once it is known."""
        self.dropped = self.n_overruns = 0
        """Samples that were left out, and how often."""
        self.record_s = 0.0
        """Time that recording took for the last `take`, s."""

    def take(self, timeout_s: float) -> Chunk:
        """Return the next chunk to work on, waiting up to `timeout_s` for the first sample."""
        self.record_s = 0.0
        if not self._waiting:
            self._waiting.append(self._read(timeout_s))
        if self.overrun != "block" and self._is_late(self._waiting[0]):
            self._catch_up()
        return self._waiting.popleft()

    def report(self) -> dict[str, Any]:
        """Return the policy and what was left out, ready for JSON."""
        return {"overrun": self.overrun, "dropped": self.dropped, "n_overruns": self.n_overruns}

    # -------------------------------------------------------------- private
    def _read(self, timeout_s: float) -> Chunk:
        chunk = self._device.read(timeout_s)
        begin = time.perf_counter()
        self._record(chunk)
        self.record_s += time.perf_counter() - begin
        return chunk

    def _is_late(self, chunk: Chunk) -> bool:
        if not chunk.n_samples or self.clock is None:
            return False
        return self.clock.now() - float(chunk.times[-1]) > self.behind_s

    def _catch_up(self) -> None:
        """Take in all that waits; leave out what the policy says. A source that is slow itself has nothing waiting."""
        for _ in range(_MOST_READS):
            chunk = self._read(0.0)
            self._waiting.append(chunk)
            if not chunk.n_samples:
                break
        whole = [c for c in self._waiting if c.n_samples]
        if len(whole) < 2:
            return
        newest = whole[-1]
        keep_from = newest.stop - round(self.behind_s * newest.info.sfreq)
        if self.overrun == "skip-to-newest":
            keep_from = newest.start
        self._leave_out(min(keep_from, newest.stop - 1))

    def _leave_out(self, before: int) -> None:
        """Leave out the samples before number `before`; their events and what was wrong go on to what follows."""
        events: list[Event] = []
        flags, dropped, kept = Flag.OK, 0, deque[Chunk]()
        for chunk in self._waiting:
            if kept and not chunk.n_samples:
                kept.append(chunk)
                continue
            n = min(max(before - chunk.start, 0), chunk.n_samples)
            dropped += n
            if n == chunk.n_samples:
                events += chunk.events
                flags |= chunk.flags & _ONCE
                continue
            gap = Flag.GAP | Flag.OVERFLOW if dropped and not kept else Flag.OK
            kept.append(
                replace(
                    chunk,
                    data=chunk.data[n:],
                    times=chunk.times[n:],
                    start=chunk.start + n,
                    events=tuple(sorted([*events, *chunk.events], key=lambda e: e.sample)),
                    flags=chunk.flags | flags | gap,
                )
            )
            events, flags = [], Flag.OK
        self._waiting = kept
        if dropped:
            self.dropped += dropped
            self.n_overruns += 1
            _log.warning("the loop was late: %d samples were left out before sample %d", dropped, kept[0].start)
