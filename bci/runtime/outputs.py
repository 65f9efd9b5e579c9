"""The effectors of a session: guarded where they must be, kept alive by the loop, neutral otherwise."""

from __future__ import annotations

import enum
import logging
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from bci.clock import Clock, MonotonicClock
from bci.decision import Command
from bci.ports import AcceptsMarkers, Effector, HasStop, Hazard, ReportsEvents, ShowsStatus, Status
from bci.runtime.describe import describe
from bci.safety.gate import Verdict
from bci.safety.link import GuardedEffector, guarded, oldest_signal_s, require_guard
from bci.safety.machine import State
from bci.stream import Flag

_log = logging.getLogger(__name__)

_LIVELY = (State.ARMED, State.ACTIVE, State.HOLD)


class _Trip(enum.Enum):
    """What is known of a stop, a loss or a broken model."""

    NONE = enum.auto()
    NEW = enum.auto()
    """It happened; not every guard is known to be at rest yet."""
    SEEN = enum.auto()
    """Every guard is at rest: one that is armed from here on was armed by a person who knows."""


class Outputs:
    """All effectors of one session.

    Parameters
    ----------
    effectors : sequence of str or Effector
        Specs or objects. A spec whose effector can move or touch, or owns its
        process's main thread (a window), is put behind the guard.

    Raises
    ------
    SafetyError
        If an object that can touch or move is handed over without the guard.
    """

    def __init__(self, effectors: Sequence[str | Effector]) -> None:
        self.effectors = [guarded(e) if isinstance(e, str) else e for e in effectors]
        for effector in self.effectors:
            require_guard(effector)
        self.cue = ""
        self._clock: Clock = MonotonicClock()
        self._command: Command | None = None
        self._signal_ok = False
        self._bare_live = False
        self._trip = _Trip.NONE
        self._is_broken = False
        self._n_stops = 0
        self._lost: list[GuardedEffector] = []

    @property
    def described(self) -> list[dict[str, Any]]:
        """What each is and how it is set, as plain values."""
        return [
            {"name": e.spec, **e.settings} if isinstance(e, GuardedEffector) else describe(e) for e in self.effectors
        ]

    @property
    def max_age_s(self) -> float:
        """Oldest signal that every effector allows, s."""
        return min((oldest_signal_s(e.limits) for e in self.effectors), default=1.0)

    @property
    def logs(self) -> list[Path]:
        """The event logs of the guards, once they run."""
        return [Path(g.log_path) for g in self.guarded if g.log_path is not None]

    @property
    def guarded(self) -> list[GuardedEffector]:
        """Those behind the guard."""
        return [e for e in self.effectors if isinstance(e, GuardedEffector)]

    def open(self, clock: Clock, recording: Path | None = None) -> None:
        """Let every effector prove that it can reach its safe state; guards log beside `recording`, if there is one."""
        self._clock = clock
        if recording is not None:
            for number, behind in enumerate(self.guarded, 1):
                if behind.log_path is None:
                    name = re.sub(r"\W+", "-", behind.spec).strip("-")
                    behind.log_path = recording.with_name(f"{recording.stem}-{number}-{name}-guard.jsonl")
        for effector in self.effectors:
            effector.self_test()
        for effector in self.effectors:
            if isinstance(effector, GuardedEffector):
                effector.stop_with(self.guarded)
            elif isinstance(effector, HasStop):
                effector.attach_stop(self.stop)
        self._n_stops = sum(g.status.stops for g in self.guarded)

    def act(self, command: Command | None, verdict: Verdict) -> None:
        """Take a new command; it is sent now and kept alive by `turn` until it expires.

        A broken model brings everything to the safe state, which only a person leaves.
        """
        if verdict.broken and self.effectors and not self._is_broken:
            _log.error("%s: every effector goes to its safe state; check the decoder, then arm again", verdict.reason)
        self._is_broken = verdict.broken
        if verdict.broken:
            self.halt()
        elif command is not None:
            self._command, self._signal_ok = command, verdict.signal_ok
            if not self._is_tripped:
                self._bare_live = True
                for effector in self._bare:
                    effector.send(command)

    def turn(self, flags: Flag = Flag.OK) -> None:
        """Tell guard and people, at each turn of the loop, what holds now; silence from here means the safe state."""
        self._look_for_losses()
        command, now_s = self._command, self._clock.now()
        if command is None:
            self._show(0.0)
            return
        signal_ok = self._signal_ok and not flags & ~Flag.NAN
        expired = now_s > command.issued_s + command.valid_s
        if expired:
            command, signal_ok = replace(command, value=0.0), False
        if self._bare_live and (expired or self._is_tripped):
            self._bare_live = False  # nothing else would ever take back the last value that they were sent
            self._halt(self._bare)
        for effector in self.guarded:
            effector.send(command, age_s=max(0.0, now_s - command.signal_s), quality_ok=signal_ok)
        self._show(command.value)

    def _show(self, intent: float) -> None:
        # Whoever looks at any window sees what reaches a body, in parts of what a person has allowed; an intent to
        # the other side is a valid wish, and means that nothing does.
        on_body = [g for g in self.guarded if g.limits.hazard is Hazard.BODY]
        message = ", ".join(f"{g.spec} {100 * max(0.0, g.output) / g.limits.high:.0f} %" for g in on_body)
        for effector in self.effectors:
            if isinstance(effector, ShowsStatus):
                state = effector.state if isinstance(effector, GuardedEffector) else ""
                effector.show(Status(state, intent, self.cue, message))

    def pass_events(self, device: object) -> None:
        """Put what happened at the effectors (frames, buttons) into the device's stream as markers."""
        if not isinstance(device, AcceptsMarkers):
            return
        offset_s = self._clock.now() - MonotonicClock().now()
        for effector in self.effectors:
            if isinstance(effector, ReportsEvents):
                for time_s, code in effector.take_events():
                    device.mark(code, time_s + offset_s)

    def stop(self) -> None:
        """A person wants everything to stop; from any thread, without waiting for a guard that does not answer.

        What has no guard of its own is silent from here until a person arms a guard again; for the rest of the
        session where there is none.
        """
        self._trip = _Trip.NEW
        for effector in self.guarded:
            effector.console.stop()
        self._halt(self._bare)

    def neutral(self) -> None:
        """Ask for nothing, and stop asking."""
        if self._command is not None:
            nothing = replace(self._command, value=0.0, label="", issued_s=self._clock.now())
            self.act(nothing, Verdict(True, "the end"))
            self.turn()
        self._command = None

    def halt(self) -> None:
        """Bring every effector to its safe state now, which only a person leaves, by arming a guard again."""
        self._command, self._bare_live, self._trip = None, False, _Trip.NEW
        self._halt(self.effectors)

    @contextmanager
    def halted_by_errors(self) -> Iterator[None]:
        """Halt every effector at once if the body raises, before anything else happens."""
        try:
            yield
        except BaseException:
            self.halt()
            raise

    def close(self) -> None:
        """Halt and release every effector; any number of times."""
        self._halt(self.effectors)
        for effector in self.effectors:
            try:
                effector.close()
            except Exception:  # noqa: BLE001  # the others have to be released too
                _log.exception("%s was not released", type(effector).__name__)

    def _look_for_losses(self) -> None:
        for effector in self.guarded:
            if effector.is_lost and effector not in self._lost:
                self._lost.append(effector)
                _log.error("%s is gone, and its stop with it: every effector goes to its safe state", effector.spec)
                self.halt()

    @property
    def _bare(self) -> list[Effector]:
        return [e for e in self.effectors if not isinstance(e, GuardedEffector)]

    @property
    def _is_tripped(self) -> bool:
        """Whether what has no guard of its own must be silent; cleared only where a person arms a guard again."""
        heard = [g.status for g in self.guarded]
        states, n_stops = [status.state for status in heard], sum(status.stops for status in heard)
        if n_stops != self._n_stops or State.STOPPED in states:
            self._trip, self._n_stops = _Trip.NEW, n_stops
        # A guard may still have to hear of it: only one that was seen at rest can be armed *again*.
        if self._trip is _Trip.NEW and not any(s in _LIVELY for s in states):
            self._trip = _Trip.SEEN
        elif self._trip is _Trip.SEEN and any(s in _LIVELY for s in states):
            self._trip = _Trip.NONE
        return self._trip is not _Trip.NONE

    def _halt(self, effectors: Sequence[Effector]) -> None:
        for effector in effectors:
            try:
                effector.halt()
            except Exception:  # noqa: BLE001  # against its contract; the others have to be halted all the same
                _log.exception("%s was not halted", type(effector).__name__)
