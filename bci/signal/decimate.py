"""Lower the sampling rate by a whole factor, with anti-aliasing."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from bci.errors import ConfigError
from bci.ports import Block
from bci.signal.filters import group_delay
from bci.signal.stages import Line, Program, SosStage, not_prepared, signal_columns
from bci.stream import Chunk, Event, Flag, StreamInfo


class Decimate(Block):
    """Keep every `factor`-th sample of a low-passed stream.

    Output sample n is input sample n times `factor`, counted since the stream
    began; so neither cuts nor gaps move the samples that are kept.

    Parameters
    ----------
    factor : int
        How many times lower the rate becomes, 1 to 1000.

    Raises
    ------
    ConfigError
        If `factor` is not such a number.

    Notes
    -----
    The anti-aliasing filter is a causal elliptic low-pass of order 8 (0.05 dB
    ripple, 80 dB stop band) that passes up to 0.8 of the new Nyquist frequency.
    What would fold into that band is 80 dB down, what folds above it at least 35 dB.
    `delay_s` is its group delay at 0 Hz.

    References
    ----------
    .. [1] A. Oppenheim, R. Schafer. Discrete-Time Signal Processing, 3rd ed., sec. 4.6, 2010.
    """

    def __init__(self, factor: int) -> None:
        if factor != int(factor) or not 1 <= factor <= 1000:
            raise ConfigError(f"a factor is a whole number from 1 to 1000, got {factor}; resample by stages beyond")
        self.factor = int(factor)
        self._flags = Flag.OK
        self._events: list[Event] = []
        self._program: Program | None = None

    def prepare(self, info: StreamInfo) -> StreamInfo:
        """Design the anti-aliasing filter for `info`; return it with the new rate."""
        physical = info.physical()
        stages = []
        self.delay_s = 0.0
        if self.factor > 1:
            from scipy.signal import ellip

            sos = ellip(8, 0.05, 80.0, 0.8 / self.factor, output="sos")
            stages.append(SosStage(sos, signal_columns(info)))
            self.delay_s = group_delay(sos, 0.0, info.sfreq)
        self._program = Program(stages, info, physical)
        self._line = Line(info)
        self._out_info = replace(physical, sfreq=info.sfreq / self.factor)
        self.reset()
        return self._out_info

    def process(self, chunk: Chunk) -> Chunk:
        """Return the kept samples; may be empty."""
        if self._program is None:
            raise not_prepared(self)
        flags, _ = self._line.follow(chunk)
        # What is unknown shows in the kept samples; silence is over once there are some.
        self._flags |= flags & ~(Flag.NAN | Flag.SILENT)
        filtered = self._program.process(chunk)
        first = -(-chunk.start // self.factor)
        rows = slice(first * self.factor - chunk.start, None, self.factor)
        data, times = filtered.data[rows], filtered.times[rows]
        self._events += [replace(e, sample=-(-e.sample // self.factor)) for e in chunk.events]
        out_flags = flags
        if len(data):
            out_flags = self._flags | (Flag.NAN if np.isnan(data).any() else Flag.OK)
            self._flags = Flag.OK
        elif chunk.n_samples:
            out_flags = flags & Flag.SILENT
        return Chunk(data, times, first, self._out_info, self._due(first + len(data)), out_flags)

    def reset(self) -> None:
        """Forget all samples, keep the settings."""
        self._flags = Flag.OK
        self._events = []
        if self._program is not None:
            self._program.reset()
            self._line.reset()

    def _due(self, stop: int) -> tuple[Event, ...]:
        """Return the events whose sample is out by now; the others wait for theirs."""
        due = tuple(e for e in self._events if e.sample < stop)
        self._events = [e for e in self._events if e.sample >= stop]
        return due
