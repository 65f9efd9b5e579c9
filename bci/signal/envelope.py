"""Envelope of a band, sample by sample."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from bci.errors import ConfigError
from bci.ports import Block
from bci.signal.analytic import MEASURES, Measure, analytic_info
from bci.signal.feed import Feed
from bci.signal.filters import Highpass, group_delay
from bci.signal.stages import not_prepared, signal_columns
from bci.stream import Chunk, Flag, StreamInfo


class Envelope(Block):
    """Amplitude of a band at every sample, by a filter that lets only its positive frequencies pass.

    Parameters
    ----------
    low_hz, high_hz : float
        Corners of the band (-3 dB), 0 < low_hz < high_hz < sfreq / 2.
    order : int, default=3
        Number of complex poles: the band falls off as a Butterworth low-pass of this order does from its centre.
    measure : {"amplitude", "power", "phase", "complex"}, default="amplitude"
        What comes out; "complex" gives two channels, real and imaginary part.

    Raises
    ------
    ConfigError
        If a setting is out of range; from `prepare`, if the band does not fit below half the sampling rate.

    Notes
    -----
    A Butterworth low-pass of half the band's width is moved up to its centre (low_hz + high_hz) / 2: the output is the
    analytic signal of the band, as band-pass and Hilbert transform give it offline, without the transform, which needs
    the future ([1]_, sec. 12.4). It equals multiplication by a complex exponential, low-pass, and multiplication back.
    A sine of amplitude 1 at the centre gives 1. What a narrow band lets through of 0 Hz and of negative frequencies
    ripples in the amplitude; a high-pass of order 2 at low_hz / 4 goes before it, since offsets are large.

    `delay_s` is the group delay at the centre; the phase is that so long ago, shifted by the high-pass by some degrees:
    see `bci.signal.phase.Phase` for the phase now. Every channel begins in the steady state for its first known value,
    at the beginning and behind a gap. An unknown value (NaN) stays unknown; the filter goes on with the last known
    one. Trigger channels are left out. Names are as "C3 8-12 Hz amplitude".

    References
    ----------
    .. [1] A. Oppenheim, R. Schafer. Discrete-Time Signal Processing, 3rd ed., 2010.
    """

    _feed: Feed | None = None

    def __init__(self, low_hz: float, high_hz: float, order: int = 3, measure: Measure = "amplitude") -> None:
        if not 0 < low_hz < high_hz or order != int(order) or not 1 <= order <= 12 or measure not in MEASURES:
            raise ConfigError(
                f"expected 0 < low_hz < high_hz, an order from 1 to 12 and a measure of {', '.join(MEASURES)}, got "
                f"{low_hz} to {high_hz} Hz, {order} and {measure!r}; leave the defaults if unsure"
            )
        self.low_hz, self.high_hz, self.order, self.measure = low_hz, high_hz, int(order), measure

    def prepare(self, info: StreamInfo) -> StreamInfo:
        """Design for `info`; return what comes out."""
        if not self.high_hz < info.sfreq / 2:
            raise ConfigError(
                f"expected high_hz below {info.sfreq / 2:g} Hz (half the sampling rate), got {self.high_hz} Hz; "
                "move the band or raise the device's sampling rate"
            )
        from bci.signal import kernels_analytic

        kernels_analytic.warm_up()
        self._filter, self._code = kernels_analytic.one_sided, MEASURES.index(self.measure)
        self._columns = np.flatnonzero(signal_columns(info))
        label = f"{self.low_hz:g}-{self.high_hz:g} Hz"
        self._out_info = analytic_info(info, [label], self.measure, info.sfreq)
        self._high = Highpass(self.low_hz / 4, 2)
        self._feed = Feed(self._high.prepare(info))
        self._design(info.sfreq)
        n = len(self._columns)
        self._state = np.zeros((self.order, 4, n))
        self._started = np.zeros(n, np.uint8)
        self._no_bad = np.zeros((1, n), np.uint8)
        self.reset()
        return self._out_info

    def process(self, chunk: Chunk) -> Chunk:
        """Return the envelope of `chunk`."""
        if self._feed is None:
            raise not_prepared(self)
        rows = self._feed.take(self._high.process(chunk))
        if rows.restart:
            self._started[:] = 0
        values = np.ascontiguousarray(rows.values[:, self._columns])
        bad = self._no_bad if rows.bad is None else np.ascontiguousarray(rows.bad[:, self._columns])
        data = np.empty((len(values), self._out_info.n_channels))
        self._filter(
            values, bad, rows.bad is not None, _parts(self._poles), _parts(self._zero)[0], _parts(self._gains),
            _parts(self._steady), self._started, self._state, self._code, data,
        )  # fmt: skip
        flags = rows.flags & ~Flag.NAN | (Flag.NAN if np.isnan(data).any() else Flag.OK)
        return Chunk(data, chunk.times, chunk.start, self._out_info, chunk.events, flags)

    def reset(self) -> None:
        """Forget all samples, keep the settings."""
        if self._feed is not None:
            self._high.reset()
            self._feed.reset()
            self._started[:] = 0

    def _design(self, sfreq: float) -> None:
        from scipy.signal import butter

        turn = np.exp(1j * np.pi * (self.low_hz + self.high_hz) / sfreq)
        _, poles, _ = butter(self.order, (self.high_hz - self.low_hz) / 2, fs=sfreq, output="zpk")
        self._poles = np.asarray(poles) * turn
        self._zero = np.array([turn])  # the low-pass's zeros at -1, moved along: y = g (x + turn x') + p y'
        # Every section has gain 1 at the centre; the sum of both signs' halves needs 2, given to the first.
        self._gains = (1.0 - np.asarray(poles)) / 2.0
        self._gains[0] *= 2.0
        self._steady = np.cumprod(self._gains * (1.0 + turn) / (1.0 - self._poles))
        # Group delay of a section at the centre: that of the low-pass at 0 Hz, Re(1/2 + p / (1 - p)) samples.
        delay = float((0.5 + (poles / (1.0 - poles)).real).sum()) / sfreq
        high = butter(2, self.low_hz / 4, "highpass", fs=sfreq, output="sos")  # as `Highpass` designs it
        self.delay_s = delay + group_delay(high, (self.low_hz + self.high_hz) / 2, sfreq)


def _parts(values: NDArray[np.complex128]) -> NDArray[np.float64]:
    """Return `values` as rows of real and imaginary part."""
    return np.stack([values.real, values.imag], axis=1)
