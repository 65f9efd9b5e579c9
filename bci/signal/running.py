"""Blocks that change every value by what they learned of its channel up to then."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from bci.errors import ConfigError
from bci.ports import Block
from bci.signal.stages import Line, not_prepared, signal_columns
from bci.stream import Chunk, Flag, StreamInfo

Array = NDArray[np.float64]


class Running(Block, ABC):
    """A block that changes every value by what it learned of its channel so far; rate, names and events stay."""

    _line: Line | None = None

    def prepare(self, info: StreamInfo) -> StreamInfo:
        """Allocate for `info`; return it with the new units."""
        from bci.signal import kernels_normalise

        kernels_normalise.warm_up()
        self._line, self._scales = Line(info), info.scales
        self._signals = signal_columns(info).astype(np.uint8)
        pairs = zip(info.physical().channels, self._signals, strict=True)
        channels = tuple(replace(c, unit=self._unit(c.unit)) if signal else c for c, signal in pairs)
        self._out_info = replace(info, channels=channels)
        self._design(info)
        self.reset()
        return self._out_info

    def process(self, chunk: Chunk) -> Chunk:
        """Return the chunk normalised by the samples up to each."""
        if self._line is None:
            raise not_prepared(self)
        flags, restart = self._line.follow(chunk)
        if chunk.n_samples == 0:
            return Chunk.empty(self._out_info, chunk.start, flags, chunk.events)
        if restart:
            self._restart()
        values = np.array(chunk.data, dtype=np.float64, order="C")
        if self._scales is not None:
            values *= self._scales
        self._change(values, chunk)
        flags = flags & ~Flag.NAN | (Flag.NAN if np.isnan(values).any() else Flag.OK)
        return Chunk(values, chunk.times, chunk.start, self._out_info, chunk.events, flags)

    def reset(self) -> None:
        """Forget all samples and what was learned from them."""
        if self._line is not None:
            self._line.reset()
            self._forget()

    @abstractmethod
    def _design(self, info: StreamInfo) -> None:
        """Compute what depends on the rate."""

    @abstractmethod
    def _forget(self) -> None:
        """Allocate what is learned."""

    @abstractmethod
    def _restart(self) -> None:
        """Go on behind a gap."""

    @abstractmethod
    def _change(self, values: Array, chunk: Chunk) -> None:
        """Normalise `values` in place."""

    def _unit(self, unit: str) -> str:
        return "1"


def positive(memory_s: float) -> float:
    """Return `memory_s` if it is a time constant, else raise `ConfigError`."""
    if not memory_s > 0:
        raise ConfigError(f"a memory must be longer than 0 s, got {memory_s}; 30 s is usual")
    return memory_s
