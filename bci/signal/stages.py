"""Linear stages and the program that runs them: the one place where samples meet arithmetic.

A block says *what* it does as a list of stages; a `Program` says *how*. A chain
joins the stages of neighbouring blocks and compiles them together, so a faster
program makes every block faster without a change to any.

Notes
-----
Inside a program every value is finite. An unknown value (NaN, infinite, or too
large for any signal) is replaced by its channel's last known value and marked;
the mark travels along and becomes NaN again at the end. So filters never see a
NaN, averages leave marked channels out, and the moment the input is known again
so is the output.

A filter starts in the steady state for the first known sample of each channel,
at the beginning and after every gap: a constant offset causes no transient.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Protocol, TypeAlias, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from bci.errors import DataError
from bci.ports import Block
from bci.stream import Chunk, Flag, Kind, StreamInfo

Array: TypeAlias = NDArray[np.float64]
Mask: TypeAlias = NDArray[np.uint8]


@dataclass(frozen=True, eq=False)
class SosStage:
    """A cascade of second-order sections on some columns.

    Parameters
    ----------
    sos : ndarray, shape (n_sections, 6)
        Sections as `scipy.signal` writes them.
    columns : ndarray of bool, shape (n_channels,)
        Which channels are filtered; the others pass unchanged.
    """

    sos: Array
    columns: NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class AverageStage:
    """Subtract the mean of the known `members` from the `targets` (column numbers)."""

    members: NDArray[np.int64]
    targets: NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class PickStage:
    """Keep the given columns, in that order."""

    columns: NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class MatrixStage:
    """Multiply every row by a matrix of shape (n_outputs, n_inputs)."""

    matrix: Array


Stage: TypeAlias = SosStage | AverageStage | PickStage | MatrixStage


@runtime_checkable
class HasStages(Protocol):
    """A block that is nothing but linear stages; sample numbers, times and events pass unchanged."""

    def stages(self) -> list[Stage]:
        """Return what the block does; known after `prepare`."""
        ...


class StagedBlock(Block, ABC):
    """A block made of linear stages: an author writes `design` and nothing else."""

    _program: Program | None = None
    _stages: list[Stage]

    @abstractmethod
    def design(self, info: StreamInfo) -> tuple[list[Stage], StreamInfo, float]:
        """Return the stages, the description of what comes out, and the group delay in s."""

    def prepare(self, info: StreamInfo) -> StreamInfo:
        """Design for `info`; return what comes out."""
        self._stages, out_info, self.delay_s = self.design(info.physical())
        self._program = Program(self._stages, info, out_info)
        return out_info

    def process(self, chunk: Chunk) -> Chunk:
        """Return the output for `chunk`, of any length."""
        if self._program is None:
            raise not_prepared(self)
        return self._program.process(chunk)

    def reset(self) -> None:
        """Forget all samples, keep the settings."""
        if self._program is not None:
            self._program.reset()

    def stages(self) -> list[Stage]:
        """Return what the block does; known after `prepare`."""
        if self._program is None:
            raise not_prepared(self)
        return list(self._stages)


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
    """

    def __init__(self, stages: Sequence[Stage], info: StreamInfo, out_info: StreamInfo) -> None:
        from bci.signal import kernels

        kernels.warm_up()
        self.info, self.out_info = info, out_info
        self._scales = info.scales
        self.stages = fuse(stages)
        self._runners: list[_Runner] = []
        n_channels = info.n_channels
        for stage in self.stages:
            self._runners.append(_runner(stage, n_channels))
            n_channels = self._runners[-1].n_outputs
        self._last = np.zeros(info.n_channels)
        self._known = np.zeros(info.n_channels, np.uint8)
        # The functions, not their module: a program can be copied and pickled.
        self._is_clean, self._hold = kernels.is_clean, kernels.hold
        self._line = Line(info)

    def process(self, chunk: Chunk) -> Chunk:
        """Return the output for `chunk`; starts anew at a gap."""
        flags, restart = self._line.follow(chunk)
        if chunk.n_samples == 0:
            return Chunk.empty(self.out_info, chunk.start, flags, chunk.events)
        if restart:
            self._restart()
        values, unknown = self.run(chunk.data)
        flags = flags & ~Flag.NAN | (Flag.NAN if unknown else Flag.OK)
        return Chunk(values, chunk.times, chunk.start, self.out_info, chunk.events, flags)

    def run(self, data: NDArray[np.generic]) -> tuple[Array, bool]:
        """Return the values for the next rows `data`, shape (n_samples, n_channels), and whether some are unknown."""
        values = np.array(data, dtype=np.float64, order="C")
        if self._scales is not None:
            values *= self._scales
        bad: Mask | None = None
        if self._is_clean(values):
            self._last[:] = values[-1]
            self._known[:] = 1
        else:
            bad = np.zeros(values.shape, np.uint8)
            self._hold(values, bad, self._last, self._known)
        for runner in self._runners:
            values, bad = runner.run(values, bad)
        unknown = bad is not None and bool(bad.any())
        if bad is not None and unknown:
            values[bad.astype(bool)] = np.nan
        return values, unknown

    def reset(self) -> None:
        """Forget all samples."""
        self._line.reset()
        self._restart()

    def _restart(self) -> None:
        self._known[:] = 0
        for runner in self._runners:
            runner.restart()


class Line:
    """Follows the sample numbers of a stream and says where it starts anew.

    Parameters
    ----------
    info : StreamInfo
        The stream it was prepared for.
    """

    def __init__(self, info: StreamInfo) -> None:
        self.info = info
        self._expected: int | None = None
        self._gap = True

    def follow(self, chunk: Chunk) -> tuple[Flag, bool]:
        """Return the flags of `chunk` (with GAP if its number jumped) and whether its first sample starts anew.

        Raises
        ------
        DataError
            If `chunk` belongs to a stream of other channels or another rate.
        """
        if chunk.info is not self.info and not same_signals(chunk.info, self.info):
            raise DataError(
                f"expected chunks of {self.info.n_channels} channels at {self.info.sfreq:g} Hz as prepared, got "
                f"{chunk.info.n_channels} channels at {chunk.info.sfreq:g} Hz or other names; call prepare again"
            )
        flags = chunk.flags
        self._gap |= Flag.GAP in flags
        if chunk.n_samples == 0:
            return flags, False
        if self._expected is not None and chunk.start != self._expected:
            flags |= Flag.GAP
            self._gap = True
        restart, self._gap, self._expected = self._gap, False, chunk.stop
        return flags, restart

    def reset(self) -> None:
        """Forget where the stream was."""
        self._expected, self._gap = None, True


def same_signals(one: StreamInfo, other: StreamInfo) -> bool:
    """Return True if both have the same rate and channels."""
    return one.sfreq == other.sfreq and one.channels == other.channels


def signal_columns(info: StreamInfo) -> NDArray[np.bool_]:
    """Return which channels are signals to filter: all but triggers, whose values are codes."""
    return np.array([c.kind is not Kind.TRIG for c in info.channels])


def not_prepared(block: object) -> DataError:
    """Return the error for a block that was used before `prepare`."""
    name = type(block).__name__
    return DataError(f"{name} needs to know its stream before it works, got a call before prepare; call prepare(info)")


def fuse(stages: Sequence[Stage]) -> list[Stage]:
    """Join neighbouring cascades, matrices and picks; the order of unlike stages is never changed."""
    fused: list[Stage] = []
    for stage in stages:
        before = fused[-1] if fused else None
        if isinstance(stage, SosStage) and isinstance(before, SosStage) and (stage.columns == before.columns).all():
            fused[-1] = replace(before, sos=np.vstack([before.sos, stage.sos]))
        elif isinstance(stage, MatrixStage) and isinstance(before, MatrixStage):
            fused[-1] = MatrixStage(stage.matrix @ before.matrix)
        elif isinstance(stage, PickStage) and isinstance(before, PickStage):
            fused[-1] = PickStage(before.columns[stage.columns])
        else:
            fused.append(stage)
    return fused


class _Runner(Protocol):
    n_outputs: int

    def run(self, values: Array, bad: Mask | None) -> tuple[Array, Mask | None]: ...

    def restart(self) -> None: ...


def _runner(stage: Stage, n_channels: int) -> _Runner:
    if isinstance(stage, SosStage):
        return _SosRunner(stage, n_channels)
    if isinstance(stage, AverageStage):
        return _AverageRunner(stage, n_channels)
    if isinstance(stage, PickStage):
        return _PickRunner(stage)
    return _MatrixRunner(stage)


class _SosRunner:
    """A cascade with its state."""

    def __init__(self, stage: SosStage, n_channels: int) -> None:
        from bci.signal import kernels

        self._filter = kernels.sos_filter
        self.n_outputs = n_channels
        sos = np.asarray(stage.sos, dtype=np.float64)
        sos = sos / sos[:, 3:4]
        self._sections = np.ascontiguousarray(sos[:, [0, 1, 2, 4, 5]])
        self._steady = steady_state(sos)
        self._state = np.zeros((len(sos), 2, n_channels))
        self._started = np.zeros(n_channels, bool)
        self._pass = np.flatnonzero(~stage.columns)

    def run(self, values: Array, bad: Mask | None) -> tuple[Array, Mask | None]:
        passed = values[:, self._pass] if self._pass.size else None
        if self._started.all():
            self._filter(values, self._sections, self._state)
        else:
            self._start(values, bad)
        if passed is not None:
            values[:, self._pass] = passed
        return values, bad

    def restart(self) -> None:
        self._started[:] = False
        self._state[:] = 0.0

    def _start(self, values: Array, bad: Mask | None) -> None:
        """Filter, letting each channel begin at its first known sample."""
        n_samples = len(values)
        first = np.where(self._started, n_samples, 0)
        if bad is not None:
            begin = np.where((bad == 0).any(axis=0), (bad == 0).argmax(axis=0), n_samples)
            first = np.where(self._started, n_samples, begin)
            # A channel that has not begun runs on zeros and stays in the state of zeros.
            for c in np.flatnonzero(~self._started):
                values[: first[c], c] = 0.0
        cuts = sorted({0, *(int(t) for t in first if t < n_samples), n_samples})
        for start, stop in pairwise(cuts):
            new = first == start
            self._state[:, :, new] = self._steady[:, :, None] * values[start, new]
            self._started |= new
            self._filter(values[start:stop], self._sections, self._state)


class _AverageRunner:
    def __init__(self, stage: AverageStage, n_channels: int) -> None:
        from bci.signal import kernels

        self._subtract = kernels.subtract_average
        self.n_outputs = n_channels
        self._members = np.ascontiguousarray(stage.members, dtype=np.int64)
        self._targets = np.ascontiguousarray(stage.targets, dtype=np.int64)
        self._no_mask = np.zeros((1, 1), np.uint8)

    def run(self, values: Array, bad: Mask | None) -> tuple[Array, Mask | None]:
        mask = self._no_mask if bad is None else bad
        self._subtract(values, mask, bad is not None, self._members, self._targets)
        return values, bad

    def restart(self) -> None:
        return


class _PickRunner:
    def __init__(self, stage: PickStage) -> None:
        self._columns = stage.columns
        self.n_outputs = len(stage.columns)

    def run(self, values: Array, bad: Mask | None) -> tuple[Array, Mask | None]:
        picked = np.ascontiguousarray(values[:, self._columns])
        return picked, None if bad is None else np.ascontiguousarray(bad[:, self._columns])

    def restart(self) -> None:
        return


class _MatrixRunner:
    def __init__(self, stage: MatrixStage) -> None:
        from bci.signal import kernels

        self._mix = kernels.mix
        self._weights = np.ascontiguousarray(stage.matrix.T, dtype=np.float64)
        self.n_outputs = self._weights.shape[1]
        self._no_mask = np.zeros((1, 1), np.uint8)

    def run(self, values: Array, bad: Mask | None) -> tuple[Array, Mask | None]:
        mixed = np.empty((len(values), self.n_outputs))
        mixed_bad = None if bad is None else np.zeros(mixed.shape, np.uint8)
        mask, out_mask = (self._no_mask, self._no_mask) if bad is None or mixed_bad is None else (bad, mixed_bad)
        self._mix(values, mask, bad is not None, self._weights, mixed, out_mask)
        return mixed, mixed_bad

    def restart(self) -> None:
        return


def steady_state(sos: Array) -> Array:
    """Return the states, shape (n_sections, 2), of a cascade that has seen 1 for ever.

    Notes
    -----
    With input u a section in transposed direct form II rests at y = u (b0 + b1 + b2) / (1 + a1 + a2),
    z2 = b2 u - a2 y and z1 = y - b0 u; y is the input of the next section.
    """
    states = np.empty((len(sos), 2))
    level = 1.0
    for s, (b0, b1, b2, _, a1, a2) in enumerate(sos):
        out = level * (b0 + b1 + b2) / (1.0 + a1 + a2)
        states[s] = out - b0 * level, b2 * level - a2 * out
        level = out
    return states
