"""A simulated person whose motor cortex answers: imagined movement quietens the opposite hemisphere."""

from __future__ import annotations

import bisect
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from bci.errors import ConfigError
from bci.simulation.background import BLOCK, Background, Rhythm, spread
from bci.simulation.electrodes import positions

CHANNELS = (
    *("Fp1", "Fp2", "F3", "F4", "FC3", "FCz", "FC4", "C3"),
    *("Cz", "C4", "CP3", "CPz", "CP4", "Pz", "O1", "O2"),
)
"""Sixteen electrodes that see both motor cortices, the eyes and the occipital alpha."""

INTENTS = ("left", "right", "rest")


class Person:
    """A brain at the electrodes that does what it intends, sample by sample.

    Parameters
    ----------
    ch_names : sequence of str, default=CHANNELS
        Electrodes, names of the 10-10 system.
    sfreq : float, default=250
        Sampling rate in Hz, at least 100.
    seed : int, default=0
        Which person, and which day: the same seed gives the same samples.
    strength : float, default=1
        How strongly the rhythms answer to imagery; 0 means not at all, 2 is an exceptional person.
    noise_uv : float, default=10
        Root mean square of the background noise, µV.
    mu_uv : float, default=5
        Root mean square of the mu rhythm over a resting hand area, µV; beta has 45 % of it.
    alpha_uv, blinks_per_minute, line_uv, line_hz : float
        See `bci.simulation.background.Background`.
    latency_s : float, default=0.4
        From intent to the beginning of the change, s.
    lapse : float, default=0.05
        Share of intents that the person misses (0 to 1).

    Raises
    ------
    ConfigError
        If a value is out of its range or an electrode unknown.

    Notes
    -----
    Imagining a movement of one hand lowers the amplitude of mu (about 11 Hz) and beta (about
    21 Hz) over the opposite hand area (event-related desynchronisation) and raises it slightly
    over the same side [1]_ [2]_. The change begins after `latency_s`, is smooth, and differs in
    depth from time to time. At rest both rhythms are full.

    The signal does not depend on how many samples are asked for at a time.

    References
    ----------
    .. [1] G. Pfurtscheller, F. H. Lopes da Silva. Event-related EEG/MEG synchronization and
       desynchronization: basic principles. Clin Neurophysiol 110:1842-1857, 1999.
       doi:10.1016/S1388-2457(99)00141-8
    .. [2] G. Pfurtscheller, C. Neuper. Motor imagery activates primary sensorimotor area in
       humans. Neurosci Lett 239:65-68, 1997. doi:10.1016/S0304-3940(97)00889-6

    Examples
    --------
    >>> person = Person(seed=1)
    >>> person.intend("left", sample=500)
    >>> person.generate(1000).shape
    (1000, 16)
    """

    def __init__(
        self,
        ch_names: Sequence[str] = CHANNELS,
        sfreq: float = 250.0,
        *,
        seed: int = 0,
        strength: float = 1.0,
        noise_uv: float = 10.0,
        mu_uv: float = 5.0,
        alpha_uv: float = 12.0,
        blinks_per_minute: float = 12.0,
        line_uv: float = 1.0,
        line_hz: float = 50.0,
        latency_s: float = 0.4,
        lapse: float = 0.05,
    ) -> None:
        for name, value in (("strength", strength), ("mu_uv", mu_uv), ("latency_s", latency_s)):
            if not (np.isfinite(value) and value >= 0):
                raise ConfigError(f"{name} must be 0 or more, got {value}; give a finite amount")
        if not 0 <= lapse <= 1:
            raise ConfigError(f"lapse is a share from 0 to 1, got {lapse}; 0.05 means that 5 of 100 are missed")
        self.ch_names, self.sfreq = tuple(ch_names), float(sfreq)
        self.strength, self.latency_s, self.lapse = float(strength), float(latency_s), float(lapse)
        self.truth: list[tuple[int, str]] = []
        """What was intended, and from which sample on."""
        traits, noise, self._will, *rhythms = np.random.default_rng(seed).spawn(7)
        self._background = Background(
            self.ch_names,
            self.sfreq,
            noise,
            noise_uv=noise_uv,
            alpha_uv=alpha_uv,
            alpha_hz=10 + traits.uniform(-0.5, 0.5),
            line_uv=line_uv,
            line_hz=line_hz,
            blinks_per_minute=blinks_per_minute,
        )
        mu_hz, beta_hz = 11 + traits.uniform(-0.7, 0.7), 21 + traits.uniform(-1.5, 1.5)
        self._mu = [Rhythm(mu_hz, 2.0, self.sfreq, rng) for rng in rhythms[:2]]
        self._beta = [Rhythm(beta_hz, 4.0, self.sfreq, rng) for rng in rhythms[2:]]
        places, areas = positions(self.ch_names), _hand_areas(traits)
        self._maps = mu_uv * np.array([spread(places, area, 0.5) for area in areas])
        self._queue: list[tuple[int, float, float]] = []
        self._gain_now = np.zeros(2)
        # Two poles at 0.12 s each: smooth, 90 % of the change after half a second.
        self._pole = float(np.exp(-1 / (0.12 * self.sfreq)))
        self._gain_state = np.zeros((2, 2))
        self._made = (np.empty((0, len(places))), np.empty((0, 2)))
        self._sample = 0

    @property
    def sample(self) -> int:
        """Number of the next sample to come."""
        return self._sample

    def intend(self, intent: str, sample: int | None = None) -> None:
        """Intend to move a hand, or nothing, from a sample on.

        Parameters
        ----------
        intent : str
            "left", "right" or "rest"; anything else means rest.
        sample : int, optional
            From which sample on, at the earliest (and by default) from the next to be generated.
        """
        intent = intent if intent in INTENTS else "rest"
        at = max(self._sample, self._sample if sample is None else sample)
        self.truth.append((at, intent))
        # Always drawn, so that what one intent does never depends on what the others were.
        depth, late, attention = self._will.normal(1, 0.2), self._will.exponential(0.08), self._will.random()
        change = self.strength * float(np.clip(depth, 0.3, 1.5)) * (intent != "rest") * (attention >= self.lapse)
        down, up = max(-0.95, -0.6 * change), 0.12 * change
        # Index 0 is the left hemisphere, which imagery of the right hand quietens.
        left, right = (down, up) if intent == "right" else (up, down)
        onset = at + round((self.latency_s + late) * self.sfreq)
        # A newer intent replaces whatever an older one was still going to do after it.
        self._queue = [entry for entry in self._queue if entry[0] < onset]
        bisect.insort(self._queue, (onset, left, right))

    def generate(self, n_samples: int) -> NDArray[np.float64]:
        """Return the next samples at the electrodes, µV, shape (n_samples, n_channels)."""
        background, sources = self._made
        while len(background) < n_samples:
            background = np.concatenate([background, self._background.block()])
            sources = np.concatenate([sources, self._rhythms()])
        self._made = background[n_samples:], sources[n_samples:]
        acting = sources[:n_samples] * self._gains(n_samples)
        # Not a matrix product: its order of summation, and so the last bit, may change with the number of rows.
        out: NDArray[np.float64] = (
            background[:n_samples] + acting[:, :1] * self._maps[0] + acting[:, 1:] * self._maps[1]
        )
        self._sample += n_samples
        return out

    def _rhythms(self) -> NDArray[np.float64]:
        """Return a block of mu plus beta of both hand areas, shape (BLOCK, 2)."""
        out = np.empty((BLOCK, 2))
        for side in range(2):
            out[:, side] = self._mu[side].block() + 0.45 * self._beta[side].block()
        return out

    def _gains(self, n_samples: int) -> NDArray[np.float64]:
        """Return the amplitude of both rhythms for the next samples, 1 at rest, shape (n_samples, 2)."""
        from scipy.signal import lfilter

        wanted = np.empty((n_samples, 2))
        done = 0
        while self._queue and self._queue[0][0] < self._sample + n_samples:
            onset, left, right = self._queue.pop(0)
            row = max(onset - self._sample, 0)
            wanted[done:row], done = self._gain_now, row
            self._gain_now = np.array([left, right])
        wanted[done:] = self._gain_now
        a = [1.0, -2 * self._pole, self._pole**2]
        out, self._gain_state = lfilter([(1 - self._pole) ** 2], a, wanted, axis=0, zi=self._gain_state)
        result: NDArray[np.float64] = 1 + out
        return result


def _hand_areas(traits: np.random.Generator) -> NDArray[np.float64]:
    """Return unit vectors over the left and right hand area, near C3 and C4, shape (2, 3); no two heads are alike."""
    areas = positions(["C3", "C4"]) + traits.normal(0, 0.06, (2, 3))
    result: NDArray[np.float64] = areas / np.linalg.norm(areas, axis=1, keepdims=True)
    return result
