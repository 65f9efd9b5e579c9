"""Any device behind a transport that fails as told, with a ledger of what really happened."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from bci.acquisition.driver import SILENCE_S, Driver, Samples
from bci.acquisition.faults import COMING_AND_GOING, Chance, Fault, FaultKind, Schedule, Script, is_whole, kinds_of
from bci.acquisition.faulty_link import AGAIN, DOWN, GONE, FaultyLink
from bci.acquisition.packets import PacketTracker
from bci.acquisition.truth import Ledger
from bci.clock import Clock, ManualClock, MonotonicClock
from bci.errors import ConfigError, DeviceLost
from bci.ports import AnswersCues, Device, HasEnd, HasOwnTime
from bci.registry import create
from bci.stream import Event, Flag, Kind, StreamInfo

LINK_DOWN = "the link was down"
_TOLD_ANEW = Flag.GAP | Flag.SILENT | Flag.NAN | Flag.STALE
"""Flags that the driver at this end finds out for itself."""
_LEAST_WAIT_S = 1e-3


class FaultyDevice(Driver):
    """A device behind a faulty transport.

    What the device delivers is packed into packets with a counter, carried by a link that fails as told, and read by
    a driver that knows of nothing but the packets. `ledger` says what really happened; `report` says what the
    driver found out.

    Parameters
    ----------
    source : str or Device, default="participant"
        What is behind it: a spec, or an object.
    faults : sequence of Fault or mapping
        Faults by hand; a mapping has the parameters of `Fault`.
    per_minute : float, default=0
        Faults at random, about so many per minute; not together with faults by hand that come and go.
    kinds : sequence of str, optional
        Which kinds are drawn at random; those that come and go by default.
    seed : int, default=0
        Seed of everything random.
    samples_per_packet : int, default=1
        Samples in a packet.
    counter_bits : int, default=8
        Width of the packet counter.
    reorder : int, default=4
        See `bci.acquisition.packets.PacketTracker`; packets are overtaken by up to so many.
    source_settings : mapping, optional
        Settings of the source, where it is given as a spec.
    silence_s, max_age_s : float
        See `bci.acquisition.driver.Driver`.

    Raises
    ------
    ConfigError
        If a setting is out of range, the source is a recording (see `FaultyReplay`), or one in real time should
        run fast.
    DeviceLost
        From `read`, after a disconnect for good.

    Notes
    -----
    A source on its own time stays on its own time: results then do not depend on speed.

    Examples
    --------
    >>> from bci.acquisition.counting import Counting
    >>> with FaultyDevice(Counting(), faults=[{"kind": "loss", "at_s": 1.0, "n": 256}]) as device:
    ...     while device.n_delivered < 500:
    ...         chunk = device.read(0.1)
    ...     device.ledger.gaps(), device.n_lost
    ([(506, 256)], 256)
    """

    def __init__(
        self,
        source: str | Device = "participant",
        *,
        faults: Sequence[Fault | Mapping[str, Any]] = (),
        per_minute: float = 0.0,
        kinds: Sequence[str] = (),
        seed: int = 0,
        samples_per_packet: int = 1,
        counter_bits: int = 8,
        reorder: int = 4,
        source_settings: Mapping[str, Any] | None = None,
        silence_s: float = SILENCE_S,
        max_age_s: float = math.inf,
    ) -> None:
        super().__init__(silence_s=silence_s, max_age_s=max_age_s)
        self.source: Device = create("devices", source, **(source_settings or {}))
        self.faults = Script(faults).faults
        self.per_minute, self.kinds, self.seed = per_minute, kinds_of(kinds), seed
        self.samples_per_packet, self.counter_bits, self.reorder = samples_per_packet, counter_bits, reorder
        self._check_chance()
        if self._is_recording is not isinstance(self.source, HasEnd):
            raise ConfigError(
                f"{type(self).__name__} wraps {'recordings' if self._is_recording else 'devices without an end'}, got "
                f"{type(self.source).__name__}; use {'faulty' if self._is_recording else 'faulty-replay'}:NAME"
            )
        self._ready: deque[Samples] = deque()
        self._link: FaultyLink | None = None
        self._tracker = self._new_tracker(1.0)

    _is_recording = False

    @property
    def ledger(self) -> Ledger:
        """What really happened since `start`; complete once the device is stopped."""
        return self._link.ledger if self._link is not None else Ledger()

    def respond(self, code: str, time_s: float) -> None:
        """Hand a cue on to the person behind it, if there is one; `time_s` on this device's clock."""
        if isinstance(self.source, AnswersCues):
            self.source.respond(code, time_s - self._ahead_s)

    # ---------------------------------------------------------------- hooks
    def _open(self) -> StreamInfo:
        info = self.source.open().physical()
        self._sfreq = info.sfreq
        clock: Clock = self.source.clock if isinstance(self.source, HasOwnTime) else MonotonicClock()
        self._source_clock = clock
        self._on_own_time = isinstance(clock, ManualClock)
        self._clock = ManualClock(clock.now()) if self._on_own_time else clock
        fast = [f for f in self.faults if f.kind is FaultKind.DRIFT and f.amount > 0]
        if fast and not self._on_own_time:
            raise ConfigError(
                f"a source in real time cannot run ahead of it, got a fault {fast[0]}; give a negative amount"
            )
        self._check_faults(info)
        declared = [f.amount for f in self.faults if f.kind is FaultKind.RATE]
        self._columns = [k for k, c in enumerate(info.channels) if c.kind is Kind.EEG]
        return replace(info, sfreq=declared[-1]) if declared else info

    def _start(self) -> None:
        self._ready.clear()
        self._flags = Flag.OK
        self.source.start()
        self._source_begin_s = self._source_clock.now()
        self._link = FaultyLink(
            self._schedule(), self._sfreq, self._columns, self.samples_per_packet, self.counter_bits, self.seed,
            self._source_begin_s,
        )  # fmt: skip
        self._tracker = self._new_tracker(self.info.sfreq)
        self._has_begun = False

    def _read(self, timeout_s: float) -> Samples | None:
        end_s = self._clock.now() + timeout_s
        while not self._ready:
            self._pump(end_s)
            self._receive(self._clock.now())
            if self._source_ended:
                self._receive(math.inf)
                self._ready.extend(self._tracker.flush())
                self._ended = not self._ready
            if self._ended or self._clock.now() >= end_s:
                break
        if not self._ready:
            return None
        got, flags = self._ready.popleft(), self._flags
        self._flags = Flag.OK
        return replace(got, flags=got.flags | flags) if flags else got

    def _stop(self) -> None:
        if self._link is not None:
            self._link.finish()
        self.source.stop()

    def _close(self) -> None:
        self.source.close()

    def _details(self) -> dict[str, Any]:
        report = self._tracker.report()
        return {**report, "waiting": report["waiting"] + sum(len(samples.data) for samples in self._ready)}

    # -------------------------------------------------------------- private
    _ahead_s = 0.0
    _source_begin_s = 0.0

    @property
    def _source_ended(self) -> bool:
        return isinstance(self.source, HasEnd) and self.source.at_end

    def _check_chance(self) -> None:
        """Refuse what could not be drawn; once, before anything runs."""
        if self.per_minute != 0:
            Chance(1.0, self.per_minute, 0)
        if not is_whole(self.seed) or self.seed < 0:
            raise ConfigError(f"seed takes a whole number from 0, got {self.seed!r}; give another")
        passing = [f for f in self.faults if f.kind in COMING_AND_GOING and math.isfinite(f.over_s(1.0))]
        if self.per_minute and passing:
            raise ConfigError(
                "faults that come and go are drawn at random or given by hand, got per_minute = "
                f"{self.per_minute:g} and a fault {passing[0]}; leave one of them out"
            )

    def _check_faults(self, info: StreamInfo) -> None:
        """Refuse faults that this stream, or its packets, cannot have."""
        window = PacketTracker.window(info.sfreq, self.samples_per_packet, self.reorder)
        for fault in self.faults:
            beyond = [k for k in fault.channels if k >= info.n_channels]
            if beyond:
                raise ConfigError(
                    f"a fault {fault.kind.value!r} takes columns from 0 to {info.n_channels - 1} of {info.name!r}, got "
                    f"{beyond[0]}; correct channels"
                )
            if fault.kind is FaultKind.REORDER and fault.n > window:
                raise ConfigError(
                    f"packets of {info.name!r} are put back when up to {window} overtake them, got a fault 'reorder' "
                    f"with n = {fault.n}; lower it, or raise reorder (a packet waits a tenth of a second at most)"
                )

    def _new_tracker(self, sfreq: float) -> PacketTracker:
        return PacketTracker(
            sfreq, samples_per_packet=self.samples_per_packet, counter_bits=self.counter_bits, reorder=self.reorder,
            first_counter=0,
        )  # fmt: skip

    def _schedule(self) -> Schedule:
        if not self.per_minute:
            return Script(self.faults)
        window = PacketTracker.window(self._sfreq, self.samples_per_packet, self.reorder)
        cannot = [*([] if self._on_own_time else [FaultKind.DRIFT]), *([] if window else [FaultKind.REORDER])]
        kinds = tuple(k for k in self.kinds or COMING_AND_GOING if k not in cannot)
        if not kinds:
            raise ConfigError(
                f"faults at random need a kind that this source can have, got {', '.join(self.kinds)}; a drift needs a "
                "source on its own time, packets out of order a reorder of 1 or more"
            )
        return _Both(Script(self.faults), Chance(self._sfreq, self.per_minute, self.seed, kinds, reorder=window))

    def _pump(self, end_s: float) -> None:
        """Let the source deliver into the link, and time go on."""
        assert self._link is not None
        due_s = min(end_s, self._link.due_s, self._tracker.due_s)
        chunk = self.source.read(max(due_s - self._clock.now(), _LEAST_WAIT_S))
        self._flags |= chunk.flags & ~_TOLD_ANEW
        if chunk.n_samples and not self._has_begun:
            self._has_begun = True
            self._tracker.begin(float(chunk.times[0]) - (chunk.start + 1) / self._sfreq)
        self._link.send(chunk.physical())
        for event in chunk.events:
            self._mark_again(event)
        if isinstance(self._clock, ManualClock):
            now_s = self._source_clock.now()
            self._clock.advance_to(self._link.warp(now_s))
            self._ahead_s = self._clock.now() - now_s

    def _mark_again(self, event: Event) -> None:
        assert self._link is not None
        self.mark(event.code, self._link.warp(event.time), event.source)

    def _receive(self, now_s: float) -> None:
        assert self._link is not None
        while (got := self._link.receive(now_s)) is not None:
            if not isinstance(got, str):
                self._ready.extend(self._tracker.push(got.counters, got.data, got.arrivals))
            elif got == DOWN:
                self._tracker.explain(LINK_DOWN)
            elif got == AGAIN:
                self._ready.extend(self._tracker.restart())
            elif got == GONE and not self._ready:
                raise DeviceLost(
                    f"packets of {type(self.source).__name__} were expected; the link is down for good, as the "
                    "schedule of faults has it; start anew or give the disconnect a duration_s"
                )
        if math.isfinite(now_s):
            self._ready.extend(self._tracker.poll(now_s))


class FaultyReplay(FaultyDevice):
    """A recording behind a faulty transport; see `FaultyDevice`."""

    _is_recording = True

    @property
    def at_end(self) -> bool:
        """True once everything was delivered."""
        return self._ended


class _Both:
    """Two schedules at once."""

    def __init__(self, first: Schedule, second: Schedule) -> None:
        self._parts = (first, second)

    def until(self, time_s: float) -> list[Fault]:
        """Return the faults of both."""
        return sorted((f for part in self._parts for f in part.until(time_s)), key=lambda f: f.at_s)
