"""From packets with a counter that wraps to runs of samples without a doubt: what is lost, doubled, out of order."""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bci.acquisition.driver import Samples
from bci.acquisition.pace import Pace
from bci.acquisition.runs import joined
from bci.errors import ConfigError, DataError
from bci.stream import Flag

JUMPED = "the counter jumped"
WRAPPED = "the counter jumped; whole turns of it told by time"
RESTARTED = "the source began again; told by time"
_SETTLE_S = 0.1
"""After an outage packets are at pace again once so long none came in a burst, s."""
_LONGEST_SETTLE_S = 5.0
_HOLD_S = 0.1
"""What comes after a packet that is missing waits no longer for it, s."""
_BURST = 1.5
"""Packets that come this many times as fast as the source sends are still a backlog."""


@dataclass(frozen=True, slots=True, eq=False)
class _Packet:
    """One packet that waits."""

    counter: int
    data: NDArray[Any]
    arrival_s: float


class PacketTracker:
    """Number packets truly.

    Each packet has a counter that wraps. Its number is the one that fits the counter and is nearest to what time
    says; time is asked only where a whole turn of the counter may be missing, and only once packets come at the pace
    of the source again, since a source that was merely held up catches up.

    Parameters
    ----------
    sfreq : float
        Declared rate, Hz.
    samples_per_packet : int, default=1
        Samples in each packet.
    counter_bits : int, default=8
        Width of the counter, which rises by one from packet to packet; 3 to 64.
    reorder : int, default=4
        A packet that is overtaken by up to so many is put back in its place; those wait for it, at most a tenth of
        a second. 0 where packets cannot change places, as on a serial line.
    first_counter : int, optional
        Counter of the first packet after a start, if the source begins anew there; otherwise the stream begins with
        the first packet that arrives. With `begin` whole turns that are missing before it are told too.

    Raises
    ------
    ConfigError
        If a setting is out of range, or `reorder` more than a quarter of a turn.

    Notes
    -----
    If whole turns are missing somewhere in a burst of packets, how many is told; where in it nothing says. They are
    then put where the counter jumps, or before the burst if it does not.
    """

    def __init__(
        self,
        sfreq: float,
        *,
        samples_per_packet: int = 1,
        counter_bits: int = 8,
        reorder: int = 4,
        first_counter: int | None = None,
    ) -> None:
        whole = all(type(n) is int for n in (samples_per_packet, counter_bits, reorder))
        if not (
            whole and 0 < sfreq < math.inf and samples_per_packet >= 1 and 3 <= counter_bits <= 64 and reorder >= 0
        ):
            raise ConfigError(
                "packets need sfreq > 0 and whole numbers: samples_per_packet >= 1, counter_bits from 3 to 64 and "
                f"reorder >= 0, got {sfreq!r}, {samples_per_packet!r}, {counter_bits!r} and {reorder!r}; correct it"
            )
        self._turn = 1 << counter_bits
        if reorder > self._turn // 4:
            raise ConfigError(
                f"a counter of {counter_bits} bits tells packets apart that change places with up to "
                f"{self._turn // 4} others, got reorder = {reorder}; lower it"
            )
        self._n, self._first = samples_per_packet, first_counter
        self._reorder = self.window(sfreq, samples_per_packet, reorder)
        self.pace = Pace(samples_per_packet / sfreq)
        self.duplicates = 0
        """Packets that came again and were dropped."""
        self.reordered = 0
        """Packets that were put back in their place."""
        self.late = 0
        """Packets that came after they had been counted as lost; they stay lost."""
        self._begun_s: float | None = None
        self._next: int | None = None
        self._highest = 0  # of the packets that have a number
        self._last_arrival_s = 0.0
        self._held: dict[int, _Packet] = {}
        self._given_up: dict[int, None] = {}  # numbers that were lost a moment ago
        self._recent: deque[tuple[int, NDArray[Any]]] = deque(maxlen=self._reorder + 1)  # the last packets
        self._unsettled: list[_Packet] = []
        self._outage_s = 0.0
        self._any_number = False
        self._lost, self._cause, self._known_cause = 0, "", ""

    @staticmethod
    def window(sfreq: float, samples_per_packet: int, reorder: int) -> int:
        """Return by how many packets one may be overtaken: up to `reorder`, as far as a tenth of a second allows."""
        return min(reorder, math.floor(_HOLD_S * sfreq / samples_per_packet))

    # ----------------------------------------------------------- main verbs
    def begin(self, at_s: float) -> None:
        """Take note that the source was started at `at_s`, s on the session clock; before the first packet.

        Its first packet is then expected one packet later, and at most half a turn of the counter after that.
        """
        if self._first is None or self._next is not None:
            came = "none" if self._first is None else "packets already"
            raise DataError(
                f"begin() needs a first_counter and no packet yet, got {came}; call it once, after the start"
            )
        self._begun_s = at_s

    def push(self, counters: NDArray[np.int64], data: NDArray[Any], arrivals: NDArray[np.float64]) -> list[Samples]:
        """Take packets in the order of their arrival; return the runs that are certain now.

        Parameters
        ----------
        counters : ndarray of int, shape (n_packets,)
            Counter of each.
        data : ndarray, shape (n_packets * samples_per_packet, n_channels)
            Their samples.
        arrivals : ndarray of float64, shape (n_packets,)
            When each was taken from the transport, s on the session clock.

        Raises
        ------
        DataError
            If the shapes do not fit together.
        """
        if not len(counters) == len(arrivals) == len(data) / self._n:
            raise DataError(
                f"{len(counters)} packets of {self._n} samples need {len(counters) * self._n} rows and as many "
                f"arrivals as packets, got {len(data)} rows and {len(arrivals)} arrivals; hand over whole packets"
            )
        if not len(counters):
            return []
        if self._is_plain(counters, arrivals):
            return [self._run(self._highest + 1, data, arrivals)]
        out: list[Samples] = []
        for k, (counter, arrival_s) in enumerate(zip(counters.tolist(), arrivals.tolist(), strict=True)):
            out += self._take(_Packet(counter, data[k * self._n : (k + 1) * self._n], arrival_s))
        return joined(out)

    def poll(self, now_s: float) -> list[Samples]:
        """Return what is certain by `now_s` though nothing more came; call it at `due_s` or later."""
        out: list[Samples] = []
        if self._unsettled and now_s >= self._unsettled_until_s:
            out += self._settle()
        if self._held and now_s >= self._held_until_s:
            out += self._release(min(self._held))
        return joined(out)

    def restart(self) -> list[Samples]:
        """Take note that the source began again: its counter says nothing of what was lost, only time does.

        Returns what still waited from before.
        """
        out = self.flush()
        self._any_number = self._next is not None
        return out

    def explain(self, cause: str) -> None:
        """Take note of what the transport knows, such as that it was closed: the cause of the next loss."""
        self._known_cause = cause

    def flush(self) -> list[Samples]:
        """Return all that waits: nothing more will come."""
        out = self._settle() if self._unsettled else []
        while self._held:
            out += self._release(min(self._held))
        return joined(out)

    def report(self) -> dict[str, Any]:
        """Return what was found in the packets, ready for JSON.

        Returns
        -------
        dict
            ``duplicates``, ``reordered``, ``late`` (packets); ``waiting``: samples that came and whose number is not
            certain yet; ``sfreq`` and ``sfreq_error``: the rate as measured,
            and how far off it may be (None until it is known).
        """
        known = math.isfinite(self.pace.error)
        return {
            "duplicates": self.duplicates,
            "reordered": self.reordered,
            "late": self.late,
            "waiting": self._n * (len(self._held) + len(self._unsettled)),
            "sfreq": self._n / self.pace.period_s if known else None,
            "sfreq_error": self._n / self.pace.period_s * self.pace.error if known else None,
        }

    @property
    def due_s(self) -> float:
        """When `poll` has to be called at the latest, s; infinite while nothing waits."""
        unsettled_s = self._unsettled_until_s if self._unsettled else math.inf
        return min(unsettled_s, self._held_until_s if self._held else math.inf)

    # ---------------------------------------------------------- fast path
    def _is_plain(self, counters: NDArray[np.int64], arrivals: NDArray[np.float64]) -> bool:
        """Whether these packets follow the last one and each other, and nothing waits."""
        if self._next is None or self._held or self._unsettled or self._any_number or self._next != self._highest + 1:
            return False
        expected = (self._next + self._offset + np.arange(len(counters))) % self._turn
        gaps = np.diff(arrivals, prepend=self._last_arrival_s)
        return bool((counters == expected).all() and gaps.max() <= self._outage_at_s)

    def _run(self, first: int, data: NDArray[Any], arrivals: NDArray[np.float64]) -> Samples:
        """Return the packets from number `first` on as one run; they are the next in the stream."""
        sent = self.pace.follow(first, arrivals)
        n_packets = len(arrivals)
        self._next = first + n_packets
        self._highest = max(self._highest, self._next - 1)
        for k in range(max(0, n_packets - self._reorder - 1), n_packets):
            self._recent.append((first + k, data[k * self._n : (k + 1) * self._n]))
        self._last_arrival_s = max(self._last_arrival_s, float(arrivals.max()))
        flags = Flag.RATE if self.pace.is_wrong else Flag.OK
        lost, cause, self._lost, self._cause = self._lost, self._known_cause or self._cause, 0, ""
        self._known_cause = "" if lost else self._known_cause
        times = sent if self._n == 1 else self._spread(sent)
        return Samples(data, times, lost * self._n, flags, cause=cause if lost else "")

    def _spread(self, sent: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the time of each sample: the last of a packet was taken when it was sent."""
        before = np.diff(sent, prepend=min(self._sent_before_s, sent[0] - 0.1 * self.pace.period_s))
        step = np.minimum(before, self.pace.period_s) / self._n
        self._sent_before_s = float(sent[-1])
        back = np.arange(self._n - 1, -1, -1)
        times: NDArray[np.float64] = (sent[:, None] - step[:, None] * back).ravel()
        return times

    _sent_before_s = -math.inf

    # ---------------------------------------------------------- slow path
    def _take(self, packet: _Packet) -> list[Samples]:
        if self._next is None:
            self._begin(packet)
        out: list[Samples] = []
        gap_s = packet.arrival_s - self._last_arrival_s
        self._last_arrival_s = max(self._last_arrival_s, packet.arrival_s)
        if gap_s > self._outage_at_s or (self._any_number and not self._unsettled):
            out += self._settle() if self._unsettled else []
            self._unsettled, self._outage_s = [packet], gap_s
        elif self._unsettled:
            self._unsettled.append(packet)
            if self._is_at_pace():
                out += self._settle()
        else:
            forward = self._forward(packet.counter, self._highest)
            # Ahead of its time no packet can be: this one was overtaken by more than it may.
            if forward > 1 and self._is_early(self._highest + forward, packet.arrival_s):
                forward -= self._turn
            out += self._place(self._highest + forward, packet)
        return out

    def _begin(self, packet: _Packet) -> None:
        first = packet.counter if self._first is None else self._first
        self._next, self._highest = 0, -1
        self._offset = first % self._turn
        self._last_arrival_s = packet.arrival_s if self._begun_s is None else self._begun_s

    def _forward(self, counter: int, than: int) -> int:
        """Return how far a counter is ahead of packet number `than`; up to `reorder` behind it is negative."""
        ahead = (counter - self._offset - than) % self._turn
        return ahead - self._turn if ahead >= self._turn - self._reorder else ahead

    def _is_early(self, number: int, arrival_s: float) -> bool:
        if not self.pace.started:
            return False
        return number - self.pace.number_at(arrival_s) > max(2.0, 0.25 * self._turn)

    def _place(self, number: int, packet: _Packet, cause: str = JUMPED) -> list[Samples]:
        """Put a packet in its place; return the runs that are complete by it."""
        assert self._next is not None
        if number < self._next or number in self._held:
            if number in self._given_up:
                del self._given_up[number]
                self.late += 1
            else:
                self.duplicates += 1
            return []
        if number < self._highest:
            self.reordered += 1
        self._highest = max(self._highest, number)
        self._held[number] = packet
        return self._release(self._highest - self._reorder, cause)

    def _release(self, certain: int, cause: str = JUMPED) -> list[Samples]:
        """Return the runs up to the first packet that may still come: one numbered `certain` or higher."""
        assert self._next is not None
        out: list[Samples] = []
        while self._held:
            run: list[_Packet] = []
            first = self._next
            while first + len(run) in self._held:
                run.append(self._held.pop(first + len(run)))
            if run:
                out.append(self._join(first, run))
                continue
            if self._next >= certain:
                break
            until = min(certain, *self._held)
            for number in range(max(self._next, until - 4 * self._reorder - 1), until):
                self._given_up[number] = None
            while len(self._given_up) > 8 * self._reorder + 8:
                del self._given_up[next(iter(self._given_up))]
            self._lost += until - self._next
            self._cause, self._next = self._cause if self._cause not in ("", JUMPED) else cause, until
        return out

    def _join(self, first: int, packets: list[_Packet]) -> Samples:
        data = packets[0].data if len(packets) == 1 else np.concatenate([p.data for p in packets])
        return self._run(first, data, np.array([p.arrival_s for p in packets]))

    # -------------------------------------------------------------- outages
    @property
    def _outage_at_s(self) -> float:
        """Half a turn of the counter: after a longer pause whole turns may be missing, s."""
        return (self._turn / 2 - self._reorder) * self.pace.period_s

    @property
    def _settle_s(self) -> float:
        return max(_SETTLE_S, 4 * self.pace.period_s)

    @property
    def _unsettled_until_s(self) -> float:
        return self._last_arrival_s + self._settle_s

    @property
    def _held_until_s(self) -> float:
        oldest_s = min(p.arrival_s for p in self._held.values())
        return oldest_s + _HOLD_S

    def _is_at_pace(self) -> bool:
        """Whether the packets after an outage come at the pace of the source again."""
        first, last = self._unsettled[0].arrival_s, self._unsettled[-1].arrival_s
        if last - first < self._settle_s:
            return False
        if last - first > min(_LONGEST_SETTLE_S, self._outage_s + self._settle_s):
            return True
        recent = sum(1 for p in self._unsettled if p.arrival_s > last - self._settle_s)
        return recent <= _BURST * self._settle_s / self.pace.period_s + 2

    def _settle(self) -> list[Samples]:
        """Number the packets after an outage: by the counter, and by time for whole turns of it."""
        packets, self._unsettled = self._unsettled, []
        numbers = self._by_counter(packets)
        cause = JUMPED
        if self.pace.started or self._begun_s is not None:
            ahead = min(self._number_at(p.arrival_s) - k for p, k in zip(packets, numbers, strict=True))
            if self._any_number:
                shift, cause = max(round(ahead), self._highest + 1 - numbers[0]), RESTARTED
                self._offset -= shift
                numbers = [k + shift for k in numbers]
            elif turns := round(ahead / self._turn):
                jump, cause = self._first_jump(numbers, packets), WRAPPED
                numbers = numbers[:jump] + [k + turns * self._turn for k in numbers[jump:]]
        self._any_number = False
        out: list[Samples] = []
        for packet, number in zip(packets, numbers, strict=True):
            out += self._place(number, packet, cause)
        return out

    def _number_at(self, arrival_s: float) -> float:
        """Return the number of the packet that arrives at `arrival_s` without delay."""
        if self.pace.started or self._begun_s is None:
            return self.pace.number_at(arrival_s)
        return (arrival_s - self._begun_s) / self.pace.period_s - 1

    def _by_counter(self, packets: list[_Packet]) -> list[int]:
        """Return the numbers of packets that follow, if no whole turn of the counter is missing."""
        numbers, highest = [], self._highest
        for packet in packets:
            numbers.append(highest + self._forward(packet.counter, highest))
            highest = max(highest, numbers[-1])
        return numbers

    def _first_jump(self, numbers: list[int], packets: list[_Packet]) -> int:
        """Return where something is missing anyway: whole turns are more likely missing there than elsewhere.

        Packets that were on their way when the outage began come first. What follows them may seem to repeat them,
        where nearly whole turns are missing; but a packet that comes again has the same samples again.
        """
        highest, seen, begin = self._highest, dict(self._recent), 0
        for place, (number, packet) in enumerate(zip(numbers, packets, strict=True)):
            if number > highest + 1:
                return place
            if place and numbers[place - 1] != number - 1:
                begin = place  # of packets that follow one another
            if number in seen and not np.array_equal(seen[number], packet.data, equal_nan=True):
                return begin
            highest = max(highest, number)
            seen[number] = packet.data
        return 0
