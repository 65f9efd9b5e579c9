"""A transport that fails as told: samples go in, packets with a counter and a time of arrival come out."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bci.acquisition.faults import OF_VALUES, Fault, FaultKind, Schedule
from bci.acquisition.truth import Ledger, Record
from bci.stream import Chunk

_MAINS_HZ = 50.0
_VOLTS = 1e-6
_NEVER = 1 << 62
DOWN, BACK, AGAIN, GONE = "down", "back", "again", "gone"
"""What a reader sees of the link itself: it is down, back, back with a source that began again, or gone for good."""


@dataclass(frozen=True, slots=True, eq=False)
class Packets:
    """Packets in the order of their arrival: counters (n,), data (n * samples, n_channels), arrivals (n,) in s."""

    counters: NDArray[np.int64]
    data: NDArray[np.float64]
    arrivals: NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class _Effect:
    """A fault on the samples from `first` to before `stop`."""

    fault: Fault
    first: int
    stop: int
    lost: bool = False


class FaultyLink:
    """Carry samples from a source to a reader, with faults, and keep the truth.

    Parameters
    ----------
    schedule : Schedule
        Which faults.
    sfreq : float
        Rate at which the source really delivers, Hz.
    columns : sequence of int
        Columns whose values faults change, unless they say which.
    samples_per_packet : int
        Samples in a packet.
    counter_bits : int
        Width of the packet counter.
    seed : int
        Seed of the jitter.
    begin_s : float
        When the source started, s on the reader's clock.
    """

    def __init__(
        self,
        schedule: Schedule,
        sfreq: float,
        columns: Sequence[int],
        samples_per_packet: int = 1,
        counter_bits: int = 8,
        seed: int = 0,
        begin_s: float = 0.0,
    ) -> None:
        self.ledger = Ledger()
        self._schedule, self._sfreq, self._columns = schedule, sfreq, list(columns)
        self._n, self._turn, self._begin_s = samples_per_packet, 1 << min(counter_bits, 62), begin_s
        self._rng = np.random.default_rng(seed)
        self._queue: deque[Packets | tuple[float, str]] = deque()
        self._effects: list[_Effect] = []
        self._drifts: list[Fault] = []  # that go on
        self._drifted_s = 0.0  # by those that are over
        self._freezes: list[tuple[float, float]] = []
        self._returns: list[tuple[int, str]] = []
        self._stash_at: dict[int, Fault] = {}
        self._release_at: dict[int, list[tuple[int, Fault]]] = {}
        self._stash: dict[int, NDArray[np.float64]] = {}
        self._last_row: NDArray[np.float64] | None = None
        self._packet = 0  # the next
        self._counted_from = 0
        self._last_arrival_s = -math.inf
        self._rest: tuple[NDArray[np.float64], NDArray[np.float64]] | None = None

    # ----------------------------------------------------------- main verbs
    def send(self, chunk: Chunk) -> None:
        """Take in what the source delivers, in order; samples in the units of their channels."""
        if not chunk.n_samples:
            return
        data, times = self._align(chunk)
        self.ledger.pushed = chunk.stop
        n_packets = len(data) // self._n
        whole = n_packets * self._n
        self._rest = (data[whole:], times[whole:])
        for fault in self._schedule.until(chunk.stop / self._sfreq):
            self._plan(fault)
        if n_packets:
            values = self._changed(data[:whole], self._packet * self._n)
            self._transmit(values, self._arrivals(times[self._n - 1 : whole : self._n]))
            self._record(self._packet * self._n)
        self._count()

    def receive(self, now_s: float) -> Packets | str | None:
        """Return the next that has arrived by `now_s`: packets, or what became of the link; None if nothing has."""
        got = self._receive(now_s)
        self._count()
        return got

    def _count(self) -> None:
        """Note what is still under way: in the queue, held back to be overtaken, and too few for a packet."""
        queued = sum(len(entry.data) for entry in self._queue if isinstance(entry, Packets))
        overtaken = (
            self._n for entries in self._release_at.values() for _, f in entries if f.kind is FaultKind.REORDER
        )
        self.ledger.under_way = queued + sum(overtaken) + (0 if self._rest is None else len(self._rest[0]))

    def _receive(self, now_s: float) -> Packets | str | None:
        if not self._queue:
            return None
        head = self._queue[0]
        if isinstance(head, tuple):
            return self._queue.popleft()[1] if head[0] <= now_s else None  # type: ignore[index]  # it is that tuple
        n = int(np.searchsorted(head.arrivals, now_s, side="right"))
        if n == 0:
            return None
        self._queue.popleft()
        if n < len(head.arrivals):
            rows = n * self._n
            self._queue.appendleft(Packets(head.counters[n:], head.data[rows:], head.arrivals[n:]))
            head = Packets(head.counters[:n], head.data[:rows], head.arrivals[:n])
        return head

    def finish(self) -> None:
        """Write down what was still going on when the stream was stopped."""
        self._record(self._packet * self._n, at_the_end=True)

    def warp(self, time_s: float) -> float:
        """Return when, by the reader's clock, the source has come to its own time `time_s`, s."""
        return float(self._warped(np.array([time_s]))[0])

    @property
    def due_s(self) -> float:
        """When the next thing arrives, s; infinite if nothing is under way."""
        if not self._queue:
            return math.inf
        head = self._queue[0]
        return head[0] if isinstance(head, tuple) else float(head.arrivals[0])

    # ------------------------------------------------------------- planning
    def _plan(self, fault: Fault) -> None:
        kind, first = fault.kind, max(math.ceil(fault.at_s * self._sfreq - 1e-6), self._packet * self._n)
        length = _NEVER if math.isinf(fault.duration_s) else max(1, round(fault.duration_s * self._sfreq))
        packet = first // self._n
        if kind in (FaultKind.REORDER, FaultKind.DUPLICATE):
            self._stash_at[packet] = fault
        elif kind is FaultKind.LOSS:
            self._lose(fault, packet, fault.n)
        elif kind is FaultKind.FREEZE:
            at_s = self.warp(self._time_of(packet * self._n))
            self._freezes.append((at_s, at_s + fault.duration_s))
            after = self._lose(fault, packet, min(fault.n, length)) if fault.n else packet
            if (packet * self._n + length) > after * self._n:
                self._effects.append(_Effect(fault, after * self._n, packet * self._n + length))
        elif kind in (FaultKind.DISCONNECT, FaultKind.RESTART):
            after = self._lose(fault, packet, length)
            gone = math.isinf(fault.duration_s)
            self._queue_event(self.warp(self._time_of(packet * self._n)), GONE if gone else DOWN)
            self._returns.append((after, AGAIN if kind is FaultKind.RESTART else BACK))
        else:
            if kind is FaultKind.DRIFT:
                self._drifts.append(fault)
            self._effects.append(_Effect(fault, first, first + length))

    def _lose(self, fault: Fault, packet: int, n_samples: int) -> int:
        """Lose the packets from `packet` on that hold `n_samples`; return the first after them."""
        after = packet + max(1, math.ceil(n_samples / self._n))
        self._effects.append(_Effect(fault, packet * self._n, after * self._n, lost=True))
        return after

    def _time_of(self, sample: int) -> float:
        return self._begin_s + sample / self._sfreq

    def _queue_event(self, at_s: float, what: str) -> None:
        self._last_arrival_s = max(self._last_arrival_s, at_s)
        self._queue.append((self._last_arrival_s, what))

    # -------------------------------------------------------------- samples
    def _align(self, chunk: Chunk) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return what is to be packed: what the source lost itself is missing in whole packets."""
        data, times = np.asarray(chunk.data, dtype=np.float64), chunk.times
        expected = self._packet * self._n + (len(self._rest[0]) if self._rest is not None else 0)
        if chunk.start != expected:
            packet = -(-chunk.start // self._n)
            lost = (packet - self._packet) * self._n
            first = self._packet * self._n
            self.ledger.add(Record(FaultKind.LOSS, first, lost, self._time_of(first), 0.0, lost=True))
            skip = packet * self._n - chunk.start
            self._packet, self._rest = packet, None
            return data[skip:], times[skip:]
        if self._rest is None or not len(self._rest[0]):
            return data, times
        return np.concatenate((self._rest[0], data)), np.concatenate((self._rest[1], times))

    def _changed(self, data: NDArray[np.float64], first: int) -> NDArray[np.float64]:
        """Return the samples from number `first` on with what faults make of their values."""
        active = [e for e in self._effects if e.fault.kind in OF_VALUES and e.first < first + len(data)]
        if active:
            data = data.copy()
        for effect in active:
            rows = slice(max(effect.first - first, 0), min(effect.stop - first, len(data)))
            before = data[rows.start - 1] if rows.start else self._last_row
            self._change(data, rows, effect, data[rows.start] if before is None else before, first)
        self._last_row = data[-1].copy()
        return data

    def _change(
        self, data: NDArray[np.float64], rows: slice, effect: _Effect, before: NDArray[np.float64], first: int
    ) -> None:
        fault = effect.fault
        columns = list(fault.channels) or self._columns
        if fault.kind is FaultKind.SATURATION:
            data[rows, columns] = fault.amount
        elif fault.kind is FaultKind.FLAT:
            data[rows, columns] = before[columns]
        elif fault.kind is FaultKind.NAN:
            data[rows, columns] = np.nan
        elif fault.kind is FaultKind.UNIT:
            data[rows, columns] *= _VOLTS
        else:
            seconds = (first + np.arange(rows.start, rows.stop)) / self._sfreq
            data[rows, columns] += (fault.amount * np.sin(2 * np.pi * _MAINS_HZ * seconds))[:, None]

    # -------------------------------------------------------------- packets
    def _warped(self, times: NDArray[np.float64]) -> NDArray[np.float64]:
        shift = np.full(len(times), self._drifted_s)
        for fault in self._drifts:
            spent = np.clip(times - self._begin_s - fault.at_s, 0.0, fault.duration_s)
            shift = shift + 1e-6 * fault.amount * spent
        return times - shift

    def _arrivals(self, sent: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return when the next packets arrive: drift, jitter, freezes, and never before one another."""
        arrivals = self._warped(sent)
        for over in [f for f in self._drifts if f.at_s + f.duration_s < sent[0] - self._begin_s]:
            self._drifts.remove(over)
            self._drifted_s += 1e-6 * over.amount * over.duration_s
        numbers = (self._packet + np.arange(len(sent))) * self._n
        for effect in self._effects:
            if effect.fault.kind is FaultKind.JITTER:
                hit = (numbers >= effect.first) & (numbers < effect.stop)
                arrivals = arrivals + hit * effect.fault.amount * self._rng.random(len(sent))
        arrivals = np.maximum.accumulate(np.maximum(arrivals, self._last_arrival_s))
        free_s = float(arrivals[-1])
        for begin_s, end_s in self._freezes:
            arrivals = np.where((arrivals >= begin_s) & (arrivals < end_s), end_s, arrivals)
        self._freezes = [f for f in self._freezes if f[1] > free_s]
        return arrivals

    def _transmit(self, data: NDArray[np.float64], arrivals: NDArray[np.float64]) -> None:
        first, n = self._packet, len(arrivals)
        stop = self._packet = first + n
        keep = np.ones(n, dtype=bool)
        for effect in self._effects:
            if effect.lost:
                keep[max(effect.first // self._n - first, 0) : max(effect.stop // self._n - first, 0)] = False
        edges = sorted({first, stop, *(p for p, _ in self._returns if first < p < stop)})
        for begin, end in zip(edges, edges[1:], strict=False):
            for entry in [r for r in self._returns if r[0] == begin]:
                self._come_back(*entry, float(arrivals[begin - first]))
            rows = slice((begin - first) * self._n, (end - first) * self._n)
            self._send_span(begin, data[rows], arrivals[begin - first : end - first], keep[begin - first : end - first])

    def _come_back(self, packet: int, what: str, at_s: float) -> None:
        self._returns.remove((packet, what))
        if what == AGAIN:
            self._counted_from = packet
        self._queue_event(at_s, what)

    def _send_span(
        self, first: int, data: NDArray[np.float64], arrivals: NDArray[np.float64], keep: NDArray[np.bool_]
    ) -> None:
        numbers = first + np.arange(len(arrivals))
        if not (self._stash_at or self._release_at):
            rows = np.repeat(keep, self._n)
            if keep.all():
                self._enqueue(numbers, data, arrivals)
            elif keep.any():
                self._enqueue(numbers[keep], data[rows], arrivals[keep])
            return
        order: list[tuple[int, NDArray[np.float64], float]] = []
        for k, number in enumerate(numbers.tolist()):
            own = data[k * self._n : (k + 1) * self._n]
            fault = self._stash_at.pop(number, None)
            if fault is not None and keep[k]:
                self._stash[number] = own
                self._release_at.setdefault(number + fault.n, []).append((number, fault))
            if keep[k] and (fault is None or fault.kind is FaultKind.DUPLICATE):
                order.append((number, own, float(arrivals[k])))
            for again, cause in self._release_at.pop(number, []):
                order.append((again, self._stash.pop(again), float(arrivals[k])))
                at_s = self._time_of(again * self._n)
                self.ledger.add(Record(cause.kind, again * self._n, self._n, at_s, cause.n * self._n / self._sfreq))
        if order:
            self._enqueue(
                np.array([o[0] for o in order]), np.concatenate([o[1] for o in order]), np.array([o[2] for o in order])
            )

    def _enqueue(self, numbers: NDArray[np.int64], data: NDArray[np.float64], arrivals: NDArray[np.float64]) -> None:
        self._queue.append(Packets((numbers - self._counted_from) % self._turn, data, arrivals))
        self._last_arrival_s = float(arrivals[-1])

    # --------------------------------------------------------------- ledger
    def _record(self, done: int, at_the_end: bool = False) -> None:
        """Write down what is over by sample `done`."""
        going_on = []
        for effect in self._effects:
            stop = min(effect.stop, done)
            if effect.stop > done and not at_the_end:
                going_on.append(effect)
            elif stop > effect.first:
                fault, n = effect.fault, stop - effect.first
                kind, at_s = fault.kind, self._time_of(effect.first)
                self.ledger.add(
                    Record(kind, effect.first, n, at_s, n / self._sfreq, effect.lost, fault.amount, fault.channels)
                )
        self._effects = going_on
