"""Windows for decoders: sliding, or locked to events; never across a gap."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from bci.errors import ConfigError
from bci.signal.marks import CHANGED
from bci.signal.ring import Ring
from bci.signal.spans import Spans
from bci.signal.stages import Line
from bci.signal.unknown import has_unknown
from bci.stream import Chunk, Event, Flag, StreamInfo
from bci.trial import Locked, Slide, Window

_NOT_CARRIED, _NOT_OF_ALL, _CHANGED = int(Flag.SILENT | Flag.NAN), int(Flag.GAP | Flag.NAN), int(CHANGED)
"""Flags of an empty chunk that the next sample does not take over, and of a chunk that not all its samples have."""
_GAP, _NAN = int(Flag.GAP), int(Flag.NAN)
_KEPT_KEYS = 256
_NONE = np.empty(0, np.int64)


@dataclass(frozen=True, slots=True, eq=False)
class Cut:
    """One window.

    Parameters
    ----------
    chunk : Chunk
        Its samples, of fixed length.
    event : Event, optional
        The event it is locked to; None for a sliding window.
    bad_channels : tuple of str
        Channels of which a sample in it is unknown, as they leave the blocks, and those of which a block that tells
        (`bci.signal.marks.NamesChannels`) changed one, as they entered it.
    """

    chunk: Chunk
    event: Event | None = None
    bad_channels: tuple[str, ...] = ()


class Windower:
    """Cut a stream into windows.

    Parameters
    ----------
    window : Slide or Locked
        Which windows. Lengths and steps are rounded to whole samples, once.
    info : StreamInfo
        The stream that will be pushed.
    history_s : float, default=10
        How late an event may come and still find its samples, s (locked windows).
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
    case: its samples are whole, but the filters before it began anew or went across.
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
        asked = 0 if marked is None else _CHANGED
        self._carries, self._of_all = ~(_NOT_CARRIED | asked), ~(_NOT_OF_ALL | asked)
        length_s = window.length_s if isinstance(window, Slide) else window.tmax_s - window.tmin_s
        self.length = round(length_s * info.sfreq)
        if self.length < 1:
            raise ConfigError(
                f"a window needs at least one sample, got {length_s:g} s at {info.sfreq:g} Hz; make the window longer"
            )
        self.step = max(1, round(window.step_s * info.sfreq)) if isinstance(window, Slide) else 0
        self._offset = round(window.tmin_s * info.sfreq) if isinstance(window, Locked) else 0
        self._codes = window.codes if isinstance(window, Locked) else ()
        # A window may begin before its event, which may come late.
        late = round(history_s * info.sfreq) + max(0, -self._offset) if isinstance(window, Locked) else 0
        self._piece = max(64, self.length)
        self._ring = Ring(max(self.length, late) + self._piece, info.n_channels)
        self._spans = Spans()
        self._line = Line(info)
        self.reset()

    def push(self, chunk: Chunk) -> list[Cut]:
        """Take in `chunk`, of any length; return the windows that are now complete, by their end.

        Raises
        ------
        DataError
            If `chunk` belongs to a stream of other channels or another rate.
        """
        found, anew = self._line.follow(chunk)
        flags, n = int(found), len(chunk.data)
        if not n:
            self._carried |= flags & self._carries
        elif anew:
            self._begin_run(chunk.start, flags)
        if not self.step and chunk.events:
            self._take_events(chunk.events)
        cuts = self._due() if self._pending else []
        for begin in range(0, n, self._piece):
            self._write(chunk, begin, flags)
            cuts += self._due()
        return cuts

    def reset(self) -> None:
        """Forget all samples and events."""
        self._line.reset()
        self.dropped = 0
        self._carried = 0
        self._next: int | None = None
        """Number of the sample that comes next."""
        self._after_gap = False
        self._pending: list[tuple[int, Event]] = []
        self._forget()

    def _forget(self) -> None:
        self._runs: deque[tuple[int, int]] = deque()
        self._spans.clear()
        self._written = 0
        self._slide_at: int | None = None
        self._seen: dict[tuple[int, str], int] = {}
        self._most_seen = _KEPT_KEYS

    def _begin_run(self, start: int, flags: int) -> None:
        self._after_gap = bool((flags | self._carried) & _GAP)
        if self._next is not None and start < self._next:
            # The numbers began again: nothing from before may be mistaken for what comes now.
            self.dropped += len(self._pending)
            self._pending.clear()
            self._forget()
        if self.step:
            self._slide_at = -(-start // self.step) * self.step
        self._runs.append((start, start))
        self._next = start

    def _take_events(self, events: tuple[Event, ...]) -> None:
        for event in events:
            key = (event.sample, event.code)
            if (self._codes and event.code not in self._codes) or key in self._seen:
                continue
            stop = event.sample + self._offset + self.length
            self._seen[key] = stop
            self._pending.append((stop, event))
        self._pending.sort(key=lambda p: (p[0], p[1].sample, p[1].code))
        if len(self._seen) > self._most_seen:
            oldest = self._oldest
            self._seen = {k: stop for k, stop in self._seen.items() if stop > oldest}
            self._most_seen = max(_KEPT_KEYS, 2 * len(self._seen))

    def _write(self, chunk: Chunk, begin: int, flags: int) -> None:
        data, times = chunk.data, chunk.times
        if begin or len(data) > self._piece:
            data, times = data[begin : begin + self._piece], times[begin : begin + self._piece]
        start = chunk.start + begin
        stop = start + len(data)
        self._ring.write(start, data, times)
        self._runs[-1] = (self._runs[-1][0], stop)
        self._next = self._written = stop
        self._mark(start, data, flags & self._of_all, 0 if begin else flags & _GAP | self._carried)
        self._carried = 0
        oldest = self._oldest
        self._spans.forget(oldest)
        while self._runs[0][1] < oldest:
            self._runs.popleft()

    def _mark(self, start: int, data: NDArray[np.generic], flags: int, first: int) -> None:
        """Keep the flags of samples: those of all, those of the first, and which are unknown."""
        unknown = _unknown(data)
        if not (first or len(unknown)):
            self._spans.add(start, start + len(data), flags)
            return
        words = np.full(len(data), flags)
        words[0] |= first
        words[unknown] |= _NAN
        edges = [0, *(np.flatnonzero(np.diff(words)) + 1).tolist(), len(data)]
        for begin, end in pairwise(edges):
            self._spans.add(start + begin, start + end, int(words[begin]))

    def _due(self) -> list[Cut]:
        if self._next is None:
            return []
        return self._due_sliding(self._next) if self.step else self._due_locked(self._next)

    def _due_sliding(self, written: int) -> list[Cut]:
        cuts = []
        while self._slide_at is not None and self._slide_at + self.length <= written:
            cuts.append(Cut(self._cut(self._slide_at, _GAP if self._after_gap else 0)))
            self._after_gap = False
            self._slide_at += self.step
        return cuts

    def _due_locked(self, reached: int) -> list[Cut]:
        cuts = []
        while self._pending and self._pending[0][0] <= reached:
            stop, event = self._pending.pop(0)
            if self._is_whole(stop - self.length, stop):
                cuts.append(Cut(self._cut(stop - self.length), event))
            else:
                self.dropped += 1
        return cuts

    @property
    def _oldest(self) -> int:
        """Number of the oldest sample that is still there."""
        return self._written - self._ring.size

    def _is_whole(self, start: int, stop: int) -> bool:
        return start >= self._oldest and any(a <= start and stop <= b for a, b in reversed(self._runs))

    def _cut(self, start: int, extra: int = 0) -> Chunk:
        data, times = self._ring.read(start, self.length)
        flags = self._spans.of(start, start + self.length) | extra
        if self._marked is not None:
            flags |= int(self._marked(start / self.info.sfreq, (start + self.length) / self.info.sfreq))
        return Chunk(data, times, start, self.info, (), Flag(flags) if flags else Flag.OK)


def _unknown(data: NDArray[np.generic]) -> NDArray[np.int64]:
    """Return the rows that hold NaN."""
    return np.flatnonzero(np.isnan(data).any(axis=1)) if has_unknown(data) else _NONE
