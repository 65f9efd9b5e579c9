"""Causal filters over time: band-pass, high-pass, low-pass and notch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from bci.errors import ConfigError
from bci.signal.stages import SosStage, Stage, StagedBlock, signal_columns
from bci.stream import StreamInfo


class Bandpass(StagedBlock):
    """Causal Butterworth band-pass.

    Parameters
    ----------
    low_hz, high_hz : float
        Cut-off frequencies (-3 dB), 0 < low_hz < high_hz < sfreq / 2.
    order : int, default=4
        Order of the low-pass prototype; the band-pass has twice as many poles.

    Raises
    ------
    ConfigError
        From `prepare`, if the band does not fit below half the sampling rate.

    Notes
    -----
    State is kept in double precision: narrow bands are unstable in single.
    Trigger channels pass unchanged. `delay_s` is the group delay at the
    geometric centre of the band.

    References
    ----------
    .. [1] A. Oppenheim, R. Schafer. Discrete-Time Signal Processing, 3rd ed., sec. 7.2, 2010.
    """

    def __init__(self, low_hz: float, high_hz: float, order: int = 4) -> None:
        self.low_hz, self.high_hz, self.order = low_hz, high_hz, order

    def design(self, info: StreamInfo) -> tuple[list[Stage], StreamInfo, float]:
        """Return the cascade for `info`."""
        nyquist = info.sfreq / 2
        if not 0 < self.low_hz < self.high_hz < nyquist:
            raise ConfigError(
                f"band must satisfy 0 < low_hz < high_hz < {nyquist:g} Hz, got {self.low_hz} to {self.high_hz} Hz; "
                "move the band or raise the device's sampling rate"
            )
        _check_order(self.order)
        from scipy.signal import butter

        sos = butter(self.order, [self.low_hz, self.high_hz], "bandpass", fs=info.sfreq, output="sos")
        return _filter(sos, info, float(np.sqrt(self.low_hz * self.high_hz)))


class Highpass(StagedBlock):
    """Causal Butterworth high-pass.

    Parameters
    ----------
    cutoff_hz : float
        Cut-off frequency (-3 dB), between 0 and sfreq / 2.
    order : int, default=4
        Number of poles.

    Raises
    ------
    ConfigError
        From `prepare`, if the cut-off is not between 0 and half the sampling rate.

    Notes
    -----
    Trigger channels pass unchanged. `delay_s` is the group delay at the
    geometric mean of cut-off and sfreq / 2; it is longer close to the cut-off.
    """

    def __init__(self, cutoff_hz: float, order: int = 4) -> None:
        self.cutoff_hz, self.order = cutoff_hz, order

    def design(self, info: StreamInfo) -> tuple[list[Stage], StreamInfo, float]:
        """Return the cascade for `info`."""
        sos = _one_sided(self.cutoff_hz, self.order, "highpass", info)
        return _filter(sos, info, float(np.sqrt(self.cutoff_hz * info.sfreq / 2)))


class Lowpass(StagedBlock):
    """Causal Butterworth low-pass.

    Parameters
    ----------
    cutoff_hz : float
        Cut-off frequency (-3 dB), between 0 and sfreq / 2.
    order : int, default=4
        Number of poles.

    Raises
    ------
    ConfigError
        From `prepare`, if the cut-off is not between 0 and half the sampling rate.

    Notes
    -----
    Trigger channels pass unchanged. `delay_s` is the group delay at 0 Hz.
    """

    def __init__(self, cutoff_hz: float, order: int = 4) -> None:
        self.cutoff_hz, self.order = cutoff_hz, order

    def design(self, info: StreamInfo) -> tuple[list[Stage], StreamInfo, float]:
        """Return the cascade for `info`."""
        return _filter(_one_sided(self.cutoff_hz, self.order, "lowpass", info), info, 0.0)


class Notch(StagedBlock):
    """Causal notch at the mains frequency and its harmonics.

    Parameters
    ----------
    line_hz : float, default=50
        Mains frequency: 50 Hz in Europe, 60 Hz in America.
    harmonics : bool or int, default=True
        How many frequencies: True for `line_hz` and all its multiples below
        sfreq / 2, False for `line_hz` alone, a number for that many.
    quality : float, default=30
        Centre frequency over the -3 dB width of each notch.

    Raises
    ------
    ConfigError
        From `prepare`, if `line_hz` is not between 0 and half the sampling rate.

    Notes
    -----
    A number of harmonics that reaches half the sampling rate is cut there.
    Trigger channels pass unchanged. `delay_s` is the group delay at half of `line_hz`.

    References
    ----------
    .. [1] S. Orfanidis. Introduction to Signal Processing, sec. 11.3, 1996.
    """

    def __init__(self, line_hz: float = 50.0, harmonics: bool | int = True, quality: float = 30.0) -> None:
        self.line_hz, self.harmonics, self.quality = line_hz, harmonics, quality

    def design(self, info: StreamInfo) -> tuple[list[Stage], StreamInfo, float]:
        """Return the cascade for `info`."""
        nyquist = info.sfreq / 2
        if not 0 < self.line_hz < nyquist:
            raise ConfigError(
                f"line_hz must lie between 0 and {nyquist:g} Hz (half the sampling rate), got {self.line_hz} Hz; "
                "leave the notch out or raise the device's sampling rate"
            )
        if not (self.quality > 0 and self.harmonics >= 0):
            raise ConfigError(
                f"a notch needs quality > 0 and harmonics >= 0, got {self.quality} and {self.harmonics}; "
                "leave the defaults if unsure"
            )
        from scipy.signal import iirnotch

        sections = [np.concatenate(iirnotch(f, self.quality, fs=info.sfreq)) for f in self.frequencies(nyquist)]
        return _filter(np.array(sections), info, self.line_hz / 2)

    def frequencies(self, nyquist_hz: float) -> list[float]:
        """Return the notched frequencies in Hz below `nyquist_hz`."""
        # The pole pair of a notch on top of the Nyquist frequency degenerates: stay a little below.
        fitting = int(np.ceil(0.995 * nyquist_hz / self.line_hz)) - 1
        wanted = fitting if self.harmonics is True else max(1, int(self.harmonics))
        return [self.line_hz * k for k in range(1, max(1, min(wanted, fitting)) + 1)]


def group_delay(sos: NDArray[np.float64], frequency_hz: float, sfreq: float) -> float:
    """Return the group delay of a cascade at one frequency, s.

    Notes
    -----
    For a polynomial B(z) = sum b_k z^-k the delay is Re(sum k b_k z^-k / sum b_k z^-k) samples; those of the
    denominators are subtracted [1]_, sec. 5.1.

    References
    ----------
    .. [1] A. Oppenheim, R. Schafer. Discrete-Time Signal Processing, 3rd ed., 2010.
    """
    k = np.arange(3)
    powers = np.exp(-2j * np.pi * frequency_hz / sfreq * k)
    part = [(sos[:, side] * powers * k).sum(axis=1) / (sos[:, side] * powers).sum(axis=1) for side in _SIDES]
    return float((part[0] - part[1]).real.sum() / sfreq)


_SIDES: Sequence[slice] = (slice(0, 3), slice(3, 6))


def _filter(sos: NDArray[np.float64], info: StreamInfo, at_hz: float) -> tuple[list[Stage], StreamInfo, float]:
    return [SosStage(sos, signal_columns(info))], info, group_delay(sos, at_hz, info.sfreq)


def _one_sided(
    cutoff_hz: float, order: int, kind: Literal["highpass", "lowpass"], info: StreamInfo
) -> NDArray[np.float64]:
    nyquist = info.sfreq / 2
    if not 0 < cutoff_hz < nyquist:
        raise ConfigError(
            f"cutoff_hz must lie between 0 and {nyquist:g} Hz (half the sampling rate), got {cutoff_hz} Hz; "
            "move the cut-off or raise the device's sampling rate"
        )
    _check_order(order)
    from scipy.signal import butter

    sos: NDArray[np.float64] = butter(order, cutoff_hz, kind, fs=info.sfreq, output="sos")
    return sos


def _check_order(order: int) -> None:
    if order != int(order) or not 1 <= order <= 20:
        raise ConfigError(f"order must be a whole number from 1 to 20, got {order}; 4 suits most signals")
