"""Spikes of high-rate neural channels: threshold crossings, counts in bins, and spiking-band power."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from bci.errors import ConfigError
from bci.ports import Block
from bci.signal.binned import Binned, samples_of
from bci.signal.filters import Bandpass
from bci.signal.power import BinPower
from bci.signal.stages import Line, not_prepared, signal_columns
from bci.stream import Chunk, StreamInfo

Array = NDArray[np.float64]

_SIDES = {"negative": -1, "both": 0, "positive": 1}
# Past values in the reservoir of a channel: the median of so many magnitudes errs by 1.17 / sqrt(256) = 7 % (one s.d.).
_POINTS = 256
_READ_S = 0.05


class SpikeCount(Binned):
    """Number of threshold crossings of every channel in bins that follow one another.

    Output sample n counts the input samples from n times the bin's length on, has the time of the last of them, and
    comes with it; so neither cuts nor gaps move the bins. A bin with a gap inside is left out. Put it after a
    high-pass or band-pass (300 Hz and more).

    Parameters
    ----------
    bin_s : float
        Length of a bin, s; rounded to whole samples, once.
    multiple : float, default=4.5
        Threshold in noise levels.
    noise : {"median", "rms"}, default="median"
        How the noise is told: the median of the magnitude over 0.6745, which spikes hardly move ([1]_, sec. 2.1), or
        the root mean square, as practice on cortical arrays has it ([2]_ with -4.5).
    side : {"negative", "positive", "both"}, default="negative"
        Which way a spike goes.
    refractory_s : float, default=0.001
        After a crossing none counts for so long, s.
    memory_s : float, default=10
        Time constant with which the noise is forgotten, s.
    calibrate_s : float, optional
        Learn the noise from the first so many s of known values, and leave the thresholds then. By default they follow
        the noise all along.
    thresholds_uv : sequence of float, optional
        Magnitudes of the thresholds, one per channel (triggers too, ignored), in the channels' units; nothing is
        learned then. `limits` of a calibrated block fits.

    Raises
    ------
    ConfigError
        If a setting is out of range; from `prepare`, if a bin is shorter than a sample or thresholds do not fit.

    Notes
    -----
    A crossing is a sample beyond the threshold whose predecessor is not. The threshold of a sample was learned from
    the samples up to it and is read every 50 ms; the first 0.1 s have none and count nothing. The median is that of
    256 past values, drawn as in `RobustStandardize`: the threshold scatters by 7 % of itself. What is slower than a
    spike must be filtered out before: noise is taken about 0.

    A gap keeps the thresholds, and what follows it at once beyond them is no crossing. A bin with an unknown value
    (NaN) is unknown in that channel. Trigger channels keep the last value of the bin. Names become "C3 spikes", the
    unit "1" (crossings a bin); `delay_s` is half a bin.

    References
    ----------
    .. [1] R. Quian Quiroga, Z. Nadasdy, Y. Ben-Shaul. Unsupervised spike detection and sorting with wavelets and
       superparamagnetic clustering. Neural Computation 16:1661-1687, 2004. doi:10.1162/089976604774201631
    .. [2] C. Chestek et al. Long-term stability of neural prosthetic control signals from silicon cortical arrays in
       rhesus macaque motor cortex. J Neural Eng 8:045005, 2011. doi:10.1088/1741-2560/8/4/045005
    """

    def __init__(
        self, bin_s: float, multiple: float = 4.5, noise: Literal["median", "rms"] = "median",
        side: Literal["negative", "positive", "both"] = "negative", refractory_s: float = 0.001, memory_s: float = 10.0,
        calibrate_s: float | None = None, thresholds_uv: Sequence[float] | None = None,
    ) -> None:  # fmt: skip
        if not (bin_s > 0 and multiple > 0 and refractory_s >= 0 and memory_s > 0 and (calibrate_s or 1.0) > 0):
            raise ConfigError(
                "expected bin_s, multiple, memory_s and calibrate_s above 0 and refractory_s of 0 or more, got "
                f"{bin_s}, {multiple}, {memory_s}, {calibrate_s} and {refractory_s}; leave the defaults if unsure"
            )
        if noise not in ("median", "rms") or side not in _SIDES:
            raise ConfigError(
                f"expected noise 'median' or 'rms' and side {', '.join(_SIDES)}, got {noise!r} and {side!r}; "
                "leave the defaults if unsure"
            )
        self.bin_s, self.multiple, self.noise, self.side = bin_s, multiple, noise, side
        self.refractory_s, self.memory_s, self.calibrate_s = refractory_s, memory_s, calibrate_s
        self.thresholds_uv = None if thresholds_uv is None else tuple(thresholds_uv)
        super().__init__()

    def prepare(self, info: StreamInfo) -> StreamInfo:
        """Allocate for `info`; return it with the new names and rate."""
        from bci.signal import kernels, kernels_spikes

        kernels.warm_up()
        kernels_spikes.warm_up()
        self._cross, self._is_clean = kernels_spikes.cross, kernels.is_clean
        self.factor = self._bin(info)
        physical, fixed = info.physical(), self.thresholds_uv
        if fixed is not None and (len(fixed) != info.n_channels or not all(v > 0 for v in fixed)):
            raise ConfigError(
                f"expected {info.n_channels} thresholds above 0, one per channel, got {len(fixed)}, the least "
                f"{min(fixed, default=0):g}; give magnitudes, or leave them out to have them learned"
            )
        self._signals = signal_columns(info).astype(np.uint8)
        self._design(info.sfreq)
        pairs = zip(physical.channels, self._signals, strict=True)
        channels = tuple(replace(c, name=f"{c.name} spikes", unit="1") if signal else c for c, signal in pairs)
        self._out_info = replace(physical, sfreq=info.sfreq / self.factor, channels=channels)
        self.delay_s = (self.factor - 1) / 2 / info.sfreq
        self._line = Line(info)
        self.reset()
        return self._out_info

    def reset(self) -> None:
        """Forget all samples and what was learned from them."""
        super().reset()
        if self._line is None:
            return
        n = len(self._signals)
        self._begun_bin = np.zeros(n)
        self._past: NDArray[np.int64] = np.zeros((n, 2), np.int64)
        self._seen, self._counts = np.zeros(n, np.int64), np.zeros(n, np.int64)
        self._kept = np.zeros((n, _POINTS))
        self._squares, self._weights = np.zeros(n), np.zeros(n)
        self._limits = np.full(n, np.inf) if self.thresholds_uv is None else np.array(self.thresholds_uv, np.float64)
        self._limits[self._signals == 0] = np.inf

    @property
    def limits(self) -> Array:
        """Magnitude of the threshold of each channel now, in its unit, shape (n_channels,); inf while unknown."""
        if self._line is None:
            raise not_prepared(self)
        return self._limits.copy()

    def _bin(self, info: StreamInfo) -> int:
        return samples_of(self.bin_s, info.sfreq)

    def _begin(self, number: int) -> None:
        self._begun_bin[:] = 0.0
        self._past[:] = -(2**60), -(2**60)
        self._past[:, 0] = number - 1

    def _design(self, sfreq: float) -> None:
        memory = min(self.memory_s * sfreq, 2.0**60)
        self._memory = max(_POINTS, int(memory))
        self._keep = float(np.exp(-1.0 / memory))
        self._refractory = round(self.refractory_s * sfreq)
        self._every = max(1, round(_READ_S * sfreq))
        self._least = max(2, round(0.1 * sfreq))
        self._most = 2**60 if self.calibrate_s is None else max(self._least, round(self.calibrate_s * sfreq))
        if self.thresholds_uv is not None:
            self._most = 0

    def _bins(self, chunk: Chunk, n: int) -> Array:
        if not chunk.n_samples:
            return np.empty((0, len(self._signals)))
        values = np.ascontiguousarray(chunk.physical().data, dtype=np.float64)
        bins = np.zeros((n + (chunk.stop % self.factor > 0), len(self._signals)))
        bins[0] = self._begun_bin
        self._cross(
            values, chunk.start, chunk.start % self.factor, self.factor, self._is_clean(values), self._signals,
            _SIDES[self.side], self.multiple, self._refractory, self.noise == "median", self._memory, self._keep,
            self._least, self._most, self._every, self._past, self._seen, self._counts, self._kept, self._squares,
            self._weights, self._limits, bins,
        )  # fmt: skip
        self._begun_bin[:] = bins[n] if len(bins) > n else 0.0
        return bins[:n]


class ThresholdCrossings(SpikeCount):
    """1 at every sample at which a channel crosses its threshold, else 0; the rate stays.

    Where only counts are needed, `SpikeCount` costs less.

    Parameters
    ----------
    multiple, noise, side, refractory_s, memory_s, calibrate_s, thresholds_uv
        As of `SpikeCount`.

    Raises
    ------
    ConfigError
        If a setting is out of range; from `prepare`, if thresholds do not fit.

    Notes
    -----
    As of `SpikeCount` with bins of one sample: a sample with an unknown value (NaN) is unknown, trigger channels pass
    unchanged, `delay_s` is 0.
    """

    def __init__(
        self, multiple: float = 4.5, noise: Literal["median", "rms"] = "median",
        side: Literal["negative", "positive", "both"] = "negative", refractory_s: float = 0.001, memory_s: float = 10.0,
        calibrate_s: float | None = None, thresholds_uv: Sequence[float] | None = None,
    ) -> None:  # fmt: skip
        super().__init__(1.0, multiple, noise, side, refractory_s, memory_s, calibrate_s, thresholds_uv)

    def _bin(self, info: StreamInfo) -> int:
        return 1


class SpikeBandPower(Block):
    """Spiking-band power: mean magnitude of 300 to 1000 Hz in bins that follow one another.

    Parameters
    ----------
    bin_s : float, default=0.05
        Length of a bin, s.
    low_hz, high_hz : float, default=300 and 1000
        The band (-3 dB); the band of [1]_.
    order : int, default=2
        Order of the Butterworth prototype.
    measure : {"magnitude", "power"}, default="magnitude"
        Mean of the absolute value, as in [1]_, or of the square.

    Raises
    ------
    ConfigError
        If a setting is out of range; from `prepare`, if the band does not fit below half the sampling rate.

    Notes
    -----
    A `Bandpass` and a `BinPower`, whose notes on gaps, NaN and trigger channels hold. Names become
    "C3 300-1000 Hz magnitude". `delay_s` is half a bin and the delay of the filter.

    References
    ----------
    .. [1] S. Nason et al. A low-power band of neuronal spiking activity dominated by local single units improves the
       performance of brain-machine interfaces. Nature Biomedical Engineering 4:973-983, 2020.
       doi:10.1038/s41551-020-0591-0
    """

    def __init__(
        self, bin_s: float = 0.05, low_hz: float = 300.0, high_hz: float = 1000.0, order: int = 2,
        measure: Literal["magnitude", "power"] = "magnitude",
    ) -> None:  # fmt: skip
        self.bin_s, self.low_hz, self.high_hz, self.order, self.measure = bin_s, low_hz, high_hz, order, measure
        self._band, self._bins = Bandpass(low_hz, high_hz, order), BinPower(bin_s, measure)
        self._out_info: StreamInfo | None = None

    def prepare(self, info: StreamInfo) -> StreamInfo:
        """Design for `info`; return what comes out."""
        plain = self._bins.prepare(self._band.prepare(info))
        self.delay_s = self._band.delay_s + self._bins.delay_s
        what = f"{self.low_hz:g}-{self.high_hz:g} Hz {self.measure}"
        pairs = zip(plain.channels, signal_columns(info), strict=True)
        channels = tuple(replace(c, name=f"{c.name} {what}") if signal else c for c, signal in pairs)
        self._out_info = replace(plain, channels=channels)
        return self._out_info

    def process(self, chunk: Chunk) -> Chunk:
        """Return the bins that are complete; may be empty."""
        if self._out_info is None:
            raise not_prepared(self)
        return self._bins.process(self._band.process(chunk)).replace(info=self._out_info)

    def reset(self) -> None:
        """Forget all samples, keep the settings."""
        self._band.reset()
        self._bins.reset()
