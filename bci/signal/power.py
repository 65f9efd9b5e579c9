"""Power in bins: how strong a band is, at a rate that a decoder can take."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from bci.errors import ConfigError
from bci.signal.binned import Binned, samples_of
from bci.signal.stages import Line, signal_columns
from bci.stream import Chunk, StreamInfo


class BinPower(Binned):
    """Mean power or mean magnitude of every channel in bins that follow one another.

    After `Highpass(300)` on a cortical array it is the spiking-band power of [1]_. Output sample n is told by the
    input samples from n times the bin's length on, has the time of the last of them, and comes with it; so neither
    cuts nor gaps move the bins. A bin with a gap inside is left out.

    Parameters
    ----------
    bin_s : float
        Length of a bin, s; rounded to whole samples, once.
    measure : {"magnitude", "power"}, default="magnitude"
        Mean of the absolute value, in the unit of the channel, or of the square.

    Raises
    ------
    ConfigError
        If `bin_s` is not above 0, `measure` unknown; from `prepare`, if a bin is shorter than a sample.

    Notes
    -----
    Trigger channels keep the last value of the bin. A bin with an unknown value (NaN) is unknown in that channel.
    `delay_s` is half a bin.

    References
    ----------
    .. [1] S. Nason et al. A low-power band of neuronal spiking activity dominated by local single units improves the
       performance of brain-machine interfaces. Nature Biomedical Engineering 4:973-983, 2020.
       doi:10.1038/s41551-020-0591-0
    """

    def __init__(self, bin_s: float, measure: Literal["magnitude", "power"] = "magnitude") -> None:
        if not bin_s > 0 or measure not in ("magnitude", "power"):
            raise ConfigError(
                f"expected bins longer than 0 s and 'magnitude' or 'power', got {bin_s} s and {measure!r}; "
                "0.05 s is usual"
            )
        self.bin_s, self.measure = bin_s, measure
        super().__init__()

    def prepare(self, info: StreamInfo) -> StreamInfo:
        """Allocate for `info`; return it with the new rate."""
        from bci.signal import kernels

        self.factor = samples_of(self.bin_s, info.sfreq)
        physical = info.physical()
        kernels.warm_up()
        self._add, self._square = kernels.add_to_bins, self.measure == "power"
        self._signals = signal_columns(info).astype(np.uint8)
        self._line = Line(info)
        self._sums = np.zeros(info.n_channels)
        self.delay_s = (self.factor - 1) / 2 / info.sfreq
        channels = physical.channels
        if self._square:
            pairs = zip(channels, self._signals, strict=True)
            channels = tuple(replace(c, unit=f"{c.unit}²") if signal else c for c, signal in pairs)
        self._out_info = replace(physical, sfreq=info.sfreq / self.factor, channels=channels)
        self.reset()
        return self._out_info

    def reset(self) -> None:
        """Forget all samples, keep the settings."""
        super().reset()
        if self._line is not None:
            self._sums[:] = 0.0

    def _begin(self, number: int) -> None:
        self._sums[:] = 0.0

    def _bins(self, chunk: Chunk, n: int) -> NDArray[np.float64]:
        bins = np.empty((n, len(self._sums)))
        if chunk.n_samples:
            values = np.ascontiguousarray(chunk.physical().data, dtype=np.float64)
            self._add(values, chunk.start % self.factor, self.factor, self._square, self._signals, self._sums, bins)
        return bins
