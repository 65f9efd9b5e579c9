"""The pipeline: blocks, then windows. The one object used live and on recordings."""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from bci.errors import DataError
from bci.ports import Block
from bci.signal.chain import GapPolicy
from bci.signal.timed import TimedChain
from bci.signal.window import Cut, Windower
from bci.stream import Chunk, Flag, StreamInfo
from bci.trial import Window


class Pipeline:
    """From chunks to the windows a decoder sees.

    Parameters
    ----------
    blocks : iterable of Block
        The signal chain, in order.
    window : Slide or Locked
        Which windows are cut from its output.
    history_s : float, default=10
        How far back a late event may still find its samples, s.
    gap : {"bridge", "reset"}, default="bridge"
        What filters do where samples are missing (`bci.signal.chain.Chain`).
    bridge_s : float, default=1
        Longest gap that is bridged, s.

    Attributes
    ----------
    last_stages : dict of str to float
        Time that the last `push` spent in "blocks" and in "window", s.
    last_chunk : Chunk or None
        Output of the blocks for the last `push` (what a viewer shows).
    """

    def __init__(
        self,
        blocks: Iterable[Block],
        window: Window,
        history_s: float = 10.0,
        *,
        gap: GapPolicy = "bridge",
        bridge_s: float = 1.0,
    ) -> None:
        self.chain = TimedChain(blocks, gap, bridge_s)
        self.window = window
        self.history_s = history_s
        self.last_stages: dict[str, float] = {"blocks": 0.0, "window": 0.0}
        self.last_chunk: Chunk | None = None
        self._windower: Windower | None = None

    def prepare(self, info: StreamInfo) -> StreamInfo:
        """Prepare blocks and windows for `info`; return what the windows are cut from.

        Raises
        ------
        ConfigError
            If a block or the window does not fit the stream.
        """
        out_info = self.chain.prepare(info)
        marked = self.chain.marked if self.chain.marks_samples else None
        self._windower = Windower(self.window, out_info, self.history_s, marked)
        self.last_chunk = None
        return out_info

    def push(self, chunk: Chunk) -> list[Cut]:
        """Take in `chunk`, of any length; return the windows that are now complete."""
        windower = self.windower
        begin_s = time.perf_counter()
        self.last_chunk = self.chain.process(chunk)
        blocks_s = time.perf_counter()
        cuts = [self._named(cut) if cut.chunk.flags else cut for cut in windower.push(self.last_chunk)]
        self.last_stages = {"blocks": blocks_s - begin_s, "window": time.perf_counter() - blocks_s}
        return cuts

    def reset(self) -> None:
        """Forget all samples, keep the settings."""
        self.chain.reset()
        self.last_chunk = None
        if self._windower is not None:
            self._windower.reset()

    @property
    def delay_s(self) -> float:
        """Group delay of the blocks, s; known after `prepare`."""
        return self.chain.delay_s

    @property
    def windower(self) -> Windower:
        """The windower in use; exists after `prepare`."""
        if self._windower is None:
            raise DataError("a pipeline needs to know its stream, got a call before prepare; call prepare(info)")
        return self._windower

    @property
    def dropped(self) -> int:
        """Number of locked windows that could not be cut."""
        return self.windower.dropped

    def _named(self, cut: Cut) -> Cut:
        """Return the window with the names of the channels that are not wholly as they were measured."""
        chunk, sfreq = cut.chunk, cut.chunk.info.sfreq
        unknown = np.isnan(chunk.data).any(axis=0) if Flag.NAN in chunk.flags else np.zeros(0, bool)
        names = [chunk.info.channels[c].name for c in np.flatnonzero(unknown)]
        names += self.chain.marked_channels(chunk.start / sfreq, chunk.stop / sfreq)
        return replace(cut, bad_channels=tuple(dict.fromkeys(names))) if names else cut

    @staticmethod
    def transpose(cut: Cut) -> NDArray[np.float64]:
        """Return the samples of `cut` as a decoder takes them, shape (n_channels, n_times), C order."""
        return np.ascontiguousarray(cut.chunk.data.T, dtype=np.float64)
