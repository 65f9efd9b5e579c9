"""The rules that every stream of chunks obeys, each a function of what was read.

`bci.testing.check_device` and the conformance kit (`bci.acquisition.conformance`) judge by these same functions.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bci.errors import BciError
from bci.stream import Chunk, Event, Flag, StreamInfo
from bci.testing.contract import ContractError, require


def fails(what: str, call: Callable[[], object]) -> Exception:
    """Require that `call` raises something; return it."""
    try:
        call()
    except Exception as error:  # noqa: BLE001 - the checker judges what a stranger's device raises
        return error
    raise ContractError(f"the contract says: {what} raises DeviceError; got 'no error'")


def refuses(what: str, call: Callable[[], object]) -> None:
    """Require that `call` raises an error of this library's family."""
    error = fails(what, call)
    require(isinstance(error, BciError), f"{what} raises DeviceError", error)


def never_raises(what: str, call: Callable[[], object]) -> None:
    """Require that `call` returns."""
    try:
        call()
    except Exception as error:  # noqa: BLE001 - the checker judges what a stranger's device raises
        require(False, f"{what} never raises", error)


def carries_info(chunks: Sequence[Any], info: StreamInfo) -> None:
    """Require chunks that say of which stream they are."""
    for chunk in chunks:
        require(isinstance(chunk, Chunk), "read() returns a Chunk", chunk)
        require(chunk.info == info, "a chunk carries the StreamInfo of open()", chunk.info)


def data_are_numbers(chunks: Sequence[Chunk]) -> None:
    """Require one numeric type of data, and times in double precision."""
    kinds = {chunk.data.dtype for chunk in chunks if chunk.n_samples}
    for kind in kinds:
        require(kind.kind in "fiu", "data are numbers", kind)
    require(len(kinds) <= 1, "all chunks of a stream have one dtype", sorted(map(str, kinds)))
    for chunk in chunks:
        require(chunk.times.dtype == np.float64, "times are float64", chunk.times.dtype)


def times_rise(chunks: Sequence[Chunk]) -> None:
    """Require finite times that rise from sample to sample, also from chunk to chunk."""
    times = joined_times(chunks)
    require(bool(np.isfinite(times).all()), "times are finite", "not finite")
    steps = np.diff(times)
    require(bool((steps > 0).all()), "times rise from sample to sample", float(steps.min(initial=1.0)))


def numbers_do_not_step_back(chunks: Sequence[Chunk]) -> None:
    """Require that no number is given twice."""
    for jump, _ in _jumps(chunks):
        require(jump >= 0, "sample numbers never step back", jump)


def jumps_are_flagged(chunks: Sequence[Chunk]) -> None:
    """Require `Flag.GAP` where the number jumps."""
    for jump, chunk in _jumps(chunks):
        require(jump <= 0 or Flag.GAP in chunk.flags, "a jump of the sample number is flagged GAP", jump)


def events_are_not_early(chunks: Sequence[Chunk]) -> None:
    """Require that no event comes before its sample."""
    for chunk in chunks:
        require(all(e.sample < chunk.stop for e in chunk.events), "an event lies at or before its chunk", chunk.events)


def never_changes(chunks: Sequence[Chunk], copies: Sequence[NDArray[Any]]) -> None:
    """Require that chunks still hold what was copied from them when they were read."""
    for chunk, copy in zip(chunks, copies, strict=False):
        same = np.array_equal(chunk.data, copy, equal_nan=copy.dtype.kind == "f")
        require(same, "a chunk never changes once it was read", f"the chunk of sample {chunk.start} changed")


def number_at(chunks: Sequence[Chunk], time_s: float) -> int | None:
    """Return the number of the first sample of `chunks` at or after `time_s`; None if they end before."""
    for chunk in chunks:
        if chunk.n_samples and chunk.times[-1] >= time_s:
            return chunk.start + int(np.searchsorted(chunk.times, time_s))
    return None


def found(chunks: Sequence[Chunk], code: str) -> list[Event]:
    """Return the events called `code`."""
    return [e for chunk in chunks for e in chunk.events if e.code == code]


def joined_times(chunks: Sequence[Chunk]) -> NDArray[np.float64]:
    """Return the times of all samples in a row."""
    return np.concatenate([np.empty(0), *(chunk.times for chunk in chunks)])


def joined_numbers(chunks: Sequence[Chunk]) -> NDArray[np.int64]:
    """Return the numbers of all samples in a row."""
    return np.concatenate([np.empty(0, np.int64), *(np.arange(c.start, c.stop) for c in chunks)])


def _jumps(chunks: Sequence[Chunk]) -> list[tuple[int, Chunk]]:
    full = [chunk for chunk in chunks if chunk.n_samples]
    return [(after.start - before.stop, after) for before, after in zip(full, full[1:], strict=False)]
