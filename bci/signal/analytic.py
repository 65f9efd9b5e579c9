"""Banks of complex filters of finite length: what wavelets and phase without look-ahead have in common."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from bci.errors import ConfigError
from bci.ports import Block
from bci.signal.feed import Feed, Grid
from bci.signal.stages import not_prepared, signal_columns
from bci.stream import Channel, Chunk, StreamInfo

Measure: TypeAlias = Literal["amplitude", "power", "phase", "complex"]
MEASURES: tuple[Measure, ...] = ("amplitude", "power", "phase", "complex")


@dataclass(frozen=True, slots=True, eq=False)
class Taps:
    """One complex filter of finite length.

    Parameters
    ----------
    label : str
        What it lets through, as in "10 Hz".
    first : int
        Lag that `weights[0]` meets, samples, at least 0.
    weights : ndarray of complex, shape (n_taps,)
        Weights, newest sample first.
    """

    label: str
    first: int
    weights: NDArray[np.complex128]


class AnalyticBank(Block, ABC):
    """A block that filters every channel by complex `Taps` and tells amplitude, power, phase or both parts.

    Parameters
    ----------
    measure : {"amplitude", "power", "phase", "complex"}
        What comes out.
    step_s : float or None
        Time between outputs, s, rounded to whole samples; None for every sample.
    """

    _feed: Feed | None = None
    _place = 0

    def __init__(self, measure: Measure, step_s: float | None) -> None:
        if measure not in MEASURES or not (step_s is None or step_s > 0):
            raise ConfigError(
                f"expected a measure of {', '.join(MEASURES)} and a step above 0 s or None, got {measure!r} and "
                f"{step_s}; leave the defaults if unsure"
            )
        self.measure, self.step_s = measure, step_s

    @abstractmethod
    def design(self, sfreq: float) -> tuple[list[Taps], float]:
        """Return the filters and their common delay in s."""

    def prepare(self, info: StreamInfo) -> StreamInfo:
        """Design for `info`; return what comes out."""
        from bci.signal import kernels_analytic

        kernels_analytic.warm_up()
        self._filter, self._code = kernels_analytic.fir_bank, MEASURES.index(self.measure)
        self._factor = 1 if self.step_s is None else max(1, round(self.step_s * info.sfreq))
        bank, self.delay_s = self.design(info.sfreq)
        self._columns = np.flatnonzero(signal_columns(info))
        self._out_info = analytic_info(info, [t.label for t in bank], self.measure, info.sfreq / self._factor)
        self._firsts = np.array([t.first for t in bank], np.int64)
        self._lengths = np.array([len(t.weights) for t in bank], np.int64)
        self._taps = np.zeros((len(bank), 2, self._lengths.max()))
        for k, taps in enumerate(bank):
            self._taps[k, :, : len(taps.weights)] = taps.weights.real, taps.weights.imag
        self._grid = Grid(self._factor, self._out_info)
        self._feed = Feed(info)
        n = len(self._columns)
        self._ring = np.zeros((int((self._firsts + self._lengths).max()), n))
        self._sums = np.zeros((2, n))
        self._started, self._unknown = np.zeros(n, np.uint8), np.zeros(n, np.uint8)
        self._no_bad = np.zeros((1, n), np.uint8)
        self.reset()
        return self._out_info

    def process(self, chunk: Chunk) -> Chunk:
        """Return the outputs that fall on `chunk`; may be empty."""
        if self._feed is None:
            raise not_prepared(self)
        rows = self._feed.take(chunk)
        if rows.restart:
            self._restart()
        sent = self._grid.rows(chunk)
        data = np.empty((len(sent), self._out_info.n_channels))
        values = np.ascontiguousarray(rows.values[:, self._columns])
        bad = self._no_bad if rows.bad is None else np.ascontiguousarray(rows.bad[:, self._columns])
        skip = int(sent[0]) if len(sent) else len(values)
        self._place = self._filter(
            values, bad, rows.bad is not None, skip, self._factor, self._place, self._taps, self._firsts,
            self._lengths, self._started, self._unknown, self._ring, self._sums, self._code, data,
        )  # fmt: skip
        return self._grid.send(chunk, data, rows.flags)

    def reset(self) -> None:
        """Forget all samples, keep the settings."""
        if self._feed is not None:
            self._feed.reset()
            self._grid.reset()
            self._restart()

    def _restart(self) -> None:
        self._place = 0
        self._started[:] = 0
        self._unknown[:] = 0

    def response(self, frequencies_hz: NDArray[np.float64], sfreq: float) -> NDArray[np.complex128]:
        """Return the gain of each filter for exp(2 pi i f t), f of either sign, shape (n_filters, n_frequencies)."""
        bank, _ = self.design(sfreq)
        turn = -2j * np.pi * np.asarray(frequencies_hz, np.float64)[:, None] / sfreq
        return np.array([np.exp(turn * (t.first + np.arange(len(t.weights)))) @ t.weights for t in bank])


def analytic_info(info: StreamInfo, labels: list[str], measure: Measure, sfreq: float) -> StreamInfo:
    """Return the stream of `measure` of each signal of `info` in each band, triggers left out.

    Raises
    ------
    ConfigError
        If there is no signal.
    """
    parts = ["real", "imaginary"] if measure == "complex" else [measure]
    signals = [c for c in info.physical().channels if c.kind.value != "trig"]
    if not signals:
        raise ConfigError(f"expected channels to filter, got only triggers in stream {info.name!r}; pick signals")
    channels = []
    for c in signals:
        unit = {"power": f"{c.unit}²", "phase": "rad"}.get(measure, c.unit)
        channels += [Channel(f"{c.name} {band} {part}", c.kind, unit, c.position) for band in labels for part in parts]
    return StreamInfo(info.name, sfreq, tuple(channels), info.source_id, info.meta)
