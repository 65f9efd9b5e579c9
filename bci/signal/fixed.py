"""A filter that was designed elsewhere, and electrode places that are known from elsewhere, as blocks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import ArrayLike, NDArray

from bci.errors import ConfigError
from bci.signal.stages import FirStage, SosStage, Stage, StagedBlock, signal_columns
from bci.stream import Kind, StreamInfo, listed


class FixedFilter(StagedBlock):
    """Second-order sections or taps as they are, for the one sampling rate that they were designed for.

    Parameters
    ----------
    sfreq : float
        The rate, Hz.
    sos : array_like, shape (n_sections, 6), optional
        Sections as `scipy.signal` writes them.
    taps : array_like, shape (n_taps,), optional
        Impulse response; instead of `sos`.

    Raises
    ------
    ConfigError
        If not exactly one of both is given, a section is not stable, or a number not finite; from `prepare`, if the
        stream has another rate.

    Notes
    -----
    Starts at rest as every filter here; an unknown value (NaN) is unknown where it was. Trigger channels pass
    unchanged. `delay_s` is the mean group delay, weighted with the power that passes: half the length for symmetric
    taps.
    """

    def __init__(self, sfreq: float, sos: ArrayLike | None = None, taps: ArrayLike | None = None) -> None:
        if (sos is None) == (taps is None):
            raise ConfigError("expected sections (sos) or taps, got both or neither; give one of them")
        self.sfreq = float(sfreq)
        self.sos = None if sos is None else np.array(sos, dtype=np.float64)
        self.taps = None if taps is None else np.array(taps, dtype=np.float64)
        if self.sos is not None:
            self._check_sections(self.sos)
        elif self.taps is None or self.taps.ndim != 1 or not self.taps.size or not np.isfinite(self.taps).all():
            raise ConfigError(f"expected taps as a row of finite numbers, got {taps!r}; correct them")

    def design(self, info: StreamInfo) -> tuple[list[Stage], StreamInfo, float]:
        """Return the filter, if `info` has its rate."""
        if abs(info.sfreq / self.sfreq - 1) > 1e-6:
            raise ConfigError(
                f"the filter was designed for {self.sfreq:g} Hz, stream {info.name!r} has {info.sfreq:g} Hz; "
                "design it for this rate, or put Resample before it"
            )
        columns = signal_columns(info)
        if self.taps is not None:
            # By Parseval's theorem the centre of the energy.
            energy = self.taps**2
            delay = float((energy * np.arange(len(energy))).sum() / energy.sum()) if energy.any() else 0.0
            return [FirStage(self.taps, columns)], info, delay / info.sfreq
        sos = np.asarray(self.sos)
        return [SosStage(sos, columns)], info, _mean_delay(sos, info.sfreq)

    @staticmethod
    def _check_sections(sos: NDArray[np.float64]) -> None:
        if sos.ndim != 2 or sos.shape[1] != 6 or not len(sos) or not np.isfinite(sos).all() or (sos[:, 3] == 0).any():
            raise ConfigError(f"expected sections of shape (n_sections, 6), finite, got {sos.shape}; see scipy.signal")
        a1, a2 = sos[:, 4] / sos[:, 3], sos[:, 5] / sos[:, 3]
        # The stability triangle of a second-order section.
        if not ((np.abs(a2) < 1).all() and (np.abs(a1) < 1 + a2).all()):
            raise ConfigError(
                "expected a stable filter, got one with a pole on or outside the unit circle; design it as sections, "
                "of a lower order or for a wider band"
            )


def _mean_delay(sos: NDArray[np.float64], sfreq: float) -> float:
    """Return the group delay of a cascade, s, averaged over frequency with the power that passes."""
    from bci.signal.response import sections_response

    grid, apart = np.linspace(0.0, sfreq / 2, 16385)[1:-1], 1e-6 * sfreq
    before, after = (sections_response(sos, grid + side * apart, sfreq) for side in (-0.5, 0.5))
    power = np.abs(before * after)
    heard = power > 0
    delay = -np.angle(after[heard] / before[heard]) / (2 * np.pi * apart)
    return float((power[heard] * delay).sum() / power[heard].sum()) if heard.any() else 0.0


class Places(StagedBlock):
    """Give channels the places of their electrodes; samples pass unchanged.

    Parameters
    ----------
    positions : mapping of str to sequence of 3 float
        Place by channel name, m, head coordinates. Upper and lower case are the same where that is clear.

    Raises
    ------
    ConfigError
        If a place is not three finite numbers; from `prepare`, if no EEG channel of the stream is among them.
    """

    def __init__(self, positions: Mapping[str, Sequence[float]]) -> None:
        self.positions = {name: tuple(float(v) for v in place) for name, place in positions.items()}
        for name, place in self.positions.items():
            if len(place) != 3 or not np.isfinite(place).all():
                raise ConfigError(f"a place is three finite numbers in m, got {place} for {name}; correct it")

    def design(self, info: StreamInfo) -> tuple[list[Stage], StreamInfo, float]:
        """Return the description with the places."""
        folded = {name.lower(): place for name, place in self.positions.items()}
        channels = []
        for channel in info.channels:
            place = self.positions.get(channel.name, folded.get(channel.name.lower()))
            if channel.kind is Kind.EEG and place is not None:
                channel = replace(channel, position=(place[0], place[1], place[2]))
            channels.append(channel)
        if tuple(channels) == info.channels and not any(c.position for c in channels):
            raise ConfigError(
                f"expected places for some of {listed(info.ch_names)}, got {listed(list(self.positions))}; "
                "name the channels of the stream as the montage does"
            )
        return [], replace(info, channels=tuple(channels)), 0.0
