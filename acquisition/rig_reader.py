"""The streams of a rig: their times are brought to the session clock, their numbers run on across a loss."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from bci.acquisition.driver import Driver
from bci.acquisition.rig_source import Arrival, MarkerSource, Source
from bci.acquisition.timebase import ClockFit
from bci.clock import Clock, MonotonicClock
from bci.errors import ConfigError, DeviceError
from bci.ports import AcceptsMarkers, Device, HasEnd, HasOwnTime
from bci.stream import Chunk, Event, Flag, StreamInfo

Stamps = Literal["session", "own"]

_EARLY_S, _LATE_S = 2e-3, 1.0
"""Arrivals between this much before and after what a clock lets expect are of the same clock, s."""


class Reader(Source):
    """A device of a rig.

    Parameters
    ----------
    name : str
        Its name there; its chunks carry it too.
    device : Device
        The source.
    clock : Clock
        The session clock.
    stamps : {"session", "own"}, optional
        "session": its times are on the session clock already, as the port demands. "own": they are of a clock of
        its own, whose offset and rate are estimated from the arrivals. By default "own" for a device that shows a
        clock other than the session's, else "session".
    latency_s : float, default=0
        How long the fastest sample is under way, s; taken from the times of a clock of its own, since no arrival
        can tell it.
    retry_s : float, default=1
        How often a lost source is looked for, s.
    """

    def __init__(
        self,
        name: str,
        device: Device,
        clock: Clock,
        *,
        stamps: Stamps | None = None,
        latency_s: float = 0.0,
        retry_s: float = 1.0,
    ) -> None:
        super().__init__(name, clock, retry_s)
        self.device, self.latency_s = device, latency_s
        self._ending = device if isinstance(device, HasEnd) else None  # asked often, and slow to find out
        self._stamps = stamps
        self._info: StreamInfo | None = None
        self._given: StreamInfo | None = None
        self._fit = ClockFit()
        self.is_own = False
        self._said = Flag.OK
        self._reset()

    # ------------------------------------------------------------ lifecycle
    def open(self) -> StreamInfo:
        """Open the device; return what it delivers, under the name it has in the rig."""
        self._given = self.device.open()
        self._info = _renamed(self._given, self.name)
        self.is_own = self._stamps == "own" if self._stamps else not _shares(self.device, self._clock)
        return self._info

    def start(self) -> None:
        """Let its samples flow."""
        self._reset()
        self._fit = ClockFit()
        self.device.start()

    def restore(self) -> None:
        """Open and start a device that was lost; `DeviceError` if another one answers."""
        info, before = self.device.open(), self.info
        if (info.channels, info.sfreq) != (before.channels, before.sfreq):
            raise DeviceError(
                f"expected {self.name} to come back with {before.n_channels} channels at {before.sfreq:g} Hz, got "
                f"{info.n_channels} at {info.sfreq:g} Hz or other names; bring back what it was"
            )
        self.device.start()
        self._came_back = True

    def release(self) -> None:
        """Close the device."""
        self.device.close()

    # ----------------------------------------------------------- main verbs
    def take(self, timeout_s: float) -> Arrival | None:
        """Read the device once."""
        chunk = self.device.read(timeout_s)
        now_s = self._clock.now()
        if not chunk.n_samples and not chunk.events and (not chunk.flags or chunk.flags == self._said):
            return None  # of silence it is enough to hear once
        self._said = Flag.OK if chunk.n_samples else chunk.flags
        return Arrival(self.name, now_s, self._numbered(self._timed(chunk, now_s)))

    def mark(self, code: str, time_s: float, source: str) -> None:
        """Attach an event that happened at `time_s` (session clock) to the stream itself; any thread."""
        if isinstance(self.device, Driver):
            self.device.mark(code, self.shown(time_s), source)
        elif isinstance(self.device, AcceptsMarkers):
            self.device.mark(code, self.shown(time_s))
        else:
            raise ConfigError(
                f"events go into a stream whose device accepts markers, got {type(self.device).__name__} as "
                f"{self.name!r}; derive it from bci.acquisition.driver.Driver, which brings mark()"
            )

    def shown(self, time_s: float) -> float:
        """Return what the device's clock shows at `time_s` (session clock), s."""
        if not self.is_own or self._last_own is None:
            return time_s
        own_s, session_s = self._last_own
        return own_s + (time_s - session_s) / self._fit.rate

    # ----------------------------------------------------------- properties
    @property
    def info(self) -> StreamInfo:
        """What it delivers, under its name in the rig."""
        if self._info is None:
            raise DeviceError(f"the stream {self.name!r} is known once its rig is open; it never was; open it first")
        return self._info

    @property
    def at_end(self) -> bool:
        """True once a recording has delivered everything."""
        return self._ending is not None and not self.lost_cause and self._ending.at_end

    def described_clock(self) -> dict[str, Any]:
        """Return what is known of its clock: ``stamps``, ``offset_s``, ``ppm`` and ``ppm_error`` (None: unknown yet).

        ``offset_s`` is session time less the device's time, now; a positive ``ppm`` says that the device's clock is
        too fast.
        """
        offset_s, error = float(self._fit.offset_s), float(self._fit.rate_error)
        known = bool(np.isfinite(error))
        return {
            "stamps": "own" if self.is_own else "session",
            "offset_s": offset_s - self.latency_s if np.isfinite(offset_s) else None,
            "ppm": (1.0 / self._fit.rate - 1.0) * 1e6 if known else None,
            "ppm_error": error * 1e6 if known else None,
        }

    # -------------------------------------------------------------- private
    def _reset(self) -> None:
        self.lost_cause = ""
        self._next = self._shift = 0
        self._came_back = False
        self._said = Flag.OK
        self._last_s: float | None = None
        self._last_own: tuple[float, float] | None = None

    def _timed(self, chunk: Chunk, now_s: float) -> Chunk:
        """Return the chunk with times and events on the session clock, under its name in the rig."""
        if not chunk.n_samples:
            events = tuple(replace(e, time=self._session_s(e.time)) for e in chunk.events)
            return chunk.replace(info=self.info, events=events)
        if self._came_back and not self._goes_on(float(chunk.times[-1]), now_s):
            self._fit.forget()
        self._fit.add(float(chunk.times[-1]), now_s)
        if not self.is_own:
            return chunk.replace(info=self.info)
        times = self._fit.follow(chunk.times) - self.latency_s
        self._last_own = (float(chunk.times[-1]), float(times[-1]))
        events = tuple(replace(e, time=self._event_s(e, chunk, times)) for e in chunk.events)
        return chunk.replace(info=self.info, times=times, events=events)

    def _goes_on(self, own_s: float, now_s: float) -> bool:
        """Whether the clock of a source that is back has run on meanwhile: what is known of it then still holds."""
        return self._last_own is not None and -_EARLY_S < self._fit.late_s(own_s, now_s) < _LATE_S

    def _event_s(self, event: Event, chunk: Chunk, times: NDArray[np.float64]) -> float:
        """Return when an event was, told from the sample it belongs to where that is in the chunk."""
        row = event.sample - chunk.start
        if not 0 <= row < len(times):
            return self._session_s(event.time)
        return float(times[row]) - (float(chunk.times[row]) - event.time) * self._fit.rate

    def _session_s(self, own_s: float) -> float:
        if not self.is_own or self._last_own is None:
            return own_s
        return self._last_own[1] + (own_s - self._last_own[0]) * self._fit.rate

    def _numbered(self, chunk: Chunk) -> Chunk:
        """Number on across a loss of the device, which counts from 0 again when it is back."""
        if chunk.n_samples and self._came_back:
            self._came_back = False
            missing_s = 0.0 if self._last_s is None else float(chunk.times[0]) - self._last_s
            self._shift = self._next + max(1, round(missing_s * self.info.sfreq) - 1) - chunk.start
            chunk = chunk.replace(flags=chunk.flags | Flag.GAP)
        if self._shift:
            events = tuple(replace(e, sample=e.sample + self._shift) for e in chunk.events)
            start = self._next if self._came_back else chunk.start + self._shift
            chunk = chunk.replace(start=start, events=events)
        if chunk.n_samples:
            self._last_s, self._next = float(chunk.times[-1]), chunk.stop
        return chunk


class MarkerReader(Source):
    """A stream of markers of a rig: everything it tells is an event that bears its name."""

    def __init__(self, name: str, source: MarkerSource, clock: Clock, *, retry_s: float = 1.0) -> None:
        super().__init__(name, clock, retry_s)
        self._source = source

    def open(self) -> None:
        """Connect."""
        self._source.open()

    def start(self) -> None:
        """Listen."""
        self.lost_cause = ""
        self._source.start()

    def restore(self) -> None:
        """Connect and listen again."""
        self._source.open()
        self._source.start()

    def release(self) -> None:
        """Disconnect."""
        self._source.close()

    def take(self, timeout_s: float) -> Arrival | None:
        """Read once."""
        found = self._source.read(timeout_s)
        if not found:
            return None
        # Its own sample number means nothing here: other streams find their sample by its time.
        events = tuple(Event(0, float(time_s), str(code), self.name) for time_s, code in found)
        return Arrival(self.name, self._clock.now(), events=events)


def _renamed(info: StreamInfo, name: str) -> StreamInfo:
    meta: Mapping[str, str] = info.meta if info.name == name else {**info.meta, "device": info.name}
    return replace(info, name=name, meta=meta)


def _shares(device: Device, clock: Clock) -> bool:
    """Whether a device stamps on the session clock: it shows no other."""
    if not isinstance(device, HasOwnTime):
        return True
    return device.clock is clock or (isinstance(device.clock, MonotonicClock) and isinstance(clock, MonotonicClock))
