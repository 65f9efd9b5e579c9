"""Filters without feedback: linear phase, minimum phase, or own taps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from bci.errors import ConfigError
from bci.signal import fir_design
from bci.signal.stages import Array, FirStage, Mask, Runner, Stage, StagedBlock, signal_columns
from bci.stream import StreamInfo

_BLOCK = 256


class Fir(StagedBlock):
    """Causal filter without feedback: low-, high-, band-pass, band-stop, or own taps.

    Parameters
    ----------
    low_hz, high_hz : float, optional
        Edges (gain one half), Hz: `low_hz` alone is a high-pass, `high_hz` alone a low-pass, both a band-pass.
    stop : bool, default=False
        Stop the band between both edges instead of passing it.
    n_taps : int, optional
        Length of the filter; odd for a high-pass and a band-stop.
    transition_hz : float, optional
        Width of the edges, Hz, instead of `n_taps`. If neither is given: half of the lower edge, 2 Hz
        at least, as far as there is room.
    attenuation_db : float, default=60
        Of the stop band, dB, 21 to 200.
    phase : {"linear", "minimum"}, default="linear"
        Linear: every frequency is delayed by half the length. Minimum: the same gain with the least delay,
        which differs between frequencies.
    method : {"window", "remez"}, default="window"
        Kaiser window, or equal ripples (Parks-McClellan), which are shorter and may fail for long filters.
    taps : sequence of float, optional
        Own impulse response; nothing else is given then.

    Raises
    ------
    ConfigError
        If settings contradict one another; from `prepare`, if the edges do not fit below half the sampling rate.

    Notes
    -----
    Windowed designs follow [1]_, those of equal ripple [2]_.
    The filter starts, at the beginning and after every gap, as if the first known value of each channel had been
    there for ever: a constant offset gives no transient. While a value is unknown the output of that channel is too;
    the filter meanwhile sees the last known value. Trigger channels pass unchanged, also in time.
    `delay_s` is half the length for linear phase, else the group delay mid-band (0 Hz for a low-pass and a band-stop,
    half the sum of edge and sfreq / 2 for a high-pass; where own taps are loudest).

    References
    ----------
    .. [1] A. Oppenheim, R. Schafer. Discrete-Time Signal Processing, 3rd ed., sec. 7.5 and 7.7, ch. 13, 2010.
    .. [2] J. McClellan, T. Parks. A unified approach to the design of optimum FIR linear-phase digital filters.
       IEEE Trans Circuit Theory 20:697-701, 1973. doi:10.1109/TCT.1973.1083764
    """

    def __init__(
        self,
        low_hz: float | None = None,
        high_hz: float | None = None,
        stop: bool = False,
        n_taps: int | None = None,
        transition_hz: float | None = None,
        attenuation_db: float = 60.0,
        phase: Literal["linear", "minimum"] = "linear",
        method: Literal["window", "remez"] = "window",
        taps: Sequence[float] | None = None,
    ) -> None:
        self.low_hz, self.high_hz, self.stop = low_hz, high_hz, stop
        self.n_taps, self.transition_hz, self.attenuation_db = n_taps, transition_hz, attenuation_db
        self.phase, self.method = phase, method
        self.taps = None if taps is None else np.array(taps, dtype=np.float64)
        self._check()

    def design(self, info: StreamInfo) -> tuple[list[Stage], StreamInfo, float]:
        """Return the filter for `info`."""
        if self.taps is not None:
            taps, at_hz = self.taps, fir_design.loudest_hz(self.taps, info.sfreq)
        else:
            taps, at_hz = self._designed(info.sfreq)
        delay_s = fir_design.taps_delay(taps, at_hz, info.sfreq)
        return [FirStage(taps, signal_columns(info))], info, delay_s

    def _check(self) -> None:
        if self.taps is not None:
            edges = (self.low_hz, self.high_hz, self.n_taps, self.transition_hz)
            fits = self.taps.ndim == 1 and 1 <= self.taps.size <= fir_design.MOST_TAPS
            if not fits or not np.isfinite(self.taps).all() or any(e is not None for e in edges):
                raise ConfigError(
                    f"own taps are 1 to {fir_design.MOST_TAPS} finite numbers without edges or a length beside them, "
                    f"got shape {self.taps.shape}; give either taps or edges"
                )
            return
        kind, _ = fir_design.pass_kind(self.low_hz, self.high_hz, self.stop)
        if self.n_taps is not None and self.transition_hz is not None:
            raise ConfigError("expected n_taps or transition_hz, got both; the one follows from the other")
        if self.transition_hz is not None and not self.transition_hz > 0:
            raise ConfigError(f"transition_hz must be above 0 Hz, got {self.transition_hz}; leave it out if unsure")
        if self.n_taps is not None:
            odd = kind in ("highpass", "bandstop")
            fits = self.n_taps == int(self.n_taps) and 3 <= self.n_taps <= fir_design.MOST_TAPS
            if not fits or (odd and self.n_taps % 2 == 0):
                raise ConfigError(
                    f"expected 3 to {fir_design.MOST_TAPS} taps{', an odd number,' if odd else ''} for a {kind}, "
                    f"got {self.n_taps}; a filter of even length has no gain at half the sampling rate"
                )
        if not 21 <= self.attenuation_db <= 200:
            raise ConfigError(f"attenuation_db must lie from 21 to 200 dB, got {self.attenuation_db}; 60 is usual")
        if self.phase not in ("linear", "minimum") or self.method not in ("window", "remez"):
            raise ConfigError(
                f"expected phase 'linear' or 'minimum' and method 'window' or 'remez', got {self.phase!r} and "
                f"{self.method!r}; correct them"
            )

    def _designed(self, sfreq: float) -> tuple[Array, float]:
        """Return the taps and a frequency in the middle of what passes, Hz."""
        kind, edges = fir_design.pass_kind(self.low_hz, self.high_hz, self.stop)
        fir_design.check_edges(edges, sfreq)
        width = self.transition_hz or fir_design.usual_transition(kind, edges, sfreq)
        n_taps = self.n_taps or fir_design.taps_for(width, self.attenuation_db, sfreq, self.method)
        if self.method == "remez":
            if self.n_taps is not None:
                width = (self.attenuation_db - 13) / (2.324 * (n_taps - 1)) * sfreq / (2 * np.pi)
            taps = fir_design.equiripple(kind, edges, n_taps, width, sfreq)
        else:
            taps = fir_design.windowed(kind, edges, n_taps, self.attenuation_db, sfreq)
        if self.phase == "minimum":
            taps = fir_design.minimum_phase(taps)
        middle = {"bandpass": sum(edges) / 2, "highpass": (edges[0] + sfreq / 2) / 2}
        return taps, middle.get(kind, 0.0)


class History:
    """The rows that a filter still needs, and new ones behind them.

    Parameters
    ----------
    n_before : int
        How many rows before a new one are needed.
    n_channels : int
        Number of columns.

    Notes
    -----
    The first known value of a channel fills all rows before it: the past of a filter that starts at rest.
    """

    def __init__(self, n_before: int, n_channels: int) -> None:
        self.n_before = n_before
        self.rows = np.zeros((2 * n_before + _BLOCK, n_channels))
        self._stop = n_before
        self._started = np.zeros(n_channels, bool)

    def push(self, values: Array, bad: Mask | None) -> int:
        """Append `values`, at most `_BLOCK` rows; return the place of the first of them in `rows`."""
        if self._stop + len(values) > len(self.rows):
            self.rows[: self.n_before] = self.rows[self._stop - self.n_before : self._stop]
            self._stop = self.n_before
        begin = self._stop
        self._stop += len(values)
        self.rows[begin : self._stop] = values
        if not self._started.all():
            self._start(begin, values, bad)
        return begin

    def restart(self) -> None:
        """Forget all rows."""
        self._started[:] = False

    def _start(self, begin: int, values: Array, bad: Mask | None) -> None:
        known = np.ones(values.shape, bool) if bad is None else bad == 0
        for c in np.flatnonzero(~self._started & known.any(axis=0)):
            first = int(known[:, c].argmax())
            self.rows[begin - self.n_before : begin + first, c] = values[first, c]
            self._started[c] = True


def blocks(n_samples: int) -> list[slice]:
    """Return the rows of a chunk in parts that `History.push` takes."""
    return [slice(begin, min(begin + _BLOCK, n_samples)) for begin in range(0, n_samples, _BLOCK)]


@dataclass(frozen=True, eq=False)
class FirEachStage:
    """A filter without feedback with taps of its own for every channel.

    Parameters
    ----------
    taps : ndarray, shape (n_taps, n_channels)
        The impulse response of each channel.
    columns : ndarray of bool, shape (n_channels,)
        Which channels are filtered; the others pass unchanged and undelayed.
    """

    taps: Array
    columns: NDArray[np.bool_]

    def runner(self, n_channels: int) -> Runner:
        """Return what filters `n_channels` columns."""
        return _FirEachRunner(self, n_channels)


class _FirEachRunner:
    """A filter with its history."""

    def __init__(self, stage: FirEachStage, n_channels: int) -> None:
        from bci.signal import kernels_fir

        kernels_fir.warm_up()
        self._filter = kernels_fir.fir_each
        self._taps = np.ascontiguousarray(stage.taps, dtype=np.float64)
        self.n_outputs = n_channels
        self._history = History(len(self._taps) - 1, n_channels)
        self._pass = np.flatnonzero(~stage.columns)

    def run(self, values: Array, bad: Mask | None) -> tuple[Array, Mask | None]:
        passed = values[:, self._pass] if self._pass.size else None
        for rows in blocks(len(values)):
            begin = self._history.push(values[rows], None if bad is None else bad[rows])
            self._filter(self._history.rows, begin, self._taps, values[rows])
        if passed is not None:
            values[:, self._pass] = passed
        return values, bad

    def restart(self) -> None:
        self._history.restart()
