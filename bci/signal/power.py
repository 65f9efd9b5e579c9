"""Power in bins: how strong a band is, at a rate that a decoder can take."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

import numpy as np

from bci.errors import ConfigError
from bci.ports import Block
from bci.signal.stages import Line, not_prepared, signal_columns
from bci.signal.thinned import Thinned
from bci.stream import Chunk, Flag, StreamInfo


class BinPower(Block):
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
        self._line: Line | None = None
        self._waiting = Thinned(self._place)
        self._is_whole = True

    def prepare(self, info: StreamInfo) -> StreamInfo:
        """Allocate for `info`; return it with the new rate."""
        from bci.signal import kernels

        self.factor = round(self.bin_s * info.sfreq)
        if self.factor < 1:
            raise ConfigError(f"a bin needs at least one sample, got {self.bin_s} s at {info.sfreq:g} Hz; lengthen it")
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

    def process(self, chunk: Chunk) -> Chunk:
        """Return the bins that are complete; may be empty."""
        if self._line is None:
            raise not_prepared(self)
        flags, restart = self._line.follow(chunk)
        self._waiting.take(chunk.events, flags)
        if restart:
            self._sums[:] = 0.0
            self._is_whole = chunk.start % self.factor == 0
        first, n = chunk.start // self.factor, chunk.stop // self.factor - chunk.start // self.factor
        bins = np.empty((n, len(self._sums)))
        if chunk.n_samples:
            values = np.ascontiguousarray(chunk.physical().data, dtype=np.float64)
            self._add(values, chunk.start % self.factor, self.factor, self._square, self._signals, self._sums, bins)
        last = self.factor - 1 - chunk.start % self.factor
        times = chunk.times[last :: self.factor]
        if n and not self._is_whole:
            first, n, bins, times, self._is_whole = first + 1, n - 1, bins[1:], times[1:], True
        begun = flags if chunk.stop % self.factor else Flag.OK
        out_flags = self._waiting.flags(n, bool(np.isnan(bins).any()), flags, begun)
        return Chunk(bins, times, first, self._out_info, self._waiting.events(first + n), out_flags)

    def _place(self, number: int) -> int:
        """Return the bin that the sample of this number belongs to."""
        return number // self.factor

    def reset(self) -> None:
        """Forget all samples, keep the settings."""
        self._waiting.reset()
        self._is_whole = True
        if self._line is not None:
            self._line.reset()
            self._sums[:] = 0.0
