"""Adaptive removal of line noise: follow the mains and subtract it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bci.errors import ConfigError
from bci.ports import Block
from bci.signal.filters import Notch
from bci.signal.program import Program
from bci.signal.stages import Array, Line, Mask, Runner, not_prepared, signal_columns
from bci.stream import Chunk, Flag, StreamInfo

_BRIDGED_S = 1.0
_CYCLES = 3.0
_FRAME_S = 0.1
_SETTLE_S, _LEARN_S = 1.0, 0.3
_FALL_S, _RISE_S = 1.0, 4.0
_TRUST, _LIMIT = 20.0, 8.0
_PACE_HZ = 0.1


class LineCanceller(Block):
    """Subtract the mains and its harmonics, whose frequency is followed and whose amplitude is learned per channel.

    A notch must be wide to forgive a mains frequency that wanders, and rings whenever the amplitude changes. This
    block keeps a sine and a cosine at the frequency that the mains has now, and subtracts from each channel what
    correlates with them: a notch of `width_hz` that moves with the mains. Where what is left says that the line has
    changed (somebody plugs in a lamp), that channel learns anew within three cycles and then narrows again.

    Parameters
    ----------
    line_hz : float, default=50
        Nominal mains frequency, Hz.
    harmonics : bool or int, default=3
        How many frequencies: True for all multiples below sfreq / 2, False for `line_hz` alone, a number for that
        many. The cost grows with it.
    width_hz : float, default=0.4
        Width (-3 dB) of the notch once it has settled, Hz, up to 4.
    range_hz : float, default=0.5
        How far the frequency may move from `line_hz`, Hz, up to 5.

    Raises
    ------
    ConfigError
        If a setting is out of range; from `prepare`, if `line_hz` is not below half the sampling rate.

    Notes
    -----
    An adaptive canceller with a reference in quadrature [1]_ is a notch at that frequency, with a width of
    gain * sfreq / pi [2]_. The gain starts large (three cycles) and falls as 1 / n, so that the first estimate
    is the mean of all samples so far, down to that of `width_hz`. It becomes large again where the residual at the line
    exceeds 20 times its usual power, which is learned all the time. The mean of each channel is taken off before
    learning, so offsets and slow waves do not disturb it; they pass unchanged. A deviation counts as 8 times the usual
    one at most, so that a jump or a spike does not ring as it does behind a notch.

    The frequency is one for all channels: every 0.1 s it is corrected by the angle by which the line turned against the
    reference, the mean over channels, with a loop of second order, critically damped; where the channels do not agree
    there is no line, and it returns to `line_hz`. A drift of 0.02 Hz per second is followed to 0.01 Hz. The gain of a
    tone beside a line of 40 uV was measured within 5 % of 1 at 1 Hz from it, 2 % at 2 Hz, 0.4 % at 5 Hz and 0.2 % at
    10 Hz. What lies within `width_hz` of the line is lost, brain signals included; a tone within `range_hz` of it that
    is stronger in most channels is taken for the line.

    Trigger channels pass unchanged. While a value is unknown (NaN) its channel learns nothing. A gap of up to 1 s is
    bridged: the phase goes on at the last frequency; after a longer one, or one of unknown length, all is learned anew.
    `delay_s` is 0.

    References
    ----------
    .. [1] B. Widrow et al. Adaptive noise cancelling: principles and applications. Proc IEEE 63:1692-1716, 1975.
       doi:10.1109/PROC.1975.10036
    .. [2] J. Glover. Adaptive noise canceling applied to sinusoidal interferences. IEEE Trans Acoust Speech Signal
       Process 25:484-491, 1977. doi:10.1109/TASSP.1977.1162997
    """

    def __init__(
        self, line_hz: float = 50.0, harmonics: bool | int = 3, width_hz: float = 0.4, range_hz: float = 0.5
    ) -> None:
        if not (line_hz >= 10 and harmonics >= 0 and 0 < width_hz <= 4 and 0 <= range_hz <= 5):
            raise ConfigError(
                f"expected line_hz from 10 Hz, harmonics >= 0, 0 < width_hz <= 4 and 0 <= range_hz <= 5, got "
                f"{line_hz} Hz, {harmonics}, {width_hz} Hz and {range_hz} Hz; leave the defaults if unsure"
            )
        self.line_hz, self.harmonics, self.width_hz, self.range_hz = line_hz, harmonics, width_hz, range_hz
        self._program: Program | None = None
        self._expected: int | None = None

    def prepare(self, info: StreamInfo) -> StreamInfo:
        """Allocate for `info`; return what comes out."""
        nyquist = info.sfreq / 2
        if not self.line_hz + self.range_hz < nyquist:
            raise ConfigError(
                f"line_hz and range_hz must stay below {nyquist:g} Hz (half the sampling rate), got {self.line_hz} + "
                f"{self.range_hz} Hz; leave the block out or raise the device's sampling rate"
            )
        n_harmonics = len(Notch(self.line_hz, self.harmonics).frequencies(nyquist - self.range_hz))
        self._runner = _LineRunner(self, info, n_harmonics)
        physical = info.physical()
        self._program = Program([_LineStage(self._runner)], info, physical)
        self._line = Line(info)
        self._out_info = physical
        self.reset()
        return physical

    def process(self, chunk: Chunk) -> Chunk:
        """Return the chunk without the line."""
        if self._program is None:
            raise not_prepared(self)
        flags, restart = self._line.follow(chunk)
        if chunk.n_samples == 0:
            return Chunk.empty(self._out_info, chunk.start, flags, chunk.events)
        if restart:
            lost = 0 if self._expected is None else chunk.start - self._expected
            if 0 < lost <= _BRIDGED_S * chunk.info.sfreq:
                self._runner.skip(lost)
            else:
                self._program.reset()
        self._expected = chunk.stop
        values, unknown = self._program.run(chunk.data)
        flags = flags & ~Flag.NAN | (Flag.NAN if unknown else Flag.OK)
        return Chunk(values, chunk.times, chunk.start, self._out_info, chunk.events, flags)

    def reset(self) -> None:
        """Forget all samples, keep the settings."""
        self._expected = None
        if self._program is not None:
            self._program.reset()
            self._line.reset()

    @property
    def frequency_hz(self) -> float:
        """The frequency that is followed now, Hz."""
        return self.line_hz if self._program is None else self._runner.frequency_hz


@dataclass(frozen=True, eq=False)
class _LineStage:
    """The stage of a block that has made its runner already."""

    made: _LineRunner

    def runner(self, n_channels: int) -> Runner:
        return self.made


class _LineRunner:
    """The canceller with its state."""

    def __init__(self, block: LineCanceller, info: StreamInfo, n_harmonics: int) -> None:
        from bci.signal import kernels_line

        kernels_line.warm_up()
        self._cancel, self._begin = kernels_line.cancel, kernels_line.begin
        self.n_outputs = info.n_channels
        self._columns = np.flatnonzero(signal_columns(info))
        sfreq = info.sfreq
        fast = block.line_hz / sfreq / _CYCLES
        self._plan = kernels_line.Plan(
            line=block.line_hz / sfreq,
            room=block.range_hz / sfreq,
            pace=_PACE_HZ / sfreq,
            slow=min(float(np.pi * block.width_hz / sfreq), fast),
            fast=fast,
            smooth=float(1 - np.exp(-2 * np.pi * block.line_hz / 4 / sfreq)),
            trust=_TRUST,
            limit=_LIMIT,
            rise=1 / (_RISE_S * sfreq),
            fall=1 / (_FALL_S * sfreq),
            settle=_SETTLE_S * sfreq,
            learn=_LEARN_S * sfreq,
            frame=max(1, round(_FRAME_S * sfreq)),
        )
        self._sfreq = sfreq
        self._state = kernels_line.allocate(n_harmonics, self._columns.size)
        self._error = np.zeros(self._columns.size)
        self._no_mask = np.zeros((1, self._columns.size), np.uint8)

    @property
    def frequency_hz(self) -> float:
        return float(self._state.clock[1] * self._sfreq)

    def run(self, values: Array, bad: Mask | None) -> tuple[Array, Mask | None]:
        every = self._columns.size == self.n_outputs
        signals = values if every else np.ascontiguousarray(values[:, self._columns])
        mask: NDArray[np.uint8] = self._no_mask if bad is None else np.ascontiguousarray(bad[:, self._columns])
        self._cancel(signals, mask, bad is not None, self._plan, self._state, self._error)
        if not every:
            values[:, self._columns] = signals
        return values, bad

    def skip(self, n_samples: int) -> None:
        """Let the mains go on while `n_samples` are lost; levels begin anew."""
        clock = self._state.clock
        clock[0] = (clock[0] + n_samples * clock[1]) % 1.0
        self._state.mean[:] = np.nan

    def restart(self) -> None:
        self._begin(self._plan, self._state)
