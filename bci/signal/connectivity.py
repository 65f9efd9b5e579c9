"""How channels go together in a band: coherence, imaginary coherence and phase locking."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, TypeAlias, get_args

import numpy as np
from numpy.typing import NDArray

from bci.errors import ConfigError
from bci.signal.spectra import Bands, Tapered, check_bands, multitaper, named_bands
from bci.signal.stages import Array
from bci.signal.windowed import Feature, WindowedBlock
from bci.stream import StreamInfo

Measure: TypeAlias = Literal["coherence", "imaginary", "plv"]

_WORDS = {"coherence": "coherence", "imaginary": "imaginary coherence", "plv": "phase locking"}
_POINTS = 8
"""Instants at which phases are compared, per independent one."""


class Connectivity(WindowedBlock):
    """Coupling of pairs of channels in bands of a sliding window: "C3 × C4 8-12 Hz coherence".

    Parameters
    ----------
    bands : sequence of (float, float), or mapping of str to (float, float)
        Edges in Hz, 0 < low < high <= sfreq / 2.
    measure : {"imaginary", "coherence", "plv"}, default="imaginary"
        "coherence": squared magnitude of the coherency, from 0 to 1. "imaginary": its imaginary part [1]_, from -1 to
        1, above 0 where the first channel is ahead; what reaches both at once (volume conduction, a common reference)
        does not show. "plv": length of the mean difference of phases [2]_, from 0 to 1.
    pairs : "all" or sequence of (str, str), default="all"
        Names of the channels.
    window_s : float, default=2
        Length of the window, s.
    step_s : float, default=0.25
        Time from one row to the next, s.

    Raises
    ------
    ConfigError
        If a setting is out of range; from `prepare`, if a channel is not there, or a band does not fit.

    Notes
    -----
    Cross spectra are means over DPSS tapers (of half the narrowest band, at most five) and over the frequencies of the
    band; the coherency is the ratio of the means. So a band must be narrow enough for one phase difference: a delay of
    d s turns the phase by 360 d (high - low) degrees in it. A window of T s tells about T * (high - low) independent
    values in a band, and two independent signals have a coherence of about one over that number, a phase locking of
    about 0.9 over its root: compare conditions, not with 0, and take long windows.

    For "plv" the window is faded in and out over an eighth on each side, the analytic signal of the band is taken
    from its Fourier transform, and phases are compared where the window is not faded.

    A channel unknown in the window is unknown in its pairs. Trigger channels are left out. `delay_s` is half a window.

    References
    ----------
    .. [1] G. Nolte et al. Identifying true brain interaction from EEG data using the imaginary part of coherency.
       Clin Neurophysiol 115:2292-2307, 2004. doi:10.1016/j.clinph.2004.04.029
    .. [2] J. Lachaux et al. Measuring phase synchrony in brain signals. Hum Brain Mapp 8:194-208, 1999.
       doi:10.1002/(SICI)1097-0193(1999)8:4<194::AID-HBM4>3.0.CO;2-C
    """

    def __init__(
        self, bands: Bands, measure: Measure = "imaginary", pairs: Literal["all"] | Sequence[Sequence[str]] = "all",
        window_s: float = 2.0, step_s: float = 0.25,
    ) -> None:  # fmt: skip
        super().__init__(window_s, step_s)
        if measure not in get_args(Measure):
            raise ConfigError(f"expected a measure of {', '.join(get_args(Measure))}, got {measure!r}; choose one")
        if pairs != "all" and (isinstance(pairs, str) or not pairs or any(len(set(p)) != 2 for p in pairs)):
            raise ConfigError(f"expected 'all' or pairs of two channels, got {pairs!r}; as in [('C3', 'C4')]")
        self.bands, self.measure = named_bands(bands), measure
        self.pairs = None if pairs == "all" else [(p[0], p[1]) for p in pairs]

    def design(self, info: StreamInfo) -> list[Feature]:
        """Return a feature for every band and pair, all pairs of the first band first."""
        if self.pairs is None:
            one, other = np.triu_indices(info.n_channels, 1)
        else:
            one, other = np.array([[info.index(a), info.index(b)] for a, b in self.pairs]).T
        if not len(one):
            raise ConfigError(f"coupling needs two channels, stream {info.name!r} has one signal; add another")
        self._members, places = np.unique([one, other], return_inverse=True)
        self._one, self._other = places.reshape(2, -1)
        seconds = self.length / info.sfreq
        check_bands(self.bands, info.sfreq, seconds)
        bands = list(self.bands.values())
        if self.measure == "plv":
            self._spectra = Tapered(self.length, info.sfreq, _fade(self.length)[None], 1, bands)
            instants = _instants(max(high - low for low, high in bands), seconds)
            self._waves = [_waves(self._spectra.frequencies, row > 0, instants) for row in self._spectra.weights]
        else:
            width = min(min(high - low for low, high in bands) / 2, 6 / seconds)
            self._spectra = multitaper(self.length, info.sfreq, width, bands)
            self._roots = np.sqrt(self._spectra.weights)[:, None, :, None]
        return [
            Feature(f"{info.ch_names[i]} × {info.ch_names[j]} {name} {_WORDS[self.measure]}", "1", (int(i), int(j)))
            for name in self.bands
            for i, j in zip(one, other, strict=True)
        ]

    def compute(self, window: Array, known: NDArray[np.bool_]) -> Array:
        """Return the coupling of every pair in every band."""
        found = self._spectra.transform(np.ascontiguousarray(window[:, self._members]))
        if self.measure == "plv":
            parts = [waves @ found[0] for waves in self._waves]
        else:
            parts = [(root * found)[:, root[0, :, 0] > 0].reshape(-1, found.shape[2]) for root in self._roots]
        return np.concatenate([self._couple(part) for part in parts])

    def _couple(self, values: NDArray[np.complex128]) -> Array:
        """Return the coupling of every pair; `values` are estimates, or instants, of all members."""
        if self.measure == "plv":
            size = np.abs(values)
            values = np.divide(values, size, out=np.zeros_like(values), where=size > 0)
            return np.abs((values.T @ values.conj())[self._one, self._other]) / len(values)
        spectrum = values.T @ values.conj()
        power = np.maximum(np.diagonal(spectrum).real, 1e-300)
        size = np.sqrt(power[self._one]) * np.sqrt(power[self._other])
        coherency = spectrum[self._one, self._other] / size
        return coherency.imag if self.measure == "imaginary" else coherency.real**2 + coherency.imag**2


def _fade(length: int) -> Array:
    """Return 1 with raised cosines of an eighth of the length on either side, of unit energy."""
    edge = length // 8
    rise = 0.5 - 0.5 * np.cos(np.pi * (np.arange(edge) + 0.5) / max(edge, 1))
    taper = np.ones(length)
    taper[:edge], taper[length - edge :] = rise, rise[::-1]
    return taper / np.linalg.norm(taper)


def _instants(bandwidth_hz: float, seconds: float) -> Array:
    """Return when phases are compared: evenly over the middle 3/4 of the window, s after its begin."""
    n = int(np.ceil(_POINTS * bandwidth_hz * seconds * 3 / 4))
    return seconds * (1 / 8 + 3 / 4 * (np.arange(n) + 0.5) / n)


def _waves(frequencies: Array, inside: NDArray[np.bool_], instants: Array) -> NDArray[np.complex128]:
    """Return the matrix from the transforms to the analytic signal of the frequencies `inside`."""
    return np.exp(2j * np.pi * np.outer(instants, frequencies)) * inside
