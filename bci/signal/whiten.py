"""Adaptive whitening: take out what a day, a cap and a drift do to all channels together."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from bci.errors import ConfigError
from bci.ports import Block
from bci.signal.stages import Line, not_prepared, signal_columns
from bci.stream import Chunk, StreamInfo


class Whiten(Block):
    """Whiten the channels by the covariance of the recent past, without labels.

    Every `step_s` the covariance of all samples so far, forgetting with a time
    constant of `memory_s`, is updated; the next step is multiplied by its
    inverse symmetric root. Recordings of different runs and days then share one
    centre, so a decoder fitted on one fits the next. Put it after the band-pass.

    Parameters
    ----------
    memory_s : float, default=40
        Time constant of forgetting, s; several trials long, so that no class dominates.
    step_s : float, default=1
        Time between updates, s.
    shrinkage : float, default=0.01
        Weight of a scaled identity in the covariance, above 0 and up to 1.

    Raises
    ------
    ConfigError
        If a setting is out of range.

    Notes
    -----
    The root is symmetric, so every output keeps the name of its channel; its
    unit is then one standard deviation ("1"). The first step passes unchanged.
    Trigger channels pass unchanged. An unknown value (NaN) counts as 0 for the
    other channels and stays unknown in its own. A gap keeps what was learned.

    The centre is the arithmetic mean as in [2]_, over all samples and not over
    trials only, so that no events are needed; it is recursive as in [1]_.

    References
    ----------
    .. [1] P. Zanini et al. Transfer learning: a Riemannian geometry framework with applications to
       brain-computer interfaces. IEEE Trans Biomed Eng 65:1107-1116, 2018. doi:10.1109/TBME.2017.2742541
    .. [2] H. He, D. Wu. Transfer learning for brain-computer interfaces: a Euclidean space data alignment
       approach. IEEE Trans Biomed Eng 67:399-410, 2020. doi:10.1109/TBME.2019.2913914
    """

    def __init__(self, memory_s: float = 40.0, step_s: float = 1.0, shrinkage: float = 0.01) -> None:
        if not (0 < step_s <= memory_s and 0 < shrinkage <= 1):
            raise ConfigError(
                f"whitening needs 0 < step_s <= memory_s and 0 < shrinkage <= 1, got {step_s} s, {memory_s} s and "
                f"{shrinkage}; leave the defaults if unsure"
            )
        self.memory_s, self.step_s, self.shrinkage = memory_s, step_s, shrinkage
        self._line: Line | None = None

    def prepare(self, info: StreamInfo) -> StreamInfo:
        """Allocate for `info`; return it with the signals in standard deviations."""
        from bci.signal import kernels

        kernels.warm_up()
        self._mix = kernels.mix
        self._columns = np.flatnonzero(signal_columns(info))
        self._n_step = max(2, round(self.step_s * info.sfreq))
        self._keep = float(np.exp(-self._n_step / (self.memory_s * info.sfreq)))
        self._line = Line(info)
        signals = set(self._columns.tolist())
        channels = tuple(replace(c, unit="1", scale=1.0) if i in signals else c for i, c in enumerate(info.channels))
        self._out_info = replace(info, channels=channels)
        self.reset()
        return self._out_info

    def process(self, chunk: Chunk) -> Chunk:
        """Return the whitened chunk; updates fall on fixed samples, however the stream is cut."""
        if self._line is None:
            raise not_prepared(self)
        flags, restart = self._line.follow(chunk)
        if chunk.n_samples == 0:
            return Chunk.empty(self._out_info, chunk.start, flags, chunk.events)
        if restart:
            self._filled = 0
        data = np.array(chunk.data, dtype=np.float64, order="C")
        signals = np.ascontiguousarray(data[:, self._columns])
        unknown = ~np.isfinite(signals)
        signals[unknown] = 0.0
        whitened = self._whiten(signals)
        whitened[unknown] = np.nan
        data[:, self._columns] = whitened
        return Chunk(data, chunk.times, chunk.start, self._out_info, chunk.events, flags)

    def reset(self) -> None:
        """Forget all samples and what was learned from them."""
        if self._line is None:
            return
        n = len(self._columns)
        self._line.reset()
        self._buffer = np.zeros((self._n_step, n))
        self._filled = 0
        self._sum = np.zeros((n, n))
        self._weight = 0.0
        self._root = np.eye(n)

    def _whiten(self, signals: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return `signals` whitened, learning from each step as soon as it is complete."""
        out = np.empty_like(signals)
        begin = 0
        while begin < len(signals):
            end = min(len(signals), begin + self._n_step - self._filled)
            part = np.ascontiguousarray(signals[begin:end])
            self._mix(part, self._root, out[begin:end])
            self._buffer[self._filled : self._filled + end - begin] = part
            self._filled += end - begin
            begin = end
            if self._filled == self._n_step:
                self._learn()
        return out

    def _learn(self) -> None:
        self._filled = 0
        self._sum = self._keep * self._sum + self._buffer.T @ self._buffer
        self._weight = self._keep * self._weight + self._n_step
        n = len(self._sum)
        covariance = self._sum / self._weight
        level = np.trace(covariance) / max(n, 1)
        if not level > 0:
            return  # nothing but zeros so far
        values, vectors = np.linalg.eigh((1 - self.shrinkage) * covariance + self.shrinkage * level * np.eye(n))
        self._root = np.ascontiguousarray((vectors / np.sqrt(values)) @ vectors.T)
