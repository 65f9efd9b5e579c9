"""The kernels without a compiler: what `bci.signal.kernels` and `bci.signal.engine` compile, in numpy alone.

A cascade runs as one matrix product per block of up to 48 samples. Results agree with those of the compiled kernels,
and do not depend on how a stream is cut, up to rounding (1e-12 of the signal), not to the bit.
"""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bci.signal.assembly import (
    AVERAGE,
    CASCADE,
    CHECKED,
    FIR,
    HEADER,
    INPUT,
    LARGEST,
    LAST_ROW,
    N_OPERATIONS,
    NUMBER,
    OUTPUT,
    PICK,
    PRODUCT,
    UNIT,
    WORDS,
)

Array = NDArray[np.float64]
Mask = NDArray[np.uint8]
Index = NDArray[np.int64]

_BLOCK = 48
_WIDE, _WIDE_BLOCK = 512, 24  # from so many channels on arithmetic counts, not calls: shorter blocks take less of it


def run(x: Array, y: Array, code: Index, memory: Array) -> int:
    """Do as `bci.signal.engine.run`, all rows at once; a chunk with an unknown value is not begun."""
    if code[CHECKED] and not is_clean(x):
        return 0
    places: dict[int, Array] = {INPUT: x, OUTPUT: y}
    rows, first = len(x), int(code[NUMBER])
    words = code[HEADER : HEADER + WORDS * int(code[N_OPERATIONS])].reshape(-1, WORDS).tolist()
    for kind, source, target, n_in, n_out, a, b, c, d, e, f, g in words:
        here = places[source]
        if kind == PICK:
            places[target] = here[:, code[a : a + n_out]]
        elif kind == PRODUCT:
            places[target] = here @ memory[a : a + n_in * n_out].reshape(n_in, n_out)
        elif kind in (CASCADE, FIR):
            there = places.get(target)
            if there is None or there.shape != (rows, n_out):
                there = places[target] = np.empty((rows, n_out))
            part, to = here[:, d + g : e + g], there[:, d:e]
            if kind == FIR:
                _fir(part, memory, a, b, c, to)
            elif c:
                _cascade(part, memory, a, b, c, d, n_out, to)
            elif part is not to:
                to[:] = part
        elif kind == AVERAGE:
            members = here[:, code[a : a + b]] if b else here[:, f:g]
            mean = (members @ np.full(members.shape[1], 1.0 / members.shape[1]))[:, None]
            if e > d:
                here[:, d:e] -= mean
            else:
                here[:, code[d : d + code[d - 1]]] -= mean
        else:  # DECIMATE
            places[target] = here = here[-first % a :: a].copy()
            rows, first = len(here), -(-first // a)
    if places[OUTPUT] is not y:
        y[:] = places[OUTPUT]
    if len(x):
        memory[code[LAST_ROW] : code[LAST_ROW] + x.shape[1]] = x[-1]
    return len(x)


def is_clean(values: Array) -> bool:
    """Return True if every value is a finite number that a signal can have."""
    flat = values.ravel()
    return bool(np.dot(flat, flat) < LARGEST**2)  # what is not known makes the sum so large, infinite or NaN


def load(numbers: NDArray[Any], scales: Array, values: Array) -> None:
    """Write `numbers` of any type times the scales of their columns to `values`."""
    np.multiply(numbers, scales, out=values)


def hold(values: Array, bad: Mask, last: Array, known: Mask) -> bool:
    """Mark unknown values in `bad` and replace them by the channel's last known one, in place (0 before the first)."""
    if not len(values):
        return False
    bad[:] = ~(np.abs(values) < LARGEST)
    rows = np.arange(len(values))
    for c in np.flatnonzero(bad.any(axis=0)):
        newest = np.maximum.accumulate(np.where(bad[:, c], -1, rows))
        before = last[c] if known[c] else 0.0
        values[:, c] = np.where(newest >= 0, values[newest, c], before)
        known[c] |= newest[-1] >= 0
    known[~bad.any(axis=0)] = 1
    last[known.astype(bool)] = values[-1, known.astype(bool)]
    return bool(bad.any())


def _cascade(x: Array, memory: Array, a: int, b: int, c: int, d: int, n_columns: int, out: Array) -> None:
    n_sections, is_unit = c % UNIT, c > UNIT
    numbers = memory[a : a + (1 + 3 * n_sections if is_unit else 5 * n_sections)].tobytes()
    state = memory[b : b + 2 * n_sections * n_columns].reshape(2 * n_sections, n_columns)[:, d : d + x.shape[1]]
    length = _BLOCK if x.shape[1] < _WIDE else _WIDE_BLOCK
    both = np.empty((min(len(x), length) + len(state), x.shape[1]))
    both[-len(state) :] = state
    for begin in range(0, len(x), length):
        part = x[begin : begin + length]
        rows = both[-len(state) - len(part) :]
        rows[: len(part)] = part
        made = _block(numbers, is_unit, len(part)) @ rows
        out[begin : begin + len(part)] = made[: len(part)]
        both[-len(state) :] = made[len(part) :]
    state[:] = both[-len(state) :]


@functools.lru_cache(maxsize=256)
def _block(numbers: bytes, is_unit: bool, n_samples: int) -> Array:
    """Return the matrix that makes outputs and next states of a block from its inputs and the states.

    Every sample is carried through the sections as its weights over inputs and states; transposed direct form II.
    """
    coefficients = np.frombuffer(numbers)
    gain = coefficients[0] if is_unit else 1.0
    sections = coefficients[1:].reshape(-1, 3) if is_unit else coefficients.reshape(-1, 5)
    weights = np.eye(n_samples + 2 * len(sections))
    states, outputs = list(weights[n_samples:]), []
    for t in range(n_samples):
        value = gain * weights[t]
        for s, section in enumerate(sections):
            b0, b1, b2, less_a1, less_a2 = (1.0, section[0], 1.0, *section[1:]) if is_unit else section
            out = b0 * value + states[2 * s]
            states[2 * s] = b1 * value + less_a1 * out + states[2 * s + 1]
            states[2 * s + 1] = b2 * value + less_a2 * out
            value = out
        outputs.append(value)
    return np.array(outputs + states)


def _fir(x: Array, memory: Array, a: int, b: int, n_taps: int, out: Array) -> None:
    before = memory[b : b + (n_taps - 1) * x.shape[1]].reshape(n_taps - 1, x.shape[1])
    taps = memory[a : a + n_taps].tobytes()
    for begin in range(0, len(x), _BLOCK):
        rows = np.concatenate([before, x[begin : begin + _BLOCK]])
        out[begin : begin + _BLOCK] = _sums(taps, len(rows) - len(before)) @ rows
        before[:] = rows[len(rows) - len(before) :]


@functools.lru_cache(maxsize=256)
def _sums(taps: bytes, n_samples: int) -> Array:
    """Return the matrix that makes `n_samples` outputs from as many rows and those before; the last tap comes first."""
    weights = np.frombuffer(taps)
    made = np.zeros((n_samples, n_samples + len(weights) - 1))
    for t in range(n_samples):
        made[t, t : t + len(weights)] = weights
    return made
