"""Features of a sliding window: a row of numbers each step, told by the last stretch of the signal."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from bci.errors import ConfigError
from bci.ports import Block
from bci.signal.stages import Array, Line, not_prepared, signal_columns
from bci.signal.thinned import Thinned
from bci.stream import Channel, Chunk, Flag, Kind, StreamInfo

_LONG_AGO = np.iinfo(np.int64).min


@dataclass(frozen=True, slots=True)
class Feature:
    """One number of a row.

    Parameters
    ----------
    name : str
        What it is, as in "C3 8-12 Hz power".
    unit : str
        Its unit; "1" for a ratio.
    columns : tuple of int
        The one or two columns of the window that it is computed from: it is unknown where one of them is. Empty
        if `compute` itself decides, as an average over the known channels does.
    """

    name: str
    unit: str
    columns: tuple[int, ...]


class WindowedBlock(Block, ABC):
    """A block that turns the last `window_s` into one row of features each `step_s`.

    An author writes `design` (which features there are) and `compute` (from a window to a row), and `forget` where
    something is kept from one window to the next.

    Parameters
    ----------
    window_s : float
        Length of the window, s; rounded to whole samples, once.
    step_s : float
        Time from one row to the next, s; rounded to whole samples, once.

    Attributes
    ----------
    length, step : int
        Both in samples; known after `prepare`.

    Raises
    ------
    ConfigError
        If a length is not above 0; from `prepare`, if it is shorter than a sample or there is no signal.

    Notes
    -----
    Row n is told by the window that ends with input sample ``(n + 1) * step - 1``, has the time of that sample and
    comes with it. So rows lie on one grid, wherever the stream begins, is cut or has gaps. No window spans a gap:
    rows that would are left out, and the first row after them has `Flag.GAP`. An event belongs to the step it falls
    into. The other flags of a row are those of the samples in its window.

    A channel with an unknown value (NaN) in the window is unknown in its own features only, until the value has left
    the window. Trigger channels are left out: a code has no place in another rate. `delay_s` is half a window.
    """

    def __init__(self, window_s: float, step_s: float) -> None:
        if not (0 < window_s < np.inf and 0 < step_s < np.inf):
            raise ConfigError(
                f"expected a window and a step longer than 0 s, got {window_s} s and {step_s} s; "
                "1 s and 0.1 s are usual"
            )
        self.window_s, self.step_s = window_s, step_s
        self._line: Line | None = None

    @abstractmethod
    def design(self, info: StreamInfo) -> list[Feature]:
        """Return the features for `info`, which has the signals only.

        `length`, `step` and `delay_s` are known; a design that needs another `length` sets it, and `delay_s` with it.
        """

    @abstractmethod
    def compute(self, window: Array, known: NDArray[np.bool_]) -> Array:
        """Return one row, shape (n_features,).

        Parameters
        ----------
        window : ndarray, shape (length, n_signals)
            In units of the channels. Always finite: what is unknown is the channel's last known value, before the
            first known one that, and 0 without any. Valid during the call only, not to be changed.
        known : ndarray of bool, shape (n_signals,)
            Which channels are known all through the window.
        """

    def forget(self) -> None:
        """Forget what was kept from earlier windows; called at `reset` and after every gap."""

    def prepare(self, info: StreamInfo) -> StreamInfo:
        """Design for `info`; return the features as channels at the rate of the rows."""
        from bci.signal import kernels_windowed

        kernels_windowed.warm_up()
        self._push = kernels_windowed.push
        self._columns = np.flatnonzero(signal_columns(info))
        if not self._columns.size:
            raise ConfigError(f"features need signals, stream {info.name!r} has triggers only; choose other channels")
        self.length, self.step = round(self.window_s * info.sfreq), round(self.step_s * info.sfreq)
        if min(self.length, self.step) < 1:
            raise ConfigError(
                f"window and step need at least one sample, got {self.window_s} s and {self.step_s} s at "
                f"{info.sfreq:g} Hz; lengthen them"
            )
        signals = info.physical().pick(info.ch_names[i] for i in self._columns)
        self.delay_s = (self.length - 1) / 2 / info.sfreq
        features = self.design(signals)
        none = len(self._columns)  # a column that is always known
        self._first = np.array([f.columns[0] if f.columns else none for f in features])
        self._second = np.array([f.columns[-1] if f.columns else none for f in features])
        self._ring = np.zeros((2 * self.length, none))
        self._last, self._unknown_at = np.zeros(none), np.full(none, _LONG_AGO)
        self._seen = np.zeros(none, np.uint8)
        self._line = Line(info)
        channels = tuple(_channel(f, signals) for f in features)
        self._out_info = replace(info, sfreq=info.sfreq / self.step, channels=channels)
        self.reset()
        return self._out_info

    def process(self, chunk: Chunk) -> Chunk:
        """Return the rows of the steps that end in `chunk`; may be empty."""
        if self._line is None:
            raise not_prepared(self)
        flags, restart = self._line.follow(chunk)
        if restart:
            self._restart(chunk.start)
        self._waiting.take(chunk.events, Flag.OK)
        self._note(chunk, flags)
        n_ends = chunk.stop // self.step - chunk.start // self.step
        rows = np.empty((n_ends, len(self._first)))
        n_rows = self._fill(chunk, rows)
        stop = chunk.stop // self.step
        last = self.step - 1 - chunk.start % self.step
        times = chunk.times[last :: self.step][n_ends - n_rows :]
        rows = rows[n_ends - n_rows :]
        out_flags = self._flags(rows, (stop - n_rows + 1) * self.step - self.length) | (flags & Flag.SILENT)
        return Chunk(rows, times, stop - n_rows, self._out_info, self._waiting.events(stop), out_flags)

    def reset(self) -> None:
        """Forget all samples, keep the settings."""
        self._waiting = Thinned(self._place)
        self._flagged: dict[Flag, int] = {}
        self._carried, self._after_gap = Flag.OK, False
        if self._line is not None:
            self._line.reset()
            self._restart(0)

    def _restart(self, start: int) -> None:
        self._segment = start
        self._flagged.clear()  # no window to come has samples from before
        # Where the numbers began again, what waits for a later step would wait for ever.
        self._waiting.forget(start // self.step)
        self._last[:] = 0.0
        self._seen[:] = 0
        self._unknown_at[:] = _LONG_AGO
        self.forget()

    def _fill(self, chunk: Chunk, rows: Array) -> int:
        """Take in the samples; write the rows to the end of `rows` and return how many there are."""
        if chunk.n_samples == 0:
            return 0
        values = np.ascontiguousarray(chunk.physical().data, dtype=np.float64)
        number, n_rows, k = chunk.start, 0, 0
        while number < chunk.stop:
            end = min(chunk.stop, (number // self.step + 1) * self.step)
            part = values[number - chunk.start : end - chunk.start]
            self._push(part, self._columns, number, self._ring, self._last, self._seen, self._unknown_at)
            number = end
            if number % self.step == 0:
                if number - self.length >= self._segment:
                    self._row(number, rows[k])
                    n_rows += 1
                k += 1
        return n_rows

    def _row(self, stop: int, row: Array) -> None:
        """Write the features of the window that ends before sample `stop` to `row`."""
        begin = stop % self.length
        known = self._unknown_at < stop - self.length
        row[:] = self.compute(self._ring[begin : begin + self.length], known)
        if not known.all():
            known = np.append(known, True)
            row[~(known[self._first] & known[self._second])] = np.nan

    def _note(self, chunk: Chunk, flags: Flag) -> None:
        """Remember until which sample flags hold; those of an empty chunk go with the next sample."""
        self._after_gap |= Flag.GAP in flags
        self._carried |= flags & ~(Flag.NAN | Flag.SILENT | Flag.GAP)
        if chunk.n_samples and self._carried:
            self._flagged[self._carried] = chunk.stop
            self._carried = Flag.OK

    def _flags(self, rows: Array, begin: int) -> Flag:
        """Return the flags of `rows`, the first of which is told by the samples from number `begin` on."""
        self._flagged = {flags: stop for flags, stop in self._flagged.items() if stop > begin}
        if not len(rows):
            return Flag.OK
        found = Flag.GAP if self._after_gap else Flag.OK
        self._after_gap = False
        for flags in self._flagged:
            found |= flags
        return found | (Flag.NAN if np.isnan(rows).any() else Flag.OK)

    def _place(self, number: int) -> int:
        """Return the row that the sample of this number belongs to."""
        return number // self.step


class Features(Block):
    """Several features side by side: the rows of all blocks, joined.

    Parameters
    ----------
    blocks : sequence of WindowedBlock
        Blocks of one `step_s`, in the order of their columns. Their windows may differ: a row comes once the longest
        is full.

    Raises
    ------
    ConfigError
        If there are none, or the steps differ.

    Notes
    -----
    `delay_s` is that of the slowest block.

    Examples
    --------
    >>> from bci.signal.bandpower import BandPower
    >>> from bci.signal.waveform import LineLength
    >>> from bci.signal.windowed import Features
    >>> block = Features([BandPower([(8, 12), (13, 30)]), LineLength(window_s=0.5)])
    """

    def __init__(self, blocks: Sequence[WindowedBlock]) -> None:
        self.blocks = list(blocks)
        if not self.blocks or not all(isinstance(b, WindowedBlock) for b in self.blocks):
            raise ConfigError(f"expected blocks of windowed features, got {blocks!r}; BandPower is one")
        if len(steps := {b.step_s for b in self.blocks}) > 1:
            raise ConfigError(f"expected features of one step, got {sorted(steps)} s; give all the same step_s")
        self._out_info: StreamInfo | None = None

    def prepare(self, info: StreamInfo) -> StreamInfo:
        """Prepare every block for `info`; return their features side by side."""
        outs = [block.prepare(info) for block in self.blocks]
        self._out_info = replace(outs[0], channels=tuple(c for out in outs for c in out.channels))
        self.delay_s = max(block.delay_s for block in self.blocks)
        return self._out_info

    def process(self, chunk: Chunk) -> Chunk:
        """Return the rows that all blocks have; may be empty."""
        if self._out_info is None:
            raise not_prepared(self)
        parts = [block.process(chunk) for block in self.blocks]
        n_rows = min(part.n_samples for part in parts)
        flags = Flag.OK
        for part in parts:
            flags |= part.flags
        rows = np.hstack([part.data[part.n_samples - n_rows :] for part in parts])
        one = parts[0]
        times = one.times[one.n_samples - n_rows :]
        return Chunk(rows, times, one.stop - n_rows, self._out_info, one.events, flags)

    def reset(self) -> None:
        """Forget all samples, keep the settings."""
        for block in self.blocks:
            block.reset()


def each(info: StreamInfo, what: str, units: Sequence[str]) -> list[Feature]:
    """Return a feature per channel, called "C3 `what`", with the units in the order of the channels."""
    pairs = zip(info.channels, units, strict=True)
    return [Feature(f"{channel.name} {what}", unit, (i,)) for i, (channel, unit) in enumerate(pairs)]


def _channel(feature: Feature, signals: StreamInfo) -> Channel:
    """Return the channel of a feature: no signal any more, but where its electrode is."""
    position = signals.channels[feature.columns[0]].position if len(feature.columns) == 1 else None
    return Channel(feature.name, Kind.MISC, feature.unit, position)
