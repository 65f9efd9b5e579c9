"""A chain: blocks in a row, fused where that changes nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

from bci.errors import ConfigError
from bci.ports import Block
from bci.signal.marks import MarksSamples, NamesChannels
from bci.signal.pieces import fresh, pieces
from bci.signal.program import Program
from bci.signal.stages import BridgesGaps, BringsRunner, HasStages, Stage, not_prepared
from bci.stream import Chunk, Event, Flag, StreamInfo

if TYPE_CHECKING:
    from matplotlib.figure import Figure

GapPolicy: TypeAlias = Literal["reset", "bridge"]


class Chain(Block):
    """Blocks in a row, which is a block.

    Parameters
    ----------
    blocks : iterable of Block
        The steps, in order; may be empty.
    gap : {"bridge", "reset"}, default="bridge"
        What filters do where samples are missing. "reset": begin anew, in the steady state for the first sample after
        the gap. "bridge": go on across gaps of up to `bridge_s`, as if the missing samples had been a straight line
        from the last to the first, and begin anew after longer ones and where it is not known how many are missing.
    bridge_s : float, default=1
        Longest gap that is bridged, s.

    Raises
    ------
    ConfigError
        If something is not a block, or there is no such policy; from `prepare`, if a block does not fit the stream.

    Notes
    -----
    Blocks that offer `stages` (`bci.signal.stages.HasStages`) are taken apart at
    `prepare`, and every run of them becomes one program; others, and those whose stages bring their own runner, are
    called as they are. The result is that of the blocks one after the other up to rounding.

    A bridge exists for the states of filters alone, and goes for every block made of stages. Nothing of it is
    delivered: sample numbers jump, and the next sample has `Flag.GAP`. In a notch the mains goes on meanwhile; a rhythm
    in a band-pass fades and rises again, as after a reset. The same holds for a channel that was unknown (NaN) for a
    while: when it is known again its filters go on as if it had drawn a line, and after more than `bridge_s` as if it
    had been at its new level for ever. So do those of a channel in µV that jumped, by more than 500 µV and 1000 µV for
    each second that is missing (a recording that begins again, an electrode that was moved). With "reset" the last
    value of an unknown channel is held, and the step to the new one is filtered.

    Blocks that look at windows or learn begin anew at every gap, or do as their own pages say, and a chain inside a
    chain has a policy of its own. What comes out does not depend on how the stream is cut, whatever the policy.

    Examples
    --------
    >>> from bci.signal.chain import Chain
    >>> from bci.signal.filters import Bandpass, Notch
    >>> chain = Chain([Notch(50.0), Bandpass(8.0, 30.0)])
    """

    def __init__(self, blocks: Iterable[Block], gap: GapPolicy = "bridge", bridge_s: float = 1.0) -> None:
        self.blocks = list(blocks)
        for block in self.blocks:
            if not isinstance(block, Block):
                raise ConfigError(
                    f"a chain is made of blocks, got {block!r} of type {type(block).__name__}; "
                    "make blocks from names with bci.registry.create('blocks', name)"
                )
        if gap not in get_args(GapPolicy) or not 0 < bridge_s < float("inf"):
            raise ConfigError(
                f'expected gap = "reset" or "bridge" and bridge_s above 0 s, got {gap!r} and {bridge_s!r}; leave both '
                "out if unsure"
            )
        self.gap, self.bridge_s = gap, bridge_s
        self._steps: list[Program | Block] | None = None
        self._only: Program | Block | None = None  # step, where there is one
        self._infos: tuple[StreamInfo, ...] = ()

    def prepare(self, info: StreamInfo) -> StreamInfo:
        """Prepare all blocks, each for what the one before delivers; return what comes out."""
        steps: list[Program | Block] = []
        stages: list[Stage] = []
        begin, current = info, info.physical()
        infos = [current]
        for block in self.blocks:
            after = block.prepare(current)
            infos.append(after)
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
        for step in steps:
            if isinstance(step, BridgesGaps) and self.gap == "bridge":
                step.bridge(self.bridge_s)
        self._steps, self._only = steps, steps[0] if len(steps) == 1 else None
        self._infos = tuple(infos)
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

    def marked_channels(self, begin_s: float, end_s: float) -> tuple[str, ...]:
        """Return the channels of which a block says that it changed a sample from `begin_s` to before `end_s`."""
        named = (n for b in self.blocks if isinstance(b, NamesChannels) for n in b.marked_channels(begin_s, end_s))
        return tuple(dict.fromkeys(named))

    @property
    def marks_samples(self) -> bool:
        """Whether a block can tell which samples it changed (`marked`)."""
        return any(b.marks_samples if isinstance(b, Chain) else isinstance(b, MarksSamples) for b in self.blocks)

    @property
    def infos(self) -> tuple[StreamInfo, ...]:
        """What comes into each block, and at last what goes out; known after `prepare`."""
        if self._steps is None:
            raise not_prepared(self)
        return self._infos

    def run(
        self,
        data: Any,
        info: StreamInfo | None = None,
        events: Sequence[Event] = (),
        progress: Callable[[float], None] = lambda _: None,
    ) -> NDArray[np.float64]:
        """Stream a whole recording through a fresh copy of this chain, as it would have happened live.

        Parameters
        ----------
        data : array_like, shape (n_samples, n_channels), Chunk or mne.io.BaseRaw
            Samples; a row is one instant. A recording of MNE is read block by block, brought from volts to µV, and
            its annotations and triggers come as events.
        info : StreamInfo, optional
            What an array is; may be left out for what knows it.
        events : sequence of Event
            Of an array, for blocks that wait for some.
        progress : callable
            Told how much is done, 0 to 1; for a bar.

        Returns
        -------
        ndarray, shape (n_samples_out, n_channels_out)
            The joined output, as late as live (`delay_s`), in the units of the stream that `prepare` returns.

        Raises
        ------
        DataError
            If an array comes without `info`, or does not fit it.

        See Also
        --------
        bci.interop.run_raw : The same with a recording of MNE as the result.
        bci.signal.twin.to_offline : Filters without delay, which no live chain can have.
        """
        n_outputs = 0
        parts: list[NDArray[np.float64]] = []
        for chunk in self.stream(data, info, events, progress):
            n_outputs = chunk.info.n_channels
            parts.append(np.asarray(chunk.data, dtype=np.float64))
        return np.concatenate(parts) if parts else np.empty((0, n_outputs))

    def stream(
        self,
        data: Any,
        info: StreamInfo | None = None,
        events: Sequence[Event] = (),
        progress: Callable[[float], None] = lambda _: None,
    ) -> Iterator[Chunk]:
        """Yield what `run` joins, chunk by chunk, with sample numbers, times, events and flags."""
        chain = fresh(self)
        about, incoming = pieces(data, info, events, progress)
        chain.prepare(about)
        for chunk in incoming:
            yield chain.process(chunk)

    def response(self, freqs_hz: ArrayLike, source: str | None = None, skip: bool = False) -> NDArray[np.complex128]:
        """Return what the chain makes of a sine; see `bci.signal.response.response`."""
        from bci.signal.response import response

        return response(self, freqs_hz, source, skip)

    def describe(self, measure: bool = False, chunk_samples: int = 32) -> str:
        """Return a table of the blocks with delay, settling time and cost; see `bci.signal.portrait.describe`."""
        from bci.signal.portrait import describe

        return describe(self, measure, chunk_samples)

    def plot(self) -> Figure:
        """Return a picture of gain, delay, and answers to a pulse and a step; see `bci.signal.picture.plot`."""
        from bci.signal.picture import plot

        return plot(self)
