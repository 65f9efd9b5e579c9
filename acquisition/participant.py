"""A simulated person as a device: motor cortex that answers the cues, with faults on request."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Literal

import numpy as np

from bci.acquisition.driver import SILENCE_S, Driver, Samples, State
from bci.clock import Clock, ManualClock
from bci.errors import ConfigError, DeviceError, DeviceLost
from bci.simulation.electrodes import HEAD_RADIUS_M, positions
from bci.simulation.person import CHANNELS, Person
from bci.stream import Channel, StreamInfo, unknown

_USUAL_KOHM, _SPREAD = 6.0, 0.4
"""Median and spread (of the natural logarithm) of contacts with gel; 1 of 20 is above 12 kOhm."""
_READING_ERROR = 0.02
_BACKLOG_S = 1.0
"""Most that one read hands over when the reader comes late, s."""


class Participant(Driver):
    """A person of `bci.simulation` in front of an amplifier.

    What the session shows arrives through `respond`: "left" and "right" make the
    person imagine that hand, anything else makes them rest.

    Parameters
    ----------
    seed : int, default=0
        Which person, and which day; the same seed and cues give the same samples.
    strength : float, default=1
        How strongly the rhythms answer to imagery; 0 means not at all.
    noise_uv : float, default=10
        Root mean square of the background noise, µV.
    lapse : float, default=0.05
        Share of cues that the person misses (0 to 1).
    sfreq : float, default=250
        Sampling rate in Hz, at least 100.
    channels : sequence of str, default=CHANNELS
        Electrodes, names of the 10-10 system.
    chunk_s : float, default=0.04
        Length of one packet of the amplifier, s.
    speed : float or "max", default="max"
        1 runs in real time; "max" and every other factor run on the
        participant's own clock, which stands at its newest sample.
    drop : sequence of (float, int)
        Faults: at the first time (s after start) lose as many samples.
    silent : sequence of (float, float)
        Faults: from the first time (s after start) deliver nothing for the
        second (s); those samples are lost.
    disconnect_at_s : float, optional
        Fault: the amplifier is gone at this time, s after start.
    impedance_kohm : mapping of str to float, optional
        Contacts that are to be told for these electrodes, kOhm, inf for one that is off; the others follow from the
        seed. They leave the samples as they are.
    clock : Clock, optional
        Session clock; one of its own if not given.
    silence_s : float, default=0.22
        See `bci.acquisition.driver.Driver`.

    Raises
    ------
    ConfigError
        If a setting is out of its range, an electrode unknown, or `clock` cannot be moved by it.
    """

    def __init__(
        self,
        *,
        seed: int = 0,
        strength: float = 1.0,
        noise_uv: float = 10.0,
        lapse: float = 0.05,
        sfreq: float = 250.0,
        channels: Sequence[str] = CHANNELS,
        chunk_s: float = 0.04,
        speed: float | Literal["max"] = "max",
        drop: Sequence[tuple[float, int]] = (),
        silent: Sequence[tuple[float, float]] = (),
        disconnect_at_s: float | None = None,
        impedance_kohm: Mapping[str, float] = MappingProxyType({}),
        clock: Clock | None = None,
        silence_s: float = SILENCE_S,
    ) -> None:
        self.speed = _checked_speed(speed)
        own_time = self.speed != 1.0
        if own_time and clock is not None and not isinstance(clock, ManualClock):
            raise ConfigError(
                f"speed={speed} needs a clock that the participant can move, got {type(clock).__name__}; "
                "pass a ManualClock or no clock, or set speed=1.0"
            )
        super().__init__(clock=ManualClock() if own_time and clock is None else clock, silence_s=silence_s)
        if not chunk_s * sfreq >= 1:
            raise ConfigError(
                f"a packet needs at least one sample, got chunk_s={chunk_s} at {sfreq} Hz; "
                f"give {1 / sfreq if sfreq > 0 else 0.04:.4g} s or more"
            )
        self.seed, self.sfreq, self.channels, self.chunk_s = seed, float(sfreq), tuple(channels), chunk_s
        self.strength, self.noise_uv, self.lapse = strength, noise_uv, lapse
        self.drop, self.silent, self.disconnect_at_s = tuple(drop), tuple(silent), disconnect_at_s
        self.impedance_kohm = _checked_contacts(impedance_kohm, self.channels)
        self._losses = _losses(drop, silent, self.sfreq)
        self._person = self._new_person()

    # ----------------------------------------------------------- main verbs
    def respond(self, code: str, time_s: float) -> None:
        """Show the person `code` at `time_s` (session clock); anything but "left" and "right" means rest.

        It is obeyed from the first sample at or after `time_s` that was not delivered yet.

        Raises
        ------
        DeviceError
            If the participant was never started.
        """
        if math.isnan(self._t0):
            raise DeviceError(f"a person sees cues while streaming; {code!r} came before start(); start() first")
        # A thousandth of a sample of slack: a time computed elsewhere may differ by rounding.
        sample = math.ceil((time_s - self._t0) * self.sfreq - 1e-3)
        self._person.intend(code, max(sample, 0))

    def impedance(self) -> dict[str, float]:
        """Return the contact of each electrode, kOhm, read with an error of 2 %; each call reads anew.

        Raises
        ------
        DeviceError
            If the participant is not open.
        """
        if self.state is State.CLOSED:
            self._demand("impedance", State.OPEN, "open() it first")
        errors = 1 + _READING_ERROR * self._reading.standard_normal(len(self.channels))
        return {
            name: float(kohm * error) for name, kohm, error in zip(self.channels, self._contacts, errors, strict=True)
        }

    @property
    def truth(self) -> list[tuple[int, str]]:
        """What was intended since `start`: (from this sample on, "left", "right" or "rest")."""
        return list(self._person.truth)

    # ---------------------------------------------------------------- hooks
    def _open(self) -> StreamInfo:
        # Apart from the person's own streams of numbers: whoever measures gets the same samples.
        self._reading = np.random.default_rng([self.seed, 0x5A])
        usual = _USUAL_KOHM * np.exp(_SPREAD * self._reading.standard_normal(len(self.channels)))
        self._contacts = [self.impedance_kohm.get(n, float(u)) for n, u in zip(self.channels, usual, strict=True)]
        places = positions(self.channels) * HEAD_RADIUS_M
        meta = {"simulated": "true"} | {k: str(getattr(self, k)) for k in ("seed", "strength", "noise_uv", "lapse")}
        return StreamInfo(
            "participant",
            self.sfreq,
            tuple(
                Channel(name, position=(float(p[0]), float(p[1]), float(p[2])))
                for name, p in zip(self.channels, places, strict=True)
            ),
            f"participant-{self.seed}",
            meta,
        )

    def _start(self) -> None:
        self._person = self._new_person()
        self._t0 = self._clock.now()
        self._wall0 = time.monotonic()
        self._pending = list(self._losses)

    def _read(self, timeout_s: float) -> Samples | None:
        first, lost = self._next_run()
        n = self._run_length(first)
        due = self._time_of(first + n - 1)
        gone = self._t0 + self.disconnect_at_s if self.disconnect_at_s is not None else math.inf
        if not self._wait(min(due, gone), timeout_s, held_back=lost > 0):
            return None
        if gone <= due:
            raise DeviceLost(
                f"a stream of samples was expected; the simulated amplifier was disconnected {self.disconnect_at_s} s "
                "after its start, as asked; start anew or leave out disconnect_at_s"
            )
        if lost:
            self._person.generate(lost)
            self._pending = [entry for entry in self._pending if entry[0] >= first]
        if self.speed == 1.0:
            n = max(n, self._arrived(first))
        times = self._t0 + (first + np.arange(n)) / self.sfreq
        return Samples(self._person.generate(n), times, lost=lost, cause="simulated loss" if lost else "")

    def _stop(self) -> None:
        """Nothing runs between reads."""

    def _close(self) -> None:
        """Nothing is held."""

    # -------------------------------------------------------------- private
    _t0 = math.nan
    _wall0 = 0.0

    def _new_person(self) -> Person:
        return Person(
            self.channels, self.sfreq, seed=self.seed, strength=self.strength, noise_uv=self.noise_uv, lapse=self.lapse
        )

    def _time_of(self, sample: int) -> float:
        return self._t0 + sample / self.sfreq

    def _next_run(self) -> tuple[int, int]:
        """Return the next sample that will be delivered and how many are lost before it."""
        position = first = self._person.sample
        for start, n in self._pending:
            if start <= first:
                first = max(first, start + n)
        return first, first - position

    def _run_length(self, first: int) -> int:
        """Return the length of the next packet: up to the next loss."""
        n = round(self.chunk_s * self.sfreq)
        return min([n] + [start - first for start, _ in self._pending if start > first])

    def _arrived(self, first: int) -> int:
        """Return how many samples have arrived in real time, in whole packets: a late reader gets more at once."""
        packet = round(self.chunk_s * self.sfreq)
        n = math.floor((self._clock.now() - self._time_of(first)) * self.sfreq) + 1
        n = min(n, round(_BACKLOG_S * self.sfreq)) // packet * packet
        return min([n] + [start - first for start, _ in self._pending if start > first])

    def _wait(self, due_s: float, timeout_s: float, held_back: bool) -> bool:
        """Wait for `due_s`, at most `timeout_s`; return whether it has come.

        On its own time the next packet is always there at once; only a loss makes the reader wait, and even
        a reader without patience moves the time by a sample, or it would stand still for ever.
        """
        now = self._clock.now()
        if self.speed != 1.0:
            limit = now + max(timeout_s, 1 / self.sfreq) if held_back else due_s
        else:
            limit = now + timeout_s
        until = min(due_s, limit)
        if self.speed not in (1.0, math.inf):
            wait_s = self._wall0 + (until - self._t0) / self.speed - time.monotonic()
            if wait_s > 0:
                time.sleep(wait_s)
        # On its own time this moves the clock; in real time it sleeps.
        self._clock.sleep_until(until)
        return due_s <= limit


def _checked_speed(speed: float | str) -> float:
    if speed == "max":
        return math.inf
    try:
        factor = float(speed)
    except (TypeError, ValueError):
        factor = math.nan
    if not factor > 0:
        raise ConfigError(f"speed is a factor above 0 or 'max', got {speed!r}; 1.0 is real time")
    return factor


def _checked_contacts(kohm: Mapping[str, float], channels: Sequence[str]) -> dict[str, float]:
    for name, value in kohm.items():
        if name not in channels:
            raise ConfigError(unknown("electrode in impedance_kohm:", name, channels))
        if not value > 0:
            raise ConfigError(f"impedance_kohm takes kOhm above 0 (inf: no contact), got {value} for {name}")
    return {name: float(value) for name, value in kohm.items()}


def _losses(
    drop: Sequence[tuple[float, int]], silent: Sequence[tuple[float, float]], sfreq: float
) -> list[tuple[int, int]]:
    """Return every loss as (first sample, number of samples), in order."""
    found = []
    for at_s, amount in (*drop, *((at, length * sfreq) for at, length in silent)):
        if not (at_s >= 0 and amount >= 1):
            raise ConfigError(
                f"a loss needs a time from 0 s on and at least one sample, got {amount:g} samples at {at_s} s; "
                "give drop=[(start_s, n_samples)] or silent=[(start_s, duration_s)]"
            )
        found.append((round(at_s * sfreq), round(amount)))
    return sorted(found)
