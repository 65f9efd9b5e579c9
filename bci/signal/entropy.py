"""How irregular the signal of a sliding window is: permutation, sample and spectral entropy."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from bci.errors import ConfigError
from bci.signal.spectra import check_bands, named_bands, welch
from bci.signal.stages import Array
from bci.signal.windowed import Feature, WindowedBlock, each
from bci.stream import StreamInfo


class PermutationEntropy(WindowedBlock):
    """Entropy of the ordinal patterns of every channel, from 0 (one pattern) to 1 (all alike).

    Parameters
    ----------
    window_s : float, default=2
        Length of the window, s; many times order! samples.
    step_s : float, default=0.25
        Time from one row to the next, s.
    order : int, default=3
        Samples of a pattern, 2 to 7.
    lag_s : float, default=0
        Time between the samples of a pattern, s; at least one sample.

    Raises
    ------
    ConfigError
        If a setting is out of range; from `prepare`, if the window has fewer than order! patterns.

    Notes
    -----
    The entropy of [1]_ over its largest value, log(order!). Equal values count in the order of time. `delay_s` is half
    a window.

    References
    ----------
    .. [1] C. Bandt, B. Pompe. Permutation entropy: a natural complexity measure for time series. Phys Rev Lett
       88:174102, 2002. doi:10.1103/PhysRevLett.88.174102
    """

    def __init__(self, window_s: float = 2.0, step_s: float = 0.25, order: int = 3, lag_s: float = 0.0) -> None:
        super().__init__(window_s, step_s)
        if not (2 <= order <= 7 and order == int(order) and 0 <= lag_s < window_s):
            raise ConfigError(
                f"expected an order from 2 to 7 and a lag shorter than the window, got {order} and {lag_s} s; "
                "3 and no lag are usual"
            )
        self.order, self.lag_s = int(order), lag_s

    def design(self, info: StreamInfo) -> list[Feature]:
        """Return "NAME permutation entropy" for every channel."""
        from bci.signal import kernels_windowed

        self._entropy = kernels_windowed.permutation_entropy
        self._lag = max(1, round(self.lag_s * info.sfreq))
        n = self.length - (self.order - 1) * self._lag
        if n < math.factorial(self.order):
            raise ConfigError(
                f"order {self.order} needs at least {math.factorial(self.order)} patterns a window, got {max(n, 0)}; "
                "lengthen the window or lower the order"
            )
        return each(info, "permutation entropy", ["1"] * info.n_channels)

    def compute(self, window: Array, known: NDArray[np.bool_]) -> Array:
        """Return the entropies."""
        entropy = np.empty(window.shape[1])
        self._entropy(np.ascontiguousarray(window.T), self.order, self._lag, entropy)
        return entropy


class SampleEntropy(WindowedBlock):
    """Sample entropy of every channel: how seldom stretches that are alike stay alike.

    Parameters
    ----------
    window_s : float, default=2
        Length of the window, s.
    step_s : float, default=0.5
        Time from one row to the next, s.
    order : int, default=2
        Samples of a stretch, 1 to 10.
    tolerance : float, default=0.2
        How much stretches may differ and are still alike, in standard deviations of the window.

    Raises
    ------
    ConfigError
        If a setting is out of range; from `prepare`, if the window has fewer than order + 2 samples.

    Notes
    -----
    As in [1]_, eq. 2, without self-matches. Where no longer stretch matches, half a match is counted. The time grows
    with the square of the samples in the window: put a `Decimate` before it. `delay_s` is half a window.

    References
    ----------
    .. [1] J. Richman, J. Moorman. Physiological time-series analysis using approximate entropy and sample entropy.
       Am J Physiol Heart Circ Physiol 278:H2039-H2049, 2000. doi:10.1152/ajpheart.2000.278.6.H2039
    """

    def __init__(self, window_s: float = 2.0, step_s: float = 0.5, order: int = 2, tolerance: float = 0.2) -> None:
        super().__init__(window_s, step_s)
        if not (1 <= order <= 10 and order == int(order) and tolerance > 0):
            raise ConfigError(
                f"expected an order from 1 to 10 and a tolerance above 0, got {order} and {tolerance}; "
                "2 and 0.2 are usual"
            )
        self.order, self.tolerance = int(order), tolerance

    def design(self, info: StreamInfo) -> list[Feature]:
        """Return "NAME sample entropy" for every channel."""
        from bci.signal import kernels_windowed

        self._entropy, self._moments = kernels_windowed.sample_entropy, kernels_windowed.moments
        if self.length < self.order + 2:
            raise ConfigError(
                f"a window needs at least {self.order + 2} samples, got {self.length}; lengthen the window"
            )
        return each(info, "sample entropy", ["1"] * info.n_channels)

    def compute(self, window: Array, known: NDArray[np.bool_]) -> Array:
        """Return the entropies."""
        n_channels = window.shape[1]
        mean, variance, entropy = np.empty(n_channels), np.empty(n_channels), np.empty(n_channels)
        self._moments(window, mean, variance)
        tolerance = self.tolerance * np.sqrt(variance)
        self._entropy(np.ascontiguousarray(window.T), self.order, tolerance, entropy)
        return entropy


class SpectralEntropy(WindowedBlock):
    """Entropy of the spectrum of every channel, from 0 (one frequency) to 1 (flat).

    Parameters
    ----------
    band_hz : (float, float), default=(1, 45)
        Frequencies that count, Hz.
    window_s : float, default=2
        Length of the window, s.
    step_s : float, default=0.25
        Time from one row to the next, s.

    Raises
    ------
    ConfigError
        If a setting is out of range; from `prepare`, if the band does not fit the sampling rate or the window.

    Notes
    -----
    The Shannon entropy of the power's shares [1]_, over the logarithm of the number of frequencies. The spectrum is
    Welch's, of Hann segments of half the window. `delay_s` is half a window.

    References
    ----------
    .. [1] T. Inouye et al. Quantification of EEG irregularity by use of the entropy of the power spectrum.
       Electroencephalogr Clin Neurophysiol 79:204-210, 1991. doi:10.1016/0013-4694(91)90138-T
    """

    def __init__(self, band_hz: tuple[float, float] = (1.0, 45.0), window_s: float = 2.0, step_s: float = 0.25) -> None:
        super().__init__(window_s, step_s)
        (self.band_hz,) = named_bands([band_hz]).values()

    def design(self, info: StreamInfo) -> list[Feature]:
        """Return "NAME spectral entropy" for every channel."""
        segment = max(2, self.length // 2)
        check_bands({"band_hz": self.band_hz}, info.sfreq, segment / info.sfreq)
        self._spectra = welch(self.length, info.sfreq, segment, [self.band_hz])
        self._weights = self._spectra.weights[0][:, None]
        return each(info, "spectral entropy", ["1"] * info.n_channels)

    def compute(self, window: Array, known: NDArray[np.bool_]) -> Array:
        """Return the entropies."""
        power = self._weights * self._spectra.density(window)
        share = power / np.maximum(power.sum(axis=0), 1e-300)
        entropy: Array = -(share * np.log(np.maximum(share, 1e-300))).sum(axis=0) / np.log(len(share))
        return entropy
