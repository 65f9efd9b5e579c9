"""Linear stages one by one, with masks of what is unknown: the way of the first samples and of unknown values."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from bci.signal.assembly import Assembly, passes
from bci.signal.gap_cascade import GapCascade
from bci.signal.stages import (
    Array,
    AverageStage,
    BankStage,
    BringsRunner,
    DecimateStage,
    FirStage,
    Mask,
    MatrixStage,
    PickStage,
    Runner,
    SosStage,
    Stage,
    steady_state,
)
from bci.stream import read_only


class StageRunner(Protocol):
    """One stage by itself, with masks."""

    @property
    def is_steady(self) -> bool:
        """True once nothing in it waits for a first known sample."""
        ...

    def run(self, values: Array, bad: Mask | None, number: int) -> tuple[Array, Mask | None, int]:
        """Return the rows that come out, which of their values are unknown, and the number of the first."""
        ...

    def bridge(self, values: Array, bad: Mask | None, number: int) -> tuple[Array, Mask | None, int]:
        """Take in rows that stand for missing ones; as `run`, but what goes on by itself does."""
        ...

    def restart(self) -> None:
        """Begin anew with the next sample."""
        ...


def one_by_one(stages: Sequence[Stage], n_channels: int) -> list[StageRunner]:
    """Return a runner for each stage of a row in which some bring their own."""
    made: list[StageRunner] = []
    for stage in stages:
        if isinstance(stage, BringsRunner):
            own = stage.runner(n_channels)
            made.append(_Brought(own))
            n_channels = own.n_outputs
        else:
            tape = Assembly([stage], n_channels)
            made.append(runner(stage, 0, tape))
            n_channels = tape.n_outputs
    return made


class _Bridged(ABC):
    """What takes rows that stand for missing ones as any others."""

    @abstractmethod
    def run(self, values: Array, bad: Mask | None, number: int) -> tuple[Array, Mask | None, int]: ...

    def bridge(self, values: Array, bad: Mask | None, number: int) -> tuple[Array, Mask | None, int]:
        return self.run(values, bad, number)


class _Brought(_Bridged):
    """A runner that a stage brought."""

    is_steady = True

    def __init__(self, own: Runner) -> None:
        self._own = own

    def run(self, values: Array, bad: Mask | None, number: int) -> tuple[Array, Mask | None, int]:
        return *self._own.run(values, bad), number

    def restart(self) -> None:
        self._own.restart()


def runner(stage: Stage, k: int, tape: Assembly) -> StageRunner:
    """Return what takes rows through `stage`, the one of number `k` on `tape`."""
    if isinstance(stage, SosStage):
        return _SosRunner(stage, k, tape)
    if isinstance(stage, BankStage):
        return _BankRunner(stage, k, tape)
    if isinstance(stage, FirStage):
        return _FirRunner(stage, k, tape)
    if isinstance(stage, AverageStage):
        return _AverageRunner(stage, k, tape)
    if isinstance(stage, PickStage):
        return _PickRunner(stage)
    if isinstance(stage, MatrixStage):
        return _MatrixRunner(stage, k, tape)
    if isinstance(stage, DecimateStage):
        return _DecimateRunner(stage)
    raise TypeError(f"no runner for a stage of type {type(stage).__name__}")


class _Alone(_Bridged):
    """A stage run by the engine, by itself."""

    is_steady = True

    def __init__(self, k: int, tape: Assembly) -> None:
        from bci.signal import kernels

        self._run: Callable[..., int] = kernels.run
        self._k, self._tape = k, tape

    def restart(self) -> None:
        """Nothing to forget."""

    def apply(self, values: Array, n_outputs: int) -> Array:
        """Return the output for the next rows."""
        out = np.empty((len(values), n_outputs))
        if len(values):
            self._run(read_only(np.ascontiguousarray(values)), out, self._tape.alone[self._k], self._tape.memory)
        return out


class _Settling(_Alone):
    """A filter over time: each channel begins in the steady state for its first known sample."""

    def __init__(self, k: int, tape: Assembly, n_channels: int, n_outputs: int) -> None:
        super().__init__(k, tape)
        self._started = np.zeros(n_channels, bool)
        self._n_outputs = n_outputs

    @property
    def is_steady(self) -> bool:  # type: ignore[override]  # a fact here, a constant there
        return bool(self._started.all())

    @abstractmethod
    def begin(self, channels: NDArray[np.bool_], values: Array) -> None:
        """Bring `channels` to the steady state for `values`, one for each of them."""

    def masks(self, bad: Mask | None) -> Mask | None:
        """Return what is unknown of the output."""
        return bad

    def run(self, values: Array, bad: Mask | None, number: int) -> tuple[Array, Mask | None, int]:
        if self.is_steady or not len(values):  # none may be left behind a lower rate
            return self.apply(values, self._n_outputs), self.masks(bad), number
        n_samples = len(values)
        first = np.where(self._started, n_samples, 0)
        if bad is not None:
            begin = np.where((bad == 0).any(axis=0), (bad == 0).argmax(axis=0), n_samples)
            first = np.where(self._started, n_samples, begin)
            # A channel that has not begun runs on zeros and stays in the state of zeros.
            for c in np.flatnonzero(~self._started):
                values[: first[c], c] = 0.0
        out = np.empty((n_samples, self._n_outputs))
        for start, stop in pairwise(sorted({0, *(int(t) for t in first if t < n_samples), n_samples})):
            new = first == start
            self.begin(new, values[start, new])
            self._started |= new
            out[start:stop] = self.apply(values[start:stop], self._n_outputs)
        return out, self.masks(bad), number


class _SosRunner(_Settling):
    """A cascade."""

    def __init__(self, stage: SosStage, k: int, tape: Assembly) -> None:
        super().__init__(k, tape, len(stage.columns), len(stage.columns))
        self._steady = _rest(stage.sos)
        self._gap = GapCascade(stage)

    def bridge(self, values: Array, bad: Mask | None, number: int) -> tuple[Array, Mask | None, int]:
        if not (self._gap.has_notches and self.is_steady):
            return self.run(values, bad, number)
        return self._gap.run(values, self._state()), bad, number

    def begin(self, channels: NDArray[np.bool_], values: Array) -> None:
        self._state()[:, :, channels] = self._steady[:, :, None] * values

    def restart(self) -> None:
        self._started[:] = False
        self._state()[:] = 0.0

    def _state(self) -> Array:
        # A view made when needed: a copied program has a memory of its own.
        return self._tape.memory[self._tape.states[self._k]].reshape(-1, 2, len(self._started))


class _BankRunner(_Settling):
    """Cascades side by side."""

    def __init__(self, stage: BankStage, k: int, tape: Assembly) -> None:
        self._source = stage.source()
        super().__init__(k, tape, len(stage.columns), len(self._source))
        n_signals = int(stage.columns.sum())
        # (n_sections, 2, n_outputs): what passes unchanged has no state
        rest = np.stack([_rest(sos) for sos in stage.sos], axis=-1)
        self._steady = np.zeros((*rest.shape[:2], len(self._source)))
        self._steady[..., : n_signals * len(stage.sos)] = np.repeat(rest, n_signals, axis=-1)

    def masks(self, bad: Mask | None) -> Mask | None:
        return None if bad is None else np.ascontiguousarray(bad[:, self._source])

    def begin(self, channels: NDArray[np.bool_], values: Array) -> None:
        level = np.zeros(len(channels))
        level[channels] = values
        new = channels[self._source]
        self._state()[:, :, new] = (self._steady * level[self._source])[:, :, new]

    def restart(self) -> None:
        self._started[:] = False
        self._state()[:] = 0.0

    def _state(self) -> Array:
        return self._tape.memory[self._tape.states[self._k]].reshape(self._steady.shape)


def _rest(sos: Array) -> Array:
    """Return the states of a cascade that has seen 1 for ever, as the engine runs it: shape (n_sections, 2)."""
    level, steady = 1.0, []
    for part in passes(sos):
        steady.append(steady_state(part.sos, part.gain * level))
        level *= part.gain * float(np.prod(part.sos[:, :3].sum(axis=1) / part.sos[:, 3:].sum(axis=1)))
    return np.concatenate([np.empty((0, 2)), *steady])


class _FirRunner(_Settling):
    """Taps over the last rows."""

    def __init__(self, stage: FirStage, k: int, tape: Assembly) -> None:
        super().__init__(k, tape, len(stage.columns), len(stage.columns))
        self._n_before = len(stage.taps) - 1

    def begin(self, channels: NDArray[np.bool_], values: Array) -> None:
        level = np.zeros(len(channels))
        level[channels] = values
        for place, d, e in self._tape.histories[self._k]:
            self._history(place, e - d)[:, channels[d:e]] = level[d:e][channels[d:e]]

    def restart(self) -> None:
        self._started[:] = False
        for place, d, e in self._tape.histories[self._k]:
            self._history(place, e - d)[:] = 0.0

    def _history(self, place: int, n_columns: int) -> Array:
        return self._tape.memory[place : place + self._n_before * n_columns].reshape(self._n_before, n_columns)


class _AverageRunner(_Alone):
    def __init__(self, stage: AverageStage, k: int, tape: Assembly) -> None:
        from bci.signal import kernels

        super().__init__(k, tape)
        self._subtract_known = kernels.subtract_known_average
        self._members = np.ascontiguousarray(stage.members, dtype=np.int64)
        self._targets = np.ascontiguousarray(stage.targets, dtype=np.int64)

    def run(self, values: Array, bad: Mask | None, number: int) -> tuple[Array, Mask | None, int]:
        out = self.apply(values, values.shape[1])
        if bad is not None:
            self._subtract_known(values, bad, self._members, self._targets, out)
        return out, bad, number


class _PickRunner(_Bridged):
    is_steady = True

    def __init__(self, stage: PickStage) -> None:
        self._columns = stage.columns

    def run(self, values: Array, bad: Mask | None, number: int) -> tuple[Array, Mask | None, int]:
        picked = np.ascontiguousarray(values[:, self._columns])
        return picked, None if bad is None else np.ascontiguousarray(bad[:, self._columns]), number

    def restart(self) -> None:
        """Nothing to forget."""


class _MatrixRunner(_Alone):
    def __init__(self, stage: MatrixStage, k: int, tape: Assembly) -> None:
        from bci.signal import kernels

        super().__init__(k, tape)
        self._spread = kernels.spread
        self._weights = np.ascontiguousarray(stage.matrix.T, dtype=np.float64)

    def run(self, values: Array, bad: Mask | None, number: int) -> tuple[Array, Mask | None, int]:
        n_outputs = self._weights.shape[1]
        out_bad = None
        if bad is not None:
            out_bad = np.zeros((len(values), n_outputs), np.uint8)
            self._spread(bad, self._weights, out_bad)
        return self.apply(values, n_outputs), out_bad, number


class _DecimateRunner(_Bridged):
    is_steady = True

    def __init__(self, stage: DecimateStage) -> None:
        self._factor = stage.factor

    def run(self, values: Array, bad: Mask | None, number: int) -> tuple[Array, Mask | None, int]:
        rows = slice(-number % self._factor, None, self._factor)
        kept = np.ascontiguousarray(values[rows])
        return kept, None if bad is None else np.ascontiguousarray(bad[rows]), -(-number // self._factor)

    def restart(self) -> None:
        """Nothing to forget."""
