"""A ring of samples: the newest of a stream, found by their numbers."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


class Ring:
    """Keep the newest samples of a stream and their times.

    Parameters
    ----------
    size : int
        Samples that are kept.
    n_channels : int
        Values of each sample.

    Notes
    -----
    Sample number k lies in row ``k % size``, so nothing is ever moved: a chunk costs the same in a ring of 1 s and
    of 60 s. All memory is taken, and touched, at once. Which rows hold what was written is the caller's to know.
    """

    def __init__(self, size: int, n_channels: int) -> None:
        self.size = size
        # Filled, not only reserved: the system hands out a page when it is first written to, which takes longer.
        self._data = np.full((size, n_channels), np.nan)
        self._times = np.full(size, np.nan)

    def write(self, start: int, data: NDArray[np.generic], times: NDArray[np.float64]) -> None:
        """Keep `data`, shape (n_samples, n_channels), at most `size` samples, the first of which is number `start`."""
        n, row = len(data), start % self.size
        fits = min(n, self.size - row)
        self._data[row : row + fits] = data[:fits]
        self._times[row : row + fits] = times[:fits]
        if fits < n:
            self._data[: n - fits] = data[fits:]
            self._times[: n - fits] = times[fits:]

    def read(self, start: int, n: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return copies of the `n` samples from number `start` on, shape (n, n_channels), and of their times, s."""
        row = start % self.size
        fits = min(n, self.size - row)
        if fits == n:
            return self._data[row : row + n].copy(), self._times[row : row + n].copy()
        data, times = np.empty((n, self._data.shape[1])), np.empty(n)
        data[:fits], times[:fits] = self._data[row:], self._times[row:]
        data[fits:], times[fits:] = self._data[: n - fits], self._times[: n - fits]
        return data, times
