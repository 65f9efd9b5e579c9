"""Take out offset and drift, from the first sample on, whatever an artefact does."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bci.errors import ConfigError
from bci.signal.stages import Array, Mask, Runner, Stage, StagedBlock, signal_columns
from bci.stream import StreamInfo

_SETTLE_S = 0.5


class Detrend(StagedBlock):
    """Subtract the running level of each channel, or the running line.

    At first the trend is the least-squares mean (or line) of all samples since the start, then one that forgets with a
    time constant: there is neither a transient nor a wait. A short artefact does not bend it; a jump that stays
    is taken for the new level, at once and whole.

    Parameters
    ----------
    time_constant_s : float, default=1
        How fast the past is forgotten, s. For order 0 it is a high-pass at 1 / (2 pi time_constant_s).
    order : {0, 1}, default=0
        0 follows a level: a steady drift leaves an offset of drift times `time_constant_s`. 1 follows a line: a steady
        drift leaves nothing.
    limit : float, default=8
        A sample that deviates from the trend by more than this many times the usual (mean absolute) deviation moves
        nothing; inf takes all samples alike.
    patience_s : float, default=1
        After so long beyond the limit without a break the trend starts anew, s.

    Raises
    ------
    ConfigError
        If a setting is out of range; from `prepare`, if the time constant is shorter than two samples.

    Notes
    -----
    With the gain a = 1 - exp(-1 / (time_constant_s sfreq)) the level is an exponential mean. The line is the fading-
    memory polynomial filter of [1]_, ch. 7 (double exponential smoothing [2]_): with t = 1 - a its gains are 1 - t^2
    for the level and (1 - t)^2 for the slope. The start is the expanding-memory filter of [1]_, ch. 6. Below
    the limit the block is linear: (1 - a) (1 - z^-1) / (1 - (1 - a) z^-1), squared for order 1.

    Trigger channels pass unchanged. An unknown value (NaN) is unknown in its channel and moves nothing. After a gap
    the trend starts anew. `delay_s` is 0.

    References
    ----------
    .. [1] E. Brookner. Tracking and Kalman Filtering Made Easy, 1998.
    .. [2] R. G. Brown. Smoothing, Forecasting and Prediction of Discrete Time Series, 1963.
    """

    def __init__(
        self, time_constant_s: float = 1.0, order: int = 0, limit: float = 8.0, patience_s: float = 1.0
    ) -> None:
        if not (0 < time_constant_s < np.inf and order in (0, 1) and limit >= 2 and 0 < patience_s < np.inf):
            raise ConfigError(
                f"expected time_constant_s and patience_s above 0 s, order 0 or 1 and a limit from 2, got "
                f"{time_constant_s} s, {patience_s} s, {order} and {limit}; leave the defaults if unsure"
            )
        self.time_constant_s, self.order, self.limit, self.patience_s = time_constant_s, order, limit, patience_s

    def design(self, info: StreamInfo) -> tuple[list[Stage], StreamInfo, float]:
        """Return the follower for `info`."""
        if self.time_constant_s * info.sfreq < 2:
            raise ConfigError(
                f"expected a time constant of two samples at least, got {self.time_constant_s} s at {info.sfreq:g} Hz; "
                "lengthen it"
            )
        keep = float(np.exp(-1 / (self.time_constant_s * info.sfreq)))
        gains = (1 - keep, 0.0) if self.order == 0 else (1 - keep**2, (1 - keep) ** 2)
        settle = round(_SETTLE_S * info.sfreq)
        patience = max(1, round(self.patience_s * info.sfreq))
        return [_TrendStage(self.order, gains, self.limit, settle, patience, signal_columns(info))], info, 0.0


@dataclass(frozen=True, eq=False)
class _TrendStage:
    order: int
    gains: tuple[float, float]
    limit: float
    settle: int
    patience: int
    columns: NDArray[np.bool_]

    def runner(self, n_channels: int) -> Runner:
        return _TrendRunner(self, n_channels)


class _TrendRunner:
    """The follower with its state."""

    def __init__(self, stage: _TrendStage, n_channels: int) -> None:
        from bci.signal import kernels_detrend

        kernels_detrend.warm_up()
        self._detrend = kernels_detrend.detrend
        self._plan = kernels_detrend.Plan(
            stage.order == 1, *stage.gains, float(stage.limit), float(stage.settle), float(stage.patience)
        )
        self.n_outputs = n_channels
        self._columns = np.flatnonzero(stage.columns)
        self._state = kernels_detrend.allocate(self._columns.size)
        self._no_mask = np.zeros((1, self._columns.size), np.uint8)

    def run(self, values: Array, bad: Mask | None) -> tuple[Array, Mask | None]:
        every = self._columns.size == self.n_outputs
        signals = values if every else np.ascontiguousarray(values[:, self._columns])
        mask = self._no_mask if bad is None else np.ascontiguousarray(bad[:, self._columns])
        self._detrend(signals, mask, bad is not None, self._plan, self._state)
        if not every:
            values[:, self._columns] = signals
        return values, bad

    def restart(self) -> None:
        for array in self._state:
            array[:] = 0.0
