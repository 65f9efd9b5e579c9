"""Several devices on one session clock: read together, aligned, recorded together; none can hold up the others."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from types import TracebackType
from typing import Any, Literal, Self

from bci.acquisition.rig_align import Alignment
from bci.acquisition.rig_gather import Gather, Steps, Threads
from bci.acquisition.rig_log import RigLog
from bci.acquisition.rig_reader import MarkerReader, Reader, Stamps
from bci.acquisition.rig_source import Arrival, Health, MarkerSource, Status, share_sources
from bci.clock import Clock, ManualClock, MonotonicClock
from bci.errors import BciError, ConfigError, DeviceError
from bci.ports import Block, Device, Reports
from bci.registry import create
from bci.signal.aligned import LATE_S, AlignedWindow, Aligner
from bci.stream import Event, StreamInfo, unknown
from bci.trial import Window

_log = logging.getLogger(__name__)

SILENCE_S = 0.22
"""As `bci.acquisition.driver.SILENCE_S`; here it also finds a device that does not come back from `read`, s."""
_READ_S = 0.02
_SILENT_PERIODS = 4.0


class Rig:
    """Named devices on one session clock.

    Used with ``with``, all devices are open and streaming inside the block. `read` gives what has arrived from any
    of them; `windows` gives what all of them have of the same stretch of time.

    Parameters
    ----------
    devices : mapping of str to (str or Device)
        The streams by name: a spec such as "lsl:NAME", or an object. Each stream has the name it is given here.
    markers : mapping of str to MarkerSource, optional
        Streams without a rate, whose markers become events.
    main : str, optional
        The stream that a session decides on (`bci.acquisition.rig_main.MainStream`); the first by default.
    clock : Clock, optional
        The session clock: the machine's monotonic clock by default. With a `ManualClock` the rig runs on simulated
        time: it moves the clock and reads its devices, which must be simulated on that clock, in turn.
    late_s : float, default=0.25
        How long a window waits for streams that are late, s.
    stamps, latency_s : mapping, optional
        For some of the streams: whose clock their times are of, and how long the fastest sample is under way (s);
        see `bci.acquisition.rig_reader.Reader`.
    silence_s : float, default=0.22
        A stream that brings nothing for longer, and for four of its samples, is said to be silent, s.
    retry_s : float, default=1
        How often a lost source is looked for, s.
    buffer_s : float, default=60
        What is kept of each stream while nobody calls `read`, s; more is dropped and flagged OVERFLOW.
    tick_s : float, default=0.005
        Step of simulated time, s.
    speed : float or "max", default="max"
        Of simulated time, times real time.

    Raises
    ------
    ConfigError
        If there is no device, a name is not one of them, or a duration is not above 0.

    Notes
    -----
    On the machine's clock each device has a thread of its own, which waits in the device's `read`; there is no
    polling, and a device that hangs is only its own loss. A source that is lost is looked for again every
    `retry_s`; when it is back its numbers run on, with what is missing counted as a gap. Streams of one source that
    has one holder (the presets of a board) share it.

    Examples
    --------
    >>> with Rig({"eeg": "lsl:Amp", "gaze": "lsl:Eyes"}) as rig:  # doctest: +SKIP
    ...     for window in rig.windows(Slide(1.0, 0.1)):
    ...         X = window.stacked(250.0)
    """

    def __init__(
        self,
        devices: Mapping[str, str | Device],
        *,
        markers: Mapping[str, MarkerSource] | None = None,
        main: str | None = None,
        clock: Clock | None = None,
        late_s: float = LATE_S,
        stamps: Mapping[str, Stamps] | None = None,
        latency_s: Mapping[str, float] | None = None,
        silence_s: float = SILENCE_S,
        retry_s: float = 1.0,
        buffer_s: float = 60.0,
        tick_s: float = 0.005,
        speed: float | Literal["max"] = "max",
    ) -> None:
        markers, stamps, latency_s = markers or {}, stamps or {}, latency_s or {}
        self.main = main if main is not None else next(iter(devices), "")
        _check(devices, markers, {self.main, *stamps, *latency_s}, (late_s, silence_s, retry_s, buffer_s, tick_s))
        self.clock: Clock = clock if clock is not None else MonotonicClock()
        self.late_s, self.silence_s, self.buffer_s, self.tick_s = late_s, silence_s, buffer_s, tick_s
        self.speed = float("inf") if speed == "max" else float(speed)
        made = {name: create("devices", device) for name, device in devices.items()}
        share_sources(list(made.values()))
        self._readers = {
            name: Reader(
                name,
                device,
                self.clock,
                stamps=stamps.get(name),
                latency_s=latency_s.get(name, 0.0),
                retry_s=retry_s,
            )
            for name, device in made.items()
        }
        self._markers = {n: MarkerReader(n, source, self.clock, retry_s=retry_s) for n, source in markers.items()}
        self._gather: Gather | None = None
        self._log = RigLog()
        self._aligned: list[Alignment] = []
        self._status: dict[str, Status] = {}
        self._last_s: dict[str, float] = {}
        self._own_events: deque[Event] = deque()
        self._is_open = False
        self.begin_s = float("nan")

    # ------------------------------------------------------------ lifecycle
    def open(self) -> dict[str, StreamInfo]:
        """Open all devices, or none; return what they deliver, by name.

        Raises
        ------
        DeviceError
            Naming every stream that failed, and why; all the others are closed again.
        """
        if self._is_open:
            raise DeviceError("open() needs a rig that is closed, this one is open already; close() it first")
        self._together("opened", {n: s.open for n, s in (*self._readers.items(), *self._markers.items())})
        self._is_open = True
        return self.infos

    def start(self) -> None:
        """Let the samples of all devices flow, or of none; `DeviceError` as from `open`."""
        if not self._is_open or self._gather is not None:
            raise DeviceError("start() needs a rig that is open and does not stream; open() it first, or close() it")
        sources = [*self._readers.values(), *self._markers.values()]
        self._together("started", {s.name: s.start for s in sources})
        self.begin_s = self.clock.now()
        self._status = {s.name: Status(Health.STREAMING, self.begin_s) for s in sources}
        self._last_s = dict.fromkeys(self._readers, self.begin_s)
        self._log.begin(self.begin_s, self.late_s, self.main, tuple(self._readers))
        if isinstance(self.clock, ManualClock):
            self._gather = Steps(sources, self.clock, self.tick_s, self.speed, self._end_s())
        else:
            self._gather = Threads(sources, self.clock, self.buffer_s)

    def close(self) -> None:
        """Stop and close all devices; from any state, any number of times, never raises."""
        gather, self._gather = self._gather, None
        if gather is not None:
            gather.close()
            self._log.end(self._read_until_s)
        elif self._is_open:
            for source in (*self._readers.values(), *self._markers.values()):
                source.close()
        self._is_open = False

    def __enter__(self) -> Self:
        self.open()
        try:
            self.start()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    # ----------------------------------------------------------- main verbs
    def read(self, timeout_s: float) -> list[Arrival]:
        """Return what has arrived from any stream, waiting up to `timeout_s` for the first; record and align it."""
        if self._gather is None:
            raise DeviceError("read() needs a rig that streams; open() and start() it, or use it with `with`")
        arrivals, now_s = self._gather.take(timeout_s)
        while self._own_events:
            arrivals.append(Arrival("", now_s, events=(self._own_events.popleft(),)))
        arrivals += self._look_around(arrivals, now_s)
        for arrival in arrivals:
            self._log.write(arrival)
            for aligned in self._aligned:
                aligned.push(arrival, self._in_time(arrival))
        self._log.clocks(now_s, self._readers)
        for aligned in self._aligned:
            aligned.collect(now_s)
        self._read_until_s = now_s
        return arrivals

    def align(
        self, window: Window, *, blocks: Mapping[str, Sequence[Block]] | None = None, history_s: float = 10.0
    ) -> Alignment:
        """Cut `window` out of all streams from now on, as `read` brings them in.

        Parameters
        ----------
        window : Slide or Locked
            Which windows, on the session clock; locked ones at events of any stream.
        blocks : mapping of str to sequence of Block, optional
            A signal chain for some of the streams.
        history_s : float, default=10
            How far back a late event may still find its samples, s.
        """
        if self._gather is None:
            raise DeviceError("windows are cut from a rig that streams; open() and start() it, or use it with `with`")
        aligner = Aligner(window, self.infos, self.begin_s, late_s=self.late_s, blocks=blocks, history_s=history_s)
        for name, since_s, back_s in self._known_losses():
            aligner.lose(name, since_s)
            aligner.find(name, back_s)
        alignment = Alignment(aligner)
        self._aligned.append(alignment)
        return alignment

    def windows(
        self,
        window: Window,
        *,
        blocks: Mapping[str, Sequence[Block]] | None = None,
        history_s: float = 10.0,
        duration_s: float = float("inf"),
    ) -> Iterator[AlignedWindow]:
        """Read, and yield the windows of `align` as they become complete.

        Ends with the recording, or after `duration_s` of the session clock.
        """
        alignment = self.align(window, blocks=blocks, history_s=history_s)
        until_s = self.clock.now() + duration_s
        try:
            over = False
            while not over:
                over = self.at_end or self.clock.now() >= until_s
                self.read(_READ_S)
                yield from alignment.take()
        finally:
            with suppress(ValueError):
                self._aligned.remove(alignment)

    def mark(self, code: str, time_s: float | None = None, source: str = "") -> None:
        """Tell an event that happened at `time_s` (session clock; now by default); any thread."""
        if source in self._readers:
            raise ConfigError(f"the source of an event of your own is no stream of the rig, got {source!r}; rename it")
        self._own_events.append(Event(0, self.clock.now() if time_s is None else float(time_s), str(code), source))

    def record(self, recorder: Any) -> None:
        """Write all streams and their events into `recorder` (`XdfRecorder`), which is open, from now on."""
        self._log.attach(recorder, self.infos)

    def record_beside(self, recorder: Any) -> None:
        """Write all streams but the main one, and no events: those a session records (see `rig_main.MainStream`)."""
        self._log.attach(recorder, {n: i for n, i in self.infos.items() if n != self.main}, events=False)

    # ----------------------------------------------------------- properties
    @property
    def infos(self) -> dict[str, StreamInfo]:
        """What each device delivers, by name; known once the rig is open."""
        return {name: reader.info for name, reader in self._readers.items()}

    @property
    def names(self) -> tuple[str, ...]:
        """The streams with samples, the main one among them."""
        return tuple(self._readers)

    @property
    def status(self) -> dict[str, Status]:
        """How each stream is, since when, and why."""
        return dict(self._status)

    @property
    def at_end(self) -> bool:
        """True once every device has delivered everything (recordings only)."""
        return all(reader.at_end for reader in self._readers.values())

    def heard_s(self, name: str) -> float:
        """Return when samples of a stream last arrived, s on the session clock."""
        return self._last_s[name]

    def silence_of_s(self, name: str) -> float:
        """Return after how long a stream is silent, s: a slow one (1 Hz) is not so between its samples."""
        return max(self.silence_s, _SILENT_PERIODS / self._readers[name].info.sfreq)

    def reader(self, name: str) -> Reader:
        """Return the stream `name`, to mark events in it."""
        if name not in self._readers:
            raise ConfigError(unknown("stream", name, self._readers))
        return self._readers[name]

    def report(self) -> dict[str, Any]:
        """Return what happened since `start`, ready for JSON: for each stream its state, its clock, and its losses.

        Returns
        -------
        dict of dict
            ``health``, ``since_s``, ``cause``; ``clock`` (see `Reader.described_clock`); ``delivered`` and ``lost``
            (samples); ``changes``: list of dicts with ``time``, ``health``, ``cause``; ``device``: what the device
            itself reports, if it does.
        """
        found: dict[str, Any] = {}
        for name, status in self._status.items():
            found[name] = {"health": status.health.value, "since_s": status.since_s, "cause": status.cause}
            found[name]["changes"] = self._log.changes(name)
            if name in self._readers:
                found[name] |= {"clock": self._readers[name].described_clock(), **self._log.counts(name)}
                if isinstance(device := self._readers[name].device, Reports):
                    found[name]["device"] = device.report()
        return found

    # -------------------------------------------------------------- private
    _read_until_s = float("nan")

    def _together(self, what: str, steps: Mapping[str, Callable[[], object]]) -> None:
        """Take the step with every stream; if one fails, close all and say which and why."""
        failed: dict[str, Exception] = {}
        for name, step in steps.items():
            try:
                step()
            except Exception as error:  # noqa: BLE001 - whatever a stranger's driver raises, the others must be closed
                failed[name] = error
        if not failed:
            return
        for source in (*self._readers.values(), *self._markers.values()):
            source.close()
        self._is_open = False
        said = "; ".join(f"{name}: {' '.join(str(e).split()) or type(e).__name__}" for name, e in failed.items())
        first = next((e for e in failed.values() if not isinstance(e, BciError)), next(iter(failed.values())))
        raise DeviceError(
            f"all {len(steps)} streams of the rig were to be {what}, {len(failed)} failed and all are closed: {said}"
        ) from first

    def _look_around(self, arrivals: list[Arrival], now_s: float) -> list[Arrival]:
        """Keep the books on who is there; return the news."""
        news = []
        for arrival in arrivals:
            if arrival.status is not None:
                self._status[arrival.name] = arrival.status
            elif arrival.name in self._markers:
                self._status[arrival.name] = Status(Health.STREAMING, arrival.arrived_s)
            elif arrival.chunk is not None and arrival.chunk.n_samples:
                self._last_s[arrival.name] = arrival.arrived_s
                if self._status[arrival.name].health is not Health.STREAMING:
                    news.append(self._now(arrival.name, Health.STREAMING, arrival.arrived_s))
        for name, reader in self._readers.items():
            health = self._status[name].health
            if reader.at_end:
                if health is not Health.ENDED:
                    news.append(self._now(name, Health.ENDED, now_s))
            elif health is Health.STREAMING and now_s - self._last_s[name] > self.silence_of_s(name):
                cause = f"no sample for {self.silence_of_s(name):g} s"
                news.append(self._now(name, Health.SILENT, self._last_s[name], cause))
                _log.warning("%s is silent: %s", name, cause)
        return news

    def _now(self, name: str, health: Health, since_s: float, cause: str = "") -> Arrival:
        self._status[name] = Status(health, since_s, cause)
        return Arrival(name, since_s, status=self._status[name])

    # What a recording knows better (`bci.acquisition.rig_replay`).
    def _end_s(self) -> float | None:
        return None

    def _in_time(self, arrival: Arrival) -> float:
        """When the samples were here, s."""
        return arrival.arrived_s

    def _known_losses(self) -> list[tuple[str, float, float]]:
        """Return (stream, lost at, back at) of losses that are known beforehand."""
        return []


def _check(
    devices: Mapping[str, Any], markers: Mapping[str, Any], named: set[str], durations_s: tuple[float, ...]
) -> None:
    if not devices:
        raise ConfigError("a rig needs at least one device with samples, got none; give {'eeg': 'lsl:NAME', ...}")
    both = sorted(set(devices) & set(markers))
    if both or "" in devices or "" in markers:
        raise ConfigError(f"every stream needs a name of its own, got {', '.join(both) or 'an empty one'}; rename it")
    for name in named:
        if name not in devices:
            raise ConfigError(unknown("stream", name, devices))
    if not all(s > 0 for s in durations_s):
        raise ConfigError(
            f"late_s, silence_s, retry_s, buffer_s and tick_s must be above 0 s, got {', '.join(map(str, durations_s))}"
        )
