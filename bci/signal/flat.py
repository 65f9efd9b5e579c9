"""Find channels that stand still: an electrode that fell off, an amplifier at its rail, a converter that hangs."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from bci.stream import Chunk, Event, Flag, Kind, StreamInfo, listed

FLAT_S = 0.1
"""A brain does not give bit for bit the same value for so long, s; the gate has to close within twice that."""
_FEWEST = 10  # samples; at a low rate a coarse converter may repeat a value a few times
_ONCE = Flag.GAP | Flag.OVERFLOW | Flag.CLOCK_JUMP  # belong to the first sample of a chunk

_log = logging.getLogger(__name__)


class FlatWatch:
    """Flag samples from when a channel has not changed for `FLAT_S` until it changes.

    Decided sample by sample, so however a stream is cut into chunks the same samples are flagged.

    Parameters
    ----------
    info : StreamInfo
        The stream as the device delivers it.
    used : sequence of str
        Channels that decisions rest on. Those of kind EEG are watched; if `info` knows none of them (a chain gives
        channels new names) all EEG channels are.

    Attributes
    ----------
    flat : tuple of str
        Channels that stand still at the newest sample.

    Notes
    -----
    A value at the rail of the converter does not change either, so a railed channel is found too. What is too
    large or too noisy but changes is not.
    """

    def __init__(self, info: StreamInfo, used: Sequence[str]) -> None:
        eeg = [k for k, c in enumerate(info.channels) if c.kind is Kind.EEG]
        names = set(used)
        self._columns = np.array([k for k in eeg if info.channels[k].name in names] or eeg, dtype=np.int64)
        self._names = np.array([info.channels[k].name for k in self._columns])
        self._are_all = len(self._columns) == info.n_channels
        self._least = max(_FEWEST, round(FLAT_S * info.sfreq))
        self._next = -1
        self._last = np.full(len(self._columns), np.nan)
        self._run = np.zeros(len(self._columns), dtype=np.int64)
        self.flat: tuple[str, ...] = ()

    def split(self, chunk: Chunk) -> list[Chunk]:
        """Return `chunk` as one or more that follow one another, those that stand still with `Flag.FLAT`."""
        if not chunk.n_samples or not len(self._columns):
            return [replace(chunk, flags=chunk.flags | Flag.FLAT) if self.flat else chunk]
        still = self._still(chunk)
        self._tell(still[-1])
        rows = np.asarray(still.any(axis=1))
        if not rows.any():
            return [chunk]
        edges = [0, *(np.flatnonzero(np.diff(rows)) + 1).tolist(), chunk.n_samples]
        return _cut(chunk, edges, [Flag.FLAT if rows[e] else Flag.OK for e in edges[:-1]])

    def _still(self, chunk: Chunk) -> NDArray[np.bool_]:
        """Return for each sample and watched channel whether it has stood still for long enough."""
        data = chunk.data if self._are_all else chunk.data[:, self._columns]
        if chunk.start != self._next or Flag.GAP in chunk.flags:
            self._last, self._run = np.full(data.shape[1], np.nan), np.zeros(data.shape[1], dtype=np.int64)
        same = np.empty(data.shape, dtype=np.bool_)
        np.equal(data[0], self._last, out=same[0])
        np.equal(data[1:], data[:-1], out=same[1:])
        self._next, self._last = chunk.stop, data[-1]
        if not same.any():  # as nearly always
            self._run = np.zeros(data.shape[1], dtype=np.int64)
            return same
        number = np.arange(1, len(data) + 1)[:, None]
        changed = np.maximum.accumulate(np.where(same, 0, number), axis=0)
        run = number - changed + np.where(changed == 0, self._run, 0)
        self._run = run[-1]
        still: NDArray[np.bool_] = run >= self._least
        return still

    def _tell(self, still: NDArray[np.bool_]) -> None:
        flat = tuple(self._names[still].tolist())
        if flat and not self.flat:
            _log.warning("%s: no change for %g s; check the electrode, or leave the channel out", listed(flat), FLAT_S)
        elif self.flat and not flat:
            _log.warning("%s: alive again", listed(self.flat))
        self.flat = flat


def _cut(chunk: Chunk, edges: list[int], flags: list[Flag]) -> list[Chunk]:
    parts = []
    waiting: tuple[Event, ...] = chunk.events
    for begin, end, flag in zip(edges[:-1], edges[1:], flags, strict=True):
        stop = chunk.start + end
        events = tuple(e for e in waiting if e.sample < stop)
        waiting = tuple(e for e in waiting if e.sample >= stop)
        own = chunk.flags if begin == 0 else chunk.flags & ~_ONCE
        rows = slice(begin, end)
        parts.append(Chunk(chunk.data[rows], chunk.times[rows], chunk.start + begin, chunk.info, events, own | flag))
    return parts
