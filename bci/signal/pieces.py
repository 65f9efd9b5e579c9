"""Cut what was recorded into chunks, as a device would have delivered it."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from bci.errors import DataError
from bci.ports import Block
from bci.stream import Chunk, Event, Flag, StreamInfo

B = TypeVar("B", bound=Block)

ROWS = 4096
"""Samples in a piece."""


def pieces(
    data: Any,
    info: StreamInfo | None = None,
    events: Sequence[Event] = (),
    progress: Callable[[float], None] = lambda _: None,
) -> tuple[StreamInfo, Iterator[Chunk]]:
    """Return what a recording is, and its samples as chunks.

    Parameters
    ----------
    data : array_like, shape (n_samples, n_channels), Chunk or mne.io.BaseRaw
        The recording.
    info : StreamInfo, optional
        What an array is.
    events : sequence of Event
        Of an array.
    progress : callable
        Told how much was taken, 0 to 1.

    Raises
    ------
    DataError
        If an array comes without `info` or does not fit it, or what knows itself comes with another description.
    """
    if is_raw(data):
        if info is not None or events:
            raise DataError(
                "expected a recording of MNE alone, got a StreamInfo or events beside it; "
                "leave them out: they are read from it"
            )
        from bci.interop import stream_raw

        return stream_raw(data, progress=progress)
    if isinstance(data, Chunk):
        if events:
            raise DataError("expected a chunk, which brings its events, got others beside it; put them into the chunk")
        whole = data if info is None else data.replace(info=info)
    else:
        whole = _as_chunk(np.asarray(data), info, events)
    return whole.info, _cut(whole, progress)


def fresh(block: B) -> B:
    """Return a copy of a block; what is compiled has no state and is shared, for copying it takes 0.1 s."""
    from bci.signal import kernels

    return copy.deepcopy(block, {id(made): made for made in vars(kernels).values() if callable(made)})


def is_raw(data: object) -> bool:
    """Return whether `data` is a recording of MNE; without importing it."""
    return all(hasattr(data, name) for name in ("get_channel_types", "annotations", "first_samp", "n_times"))


def _cut(whole: Chunk, progress: Callable[[float], None]) -> Iterator[Chunk]:
    for begin in range(0, max(whole.n_samples, 1), ROWS):
        rows = slice(begin, begin + ROWS)
        start, stop = whole.start + begin, min(whole.start + begin + ROWS, whole.stop)
        # An event from before the first sample came with it.
        inside = tuple(e for e in whole.events if (e.sample >= start or begin == 0) and e.sample < stop)
        flags = whole.flags if begin == 0 else Flag.OK
        yield Chunk(whole.data[rows], whole.times[rows], start, whole.info, inside, flags)
        progress((stop - whole.start) / max(whole.n_samples, 1))


def _as_chunk(data: NDArray[np.generic], info: StreamInfo | None, events: Sequence[Event]) -> Chunk:
    if info is None:
        raise DataError("an array needs its StreamInfo, got none; call run(data, info)")
    if data.ndim != 2 or data.shape[1] != info.n_channels:
        raise DataError(
            f"expected an array of shape (n_samples, {info.n_channels}), got {data.shape}; rows are samples"
        )
    outside = [e for e in events if not 0 <= e.sample < len(data)]
    if outside:
        raise DataError(
            f"expected events at samples 0 to {len(data) - 1}, got {outside[0].code!r} at {outside[0].sample}; "
            "count them from the first row"
        )
    return Chunk(data, np.arange(len(data)) / info.sfreq, 0, info, tuple(events))
