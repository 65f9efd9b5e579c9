"""The newest samples of a stream, contiguous by sample number: what is unknown is NaN."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray


class History:
    """The newest samples, addressed by their number in the stream.

    Parameters
    ----------
    n_channels : int
        Number of channels.
    capacity : int
        How many samples are kept at least, once so many came.

    Attributes
    ----------
    start : int
        Number of the oldest sample that is kept.

    Notes
    -----
    The buffer is twice as long as what is kept and moves to its front when it is full, so that
    any range is one view and a sample is copied once on average. Missing samples are rows of NaN.
    """

    def __init__(self, n_channels: int, capacity: int) -> None:
        self.capacity = max(1, capacity)
        self.start = 0
        self._rows: NDArray[np.float64] = np.empty((2 * self.capacity, n_channels))
        self._n = 0

    def append(self, start: int, data: NDArray[np.generic]) -> None:
        """Add samples from number `start` on; shape (n_samples, n_channels).

        Numbers that were skipped become NaN; a number that was there already begins anew.
        """
        if self._n == 0 or start < self.stop:
            self.start, self._n = start, 0
        skipped = start - self.stop
        if skipped >= self.capacity:  # nothing of before is left: no need to write NaN for hours
            self.start, self._n = start - self.capacity, 0
            skipped = self.capacity
        if skipped:
            self._take(skipped)[:] = np.nan
        for first in range(0, len(data), self.capacity):
            part = data[first : first + self.capacity]
            self._take(len(part))[:] = part

    def clear(self) -> None:
        """Forget all samples."""
        self.start, self._n = 0, 0

    def view(self, start: int, stop: int) -> tuple[int, NDArray[np.float64]]:
        """Return what is kept of the samples `start` to `stop`: the first number and a view of the rows."""
        first = min(max(start, self.start), self.stop)
        last = min(max(stop, first), self.stop)
        return first, self._rows[first - self.start : last - self.start]

    def runs(self, start: int, stop: int, gaps: list[tuple[int, int]]) -> Iterator[tuple[int, NDArray[np.float64]]]:
        """Yield what is kept of the samples `start` to `stop`, cut at `gaps` (first missing, first after)."""
        edge = start
        for first, after in [*sorted(gaps), (stop, stop)]:
            if after < start or first > stop:
                continue
            number, rows = self.view(edge, first)
            if len(rows):
                yield number, rows
            edge = max(edge, after)

    @property
    def stop(self) -> int:
        """Number of the sample after the newest."""
        return self.start + self._n

    def _take(self, n: int) -> NDArray[np.float64]:
        """Return the next `n` <= capacity rows, to be filled."""
        if self._n + n > len(self._rows):
            keep = self.capacity
            self._rows[:keep] = self._rows[self._n - keep : self._n]
            self.start += self._n - keep
            self._n = keep
        rows = self._rows[self._n : self._n + n]
        self._n += n
        return rows
