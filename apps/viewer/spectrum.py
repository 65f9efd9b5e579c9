"""The power spectrum of the newest seconds, kept up to date segment by segment."""

from __future__ import annotations

from collections import deque

import numpy as np
from numpy.typing import NDArray

from bci.apps.viewer.history import History


class Welch:
    """Power spectral density, averaged over overlapping Hann-windowed segments [1]_.

    Parameters
    ----------
    sfreq : float
        Sampling rate in Hz.
    segment_s : float, default=2
        Length of a segment, s; frequencies are ``1 / segment_s`` apart.
    n_average : int, default=7
        Segments that are averaged; with half overlap, 7 of 2 s are the newest 8 s.

    Notes
    -----
    Segments begin at multiples of half a segment, counted in samples of the stream, so the result
    does not depend on how the samples came in, and each sample costs two transforms, however often
    the spectrum is drawn. A segment with unknown samples does not count for that channel.

    References
    ----------
    .. [1] P. Welch. The use of fast Fourier transform for the estimation of power spectra. IEEE Trans Audio
       Electroacoust 15(2):70-73, 1967. doi:10.1109/TAU.1967.1161901
    """

    def __init__(self, sfreq: float, segment_s: float = 2.0, n_average: int = 7) -> None:
        self.sfreq, self.n_average = sfreq, n_average
        self.n_segment = max(8, 2 * round(segment_s * sfreq / 2))
        self.freqs_hz: NDArray[np.float64] = np.arange(self.n_segment // 2 + 1, dtype=np.float64) * (
            sfreq / self.n_segment
        )
        # Periodic Hann window: the one that belongs to a transform of the same length.
        self._taper = np.sin(np.pi * np.arange(self.n_segment) / self.n_segment) ** 2
        self._parts: deque[NDArray[np.float64]] = deque(maxlen=n_average)
        self._next = 0

    def update(self, history: History, limit: int = 1) -> bool:
        """Transform at most `limit` segments that are complete in `history`; return whether one was."""
        hop = self.n_segment // 2
        oldest = max(history.start, history.stop - self.n_segment - (self.n_average - 1) * hop)
        self._next = max(self._next, -(-oldest // hop) * hop)
        was_one = False
        while limit > 0 and self._next + self.n_segment <= history.stop:
            _, x = history.view(self._next, self._next + self.n_segment)
            self._parts.append(self._periodogram(x))
            self._next += hop
            limit, was_one = limit - 1, True
        return was_one

    def reset(self) -> None:
        """Forget all segments."""
        self._parts.clear()
        self._next = 0

    def density(self, most_hz: float = float("inf")) -> NDArray[np.float64]:
        """Return the density up to `most_hz`, shape (n_freqs, n_channels), unit squared per Hz; NaN: unknown."""
        n = int((self.freqs_hz <= most_hz).sum())
        if not self._parts:
            return np.empty((n, 0))
        parts = np.stack([part[:n] for part in self._parts])
        known = np.isfinite(parts)
        count = known.sum(axis=0)
        return np.where(known, parts, 0.0).sum(axis=0) / np.where(count, count, np.nan)

    def _periodogram(self, x: NDArray[np.float64]) -> NDArray[np.float64]:
        centred = (x - x.mean(axis=0)) * self._taper[:, None]
        power = np.abs(np.fft.rfft(centred.T, axis=1)) ** 2  # along memory: twice as fast
        power *= 2 / (self.sfreq * (self._taper**2).sum())
        power[:, [0, -1]] /= 2  # neither zero nor half the sampling rate has a twin at negative frequencies
        return power.T
