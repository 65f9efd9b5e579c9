"""One stream of a recording as an array, with what is missing in it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bci.acquisition.replay import Replay
from bci.errors import DataError
from bci.stream import Chunk, Event, StreamInfo

GAP, UNKNOWN, PADDING = "BAD_gap", "BAD_unknown", "BAD_padding"
"""What annotations call lost samples, unknown ones, and what a format adds at the end."""


@dataclass(frozen=True, slots=True)
class Signal:
    """Samples of a whole recording.

    Parameters
    ----------
    data : ndarray of float64, shape (n_samples, n_channels)
        In the units of the channels; NaN where samples were lost or are unknown.
    info : StreamInfo
        What they are.
    events : tuple of Event
        Their `sample` is a row of `data`.
    gaps : tuple of (int, int)
        First row and number of rows of each loss.
    """

    data: NDArray[np.float64]
    info: StreamInfo
    events: tuple[Event, ...] = ()
    gaps: tuple[tuple[int, int], ...] = ()

    @property
    def is_known(self) -> NDArray[np.bool_]:
        """Which values are numbers, shape (n_samples, n_channels)."""
        return np.isfinite(self.data)

    def annotations(self) -> list[tuple[float, float, str]]:
        """Return (onset in s, duration in s, text) of events, losses and unknown values."""
        sfreq = self.info.sfreq
        found = [(event.sample / sfreq, 0.0, event.code) for event in self.events]
        found += [(first / sfreq, n / sfreq, GAP) for first, n in self.gaps]
        found += [(first / sfreq, n / sfreq, UNKNOWN) for first, n in self._unknown()]
        return sorted(found)

    def _unknown(self) -> list[tuple[int, int]]:
        bad: NDArray[np.bool_] = np.any(~self.is_known, axis=1)
        for first, n in self.gaps:
            bad[first : first + n] = False
        edges = np.flatnonzero(np.diff(np.concatenate([[False], bad, [False]]).astype(np.int8)))
        return [(int(a), int(b - a)) for a, b in zip(edges[::2], edges[1::2], strict=True)]


def read_signal(
    path: str | Path, stream: str | None = None, progress: Callable[[Chunk], object] = lambda _chunk: None
) -> Signal:
    """Read one stream of a recording.

    Parameters
    ----------
    path : str or Path
        Any recording that can be replayed.
    stream : str, optional
        Name of the stream in an XDF file; the first with EEG by default.
    progress : callable, optional
        Told each chunk.

    Raises
    ------
    DeviceNotFound, FormatError
        As `bci.acquisition.replay.Replay` does.
    DataError
        If there are no samples.
    """
    chunks = []
    with Replay(path, stream=stream, chunk_s=1.0) as device:
        while not device.at_end:
            chunk = device.read(0.0).physical()
            chunks.append(chunk)
            progress(chunk)
    filled = [chunk for chunk in chunks if chunk.n_samples]
    if not filled:
        raise DataError(f"an export needs samples, {path} has none; choose another recording or stream")
    begin = filled[0].start
    data = np.full((filled[-1].stop - begin, filled[0].info.n_channels), np.nan)
    gaps, at = [], begin
    for chunk in filled:
        if chunk.start > at:
            gaps.append((at - begin, chunk.start - at))
        data[chunk.start - begin : chunk.stop - begin] = chunk.data
        at = chunk.stop
    events = tuple(replace(event, sample=event.sample - begin) for chunk in chunks for event in chunk.events)
    return Signal(data, filled[0].info, events, tuple(gaps))
