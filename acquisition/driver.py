"""The base of every source: lifecycle, sample numbers, events, gaps, silence.

A driver author writes five hooks; `Driver` makes a `bci.ports.Device` of them.
"""

from __future__ import annotations

import enum
import logging
import math
from abc import ABC, abstractmethod
from collections import deque
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from bci.acquisition.durations import check_durations
from bci.acquisition.tally import Tally
from bci.clock import Clock, MonotonicClock
from bci.errors import DeviceError
from bci.signal.unknown import has_unknown
from bci.stream import Chunk, Event, Flag, StreamInfo

_log = logging.getLogger(__name__)

SILENCE_S = 0.22
"""What counts as silence, s: said and acted upon before a quarter second is over, even by a loop that is at work."""
_HISTORY_S = 30.0
"""For how long the times of delivered samples are remembered, to number late events truly, s."""


class State(enum.Enum):
    """Where a device is on its ladder."""

    CLOSED = "closed"
    OPEN = "open"
    STREAMING = "streaming"


NEXT_RECORDING = "another recording begins"
"""Cause of the gap that a player puts between two recordings, where nothing was lost."""
NEXT_ROUND = "the recording begins again"
"""Cause of the gap between two rounds of a recording that is played in a loop, where nothing was lost."""


@dataclass(frozen=True, slots=True, eq=False)
class Samples:
    """What a `_read` hook hands over: one contiguous run of samples.

    Parameters
    ----------
    data : ndarray, shape (n_samples, n_channels)
        Samples in the unit of each channel; a row is one instant.
    times : ndarray of float64, shape (n_samples,)
        Time of each row, s on the driver's clock, rising.
    lost : int, default=0
        Samples that are missing just before `data`.
    flags : Flag, default=Flag.OK
        What the source knows to be wrong; GAP and NAN are added by `Driver`.
    events : tuple of (int, str) or (int, str, str)
        Events that the source itself carries: row of `data` (negative: that
        many samples before it), code, and who said so; the stream itself, if
        that is left out.
    cause : str
        Why samples were lost, for the log and the report.
    """

    data: NDArray[Any]
    times: NDArray[np.float64]
    lost: int = 0
    flags: Flag = Flag.OK
    events: tuple[tuple[int, str] | tuple[int, str, str], ...] = ()
    cause: str = ""


class Driver(ABC):
    """A `bci.ports.Device` made of five hooks.

    Subclasses implement `_open`, `_start`, `_read`, `_stop` and `_close`. The
    base keeps the ladder closed -> open -> streaming, numbers the samples,
    counts lost ones as a jump of `Chunk.start` with `Flag.GAP`, hands events to
    the right sample, and says so when the source falls silent. Used with
    ``with``, a device is open and streaming inside the block.

    Parameters
    ----------
    clock : Clock, optional
        The session clock; the machine's monotonic clock if not given.
    silence_s : float, default=0.22
        A source that delivers nothing for longer is flagged SILENT, s.
    max_age_s : float, default=inf
        Samples that are older when they are read are flagged STALE, s.

    Raises
    ------
    ConfigError
        If a duration is no number above 0.

    Notes
    -----
    Samples are numbered from 0 at each `start`.
    """

    def __init__(
        self, *, clock: Clock | None = None, silence_s: float = SILENCE_S, max_age_s: float = float("inf")
    ) -> None:
        check_durations(silence_s=silence_s, max_age_s=max_age_s)
        self.silence_s, self.max_age_s = silence_s, max_age_s
        self._clock: Clock = clock if clock is not None else MonotonicClock()
        self._state = State.CLOSED
        self._info: StreamInfo | None = None
        self._ended = False
        self._marks: deque[tuple[float, str, str]] = deque()
        self._reset()

    # ------------------------------------------------------------ lifecycle
    def open(self) -> StreamInfo:
        """Connect and return what will be delivered; `DeviceError` (or a kind of it) if that fails."""
        self._demand("open", State.CLOSED, "it is open already; close() it first")
        try:
            self._info = self._open()
        except BaseException:
            self._quietly(self._close)
            raise
        self._state = State.OPEN
        return self._info

    def start(self) -> None:
        """Begin to stream; sample numbers start at 0."""
        self._demand("start", State.OPEN, "open() it first, and stop() a running one")
        self._reset()
        self._start()
        self._last_data_s = self._wall()
        self._state = State.STREAMING

    def stop(self) -> None:
        """Stop streaming; no effect on a device that does not stream."""
        if self._state is State.CLOSED:
            self._demand("stop", State.STREAMING, "open() and start() it first")
        if self._state is State.STREAMING:
            self._state = State.OPEN
            self._stop()

    def close(self) -> None:
        """Stop, disconnect and forget; from any state, any number of times, never raises."""
        if self._state is State.STREAMING:
            self._state = State.OPEN
            self._quietly(self._stop)
        if self._state is State.OPEN:
            self._state = State.CLOSED
            self._quietly(self._close)

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

    # ----------------------------------------------------------------- read
    def read(self, timeout_s: float) -> Chunk:
        """Return what has arrived, waiting up to `timeout_s` for the first sample.

        Returns
        -------
        Chunk
            May be empty. An empty chunk with `Flag.SILENT` says that nothing
            came for `silence_s`; it is returned as soon as that is known.

        Raises
        ------
        DeviceError
            If the device does not stream.
        DeviceLost
            If the source is gone for good.
        """
        if self._state is not State.STREAMING:
            self._demand("read", State.STREAMING, "start() it first")
        wait_s = timeout_s
        if not self._ended and not self._silent:
            # Wake up when silence begins, however long the caller would wait.
            wait_s = min(timeout_s, max(0.0, self._last_data_s + self.silence_s - self._wall()))
        got = self._read(wait_s)
        if got is None or len(got.data) == 0:
            if got is not None:
                self._note_lost(got)
            return self._nothing()
        return self._deliver(got)

    def mark(self, code: str, time_s: float, source: str = "") -> None:
        """Attach an event that happened at `time_s` (session clock); any thread.

        It goes to the first sample at or after its time. If that sample was
        delivered already, the event comes with the next chunk and keeps the
        sample's true number.
        """
        if self._state is State.CLOSED:
            self._demand("mark", State.STREAMING, "open() and start() it first")
        self._marks.append((float(time_s), str(code), source))

    # ----------------------------------------------------------- properties
    @property
    def clock(self) -> Clock:
        """The clock on which the samples are stamped; final once the device is open."""
        return self._clock

    @property
    def info(self) -> StreamInfo:
        """What is delivered; `DeviceError` before the first `open`."""
        if self._info is None:
            raise DeviceError(f"{self._name} knows its channels once it is open; it never was; call open() first")
        return self._info

    @property
    def state(self) -> State:
        """Where the device is on its ladder."""
        return self._state

    @property
    def n_lost(self) -> int:
        """Samples lost since `start`."""
        return self._tally.lost

    @property
    def n_delivered(self) -> int:
        """Samples delivered since `start`."""
        return self._tally.delivered

    def report(self) -> dict[str, Any]:
        """Return what happened since `start`, ready for JSON.

        Returns
        -------
        dict
            ``delivered``, ``lost`` (samples), ``n_gaps``, ``n_silences``,
            ``silent`` (s, of the silences that are over): of the whole stream;
            ``causes``: number of gaps and of lost samples by cause;
            ``gaps``: list of dicts with ``sample`` (first after the gap),
            ``time`` (s), ``lost``, ``cause``; ``silences``: list of dicts with
            ``time`` (s, begin) and ``duration`` (s; None while it lasts): the
            last 1000 of each. A driver may add more.
        """
        return {**self._tally.report(), **self._details()}

    # ---------------------------------------------------------------- hooks
    @abstractmethod
    def _open(self) -> StreamInfo:
        """Connect; return what will be delivered."""

    @abstractmethod
    def _start(self) -> None:
        """Begin to stream."""

    @abstractmethod
    def _read(self, timeout_s: float) -> Samples | None:
        """Wait up to `timeout_s` for the first sample; return one contiguous run, or None."""

    @abstractmethod
    def _stop(self) -> None:
        """Stop streaming."""

    @abstractmethod
    def _close(self) -> None:
        """Disconnect; also called after a failed `_open`."""

    def _details(self) -> dict[str, Any]:
        """What this driver adds to `report`, ready for JSON."""
        return {}

    def _wall(self) -> float:
        """The time that silence is measured in, s; the session clock unless overridden."""
        return self._clock.now()

    # -------------------------------------------------------------- private
    @property
    def _name(self) -> str:
        return f"{type(self).__name__} {self._info.name!r}" if self._info is not None else type(self).__name__

    def _demand(self, verb: str, state: State, hint: str) -> None:
        if self._state is not state:
            raise DeviceError(
                f"{verb}() needs a device that is {state.value}; {self._name} is {self._state.value}; {hint}"
            )

    def _quietly(self, release: Any) -> None:
        try:
            release()
        except Exception:  # noqa: BLE001 - a device that cannot be released must not stop the others from being so
            _log.exception("%s failed while it was released", self._name)

    def _reset(self) -> None:
        self._next = 0
        self._silent = False
        self._pending_lost = 0
        self._pending_cause = ""
        self._last_data_s = 0.0
        self._tally = Tally()
        self._ended = False
        self._history: deque[tuple[int, NDArray[np.float64]]] = deque()
        self._history_n = 0

    def _note_lost(self, got: Samples) -> None:
        self._pending_lost += got.lost
        self._pending_cause = got.cause or self._pending_cause

    def _nothing(self) -> Chunk:
        flags = Flag.OK
        now = self._wall()
        # A microsecond less: a wait until the deadline may end a rounding error before it.
        if not self._ended and now - self._last_data_s >= self.silence_s - 1e-6:
            flags = Flag.SILENT
            if not self._silent:
                self._silent = True
                self._tally.silence(self._last_data_s)
                _log.warning("%s has delivered nothing for %.3f s", self._name, now - self._last_data_s)
        return Chunk.empty(self.info, self._next, flags, self._take_late())

    def _deliver(self, got: Samples) -> Chunk:
        now = self._wall()
        if self._silent:
            self._end_silence(now)
        self._last_data_s = now
        flags = got.flags
        lost = got.lost + self._pending_lost
        if lost:
            flags |= Flag.GAP
            self._count_gap(lost, float(got.times[0]), got.cause or self._pending_cause)
        if has_unknown(got.data):
            flags |= Flag.NAN
        if self._clock.now() - got.times[-1] > self.max_age_s:
            flags |= Flag.STALE
        if self._history and got.times[0] <= self._history[-1][1][-1]:
            flags |= self._step_back(got)
        start, n = self._next, len(got.data)
        self._next = start + n
        self._tally.delivered += n
        self._remember(start, got.times)
        events = self._events_of(got, start) if got.events or self._marks else ()
        return Chunk(got.data, got.times, start, self.info, events, flags)

    def _end_silence(self, now: float) -> None:
        self._silent = False
        self._tally.end_silence(now)
        _log.warning("%s is back after %.3f s of silence", self._name, now - self._last_data_s)

    def _step_back(self, got: Samples) -> Flag:
        """Forget the times before a step back, which would misplace events; whatever the source says of its clock."""
        back_s = float(self._history[-1][1][-1] - got.times[0])
        _log.warning("%s: its clock stepped back by %.3f s", self._name, back_s)
        self._history.clear()
        self._history_n = 0
        return Flag.CLOCK_JUMP

    def _count_gap(self, lost: int, time_s: float, cause: str) -> None:
        self._pending_lost, self._pending_cause = 0, ""
        self._next += lost
        self._tally.gap(self._next, time_s, lost, cause)
        level = logging.INFO if cause in (NEXT_RECORDING, NEXT_ROUND) else logging.WARNING
        cause = cause or "cause unknown"
        _log.log(level, "%s lost %d samples before sample %d: %s", self._name, lost, self._next, cause)

    def _remember(self, start: int, times: NDArray[np.float64]) -> None:
        self._history.append((start, times))
        self._history_n += len(times)
        keep = _HISTORY_S * self.info.sfreq
        while len(self._history) > 1 and self._history_n - len(self._history[0][1]) > keep:
            self._history_n -= len(self._history.popleft()[1])

    def _events_of(self, got: Samples, start: int) -> tuple[Event, ...]:
        sfreq, n = self.info.sfreq, len(got.times)
        own = []
        for row, code, *said_by in got.events:
            time_s = got.times[row] if 0 <= row < n else got.times[0] + row / sfreq
            own.append(Event(start + row, float(time_s), code, said_by[0] if said_by else self.info.name))
        found = own + list(self._take_marks(float(got.times[-1])))
        return tuple(sorted(found, key=lambda e: e.sample))  # stable: equal samples stay in order of arrival

    def _take_late(self) -> tuple[Event, ...]:
        if not self._marks or not self._history:
            return ()
        found = self._take_marks(float(self._history[-1][1][-1]))
        return tuple(sorted(found, key=lambda e: e.sample))

    def _take_marks(self, until_s: float) -> list[Event]:
        """Return the queued events whose sample is delivered by now; the others stay queued."""
        # A thousandth of a sample: the same instant may differ by rounding between two streams.
        slack_s = 1e-3 / self.info.sfreq
        taken: list[Event] = []
        for _ in range(len(self._marks)):
            time_s, code, source = self._marks.popleft()
            if time_s > until_s + slack_s:
                self._marks.append((time_s, code, source))
            else:
                taken.append(Event(self._number_at(time_s - slack_s), time_s, code, source))
        return taken

    def _number_at(self, time_s: float) -> int:
        """Return the number of the first delivered sample at or after `time_s`."""
        for start, times in reversed(self._history):
            if time_s > times[0] or start == 0:
                after = int(np.searchsorted(times, time_s, side="left"))
                return self._following(start + after) if after == len(times) else start + after
        start, times = self._history[0]
        return max(0, start - math.floor((float(times[0]) - time_s) * self.info.sfreq))

    def _following(self, number: int) -> int:
        """Return the first delivered number at or after `number` (a gap may follow it)."""
        for start, _ in self._history:
            if start >= number:
                return start
        return number
