"""The contract of `Block`, as a checker: the law of blocks, gaps, NaN, reset, changed streams."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from bci.errors import BciError
from bci.ports import Block
from bci.stream import Chunk, Event, Flag, StreamInfo
from bci.testing.contract import require

_N = 3000


def check_block(make_block: Callable[[], Block], info: StreamInfo, seed: int = 0) -> None:
    """Check that a block obeys its contract.

    Parameters
    ----------
    make_block : callable
        Returns a new block each time.
    info : StreamInfo
        A stream it should accept.
    seed : int, default=0
        Seed of data and cuttings.

    Raises
    ------
    ContractError
        Naming the first rule that is broken.
    """
    rng = np.random.default_rng(seed)
    data = 20 * rng.standard_normal((_N, info.n_channels)) + 100.0
    events = [Event(int(k), k / info.sfreq, f"e{k}", "check") for k in (0, 1, 6, 7, 999, 1000, 2990)]
    whole = _Stream(make_block(), info, data, events).run([])
    require(bool(np.isfinite(whole.data).all()), "finite samples give finite output", "NaN")
    for name, cuts in _cuttings(rng):
        require_same(whole, _Stream(make_block(), info, data, events).run(cuts), f"cut {name}")
    block = make_block()
    _Stream(block, info, data, events).run([])
    block.reset()
    again = _Stream(block, info, data, events, prepared=True).run([])
    require_same(whole, again, "after reset()")
    _check_gap(make_block, info, data)
    for column in sorted({0, info.n_channels - 1}):
        _check_nan(make_block, info, data, whole, column)
    _check_changed(make_block, info)


def require_same(one: _Stream, two: _Stream, what: str) -> None:
    """Require the same output, to 1e-9 relative, and the same events."""
    scale = max(float(np.nanmax(np.abs(one.data), initial=0.0)), 1e-12)
    same = one.data.shape == two.data.shape and np.allclose(
        one.data, two.data, rtol=0, atol=1e-9 * scale, equal_nan=True
    )
    require(
        same, f"however the stream is cut, the joined output is the same ({what})", (one.data.shape, two.data.shape)
    )
    require(one.starts == two.starts, f"sample numbers do not depend on cutting ({what})", (one.starts, two.starts))
    codes = [(e.code, e.sample) for e in one.events], [(e.code, e.sample) for e in two.events]
    require(codes[0] == codes[1], f"every event comes out once, at the same sample ({what})", codes)


class _Stream:
    """Feed a block and join what comes out."""

    def __init__(
        self, block: Block, info: StreamInfo, data: NDArray[np.float64], events: Iterable[Event] = (),
        prepared: bool = False,
    ) -> None:  # fmt: skip
        self.block, self.info, self._data, self._in_events = block, info, data, list(events)
        if not prepared:
            self.out_info = block.prepare(info)

    def run(self, cuts: Iterable[int], missing: range = range(0), shift: int = 0) -> _Stream:
        """Feed all but the `missing` samples; those after them have numbers higher by `shift`."""
        parts: list[NDArray[np.float64]] = []
        numbers: list[int] = []
        self.events: list[Event] = []
        edges = sorted({0, len(self._data), missing.start, missing.stop, *cuts})
        bounds = [(a, b) for a, b in zip(edges[:-1], edges[1:], strict=True) if a not in missing]
        # A chunk without samples before every fifth and at the end.
        with_empty = [c for k, (a, b) in enumerate(bounds) for c in ([(a, a), (a, b)] if k % 5 == 4 else [(a, b)])]
        for a, b in [*with_empty, (bounds[-1][1], bounds[-1][1])]:
            rows = self._data[a:b].copy()
            before = rows.copy()
            flags = Flag.GAP if missing and a == missing.stop and b > a else Flag.OK
            inside = tuple(e for e in self._in_events if a <= e.sample < b)
            start = a + shift if missing and a >= missing.stop else a
            times = np.arange(start, start + b - a) / self.info.sfreq
            out = self.block.process(Chunk(rows, times, start, self.info, inside, flags))
            require(np.array_equal(rows, before, equal_nan=True), "process() leaves its input as it is")
            require(out.data.dtype == np.float64, "samples come out in double precision", out.data.dtype)
            require(all(e.sample < out.stop for e in out.events), "no event lies beyond its chunk", out.events)
            parts.append(np.asarray(out.data))
            self.events += out.events
            numbers += list(range(out.start, out.stop))
        self.data = np.concatenate(parts)
        self.numbers = np.array(numbers)
        self.starts = (numbers[0], numbers[-1]) if numbers else (0, 0)
        require(bool((np.diff(self.numbers) > 0).all()), "sample numbers of the output rise", self.starts)
        return self


def _cuttings(rng: np.random.Generator) -> list[tuple[str, list[int]]]:
    fixed = [(f"into chunks of {n}", list(range(n, _N, n))) for n in (1, 7, 32, 1000)]
    chance = [(f"at random ({k})", sorted(int(c) for c in rng.integers(0, _N, 40))) for k in range(3)]
    return fixed + chance


def _check_gap(make_block: Callable[[], Block], info: StreamInfo, data: NDArray[np.float64]) -> None:
    missing = range(1000, 1500)
    level = data.copy()
    level[:1000] += 500.0  # what comes after a gap has nothing to do with what came before
    shift = max(0, math.ceil(2 * info.sfreq) - len(missing))  # a block may go across a shorter one
    one = _Stream(make_block(), info, level).run([], missing, shift)
    require_same(one, _Stream(make_block(), info, level).run(range(7, _N, 7), missing, shift), "across a gap")
    ratio = info.sfreq / one.out_info.sfreq
    after = one.data[one.numbers >= (1500 + shift) / ratio]
    usual = _Stream(make_block(), info, data).run([]).data
    limit = 3 * max(float(np.abs(usual).max()), 1e-12)
    require(
        bool(np.abs(after).max() <= limit),
        "after a gap of two seconds or more a block settles without a transient",
        float(np.abs(after).max()),
    )


def _check_nan(
    make_block: Callable[[], Block], info: StreamInfo, data: NDArray[np.float64], whole: _Stream, column: int
) -> None:
    broken = data.copy()
    broken[1000:1010, column] = np.nan
    got = _Stream(make_block(), info, broken).run(range(7, _N, 7))
    second = got.out_info.sfreq
    later = got.numbers > (1010 * got.out_info.sfreq / info.sfreq) + second
    require(bool(np.isfinite(got.data[later]).all()), "a NaN is gone within a second", "NaN")
    names = got.out_info.ch_names
    others = [k for k, n in enumerate(names) if n in info.ch_names and n != info.ch_names[column]]
    require(bool(np.isfinite(got.data[:, others]).all()), "a NaN stays in its channel", "NaN in another channel")
    require(whole.data.shape == got.data.shape, "a NaN does not change what comes out when", got.data.shape)


def _check_changed(make_block: Callable[[], Block], info: StreamInfo) -> None:
    block = make_block()
    block.prepare(info)
    other = replace(info, sfreq=info.sfreq * 2)
    try:
        block.process(Chunk(np.zeros((5, info.n_channels)), np.zeros(5), 0, other))
    except BciError:
        return
    require(False, "a changed stream demands a new prepare()", "it was processed")
