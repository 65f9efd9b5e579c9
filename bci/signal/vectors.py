"""Vector instructions for the engine: short loops over tiles of channels, written out for the compiler.

A tile is 16, 8, 4 or 1 neighbouring channels. Every product is added with one rounding (`llvm.fma`), in one fixed order
for each channel and each row, whatever the width of a tile. So the bits of a result depend neither on how a stream was
cut, nor on the machine.

Addresses are plain 64-bit numbers: nothing here checks a bound. Only `bci.signal.engine` calls these.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import llvmlite.ir
import numba.core.cgutils
import numba.extending
import numpy as np
from numba import types

from bci.signal.assembly import LANES, LARGEST

ir: Any = llvmlite.ir  # without types, as is what numba gives to an intrinsic

cgutils: Any = numba.core.cgutils

_DOUBLE, _INT = ir.DoubleType(), ir.IntType(64)
_BYTES = 8


def intrinsic(write: Callable[..., Any]) -> Callable[..., Any]:
    """Make a function that writes its own instructions (numba's decorator, with a type)."""
    made: Callable[..., Any] = numba.extending.intrinsic(write)
    return made


class _Code:
    """Writes loads, stores and sums of tiles of one width."""

    def __init__(self, builder: Any, width: int) -> None:
        self.builder, self.width = builder, width
        self.type = ir.VectorType(_DOUBLE, width) if width > 1 else _DOUBLE
        suffix = f"v{width}f64" if width > 1 else "f64"
        kind = ir.FunctionType(self.type, [self.type] * 3)
        self._fma = cgutils.get_or_insert_function(builder.module, kind, f"llvm.fma.{suffix}")

    def at(self, address: Any, n_doubles: int) -> Any:
        return self.builder.add(address, ir.Constant(_INT, n_doubles * _BYTES))

    def load(self, address: Any) -> Any:
        value = self.builder.load(self.builder.inttoptr(address, self.type.as_pointer()))
        value.align = _BYTES
        return value

    def store(self, value: Any, address: Any) -> None:
        self.builder.store(value, self.builder.inttoptr(address, self.type.as_pointer())).align = _BYTES

    def scalar(self, address: Any) -> Any:
        """Load one number into every lane."""
        return self.spread(self.builder.load(self.builder.inttoptr(address, _DOUBLE.as_pointer())))

    def spread(self, value: Any) -> Any:
        """Return `value` in every lane."""
        if self.width == 1:
            return value
        none = ir.Constant(self.type, ir.Undefined)
        first = self.builder.insert_element(none, value, ir.Constant(ir.IntType(32), 0))
        lanes = ir.Constant(ir.VectorType(ir.IntType(32), self.width), [0] * self.width)
        return self.builder.shuffle_vector(first, none, lanes)

    def fma(self, one: Any, two: Any, three: Any) -> Any:
        return self.builder.call(self._fma, [one, two, three])

    def zero(self) -> Any:
        return ir.Constant(self.type, [0.0] * self.width if self.width > 1 else 0.0)


class _Loop:
    """A loop of `count` passes, at least one, whose variables go from pass to pass."""

    def __init__(self, builder: Any, count: Any) -> None:
        self.builder, self._count = builder, count
        self._before = builder.block
        self._body = builder.append_basic_block("body")
        builder.branch(self._body)
        builder.position_at_end(self._body)
        self._variables: list[tuple[Any, Any]] = []
        self._index = self.variable(ir.Constant(_INT, 0))

    def variable(self, first: Any) -> Any:
        phi = self.builder.phi(first.type)
        phi.add_incoming(first, self._before)
        return phi

    def end(self, updates: list[tuple[Any, Any]]) -> None:
        following = self.builder.add(self._index, ir.Constant(_INT, 1))
        for phi, value in [*updates, (self._index, following)]:
            phi.add_incoming(value, self._body)
        after = self.builder.append_basic_block("after")
        self.builder.cbranch(self.builder.icmp_signed("<", following, self._count), self._body, after)
        self.builder.position_at_end(after)


def cascade(n_sections: int, width: int, is_unit: bool) -> Callable[..., None]:
    """Return the loop that filters one tile by `n_sections` second-order sections, transposed direct form II.

    Parameters
    ----------
    n_sections : int
        Number of sections; 0 copies.
    width : int
        Channels of the tile.
    is_unit : bool
        Whether the sections have b0 = b2 = 1 and a gain stands before them: 3 products for each instead of 5.

    Returns
    -------
    callable
        Takes, all as 64-bit integers: address of the first sample and bytes from row to row, of the input and of the
        output (which may be the same); number of rows, at least 1; address of the coefficients (gain and b1, -a1, -a2
        of each section, or b0, b1, b2, -a1, -a2 of each), address of the states and bytes from one to the next; address
        of the sums, one vector of `LANES` for each row, to which the output is added.

    References
    ----------
    .. [1] A. Oppenheim, R. Schafer. Discrete-Time Signal Processing, 3rd ed., sec. 6.3.4, 2010.
    """

    @intrinsic
    def tile(
        _: Any,
        x: Any,
        x_row: Any,
        y: Any,
        y_row: Any,
        n_rows: Any,
        coefficients: Any,
        states: Any,
        state_step: Any,
        sums: Any,
    ) -> Any:
        def codegen(_context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
            x, x_row, y, y_row, n_rows, coefficients, states, state_step, sums = arguments
            code = _Code(builder, width)
            words = _words(n_sections, is_unit)
            c = [code.scalar(code.at(coefficients, k)) for k in range(words)]
            step = [builder.mul(state_step, ir.Constant(_INT, k)) for k in range(2 * n_sections)]
            places = [builder.add(states, k) for k in step]
            first = [code.load(place) for place in places]
            loop = _Loop(builder, n_rows)
            at_x, at_y, at_sum = (loop.variable(address) for address in (x, y, sums))
            z = [loop.variable(state) for state in first]
            value = code.load(at_x)
            after = []
            if is_unit and n_sections:
                value = builder.fmul(c[0], value)
            for s in range(n_sections):
                if is_unit:
                    b1, less_a1, less_a2 = c[1 + 3 * s : 4 + 3 * s]
                    out, old = builder.fadd(value, z[2 * s]), value
                else:
                    b0, b1, b2, less_a1, less_a2 = c[5 * s : 5 * s + 5]
                    out, old = code.fma(b0, value, z[2 * s]), builder.fmul(b2, value)
                after.append(code.fma(less_a1, out, code.fma(b1, value, z[2 * s + 1])))
                after.append(code.fma(less_a2, out, old))
                value = out
            code.store(value, at_y)
            _add_lanes(builder, value, width, at_sum)
            moved = [
                (at_x, builder.add(at_x, x_row)),
                (at_y, builder.add(at_y, y_row)),
                (at_sum, code.at(at_sum, LANES)),
            ]
            loop.end([*moved, *zip(z, after, strict=True)])
            for place, state in zip(places, after, strict=True):
                code.store(state, place)
            return _context.get_dummy_value()

        return types.void(*[types.int64] * 9), codegen

    return tile


def _add_lanes(builder: Any, value: Any, width: int, address: Any) -> None:
    """Add a tile to the sums at `address`, `LANES` neighbouring channels at a time."""
    code = _Code(builder, min(width, LANES))
    total = code.load(address)
    for begin in range(0, width, LANES):
        total = builder.fadd(total, _part(builder, value, begin, LANES) if width > LANES else value)
    code.store(total, address)


def _part(builder: Any, value: Any, begin: int, width: int) -> Any:
    """Return the lanes of `value` from `begin` on."""
    lanes = ir.Constant(ir.VectorType(ir.IntType(32), width), list(range(begin, begin + width)))
    return builder.shuffle_vector(value, ir.Constant(value.type, ir.Undefined), lanes)


def _words(n_sections: int, is_unit: bool) -> int:
    if n_sections == 0:
        return 0
    return 1 + 3 * n_sections if is_unit else 5 * n_sections


def product(width: int) -> Callable[..., None]:
    """Return the loop that writes one tile of ``row @ weights`` for one row.

    Returns
    -------
    callable
        Takes, all as 64-bit integers: address of the row, number of inputs (at least 1), address of the first weight
        of the tile and bytes from one input's weights to the next, address of the first output.
    """

    @intrinsic
    def tile(_: Any, x: Any, n_inputs: Any, weights: Any, weight_row: Any, y: Any) -> Any:
        def codegen(_context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
            x, n_inputs, weights, weight_row, y = arguments
            code = _Code(builder, width)
            loop = _Loop(builder, n_inputs)
            at_x, at_weight, total = loop.variable(x), loop.variable(weights), loop.variable(code.zero())
            after = code.fma(code.scalar(at_x), code.load(at_weight), total)
            loop.end([(at_x, code.at(at_x, 1)), (at_weight, builder.add(at_weight, weight_row)), (total, after)])
            code.store(after, y)
            return _context.get_dummy_value()

        return types.void(*[types.int64] * 5), codegen

    return tile


@intrinsic
def read(_: Any, address: Any) -> Any:
    """Return the double at `address`."""

    def codegen(_context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        return builder.load(builder.inttoptr(arguments[0], _DOUBLE.as_pointer()))

    return types.float64(types.int64), codegen


@intrinsic
def write(_: Any, address: Any, value: Any) -> Any:
    """Write `value` to `address`."""

    def codegen(_context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        builder.store(arguments[1], builder.inttoptr(arguments[0], _DOUBLE.as_pointer()))
        return _context.get_dummy_value()

    return types.void(types.int64, types.float64), codegen


def subtraction(width: int) -> Callable[..., None]:
    """Return the loop that subtracts one number from tiles of a row, in place.

    Returns
    -------
    callable
        Takes address of the first sample and number of tiles (at least 1) as 64-bit integers, and the number.
    """

    @intrinsic
    def tiles(_: Any, y: Any, n_tiles: Any, level: Any) -> Any:
        def codegen(_context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
            y, n_tiles, level = arguments
            code = _Code(builder, width)
            level = code.spread(level)
            loop = _Loop(builder, n_tiles)
            at = loop.variable(y)
            code.store(builder.fsub(code.load(at), level), at)
            loop.end([(at, code.at(at, width))])
            return _context.get_dummy_value()

        return types.void(types.int64, types.int64, types.float64), codegen

    return tiles


def copy_and_sum(width: int) -> Callable[..., None]:
    """Return the loop that copies tiles of a row and adds them to the sums of the row.

    Returns
    -------
    callable
        Takes, all as 64-bit integers: addresses of the first sample of input and output, number of tiles (at least 1),
        address of the sums (`LANES` of them; one, if the tile is one channel).
    """

    @intrinsic
    def tiles(_: Any, x: Any, y: Any, n_tiles: Any, sums: Any) -> Any:
        def codegen(_context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
            x, y, n_tiles, sums = arguments
            code = _Code(builder, width)
            first = code.load(sums)
            loop = _Loop(builder, n_tiles)
            at_x, at_y, total = loop.variable(x), loop.variable(y), loop.variable(first)
            value = code.load(at_x)
            code.store(value, at_y)
            after = builder.fadd(total, value)
            loop.end([(at_x, code.at(at_x, width)), (at_y, code.at(at_y, width)), (total, after)])
            code.store(after, sums)
            return _context.get_dummy_value()

        return types.void(*[types.int64] * 4), codegen

    return tiles


@intrinsic
def has_strange(_: Any, x: Any, n_tiles: Any) -> Any:
    """Return True if one of `n_tiles` (at least 1) times `LANES` doubles is unknown: NaN, or not below `LARGEST`."""

    def codegen(_context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        # As whole numbers without their signs doubles keep their order, with infinity and NaN above all others.
        lanes = ir.VectorType(_INT, LANES)
        limit = int(np.float64(LARGEST).view(np.int64))
        loop = _Loop(builder, arguments[1])
        at, found = (
            loop.variable(arguments[0]),
            loop.variable(ir.Constant(ir.VectorType(ir.IntType(1), LANES), [0] * LANES)),
        )
        value = builder.load(builder.inttoptr(at, lanes.as_pointer()))
        value.align = _BYTES
        size = builder.and_(value, ir.Constant(lanes, [2**63 - 1] * LANES))
        after = builder.or_(found, builder.icmp_unsigned(">=", size, ir.Constant(lanes, [limit] * LANES)))
        loop.end([(at, builder.add(at, ir.Constant(_INT, _BYTES * LANES))), (found, after)])
        return builder.icmp_unsigned("!=", builder.bitcast(after, ir.IntType(LANES)), ir.Constant(ir.IntType(LANES), 0))

    return types.boolean(types.int64, types.int64), codegen


@intrinsic
def levels(_: Any, sums: Any, n_rows: Any, n: Any) -> Any:
    """Turn the sums of the rows, `LANES` for each, into means over `n`, one for each row, from address `sums` on."""

    def codegen(_context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        sums, n_rows, n = arguments
        code = _Code(builder, LANES)
        loop = _Loop(builder, n_rows)
        source, target = loop.variable(sums), loop.variable(sums)
        total = code.load(source)
        for half in (4, 2, 1):
            total = builder.fadd(_part(builder, total, 0, half), _part(builder, total, half, half))
        total = builder.extract_element(total, ir.Constant(ir.IntType(32), 0))
        mean = builder.fdiv(total, builder.sitofp(n, _DOUBLE))
        builder.store(mean, builder.inttoptr(target, _DOUBLE.as_pointer()))
        loop.end([(source, code.at(source, LANES)), (target, code.at(target, 1))])
        return _context.get_dummy_value()

    return types.void(types.int64, types.int64, types.int64), codegen


@intrinsic
def clear(_: Any, sums: Any, n_rows: Any) -> Any:
    """Write zeros to `n_rows` (at least 1) vectors of `LANES` from address `sums` on."""

    def codegen(_context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        code = _Code(builder, LANES)
        loop = _Loop(builder, arguments[1])
        at = loop.variable(arguments[0])
        code.store(code.zero(), at)
        loop.end([(at, code.at(at, LANES))])
        return _context.get_dummy_value()

    return types.void(types.int64, types.int64), codegen
