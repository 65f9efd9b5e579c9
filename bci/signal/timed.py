"""A chain that knows where its time goes: so that a slow block can be named."""

from __future__ import annotations

import time
from collections.abc import Iterable

from bci.ports import Block
from bci.signal.chain import Chain, GapPolicy
from bci.stream import Chunk, StreamInfo


class TimedChain(Chain):
    """A chain that notes how long each of its steps took for the last chunk.

    Blocks that were joined into one program are one step, which has the names of all. Parameters are those of `Chain`.

    Attributes
    ----------
    step_names : list of str
        The steps; known after `prepare`.
    spent_s : list of float
        Time that each took for the last chunk, s.
    """

    def __init__(self, blocks: Iterable[Block], gap: GapPolicy = "bridge", bridge_s: float = 1.0) -> None:
        super().__init__(blocks, gap, bridge_s)
        self.step_names: list[str] = []
        self.spent_s: list[float] = []
        self._at = -1

    def prepare(self, info: StreamInfo) -> StreamInfo:
        """Prepare all blocks, each for what the one before delivers; return what comes out."""
        out_info = super().prepare(info)
        self.step_names = self._names()
        self.spent_s = [0.0] * len(self.step_names)
        return out_info

    def process(self, chunk: Chunk) -> Chunk:
        """Return the output for `chunk`, of any length."""
        if self._steps is None:
            return super().process(chunk)
        spent, before = self.spent_s, time.perf_counter()
        for k, step in enumerate(self._steps):
            self._at = k
            chunk = step.process(chunk)
            now = time.perf_counter()
            spent[k], before = now - before, now
        self._at = -1
        return chunk

    @property
    def step_now(self) -> str:
        """The step that is at work, for another thread to ask; "" between chunks."""
        at = self._at
        return self.step_names[at] if at >= 0 else ""

    @property
    def slowest(self) -> tuple[str, float]:
        """Name and time (s) of the step that took longest for the last chunk."""
        k = max(range(len(self.spent_s)), key=self.spent_s.__getitem__)
        return self.step_names[k], self.spent_s[k]

    def _names(self) -> list[str]:
        """Name each step by its block, or by the blocks that were joined between those that stand alone."""
        names: list[str] = []
        joined = list(self.blocks)
        for step in self._steps or []:
            alone = next((k for k, b in enumerate(joined) if b is step), None)
            if alone is not None:
                names.append(f"block {type(step).__name__}")
                del joined[: alone + 1]
                continue
            of = [type(b).__name__ for b in self._until_alone(joined)]
            names.append(f"blocks {' + '.join(of)}" if len(of) > 1 else f"block {of[0]}" if of else "units")
            del joined[: len(of)]
        return names

    def _until_alone(self, blocks: list[Block]) -> list[Block]:
        alone = {id(step) for step in self._steps or []}
        end = next((k for k, b in enumerate(blocks) if id(b) in alone), len(blocks))
        return blocks[:end]
