"""Causal recursive filters over time: band-pass, band-stop, high-pass, low-pass and notch."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from bci.errors import ConfigError
from bci.signal.families import Family, Shape, recursive_sections
from bci.signal.stages import SosStage, Stage, StagedBlock, signal_columns
from bci.stream import StreamInfo


class _Recursive(StagedBlock):
    """A filter of one of the families between one or two cut-offs."""

    kind: ClassVar[Shape]
    order: int
    family: Family
    ripple_db: float
    attenuation_db: float

    @abstractmethod
    def _edges(self, nyquist: float) -> float | list[float]:
        """Return the cut-offs, Hz; `ConfigError` if they do not fit below `nyquist`."""

    @abstractmethod
    def _delay_at(self, sfreq: float) -> float:
        """Return the frequency at which the delay is told, Hz."""

    def design(self, info: StreamInfo) -> tuple[list[Stage], StreamInfo, float]:
        """Return the cascade for `info`."""
        edges_hz = self._edges(info.sfreq / 2)
        sos = recursive_sections(
            self.kind, edges_hz, self.order, info.sfreq, self.family, self.ripple_db, self.attenuation_db
        )
        return _filter(sos, info, self._delay_at(info.sfreq))


class _OfBand(_Recursive):
    """A filter with two cut-offs."""

    def __init__(
        self,
        low_hz: float,
        high_hz: float,
        order: int = 4,
        family: Family = "butterworth",
        ripple_db: float = 0.5,
        attenuation_db: float = 40.0,
    ) -> None:
        self.low_hz, self.high_hz, self.order = low_hz, high_hz, order
        self.family, self.ripple_db, self.attenuation_db = family, ripple_db, attenuation_db

    def _edges(self, nyquist: float) -> list[float]:
        if not 0 < self.low_hz < self.high_hz < nyquist:
            raise ConfigError(
                f"band must satisfy 0 < low_hz < high_hz < {nyquist:g} Hz, got {self.low_hz} to {self.high_hz} Hz; "
                "move the band or raise the device's sampling rate"
            )
        return [self.low_hz, self.high_hz]


class _OfCutoff(_Recursive):
    """A filter with one cut-off."""

    def __init__(
        self,
        cutoff_hz: float,
        order: int = 4,
        family: Family = "butterworth",
        ripple_db: float = 0.5,
        attenuation_db: float = 40.0,
    ) -> None:
        self.cutoff_hz, self.order = cutoff_hz, order
        self.family, self.ripple_db, self.attenuation_db = family, ripple_db, attenuation_db

    def _edges(self, nyquist: float) -> float:
        if not 0 < self.cutoff_hz < nyquist:
            raise ConfigError(
                f"cutoff_hz must lie between 0 and {nyquist:g} Hz (half the sampling rate), got {self.cutoff_hz} Hz; "
                "move the cut-off or raise the device's sampling rate"
            )
        return self.cutoff_hz


class Bandpass(_OfBand):
    """Causal recursive band-pass.

    Parameters
    ----------
    low_hz, high_hz : float
        Cut-off frequencies, 0 < low_hz < high_hz < sfreq / 2; what they mean see Notes.
    order : int, default=4
        Order of the low-pass prototype; the filter has twice as many poles.
    family : {"butterworth", "chebyshev1", "chebyshev2", "elliptic", "bessel"}, default="butterworth"
        Which approximation: flat, steeper with ripple in the pass band, in the stop band, in both, or least overshoot.
    ripple_db : float, default=0.5
        Ripple in the pass band of Chebyshev 1 and elliptic, dB.
    attenuation_db : float, default=40
        Least attenuation in the stop band of Chebyshev 2 and elliptic, dB.

    Raises
    ------
    ConfigError
        From `prepare`, if the band does not fit below half the sampling rate, or a setting is out of range.

    Notes
    -----
    A cut-off is where the gain is -3 dB for Butterworth and Bessel, where the ripple ends for Chebyshev 1 and
    elliptic, and where the stop band begins for Chebyshev 2. A Bessel filter made digital by the bilinear
    transform has a nearly constant delay only well below sfreq / 4.

    State is kept in double precision: narrow bands are unstable in single.
    Trigger channels pass unchanged. `delay_s` is the group delay at the
    geometric centre of the band.

    References
    ----------
    .. [1] A. Oppenheim, R. Schafer. Discrete-Time Signal Processing, 3rd ed., sec. 7.2, 2010.
    """

    kind = "bandpass"

    def _delay_at(self, sfreq: float) -> float:
        return float(np.sqrt(self.low_hz * self.high_hz))


class Bandstop(_OfBand):
    """Causal recursive band-stop.

    Parameters
    ----------
    low_hz, high_hz : float
        Cut-off frequencies, 0 < low_hz < high_hz < sfreq / 2; what they mean see Notes.
    order : int, default=4
        Order of the low-pass prototype; the filter has twice as many poles.
    family : {"butterworth", "chebyshev1", "chebyshev2", "elliptic", "bessel"}, default="butterworth"
        Which approximation: flat, steeper with ripple in the pass band, in the stop band, in both, or least overshoot.
    ripple_db : float, default=0.5
        Ripple in the pass band of Chebyshev 1 and elliptic, dB.
    attenuation_db : float, default=40
        Least attenuation in the stop band of Chebyshev 2 and elliptic, dB.

    Raises
    ------
    ConfigError
        From `prepare`, if the band does not fit below half the sampling rate, or a setting is out of range.

    Notes
    -----
    A cut-off is where the gain is -3 dB for Butterworth and Bessel, where the ripple ends for Chebyshev 1 and
    elliptic, and where the stop band begins for Chebyshev 2. A Bessel filter made digital by the bilinear
    transform has a nearly constant delay only well below sfreq / 4.

    State is kept in double precision: narrow bands are unstable in single.
    Trigger channels pass unchanged. `delay_s` is the group delay at 0 Hz.

    References
    ----------
    .. [1] A. Oppenheim, R. Schafer. Discrete-Time Signal Processing, 3rd ed., sec. 7.2, 2010.
    """

    kind = "bandstop"

    def _delay_at(self, sfreq: float) -> float:
        return 0.0


class Highpass(_OfCutoff):
    """Causal recursive high-pass.

    Parameters
    ----------
    cutoff_hz : float
        Cut-off frequency, between 0 and sfreq / 2; what it means see `Bandpass`.
    order : int, default=4
        Number of poles.
    family : {"butterworth", "chebyshev1", "chebyshev2", "elliptic", "bessel"}, default="butterworth"
        Which approximation: flat, steeper with ripple in the pass band, in the stop band, in both, or least overshoot.
    ripple_db : float, default=0.5
        Ripple in the pass band of Chebyshev 1 and elliptic, dB.
    attenuation_db : float, default=40
        Least attenuation in the stop band of Chebyshev 2 and elliptic, dB.

    Raises
    ------
    ConfigError
        From `prepare`, if the cut-off is not between 0 and half the sampling rate, or a setting is out of range.

    Notes
    -----
    Trigger channels pass unchanged. `delay_s` is the group delay at the
    geometric mean of cut-off and sfreq / 2; it is longer close to the cut-off.
    """

    kind = "highpass"

    def _delay_at(self, sfreq: float) -> float:
        return float(np.sqrt(self.cutoff_hz * sfreq / 2))


class Lowpass(_OfCutoff):
    """Causal recursive low-pass.

    Parameters
    ----------
    cutoff_hz : float
        Cut-off frequency, between 0 and sfreq / 2; what it means see `Bandpass`.
    order : int, default=4
        Number of poles.
    family : {"butterworth", "chebyshev1", "chebyshev2", "elliptic", "bessel"}, default="butterworth"
        Which approximation: flat, steeper with ripple in the pass band, in the stop band, in both, or least overshoot.
    ripple_db : float, default=0.5
        Ripple in the pass band of Chebyshev 1 and elliptic, dB.
    attenuation_db : float, default=40
        Least attenuation in the stop band of Chebyshev 2 and elliptic, dB.

    Raises
    ------
    ConfigError
        From `prepare`, if the cut-off is not between 0 and half the sampling rate, or a setting is out of range.

    Notes
    -----
    Trigger channels pass unchanged. `delay_s` is the group delay at 0 Hz.
    """

    kind = "lowpass"

    def _delay_at(self, sfreq: float) -> float:
        return 0.0


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
