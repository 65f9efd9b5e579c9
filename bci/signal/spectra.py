"""Spectra of a window: tapered Fourier transforms, and what they have in a band."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from bci.errors import ConfigError
from bci.signal.stages import Array

Bands: TypeAlias = Sequence[Sequence[float]] | Mapping[str, Sequence[float]]
"""Edges of bands, Hz: a list of (low, high), or a name for each."""

_FEW = 64
"""Up to so many frequencies a matrix is faster than a fast Fourier transform."""
_LARGEST_TABLE = 500_000
"""Numbers; larger matrices do not stay in a cache of the processor."""


class Tapered:
    """Tapered Fourier transforms of the segments of a window, scaled to densities.

    The mean of ``abs(transform) ** 2`` over the estimates is the one-sided power density. The mean value of every
    segment is removed.

    Parameters
    ----------
    length : int
        Samples of the window.
    sfreq : float
        Rate of the samples, Hz.
    tapers : ndarray, shape (n_tapers, n_segment)
        Tapers of unit energy.
    hop : int
        Samples from one segment to the next; the last segment ends with the window, so that the newest sample counts.
    bands : sequence of (float, float)
        Edges of the bands of interest, Hz.

    Attributes
    ----------
    frequencies : ndarray, shape (n_frequencies,)
        Those that the bands need, Hz.
    weights : ndarray, shape (n_bands, n_frequencies)
        What integrates a density over each band, Hz.
    n_estimates : int
        Number of segments times number of tapers.
    """

    def __init__(
        self, length: int, sfreq: float, tapers: Array, hop: int, bands: Sequence[tuple[float, float]]
    ) -> None:  # fmt: skip
        from scipy import fft

        self._rfft, self._n = fft.rfft, tapers.shape[1]
        self._n_fft = int(fft.next_fast_len(self._n, real=True))
        frequencies = np.arange(self._n_fft // 2 + 1, dtype=np.float64) * (sfreq / self._n_fft)
        weights = band_weights(frequencies, bands)
        self._rows = used(weights)
        self.frequencies, self.weights = frequencies[self._rows], weights[:, self._rows]
        self._starts = range((length - self._n) % hop, length - self._n + 1, hop)
        self.n_estimates = len(self._starts) * len(tapers)
        ends = (frequencies == 0) | (2 * np.arange(len(frequencies)) == self._n_fft)
        self._scale = np.sqrt(np.where(ends, 1.0, 2.0) / sfreq)[self._rows, None]
        self._tapers = tapers[:, :, None]
        n_wanted = len(self.frequencies)
        self._tables: list[Array] = []
        if n_wanted <= _FEW and len(tapers) * 2 * n_wanted * self._n <= _LARGEST_TABLE:
            self._tables = [self._table(taper, sfreq) for taper in tapers]

    def transform(self, window: Array) -> NDArray[np.complex128]:
        """Return the transforms, shape (n_estimates, n_frequencies, n_channels)."""
        n_wanted = len(self.frequencies)
        found = np.empty((self.n_estimates, n_wanted, window.shape[1]), np.complex128)
        for s, start in enumerate(self._starts):
            segment = window[start : start + self._n]
            for k, taper in enumerate(self._tapers):
                out = found[s * len(self._tapers) + k]
                if self._tables:
                    both = self._tables[k] @ segment
                    out.real, out.imag = both[:n_wanted], both[n_wanted:]
                else:
                    tapered = taper * (segment - segment.mean(axis=0))
                    out[:] = self._rfft(tapered, self._n_fft, axis=0)[self._rows] * self._scale
        return found

    def density(self, window: Array) -> Array:
        """Return the one-sided power density, shape (n_frequencies, n_channels), unit of the channel squared per Hz."""
        found = self.transform(window)
        return (found.real**2 + found.imag**2).sum(axis=0) / self.n_estimates

    def _table(self, taper: Array, sfreq: float) -> Array:
        """Return the matrix that does it all for few frequencies, which costs less than a fast transform."""
        phase = 2 * np.pi / sfreq * np.outer(self.frequencies, np.arange(self._n))
        table = np.vstack([self._scale * np.cos(phase), -self._scale * np.sin(phase)]) * taper
        return table - table.mean(axis=1, keepdims=True)  # takes the mean of the segment out


def welch(length: int, sfreq: float, segment: int, bands: Sequence[tuple[float, float]]) -> Tapered:
    """Return Welch's method: Hann segments that overlap by half, each without its mean."""
    taper = hann(segment)
    return Tapered(length, sfreq, (taper / np.linalg.norm(taper))[None], segment - segment // 2, bands)


def multitaper(length: int, sfreq: float, bandwidth_hz: float, bands: Sequence[tuple[float, float]]) -> Tapered:
    """Return Thomson's method: the discrete prolate spheroidal tapers of a window that keep to `bandwidth_hz`."""
    from scipy.signal.windows import dpss

    half = min(max(length / sfreq * bandwidth_hz / 2, 1.0), (length - 1) / 2)
    tapers: Array = dpss(length, half, max(1, int(2 * half - 1)))
    return Tapered(length, sfreq, tapers, 1, bands)


def hann(length: int) -> Array:
    """Return the periodic Hann window."""
    return 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(length) / length)


def band_weights(frequencies: Array, bands: Sequence[tuple[float, float]]) -> Array:
    """Return weights, shape (n_bands, n_frequencies), that integrate a density on an even grid over each band.

    Every frequency stands for the stretch half way to its neighbours, so that neighbouring bands share no power.
    """
    half = (frequencies[1] - frequencies[0]) / 2
    low, high = frequencies - half, frequencies + half
    edges = np.array(bands)[:, :, None]
    return np.clip(np.minimum(high, edges[:, 1]) - np.maximum(low, edges[:, 0]), 0.0, None)


def used(weights: Array) -> slice:
    """Return the frequencies that some band needs."""
    columns = np.flatnonzero(weights.any(axis=0))
    return slice(int(columns[0]), int(columns[-1]) + 1)


def named_bands(bands: Bands) -> dict[str, tuple[float, float]]:
    """Return name -> (low, high) in Hz; a band without a name is called as in "8-12 Hz".

    Raises
    ------
    ConfigError
        If there are none, or one is no pair of rising frequencies above 0.
    """
    pairs: list[tuple[Any, Sequence[float]]]
    pairs = list(bands.items()) if isinstance(bands, Mapping) else [(None, b) for b in bands]
    named: dict[str, tuple[float, float]] = {}
    for name, band in pairs:
        if len(band) != 2 or not 0 < band[0] < band[1] < np.inf:
            raise ConfigError(f"a band is a pair of rising frequencies above 0 Hz, got {band!r}; as in (8, 12)")
        named[str(name) if name else f"{band[0]:g}-{band[1]:g} Hz"] = (float(band[0]), float(band[1]))
    if not named:
        raise ConfigError("expected at least one band, got none; as in [(8, 12), (13, 30)]")
    return named


def check_bands(bands: Mapping[str, tuple[float, float]], sfreq: float, seconds: float = np.inf) -> None:
    """Raise `ConfigError` unless every band lies below half of `sfreq` and is wide enough for `seconds` of signal."""
    for name, (low, high) in bands.items():
        if high > sfreq / 2:
            raise ConfigError(
                f"a band must end at half the sampling rate ({sfreq / 2:g} Hz) or below, got {name} to {high:g} Hz; "
                "move the band or raise the device's sampling rate"
            )
        if (high - low) * seconds < 1:
            raise ConfigError(
                f"a window of {seconds:g} s cannot tell frequencies closer than {1 / seconds:g} Hz, got {name} of "
                f"{low:g} to {high:g} Hz; lengthen the window or widen the band"
            )
