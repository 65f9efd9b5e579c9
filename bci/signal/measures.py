"""Measure each channel of a raw stream: mains, muscle, drift, artefacts, likeness to its neighbours."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bci.errors import ConfigError
from bci.signal.flat import Looks
from bci.stream import Channel

Array = NDArray[np.float64]

SPECTRUM_HOPS, LONG_HOPS, RECENT_HOPS = 5, 20, 50
"""Hops in the window of the spectrum (1 s), of drift and correlation (4 s), of the artefact rate (10 s)."""
STEADY = 4
"""Spectra whose median counts: a blink or a swallow alone says nothing about an electrode."""
N_NEIGHBOURS = 8
ARTEFACT_Z, ARTEFACT_UV = 8.0, 75.0
"""A hop is an artefact if it is beyond both: robust z of its mean, or of its largest jump; µV."""
MAINS_HZ = (50.0, 60.0)
_MAINS_HALF_HZ, _LEAK_HALF_HZ = 1.6, 3.1
_EEG_HZ, _MUSCLE_HZ = (1.0, 30.0), (30.0, 100.0)
_MAD = 1.4826  # of a normal distribution: standard deviation over median absolute deviation
_LEAST_SCALE_UV = 0.5


@dataclass(frozen=True, slots=True, eq=False)
class Measured:
    """What was measured of each channel at one hop; all of shape (n_channels,), NaN where it is not known yet.

    Parameters
    ----------
    unknown : ndarray
        Share of unknown values (NaN) in the last second.
    clipped : ndarray
        Share of the last second that stood still, for less than 0.1 s at a time, at the very lowest or highest value;
        0 for a converter so coarse that its values do so by themselves.
    mains_uv, mains_share, mains_hz : ndarray
        Mains: root mean square in µV, share of the power from 1 to 100 Hz, and which of 50 and 60 Hz it is.
    muscle_uv : ndarray
        Root mean square from 30 to 100 Hz (or as far as the rate allows) without mains, µV.
    eeg_uv : ndarray
        Root mean square from 1 to 30 Hz, µV; the largest of the spectra that count.
    drift_uv_s : ndarray
        Slope of the last 4 s, µV/s.
    jump_uv, jump_z : ndarray
        Largest step between two bins in the last second, µV and over the channel's own usual step (robust z).
    artefacts : ndarray
        Share of the last 10 s that deviates from the channel's own course by a robust z of 8 and 75 µV.
    correlation : ndarray
        Largest absolute correlation with a neighbour over the last 4 s, all frequencies from 1 to 30 Hz alike.
    twin, twin_uv : ndarray
        Number of the neighbour that is most alike, and the root mean square of the difference to it, µV.
    """

    unknown: Array
    clipped: Array
    mains_uv: Array
    mains_share: Array
    mains_hz: Array
    muscle_uv: Array
    eeg_uv: Array
    drift_uv_s: Array
    jump_uv: Array
    jump_z: Array
    artefacts: Array
    correlation: Array
    twin: NDArray[np.int64]
    twin_uv: Array


class Measurer:
    """Measure hop after hop.

    Parameters
    ----------
    looks : Looks
        Where the hops come from.
    channels : sequence of Channel
        What is looked at.
    """

    def __init__(self, looks: Looks, channels: Sequence[Channel]) -> None:
        self._looks, self._n = looks, len(channels)
        self._neighbours = neighbours(channels)
        self._spectrum = _Window(SPECTRUM_HOPS * looks.bins_per_hop, looks.bins_hz)
        self._long = _Window(LONG_HOPS * looks.bins_per_hop, looks.bins_hz)
        self.reset()

    def reset(self) -> None:
        """Forget all samples."""
        n, recent = self._n, RECENT_HOPS
        self._bins = np.full((LONG_HOPS * self._looks.bins_per_hop, n), np.nan)
        self._hops: list[tuple[Array, Array, NDArray[np.int64], NDArray[np.int64]]] = []
        self._means, self._steps = np.full((recent, n), np.nan), np.full((recent, n), np.nan)
        self._is_artefact = np.zeros((recent, n), dtype=np.bool_)
        self._usual = (np.full(n, np.nan),) * 3
        self._jumps = np.full((2, SPECTRUM_HOPS, n), np.nan)
        self._spectra = np.full((4, STEADY, n), np.nan)
        self._likeness = (np.full(n, np.nan), np.zeros(n, dtype=np.int64), np.full(n, np.nan))
        self.n_hops = 0

    def hop(self) -> Measured:
        """Measure the hop that the looks have just completed."""
        looks, k = self._looks, self.n_hops % RECENT_HOPS
        before = self._bins[-1].copy()
        self._bins[: -looks.bins_per_hop] = self._bins[looks.bins_per_hop :]
        self._bins[-looks.bins_per_hop :] = looks.bins
        self._hops = [*self._hops, (looks.extremes, looks.clipped, looks.n_clipped, looks.n_unknown)][-SPECTRUM_HOPS:]
        self._note_artefact(k, before)
        self.n_hops += 1
        is_full = self.n_hops >= SPECTRUM_HOPS
        if is_full:
            self._spectra[:, self.n_hops % STEADY] = self._powers()
        if self.n_hops >= LONG_HOPS and self.n_hops % SPECTRUM_HOPS == 0:
            self._likeness = self._compare()
        # Before there are as many spectra as count, those there are do; none may be known of a signal that is not.
        is_there = ~np.isnan(self._spectra[0]).all(axis=1)
        have = self._spectra[:, is_there] if is_there.any() else self._spectra[:, :1]
        mains, is_60, muscle, eeg = np.median(have, axis=1)
        loudest = np.max(have[3], axis=0)
        n_recent = min(self.n_hops, RECENT_HOPS)
        return Measured(
            np.mean([h[3] for h in self._hops], axis=0) / looks.per_hop, self._clipped(), np.sqrt(mains),
            mains / np.maximum(mains + muscle + eeg, 1e-12), np.where(is_60 >= 0.5, MAINS_HZ[1], MAINS_HZ[0]),
            np.sqrt(muscle), np.sqrt(loudest), self._drift(), np.fmax.reduce(self._jumps[0]),
            np.fmax.reduce(self._jumps[1]), self._is_artefact.sum(axis=0) / max(n_recent, SPECTRUM_HOPS),
            *self._likeness,
        )  # fmt: skip

    # ---------------------------------------------------------------- time
    def _note_artefact(self, k: int, before: Array) -> None:
        """Note the hop's mean and largest jump, and whether they are beyond what is usual for the channel."""
        bins = self._looks.bins
        steps = np.abs(np.diff(np.vstack([before, bins]), axis=0))
        steps = steps if self.n_hops else steps[1:]
        jump, mean = steps.max(axis=0), bins.mean(axis=0)
        self._means[k], self._steps[k] = mean, np.median(steps, axis=0)
        n = min(self.n_hops + 1, RECENT_HOPS)
        if self.n_hops % SPECTRUM_HOPS == 0:  # what is usual changes slowly: once a second will do
            self._usual = _usual(self._steps[:n], self._means[:n])
        scale, middle, spread = self._usual
        off = np.abs(mean - middle)
        # A jump stands alone: where every step is large (mains begins), none is a jump.
        own = np.maximum(scale, _MAD * self._steps[k])
        z = jump / own if n > SPECTRUM_HOPS else np.full(self._n, np.nan)
        is_step = (z >= ARTEFACT_Z) & (jump >= ARTEFACT_UV)
        is_off = (off >= ARTEFACT_Z * spread) & (off >= ARTEFACT_UV) if n >= LONG_HOPS else np.zeros_like(is_step)
        self._is_artefact[k] = is_step | is_off
        self._jumps[:, k % SPECTRUM_HOPS] = jump, z

    def _clipped(self) -> Array:
        low = np.min([h[0][0] for h in self._hops], axis=0)
        high = np.max([h[0][1] for h in self._hops], axis=0)
        step = np.min([h[0][2] for h in self._hops], axis=0)
        stood = np.zeros((2, self._n))
        for _, values, counts, _ in self._hops:
            stood[0] += np.where(values[0] == low, counts[0], 0)
            stood[1] += np.where(values[1] == high, counts[1], 0)
        share = np.minimum(stood.max(axis=0) / (len(self._hops) * self._looks.per_hop), 1.0)
        # A slow signal on a coarse converter rests at its turns as well; that is no rail.
        return np.where((high > low) & (high - low >= 50 * step), share, 0.0)

    def _drift(self) -> Array:
        if self.n_hops < LONG_HOPS:
            return np.full(self._n, np.nan)
        means = self._bins.reshape(LONG_HOPS, -1, self._n).mean(axis=1)
        t = np.arange(LONG_HOPS) - (LONG_HOPS - 1) / 2
        hop_s = self._looks.bins_per_hop / self._looks.bins_hz
        slope: Array = np.einsum("t,tc->c", t, means) / ((t @ t) * hop_s)
        return slope

    # ---------------------------------------------------------------- frequency
    def _powers(self) -> Array:
        """Return power of mains, whether that is 60 Hz, power of muscle and of EEG, shape (4, n_channels)."""
        window = self._spectrum
        power = window.power(self._bins[-window.length :])
        at_mains = np.stack([window.sum(power, hz - _MAINS_HALF_HZ, hz + _MAINS_HALF_HZ) for hz in MAINS_HZ])
        free = np.ones(len(window.freqs_hz), dtype=np.bool_)
        for hz in (*MAINS_HZ, 100.0, 120.0):
            free &= np.abs(window.freqs_hz - hz) > _LEAK_HALF_HZ
        muscle = window.sum(power, *_MUSCLE_HZ, free)
        # What a broad noise has at 50 and 60 Hz is not mains.
        n_free = max(1, int((free & window.between(*_MUSCLE_HZ)).sum()))
        width = int(window.between(MAINS_HZ[0] - _MAINS_HALF_HZ, MAINS_HZ[0] + _MAINS_HALF_HZ).sum())
        mains = np.maximum(at_mains.max(axis=0) - width * muscle / n_free, 0.0)
        return np.stack([mains, at_mains[1] > at_mains[0], muscle, window.sum(power, *_EEG_HZ)])

    def _compare(self) -> tuple[Array, NDArray[np.int64], Array]:
        """Return the largest correlation with a neighbour, which one is most alike, and how far it is (µV)."""
        if self._neighbours.shape[1] == 0:
            return np.full(self._n, np.nan), np.zeros(self._n, dtype=np.int64), np.full(self._n, np.nan)
        vectors = self._long.band(self._bins, *_EEG_HZ)
        size, others, product = self._products(vectors)
        apart = np.sqrt(np.maximum(size**2 + others**2 - 2 * product, 0.0))
        # Slow waves are so few in 4 s that they agree by chance: let every frequency count alike.
        usual = np.median(np.abs(vectors), axis=0)
        size, others, product = self._products(vectors / np.maximum(usual, 1e-12))
        r = np.abs(product) / np.maximum(size * others, 1e-12)
        nearest = np.argmin(np.where(np.isnan(apart), np.inf, apart), axis=1)
        rows = np.arange(self._n)
        return np.fmax.reduce(r, axis=1), self._neighbours[rows, nearest], apart[rows, nearest]

    def _products(self, vectors: Array) -> tuple[Array, Array, Array]:
        """Return the length of each vector, (n_channels, 1), of its neighbours' and the products with them."""
        product = np.empty(self._neighbours.shape)
        for j, other in enumerate(self._neighbours.T):
            product[:, j] = np.einsum("cf,cf->c", vectors, vectors[other])
        size = np.sqrt(np.einsum("cf,cf->c", vectors, vectors))
        return size[:, None], size[self._neighbours], product


def _usual(steps: Array, means: Array) -> tuple[Array, Array, Array]:
    """Return what is usual for each channel: the step between two bins, the mean of a hop, and how far it strays."""
    middle = np.median(means, axis=0)
    spread = np.median(np.abs(means - middle), axis=0)
    least = _LEAST_SCALE_UV
    return np.maximum(_MAD * np.median(steps, axis=0), least), middle, np.maximum(_MAD * spread, least)


class _Window:
    """Windows of one length on their way to the frequency domain: straight line off, Hann."""

    def __init__(self, length: int, rate_hz: float) -> None:
        self.length = length
        self.freqs_hz = np.fft.rfftfreq(length, 1 / rate_hz)
        self._hann = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(length) / length)
        self._t = np.arange(length) - (length - 1) / 2
        # One-sided and by Parseval: the sum over bins is the mean square of the samples.
        self._to_power = 2 / (length * float((self._hann**2).sum()))
        self._top_hz = 0.45 * rate_hz

    def power(self, rows: Array) -> Array:
        """Return the power in each frequency bin, µV², shape (n_freqs, n_channels)."""
        found = self._transform(rows)
        result: Array = (found.real**2 + found.imag**2) * self._to_power
        return result

    def band(self, rows: Array, low_hz: float, high_hz: float) -> Array:
        """Return vectors, shape (n_channels, n), whose products are the covariances in a band, µV²."""
        found = self._transform(rows)[self.between(low_hz, high_hz)]
        result: Array = np.ascontiguousarray(np.vstack([found.real, found.imag]).T) * np.sqrt(self._to_power)
        return result

    def between(self, low_hz: float, high_hz: float) -> NDArray[np.bool_]:
        """Return which frequencies lie in a band, as far as the rate allows."""
        result: NDArray[np.bool_] = (self.freqs_hz >= low_hz) & (self.freqs_hz <= min(high_hz, self._top_hz))
        return result

    def sum(self, power: Array, low_hz: float, high_hz: float, also: NDArray[np.bool_] | None = None) -> Array:
        """Return the power in a band, shape (n_channels,)."""
        chosen = self.between(low_hz, high_hz)
        result: Array = power[chosen if also is None else chosen & also].sum(axis=0)
        return result

    def _transform(self, rows: Array) -> NDArray[np.complex128]:
        slope = np.einsum("t,tc->c", self._t, rows) / (self._t @ self._t)
        flat = rows - rows.mean(axis=0) - np.outer(self._t, slope)
        result: NDArray[np.complex128] = np.fft.rfft(flat * self._hann[:, None], axis=0)
        return result


def neighbours(channels: Sequence[Channel], most: int = N_NEIGHBOURS) -> NDArray[np.int64]:
    """Return the numbers of the nearest channels of each, shape (n_channels, at most `most`).

    By position; where one has none, by its name in the 10-10 system; where some are not known either, by the order
    of the columns, as which electrodes of grids and caps are wired.
    """
    n = len(channels)
    n_near = min(most, n - 1)
    places = [place(c) for c in channels]
    known = [p for p in places if p is not None]
    if len(known) == n:
        where = np.stack(known)
    else:
        where = np.arange(n, dtype=np.float64)[:, None]
    found = np.empty((n, n_near), dtype=np.int64)
    for c in range(n):
        distance = ((where - where[c]) ** 2).sum(axis=1)
        distance[c] = np.inf
        found[c] = np.argsort(distance, kind="stable")[:n_near]
    return found


def place(channel: Channel) -> Array | None:
    """Return the direction of an electrode from the middle of the head; None if it is not known."""
    from bci.simulation.electrodes import positions

    if channel.position is not None:
        place = np.array(channel.position)
        size = float(np.sqrt((place**2).sum()))
        return place / size if size > 0 else None
    try:
        result: Array = positions([channel.name])[0]
    except ConfigError:
        return None
    return result
