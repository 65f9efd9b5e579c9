"""Bins that follow one another: one output sample for so many of the input, on the grid of sample numbers."""

from __future__ import annotations

from abc import ABC, abstractmethod

import numpy as np
from numpy.typing import NDArray

from bci.errors import ConfigError
from bci.ports import Block
from bci.signal.stages import Line, not_prepared
from bci.signal.thinned import Thinned
from bci.stream import Chunk, Flag, StreamInfo


class Binned(Block, ABC):
    """A block whose output sample n is told by the input samples from n times the bin's length on.

    It has the time of the last of them, and comes with it; so neither cuts nor gaps move the bins. A bin with a gap
    inside is left out.
    """

    factor: int
    _line: Line | None = None
    _out_info: StreamInfo

    def __init__(self) -> None:
        self._waiting = Thinned(self._place)
        self._is_whole = True

    @abstractmethod
    def _begin(self, number: int) -> None:
        """Forget the bin that was begun: the next sample, of this number, follows none."""

    @abstractmethod
    def _bins(self, chunk: Chunk, n: int) -> NDArray[np.float64]:
        """Return the `n` bins that become complete and keep what begins."""

    def process(self, chunk: Chunk) -> Chunk:
        """Return the bins that are complete; may be empty."""
        if self._line is None:
            raise not_prepared(self)
        flags, restart = self._line.follow(chunk)
        self._waiting.take(chunk.events, flags)
        if restart:
            self._begin(chunk.start)
            self._is_whole = chunk.start % self.factor == 0
        first = chunk.start // self.factor
        n = chunk.stop // self.factor - first
        bins = self._bins(chunk, n)
        times = chunk.times[self.factor - 1 - chunk.start % self.factor :: self.factor]
        if n and not self._is_whole:
            first, n, bins, times, self._is_whole = first + 1, n - 1, bins[1:], times[1:], True
        begun = flags if chunk.stop % self.factor else Flag.OK
        out_flags = self._waiting.flags(n, bool(np.isnan(bins).any()), flags, begun)
        return Chunk(bins, times, first, self._out_info, self._waiting.events(first + n), out_flags)

    def reset(self) -> None:
        """Forget all samples, keep the settings."""
        self._waiting.reset()
        self._is_whole = True
        if self._line is not None:
            self._line.reset()

    def _place(self, number: int) -> int:
        """Return the bin that the sample of this number belongs to."""
        return number // self.factor


def samples_of(bin_s: float, sfreq: float) -> int:
    """Return the length of a bin in samples, or raise `ConfigError` if it is shorter than one."""
    n = round(bin_s * sfreq)
    if n < 1:
        raise ConfigError(f"a bin needs at least one sample, got {bin_s} s at {sfreq:g} Hz; lengthen it")
    return n
