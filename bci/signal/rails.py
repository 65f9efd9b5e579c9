"""What stands at the rail of the converter is unknown."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from bci.errors import ConfigError
from bci.ports import Block
from bci.signal.marks import ChannelMarks
from bci.signal.stages import Line, not_prepared
from bci.stream import Chunk, Flag, Kind, StreamInfo

RANGE = "range_uv"
"""Key of `StreamInfo.meta` under which a driver states the largest value of its converter, µV."""
AT_RAIL = 0.995
"""From this share of the range on a value is at the rail."""


class Rails(Block):
    """Make samples at the rail of the converter unknown (NaN), in their channel.

    Put it first in a chain: filters then hold the channel where it was, or go on as if it had drawn a line
    (`bci.signal.chain.Chain`), instead of ringing from a step of the whole range.

    Parameters
    ----------
    limit_uv : float, optional
        From which absolute value on a sample is at the rail, µV; by default 99.5 % of the range that the device states
        as ``info.meta["range_uv"]``.
    recovery_s : float, default=0.02
        For how long a channel stays unknown after it, s: the filters of an amplifier ring when it leaves the rail.

    Raises
    ------
    ConfigError
        If a setting is out of range; from `prepare`, if neither `limit_uv` is given nor the device states its range.

    Notes
    -----
    Channels in µV are looked at, triggers never. The chunk has `Flag.NAN`; `marked`, and so every window that holds
    such a sample, has `Flag.SATURATED` as well. A gap ends the recovery. `delay_s` is 0.
    """

    def __init__(self, limit_uv: float | None = None, recovery_s: float = 0.02) -> None:
        if not ((limit_uv is None or 0 < limit_uv < np.inf) and 0 <= recovery_s <= 0.5):
            raise ConfigError(
                f"expected limit_uv above 0 uV (or none) and recovery_s from 0 to 0.5 s, got {limit_uv} and "
                f"{recovery_s}; leave both out if the device states its range"
            )
        self.limit_uv, self.recovery_s = limit_uv, recovery_s
        self._line: Line | None = None

    def prepare(self, info: StreamInfo) -> StreamInfo:
        """Find the rail of each channel; the stream stays what it is."""
        self._limits = rails(info, self.limit_uv)
        if not np.isfinite(self._limits).any():
            raise ConfigError(
                "expected a device that states its range, or limit_uv, for channels in uV; got neither; give limit_uv "
                "or leave the block out"
            )
        self._recovery = round(self.recovery_s * info.sfreq)
        self._out_info = info.physical()
        self._line, self._marks = Line(info), ChannelMarks(info.sfreq, info.ch_names)
        self.reset()
        return self._out_info

    def process(self, chunk: Chunk) -> Chunk:
        """Return the chunk with what is at the rail unknown."""
        if self._line is None:
            raise not_prepared(self)
        flags, restart = self._line.follow(chunk)
        if restart and chunk.n_samples:
            self._left[:] = 0
        data = chunk.physical().data
        railed: NDArray[np.bool_] = np.abs(data) >= self._limits
        if not (self._left.any() or railed.any()):
            return Chunk(data, chunk.times, chunk.start, self._out_info, chunk.events, flags)
        unknown = self._recovering(railed)
        self._mark(chunk.start, unknown)
        values = np.where(unknown, np.nan, data)
        flags |= Flag.NAN if unknown.any() else Flag.OK
        return Chunk(values, chunk.times, chunk.start, self._out_info, chunk.events, flags)

    def reset(self) -> None:
        """Forget all samples, keep the settings."""
        if self._line is not None:
            self._line.reset()
            self._marks.clear()
            self._left = np.zeros(len(self._limits), np.int64)

    def marked(self, begin_s: float, end_s: float) -> Flag:
        """Return SATURATED if a sample from `begin_s` to before `end_s`, s since the stream began, was at the rail."""
        return Flag.SATURATED if self.marked_channels(begin_s, end_s) else Flag.OK

    def marked_channels(self, begin_s: float, end_s: float) -> tuple[str, ...]:
        """Return the channels of which a sample from `begin_s` to before `end_s` was at the rail."""
        return () if self._line is None else self._marks.touched(begin_s, end_s)

    # -------------------------------------------------------------- private
    def _recovering(self, railed: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """Return which samples are at the rail or not long enough away from it."""
        row = np.arange(len(railed))[:, None]
        newest = np.maximum.accumulate(np.where(railed, row, -1), axis=0)
        until = np.where(newest >= 0, newest + self._recovery, self._left - 1)
        if len(railed):
            self._left = np.maximum(0, until[-1] + 1 - len(railed))
        return np.asarray(row <= until)

    def _mark(self, start: int, unknown: NDArray[np.bool_]) -> None:
        for c in np.flatnonzero(unknown.any(axis=0)):
            edges = np.flatnonzero(np.diff(unknown[:, c], prepend=False, append=False)).tolist()
            for begin, end in zip(edges[::2], edges[1::2], strict=True):
                self._marks.add([int(c)], start + begin, start + end)


def rails(info: StreamInfo, limit_uv: float | None = None) -> NDArray[np.float64]:
    """Return from which absolute value on each channel is at its rail, µV, shape (n_channels,); inf if unknown."""
    limit = np.inf if limit_uv is None else limit_uv
    if limit_uv is None:
        try:
            limit = float(info.meta.get(RANGE, "inf")) * AT_RAIL
        except ValueError:
            limit = np.inf
    limit = limit if limit > 0 else np.inf
    return np.array([limit if c.unit == "uV" and c.kind is not Kind.TRIG else np.inf for c in info.channels])
