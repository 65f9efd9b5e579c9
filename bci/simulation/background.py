"""What an electroencephalogram shows whatever the person does: noise, alpha, blinks, mains."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from bci.errors import ConfigError
from bci.simulation.electrodes import angles, positions

BLOCK = 256
"""Samples made at a time; fixed, so that the signal does not depend on how it is read."""


class Rhythm:
    """A cortical rhythm of unit power: white noise through a resonance.

    Parameters
    ----------
    frequency_hz, width_hz : float
        Centre and full width at half power of the resonance, Hz.
    sfreq : float
        Sampling rate in Hz.
    rng : Generator
        Source of the noise, owned by this rhythm.

    Notes
    -----
    An autoregressive process of order two, the linear model of an alpha rhythm [1]_:
    its amplitude waxes and wanes over about ``1 / width_hz`` seconds.

    References
    ----------
    .. [1] L. H. Zetterberg. Estimation of parameters for a linear difference equation with
       application to EEG analysis. Math Biosci 5:227-275, 1969. doi:10.1016/0025-5564(69)90044-3
    """

    def __init__(self, frequency_hz: float, width_hz: float, sfreq: float, rng: np.random.Generator) -> None:
        radius = np.exp(-np.pi * width_hz / sfreq)
        turn = np.cos(2 * np.pi * frequency_hz / sfreq)
        self._a = np.array([1.0, -2 * radius * turn, radius**2])
        # Power of an AR(2) process driven by unit noise (Yule-Walker), so that the output has power 1.
        a1, a2 = self._a[1:]
        power = (1 + a2) / ((1 - a2) * ((1 + a2) ** 2 - a1**2))
        self._b = np.array([1 / np.sqrt(power)])
        self._state = np.zeros(2)
        self._rng = rng
        for _ in range(int(np.ceil(5 / (np.pi * width_hz) * sfreq / BLOCK))):  # until it forgot that it began at rest
            self.block()

    def block(self) -> NDArray[np.float64]:
        """Return the next block, shape (BLOCK,)."""
        from scipy.signal import lfilter

        out, self._state = lfilter(self._b, self._a, self._rng.standard_normal(BLOCK), zi=self._state)
        result: NDArray[np.float64] = out
        return result


class Background:
    """Spontaneous activity at the electrodes, in blocks.

    Parameters
    ----------
    ch_names : sequence of str
        Electrodes, names of the 10-10 system.
    sfreq : float
        Sampling rate in Hz, at least 100.
    rng : Generator
        Source of all randomness.
    noise_uv : float, default=10
        Root mean square of the 1/f noise at every electrode, µV.
    alpha_uv : float, default=12
        Root mean square of the posterior alpha rhythm where it is strongest, µV.
    alpha_hz : float, default=10
        Frequency of that rhythm, Hz.
    line_uv, line_hz : float, default=1 and 50
        Amplitude and frequency of mains pick-up, µV and Hz.
    blinks_per_minute : float, default=12
        Mean rate of eye blinks.

    Raises
    ------
    ConfigError
        If a name is unknown, the rate too low, or an amplitude negative.

    Notes
    -----
    The noise falls off in power as 1/f between 0.5 and 60 Hz [1]_, and its correlation falls
    off exponentially with the angle between electrodes. Blinks (about 0.3 s, 120 µV at Fpz [2]_)
    come as a Poisson process.

    References
    ----------
    .. [1] B. J. He. Scale-free brain activity: past, present, and future. Trends Cogn Sci
       18:480-487, 2014. doi:10.1016/j.tics.2014.04.003
    .. [2] R. J. Croft, R. J. Barry. Removal of ocular artifact from the EEG: a review.
       Neurophysiol Clin 30:5-19, 2000. doi:10.1016/S0987-7053(00)00055-1
    """

    def __init__(
        self,
        ch_names: Sequence[str],
        sfreq: float,
        rng: np.random.Generator,
        *,
        noise_uv: float = 10.0,
        alpha_uv: float = 12.0,
        alpha_hz: float = 10.0,
        line_uv: float = 1.0,
        line_hz: float = 50.0,
        blinks_per_minute: float = 12.0,
    ) -> None:
        amounts = {
            "noise_uv": noise_uv,
            "alpha_uv": alpha_uv,
            "line_uv": line_uv,
            "blinks_per_minute": blinks_per_minute,
        }
        for name, value in amounts.items():
            if not (np.isfinite(value) and value >= 0):
                raise ConfigError(f"{name} must be 0 or more, got {value}; give a finite amount")
        if not sfreq >= 100:
            raise ConfigError(f"a simulated brain needs a rate of at least 100 Hz, got {sfreq} Hz; raise sfreq")
        self.sfreq = float(sfreq)
        places = positions(ch_names)
        streams = rng.spawn(5)
        self._mix = noise_uv * _correlated(places)
        self._noise_rng, self._sensor_rng, self._blink_rng = streams[0], streams[1], streams[2]
        self._sensor_uv = 0.05 * noise_uv
        self._pink = _pink_sections(self.sfreq)
        self._pink_state = np.zeros((len(self._pink), 2, len(places)))
        self._alpha = Rhythm(alpha_hz, 1.6, self.sfreq, streams[3])
        self._alpha_map = alpha_uv * spread(places, positions(["POz"])[0], 0.6)
        self._line_gain = line_uv * streams[4].uniform(0.3, 1.0, len(places)) * (line_hz < self.sfreq / 2)
        self._line_hz = line_hz
        self._blink_map = 120.0 * spread(places, positions(["Fpz"])[0], 0.5)
        self._blink_rate = blinks_per_minute / 60 / self.sfreq
        n_blink = round(0.3 * self.sfreq)
        self._blink_shape = np.sin(np.pi * (np.arange(n_blink) + 0.5) / n_blink) ** 2
        self._blink_tail = np.zeros(n_blink)
        self._sample = 0
        for _ in range(int(np.ceil(2 * self.sfreq / BLOCK))):  # 0.5 Hz, the slowest part, has settled after 2 s
            self._noise()

    def block(self) -> NDArray[np.float64]:
        """Return the next block at the electrodes, µV, shape (BLOCK, n_channels)."""
        number = self._sample + np.arange(BLOCK)
        line = np.sin(2 * np.pi * ((self._line_hz / self.sfreq * number) % 1.0))
        out = self._noise() + np.outer(self._alpha.block(), self._alpha_map)
        out += np.outer(line, self._line_gain) + np.outer(self._blinks(), self._blink_map)
        self._sample += BLOCK
        return out

    def _noise(self) -> NDArray[np.float64]:
        from scipy.signal import sosfilt

        white = self._noise_rng.standard_normal((BLOCK, len(self._mix)))
        pink, self._pink_state = sosfilt(self._pink, white, axis=0, zi=self._pink_state)
        sensor = self._sensor_uv * self._sensor_rng.standard_normal(pink.shape)
        result: NDArray[np.float64] = pink @ self._mix + sensor
        return result

    def _blinks(self) -> NDArray[np.float64]:
        """Return the course of this block's blinks; one that is not over continues in the next."""
        course = np.zeros(BLOCK + len(self._blink_shape))
        course[: len(self._blink_tail)] += self._blink_tail
        for onset in np.flatnonzero(self._blink_rng.random(BLOCK) < self._blink_rate):
            course[onset : onset + len(self._blink_shape)] += self._blink_shape
        self._blink_tail = course[BLOCK:]
        return course[:BLOCK]


def spread(places: NDArray[np.float64], source: NDArray[np.float64], width: float) -> NDArray[np.float64]:
    """Return the weight of a source under unit vector `source` at each electrode, shape (n_channels,).

    Skull and skin blur a cortical patch to a hill: a Gaussian of the angle with standard deviation `width`, rad.
    """
    result: NDArray[np.float64] = np.exp(-0.5 * (angles(places, source[None])[:, 0] / width) ** 2)
    return result


def _correlated(places: NDArray[np.float64], length: float = 0.8) -> NDArray[np.float64]:
    """Return the matrix, shape (n, n), that gives unit white noise (rows) a correlation of exp(-angle / length)."""
    values, vectors = np.linalg.eigh(np.exp(-angles(places, places) / length))
    result: NDArray[np.float64] = (vectors * np.sqrt(np.maximum(values, 0))) @ vectors.T
    return result


def _pink_sections(sfreq: float) -> NDArray[np.float64]:
    """Return second-order sections whose power falls off as 1/f from 0.5 to 60 Hz, with unit output for unit noise.

    Poles and zeros alternate at equal steps on a logarithmic scale: half of a
    first-order slope of -20 dB per decade remains.
    """
    from scipy.signal import bilinear_zpk, freqz_sos, zpk2sos

    # Each stage is one octave and a half; a zero half a stage above its pole.
    edges = 0.5 * 2 ** (1.5 * np.arange(6))
    poles, zeros = -2 * np.pi * edges, -2 * np.pi * edges * 2**0.75
    z, p, k = bilinear_zpk(zeros, poles, 1.0, sfreq)
    sections: NDArray[np.float64] = zpk2sos(z, p, k)
    # Output power for unit white noise is the mean of |H|^2 around the circle (Parseval).
    _, response = freqz_sos(sections, worN=1 << 15)
    sections[0, :3] /= np.sqrt(np.mean(np.abs(response) ** 2))
    return sections
