"""Windows across streams: what each stream of a rig has to say about the same stretch of the session clock."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from bci.errors import ConfigError, DataError
from bci.ports import Block
from bci.signal.chain import Chain
from bci.signal.marks import CHANGED
from bci.stream import Chunk, Event, Flag, StreamInfo, unknown
from bci.trial import Locked, Slide, Window

LATE_S = 0.25
"""For how long a window waits for streams that are late, s."""
_OWN = Flag.GAP | Flag.NAN | Flag.SILENT  # are told from the samples of the window themselves
_EDGE = 1.5
"""Sample periods without a sample at an edge of a window that are no loss."""
_SAME_S = 1e-5


@dataclass(frozen=True, slots=True, eq=False)
class Span:
    """The samples of one stream in a window.

    Parameters
    ----------
    data : ndarray of float64, shape (n_samples, n_channels)
        Samples in the units of `info`; as many as there are.
    times : ndarray of float64, shape (n_samples,)
        Time of each row, s on the session clock.
    numbers : ndarray of int64, shape (n_samples,)
        Number of each row in its stream; a jump by more than one is a loss.
    info : StreamInfo
        What the stream is, behind its blocks.
    flags : Flag
        What is known of the samples; GAP if some are missing inside, SILENT if there are none at the end of the
        window, because the stream is lost, silent, or later than the window waits.
    """

    data: NDArray[np.float64]
    times: NDArray[np.float64]
    numbers: NDArray[np.int64]
    info: StreamInfo
    flags: Flag = Flag.OK

    def at(self, times: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return values at other times, shape (n_times, n_channels): linear between samples, NaN where there is none.

        A value is known up to one sample period from a sample, and between two samples that follow one another.
        """
        period = _EDGE / self.info.sfreq
        values = np.full((len(times), self.info.n_channels), np.nan)
        if not len(self.times):
            return values
        after = np.searchsorted(self.times, times)
        left = self.times[np.clip(after - 1, 0, len(self.times) - 1)]
        right = self.times[np.clip(after, 0, len(self.times) - 1)]
        between = (left <= times) & (times <= right) & (right - left < period)
        known = between | (np.minimum(np.abs(times - left), np.abs(right - times)) <= 1.0 / self.info.sfreq)
        for column in range(values.shape[1]):
            values[known, column] = np.interp(times[known], self.times, self.data[:, column])
        return values


@dataclass(frozen=True, slots=True, eq=False)
class AlignedWindow:
    """A stretch of the session clock and what every stream has of it.

    Parameters
    ----------
    start_s, stop_s : float
        From (included) and to (excluded), s on the session clock.
    streams : mapping of str to Span
        The samples whose time falls into it, by the name of the stream.
    event : Event, optional
        What the window is locked to; its `source` names the stream that it came from.
    """

    start_s: float
    stop_s: float
    streams: Mapping[str, Span]
    event: Event | None = None

    @property
    def flags(self) -> Flag:
        """What is wrong with any of the streams."""
        flags = Flag.OK
        for span in self.streams.values():
            flags |= span.flags
        return flags

    def stacked(self, sfreq: float, names: Sequence[str] | None = None) -> NDArray[np.float64]:
        """Return streams side by side at one rate, as a decoder takes them, shape (n_channels, n_times).

        Parameters
        ----------
        sfreq : float
            The common rate, Hz. Nothing is filtered here: bring a faster stream down with blocks (`Decimate`).
        names : sequence of str, optional
            Which streams, in this order; all by default.

        Returns
        -------
        values : ndarray
            Linear between samples; NaN where a stream has none.
        """
        n_times = round((self.stop_s - self.start_s) * sfreq)
        times = self.start_s + np.arange(n_times) / sfreq
        chosen = tuple(self.streams) if names is None else tuple(names)
        for name in chosen:
            if name not in self.streams:
                raise DataError(unknown("stream", name, self.streams))
        return np.ascontiguousarray(np.concatenate([self.streams[n].at(times) for n in chosen], axis=1).T)


class Aligner:
    """Cut windows out of several streams at once.

    Parameters
    ----------
    window : Slide or Locked
        Which windows. Sliding ones begin at whole multiples of their step on the session clock, from `begin_s` on;
        locked ones at the time of an event of any stream.
    infos : mapping of str to StreamInfo
        The streams that will be pushed.
    begin_s : float
        No sliding window begins before, s on the session clock.
    late_s : float, default=0.25
        A window is cut as soon as every stream has gone past its end, and at the latest this long after it, s.
        What comes later is not in it. No window waits for a stream that is known to be lost.
    blocks : mapping of str to sequence of Block, optional
        A signal chain for some of the streams.
    history_s : float, default=10
        How far back a late event may still find its samples, s.

    Attributes
    ----------
    dropped : int
        Locked windows that could not be cut, since their event came later than `history_s`.

    Raises
    ------
    ConfigError
        If a duration is out of range, or a block does not fit its stream.

    Notes
    -----
    What is in a window depends on the samples, their times, and which of them came too late, never on how the
    streams are cut into chunks or which one is read first; so a recording gives the windows that were cut live.
    The times are those of the samples as delivered: the delay that `blocks` add is not taken off.
    """

    def __init__(
        self,
        window: Window,
        infos: Mapping[str, StreamInfo],
        begin_s: float,
        *,
        late_s: float = LATE_S,
        blocks: Mapping[str, Sequence[Block]] | None = None,
        history_s: float = 10.0,
    ) -> None:
        if not (late_s >= 0 and history_s >= 0 and infos):
            raise ConfigError(
                f"aligned windows need streams, and late_s and history_s from 0 s on, got {len(infos)} streams, "
                f"{late_s} s and {history_s} s"
            )
        for name in blocks or {}:
            if name not in infos:
                raise ConfigError(unknown("stream", name, infos))
        self.window, self.late_s, self.history_s = window, late_s, history_s
        self._tracks = {n: _Track(info, (blocks or {}).get(n, ())) for n, info in infos.items()}
        self._next = math.ceil(begin_s / window.step_s) if isinstance(window, Slide) else 0
        self._waiting: list[tuple[float, float, Event]] = []
        self._seen: dict[tuple[int, str], float] = {}
        self._newest_s = self._kept_from_s = -math.inf
        self.dropped = 0

    # ----------------------------------------------------------- main verbs
    def push(self, name: str, chunk: Chunk, arrived_s: float = -math.inf) -> None:
        """Take in samples and events of one stream, which arrived at `arrived_s` (by default in time)."""
        self.push_events(chunk.events)
        if chunk.n_samples:
            self._newest_s = max(self._newest_s, float(chunk.times[-1]))
        self._tracks[name].push(chunk, arrived_s)

    def push_events(self, events: Iterable[Event]) -> None:
        """Take in events; one that comes again through another stream (same code, within 10 µs) counts once."""
        if not isinstance(self.window, Locked):
            return
        for event in events:
            tick = round(event.time / _SAME_S)
            if any((tick + near, event.code) in self._seen for near in (-1, 0, 1)) or (
                self.window.codes and event.code not in self.window.codes
            ):
                continue
            start_s = event.time + self.window.tmin_s
            self._seen[tick, event.code] = event.time
            if start_s < self._kept_from_s:
                self.dropped += 1
                continue
            self._waiting.append((event.time + self.window.tmax_s, start_s, event))
        self._waiting.sort(key=lambda w: (w[0], w[1], w[2].code))

    def lose(self, name: str, since_s: float) -> None:
        """Take note that a stream was lost at `since_s`: no window from there on waits for it."""
        self._tracks[name].lost.append((since_s, math.inf))

    def find(self, name: str, at_s: float) -> None:
        """Take note that a lost stream came back at `at_s`: its first samples have arrived then."""
        lost = self._tracks[name].lost
        if lost and lost[-1][1] == math.inf:
            lost[-1] = (lost[-1][0], at_s)

    def due(self, now_s: float) -> list[AlignedWindow]:
        """Return the windows that are complete, or whose time is over at `now_s` (session clock), by their end."""
        windows = []
        while (bounds := self._first()) is not None and self._may_close(bounds[1], now_s):
            if isinstance(self.window, Slide):
                self._next += 1
            else:
                self._waiting.pop(0)
            windows.append(self._cut(*bounds))
        self._forget()
        return windows

    @property
    def infos(self) -> dict[str, StreamInfo]:
        """What the streams are behind their blocks, by name."""
        return {name: track.info for name, track in self._tracks.items()}

    # -------------------------------------------------------------- private
    def _first(self) -> tuple[float, float, Event | None] | None:
        if isinstance(self.window, Slide):
            start_s = self._next * self.window.step_s
            return start_s, start_s + self.window.length_s, None
        if not self._waiting:
            return None
        stop_s, start_s, event = self._waiting[0]
        return start_s, stop_s, event

    def _may_close(self, stop_s: float, now_s: float) -> bool:
        return all(t.newest_s >= stop_s or now_s >= t.bound_s(stop_s, self.late_s) for t in self._tracks.values())

    def _cut(self, start_s: float, stop_s: float, event: Event | None) -> AlignedWindow:
        spans = {n: t.span(start_s, stop_s, t.bound_s(stop_s, self.late_s)) for n, t in self._tracks.items()}
        return AlignedWindow(start_s, stop_s, MappingProxyType(spans), event)

    def _forget(self) -> None:
        if isinstance(self.window, Slide):
            keep_s = self._next * self.window.step_s
        else:
            keep_s = self._newest_s - self.history_s + min(0.0, self.window.tmin_s)
            keep_s = min([keep_s, *(start_s for _, start_s, _ in self._waiting)])
            if len(self._seen) > 256:
                self._seen = {key: t for key, t in self._seen.items() if t > keep_s}
        self._kept_from_s = max(self._kept_from_s, keep_s)
        for track in self._tracks.values():
            track.forget(keep_s)


class _Track:
    """What is kept of one stream."""

    def __init__(self, info: StreamInfo, blocks: Sequence[Block]) -> None:
        self._chain = Chain(blocks)
        self.info = self._chain.prepare(info)
        self._own = _OWN | (CHANGED if self._chain.marks_samples else Flag.OK)
        self._kept: deque[tuple[Chunk, float]] = deque()
        self._next: int | None = None
        self._flags = Flag.OK
        self.newest_s = -math.inf
        self.lost: list[tuple[float, float]] = []

    def push(self, chunk: Chunk, arrived_s: float) -> None:
        if chunk.n_samples:
            self.newest_s = max(self.newest_s, float(chunk.times[-1]))
        out = self._chain.process(chunk.replace(events=()) if chunk.events else chunk)
        if out.n_samples:
            self._kept.append((out, arrived_s))

    def bound_s(self, stop_s: float, late_s: float) -> float:
        """Return when a window that ends at `stop_s` stops to wait for this stream: once that is lost, at once."""
        for lost_s, found_s in self.lost:
            if lost_s <= stop_s + late_s and stop_s < found_s:
                return max(stop_s, lost_s)
        return stop_s + late_s

    def span(self, start_s: float, stop_s: float, bound_s: float) -> Span:
        parts: list[tuple[Chunk, slice]] = []
        flags = Flag.OK
        for chunk, arrived_s in self._kept:
            if arrived_s > bound_s or chunk.times[-1] < start_s or chunk.times[0] >= stop_s:
                continue
            first, last = np.searchsorted(chunk.times, (start_s, stop_s))
            if first < last:
                parts.append((chunk, slice(int(first), int(last))))
                flags |= chunk.flags & ~self._own | (chunk.flags & Flag.GAP if first == 0 else Flag.OK)
        if not parts:
            nothing = np.empty((0, self.info.n_channels))
            return Span(nothing, np.empty(0), np.empty(0, np.int64), self.info, Flag.SILENT)
        data = np.concatenate([c.data[rows] for c, rows in parts]).astype(np.float64, copy=False)
        times = np.concatenate([c.times[rows] for c, rows in parts])
        numbers = np.concatenate([np.arange(c.start + rows.start, c.start + rows.stop) for c, rows in parts])
        flags |= self._chain.marked(numbers[0] / self.info.sfreq, (numbers[-1] + 1) / self.info.sfreq)
        return Span(data, times, numbers, self.info, flags | self._missing(times, numbers, start_s, stop_s, data))

    def forget(self, before_s: float) -> None:
        while self._kept and self._kept[0][0].times[-1] < before_s:
            self._kept.popleft()
        while len(self.lost) > 1 and self.lost[0][1] < before_s:
            self.lost.pop(0)

    def _missing(
        self,
        times: NDArray[np.float64],
        numbers: NDArray[np.int64],
        start_s: float,
        stop_s: float,
        data: NDArray[np.float64],
    ) -> Flag:
        edge_s = _EDGE / self.info.sfreq
        flags = Flag.SILENT if stop_s - times[-1] > edge_s else Flag.OK
        if times[0] - start_s > edge_s or (np.diff(numbers) != 1).any():
            flags |= Flag.GAP
        return flags | (Flag.NAN if np.isnan(data).any() else Flag.OK)
