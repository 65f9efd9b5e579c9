"""The driver under examination: how to get a fresh one, listen to it, and count what it holds."""

from __future__ import annotations

import contextlib
import os
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bci.acquisition.conformance.case import Exempt, Need
from bci.acquisition.conformance.emulated import Emulated
from bci.clock import Clock, ManualClock, MonotonicClock
from bci.ports import AcceptsMarkers, Device, HasEnd, MeasuresImpedance, ReportsBattery
from bci.stream import Chunk, StreamInfo
from bci.testing.contract import require

READ_S = 0.1
"""Longest wait of an ordinary read, s."""
FIRST_S = 5.0
"""How long the first sample may take after `start`, s."""
GRACE_S = 0.3
"""What a busy machine may add to any duration, s."""


@dataclass(slots=True)
class Heard:
    """What was read, in order.

    Parameters
    ----------
    info : StreamInfo
        What `open` said.
    chunks : list of Chunk
        What `read` returned, empty ones too.
    copies : list of ndarray
        Copies of the data, made at once.
    arrivals : list of float
        When each read returned, s on the wall's clock.
    ages : list of float
        Age of the newest sample of each chunk, s on the session clock; NaN for an empty one.
    report : dict
        What the driver reported at the end, empty if it keeps no count.
    """

    info: StreamInfo
    chunks: list[Chunk] = field(default_factory=list)
    copies: list[NDArray[Any]] = field(default_factory=list)
    arrivals: list[float] = field(default_factory=list)
    ages: list[float] = field(default_factory=list)
    report: dict[str, Any] = field(default_factory=dict)

    @property
    def full(self) -> list[Chunk]:
        """The chunks that hold samples."""
        return [c for c in self.chunks if c.n_samples]

    @property
    def n_samples(self) -> int:
        """Samples heard."""
        return sum(c.n_samples for c in self.chunks)


class Subject:
    """A driver that the cases are tried on.

    Parameters
    ----------
    make : callable
        Returns a new, closed device each time.
    emulator : Emulated, optional
        What the device connects to, switched on, if it can be broken on demand.
    seconds : float, default=5
        How much signal is read to judge rate and times, s.
    cycles : int, default=100
        How often it is opened, started, stopped and closed to find leaks.
    pause_s : float, default=2
        How long the slow reader sleeps, s.
    wall : Clock, optional
        The time that waiting is measured in; the machine's monotonic clock.
    """

    def __init__(
        self,
        make: Callable[[], Device],
        emulator: Emulated | None = None,
        *,
        seconds: float = 5.0,
        cycles: int = 100,
        pause_s: float = 2.0,
        wall: Clock | None = None,
    ) -> None:
        self.make, self.emulator = make, emulator
        self.seconds, self.cycles, self.pause_s = seconds, cycles, pause_s
        self.wall: Clock = wall if wall is not None else MonotonicClock()
        self._heard: Heard | None = None
        self._why_deaf = ""
        self._growth: dict[str, float] | None = None

    # ------------------------------------------------------------- devices
    @contextlib.contextmanager
    def fresh(self) -> Iterator[Any]:
        """A new, closed device; it is closed afterwards whatever happened to it."""
        device = self.make()
        try:
            yield device
        finally:
            # What close() does wrong is the business of the cases of close().
            with contextlib.suppress(Exception):
                device.close()

    @contextlib.contextmanager
    def streaming(self) -> Iterator[Any]:
        """A new device that is open, streaming, and has delivered its first samples."""
        with self.fresh() as device:
            device.open()
            device.start()
            self.first(device)
            yield device

    def first(self, device: Any) -> Chunk:
        """Read until samples come; `ContractError` if none do."""
        until_s = self.wall.now() + FIRST_S
        while True:
            chunk: Chunk | None = device.read(READ_S)
            if chunk is not None and chunk.n_samples:
                return chunk
            require(self.wall.now() < until_s, f"samples come within {FIRST_S:g} s of start()", "none")

    def restart(self, device: Any, pause_s: float = 0.0) -> float:
        """Stop, wait, start; return the session's time at the start, s.

        Exempt where that fails, since `starts_again_after_stop` judges it.
        """
        device.stop()
        self.wall.sleep_until(self.wall.now() + pause_s)
        begin_s = self.now(device)
        try:
            device.start()
        except Exception as error:
            raise Exempt(f"it could not be started again ({error})", untested=True) from error
        return begin_s

    def now(self, device: Any) -> float:
        """Return the time on the session clock of `device`, s."""
        clock = getattr(device, "clock", None)
        return float(clock.now() if clock is not None else self.wall.now())

    def timed(self, call: Callable[[], Any]) -> tuple[float, Any]:
        """Return how long `call` took, s, and what it returned."""
        begin_s = self.wall.now()
        got = call()
        return self.wall.now() - begin_s, got

    # ----------------------------------------------------------- listening
    def listen(
        self, device: Any, info: StreamInfo, seconds: float, done: Callable[[Heard], bool] | None = None
    ) -> Heard:
        """Read until `seconds` of signal came (or `done`), at most three times as long and a second."""
        heard = Heard(info)
        until_s = self.wall.now() + 3 * seconds + 1.0
        while self.wall.now() < until_s and not self.at_end(device):
            chunk = device.read(READ_S)
            if chunk is None:
                continue
            self._note(device, heard, chunk)
            if done(heard) if done is not None else heard.n_samples >= seconds * info.sfreq:
                break
        return heard

    @property
    def heard(self) -> Heard:
        """Some seconds of signal of one device, read once for all cases that judge it."""
        if self._heard is None and not self._why_deaf:
            try:
                with self.fresh() as device:
                    info = device.open()
                    device.start()
                    opening = Heard(info)
                    self._note(device, opening, self.first(device))
                    rest = self.listen(device, info, self.seconds)
                    self._heard = _joined(opening, rest)
                    if callable(getattr(device, "report", None)):
                        self._heard.report = device.report()
            except Exception as error:  # noqa: BLE001 - a stranger's driver; `delivers_samples` says what is wrong
                self._why_deaf = f"{type(error).__name__}: {error}"
        if self._heard is None:
            raise Exempt(f"no signal could be read ({self._why_deaf})", untested=True)
        return self._heard

    def at_end(self, device: Any) -> bool:
        """Return whether a recording is over."""
        return isinstance(device, HasEnd) and device.at_end

    # ----------------------------------------------------------- resources
    def held(self) -> dict[str, float]:
        """Return what this process holds: ``threads``, ``handles``, ``memory_mb``."""
        return {
            "threads": float(_n_threads()),
            "handles": float(len(os.listdir("/proc/self/fd")) - 1),
            "memory_mb": _memory_mb(),
        }

    @property
    def growth(self) -> dict[str, float]:
        """What grew over `cycles` of open, start, read, stop, close; counted once for all cases that judge it."""
        if self._growth is None:
            warm = max(2, self.cycles // 5)  # libraries fill their caches at first
            for _ in range(warm):
                self._cycle()
            before = self.held()
            for _ in range(self.cycles):
                self._cycle()
            after = self._settled(before)
            self._growth = {name: after[name] - before[name] for name in before}
        return self._growth

    # ----------------------------------------------------------------- needs
    def lacks(self, need: Need) -> Exempt | None:
        """Return why a case that needs `need` is exempt; None if it is not."""
        if need is Need.EMULATOR:
            return None if self.emulator is not None else Exempt("no emulator", untested=True)
        if need is Need.COUNTS:
            there = sys.platform == "linux"
            return None if there else Exempt(f"{sys.platform} does not tell what a process holds", untested=True)
        if need is Need.SIGNAL:
            _ = self.heard
            return None
        with self.fresh() as device:
            if need is Need.LIVE:
                return self._not_live(device)
            has = {
                Need.MARKERS: (isinstance(device, AcceptsMarkers), "it takes no markers"),
                Need.IMPEDANCE: (isinstance(device, MeasuresImpedance), "it does not measure impedance"),
                Need.BATTERY: (isinstance(device, ReportsBattery), "it does not know its battery"),
                Need.REPORT: (callable(getattr(device, "report", None)), "it keeps no count (it is not a Driver)"),
            }
            there, why = has[need]
            return None if there else Exempt(why)

    # ---------------------------------------------------------------- private
    def _not_live(self, device: Any) -> Exempt | None:
        with contextlib.suppress(Exception):
            device.open()  # a clock is final once the device is open
        clock = getattr(device, "clock", None)
        if isinstance(device, HasEnd):
            return Exempt("it is a recording, which waits for its reader")
        own = isinstance(clock, ManualClock) and clock is not self.wall
        return Exempt("it runs on its own time, not in real time") if own else None

    def _note(self, device: Any, heard: Heard, chunk: Any) -> None:
        heard.chunks.append(chunk)
        heard.arrivals.append(self.wall.now())
        heard.copies.append(np.array(chunk.data))
        heard.ages.append(self.now(device) - float(chunk.times[-1]) if chunk.n_samples else float("nan"))

    def _cycle(self) -> None:
        with self.streaming() as device:
            device.stop()
            device.close()

    def _settled(self, before: dict[str, float]) -> dict[str, float]:
        """Count again until nothing is above `before`, at most a second: threads of libraries end a moment later."""
        for _ in range(20):
            after = self.held()
            if after["threads"] <= before["threads"] and after["handles"] <= before["handles"]:
                break
            threading.Event().wait(0.05)  # of this world, even where the case runs on a manual clock
        return after


def _joined(first: Heard, rest: Heard) -> Heard:
    return Heard(first.info, first.chunks + rest.chunks, first.copies + rest.copies,
                 first.arrivals + rest.arrivals, first.ages + rest.ages)  # fmt: skip


def _n_threads() -> int:
    return len(os.listdir("/proc/self/task"))


def _memory_mb() -> float:
    with open("/proc/self/statm", encoding="ascii") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20
