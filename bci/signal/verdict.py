"""What measures mean: one verdict for each channel, with its reason in words."""

from __future__ import annotations

import enum
import math
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bci.errors import ConfigError
from bci.signal.contact import in_words
from bci.signal.measures import RECENT_HOPS, Measured
from bci.stream import Channel, Kind

_BIOSIGNALS = (Kind.EEG, Kind.EOG, Kind.EMG, Kind.ECG)
_LEAST_EEG_UV, _USUAL_EEG_UV, _MOST_EEG_UV = 0.01, 30.0, 100.0
_MANY = 8  # channels from which on one can be told by the others


class Level(enum.IntEnum):
    """How far a channel can be trusted."""

    GOOD = 0
    DOUBTFUL = 1
    """Worth a look; nothing is stopped."""
    BAD = 2
    """Decisions must not rest on it."""


@dataclass(frozen=True, slots=True)
class ChannelQuality:
    """The verdict on one channel.

    Parameters
    ----------
    name : str
        The channel.
    level : Level
        How far it can be trusted.
    fault : str
        The gravest fault in one word ("flat", "rail", "nan", "contact", "mains", "muscle", "drift", "jump",
        "artefacts", "faint", "alone", "bridge", "unit"); "" where there is none.
    reason : str
        Why, in words; "" for a good channel.
    """

    name: str
    level: Level = Level.GOOD
    fault: str = ""
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Thresholds:
    """From where on a measure makes a channel doubtful, and bad; see docs/decisions/0006 for why these.

    Parameters
    ----------
    mains_share : float
        Doubtful: share of the power that is mains, where it is also at least `mains_least_uv` (µV, rms).
    mains_bad_uv : float
        Bad: so much mains that a filter with 40 dB leaves as much as there is EEG, µV (rms).
    muscle_uv, muscle_bad_uv : float
        Noise from 30 to 100 Hz, µV (rms).
    muscle_times, muscle_least_uv : float
        Doubtful too: so many times the median of all EEG channels (of 8 or more), and so many µV.
    drift_uv_s, drift_bad_uv_s : float
        Slope over 4 s, µV/s.
    jump_z, jump_bad_uv : float
        Bad for a second: a step between two bins beyond this robust z and this size, µV.
    artefact_rate, artefact_bad_rate : float
        Share of the last 10 s.
    faint_uv, faint_bad_uv : float
        Less than this from 1 to 30 Hz, µV (rms): no brain is that quiet.
    correlation : float
        Doubtful below this largest correlation with a neighbour (EEG channels, of 8 or more).
    bridge_uv : float
        Doubtful: less than this between two neighbours from 1 to 30 Hz, µV (rms).
    clipped : float
        Bad: share of a second at the very extremes.
    unknown : float
        Bad: share of a second that is NaN.
    contact_kohm, contact_bad_kohm : float
        Impedance of an electrode, kOhm.

    Raises
    ------
    ConfigError
        If what is bad would not be doubtful.
    """

    mains_share: float = 0.9
    mains_least_uv: float = 20.0
    mains_bad_uv: float = 500.0
    muscle_uv: float = 25.0
    muscle_bad_uv: float = 100.0
    muscle_times: float = 4.0
    muscle_least_uv: float = 10.0
    drift_uv_s: float = 150.0
    drift_bad_uv_s: float = 1000.0
    jump_z: float = 20.0
    jump_bad_uv: float = 500.0
    artefact_rate: float = 0.25
    artefact_bad_rate: float = 0.5
    faint_uv: float = 0.5
    faint_bad_uv: float = 0.2
    correlation: float = 0.25
    bridge_uv: float = 1.0
    clipped: float = 0.15
    unknown: float = 0.5
    contact_kohm: float = 50.0
    contact_bad_kohm: float = 750.0

    def __post_init__(self) -> None:
        for low, high in (
            ("muscle_uv", "muscle_bad_uv"), ("drift_uv_s", "drift_bad_uv_s"), ("contact_kohm", "contact_bad_kohm"),
            ("artefact_rate", "artefact_bad_rate"), ("faint_bad_uv", "faint_uv"), ("mains_least_uv", "mains_bad_uv"),
        ):  # fmt: skip
            if not 0 < getattr(self, low) <= getattr(self, high):
                raise ConfigError(
                    f"thresholds need 0 < {low} <= {high}, got {getattr(self, low)} and {getattr(self, high)}; "
                    "what is bad is doubtful already"
                )


DEFAULT = Thresholds()


def of_contact(name: str, kohm: float, limits: Thresholds = DEFAULT) -> ChannelQuality:
    """Return the verdict on a channel by the impedance of its electrode, kOhm; NaN says nothing against it."""
    if not kohm >= limits.contact_kohm:
        return ChannelQuality(name)
    level = Level.BAD if kohm >= limits.contact_bad_kohm else Level.DOUBTFUL
    words = in_words(kohm)
    return ChannelQuality(name, level, "contact", words if math.isinf(kohm) else f"contact of {words}")


class Judge:
    """Judges channels by what was measured; the gravest fault gives the reason.

    Parameters
    ----------
    channels : sequence of Channel
        What is measured. Only biosignals in µV are judged by their noise, and only EEG by muscle and neighbours.
    limits : Thresholds
        From where on.

    Notes
    -----
    Values that no EEG in µV can have, more than 100 µV or less than 0.01 µV (root mean square from 1 to 30 Hz,
    median of the EEG channels and of 10 s), are EEG in another unit. Every channel is then doubtful, and the limits
    in µV are taken as for an EEG of 30 µV.
    """

    def __init__(self, channels: Sequence[Channel], limits: Thresholds = DEFAULT) -> None:
        self._names = [c.name for c in channels]
        self._good = [ChannelQuality(name) for name in self._names]
        self._bio = np.array([c.kind in _BIOSIGNALS and c.unit == "uV" for c in channels])
        self._eeg = np.array([c.kind is Kind.EEG for c in channels]) & self._bio
        self._limits = limits
        self.reset()

    def reset(self) -> None:
        """Forget which unit the values seem to have."""
        self._sizes: deque[float] = deque(maxlen=RECENT_HOPS)

    def judge(self, measured: Measured) -> list[ChannelQuality]:
        """Return the verdict on each channel."""
        found = self._good.copy()
        rules = self._rules(measured, self._unit(measured))
        is_open = np.ones(len(found), dtype=np.bool_)
        for level in (Level.BAD, Level.DOUBTFUL):
            for rule in rules:  # within a level the first has the word; words are made for it alone: they cost most
                has = (rule.bad if level is Level.BAD else rule.doubtful) & is_open
                for c in np.flatnonzero(has) if has.any() else ():
                    found[c] = ChannelQuality(self._names[c], level, rule.fault, rule.say(int(c)))
                is_open &= ~has
        return found

    def _unit(self, measured: Measured) -> float:
        """Return how many µV a value of 1 seems to be the reciprocal of: 1 where the unit is right."""
        sizes = measured.eeg_uv[self._eeg]
        sizes = sizes[np.isfinite(sizes) & (sizes > 0)]
        if len(sizes):
            self._sizes.append(float(np.median(sizes)))
        if not self._sizes:
            return 1.0
        usual_uv = float(np.median(list(self._sizes)))
        return 1.0 if _LEAST_EEG_UV <= usual_uv <= _MOST_EEG_UV else usual_uv / _USUAL_EEG_UV

    def _rules(self, m: Measured, unit: float) -> list[_Rule]:
        t, bio, eeg = self._limits, self._bio, self._eeg
        never = np.zeros(len(bio), dtype=np.bool_)
        wrong = np.full(len(bio), unit)
        many = int(eeg.sum()) >= _MANY
        usual = float(np.median(m.muscle_uv[eeg])) if many else np.inf  # NaN where one is: then nothing sticks out
        sticks_out = (m.muscle_uv >= t.muscle_times * usual) & (m.muscle_uv >= t.muscle_least_uv * unit)
        drift = np.abs(m.drift_uv_s)
        twins = np.array([self._names[k] for k in m.twin])
        return [
            _Rule("nan", m.unknown >= t.unknown, m.unknown > 0, "{:.0%} of the last second is unknown", (m.unknown,)),
            _Rule("rail", m.clipped >= t.clipped, never, "{:.0%} of the last second stands at its rail", (m.clipped,)),
            _Rule("faint", bio & (m.eeg_uv < t.faint_bad_uv * unit), bio & (m.eeg_uv < t.faint_uv * unit),
                  "no signal, {:.2g} µV", (m.eeg_uv,)),
            _Rule("mains", bio & (m.mains_uv >= t.mains_bad_uv * unit),
                  bio & (m.mains_share >= t.mains_share) & (m.mains_uv >= t.mains_least_uv * unit),
                  "{:.0f} µV of {:.0f} Hz mains, {:.0%} of the signal", (m.mains_uv, m.mains_hz, m.mains_share)),
            _Rule("muscle", eeg & (m.muscle_uv >= t.muscle_bad_uv * unit),
                  eeg & ((m.muscle_uv >= t.muscle_uv * unit) | sticks_out),
                  "{:.0f} µV of noise above 30 Hz (muscle, loose contact)", (m.muscle_uv,)),
            _Rule("jump", bio & (m.jump_z >= t.jump_z) & (m.jump_uv >= t.jump_bad_uv * unit), never,
                  "jumped by {:.0f} µV", (m.jump_uv,)),
            _Rule("drift", bio & (drift >= t.drift_bad_uv_s * unit), bio & (drift >= t.drift_uv_s * unit),
                  "drifts by {:+.0f} µV/s", (m.drift_uv_s,)),
            _Rule("artefacts", bio & (m.artefacts >= t.artefact_bad_rate), bio & (m.artefacts >= t.artefact_rate),
                  "artefacts in {:.0%} of the last 10 s", (m.artefacts,)),
            _Rule("alone", never, eeg & many & (m.correlation < t.correlation),
                  "unlike its neighbours, correlation {:.2f}", (m.correlation,)),
            _Rule("bridge", never, eeg & many & (m.twin_uv < t.bridge_uv * unit),
                  "the same as {}, {:.1f} µV apart (gel bridge)", (twins, m.twin_uv)),
            _Rule("unit", never, eeg & (unit != 1.0), "{:.2g} times the size of EEG in µV; check the unit", (wrong,)),
        ]  # fmt: skip


@dataclass(frozen=True, slots=True, eq=False)
class _Rule:
    """One fault: which channels have it at which level, and the words for it."""

    fault: str
    bad: NDArray[np.bool_]
    doubtful: NDArray[np.bool_]
    words: str
    values: tuple[NDArray[np.generic], ...]

    def say(self, c: int) -> str:
        return self.words.format(*(v[c] for v in self.values))
