"""Delay by parts of a sample: channels that were sampled one after the other come to one instant."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np

from bci.errors import ConfigError
from bci.signal.fir import FirEachStage
from bci.signal.stages import Array, FirStage, Stage, StagedBlock, signal_columns
from bci.stream import StreamInfo

_MOST_S = 1.0
# Of the window of the sinc: the gain then errs by less than 0.001 up to 0.4 of the rate with 32 taps.
_BETA = 6.0


class FractionalDelay(StagedBlock):
    """Delay every channel by its own time, of any part of a sample, beside a delay common to all.

    A converter with a multiplexer takes its channels one after the other, so that a row is not one instant. Give as
    shift how much later than the time of its row each channel was sampled: afterwards every row is one instant,
    `delay_s` before the time of the row.

    Parameters
    ----------
    shift_s : float, sequence of float or mapping of str to float
        What each channel is delayed by beyond the common delay, s, -1 to 1: one number for all, one for each channel
        of the stream in order, or by channel name (0 for those not named).
    method : {"lagrange", "sinc"}, default="lagrange"
        Lagrange interpolation is exact at 0 Hz and best for signals well below sfreq / 4; a sinc under a Kaiser window
        serves higher frequencies with more taps.
    n_taps : int, optional
        Length of the interpolation, 2 to 128; 8 for Lagrange (at most 16), 32 for the sinc.

    Raises
    ------
    ConfigError
        If a setting is out of range; from `prepare`, if the shifts do not fit the channels.

    Notes
    -----
    `delay_s` is the common delay: about half the length of the interpolation, in whole samples, and more where a
    channel is advanced. The delay of a channel is the sum of both. Trigger channels pass unchanged and undelayed.
    The filter starts, at the beginning and after every gap, as if the first known value of each channel had been there
    for ever; an unknown value is unknown where it was, whatever the shift.

    References
    ----------
    .. [1] T. Laakso, V. Välimäki, M. Karjalainen, U. Laine. Splitting the unit delay: tools for fractional delay
       filter design. IEEE Signal Process Mag 13(1):30-60, 1996. doi:10.1109/79.482137
    """

    def __init__(
        self,
        shift_s: float | Sequence[float] | Mapping[str, float],
        method: Literal["lagrange", "sinc"] = "lagrange",
        n_taps: int | None = None,
    ) -> None:
        if method not in ("lagrange", "sinc"):
            raise ConfigError(f"expected the method 'lagrange' or 'sinc', got {method!r}; correct it")
        most = 16 if method == "lagrange" else 128
        n_taps = n_taps if n_taps is not None else {"lagrange": 8, "sinc": 32}[method]
        if n_taps != int(n_taps) or not 2 <= n_taps <= most:
            raise ConfigError(f"expected 2 to {most} taps for {method}, got {n_taps}; leave the default if unsure")
        self.shift_s, self.method, self.n_taps = shift_s, method, int(n_taps)

    def design(self, info: StreamInfo) -> tuple[list[Stage], StreamInfo, float]:
        """Return the interpolation for `info`."""
        columns = signal_columns(info)
        shifts = self._shifts(info) * info.sfreq
        shifts[~columns] = 0.0
        of_signals = shifts[columns] if columns.any() else shifts
        half = (self.n_taps - 1) / 2
        common = max(0, int(np.ceil(half - 0.5 - of_signals.min() - 1e-9)))
        every = len(np.unique(of_signals)) == 1
        delays = common + (of_signals[:1] if every else np.where(columns, shifts, of_signals[0]))
        whole = np.maximum(np.round(delays - half).astype(int), 0)
        taps = np.zeros((whole.max() + self.n_taps, len(delays)))
        for c, (first, delay) in enumerate(zip(whole, delays, strict=True)):
            taps[first : first + self.n_taps, c] = interpolation(delay - first, self.n_taps, self.method)
        stage: Stage = FirStage(taps[:, 0], columns) if every else FirEachStage(taps, columns)
        return [stage], info, common / info.sfreq

    def _shifts(self, info: StreamInfo) -> Array:
        if isinstance(self.shift_s, Mapping):
            shifts = np.zeros(info.n_channels)
            for name, shift in self.shift_s.items():
                shifts[info.index(name)] = shift
        else:
            given = np.asarray(self.shift_s, dtype=np.float64)
            if given.shape not in ((), (info.n_channels,)):
                raise ConfigError(
                    f"expected one shift, or one for each of {info.n_channels} channels, got shape {given.shape}; "
                    "name the channels in a table if only some are shifted"
                )
            shifts = np.full(info.n_channels, given) if given.ndim == 0 else given.copy()
        if not (np.abs(shifts) <= _MOST_S).all():
            raise ConfigError(
                f"shifts must lie from -{_MOST_S:g} to {_MOST_S:g} s, got {shifts.tolist()}; correct them"
            )
        return shifts


def interpolation(delay: float, n_taps: int, method: Literal["lagrange", "sinc"]) -> Array:
    """Return taps that delay by `delay` samples, best near half their number; their sum is 1.

    Notes
    -----
    Lagrange [1]_, section on maximally flat design: h[n] is the product over k other than n of (D - k) / (n - k).
    Windowed sinc [1]_, section on windowing: h[n] = w(n - D) sinc(n - D), with the window centred on the delay.

    References
    ----------
    .. [1] T. Laakso et al. Splitting the unit delay. IEEE Signal Process Mag 13(1):30-60, 1996. doi:10.1109/79.482137
    """
    n = np.arange(n_taps)
    if method == "lagrange":
        apart = np.where(np.eye(n_taps, dtype=bool), 1.0, n[:, None] - n[None, :])
        parts = np.where(np.eye(n_taps, dtype=bool), 1.0, (delay - n[None, :]) / apart)
        taps = parts.prod(axis=1)
    else:
        inside = np.maximum(1.0 - ((n - delay) / (n_taps / 2)) ** 2, 0.0)
        taps = np.i0(_BETA * np.sqrt(inside)) / np.i0(_BETA) * np.sinc(n - delay)
    return np.asarray(taps / taps.sum(), dtype=np.float64)
