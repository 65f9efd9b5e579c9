"""Rejection: what cannot be brain is made unknown, in its channel, and said so."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from bci.errors import ConfigError
from bci.ports import Block
from bci.signal.delay_line import DelayLine
from bci.signal.marks import ChannelMarks, Marks
from bci.signal.stages import Line, not_prepared, signal_columns
from bci.stream import Chunk, Flag, Kind, StreamInfo


class Reject(Block):
    """Make segments of EEG channels unknown (NaN) that are too large, too steep or flat.

    Parameters
    ----------
    peak_to_peak_uv : float or None, default=200
        Largest difference between highest and lowest value of a segment, µV; None for no limit.
    gradient_uv_per_s : float or None, default=50000
        Largest change from one sample to the next over the time between them, µV/s; None for no limit.
    flat_uv : float or None, default=0.5
        Smallest difference between highest and lowest value of a segment, µV; None for no limit.
    segment_s : float, default=0.25
        Length of a segment, s; also the delay, since a segment is judged before it is delivered.

    Raises
    ------
    ConfigError
        If a limit is not above 0 or a segment longer than 1 s; from `prepare`, if a segment has no two samples.

    Notes
    -----
    Segments begin at the sample numbers divisible by their length, so verdicts do not depend on how the stream is cut.
    A rejected segment is NaN in its channel alone; chunk and windows have `Flag.REJECTED` and `Flag.NAN`. A segment
    that a start cuts short is judged by what is there, but for its flatness. Other signals are delayed as they are;
    trigger channels and events are not, as with any filter. What is still waiting at a gap is not delivered. Put it
    after a high-pass.
    """

    def __init__(
        self,
        peak_to_peak_uv: float | None = 200.0,
        gradient_uv_per_s: float | None = 50e3,
        flat_uv: float | None = 0.5,
        segment_s: float = 0.25,
    ) -> None:
        limits = (peak_to_peak_uv, gradient_uv_per_s, flat_uv)
        if not all(limit is None or limit > 0 for limit in limits) or not 0 < segment_s <= 1:
            raise ConfigError(
                f"rejection needs limits above 0 (or None) and segments of up to 1 s, got {limits} and {segment_s} s; "
                "leave the defaults if unsure"
            )
        self.peak_to_peak_uv, self.gradient_uv_per_s, self.flat_uv = limits
        self.segment_s = segment_s
        self._line: Line | None = None

    def prepare(self, info: StreamInfo) -> StreamInfo:
        """Allocate for `info`; the stream stays what it is."""
        from bci.signal import kernels, kernels_artefacts

        self._length = round(self.segment_s * info.sfreq)
        if self._length < 2:
            raise ConfigError(
                f"a segment needs two samples or more, got {self.segment_s} s at {info.sfreq:g} Hz; lengthen it"
            )
        kernels.warm_up()
        kernels_artefacts.warm_up()
        self._hold, self._survey = kernels.hold, kernels_artefacts.survey
        self._out_info = info.physical()
        self._signals = np.flatnonzero(signal_columns(info))
        channels = [self._out_info.channels[i] for i in self._signals]
        self._is_judged = np.array([c.kind is Kind.EEG for c in channels], dtype=np.bool_)
        self._names = [c.name for c in channels]
        self._delay = DelayLine(self._length, len(self._signals))
        self.delay_s = self._length / info.sfreq
        self._line, self._marks = Line(info), Marks(info.sfreq)
        self._of_channels = ChannelMarks(info.sfreq, self._names)
        self._last, self._known = np.zeros(len(self._signals)), np.zeros(len(self._signals), np.uint8)
        self._before = np.full(len(self._signals), np.nan)
        self._extremes = np.empty((3, len(self._signals)))
        self.reset()
        return self._out_info

    def process(self, chunk: Chunk) -> Chunk:
        """Return the chunk from a segment ago, with what was rejected unknown."""
        if self._line is None:
            raise not_prepared(self)
        flags, restart = self._line.follow(chunk)
        if chunk.n_samples == 0:
            return Chunk.empty(self._out_info, chunk.start, flags, chunk.events)
        if restart:
            self._restart(chunk.start)
        values = np.array(chunk.physical().data, dtype=np.float64, order="C")
        rows = np.ascontiguousarray(values[:, self._signals])
        bad = np.zeros(rows.shape, np.uint8)
        self._hold(rows, bad, self._last, self._known)
        late, late_bad = self._delay.push(rows, bad)
        is_unknown = late_bad.astype(bool)
        rejected = self._run(rows, bad, is_unknown)
        late[is_unknown] = np.nan
        values[:, self._signals] = late
        flags = flags & ~Flag.NAN | (Flag.REJECTED if rejected else Flag.OK)
        flags |= Flag.NAN if is_unknown.any() else Flag.OK
        return Chunk(values, chunk.times, chunk.start, self._out_info, chunk.events, flags)

    def reset(self) -> None:
        """Forget all samples, keep the settings."""
        if self._line is None:
            return
        self._line.reset()
        self._marks.clear()
        self._of_channels.clear()
        self._number, self._n_seen = 0, 0
        self._n_rejected = np.zeros(len(self._signals), np.int64)
        self._restart(0)

    def marked(self, begin_s: float, end_s: float) -> Flag:
        """Return REJECTED if an output sample from `begin_s` to before `end_s`, s since the stream began, was."""
        return Flag.REJECTED if self._line is not None and self._marks.touches(begin_s, end_s) else Flag.OK

    def marked_channels(self, begin_s: float, end_s: float) -> tuple[str, ...]:
        """Return the channels of which an output sample from `begin_s` to before `end_s` was rejected."""
        return () if self._line is None else self._of_channels.touched(begin_s, end_s)

    @property
    def spans(self) -> list[tuple[int, int]]:
        """What was rejected in any channel in the last 10 minutes: first output sample and the one after the last."""
        return [] if self._line is None else self._marks.spans

    def report(self) -> dict[str, Any]:
        """Return what was done since `reset`: seconds seen, and seconds rejected of each judged channel."""
        if self._line is None:
            raise not_prepared(self)
        sfreq = self._out_info.sfreq
        judged = zip(self._names, self._n_rejected.tolist(), self._is_judged, strict=True)
        return {
            "seen_s": self._n_seen / sfreq,
            "rejected_s": {name: n / sfreq for name, n, is_judged in judged if is_judged},
        }

    # -------------------------------------------------------------- private
    def _restart(self, number: int) -> None:
        """Forget all samples; the next has this number."""
        if number < self._number:
            self._marks.clear()  # the numbers began again
            self._of_channels.clear()
        self._number = number
        self._delay.reset()
        self._known[:] = 0
        self._before[:] = np.nan
        self._rejected = np.zeros(len(self._signals), np.bool_)  # of the segment that is delivered now
        self._is_whole = number % self._length == 0
        self._begin_segment()

    def _begin_segment(self) -> None:
        self._extremes[0], self._extremes[1], self._extremes[2] = np.inf, -np.inf, 0.0

    def _run(self, rows: NDArray[np.float64], bad: NDArray[np.uint8], unknown: NDArray[np.bool_]) -> bool:
        """Survey `rows`, and make `unknown` what is rejected among those a segment ago; return whether any is."""
        any_rejected, begin = False, 0
        while begin < len(rows):
            end = min(len(rows), begin + self._length - self._number % self._length)
            self._survey(rows[begin:end], bad[begin:end], self._extremes, self._before)
            if self._rejected.any():
                unknown[begin:end, self._rejected] = True
                self._marks.add(self._number, self._number + end - begin)
                self._of_channels.add(np.flatnonzero(self._rejected).tolist(), self._number, self._number + end - begin)
                self._n_rejected += (end - begin) * self._rejected
                any_rejected = True
            self._number += end - begin
            self._n_seen += end - begin
            begin = end
            if self._number % self._length == 0:
                self._judge()
        return any_rejected

    def _judge(self) -> None:
        """Judge the segment that ends here: it is delivered next."""
        low, high, step = self._extremes
        is_known = high >= low
        height = np.where(is_known, high - low, 0.0)
        rejected = np.zeros(len(height), np.bool_)
        if self.peak_to_peak_uv is not None:
            rejected |= height > self.peak_to_peak_uv
        if self.gradient_uv_per_s is not None:
            rejected |= step * self._out_info.sfreq > self.gradient_uv_per_s
        if self.flat_uv is not None and self._is_whole:
            rejected |= height < self.flat_uv
        self._rejected = rejected & self._is_judged & is_known
        self._is_whole = True
        self._begin_segment()
