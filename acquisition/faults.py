"""What can go wrong between an amplifier and its reader: faults, listed by hand or drawn at random."""

from __future__ import annotations

import enum
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, Protocol

import numpy as np

from bci.errors import ConfigError
from bci.stream import listed, unknown


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


_EXAMPLE = '[{"kind": "loss", "at_s": 5.0, "n": 256}]'
_K = FaultKind
_WITH_N = (_K.LOSS, _K.REORDER, _K.DUPLICATE)
_WITH_DURATION = (_K.FREEZE, _K.DISCONNECT, _K.RESTART)
_WITH_AMOUNT = (_K.DRIFT, _K.JITTER, _K.SATURATION, _K.MAINS, _K.RATE)
_MOST_PPM = 1e5
"""A clock that is off by a tenth runs; one that is off by all of it stands still."""
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
        self._check_types()
        object.__setattr__(self, "channels", tuple(self.channels))
        if not (0 <= self.at_s < math.inf and self.duration_s > 0 and self.n >= 0):
            raise ConfigError(
                "a fault needs a finite at_s >= 0, duration_s > 0 and n >= 0, got "
                f"{self.at_s}, {self.duration_s} and {self.n}; correct it"
            )
        self._check_amount()
        missing = [
            *(["n of 1 or more"] if self.kind in _WITH_N and self.n < 1 else []),
            *(["a duration_s"] if self.kind is FaultKind.FREEZE and math.isinf(self.duration_s) else []),
            *(["a duration_s"] if self.kind is FaultKind.RESTART and math.isinf(self.duration_s) else []),
            *(["an amount"] if self.kind in _WITH_AMOUNT and self.amount == 0 else []),
            *(["at_s = 0"] if self.kind is FaultKind.RATE and self.at_s else []),
        ]
        if missing:
            raise ConfigError(
                f"a fault {self.kind.value!r} needs {' and '.join(missing)}, got the fault {self}; see FaultKind"
            )

    def _check_types(self) -> None:
        numbers = {"at_s": self.at_s, "duration_s": self.duration_s, "amount": self.amount}
        wrong = [f"{k} = {v!r}" for k, v in numbers.items() if not _is_number(v)]
        wrong += [] if is_whole(self.n) else [f"n = {self.n!r}"]
        channels: Any = self.channels  # whatever came
        if isinstance(channels, str) or not isinstance(channels, Sequence):
            wrong.append(f"channels = {channels!r}")
        elif not all(is_whole(k) and k >= 0 for k in channels):
            wrong.append(f"channels = {list(channels)}")
        if wrong:
            raise ConfigError(
                f"a fault {self.kind.value!r} takes numbers for at_s, duration_s and amount, a whole one for n, and "
                f"numbers of columns from 0 as channels, got {' and '.join(wrong)}; correct it"
            )

    def _check_amount(self) -> None:
        """Refuse an amount that cannot be; a rail may be negative, and so may a drift."""
        least = {FaultKind.JITTER: 0.0, FaultKind.MAINS: 0.0, FaultKind.RATE: 0.0, FaultKind.DRIFT: -_MOST_PPM}
        most = {FaultKind.DRIFT: _MOST_PPM}.get(self.kind, math.inf)
        low = least.get(self.kind, -math.inf)
        if not (low <= self.amount <= most and math.isfinite(self.amount)):
            raise ConfigError(
                f"a fault {self.kind.value!r} takes a finite amount from {low:g} to {most:g}, got {self.amount:g}; "
                "see FaultKind"
            )

    def __str__(self) -> str:
        """Return it in words: its kind, and what was set."""
        named = [f.name for f in fields(self) if f.name != "kind" and getattr(self, f.name) != f.default]
        return f"{self.kind.value!r}" + "".join(f", {name} = {getattr(self, name)}" for name in named)

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
        if isinstance(faults, str | Mapping | Fault) or not isinstance(faults, Iterable):
            raise ConfigError(f"faults are a list, got {faults!r}; write {_EXAMPLE}")
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
        if not (_is_number(per_minute) and 0 < per_minute < math.inf):
            raise ConfigError(f"faults at random need per_minute above 0, got {per_minute!r}; leave them out for none")
        self._sfreq, self._pause_s, self._apart_s = sfreq, 60.0 / per_minute, apart_s
        self._kinds = kinds_of(kinds) or COMING_AND_GOING
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


def kinds_of(names: Sequence[FaultKind | str]) -> tuple[FaultKind, ...]:
    """Return the kinds that are drawn at random; `ConfigError` for one that is not known, or cannot come and go."""
    if isinstance(names, str):
        raise ConfigError(f"kinds takes a list of kinds of faults, got {names!r}; write ['{names}']")
    if not isinstance(names, Sequence):
        raise ConfigError(f"kinds takes a list of kinds of faults, got {names!r}; write ['loss']")
    for name in names:
        if name not in list(FaultKind):
            raise ConfigError(unknown("kind of fault", str(name), [k.value for k in FaultKind]))
        if name == FaultKind.RATE:
            raise ConfigError("faults at random come and go, 'rate' is there from the start; give it in faults")
    return tuple(FaultKind(name) for name in names)


def is_whole(value: object) -> bool:
    """Return whether it is a whole number, as an int."""
    return isinstance(value, int) and not isinstance(value, bool)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and not math.isnan(value)


def _from_mapping(entry: Mapping[str, Any]) -> Fault:
    if not isinstance(entry, Mapping):
        raise ConfigError(f"a fault is a mapping with its kind and what that needs, got {entry!r}; write {_EXAMPLE}")
    known = [f.name for f in fields(Fault)]
    if "kind" not in entry or any(name not in known for name in entry):
        raise ConfigError(f"a fault is written as {listed(known, 6)}, got {dict(entry)}; write {_EXAMPLE}")
    return Fault(**entry)
