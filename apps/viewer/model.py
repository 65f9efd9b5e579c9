"""What the viewer knows: samples, filters, screen columns, gaps, events, spectrum. Without any window."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bci.apps.viewer.envelope import extremes
from bci.apps.viewer.history import History
from bci.apps.viewer.spectrum import Welch
from bci.errors import ConfigError
from bci.ports import Block
from bci.signal.chain import Chain
from bci.signal.filters import Bandpass, Highpass, Notch
from bci.signal.quality import Quality, QualityWatch
from bci.signal.spatial import Reference
from bci.stream import Chunk, Event, Flag, StreamInfo

HISTORY_S = 60.0
"""For how long samples are kept, s: the longest time on the screen."""
_MOST_VALUES = 32_000_000  # values kept at most (256 MB for each of two histories, twice when full)
_RERUN_SAMPLES = 4096
_RATE_OVER_S = 10.0


@dataclass(frozen=True, slots=True)
class Filters:
    """What the shown signal went through.

    Parameters
    ----------
    band : (float, float), optional
        Cut-off frequencies of a causal Butterworth band-pass of order 2 in Hz; only the high-pass where
        the upper one does not fit below half the sampling rate. None: no filter.
    notch_hz : float, optional
        Mains frequency that is notched out with its harmonics; None: no notch.
    reference : "none" or "average"
        Whether the mean of all EEG channels is taken off.
    """

    band: tuple[float, float] | None = (1.0, 40.0)
    notch_hz: float | None = 50.0
    reference: str = "none"

    def blocks(self, sfreq: float) -> list[Block]:
        """Return new blocks for a stream of `sfreq` Hz; `ConfigError` if a setting cannot be."""
        blocks: list[Block] = []
        if self.notch_hz is not None and self.notch_hz < sfreq / 2:
            blocks.append(Notch(self.notch_hz))
        if self.band is not None:
            low_hz, high_hz = self.band
            if not 0 < low_hz < high_hz:
                raise ConfigError(f"a band needs 0 < LOW < HIGH in Hz, got {low_hz:g} to {high_hz:g}; as in 1 40")
            fits = high_hz < sfreq / 2
            blocks.append(Bandpass(low_hz, high_hz, order=2) if fits else Highpass(low_hz, order=2))
        if self.reference not in ("none", "average"):
            raise ConfigError(f"the viewer's reference is none or average, got {self.reference!r}; choose one of these")
        if self.reference == "average":
            blocks.append(Reference("average"))
        return blocks


@dataclass(frozen=True, slots=True)
class Gap:
    """Samples `first` to `after` (exclusive) are not here: "lost" by the device or "not shown" by a slow window."""

    first: int
    after: int
    cause: str

    @property
    def n_samples(self) -> int:
        """How many are missing."""
        return self.after - self.first


class Model:
    """The newest samples of a stream and how they look on a screen.

    Parameters
    ----------
    info : StreamInfo
        The stream.
    filters : Filters
        What the samples go through.
    window_s : float, default=10
        Time on the screen, s.
    n_columns : int, default=1000
        Columns on the screen.
    history_s : float, default=HISTORY_S
        For how long samples are kept; shorter for streams that would not fit into memory.

    Attributes
    ----------
    raw, shown : History
        Samples before and after the filters.
    gaps : deque of Gap
        What is missing in the history.
    events : deque of Event
        What happened during the history.
    n_lost, n_not_shown : int
        Samples the device lost, and samples that never reached this model, since the first.
    low, high : ndarray, shape (n_columns, n_channels)
        Extremes of each screen column after the filters; column c stands in row ``c % n_columns``.
    stop_column : int
        Number of the column after the newest one that is complete.

    Raises
    ------
    ConfigError
        If a filter or the screen does not fit.
    """

    def __init__(
        self,
        info: StreamInfo,
        filters: Filters | None = None,
        window_s: float = 10.0,
        n_columns: int = 1000,
        history_s: float = HISTORY_S,
    ) -> None:
        self.info = info.physical()
        self.history_s = min(history_s, _MOST_VALUES / (info.n_channels * info.sfreq))
        capacity = max(16, round(self.history_s * info.sfreq))
        self.raw, self.shown = History(info.n_channels, capacity), History(info.n_channels, capacity)
        self.gaps: deque[Gap] = deque()
        self.events: deque[Event] = deque()
        self.n_lost = self.n_not_shown = 0
        self.flags = Flag.OK
        self.newest_s = float("nan")
        self.spectrum = Welch(info.sfreq)
        self._watch = QualityWatch(self.info)
        self._arrivals: deque[tuple[float, int]] = deque()
        self.filters = filters or Filters()
        self._chain = self._new_chain(self.filters)
        self.set_screen(window_s, n_columns)

    # ---------------------------------------------------------------- samples
    def push(self, chunk: Chunk, now_s: float | None = None) -> None:
        """Take the next chunk; `now_s` is when it arrived (monotonic), for the measured rate."""
        chunk = chunk.physical()
        self.flags = chunk.flags
        self.events.extend(chunk.events)
        if chunk.n_samples == 0:
            return
        self._watch.split(chunk)
        self._watch.take_changes()
        if self.raw.stop and chunk.start > self.raw.stop:
            self._note_gap(Gap(self.raw.stop, chunk.start, "lost" if chunk.flags & Flag.GAP else "not shown"))
        elif chunk.start < self.raw.stop:
            self._begin_again()
        self.raw.append(chunk.start, chunk.data)
        self.shown.append(chunk.start, self._chain.process(chunk).data)
        self.newest_s = float(chunk.times[-1])
        self._forget_old()
        if now_s is not None:
            self._note_arrival(now_s)

    def set_contacts(self, kohm: Mapping[str, float]) -> None:
        """Take the contacts that were measured, kOhm by channel: they are part of the verdicts."""
        self._watch.set_contact(kohm)
        self._watch.take_changes()

    def set_filters(self, filters: Filters) -> None:
        """Show everything that is kept as if it had gone through `filters`; `ConfigError` changes nothing."""
        chain = self._new_chain(filters)
        self.filters, self._chain = filters, chain
        self.shown.clear()
        holes = [(g.first, g.after) for g in self.gaps]
        flag, before = Flag.OK, self.raw.start
        for start, rows in self.raw.runs(self.raw.start, self.raw.stop, holes):
            flag = Flag.GAP if start > before else Flag.OK
            for first in range(0, len(rows), _RERUN_SAMPLES):
                part = rows[first : first + _RERUN_SAMPLES]
                times = (start + first + np.arange(len(part))) / self.info.sfreq
                chunk = Chunk(part.copy(), times, start + first, self.info, (), flag if first == 0 else Flag.OK)
                self.shown.append(start + first, chain.process(chunk).data)
            before = start + len(rows)
        self.spectrum.reset()
        self._redo_columns()

    # ---------------------------------------------------------------- screen
    def set_screen(self, window_s: float, n_columns: int) -> None:
        """Show `window_s` seconds in `n_columns` columns, from what is kept."""
        if not (window_s > 0 and n_columns >= 1):
            raise ConfigError(f"a screen needs some time and columns, got {window_s} s in {n_columns}; as 10 s in 1000")
        self.window_s, self.n_columns = min(window_s, self.history_s), n_columns
        self.stop_column = 0
        self.samples_per_column = self.window_s * self.info.sfreq / n_columns
        self._edge: float = self.shown.stop - 1
        self._redo_columns()

    def advance(self, until: float | None = None) -> tuple[int, int]:
        """Complete the columns up to sample `until` (by default the newest); return the numbers (first, stop)."""
        newest = self.shown.stop - 1
        self._edge = newest if until is None else min(until, newest)
        first, stop = self.stop_column, self._column_after(self._edge)
        if stop <= first:
            return first, first
        first = max(first, stop - self.n_columns)
        low, high = extremes(self.shown, first, stop, self.samples_per_column)
        rows = np.arange(first, stop) % self.n_columns
        self.low[rows], self.high[rows] = low, high
        self.stop_column = stop
        return first, stop

    def column(self, sample: float) -> float:
        """Return where `sample` lies on the screen, in columns from the left edge."""
        return sample / self.samples_per_column - (self.stop_column - self.n_columns)

    # ---------------------------------------------------------------- findings
    @property
    def quality(self) -> Quality:
        """The verdicts on the channels, of the same judge that the gate of a session asks."""
        return self._watch.quality

    def centre(self, seconds: float = 1.0) -> NDArray[np.float64]:
        """Return the median of each shown channel over the newest `seconds`, shape (n_channels,); NaN: unknown."""
        return self._quantiles(seconds, (0.5,))[0]

    def span(self, seconds: float = 4.0) -> NDArray[np.float64]:
        """Return from where to where 98 % of each shown channel's newest values lie, shape (n_channels,)."""
        low, high = self._quantiles(seconds, (0.01, 0.99))
        return high - low

    def rate_hz(self) -> float:
        """Return the rate at which samples arrived during the last ten seconds, lost ones counted; NaN: not yet."""
        if len(self._arrivals) < 2 or self._arrivals[-1][0] - self._arrivals[0][0] < 1.0:
            return float("nan")
        (t0, n0), (t1, n1) = self._arrivals[0], self._arrivals[-1]
        return (n1 - n0) / (t1 - t0)

    # ---------------------------------------------------------------- private
    def _new_chain(self, filters: Filters) -> Chain:
        chain = Chain(filters.blocks(self.info.sfreq))
        chain.prepare(self.info)
        return chain

    def _begin_again(self) -> None:
        """The numbers began anew (a device that was started again): nothing of before can be placed."""
        for history in (self.raw, self.shown):
            history.clear()
        self.gaps.clear()
        self.spectrum.reset()
        self._chain.reset()
        self._arrivals.clear()
        self._edge = -1
        self._redo_columns()

    def _note_gap(self, gap: Gap) -> None:
        self.gaps.append(gap)
        if gap.cause == "lost":
            self.n_lost += gap.n_samples
        else:
            self.n_not_shown += gap.n_samples

    def _forget_old(self) -> None:
        while self.gaps and self.gaps[0].after <= self.raw.start:
            self.gaps.popleft()
        while self.events and self.events[0].sample < self.raw.start:
            self.events.popleft()

    def _note_arrival(self, now_s: float) -> None:
        self._arrivals.append((now_s, self.raw.stop))
        while now_s - self._arrivals[0][0] > _RATE_OVER_S:
            self._arrivals.popleft()

    def _column_after(self, sample: float) -> int:
        """Return the number of the column after the last one whose right edge is at or before `sample`."""
        return int(np.floor(max(sample, 0.0) / self.samples_per_column))

    def _redo_columns(self) -> None:
        self.low = np.full((self.n_columns, self.info.n_channels), np.nan)
        self.high = self.low.copy()
        stop = self._column_after(self._edge)
        self.stop_column = stop - self.n_columns
        low, high = extremes(self.shown, stop - self.n_columns, stop, self.samples_per_column)
        rows = np.arange(stop - self.n_columns, stop) % self.n_columns
        self.low[rows], self.high[rows] = low, high
        self.stop_column = stop

    def _quantiles(self, seconds: float, shares: tuple[float, ...]) -> NDArray[np.float64]:
        stop = self.shown.stop
        _, newest = self.shown.view(stop - max(8, round(seconds * self.info.sfreq)), stop)
        some = newest[:: max(1, len(newest) // 500)]  # 500 values tell well enough where to place a line
        found = np.full((len(shares), self.info.n_channels), np.nan)
        is_whole = np.isfinite(some).all(axis=0)
        if len(some) and is_whole.any():
            found[:, is_whole] = np.quantile(some[:, is_whole], shares, axis=0)
        for column in np.flatnonzero(~is_whole):
            known = some[np.isfinite(some[:, column]), column]
            if len(known):
                found[:, column] = np.quantile(known, shares)
        return found
