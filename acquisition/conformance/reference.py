"""An amplifier without hardware and a driver that passes every case: what the mutants are made of."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Mapping
from types import TracebackType
from typing import Any, Self

import numpy as np

from bci.acquisition.driver import Driver, Samples
from bci.clock import Clock
from bci.errors import DeviceError, DeviceLost, DeviceNotFound
from bci.stream import Channel, StreamInfo

_PACKET = 10
"""Samples in a packet."""
_TABLE = 4096


class ReferenceAmplifier:
    """Four channels of 10 µV of noise at 250 Hz, on any clock; is `Emulated`.

    Parameters
    ----------
    clock : Clock
        When it measures.
    """

    sfreq = 250.0
    names = ("Fz", "Cz", "Pz", "Oz")

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.is_plugged = True
        self.frozen_until_s = -math.inf
        self.frozen_from_s = -math.inf
        self.to_drop = 0
        self.streaming: ReferenceDriver | None = None
        self.kept = contextlib.ExitStack()  # what a mutant leaks is released with its amplifier
        self._noise = 10 * np.random.default_rng(0).standard_normal((_TABLE, len(self.names)))

    # ---------------------------------------------------------- as Emulated
    @property
    def settings(self) -> Mapping[str, Any]:
        """What its driver is made with."""
        return {"amplifier": self}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.kept.close()

    def unplug(self) -> None:
        """Pull the cable."""
        self.is_plugged = False

    def replug(self) -> None:
        """Put the cable back."""
        self.is_plugged = True

    def freeze(self, seconds: float) -> None:
        """Send nothing for `seconds`."""
        self.frozen_from_s = self.clock.now()
        self.frozen_until_s = self.frozen_from_s + seconds

    def drop(self, n_samples: int) -> None:
        """Lose the next `n_samples`."""
        self.to_drop += n_samples

    # ------------------------------------------------------- for its driver
    def measured(self, first: int, stop: int) -> np.ndarray[Any, np.dtype[np.float64]]:
        """Return samples `first` to `stop`, µV."""
        return self._noise[np.arange(first, stop) % _TABLE]


class ReferenceDriver(Driver):
    """The driver of `ReferenceAmplifier`.

    Parameters
    ----------
    amplifier : ReferenceAmplifier
        What it connects to.
    """

    def __init__(self, amplifier: ReferenceAmplifier) -> None:
        super().__init__(clock=amplifier.clock)
        self._amplifier = amplifier

    def impedance(self) -> dict[str, float]:
        """Return the impedance of each electrode, kOhm."""
        return {name: 5.0 + k for k, name in enumerate(self._amplifier.names)}

    def battery(self) -> float:
        """Return what is left, 0 to 1."""
        return 0.8

    def report(self) -> dict[str, Any]:
        """Return what happened, with the rate as it would be measured, Hz."""
        return {**super().report(), "sfreq": self._amplifier.sfreq, "sfreq_error": 1.0}

    def _open(self) -> StreamInfo:
        if not self._amplifier.is_plugged:
            raise DeviceNotFound("expected the reference amplifier, it is unplugged; plug it in")
        channels = tuple(Channel(name) for name in self._amplifier.names)
        return StreamInfo("reference", self._amplifier.sfreq, channels, "reference-1")

    def _start(self) -> None:
        if not self._amplifier.is_plugged:
            raise DeviceError("expected the reference amplifier, it is unplugged; plug it in and open it again")
        self._begin_s, self._n = self._clock.now(), 0
        self._amplifier.to_drop = 0

    def _read(self, timeout_s: float) -> Samples | None:
        amplifier, sfreq = self._amplifier, self._amplifier.sfreq
        until_s = self._clock.now() + timeout_s
        due_s = max(self._begin_s + (self._n + _PACKET) / sfreq, amplifier.frozen_until_s)
        self._clock.sleep_until(min(due_s, until_s))
        if not amplifier.is_plugged:
            raise DeviceLost("expected samples of the reference amplifier, it was unplugged; plug it in and open again")
        if self._clock.now() < due_s - 1e-9:
            return None
        lost = self._lost()
        self._n += lost
        stop = math.floor((self._clock.now() - self._begin_s) * sfreq + 1e-6) // _PACKET * _PACKET
        first, self._n = self._n, max(self._n, stop)
        times = self._begin_s + (np.arange(first, self._n) + 1) / sfreq
        return Samples(amplifier.measured(first, self._n), times, lost, cause="the counter jumped" if lost else "")

    def _stop(self) -> None:
        return

    def _close(self) -> None:
        return

    def _lost(self) -> int:
        """Return how many of the samples to come were lost: dropped, or measured while nothing was sent."""
        amplifier = self._amplifier
        lost, amplifier.to_drop = amplifier.to_drop, 0
        thaw_s = amplifier.frozen_until_s
        if amplifier.frozen_from_s > self._begin_s and thaw_s <= self._clock.now() and math.isfinite(thaw_s):
            amplifier.frozen_from_s = amplifier.frozen_until_s = -math.inf
            lost += max(0, math.floor((thaw_s - self._begin_s) * amplifier.sfreq) - self._n)
        return lost
