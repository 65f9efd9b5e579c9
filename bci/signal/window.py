"""Windows for decoders: sliding, or locked to events; never across a gap."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from bci.errors import ConfigError
from bci.signal.marks import CHANGED
from bci.signal.stages import Line
from bci.stream import Chunk, Event, Flag, StreamInfo
from bci.trial import Locked, Slide, Window

# Stands where no sample was written; -1 would pass for the sample before the first.
_NO_SAMPLE = np.iinfo(np.int64).min


@dataclass(frozen=True, slots=True, eq=False)
class Cut:
    """One window: a chunk of fixed length, and the event it is locked to (None for a sliding window)."""

    chunk: Chunk
    event: Event | None = None


class Windower:
    """Cut a stream into windows.

    Parameters
    ----------
    window : Slide or Locked
        Which windows. Lengths and steps are rounded to whole samples, once.
    info : StreamInfo
        The stream that will be pushed.
    history_s : float, default=10
        How far back a late event may still find its samples, s (locked windows).
    marked : callable, optional
        Tells which samples were changed (`bci.signal.marks.MarksSamples.marked`).

    Attributes
    ----------
    dropped : int
        Locked windows that could not be cut: they would span a gap, begin before
        the stream, or come too late.

    Raises
    ------
    ConfigError
        If the window is shorter than one sample.

    Notes
    -----
    Sliding windows begin at the sample numbers divisible by the step, whatever
    the stream's first number is and wherever gaps are, so the windows of a
    recording do not depend on how it is cut into chunks. A locked window begins
    ``round(tmin_s * sfreq)`` samples after its event and excludes ``tmax_s``.

    The flags of a window are those of its samples. `Flag.GAP` belongs to the
    first sample after a gap, and the first sliding window after it has it in any
    case: its samples are whole, but the filters before it have just started anew.
    `Flag.NAN` is found in the window's own data. `Flag.SILENT` of an empty chunk
    is no property of samples and is left out. `Flag.REPAIRED` and `Flag.REJECTED`
    are asked from `marked` for the window's own samples, where it is given.
    """

    def __init__(
        self,
        window: Window,
        info: StreamInfo,
        history_s: float = 10.0,
        marked: Callable[[float, float], Flag] | None = None,
    ) -> None:
        self.window, self.info, self._marked = window, info, marked
        self._per_sample = Flag.NAN | (Flag.OK if marked is None else CHANGED)
        length_s = window.length_s if isinstance(window, Slide) else window.tmax_s - window.tmin_s
        self.length = round(length_s * info.sfreq)
        if self.length < 1:
            raise ConfigError(
                f"a window needs at least one sample, got {length_s:g} s at {info.sfreq:g} Hz; make the window longer"
            )
        self.step = max(1, round(window.step_s * info.sfreq)) if isinstance(window, Slide) else 0
        self._offset = round(window.tmin_s * info.sfreq) if isinstance(window, Locked) else 0
        self._codes = window.codes if isinstance(window, Locked) else ()
        kept = max(self.length, round(history_s * info.sfreq)) if isinstance(window, Locked) else self.length
        self._piece = max(64, self.length)
        size = kept + self._piece
        self._size = size
        self._data = np.empty((size, info.n_channels))
        self._times = np.empty(size)
        self._flags = np.zeros(size, np.int64)
        self._number = np.full(size, _NO_SAMPLE, np.int64)
        self._segment = np.zeros(size, np.int64)
        self._line = Line(info)
        self.reset()

    def push(self, chunk: Chunk) -> list[Cut]:
        """Take in `chunk`, of any length; return the windows that are now complete, by their end.

        Raises
        ------
        DataError
            If `chunk` belongs to a stream of other channels or another rate.
        """
        flags, anew = self._line.follow(chunk)
        if chunk.n_samples == 0:
            self._carried |= flags & ~(Flag.SILENT | self._per_sample)
        elif anew:
            self._begin_segment(chunk.start, flags)
        if isinstance(self.window, Locked):
            self._take_events(chunk.events)
        cuts = self._due()
        for begin in range(0, chunk.n_samples, self._piece):
            self._write(chunk, begin, flags)
            cuts += self._due()
        return cuts

    def reset(self) -> None:
        """Forget all samples and events."""
        self._line.reset()
        self.dropped = 0
        self._carried = Flag.OK
        self._next: int | None = None
        self._segment_number = 0
        self._segment_start = 0
        self._after_gap = False
        self._forget()
        self._pending: list[tuple[int, Event]] = []

    def _forget(self) -> None:
        self._number[:] = _NO_SAMPLE
        self._slide_at: int | None = None
        self._seen: dict[tuple[int, str], int] = {}

    def _begin_segment(self, start: int, flags: Flag) -> None:
        self._segment_number += 1
        self._segment_start = start
        self._after_gap = bool((flags | self._carried) & Flag.GAP)
        if self.step:
            self._slide_at = -(-start // self.step) * self.step
        if self._next is not None and start < self._next:
            # The numbers began again: nothing from before may be mistaken for what comes now.
            self.dropped += len(self._pending)
            self._pending.clear()
            self._number[:] = _NO_SAMPLE
            self._seen.clear()
        self._next = start

    def _take_events(self, events: tuple[Event, ...]) -> None:
        for event in events:
            if self._codes and event.code not in self._codes:
                continue
            key = (event.sample, event.code)
            if key in self._seen:
                continue
            stop = event.sample + self._offset + self.length
            self._seen[key] = stop
            self._pending.append((stop, event))
        self._pending.sort(key=lambda p: (p[0], p[1].sample, p[1].code))

    def _write(self, chunk: Chunk, begin: int, flags: Flag) -> None:
        rows = slice(begin, min(begin + self._piece, chunk.n_samples))
        numbers = np.arange(chunk.start + rows.start, chunk.start + rows.stop)
        slots = numbers % self._size
        self._data[slots] = chunk.data[rows]
        self._times[slots] = chunk.times[rows]
        self._number[slots] = numbers
        self._segment[slots] = self._segment_number
        self._flags[slots] = int(flags & ~(Flag.GAP | self._per_sample))
        if begin == 0:
            self._flags[slots[0]] |= int(flags & Flag.GAP | self._carried)
            self._carried = Flag.OK
        self._next = chunk.start + rows.stop

    def _due(self) -> list[Cut]:
        if self._next is None:
            return []
        return self._due_sliding(self._next) if self.step else self._due_locked(self._next)

    def _due_sliding(self, written: int) -> list[Cut]:
        cuts = []
        while self._slide_at is not None and self._slide_at + self.length <= written:
            extra = Flag.GAP if self._after_gap else Flag.OK
            cuts.append(Cut(self._cut(self._slide_at, extra)))
            self._after_gap = False
            self._slide_at += self.step
        return cuts

    def _due_locked(self, written: int) -> list[Cut]:
        cuts = []
        while self._pending and self._pending[0][0] <= written:
            stop, event = self._pending.pop(0)
            if self._is_whole(stop - self.length):
                cuts.append(Cut(self._cut(stop - self.length), event))
            else:
                self.dropped += 1
        if len(self._seen) > 256:
            self._seen = {k: stop for k, stop in self._seen.items() if stop > written - self._size}
        return cuts

    def _is_whole(self, start: int) -> bool:
        slots = np.arange(start, start + self.length) % self._size
        segments = self._segment[slots]
        return bool((self._number[slots] == np.arange(start, start + self.length)).all()) and bool(
            (segments == segments[0]).all()
        )

    def _cut(self, start: int, extra: Flag = Flag.OK) -> Chunk:
        slots = np.arange(start, start + self.length) % self._size
        data = self._data[slots]
        flags = Flag(int(np.bitwise_or.reduce(self._flags[slots]))) | extra
        if np.isnan(data).any():
            flags |= Flag.NAN
        if self._marked is not None:
            flags |= self._marked(start / self.info.sfreq, (start + self.length) / self.info.sfreq)
        return Chunk(data, self._times[slots], start, self.info, (), flags)
