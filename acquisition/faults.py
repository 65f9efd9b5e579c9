"""What can go wrong between an amplifier and its reader: faults, listed by hand or drawn at random."""

from __future__ import annotations

import enum
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from bci.errors import ConfigError
from bci.stream import unknown


class FaultKind(enum.StrEnum):
    """The kinds of faults."""

    LOSS = "loss"
    """`n` samples never arrive."""
    REORDER = "reorder"
    """A packet is overtaken by the `n` after it."""
    DUPLICATE = "duplicate"
    """A packet comes a second time, after `n` more."""
    FREEZE = "freeze"
    """Nothing arrives for `duration_s`, then all of it at once, but for the first `n` samples, which are lost."""
    DISCONNECT = "disconnect"
    """The link is down for `duration_s`; what was sent meanwhile is lost. For good, if the duration is infinite."""
    RESTART = "restart"
    """Like DISCONNECT, and the packet counter begins at 0 again."""
    DRIFT = "drift"
    """The source's clock runs fast by `amount` ppm (slow, if it is negative)."""
    JITTER = "jitter"
    """Each packet arrives late by up to `amount` s, in order."""
    SATURATION = "saturation"
    """Channels are at the rail of the converter, `amount` in their unit."""
    FLAT = "flat"
    """Channels stand still at their last value."""
    MAINS = "mains"
    """50 Hz of `amount` (peak, in the channel's unit) is added to channels."""
    UNIT = "unit"
    """Values are volts while the stream says µV."""
    RATE = "rate"
    """The stream declares `amount` Hz, whatever the source delivers."""
    NAN = "nan"
    """Values are NaN."""


_K = FaultKind
_WITH_N = (_K.LOSS, _K.REORDER, _K.DUPLICATE)
_WITH_DURATION = (_K.FREEZE, _K.DISCONNECT, _K.RESTART)
_WITH_AMOUNT = (_K.DRIFT, _K.JITTER, _K.SATURATION, _K.MAINS, _K.RATE)
OF_VALUES = (_K.SATURATION, _K.FLAT, _K.MAINS, _K.UNIT, _K.NAN)
"""Those that change samples, not their way."""


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault.

    Parameters
    ----------
    kind : FaultKind
        What happens.
    at_s : float, default=0
        From the sample on that is taken so long after the start, s.
    duration_s : float, default=inf
        How long it lasts, s; the rest of the stream by default.
    n : int, default=0
        Samples or packets; see `FaultKind`.
    amount : float, default=0
        How much; see `FaultKind`.
    channels : sequence of int, optional
        Columns whose values it is about; those of kind EEG by default.

    Raises
    ------
    ConfigError
        If what its kind needs is missing or out of range.
    """

    kind: FaultKind
    at_s: float = 0.0
    duration_s: float = math.inf
    n: int = 0
    amount: float = 0.0
    channels: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        try:
            object.__setattr__(self, "kind", FaultKind(self.kind))
        except ValueError:
            raise ConfigError(unknown("fault", str(self.kind), [k.value for k in FaultKind])) from None
        object.__setattr__(self, "channels", tuple(self.channels))
        if not (self.at_s >= 0 and self.duration_s > 0 and self.n >= 0):
            raise ConfigError(
                f"a fault needs at_s >= 0, duration_s > 0 and n >= 0, got {self.at_s}, {self.duration_s} and {self.n}"
            )
        missing = [
            *(["n of 1 or more"] if self.kind in _WITH_N and self.n < 1 else []),
            *(["a duration_s"] if self.kind is FaultKind.FREEZE and math.isinf(self.duration_s) else []),
            *(["a duration_s"] if self.kind is FaultKind.RESTART and math.isinf(self.duration_s) else []),
            *(["an amount"] if self.kind in _WITH_AMOUNT and self.amount == 0 else []),
            *(["at_s = 0"] if self.kind is FaultKind.RATE and self.at_s else []),
        ]
        if missing:
            raise ConfigError(f"a fault {self.kind.value!r} needs {' and '.join(missing)}, got {self}; see FaultKind")

    def over_s(self, sfreq: float) -> float:
        """Return when it is over in a source of `sfreq` Hz, s after the start; infinite if it lasts."""
        if self.kind in _WITH_N:
            return self.at_s + self.n / sfreq
        return self.at_s + self.duration_s


class Schedule(Protocol):
    """Where faults come from."""

    def until(self, time_s: float) -> list[Fault]:
        """Return those that begin before `time_s` (s since the start) and were not returned before, in order."""
        ...


class Script:
    """Faults from a list.

    Parameters
    ----------
    faults : iterable of Fault or mapping
        A mapping holds the parameters of `Fault`, as in ``{"kind": "loss", "at_s": 5.0, "n": 256}``.
    """

    def __init__(self, faults: Iterable[Fault | Mapping[str, Any]] = ()) -> None:
        made = [fault if isinstance(fault, Fault) else _from_mapping(fault) for fault in faults]
        self.faults = sorted(made, key=lambda f: f.at_s)
        self._next = 0

    def until(self, time_s: float) -> list[Fault]:
        """Return those that begin before `time_s` and were not returned before."""
        begin = self._next
        while self._next < len(self.faults) and self.faults[self._next].at_s < time_s:
            self._next += 1
        return self.faults[begin : self._next]


class Chance:
    """Faults drawn at random, without end; the same seed draws the same.

    Each comes when the one before is over and the source has been at pace again for a while, so that what happened
    can be told from what arrives: after two faults at once only their sum can.

    Parameters
    ----------
    sfreq : float
        Rate of the source, Hz.
    per_minute : float
        How many there are, about.
    seed : int
        Seed.
    kinds : sequence of FaultKind or str, optional
        Which kinds; by default all that come and go within a stream.
    reorder : int, default=4
        Most packets that one is overtaken by.
    longest_loss : int, default=2000
        Most samples that are lost at once.
    begin_s : float, default=2
        When the first may come, s after the start.
    apart_s : float, default=0.6
        Least time between the end of one and the begin of the next, s.
    """

    def __init__(
        self,
        sfreq: float,
        per_minute: float,
        seed: int,
        kinds: Sequence[FaultKind | str] = (),
        *,
        reorder: int = 4,
        longest_loss: int = 2000,
        begin_s: float = 2.0,
        apart_s: float = 0.6,
    ) -> None:
        if not per_minute > 0:
            raise ConfigError(f"faults at random need per_minute above 0, got {per_minute}; leave them out for none")
        self._sfreq, self._pause_s, self._apart_s = sfreq, 60.0 / per_minute, apart_s
        self._kinds = tuple(FaultKind(k) for k in kinds) or COMING_AND_GOING
        self._reorder, self._longest = max(1, reorder), longest_loss
        self._rng = np.random.default_rng(seed)
        self._ahead = self._draw_all(begin_s)
        self._waiting = next(self._ahead)

    def until(self, time_s: float) -> list[Fault]:
        """Return those that begin before `time_s` and were not returned before."""
        found = []
        while self._waiting.at_s < time_s:
            found.append(self._waiting)
            self._waiting = next(self._ahead)
        return found

    def _draw_all(self, at_s: float) -> Iterator[Fault]:
        while True:
            fault = self._draw(at_s + float(self._rng.uniform(0, 0.5)) * self._pause_s)
            yield fault
            at_s = fault.over_s(self._sfreq) + max(self._apart_s, 0.5 * self._pause_s)

    def _draw(self, at_s: float) -> Fault:
        rng = self._rng
        kind = self._kinds[int(rng.integers(len(self._kinds)))]
        if kind is FaultKind.LOSS:
            # Half of them any length, half the whole turns of a one-byte counter, where losses hide.
            turns = self._longest // 256
            whole = turns and rng.random() < 0.5
            return Fault(kind, at_s, n=int(256 * rng.integers(1, turns + 1) if whole else self._any_loss()))
        if kind in (FaultKind.REORDER, FaultKind.DUPLICATE):
            return Fault(kind, at_s, n=int(rng.integers(1, self._reorder + 1)))
        duration_s = float(rng.uniform(0.05, self._longest / self._sfreq))
        if kind is FaultKind.FREEZE:
            part = float(rng.choice((0.0, rng.uniform(0, 1), 1.0)))  # of the backlog is lost
            return Fault(kind, at_s, duration_s, n=int(part * duration_s * self._sfreq))
        amount = {
            FaultKind.DRIFT: float(rng.uniform(-200, 200)),
            FaultKind.JITTER: float(rng.uniform(0.001, 0.03)),
            FaultKind.SATURATION: 187500.0,
            FaultKind.MAINS: float(rng.uniform(20, 200)),
        }.get(kind, 0.0)
        return Fault(kind, at_s, duration_s, amount=amount)

    def _any_loss(self) -> int:
        return int(self._rng.integers(1, self._longest + 1))


COMING_AND_GOING = tuple(k for k in FaultKind if k not in (FaultKind.UNIT, FaultKind.RATE, FaultKind.RESTART))
"""What may happen within a stream; the others are what a source is from its start, or leave no exact count."""


def _from_mapping(entry: Mapping[str, Any]) -> Fault:
    try:
        return Fault(**entry)
    except TypeError as error:
        raise ConfigError(
            f"a fault is written as kind, at_s, duration_s, n, amount and channels, got {dict(entry)}: {error}"
        ) from error
