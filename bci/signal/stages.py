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
A chain may have it go across short gaps instead (`bci.signal.chain.Chain`).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Protocol, TypeAlias, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from bci.errors import DataError
from bci.ports import Block
from bci.stream import Chunk, Flag, Kind, StreamInfo, difference

if TYPE_CHECKING:
    from bci.signal.program import Program

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


@dataclass(frozen=True, eq=False)
class BankStage:
    """Cascades side by side: every signal channel comes out once for each, ordered by cascade; then the others, once.

    Parameters
    ----------
    sos : ndarray, shape (n_bands, n_sections, 6)
        The sections of each band as `scipy.signal` writes them.
    columns : ndarray of bool, shape (n_channels,)
        Which channels are filtered; the others come last, unchanged.
    """

    sos: Array
    columns: NDArray[np.bool_]

    def source(self) -> NDArray[np.int64]:
        """Return the column that each output comes from."""
        signals, others = np.flatnonzero(self.columns), np.flatnonzero(~self.columns)
        return np.concatenate([np.tile(signals, len(self.sos)), others])


@dataclass(frozen=True, eq=False)
class FirStage:
    """Weighted sums over the last samples: output n is the sum of ``taps[k]`` times input n - k.

    Parameters
    ----------
    taps : ndarray, shape (n_taps,)
        Impulse response.
    columns : ndarray of bool, shape (n_channels,)
        Which channels are filtered; the others pass unchanged.
    """

    taps: Array
    columns: NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class DecimateStage:
    """Keep the samples whose number is a multiple of `factor`."""

    factor: int


class Runner(Protocol):
    """A stage at work, with its state."""

    n_outputs: int

    def run(self, values: Array, bad: Mask | None) -> tuple[Array, Mask | None]:
        """Return the rows that come out and which of their values are unknown; may work in place."""
        ...

    def restart(self) -> None:
        """Begin anew with the next sample."""
        ...


@runtime_checkable
class BringsRunner(Protocol):
    """A stage with a runner of its own; it is not compiled together with its neighbours."""

    def runner(self, n_channels: int) -> Runner:
        """Return a new runner for `n_channels` columns."""
        ...


Stage: TypeAlias = (
    SosStage | BankStage | FirStage | AverageStage | PickStage | MatrixStage | DecimateStage | BringsRunner
)


@runtime_checkable
class HasStages(Protocol):
    """A block that is nothing but linear stages."""

    def stages(self) -> list[Stage]:
        """Return what the block does; known after `prepare`."""
        ...


@runtime_checkable
class BridgesGaps(Protocol):
    """What can take its states across a gap."""

    def bridge(self, longest_s: float) -> None:
        """Go across gaps of up to `longest_s`, s, from now on; 0: begin anew after each. Known after `prepare`."""
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
        from bci.signal.program import Program

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

    def bridge(self, longest_s: float) -> None:
        """Go across gaps of up to `longest_s`, s; until the next `prepare`."""
        if self._program is None:
            raise not_prepared(self)
        self._program.bridge(longest_s)

    def stages(self) -> list[Stage]:
        """Return what the block does; known after `prepare`."""
        if self._program is None:
            raise not_prepared(self)
        return list(self._stages)


class Line:
    """Follows the sample numbers of a stream and says where it starts anew.

    Parameters
    ----------
    info : StreamInfo
        The stream it was prepared for.
    """

    def __init__(self, info: StreamInfo) -> None:
        self.info = info
        self.next = -1
        """Number of the sample that may follow without a look at anything else; -1 where there is none."""
        self.expected: int | None = None
        """Number of the sample after the last; None where nothing came yet."""
        self.missing = 0
        """How many samples are missing before the ones that start anew; 0 where that cannot be known."""

    def follow(self, chunk: Chunk) -> tuple[Flag, bool]:
        """Return the flags of `chunk` (with GAP if its number jumped) and whether its first sample starts anew.

        Raises
        ------
        DataError
            If `chunk` belongs to a stream of other channels or another rate.
        """
        if chunk.info is not self.info and not same_signals(chunk.info, self.info):
            raise DataError(changed(self.info, chunk.info))
        flags = chunk.flags
        if not flags and chunk.start == self.next:
            self.next = self.expected = chunk.start + len(chunk.data)
            return flags, False
        if Flag.GAP in flags:
            self.next = -1
        if chunk.n_samples == 0:
            return flags, False
        if self.expected is not None and chunk.start != self.expected:
            flags |= Flag.GAP
            self.next = -1
        restart = self.next < 0
        self.missing = max(0, chunk.start - self.expected) if restart and self.expected is not None else 0
        self.next = self.expected = chunk.stop
        return flags, restart

    def reset(self) -> None:
        """Forget where the stream was."""
        self.expected, self.next, self.missing = None, -1, 0


def same_signals(one: StreamInfo, other: StreamInfo) -> bool:
    """Return True if both have the same rate and channels."""
    return one.sfreq == other.sfreq and one.channels == other.channels


def changed(prepared: StreamInfo, got: StreamInfo) -> str:
    """Word the error for a chunk of a stream with other signals than what was prepared for."""
    found = difference("what was prepared", prepared, got).rpartition(";")[0] or _detail(prepared, got)
    return f"{found}; call prepare again for the new stream"


def _detail(prepared: StreamInfo, got: StreamInfo) -> str:
    """Say what differs in channels of the same names, kinds and units."""
    one, other = next(pair for pair in zip(prepared.channels, got.channels, strict=True) if pair[0] != pair[1])
    names = [n for n in ("scale", "position") if getattr(one, n) != getattr(other, n)]
    return (
        f"what was prepared expects {one.name} with {', '.join(f'{n} {getattr(one, n)}' for n in names)}, got "
        f"{', '.join(f'{n} {getattr(other, n)}' for n in names)}"
    )


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
        elif isinstance(stage, DecimateStage) and isinstance(before, DecimateStage):
            fused[-1] = DecimateStage(before.factor * stage.factor)
        else:
            fused.append(stage)
    return fused


def steady_state(sos: Array, level: float = 1.0) -> Array:
    """Return the states, shape (n_sections, 2), of a cascade that has seen `level` for ever.

    Notes
    -----
    With input u a section in transposed direct form II rests at y = u (b0 + b1 + b2) / (1 + a1 + a2),
    z2 = b2 u - a2 y and z1 = y - b0 u; y is the input of the next section.
    """
    states = np.empty((len(sos), 2))
    for s, (b0, b1, b2, _, a1, a2) in enumerate(sos):
        out = level * (b0 + b1 + b2) / (1.0 + a1 + a2)
        states[s] = out - b0 * level, b2 * level - a2 * out
        level = out
    return states
