"""The program of a chain: its linear stages, compiled for one stream, with their states."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bci.signal.assembly import HEADER, LARGEST, NUMBER, Assembly
from bci.signal.returns import FOR_EVER, Returns, jumps
from bci.signal.runners import one_by_one, runner
from bci.signal.stages import Array, BringsRunner, DecimateStage, Line, Mask, Stage, fuse
from bci.signal.thinned import Thinned
from bci.stream import Chunk, Flag, StreamInfo, read_only, whole_chunk

_PIECE = 1024
_DOUBLE, _OK, _empty = np.dtype(np.float64), Flag.OK, np.empty


class Program:
    """Stages, compiled for one stream, with their states.

    Parameters
    ----------
    stages : sequence of Stage
        What to do, in order; neighbours are fused where that changes nothing.
    info : StreamInfo
        What comes in; numbers that are not in the units of their channels yet are brought to them first.
    out_info : StreamInfo
        What goes out.
    bridge_s : float, default=0
        Longest gap that the states go across, s: a straight line stands in for the missing samples then, of which
        nothing is delivered. After a longer one all begins anew.

    Notes
    -----
    Known samples go through all stages at once, block of rows by block of rows (`bci.signal.engine`). The first samples
    after a start, and those after an unknown value (NaN, infinite, or too large for any signal), go stage by stage with
    a mask of what is unknown, until all is known again: the same code on the same states, so the bits are the same.
    A program with a stage that brings its own runner goes stage by stage always.
    """

    def __init__(self, stages: Sequence[Stage], info: StreamInfo, out_info: StreamInfo, bridge_s: float = 0.0) -> None:
        from bci.signal import kernels

        kernels.warm_up()
        self.info, self.out_info = info, out_info
        self._scales = np.ones(info.n_channels) if info.scales is None else info.scales
        self._is_scaled = info.scales is not None
        self.stages = fuse(stages)
        self._is_compiled = not any(isinstance(stage, BringsRunner) for stage in self.stages)
        self._code, self._memory = np.zeros(HEADER, np.int64), np.zeros(info.n_channels)
        self._last = slice(0, info.n_channels)
        if self._is_compiled:
            tape = Assembly(self.stages, info.n_channels)
            self._code, self._memory, self._last = tape.code, tape.memory, tape.last
            self._runners = [runner(stage, k, tape) for k, stage in enumerate(self.stages)]
        else:
            self._runners = one_by_one(self.stages, info.n_channels)
        # The functions, not their module: a program can be copied and pickled.
        self._run, self._load, self._hold = kernels.run, kernels.load, kernels.hold
        self._n_outputs = out_info.n_channels
        self._factor = int(np.prod([s.factor for s in self.stages if isinstance(s, DecimateStage)], dtype=np.int64))
        self._waiting = Thinned(partial(_ceil, self._factor))
        self._known = np.zeros(info.n_channels, np.uint8)
        self._is_steady = self._is_fast = False
        self._line = Line(info)
        self.bridge(bridge_s)

    def process(self, chunk: Chunk) -> Chunk:
        """Return the output for `chunk`; starts anew at a gap, or goes across it."""
        data, start, line = chunk.data, chunk.start, self._line
        n_samples = len(data)
        if (
            self._is_fast
            and start == line.next
            and not chunk.flags
            and chunk.info is self.info
            and data.dtype is _DOUBLE
        ):
            # The way of nearly every chunk, without a call that can be spared: small ones pay more for calls than
            # for arithmetic.
            values = _empty((n_samples, self._n_outputs))
            done = self._run(data, values, self._code, self._memory)
            line.next = line.expected = start + n_samples
            flags = _OK
            if done != n_samples and self._finish(data, values, done, start):
                flags = Flag.NAN
            return whole_chunk(values, chunk.times, start, self.out_info, chunk.events, flags)
        flags, restart = line.follow(chunk)
        if restart and n_samples:
            if 0 < line.missing <= self._longest and self._known.any():
                self._bridge(data, start, line.missing)
            else:
                self._restart()
        if self._factor > 1:
            return self._decimated(chunk, flags)
        if n_samples == 0:
            return Chunk.empty(self.out_info, chunk.start, flags, chunk.events)
        values, unknown = self.run(chunk.data)
        if flags or unknown:
            flags = flags & ~Flag.NAN | (Flag.NAN if unknown else Flag.OK)
        return whole_chunk(values, chunk.times, chunk.start, self.out_info, chunk.events, flags)

    def run(self, data: NDArray[np.generic], number: int = 0) -> tuple[Array, bool]:
        """Return the values for the next rows and whether some are unknown.

        Parameters
        ----------
        data : ndarray, shape (n_samples, n_channels)
            The rows.
        number : int, default=0
            Number of the first, for a program that lowers the rate.
        """
        if data.dtype is not _DOUBLE or self._is_scaled:
            data = self._loaded(data)
        if not self._is_compiled:
            return self._step_by_step(data, number)
        n_samples = len(data)
        values = _empty((n_samples if self._factor == 1 else self._count(number, n_samples), self._n_outputs))
        done = 0
        if self._is_steady:
            self._code[NUMBER] = number
            done = self._run(data, values, self._code, self._memory)
        return values, done < n_samples and self._finish(data, values, done, number)

    def bridge(self, longest_s: float) -> None:
        """Go across gaps of up to `longest_s`, s."""
        self._longest = round(longest_s * self.info.sfreq)
        waits = self._longest and self._is_compiled
        self._returns = Returns(self.stages, self.info, self._longest) if waits else None

    def reset(self) -> None:
        """Forget all samples."""
        self._line.reset()
        self._waiting.reset()
        self._restart()

    def _restart(self) -> None:
        self._known[:] = 0
        self._is_steady = self._is_fast = False
        if self._returns is not None:
            self._returns.restart()
        for stage in self._runners:
            stage.restart()

    def _bridge(self, data: NDArray[np.generic], start: int, missing: int) -> None:
        """Take a straight line from the last row to the first of `data` through the stages, and deliver nothing of it.

        Where a channel is unknown in the first row, its last known value is held; one that was never known stays so.
        A channel that jumped is held too, and goes on as if it had always been at its new level.
        """
        last = np.where(self._known, self._memory[self._last], np.nan)
        first = self._loaded(data[:1])[0]
        steps = np.where(self._known.astype(bool) & (np.abs(first) < LARGEST), first - last, 0.0)
        jumped = jumps(self.info, steps, missing)
        if self._returns is None and jumped.any():
            self._restart()
            return
        rise = np.where(jumped, 0.0, steps) / (missing + 1)
        for begin in range(0, missing, _PIECE):
            values: Array = last + np.arange(begin + 1, min(begin + _PIECE, missing) + 1)[:, None] * rise
            mask: Mask = np.zeros(values.shape, np.uint8)
            bad = mask if self._hold(values, mask, self._memory[self._last], self._known) else None
            number = start - missing + begin
            for stage in self._runners:
                values, bad, number = stage.bridge(values, bad, number)
        if self._returns is not None and jumped.any():
            self._returns.add(steps, np.where(jumped, FOR_EVER, 0), start, self._memory)

    def _loaded(self, data: NDArray[np.generic]) -> Array:
        """Return the rows as doubles in the units of their channels."""
        loaded = np.empty(data.shape)
        self._load(read_only(np.ascontiguousarray(data)), self._scales, loaded)
        return read_only(loaded)

    def _finish(self, data: NDArray[Any], out: Array, done: int, number: int) -> bool:
        """Take the rows from `done` on stage by stage, into the end of `out`; return whether some are unknown."""
        values, unknown = self._step_by_step(data[done:], number + done)
        out[len(out) - len(values) :] = values
        return unknown

    def _step_by_step(self, data: NDArray[Any], number: int) -> tuple[Array, bool]:
        """Take rows through one stage after the other, with a mask of what is unknown."""
        values = np.array(data, order="C")
        mask: Mask = np.zeros(values.shape, np.uint8)
        last, known = self._memory[self._last].copy(), self._known.copy()
        bad = mask if self._hold(values, mask, self._memory[self._last], self._known) else None
        is_waiting = False
        if self._returns is None or not (bad is not None or self._returns.is_waiting):
            values, bad = self._one_by_one(values, bad, number)
        else:
            found = self._returns.find(values, mask, last, known)
            is_waiting = self._returns.is_waiting
            values, bad = self._piece_by_piece(values, mask, number, found)
        is_steady = self._is_compiled and not is_waiting and bool(self._known.all())
        is_steady &= all(stage.is_steady for stage in self._runners)
        self._is_steady = is_steady
        self._is_fast = is_steady and self._factor == 1 and not self._is_scaled
        unknown = bad is not None and bool(bad.any())
        if bad is not None and unknown:
            values[bad.astype(bool)] = np.nan
        return values, unknown

    def _count(self, number: int, n_samples: int) -> int:
        """Return how many of `n_samples` from `number` on are kept."""
        return _ceil(self._factor, number + n_samples) - _ceil(self._factor, number)

    def _one_by_one(self, values: Array, bad: Mask | None, number: int) -> tuple[Array, Mask | None]:
        for stage in self._runners:
            values, bad, number = stage.run(values, bad, number)
        return values, bad

    def _piece_by_piece(
        self, values: Array, bad: Mask, number: int, found: dict[int, tuple[Array, NDArray[np.int64]]]
    ) -> tuple[Array, Mask]:
        """Do as `_one_by_one`, where channels return in the rows `found`."""
        parts = []
        for begin, end in pairwise(sorted({0, *found, len(values)})):
            if begin in found and self._returns is not None:
                self._returns.add(*found[begin], number + begin, self._memory)
            parts.append(self._one_by_one(values[begin:end], bad[begin:end], number + begin))
        return np.concatenate([v for v, _ in parts]), np.concatenate([b for _, b in parts if b is not None])

    def _decimated(self, chunk: Chunk, flags: Flag) -> Chunk:
        """Return the kept samples with their numbers, times, events and flags; may be empty."""
        first = _ceil(self._factor, chunk.start)
        values, unknown = np.empty((0, self._n_outputs)), False
        if len(chunk.data):
            values, unknown = self.run(chunk.data, chunk.start)
        times = chunk.times[first * self._factor - chunk.start :: self._factor]
        self._waiting.take(chunk.events, flags)
        events = self._waiting.events(first + len(values))
        if len(chunk.data):
            flags = self._waiting.flags(len(values), unknown, flags)
        return whole_chunk(values, read_only(times), first, self.out_info, events, flags)


def _ceil(factor: int, number: int) -> int:
    return -(-number // factor)
