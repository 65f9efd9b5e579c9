"""A chain: blocks in a row, fused where that changes nothing."""

from __future__ import annotations

import copy
from collections.abc import Iterable

import numpy as np
from numpy.typing import ArrayLike, NDArray

from bci.errors import ConfigError, DataError
from bci.ports import Block
from bci.signal.marks import MarksSamples
from bci.signal.program import Program
from bci.signal.stages import BringsRunner, HasStages, Stage, not_prepared
from bci.stream import Chunk, Flag, StreamInfo

_RUN_SAMPLES = 4096


class Chain(Block):
    """Blocks in a row, which is a block.

    Parameters
    ----------
    blocks : iterable of Block
        The steps, in order; may be empty.

    Raises
    ------
    ConfigError
        If something is not a block; from `prepare`, if a block does not fit the stream.

    Notes
    -----
    Blocks that offer `stages` (`bci.signal.stages.HasStages`) are taken apart at
    `prepare`, and every run of them becomes one program; others, and those whose stages bring their own runner, are
    called as they are. The result is that of the blocks one after the other up to rounding.

    Examples
    --------
    >>> from bci.signal.chain import Chain
    >>> from bci.signal.filters import Bandpass, Notch
    >>> chain = Chain([Notch(50.0), Bandpass(8.0, 30.0)])
    """

    def __init__(self, blocks: Iterable[Block]) -> None:
        self.blocks = list(blocks)
        for block in self.blocks:
            if not isinstance(block, Block):
                raise ConfigError(
                    f"a chain is made of blocks, got {block!r} of type {type(block).__name__}; "
                    "make blocks from names with bci.registry.create('blocks', name)"
                )
        self._steps: list[Program | Block] | None = None
        self._only: Program | Block | None = None  # step, where there is one

    def prepare(self, info: StreamInfo) -> StreamInfo:
        """Prepare all blocks, each for what the one before delivers; return what comes out."""
        steps: list[Program | Block] = []
        stages: list[Stage] = []
        begin, current = info, info.physical()
        for block in self.blocks:
            after = block.prepare(current)
            if isinstance(block, HasStages) and not any(isinstance(s, BringsRunner) for s in block.stages()):
                stages += block.stages()
            else:
                if stages or (begin is info and info.scales is not None):
                    steps.append(Program(stages, begin, current))
                steps.append(block)
                stages, begin = [], after
            current = after
        if stages or not steps:
            steps.append(Program(stages, begin, current))
        self._steps, self._only = steps, steps[0] if len(steps) == 1 else None
        self.delay_s = sum(block.delay_s for block in self.blocks)
        return current

    def process(self, chunk: Chunk) -> Chunk:
        """Return the output for `chunk`, of any length."""
        if self._only is not None:
            return self._only.process(chunk)
        if self._steps is None:
            raise not_prepared(self)
        for step in self._steps:
            chunk = step.process(chunk)
        return chunk

    def reset(self) -> None:
        """Forget all samples, keep the settings."""
        for step in self._steps or []:
            step.reset()

    def marked(self, begin_s: float, end_s: float) -> Flag:
        """Return what the blocks did to the samples from `begin_s` to before `end_s`, s since the stream began."""
        flags = Flag.OK
        for block in self.blocks:
            if isinstance(block, MarksSamples):
                flags |= block.marked(begin_s, end_s)
        return flags

    @property
    def marks_samples(self) -> bool:
        """Whether a block can tell which samples it changed (`marked`)."""
        return any(b.marks_samples if isinstance(b, Chain) else isinstance(b, MarksSamples) for b in self.blocks)

    def run(self, data: ArrayLike | Chunk, info: StreamInfo | None = None) -> NDArray[np.float64]:
        """Stream a whole array or chunk through a fresh copy of this chain, as it would have happened live.

        Parameters
        ----------
        data : array_like, shape (n_samples, n_channels), or Chunk
            Samples; a row is one instant.
        info : StreamInfo, optional
            What `data` is; may be left out for a chunk.

        Returns
        -------
        ndarray, shape (n_samples_out, n_channels_out)
            The joined output.

        Raises
        ------
        DataError
            If an array comes without `info`, or does not fit it.
        """
        whole = data if isinstance(data, Chunk) else _as_chunk(np.asarray(data), info)
        chain = copy.deepcopy(self)
        out_info = chain.prepare(info or whole.info)
        parts = [np.empty((0, out_info.n_channels))]
        for begin in range(0, whole.n_samples, _RUN_SAMPLES):
            rows = slice(begin, begin + _RUN_SAMPLES)
            part = Chunk(whole.data[rows], whole.times[rows], whole.start + begin, info or whole.info)
            parts.append(np.asarray(chain.process(part).data, dtype=np.float64))
        return np.concatenate(parts)


def _as_chunk(data: NDArray[np.generic], info: StreamInfo | None) -> Chunk:
    if info is None:
        raise DataError("an array needs its StreamInfo, got none; call run(data, info)")
    if data.ndim != 2:
        raise DataError(
            f"expected an array of shape (n_samples, {info.n_channels}), got {data.shape}; rows are samples"
        )
    return Chunk(data, np.arange(len(data)) / info.sfreq, 0, info)
