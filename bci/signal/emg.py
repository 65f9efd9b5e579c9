"""Envelope of the surface electromyogram: how hard a muscle pulls."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

import numpy as np

from bci.errors import ConfigError
from bci.ports import Block
from bci.signal.feed import Feed
from bci.signal.filters import Bandpass, Highpass, Lowpass
from bci.signal.stages import not_prepared, signal_columns
from bci.stream import Chunk, Flag, StreamInfo


class EmgEnvelope(Block):
    """Linear envelope, or moving root mean square, of surface EMG.

    Parameters
    ----------
    method : {"rectify", "rms"}, default="rectify"
        "rectify": band-pass, absolute value, low-pass: the linear envelope. "rms": band-pass, root of the mean square
        over a window.
    low_hz : float, default=20
        High-pass corner, Hz: what is below is movement of cable and skin [1]_.
    high_hz : float, default=450
        Low-pass corner, Hz; where it lies at or above 0.9 of half the sampling rate there is none.
    smooth_hz : float, default=6
        Corner of the low-pass after rectification, Hz (Butterworth of order 2).
    window_s : float, default=0.25
        Length of the window of "rms", s.

    Raises
    ------
    ConfigError
        If a setting is out of range; from `prepare`, if low_hz does not lie below half the sampling rate.

    Notes
    -----
    The filters are Butterworth of order 2; the corner of 20 Hz is that of [1]_, sensors and places are those of [2]_.
    For normal noise the rectified envelope is sqrt(2 / pi) = 0.80 of the root mean square. The low-pass overshoots a
    little: below 0 the envelope is 0. The mean square is that of the window exactly (of what there is at first):
    nothing accumulates.

    Every channel begins in the steady state at the beginning and behind a gap: at 0. An unknown value (NaN) stays
    unknown; what follows goes on with the last known value. Trigger channels pass unchanged. Names become "FDI
    envelope"; the unit stays. `delay_s` is the delay of the band at its centre and of the low-pass at 0 Hz, or half the
    window.

    References
    ----------
    .. [1] C. De Luca et al. Filtering the surface EMG signal: movement artifact and baseline noise contamination.
       J Biomech 43:1573-1579, 2010. doi:10.1016/j.jbiomech.2010.01.027
    .. [2] H. Hermens et al. Development of recommendations for SEMG sensors and sensor placement procedures.
       J Electromyogr Kinesiol 10:361-374, 2000. doi:10.1016/S1050-6411(00)00027-4
    """

    _feed: Feed | None = None

    def __init__(
        self, method: Literal["rectify", "rms"] = "rectify", low_hz: float = 20.0, high_hz: float = 450.0,
        smooth_hz: float = 6.0, window_s: float = 0.25,
    ) -> None:  # fmt: skip
        if method not in ("rectify", "rms") or not (0 < smooth_hz < low_hz < high_hz and 0 < window_s < np.inf):
            raise ConfigError(
                "expected 'rectify' or 'rms', 0 < smooth_hz < low_hz < high_hz and window_s above 0 s, got "
                f"{method!r}, {smooth_hz}, {low_hz} and {high_hz} Hz and {window_s} s; leave the defaults if unsure"
            )
        self.method, self.low_hz, self.high_hz = method, low_hz, high_hz
        self.smooth_hz, self.window_s = smooth_hz, window_s

    def prepare(self, info: StreamInfo) -> StreamInfo:
        """Design for `info`; return what comes out."""
        from bci.signal import kernels_body

        kernels_body.warm_up()
        self._moving_rms = kernels_body.moving_rms
        fits = self.high_hz < 0.9 * info.sfreq / 2
        self._band = Bandpass(self.low_hz, self.high_hz, 2) if fits else Highpass(self.low_hz, 2)
        between = self._band.prepare(info)
        self._feed = Feed(between)
        self._signals = signal_columns(info).astype(np.uint8)
        self._low = Lowpass(self.smooth_hz, 2)
        self._low.prepare(between)
        window = max(1, round(self.window_s * info.sfreq))
        self._block, self._suffix = np.zeros((window, info.n_channels)), np.zeros((window + 1, info.n_channels))
        self._prefix, self._marks = np.zeros(info.n_channels), np.zeros(2, np.int64)
        smoothing = self._low.delay_s if self.method == "rectify" else (window - 1) / 2 / info.sfreq
        self.delay_s = self._band.delay_s + smoothing
        pairs = zip(between.channels, self._signals, strict=True)
        channels = tuple(replace(c, name=f"{c.name} envelope") if signal else c for c, signal in pairs)
        self._out_info = replace(between, channels=channels)
        self.reset()
        return self._out_info

    def process(self, chunk: Chunk) -> Chunk:
        """Return the envelope of `chunk`."""
        if self._feed is None:
            raise not_prepared(self)
        band = self._band.process(chunk)
        rows = self._feed.take(band)
        if rows.restart:
            self._restart()
        values = rows.values
        if self.method == "rms":
            self._moving_rms(values, self._signals, self._marks, self._block, self._suffix, self._prefix)
        else:
            signals = self._signals.astype(bool)
            passed = values[:, ~signals]
            smooth = self._low.process(band.replace(data=np.abs(values), flags=rows.flags & ~Flag.NAN))
            values = np.maximum(smooth.data, 0.0)
            values[:, ~signals] = passed
        if rows.bad is not None:
            values[rows.bad.astype(bool)] = np.nan
        flags = rows.flags & ~Flag.NAN | (Flag.NAN if np.isnan(values).any() else Flag.OK)
        return Chunk(values, chunk.times, chunk.start, self._out_info, chunk.events, flags)

    def reset(self) -> None:
        """Forget all samples, keep the settings."""
        if self._feed is not None:
            for part in (self._band, self._feed, self._low):
                part.reset()
            self._restart()

    def _restart(self) -> None:
        for state in (self._block, self._suffix, self._prefix, self._marks):
            state[:] = 0
