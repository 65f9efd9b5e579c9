"""A source that counts: its first channel is the number of the sample, so that order and loss are an equality."""

from __future__ import annotations

import math

import numpy as np

from bci.acquisition.driver import SILENCE_S, Driver, Samples
from bci.clock import Clock, ManualClock
from bci.errors import ConfigError
from bci.stream import Channel, Kind, StreamInfo


class Counting(Driver):
    """Sample numbers, and noise beside them.

    Parameters
    ----------
    sfreq : float, default=250
        Sampling rate, Hz.
    n_channels : int, default=4
        The first counts, the others are noise of 10 µV.
    chunk_s : float, default=0.04
        Length of one chunk, s.
    clock : Clock, optional
        Session clock. Without one it runs as fast as it is read, on its own clock, which stands at its newest sample;
        a `ManualClock` is moved likewise, any other makes it run in real time.
    seed : int, default=0
        Seed of the noise.
    silence_s : float, default=0.22
        See `bci.acquisition.driver.Driver`.

    Raises
    ------
    ConfigError
        If a chunk has no sample, or there is no channel.
    """

    def __init__(
        self,
        sfreq: float = 250.0,
        n_channels: int = 4,
        chunk_s: float = 0.04,
        *,
        clock: Clock | None = None,
        seed: int = 0,
        silence_s: float = SILENCE_S,
    ) -> None:
        super().__init__(clock=ManualClock() if clock is None else clock, silence_s=silence_s)
        if not (n_channels >= 1 and sfreq > 0 and round(chunk_s * sfreq) >= 1):
            raise ConfigError(
                f"a source that counts needs a channel and a sample per chunk, got {n_channels} channels and "
                f"{chunk_s} s at {sfreq} Hz"
            )
        self.sfreq, self.n_channels, self.chunk_s, self.seed = float(sfreq), n_channels, chunk_s, seed
        self._noise = 10 * np.random.default_rng(seed).standard_normal((1021, n_channels - 1))

    def _open(self) -> StreamInfo:
        names = ("number", *(f"noise{k}" for k in range(1, self.n_channels)))
        channels = [Channel(n, Kind.MISC if n == "number" else Kind.EEG, "" if n == "number" else "uV") for n in names]
        return StreamInfo("counting", self.sfreq, tuple(channels), f"counting-{self.seed}", {"simulated": "true"})

    def _start(self) -> None:
        self._begin_s, self._number = self._clock.now(), 0

    def _read(self, timeout_s: float) -> Samples | None:
        n = round(self.chunk_s * self.sfreq)
        now_s = self._clock.now()
        due_s = self._begin_s + (self._number + n - 1) / self.sfreq
        if not isinstance(self._clock, ManualClock):
            if due_s > now_s + timeout_s:
                self._clock.sleep_until(now_s + timeout_s)
                return None
            arrived = math.floor((now_s - self._begin_s) * self.sfreq) + 1 - self._number
            n = max(n, arrived // n * n)
        self._clock.sleep_until(due_s)
        numbers = np.arange(self._number, self._number + n)
        self._number += n
        data = np.column_stack((numbers, self._noise[numbers % len(self._noise)])).astype(np.float64)
        return Samples(data, self._begin_s + numbers / self.sfreq)

    def _stop(self) -> None:
        """Nothing runs between reads."""

    def _close(self) -> None:
        """Nothing is held."""
