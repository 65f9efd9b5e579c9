"""How band power is estimated from a window; `bci.signal.bandpower.BandPower` chooses among them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from bci.signal.filters import Bandpass
from bci.signal.spectra import Tapered, band_weights, used
from bci.signal.stages import Array, Mask
from bci.stream import Chunk, StreamInfo

BandList = Sequence[tuple[float, float]]


class TaperedPower:
    """Power from tapered Fourier transforms: Welch's and Thomson's methods."""

    def __init__(self, spectra: Tapered) -> None:
        self._spectra = spectra

    def power(self, window: Array, seen: Mask) -> Array:
        """Return the power, shape (n_bands, n_channels)."""
        return self._spectra.weights @ self._spectra.density(window)

    def forget(self) -> None:
        """Nothing is kept."""


class BurgPower:
    """Power of the autoregressive model that fits the window.

    Parameters
    ----------
    bands : sequence of (float, float)
        Edges, Hz.
    sfreq : float
        Sampling rate, Hz.
    orders : (int, int)
        Lowest and highest order.

    Notes
    -----
    The density 2 s / (sfreq |A(f)|²) is integrated on a grid of 0.1 Hz or finer, of at least 32 points to the
    narrowest band.
    """

    def __init__(self, bands: BandList, sfreq: float, orders: tuple[int, int]) -> None:
        from bci.signal import kernels_windowed

        self._burg, self._orders = kernels_windowed.burg, orders
        spacing = min(0.1, min(high - low for low, high in bands) / 32)
        first = np.floor(min(low for low, _ in bands) / spacing)
        last = np.ceil(max(high for _, high in bands) / spacing)
        grid = np.arange(first, last + 1, dtype=np.float64) * spacing
        phase = 2 * np.pi / sfreq * np.outer(grid, np.arange(orders[1] + 1))
        self._cosine, self._sine = np.cos(phase), np.sin(phase)
        self._weights = band_weights(grid, bands) * 2 / sfreq

    def power(self, window: Array, seen: Mask) -> Array:
        """Return the power, shape (n_bands, n_channels)."""
        n_channels = window.shape[1]
        model, error = np.zeros((self._orders[1] + 1, n_channels)), np.zeros(n_channels)
        self._burg(window, self._orders[0], model, error)
        response = (self._cosine @ model) ** 2 + (self._sine @ model) ** 2
        return (self._weights @ (1.0 / np.maximum(response, 1e-300))) * error

    def forget(self) -> None:
        """Nothing is kept."""


class HoppingPower:
    """Power from the Fourier transform of the window, to which each step adds its part.

    Parameters
    ----------
    bands : sequence of (float, float)
        Edges, Hz.
    length, step : int
        Samples of the window, a multiple of those of the step.
    info : StreamInfo
        The signals.
    """

    def __init__(self, bands: BandList, length: int, step: int, info: StreamInfo) -> None:
        frequencies = np.arange(length // 2 + 1, dtype=np.float64) * (info.sfreq / length)
        weights = band_weights(frequencies, bands)
        rows = used(weights)
        # The Hann window needs a neighbour on either side; those of 0 Hz and of sfreq / 2 are mirror images.
        bins = np.arange(rows.start - 1, rows.stop + 1)
        self._n_steps, self._step = length // step, step
        phase = -2j * np.pi / length * bins
        table = np.exp(phase[:, None] * np.arange(length))
        self._table = np.vstack([table.real, table.imag]).reshape(2 * len(bins), self._n_steps, step)
        self._turn = np.exp(-phase[:, None] * np.arange(self._n_steps) * step)[:, :, None]
        self._mean = np.flatnonzero(bins == 0)
        # One-sided density of a Hann window, whose energy is 3/8 of the length.
        density = np.where((bins[1:-1] == 0) | (2 * bins[1:-1] == length), 1.0, 2.0) / (info.sfreq * 0.375 * length)
        self._weights = weights[:, rows] * density
        self._parts = np.zeros((self._n_steps, 2 * len(bins), info.n_channels))
        self._sum = np.zeros(self._parts.shape[1:])
        self._slot, self._is_full = 0, False

    def power(self, window: Array, seen: Mask) -> Array:
        """Return the power, shape (n_bands, n_channels); expects every window, in order."""
        n_steps, step = self._n_steps, self._step
        new = 1 if self._is_full else n_steps
        for k in range(n_steps - new, n_steps):
            self._add(window[k * step : (k + 1) * step])
        self._is_full = True
        # After the last step of a round the window is that round.
        total = self._sum + self._parts[self._slot] if self._slot else self._sum
        real, imaginary = np.split(total, 2)
        found = (real + 1j * imaginary) * self._turn[:, self._slot]
        found[self._mean] = 0.0
        hann = 0.5 * found[1:-1] - 0.25 * (found[:-2] + found[2:])
        return self._weights @ (hann.real**2 + hann.imag**2)

    def forget(self) -> None:
        """Begin anew with the next window."""
        self._slot, self._is_full = 0, False

    def _add(self, samples: Array) -> None:
        """Add a step, which takes the place of the one a window ago.

        Nothing is ever subtracted, so no rounding error stays: from its slot on, `_parts` holds what the steps of
        the round before sum up to, and `_sum` those of this round.
        """
        slot = self._slot
        part = self._table[:, slot] @ samples
        self._sum = part.copy() if slot == 0 else self._sum + part
        self._parts[slot] = part
        self._slot = (slot + 1) % self._n_steps
        if self._slot == 0:
            for k in range(self._n_steps - 2, -1, -1):
                self._parts[k] += self._parts[k + 1]


class FilterPower:
    """Mean square behind causal band-passes, over the window.

    Parameters
    ----------
    bands : sequence of (float, float)
        Edges (-3 dB), Hz.
    length, step : int
        Samples of the window, a multiple of those of the step.
    info : StreamInfo
        The signals.

    Attributes
    ----------
    delay_s : float
        The largest group delay in the middle of a band, s.
    """

    def __init__(self, bands: BandList, length: int, step: int, info: StreamInfo) -> None:
        self._filters = [Bandpass(low, min(high, 0.499 * info.sfreq)) for low, high in bands]
        for one in self._filters:
            one.prepare(info)
        self.delay_s = max(one.delay_s for one in self._filters)
        self._info, self._step, self._n_steps = info, step, length // step
        self._sums = np.zeros((self._n_steps, len(bands), info.n_channels))
        self._times = np.zeros(step)
        self._slot, self._number, self._is_full = 0, 0, False

    def power(self, window: Array, seen: Mask) -> Array:
        """Return the power, shape (n_bands, n_channels); expects every window, in order."""
        new = 1 if self._is_full else self._n_steps
        for k in range(self._n_steps - new, self._n_steps):
            samples = window[k * self._step : (k + 1) * self._step]
            if not seen.all():  # a filter begins with its channel
                samples = np.where(seen, samples, np.nan)
            part = Chunk(samples, self._times, self._number, self._info)
            for band, one in enumerate(self._filters):
                filtered = one.process(part).data
                self._sums[self._slot, band] = (filtered**2).sum(axis=0)
            self._number = part.stop
            self._slot = (self._slot + 1) % self._n_steps
        self._is_full = True
        return self._sums.sum(axis=0) / (self._n_steps * self._step)

    def forget(self) -> None:
        """Begin anew with the next window."""
        self._slot, self._number, self._is_full = 0, 0, False
        for one in self._filters:
            one.reset()
