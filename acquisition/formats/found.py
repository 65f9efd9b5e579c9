"""What a reader of recordings is given, and what it gives back."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from numpy.typing import DTypeLike, NDArray

from bci.stream import Event, Flag, StreamInfo


@dataclass(frozen=True, slots=True)
class Settings:
    """What a caller says of a file.

    Parameters
    ----------
    stream : str, optional
        Name of the stream in an XDF file; the first with EEG by default.
    sfreq : float, optional
        Sampling rate of a CSV or NumPy file that does not say it, Hz.
    ch_names : tuple of str, optional
        Channel names of a NumPy file that does not say them; the columns to take of a CSV file.
    unit : str, optional
        Unit of the numbers of a CSV or NumPy file; µV by default.
    time_unit : {"s", "ms", "us", "ns"}, optional
        Unit of the times in a CSV or NumPy file, where the name of their column does not say it.
    salvage : bool, default=False
        Read what is whole of a damaged file, where the format lets one tell, instead of refusing it.
    """

    stream: str | None = None
    sfreq: float | None = None
    ch_names: tuple[str, ...] | None = None
    unit: str | None = None
    time_unit: str | None = None
    salvage: bool = False


@dataclass(frozen=True, slots=True)
class Cut:
    """Where a contiguous piece begins.

    Parameters
    ----------
    row : int
        Its first row in `Found.data`.
    offset : int
        Number of that sample since the stream began, lost samples counted.
    lost : int
        Samples missing just before.
    flags : Flag
        What is known of all its rows.
    cause : str
        Why samples are missing.
    """

    row: int
    offset: int
    lost: int = 0
    flags: Flag = Flag.OK
    cause: str = ""


@dataclass(frozen=True, slots=True, eq=False)
class Found:
    """A recording as it was read.

    Parameters
    ----------
    data : ndarray, shape (n_samples, n_channels)
        All samples there are, one piece after the other, in the units of `info`; made by `Room.array`.
    info : StreamInfo
        What they are. Nothing of it may say who was recorded; without a name, `load` gives it a neutral one.
    events : sequence of Event
        Their `sample` is a row of `data`, their `source` what in the file said so.
    cuts : sequence of Cut
        The contiguous pieces, by row; one by default.
    """

    data: NDArray[Any]
    info: StreamInfo
    events: Sequence[Event] = ()
    cuts: Sequence[Cut] = field(default_factory=lambda: [Cut(0, 0)])


class Room(Protocol):
    """Where a reader puts the samples, and whom it tells."""

    def array(self, shape: tuple[int, int], dtype: DTypeLike = np.float64) -> NDArray[Any]:
        """Return the array for all samples; asked for once."""
        ...

    def progress(self, done: float) -> None:
        """Say how much was read, 0 to 1."""
        ...

    def warn(self, text: str) -> None:
        """Say what a person should know of the file."""
        ...

    def library(self, name: str) -> None:
        """Import what this file needs; time and memory of that are not the file's."""
        ...


def pieces(numbers: NDArray[np.int64], cause: str = "missing in the recording") -> list[Cut]:
    """Return the contiguous pieces of samples with these numbers, shape (n_samples,); the first may be late."""
    edges = [0, *(np.flatnonzero(np.diff(numbers) != 1) + 1).tolist()]
    cuts = []
    expected = 0
    for row, end in zip(edges, [*edges[1:], len(numbers)], strict=True):
        offset = int(numbers[row])
        lost = offset - expected
        cuts.append(Cut(row, offset, lost, Flag.OK, cause if lost else ""))
        expected = offset + end - row
    return cuts


def copy_rows(target: NDArray[Any], n: int, block: Callable[[int, int], NDArray[Any]], room: Room) -> None:
    """Fill `target` with what `block(first, last)` gives, about 4 MB at a time, so that no second copy is held."""
    step = max(1, (1 << 22) // max(1, target.itemsize * target.shape[1]))
    for first in range(0, n, step):
        last = min(first + step, n)
        target[first:last] = block(first, last)
        room.progress(last / n)
