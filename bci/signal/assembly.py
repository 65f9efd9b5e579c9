"""From linear stages to numbers: the code and the memory that `bci.signal.engine` runs.

`code` is one array of integers: a header, then operations of `WORDS` words, then lists of columns. `memory` is one
array of doubles: coefficients, states and scratch. Places in them are counted from their beginning.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from bci.signal.stages import AverageStage, BankStage, DecimateStage, FirStage, MatrixStage, PickStage, SosStage, Stage

# Words of the header.
N_OPERATIONS, BLOCK_ROWS, LAST_ROW, CHECKED, NUMBER, SUMS = range(6)
HEADER, WORDS = 8, 12
# Kinds of operations.
CASCADE, AVERAGE, PICK, PRODUCT, FIR, DECIMATE = range(6)
# Where rows come from and go to; another number is a place in memory.
INPUT, OUTPUT = 0, 1

UNIT = 16
"""Added to the number of sections where a gain stands before them and b0 = b2 = 1."""
MOST_SECTIONS = 6
"""Sections that go through a tile at once: their states fill the registers."""
LANES = 8
"""Partial sums of a row: channel k after the first adds to sum k modulo this."""
LARGEST = 1e30
"""No converter delivers this; beyond it a filter state could overflow and never come back."""

_BLOCK_VALUES = 32_768  # a block of rows stays in the second cache (256 KB of 512 KB or more)
_MOST_ROWS = 256
_LINE = 8


class Assembly:
    """The code and memory of a row of stages.

    Parameters
    ----------
    stages : sequence of Stage
        What to do, in order.
    n_channels : int
        Columns that come in.

    Attributes
    ----------
    memory : ndarray of float64
        Coefficients, states and scratch.
    code : ndarray of int64
        All stages together, one block of rows after the other; stops before a block with an unknown value.
    alone : list of ndarray of int64
        Each stage by itself, on the same memory.
    states : list of slice
        Where the states of the sections of each stage are; empty where it has none.
    histories : list of tuple of (int, int, int)
        Where the rows before of each stage with taps are: place, first column, end of the columns.
    n_outputs : int
        Columns that go out.
    last : slice
        Where the last row that came in is kept.
    """

    def __init__(self, stages: Sequence[Stage], n_channels: int) -> None:
        self._parts: list[NDArray[np.float64]] = [np.zeros(_LINE)]  # no place is 0 or 1: these mean input and output
        self._size = _LINE
        self._placed: list[_Placed] = []
        widths = [n_channels]
        for stage in stages:
            self._placed.append(self._place(stage, widths[-1]))
            widths.append(self._placed[-1].n_out)
        self._rows = max(16, min(_MOST_ROWS, _BLOCK_VALUES // max(widths)))
        self._last_change = max((k for k, p in enumerate(self._placed) if p.changes_columns), default=0)
        room = self._rows * max(widths) if self._last_change else 0
        self._scratch = [self._keep(np.zeros(room)) for _ in range(2)]
        self._sums = self._keep(np.zeros(self._rows * LANES))
        last = self._keep(np.zeros(n_channels))
        nowhere = self._keep(np.zeros(max(widths)))
        self._histories()
        self.n_outputs = widths[-1]
        self.last = slice(last, last + n_channels)
        self.code = self._write(self._placed, n_channels, last, checked=True)
        self.alone = [self._write([p], p.n_in, nowhere, checked=False) for p in self._placed]
        self.states = [slice(p.states, p.states + p.n_states) for p in self._placed]
        self.histories = [p.histories for p in self._placed]
        self.memory = _aligned(np.concatenate(self._parts))

    def _keep(self, values: NDArray[np.float64]) -> int:
        begin = self._size
        values = np.asarray(values, np.float64).ravel()
        # Each begins on a cache line, if the memory does: a vector that lies across two costs twice.
        self._parts += [values, np.zeros(-values.size % _LINE)]
        self._size += values.size + self._parts[-1].size
        return begin

    def _place(self, stage: Stage, n_in: int) -> _Placed:
        """Write what `stage` needs into the memory."""
        if isinstance(stage, SosStage):
            places = tuple(self._keep(part.numbers) for part in passes(stage.sos))
            n_states = 2 * len(stage.sos) * n_in
            return _Placed(stage, n_in, n_in, places, self._keep(np.zeros(n_states)), n_states)
        if isinstance(stage, BankStage):
            places = tuple(self._keep(part.numbers) for sos in stage.sos for part in passes(sos))
            n_out = len(stage.source())
            n_states = 2 * stage.sos.shape[1] * n_out
            return _Placed(stage, n_in, n_out, places, self._keep(np.zeros(n_states)), n_states)
        if isinstance(stage, MatrixStage):
            return _Placed(stage, n_in, len(stage.matrix), (self._keep(stage.matrix.T),))
        if isinstance(stage, PickStage):
            return _Placed(stage, n_in, len(stage.columns))
        if isinstance(stage, FirStage):
            return _Placed(stage, n_in, n_in, (self._keep(stage.taps[::-1]),))  # the last one first
        return _Placed(stage, n_in, n_in)

    def _histories(self) -> None:
        """Make room for what comes before a block of rows, now that its length is known."""
        for k, placed in enumerate(self._placed):
            if isinstance(placed.stage, FirStage):
                n_rows = len(placed.stage.taps) - 1 + self._rows
                ranges = runs(placed.stage.columns)
                kept = tuple((self._keep(np.zeros(n_rows * (e - d))), d, e) for d, e in ranges)
                self._placed[k] = replace(placed, histories=kept)

    def _write(self, placed: Sequence[_Placed], n_channels: int, last: int, checked: bool) -> NDArray[np.int64]:
        lists = _Lists()
        operations: list[list[int]] = []
        source = INPUT
        for k, one in enumerate(placed):
            if k >= self._last_change or len(placed) == 1:
                target = OUTPUT
            elif one.changes_columns or source == INPUT:
                target = self._scratch[source == self._scratch[0]]
            else:
                target = source
            sums = operations[-1] if operations and one.sums_of(placed[k - 1] if k else None) else None
            operations += one.operations(source, target, lists, sums)
            source = target
        if not placed:
            operations = [_operation(CASCADE, INPUT, OUTPUT, n_channels, n_channels, e=n_channels)]
        begin = HEADER + WORDS * len(operations)
        header = [len(operations), self._rows, last, checked, 0, self._sums, 0, 0]
        return np.array([*header, *(w for o in lists.moved(operations, begin) for w in o), *lists.numbers], np.int64)


class _Lists:
    """Lists of columns behind the operations; until their place is known it is written as a negative number."""

    def __init__(self) -> None:
        self.numbers: list[int] = []

    def add(self, columns: NDArray[np.int64]) -> int:
        begin = len(self.numbers)
        self.numbers += [len(columns), *map(int, columns)]
        return -1 - (begin + 1)

    def moved(self, operations: list[list[int]], begin: int) -> list[list[int]]:
        return [
            [begin - 1 - word if word < 0 and k < _SUM else word for k, word in enumerate(operation)]
            for operation in operations
        ]


@dataclass(frozen=True, slots=True)
class _Placed:
    """A stage whose numbers are in the memory."""

    stage: Stage
    n_in: int
    n_out: int
    numbers: tuple[int, ...] = ()
    states: int = 0
    n_states: int = 0
    histories: tuple[tuple[int, int, int], ...] = ()

    def operations(self, source: int, target: int, lists: _Lists, sums: list[int] | None) -> list[list[int]]:
        """Return the operations; `sums` is the one before where it can sum for an average."""
        stage, both = self.stage, (source, target, self.n_in, self.n_out)
        if isinstance(stage, SosStage):
            return self._cascade(stage, source, target)
        if isinstance(stage, BankStage):
            return self._bank(stage, source, target)
        if isinstance(stage, AverageStage):
            return self._average(stage, source, target, lists, sums)
        if isinstance(stage, PickStage):
            return [_operation(PICK, *both, a=lists.add(stage.columns))]
        if isinstance(stage, MatrixStage):
            return [_operation(PRODUCT, *both, a=self.numbers[0])]
        if isinstance(stage, FirStage):
            return self._fir(stage, source, target)
        if isinstance(stage, DecimateStage):
            return [_operation(DECIMATE, *both, a=stage.factor)]
        raise TypeError(f"the engine has no operation for a stage of type {type(stage).__name__}")

    @property
    def changes_columns(self) -> bool:
        """Whether it cannot work in place."""
        return isinstance(self.stage, BankStage | PickStage | MatrixStage | DecimateStage)

    def sums_of(self, before: _Placed | None) -> bool:
        """Return True if this is an average of just the columns that the cascade `before` filters last."""
        if before is None or not (isinstance(self.stage, AverageStage) and isinstance(before.stage, SosStage)):
            return False
        filtered = runs(before.stage.columns)
        return len(filtered) == 1 and len(before.stage.sos) > 0 and filtered[0] == as_run(self.stage.members)

    def _copies(self, source: int, target: int, ranges: Sequence[tuple[int, int]]) -> list[list[int]]:
        return [
            _operation(CASCADE, source, target, self.n_in, self.n_in, d=d, e=e) for d, e in ranges if source != target
        ]

    def _cascade(self, stage: SosStage, source: int, target: int) -> list[list[int]]:
        written = self._copies(source, target, runs(~stage.columns))
        for begin, end in runs(stage.columns):
            if not len(stage.sos):
                written += self._copies(source, target, [(begin, end)])
            for place, part in zip(self.numbers, passes(stage.sos), strict=True):
                words = {"a": place, "b": self.states + 2 * part.first * self.n_in, "c": part.word}
                at = target if part.first else source
                written.append(_operation(CASCADE, at, target, self.n_in, self.n_in, **words, d=begin, e=end))
        return written

    def _bank(self, stage: BankStage, source: int, target: int) -> list[list[int]]:
        written, k, to = [], 0, 0
        for sos in stage.sos:
            parts = passes(sos)
            for begin, end in runs(stage.columns):
                for place, part in zip(self.numbers[k : k + len(parts)], parts, strict=True):
                    words = {"a": place, "b": self.states + 2 * part.first * self.n_out, "c": part.word}
                    words |= {"d": to, "e": to + end - begin, "g": 0 if part.first else begin - to}
                    here = (target, target, self.n_out) if part.first else (source, target, self.n_in)
                    written.append(_operation(CASCADE, *here, self.n_out, **words))
                to += end - begin
            k += len(parts)
        for begin, end in runs(~stage.columns):
            words = {"d": to, "e": to + end - begin, "g": begin - to}
            written.append(_operation(CASCADE, source, target, self.n_in, self.n_out, **words))
            to += end - begin
        return written

    def _average(
        self, stage: AverageStage, source: int, target: int, lists: _Lists, sums: list[int] | None
    ) -> list[list[int]]:
        members, targets = as_run(stage.members), as_run(stage.targets)
        written: list[list[int]] = []
        if members is None or (sums is not None and source == target):
            written += self._copies(source, target, [(0, self.n_in)])
        else:
            written += self._copies(source, target, [(0, members[0]), (members[1], self.n_in)])
            written.append(_operation(CASCADE, source, target, self.n_in, self.n_in, d=members[0], e=members[1]))
            sums = written[-1]
        if members is not None and sums is not None:
            sums[_SUM] = 1
        counted = (
            {"c": len(stage.members), "f": members[0], "g": members[1]}
            if members
            else {"a": lists.add(stage.members), "b": len(stage.members)}
        )
        aimed = {"d": targets[0], "e": targets[1]} if targets else {"d": lists.add(stage.targets)}
        written.append(_operation(AVERAGE, target, target, self.n_in, self.n_in, **counted, **aimed))
        return written

    def _fir(self, stage: FirStage, source: int, target: int) -> list[list[int]]:
        written = self._copies(source, target, runs(~stage.columns))
        for place, d, e in self.histories:
            words = {"a": self.numbers[0], "b": place, "c": len(stage.taps), "d": d, "e": e}
            written.append(_operation(FIR, source, target, self.n_in, self.n_in, **words))
        return written


_SUM = 10


def _aligned(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return a copy that begins on a cache line."""
    room = np.zeros(values.size + _LINE)
    begin = -(room.ctypes.data // room.itemsize) % _LINE
    room[begin : begin + values.size] = values
    return room[begin : begin + values.size]


def _operation(kind: int, source: int, target: int, n_in: int, n_out: int, **words: int) -> list[int]:
    return [kind, source, target, n_in, n_out, *(words.get(name, 0) for name in "abcdefg")]


@dataclass(frozen=True, slots=True)
class Pass:
    """Sections that go through a tile at once.

    Parameters
    ----------
    first : int
        Number of the first.
    sos : ndarray, shape (n_sections, 6)
        The sections as they are run, with a0 = 1.
    gain : float
        What stands before them.
    is_unit : bool
        Whether b0 = b2 = 1 in all.
    """

    first: int
    sos: NDArray[np.float64]
    gain: float
    is_unit: bool

    @property
    def word(self) -> int:
        """How many sections, and `UNIT` more if they are unit sections."""
        return len(self.sos) + UNIT if self.is_unit else len(self.sos)

    @property
    def numbers(self) -> NDArray[np.float64]:
        """The coefficients as the engine takes them."""
        if self.is_unit:
            return np.concatenate([[self.gain], np.column_stack([self.sos[:, 1], -self.sos[:, 4:]]).ravel()])
        return np.concatenate([self.sos[:, :3], -self.sos[:, 4:]], axis=1).ravel()


def passes(sos: NDArray[np.float64]) -> list[Pass]:
    """Cut a cascade, as `scipy.signal` writes it, into passes of at most `MOST_SECTIONS` sections.

    Nearly all designs have their zeros on the unit circle, so that b2 = b0 in every section but for rounding: then one
    gain before all of them saves two products in each.
    """
    sos = np.asarray(sos, np.float64)
    sos = sos / sos[:, 3:4]
    n_passes = -(-len(sos) // MOST_SECTIONS)
    is_unit = bool((sos[:, 0] != 0).all()) and np.allclose(sos[:, 2], sos[:, 0], rtol=1e-14, atol=0)
    gain = float(np.prod(sos[:, 0])) if is_unit else 1.0
    if is_unit:
        sos[:, :3] /= sos[:, :1]
        sos[:, 2] = 1.0
    found, done = [], 0
    for k in range(n_passes):
        take = -(-(len(sos) - done) // (n_passes - k))
        found.append(Pass(done, sos[done : done + take], gain if k == 0 else 1.0, is_unit))
        done += take
    return found


def runs(wanted: NDArray[np.bool_]) -> list[tuple[int, int]]:
    """Return the runs of True as (begin, end)."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], wanted, [False]]).astype(np.int8)))
    return [(int(a), int(b)) for a, b in zip(edges[::2], edges[1::2], strict=True)]


def as_run(columns: NDArray[np.int64]) -> tuple[int, int] | None:
    """Return (begin, end) if `columns` are neighbours in rising order, else None."""
    if len(columns) and (np.diff(columns) == 1).all():
        return int(columns[0]), int(columns[-1]) + 1
    return None
