"""Morlet wavelets, causal: a bank of Gaussian bands whose delay is known."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from bci.errors import ConfigError
from bci.signal.analytic import AnalyticBank, Measure, Taps


class Morlet(AnalyticBank):
    """Complex Morlet wavelets at some frequencies.

    Parameters
    ----------
    frequencies_hz : sequence of float
        Centre frequencies, each above 0 and below sfreq / 2.
    cycles : float or sequence of float, default=7
        Width: the Gaussian in time has the standard deviation cycles / (2 pi f), in frequency f / cycles; one number,
        or one per frequency.
    measure : {"amplitude", "power", "phase", "complex"}, default="amplitude"
        What comes out; "complex" gives two channels, real and imaginary part.
    step_s : float, optional
        Time between outputs, s, rounded to whole samples; 0.01 by default, None for every sample. Output sample n is
        told by the input up to sample n times the step.
    support : float, default=3
        Where the wavelet is cut off, in standard deviations on either side.

    Raises
    ------
    ConfigError
        If a setting is out of range; from `prepare`, if a frequency does not fit below half the sampling rate.

    Notes
    -----
    A sine of amplitude 1 at a centre frequency gives an amplitude of 1. The wavelet has no response to a constant [1]_:
    a multiple of the Gaussian is subtracted [2]_. All frequencies have one delay, half the support of the longest
    wavelet, which is `delay_s`: with 7 cycles and support 3 it is 3.3 periods of the lowest frequency. The phase is
    that of the signal `delay_s` before the time of the sample; see `bci.signal.phase.Phase` for the phase now.

    At the beginning and behind a gap every channel has had its first known value for ever. An unknown value (NaN)
    makes unknown the output at or next after it; the wavelet goes on with the last known value. Trigger channels are
    left out. Names are as "C3 10 Hz amplitude".

    References
    ----------
    .. [1] C. Tallon-Baudry et al. Oscillatory gamma-band (30-70 Hz) activity induced by a visual search task in humans.
       J Neurosci 17:722-734, 1997. doi:10.1523/JNEUROSCI.17-02-00722.1997
    .. [2] M. Farge. Wavelet transforms and their applications to turbulence. Annu Rev Fluid Mech 24:395-457, 1992.
       doi:10.1146/annurev.fl.24.010192.002143
    """

    def __init__(
        self, frequencies_hz: Sequence[float], cycles: float | Sequence[float] = 7.0, measure: Measure = "amplitude",
        step_s: float | None = 0.01, support: float = 3.0,
    ) -> None:  # fmt: skip
        super().__init__(measure, step_s)
        self.frequencies_hz = tuple(float(f) for f in np.atleast_1d(frequencies_hz))
        widths = np.broadcast_to(np.asarray(cycles, np.float64), np.shape(self.frequencies_hz)) if _fits(
            cycles, self.frequencies_hz
        ) else np.array([])  # fmt: skip
        if not self.frequencies_hz or not len(widths) or not (widths >= 1).all() or not support >= 1:
            raise ConfigError(
                "expected some frequencies, as many cycles (or one number) of 1 or more, a support of 1 or more, got "
                f"{frequencies_hz}, {cycles} and {support}; 7 cycles and support 3 are usual"
            )
        self.cycles, self.support = tuple(float(w) for w in widths), support

    def design(self, sfreq: float) -> tuple[list[Taps], float]:
        """Return the wavelets, all centred at the same lag."""
        if not all(0 < f < sfreq / 2 for f in self.frequencies_hz):
            raise ConfigError(
                f"frequencies must lie between 0 and {sfreq / 2:g} Hz (half the sampling rate), got "
                f"{self.frequencies_hz}; leave some out or raise the device's sampling rate"
            )
        pairs = list(zip(self.frequencies_hz, self.cycles, strict=True))
        halves = [int(np.ceil(self.support * w / (2 * np.pi * f) * sfreq)) for f, w in pairs]
        delay = max(halves)
        bank = []
        for (f, width), half in zip(pairs, halves, strict=True):
            n = np.arange(-half, half + 1)
            gauss = np.exp(-0.5 * (n * 2 * np.pi * f / (width * sfreq)) ** 2)
            turn = np.exp(2j * np.pi * f / sfreq * n)
            weights = gauss * (turn - (gauss * turn).sum().real / gauss.sum())
            weights *= 2.0 / np.abs((weights * turn.conj()).sum())
            bank.append(Taps(f"{f:g} Hz", delay - half, weights))
        return bank, delay / sfreq


def _fits(cycles: float | Sequence[float], frequencies_hz: tuple[float, ...]) -> bool:
    return np.ndim(cycles) == 0 or np.shape(cycles) == np.shape(frequencies_hz)
