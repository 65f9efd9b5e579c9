"""The engine: one compiled function that runs a whole chain of linear stages over time-major samples.

A chain is written as numbers (see `bci.signal.assembly`): operations in `code`, coefficients, states and scratch in
`memory`. A block of rows goes through all operations while it is in the cache; tiles of neighbouring channels go
through a cascade with all their states in registers.

Addresses are plain numbers: nothing here checks a bound. Only code from `bci.signal.assembly` is run.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from bci.signal import vectors
from bci.signal.assembly import (
    AVERAGE,
    BLOCK_ROWS,
    CASCADE,
    CHECKED,
    DECIMATE,
    FIR,
    HEADER,
    LANES,
    LARGEST,
    LAST_ROW,
    N_OPERATIONS,
    NUMBER,
    PICK,
    PRODUCT,
    SUMS,
    UNIT,
    WORDS,
)
from bci.signal.vectors import (
    cascade,
    clear,
    copy_and_sum,
    has_strange,
    levels,
    product,
    read,
    subtraction,
    write,
)

Array = NDArray[np.float64]
Code = NDArray[np.int64]


def _columns(n_sections: int, is_unit: bool) -> Callable[..., None]:
    """Return the function that takes any number of channels through `n_sections` sections, tile by tile."""
    wide, eight, four, one = (cascade(n_sections, width, is_unit) for width in (16, 8, 4, 1))

    def columns(x: int, xr: int, y: int, yr: int, rows: int, c: int, z: int, dz: int, sums: int, n: int) -> None:
        at = 0
        while n - at >= 16:
            wide(x + 8 * at, xr, y + 8 * at, yr, rows, c, z + 8 * at, dz, sums)
            at += 16
        if n - at >= 8:
            eight(x + 8 * at, xr, y + 8 * at, yr, rows, c, z + 8 * at, dz, sums)
            at += 8
        if n - at >= 4:
            four(x + 8 * at, xr, y + 8 * at, yr, rows, c, z + 8 * at, dz, sums)
            at += 4
        while n > at:
            one(x + 8 * at, xr, y + 8 * at, yr, rows, c, z + 8 * at, dz, sums + 8 * (at % LANES))
            at += 1

    # Code that numba keeps on disk finds its functions by name: two of one name would be taken for each other.
    columns.__qualname__ = columns.__name__ = f"columns_{'unit' if is_unit else 'any'}_{n_sections}"
    compiled: Callable[..., None] = njit(nogil=True)(columns)
    return compiled


_any_1, _any_2, _any_3, _any_4, _any_5, _any_6 = (_columns(k, False) for k in (1, 2, 3, 4, 5, 6))
_unit_1, _unit_2, _unit_3, _unit_4, _unit_5, _unit_6 = (_columns(k, True) for k in (1, 2, 3, 4, 5, 6))
_product_16, _product_8, _product_4, _product_1 = (product(width) for width in (16, 8, 4, 1))
_subtract_8, _subtract_1 = subtraction(8), subtraction(1)
_copy_8, _copy_1 = copy_and_sum(8), copy_and_sum(1)


@njit(nogil=True)
def _cascade(
    sections: int, x: int, xr: int, y: int, yr: int, rows: int, c: int, z: int, dz: int, s: int, n: int
) -> None:
    """Filter by `sections` sections; `UNIT` more stands for unit sections behind a gain."""
    if sections == 0:
        _copy(x, xr, y, yr, rows, s, n)
    elif sections == UNIT + 1:
        _unit_1(x, xr, y, yr, rows, c, z, dz, s, n)
    elif sections == UNIT + 2:
        _unit_2(x, xr, y, yr, rows, c, z, dz, s, n)
    elif sections == UNIT + 3:
        _unit_3(x, xr, y, yr, rows, c, z, dz, s, n)
    elif sections == UNIT + 4:
        _unit_4(x, xr, y, yr, rows, c, z, dz, s, n)
    elif sections == UNIT + 5:
        _unit_5(x, xr, y, yr, rows, c, z, dz, s, n)
    elif sections == UNIT + 6:
        _unit_6(x, xr, y, yr, rows, c, z, dz, s, n)
    elif sections == 1:
        _any_1(x, xr, y, yr, rows, c, z, dz, s, n)
    elif sections == 2:
        _any_2(x, xr, y, yr, rows, c, z, dz, s, n)
    elif sections == 3:
        _any_3(x, xr, y, yr, rows, c, z, dz, s, n)
    elif sections == 4:
        _any_4(x, xr, y, yr, rows, c, z, dz, s, n)
    elif sections == 5:
        _any_5(x, xr, y, yr, rows, c, z, dz, s, n)
    else:
        _any_6(x, xr, y, yr, rows, c, z, dz, s, n)


@njit(nogil=True)
def _multiply(x: int, n_in: int, weights: int, weight_row: int, y: int, n_out: int) -> None:
    """Write one row times a matrix."""
    at = 0
    while n_out - at >= 16:
        _product_16(x, n_in, weights + 8 * at, weight_row, y + 8 * at)
        at += 16
    if n_out - at >= 8:
        _product_8(x, n_in, weights + 8 * at, weight_row, y + 8 * at)
        at += 8
    if n_out - at >= 4:
        _product_4(x, n_in, weights + 8 * at, weight_row, y + 8 * at)
        at += 4
    while n_out > at:
        _product_1(x, n_in, weights + 8 * at, weight_row, y + 8 * at)
        at += 1


@njit(nogil=True)
def _subtract(y: int, y_row: int, rows: int, levels: int, n: int) -> None:
    tiles, rest = n // 8, n % 8
    for t in range(rows):
        if tiles:
            _subtract_8(y + t * y_row, tiles, read(levels + 8 * t))
        if rest:
            _subtract_1(y + t * y_row + 64 * tiles, rest, read(levels + 8 * t))


@njit(nogil=True)
def _copy(x: int, x_row: int, y: int, y_row: int, rows: int, sums: int, n: int) -> None:
    tiles = n // 8
    for t in range(rows):
        p, q = x + t * x_row, y + t * y_row
        if tiles:
            _copy_8(p, q, tiles, sums + 64 * t)
        for k in range(8 * tiles, n):
            _copy_1(p + 8 * k, q + 8 * k, 1, sums + 64 * t + 8 * (k % 8))


@njit(nogil=True)
def _levels_of(code: Code, members: int, n: int, y: int, y_row: int, rows: int, sums: int) -> None:
    """Write the mean of the columns that `code` lists from `members` on, one for each row."""
    for t in range(rows):
        total = 0.0
        for k in range(n):
            total += read(y + t * y_row + 8 * code[members + k])
        write(sums + 8 * t, total / n)


@njit(nogil=True)
def _gather(code: Code, columns: int, n: int, x: int, x_row: int, y: int, y_row: int, rows: int) -> None:
    for t in range(rows):
        for k in range(n):
            write(y + t * y_row + 8 * k, read(x + t * x_row + 8 * code[columns + k]))


@njit(nogil=True)
def _fir(x: int, x_row: int, y: int, y_row: int, rows: int, taps: int, n_taps: int, history: int, n: int) -> None:
    """Filter by taps (last one first) over a history of the last rows, which the rows are appended to."""
    row = 8 * n
    for t in range(rows):
        for c in range(n):
            write(history + (n_taps - 1 + t) * row + 8 * c, read(x + t * x_row + 8 * c))
    for t in range(rows):
        _multiply(taps, n_taps, history + t * row, row, y + t * y_row, n)
    for i in range((n_taps - 1) * n):
        write(history + 8 * i, read(history + rows * row + 8 * i))


@njit(nogil=True)
def _keep_every(factor: int, number: int, x: int, x_row: int, y: int, y_row: int, rows: int, n: int) -> int:
    """Keep the rows whose number is a multiple of `factor`, the first being `number`; return how many."""
    kept = 0
    for t in range(-number % factor, rows, factor):
        for c in range(n):
            write(y + kept * y_row + 8 * c, read(x + t * x_row + 8 * c))
        kept += 1
    return kept


@njit(nogil=True)
def _is_clean(x: int, n: int) -> bool:
    """Return True if the `n` numbers from address `x` on are all known."""
    tiles = n // LANES
    if tiles and has_strange(x, tiles):
        return False
    for i in range(tiles * LANES, n):  # noqa: SIM110 - compiled
        if not abs(read(x + 8 * i)) < LARGEST:
            return False
    return True


@njit(nogil=True)
def _run(x: Array, y: Array, code: Code, memory: Array) -> int:
    """Take the rows of `x` through the operations of `code` into `y`; return how many rows of `x` were taken.

    Where `code` asks for it, it stops before the block of rows in which a value is unknown.
    """
    n_rows, base, sums = x.shape[0], memory.ctypes.data, memory.ctypes.data + 8 * code[SUMS]
    width = x.shape[1]
    at, out, number = 0, 0, code[NUMBER]
    while at < n_rows:
        begun = min(code[BLOCK_ROWS], n_rows - at)
        if code[CHECKED] and not _is_clean(x.ctypes.data + 8 * at * width, begun * width):
            break
        rows, first = begun, number + at
        for k in range(code[N_OPERATIONS]):
            kind, source, target, n_in, n_out, a, b, c, d, e = code[HEADER + WORDS * k : HEADER + WORDS * k + 10]
            x_row, y_row = 8 * n_in, 8 * n_out
            if source == 0:
                p = x.ctypes.data + at * x_row
            elif source == 1:
                p = y.ctypes.data + out * x_row
            else:
                p = base + 8 * source
            q = y.ctypes.data + out * y_row if target == 1 else base + 8 * target
            if kind == CASCADE:
                # a: coefficients, b: states, c: sections, d: first column of the output, e: end, f: whether the sums
                # begin here, g: how much further right the columns of the input are
                f, g = code[HEADER + WORDS * k + 10], code[HEADER + WORDS * k + 11]
                if f:
                    clear(sums, rows)
                z = base + 8 * (b + d)
                _cascade(c, p + 8 * (d + g), x_row, q + 8 * d, y_row, rows, base + 8 * a, z, y_row, sums, e - d)
            elif kind == AVERAGE:
                # a: columns, b: their number (0: the sums of f to g are there), c: of how many, d: targets, e: end
                if b:
                    _levels_of(code, a, b, q, y_row, rows, sums)
                else:
                    levels(sums, rows, c)
                if e > d:
                    _subtract(q + 8 * d, y_row, rows, sums, e - d)
                else:  # d: list of targets, code[d - 1] of them
                    for i in range(code[d - 1]):
                        _subtract(q + 8 * code[d + i], y_row, rows, sums, 1)
            elif kind == PICK:  # a: columns
                _gather(code, a, n_out, p, x_row, q, y_row, rows)
            elif kind == PRODUCT:  # a: weights
                for t in range(rows):
                    _multiply(p + t * x_row, n_in, base + 8 * a, y_row, q + t * y_row, n_out)
            elif kind == FIR:  # a: taps, b: history, c: number of taps, d: first column, e: end
                _fir(p + 8 * d, x_row, q + 8 * d, y_row, rows, base + 8 * a, c, base + 8 * b, e - d)
            elif kind == DECIMATE:  # a: factor
                rows = _keep_every(a, first, p, x_row, q, y_row, rows, n_in)
                first = -(-first // a)
                if rows == 0:  # the operations that follow would take at least one
                    break
        at, out = at + begun, out + rows
    if at:  # what an unknown value is replaced by
        for c in range(width):
            memory[code[LAST_ROW] + c] = x[at - 1, c]
    return at


def _entry(source: int) -> Any:
    """Return `_run`, kept on disk for this version (`source`) of the vector code, which the cache does not look at."""

    @njit(cache=True, nogil=True)
    def run(x: Array, y: Array, code: Code, memory: Array) -> int:
        return _run(x, y, code, memory) if source >= 0 else 0

    return run


run = _entry(zlib.crc32(Path(vectors.__file__).read_bytes()))
"""Take the rows of `x` through the operations of `code` into `y`; return how many rows of `x` were taken.

Where `code` asks for it, it stops before the block of rows in which a value is unknown.
"""
