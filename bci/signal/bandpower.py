"""Power in frequency bands of a sliding window, by five methods."""

from __future__ import annotations

from typing import Literal, Protocol, TypeAlias, get_args

import numpy as np
from numpy.typing import NDArray

from bci.errors import ConfigError
from bci.signal.estimators import BurgPower, FilterPower, HoppingPower, TaperedPower
from bci.signal.spectra import Bands, check_bands, multitaper, named_bands, welch
from bci.signal.stages import Array
from bci.signal.windowed import Feature, WindowedBlock, each
from bci.stream import StreamInfo

Method: TypeAlias = Literal["multitaper", "welch", "dft", "ar", "filter"]
Scale: TypeAlias = Literal["absolute", "relative", "log"]

LEAST_POWER = 1e-12
"""Stands for no power at all in decibels: (1e-6 uV)², below any amplifier."""


class _Estimator(Protocol):
    def power(self, window: Array, seen: NDArray[np.uint8]) -> Array:
        """Return the power, shape (n_bands, n_channels), in the window; `seen` are channels that had a value so far."""
        ...

    def forget(self) -> None:
        """Forget what was kept from earlier windows."""
        ...


class BandPower(WindowedBlock):
    """Power of every channel in one or more frequency bands: "C3 8-12 Hz power".

    Parameters
    ----------
    bands : sequence of (float, float), or mapping of str to (float, float)
        Edges in Hz, 0 < low < high <= sfreq / 2; a name stands for the edges in the names of the features.
    method : {"multitaper", "welch", "dft", "ar", "filter"}, default="multitaper"
        "multitaper": DPSS tapers over the window [1]_; the least noisy where windows are short.
        "welch": Hann segments that overlap by half [2]_.
        "dft": one Hann window, kept up to date by the step's samples alone [3]_ [4]_; the cheapest of the spectra.
        "ar": autoregressive model by Burg's recursion [5]_.
        "filter": causal Butterworth band-pass, squared, mean over the window.
    window_s : float, default=1
        Length of the window, s. For "dft" and "filter" it is rounded to whole steps.
    step_s : float, default=0.1
        Time from one row to the next, s.
    scale : {"log", "absolute", "relative"}, default="log"
        "absolute": mean square in the band, unit of the channel squared. "relative": over the power in `total_hz`.
        "log": decibels of the absolute power to 1 (uV²); close to normal, as linear decoders like it.
    total_hz : (float, float), optional
        What "relative" relates to; by default from the lowest to the highest edge of `bands`.
    bandwidth_hz : float, optional
        Frequencies that one number of the spectrum mixes ("multitaper", "welch"); by default the narrowest band,
        and at most 8 / window_s: more tapers or segments cost time and tell no more of a whole band.
    order : int or (int, int), default=16
        Poles of the model ("ar"); with two numbers the order between them of least AICc [6]_, per channel and window.
        Of the filter ("filter") the order is always 4.

    Raises
    ------
    ConfigError
        If a setting is out of range; from `prepare`, if a band does not fit the sampling rate or the window.

    Notes
    -----
    Powers are integrals of a one-sided density over the band, so neighbouring bands add up, and white noise of
    variance v has 2 v (high - low) / sfreq in a band. Mean values are removed per window or segment.

    Multitaper takes ``2 NW - 1`` tapers, NW = window_s * bandwidth_hz / 2, at least one. Welch takes segments of
    4 / bandwidth_hz, at most the window.

    The sliding DFT adds up the transforms of the window's steps, each computed once with a modulation that runs on
    with the samples, and applies the Hann window in the frequency domain [3]_. It has the cost of the hopping DFT
    [4]_ and, unlike a recursion that subtracts what leaves, never accumulates an error.

    "ar" models the whole spectrum below sfreq / 2 with few poles: put a `Decimate` to 100-250 Hz before it. An order
    of 16 at 160 Hz served best in [7]_. Peaks narrower than 0.1 Hz, as of a sine without noise, count too little.

    `delay_s` is half the window, for "filter" plus the largest group delay in the middle of a band. Trigger channels
    are left out; every other channel counts as a signal.

    References
    ----------
    .. [1] D. Thomson. Spectrum estimation and harmonic analysis. Proc IEEE 70:1055-1096, 1982.
       doi:10.1109/PROC.1982.12433
    .. [2] P. Welch. The use of fast Fourier transform for the estimation of power spectra. IEEE Trans Audio
       Electroacoust 15:70-73, 1967. doi:10.1109/TAU.1967.1161901
    .. [3] E. Jacobsen, R. Lyons. The sliding DFT. IEEE Signal Process Mag 20(2):74-80, 2003.
       doi:10.1109/MSP.2003.1184347
    .. [4] C. Park, S. Ko. The hopping discrete Fourier transform. IEEE Signal Process Mag 31(2):135-139, 2014.
       doi:10.1109/MSP.2013.2292891
    .. [5] S. Kay, S. Marple. Spectrum analysis: a modern perspective. Proc IEEE 69:1380-1419, 1981, sec. II-E.
       doi:10.1109/PROC.1981.12184
    .. [6] C. Hurvich, C. Tsai. Regression and time series model selection in small samples. Biometrika 76:297-307,
       1989. doi:10.1093/biomet/76.2.297
    .. [7] D. McFarland, J. Wolpaw. Sensorimotor rhythm-based brain-computer interface (BCI): model order selection
       for autoregressive spectral analysis. J Neural Eng 5:155-162, 2008. doi:10.1088/1741-2560/5/2/006

    Examples
    --------
    >>> from bci.signal.bandpower import BandPower
    >>> block = BandPower({"mu": (8, 12), "beta": (13, 30)}, window_s=1.0, step_s=0.1)
    """

    def __init__(
        self, bands: Bands, method: Method = "multitaper", window_s: float = 1.0, step_s: float = 0.1,
        scale: Scale = "log", total_hz: tuple[float, float] | None = None, bandwidth_hz: float | None = None,
        order: int | tuple[int, int] = 16,
    ) -> None:  # fmt: skip
        super().__init__(window_s, step_s)
        if method not in get_args(Method) or scale not in get_args(Scale):
            raise ConfigError(
                f"expected a method of {', '.join(get_args(Method))} and a scale of {', '.join(get_args(Scale))}, got "
                f"{method!r} and {scale!r}; choose one of each"
            )
        if bandwidth_hz is not None and not bandwidth_hz > 0:
            raise ConfigError(f"bandwidth_hz must be above 0 Hz, got {bandwidth_hz}; leave it out if unsure")
        self.orders = (order, order) if isinstance(order, int) else (order[0], order[1])
        if not 1 <= self.orders[0] <= self.orders[1] <= 100:
            raise ConfigError(f"order is one number from 1 to 100 or two rising ones, got {order}; 16 suits most")
        self.bands, self.method, self.scale = named_bands(bands), method, scale
        edges = [e for band in self.bands.values() for e in band]
        (self.total_hz,) = named_bands([total_hz or (min(edges), max(edges))]).values()
        self.bandwidth_hz = bandwidth_hz

    def design(self, info: StreamInfo) -> list[Feature]:
        """Return "NAME BAND power" for every band and channel, all channels of the first band first."""
        bands = self.bands | ({"total": self.total_hz} if self.scale == "relative" else {})
        check_bands(bands, info.sfreq, np.inf if self.method == "filter" else self.length / info.sfreq)
        if self.method in ("dft", "filter"):
            self.length = self.step * max(1, round(self.length / self.step))
        self.delay_s = (self.length - 1) / 2 / info.sfreq
        self._estimator = self._make(list(bands.values()), info)
        what = "relative power" if self.scale == "relative" else "power"
        units = [{"relative": "1", "log": "dB", "absolute": f"{c.unit}²"}[self.scale] for c in info.channels]
        return [feature for name in self.bands for feature in each(info, f"{name} {what}", units)]

    def compute(self, window: Array, known: NDArray[np.bool_]) -> Array:
        """Return the powers of the window, scaled."""
        power = self._estimator.power(window, self._seen)
        if self.scale == "log":
            power = 10.0 * np.log10(np.maximum(power, LEAST_POWER))
        elif self.scale == "relative":
            power = power[:-1] / np.maximum(power[-1], LEAST_POWER)
        return power.ravel()

    def forget(self) -> None:
        """Forget what was kept from earlier windows."""
        self._estimator.forget()

    def _make(self, bands: list[tuple[float, float]], info: StreamInfo) -> _Estimator:
        sfreq = info.sfreq
        if self.method == "filter":
            estimator = FilterPower(bands, self.length, self.step, info)
            self.delay_s += estimator.delay_s
            return estimator
        if self.method == "dft":
            return HoppingPower(bands, self.length, self.step, info)
        if self.method == "ar":
            if self.length < 3 * self.orders[1]:
                raise ConfigError(
                    f"a model of order {self.orders[1]} needs at least {3 * self.orders[1]} samples, got a window of "
                    f"{self.length}; lower the order or lengthen the window"
                )
            return BurgPower(bands, sfreq, self.orders)
        narrowest = min(high - low for low, high in bands)
        width = self.bandwidth_hz or min(narrowest, 8 * sfreq / self.length)
        if self.method == "welch":
            segment = min(self.length, max(2, round(4 * sfreq / width)))
            return TaperedPower(welch(self.length, sfreq, segment, bands))
        return TaperedPower(multitaper(self.length, sfreq, width, bands))
