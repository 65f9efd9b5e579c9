"""What a chain makes of a sine: gain and phase by frequency, delay, and how long it remembers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Protocol, TypeAlias, runtime_checkable

import numpy as np
from numpy.typing import ArrayLike, NDArray

from bci.errors import ConfigError
from bci.ports import Block
from bci.signal.pieces import fresh
from bci.signal.stages import (
    AverageStage,
    BankStage,
    DecimateStage,
    FirStage,
    HasStages,
    MatrixStage,
    PickStage,
    SosStage,
    Stage,
    StagedBlock,
)
from bci.stream import Channel, Chunk, Kind, StreamInfo

if TYPE_CHECKING:
    from bci.signal.chain import Chain

Complex: TypeAlias = NDArray[np.complex128]
Array: TypeAlias = NDArray[np.float64]


@runtime_checkable
class HasResponse(Protocol):
    """A block over time that is not made of plain stages, and yet linear and the same at all times."""

    def response(self, freqs_hz: Array) -> Complex:
        """Return the response at `freqs_hz`, shape (n_freqs,): the same for every signal channel. After `prepare`."""
        ...


@runtime_checkable
class FiltersEach(Protocol):
    """A stage without feedback that filters every channel by taps of its own, shape (n_taps, n_channels)."""

    taps: Array
    columns: NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Link:
    """One block of a prepared chain, with what comes in and what goes out."""

    block: Block
    info: StreamInfo
    out_info: StreamInfo

    @property
    def is_linear(self) -> bool:
        """Whether it does the same to every sample: then it has a response."""
        block = self.block
        if isinstance(block, HasStages):
            return all(isinstance(stage, _PLAIN) or is_each(stage) for stage in block.stages())
        return isinstance(block, HasResponse)

    @property
    def keeps_signals(self) -> bool:
        """Whether the same channels come out at the same rate."""
        return self.info.channels == self.out_info.channels and self.info.sfreq == self.out_info.sfreq


_PLAIN = (SosStage, BankStage, FirStage, AverageStage, PickStage, MatrixStage, DecimateStage)


def is_each(stage: object) -> bool:
    """Return whether `stage` filters every channel by its own taps."""
    return isinstance(stage, FiltersEach) and not isinstance(stage, FirStage) and np.ndim(stage.taps) == 2


def links(chain: Chain) -> list[Link]:
    """Return the blocks of a prepared chain, those of chains inside it one by one."""
    from bci.signal.chain import Chain

    found: list[Link] = []
    for block, info, out_info in zip(chain.blocks, chain.infos[:-1], chain.infos[1:], strict=True):
        found += links(block) if isinstance(block, Chain) else [Link(block, info, out_info)]
    return found


@dataclass(frozen=True, eq=False)
class Run:
    """The linear blocks of a chain.

    Parameters
    ----------
    links : list of Link
        They.
    left_out : list of str
        Blocks between them that have no response and keep the channels, by class.
    ends_at : str
        The block before which it ends, because something else than the signals comes out of it; "" if none.
    """

    links: list[Link]
    left_out: list[str]
    ends_at: str

    def in_words(self) -> str:
        """Return what is missing, as half a sentence; "" if nothing is."""
        parts = [f"without {', '.join(self.left_out)} (no fixed response)"] if self.left_out else []
        return "; ".join([*parts, f"up to {self.ends_at}"] if self.ends_at else parts)


def linear_run(chain: Chain) -> Run:
    """Return the linear blocks of `chain`, up to the first that makes something else of the signals."""
    kept: list[Link] = []
    left_out: list[str] = []
    for link in links(chain):
        name = type(link.block).__name__
        if link.is_linear:
            kept.append(link)
        elif link.keeps_signals:
            left_out.append(name)
        else:
            return Run(kept, left_out, name)
    return Run(kept, left_out, "")


def response(chain: Chain, freqs_hz: ArrayLike, source: str | None = None, skip: bool = False) -> Complex:
    """Return what a prepared chain makes of a sine, as complex amplitude.

    Parameters
    ----------
    chain : Chain
        After `prepare`.
    freqs_hz : array_like, shape (n_freqs,)
        Frequencies of the sine that comes in, Hz.
    source : str, optional
        The channel that it comes in on, alone; then every output is told, with references and matrices. Without it the
        filters over time are told, which all signal channels have in common; spatial steps count as 1.
    skip : bool, default=False
        Leave out blocks that have no response, and end before one that makes features.

    Returns
    -------
    ndarray of complex
        Shape (n_freqs, n_outputs) with a `source`; else (n_freqs,), or (n_freqs, n_bands) after a filter bank.

    Raises
    ------
    ConfigError
        If a block has no response: it adapts, or is not linear.

    Notes
    -----
    From exp(2 pi i f t) at the input becomes the response times exp(2 pi i f t) at the times of the output samples:
    exact for everything but `Resample`. A frequency above half of a lowered rate stands for its alias then, and its
    response for what folds. Upwards, `Resample` lets images through, `attenuation_db` down; they are not told.
    Trigger channels are not filtered.
    """
    freqs = np.atleast_1d(np.asarray(freqs_hz, dtype=np.float64))
    run = linear_run(chain)
    if not skip and (run.left_out or run.ends_at):
        names = [*run.left_out, *([run.ends_at] if run.ends_at else [])]
        raise ConfigError(
            f"expected blocks that do the same to every sample, got {', '.join(names)}, which adapts or is not linear; "
            "leave it out of the chain, or call response(..., skip=True)"
        )
    if source is None:
        told = over_time(paths(run.links), freqs)
        return told[:, 0] if told.shape[1] == 1 else told
    values = np.zeros((len(freqs), chain.infos[0].n_channels), np.complex128)
    values[:, chain.infos[0].index(source)] = 1.0
    for link in run.links:
        values = _through(link, values, freqs)
    return values


@dataclass(frozen=True, eq=False)
class Path:
    """What one signal channel goes through over time.

    Parameters
    ----------
    label : str
        Which band or channel, where there are several paths.
    parts : tuple of (list of Stage or Block, float)
        The steps, each with the rate that comes in, Hz.
    sfreq : float
        Rate at the begin, Hz.
    """

    label: str
    parts: tuple[tuple[list[Stage] | Block, float], ...]
    sfreq: float

    def response(self, freqs_hz: Array, known: dict[int, Complex] | None = None) -> Complex:
        """Return the response, shape (n_freqs,); `known` keeps those of the steps, by identity."""
        known = {} if known is None else known
        whole = np.ones(len(freqs_hz), np.complex128)
        for step, sfreq in self.parts:
            if id(step) not in known:
                known[id(step)] = _step_response(step, freqs_hz, sfreq)
            whole *= known[id(step)]
        return whole

    def chain(self) -> Chain:
        """Return it as a chain for one channel, prepared."""
        from bci.signal.chain import Chain

        steps = [_Steps(step) if isinstance(step, list) else fresh(step) for step, _ in self.parts]
        chain = Chain(steps)
        chain.prepare(StreamInfo("path", self.sfreq, (Channel("x"),)))
        return chain

    def memory_samples(self) -> int:
        """Return after how many samples that come in next to nothing (1e-7) is left of a pulse."""
        length = 0.0
        for step, sfreq in self.parts:
            for stage in step if isinstance(step, list) else []:
                if isinstance(stage, SosStage):
                    radius = max(abs(root) for section in stage.sos for root in np.roots(section[3:]))
                    length += len(stage.sos) * (2 + np.log(1e-7) / np.log(max(radius, 0.1))) * self.sfreq / sfreq
                elif isinstance(stage, FirStage):
                    length += len(stage.taps) * self.sfreq / sfreq
                sfreq /= stage.factor if isinstance(stage, DecimateStage) else 1
            if not isinstance(step, list):
                length += (2 * step.delay_s + 1 / sfreq) * self.sfreq
        return int(min(np.ceil(length) + 1, _LONGEST))

    def pulse(self) -> tuple[Array, Array]:
        """Return times in s and the answer to a pulse of one sample at time 0 that follows a zero."""
        chain = self.chain()
        data = np.zeros((self.memory_samples() + 1, 1))
        # The first sample is what a filter takes for its past; whole numbers of kept samples lie before the pulse.
        before = max(1, round(self.sfreq / chain.infos[-1].sfreq))
        data = np.concatenate([np.zeros((before, 1)), data])
        data[before] = 1.0
        (answer,) = at_once(chain, data).T
        return (np.arange(len(answer)) / chain.infos[-1].sfreq) - before / self.sfreq, answer

    def settling_s(self, rest: float = 0.01) -> float:
        """Return after how long a disturbance that is over has at most `rest` of its largest possible effect, s.

        Notes
        -----
        An input below 1 that ended n samples ago can show with the sum of abs(h[k]) over k > n at most.
        """
        times, answer = self.pulse()
        left = np.cumsum(np.abs(answer)[::-1])[::-1]
        above = np.flatnonzero(left > rest * left[0])
        return float(max(times[above[-1]], 0.0)) if above.size else 0.0


_LONGEST = 1 << 21


def at_once(chain: Chain, data: Array) -> Array:
    """Return what a new, prepared chain makes of `data`, shape (n_samples, n_channels), in one piece."""
    info = chain.infos[0]
    made: Array = chain.process(Chunk(data, np.arange(len(data)) / info.sfreq, 0, info)).data
    return made


class _Steps(StagedBlock):
    """Stages for one channel."""

    def __init__(self, steps: Sequence[Stage]) -> None:
        self.steps = list(steps)

    def design(self, info: StreamInfo) -> tuple[list[Stage], StreamInfo, float]:
        factor = np.prod([s.factor for s in self.steps if isinstance(s, DecimateStage)], dtype=np.float64)
        return self.steps, replace(info, sfreq=info.sfreq / float(factor)), 0.0


def paths(run: Sequence[Link]) -> list[Path]:
    """Return what the signal channels go through over time: one path, or one for each band, or for each channel."""
    if not run:
        return [Path("", (), 1.0)]
    found = [Path("", (), run[0].info.sfreq)]
    for link in run:
        ways = list(_ways(link))
        found = [
            replace(path, label=f"{path.label} {label}".strip(), parts=(*path.parts, (step, link.info.sfreq)))
            for label, step in ways
            for path in found
        ]
    return found


def over_time(ways: Sequence[Path], freqs_hz: Array) -> Complex:
    """Return the responses of paths, shape (n_freqs, n_paths); a step that several have is looked at once."""
    known: dict[int, Complex] = {}
    return np.stack([path.response(freqs_hz, known) for path in ways], axis=1)


def delays(ways: Sequence[Path], freqs_hz: Array, step_hz: float = 1e-3) -> Array:
    """Return the group delays of paths, s, shape (n_freqs, n_paths): the slope of the phase."""
    before, after = (over_time(ways, freqs_hz + side * step_hz) for side in (-0.5, 0.5))
    with np.errstate(invalid="ignore", divide="ignore"):
        slope: Array = -np.angle(after / before) / (2 * np.pi * step_hz)
    return slope


def _ways(link: Link) -> Iterator[tuple[str, list[Stage] | Block]]:
    """Yield what one channel goes through in a block, more than once where channels or bands differ."""
    block = link.block
    if not isinstance(block, HasStages):
        yield "", block
        return
    ways: list[tuple[str, list[Stage]]] = [("", [])]
    only = np.ones(1, bool)
    for stage in block.stages():
        new: list[tuple[str, Stage]] = []
        if isinstance(stage, BankStage):
            bands = getattr(block, "bands", range(1, len(stage.sos) + 1))
            names = [f"{b[0]:g}-{b[1]:g} Hz" if isinstance(b, tuple) else f"band {b}" for b in bands]
            new = [(name, SosStage(sos, only)) for name, sos in zip(names, stage.sos, strict=True)]
        elif isinstance(stage, SosStage):
            new = [("", SosStage(stage.sos, only))]
        elif isinstance(stage, FirStage):
            new = [("", FirStage(stage.taps, only))]
        elif isinstance(stage, DecimateStage):
            new = [("", stage)]
        elif isinstance(stage, FiltersEach):
            names = link.out_info.ch_names
            new = [(names[c], FirStage(stage.taps[:, c].copy(), only)) for c in np.flatnonzero(stage.columns)]
        if new:
            ways = [(f"{one} {two}".strip(), [*before, stage]) for two, stage in new for one, before in ways]
    yield from ways


def _step_response(step: list[Stage] | Block, freqs_hz: Array, sfreq: float) -> Complex:
    if isinstance(step, HasResponse):
        return step.response(freqs_hz)
    whole = np.ones(len(freqs_hz), np.complex128)
    for stage in step if isinstance(step, list) else []:
        whole *= _over_time(stage, freqs_hz, sfreq)
        sfreq /= stage.factor if isinstance(stage, DecimateStage) else 1
    return whole


def _over_time(stage: Stage, freqs_hz: Array, sfreq: float) -> Complex:
    """Return what a stage makes of a sine on a channel that it filters."""
    if isinstance(stage, SosStage):
        return sections_response(stage.sos, freqs_hz, sfreq)
    if isinstance(stage, FirStage):
        return taps_response(stage.taps, freqs_hz, sfreq)
    return np.ones(len(freqs_hz), np.complex128)


def _through(link: Link, values: Complex, freqs_hz: Array) -> Complex:
    """Take complex amplitudes, shape (n_freqs, n_channels), through a block."""
    if isinstance(link.block, HasResponse):
        signals = [k for k, c in enumerate(link.info.channels) if c.kind is not Kind.TRIG]
        values[:, signals] *= link.block.response(freqs_hz)[:, None]
        return values
    stages = link.block.stages() if isinstance(link.block, HasStages) else []
    sfreq = link.info.sfreq
    for stage in stages:
        if isinstance(stage, SosStage | FirStage):
            values[:, stage.columns] *= _over_time(stage, freqs_hz, sfreq)[:, None]
        elif isinstance(stage, BankStage):
            bands = [sections_response(sos, freqs_hz, sfreq) for sos in stage.sos]
            n_signals = int(stage.columns.sum())
            values = values[:, stage.source()]
            for k, band in enumerate(bands):
                values[:, k * n_signals : (k + 1) * n_signals] *= band[:, None]
        elif isinstance(stage, AverageStage):
            values[:, stage.targets] -= values[:, stage.members].mean(axis=1, keepdims=True)
        elif isinstance(stage, PickStage):
            values = values[:, stage.columns]
        elif isinstance(stage, MatrixStage):
            values = values @ stage.matrix.T
        elif isinstance(stage, DecimateStage):
            sfreq /= stage.factor
        elif isinstance(stage, FiltersEach):
            for c in np.flatnonzero(stage.columns):
                values[:, c] *= taps_response(stage.taps[:, c], freqs_hz, sfreq)
    return values


def sections_response(sos: Array, freqs_hz: Array, sfreq: float) -> Complex:
    """Return the response of a cascade, shape (n_freqs,)."""
    back = np.exp(-2j * np.pi * freqs_hz / sfreq)
    powers = np.stack([np.ones_like(back), back, back**2])
    parts: Complex = np.prod((sos[:, :3] @ powers) / (sos[:, 3:] @ powers), axis=0)
    return parts


def taps_response(taps: Array, freqs_hz: Array, sfreq: float) -> Complex:
    """Return the response of taps, shape (n_freqs,)."""
    back = np.exp(-2j * np.pi * freqs_hz / sfreq)
    found: Complex = np.polynomial.polynomial.polyval(back, np.asarray(taps, dtype=np.complex128))
    return found
