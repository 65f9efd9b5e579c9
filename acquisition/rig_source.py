"""What a rig reads from: one source that may get lost and come back, without troubling the others."""

from __future__ import annotations

import enum
import logging
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from bci.clock import Clock
from bci.errors import BciError
from bci.ports import Device, SharesSource
from bci.stream import Chunk, Event

_log = logging.getLogger(__name__)


class Health(enum.Enum):
    """How a stream is."""

    STREAMING = "streaming"
    SILENT = "silent"
    """Connected, but nothing comes."""
    LOST = "lost"
    """The source is gone; the rig tries to open it again."""
    ENDED = "ended"
    """A recording is over."""


@dataclass(frozen=True, slots=True)
class Status:
    """How a stream is, since when (s on the session clock), and why."""

    health: Health
    since_s: float
    cause: str = ""


@dataclass(frozen=True, slots=True, eq=False)
class Arrival:
    """What one read of one stream brought.

    Parameters
    ----------
    name : str
        The stream in the rig.
    arrived_s : float
        When it was here, s on the session clock.
    chunk : Chunk, optional
        Samples and their events, times on the session clock; None for a stream of markers.
    events : tuple of Event
        What a stream of markers told.
    status : Status, optional
        What became of the stream, if that has changed.
    """

    name: str
    arrived_s: float
    chunk: Chunk | None = None
    events: tuple[Event, ...] = ()
    status: Status | None = None


class MarkerSource(Protocol):
    """A stream without a rate: things that happen now and then, told by time and code."""

    def open(self) -> object:
        """Connect."""
        ...

    def start(self) -> None:
        """Begin to listen."""
        ...

    def read(self, timeout_s: float) -> Sequence[tuple[float, str]]:
        """Return (time in s on the session clock, code) of what has happened, waiting up to `timeout_s` for it."""
        ...

    def close(self) -> None:
        """Disconnect; any number of times."""
        ...


class Source(ABC):
    """Something a rig reads, in a thread of its own or in turn.

    Parameters
    ----------
    name : str
        Its name in the rig.
    clock : Clock
        The session clock.
    retry_s : float
        How often a lost source is looked for, s.

    Notes
    -----
    Used by one thread at a time. Nothing that a device raises leaves `read`: it becomes a `Status`.
    """

    def __init__(self, name: str, clock: Clock, retry_s: float) -> None:
        self.name, self.retry_s = name, retry_s
        self._clock = clock
        self.lost_cause = ""
        self._try_at_s = 0.0

    @abstractmethod
    def open(self) -> object:
        """Connect."""

    @abstractmethod
    def start(self) -> None:
        """Begin."""

    @abstractmethod
    def take(self, timeout_s: float) -> Arrival | None:
        """Read once; may raise."""

    @abstractmethod
    def restore(self) -> None:
        """Open and start a source that was lost; raises if that fails."""

    @abstractmethod
    def release(self) -> None:
        """Let go of the device; may raise."""

    @property
    def at_end(self) -> bool:
        """True once nothing more will come."""
        return False

    def read(self, timeout_s: float) -> Arrival | None:
        """Read once, or look for a lost source; return what came of it, None for nothing."""
        if self.lost_cause:
            return self._look(timeout_s)
        try:
            return self.take(timeout_s)
        except Exception as error:  # noqa: BLE001 - one stream of many: whatever it is must not reach the others
            return self._lose(error)

    def close(self) -> None:
        """Let go of the device, whatever it says to that."""
        try:
            self.release()
        except Exception:  # noqa: BLE001 - a device that cannot be released must not stop the others from being so
            _log.exception("%s failed while it was released", self.name)

    def _lose(self, error: Exception) -> Arrival:
        now_s = self._clock.now()
        self.lost_cause = " ".join(str(error).split()) or type(error).__name__
        _log.warning("%s is lost: %s", self.name, self.lost_cause, exc_info=not isinstance(error, BciError))
        self.close()
        self._try_at_s = now_s + self.retry_s
        return Arrival(self.name, now_s, status=Status(Health.LOST, now_s, self.lost_cause))

    def _look(self, timeout_s: float) -> Arrival | None:
        """Look for the source once it is time to; an attempt that fails is no news."""
        now_s = self._clock.now()
        if now_s < self._try_at_s:
            self._clock.sleep_until(min(self._try_at_s, now_s + timeout_s))
            return None
        try:
            self.restore()
        except Exception as error:  # noqa: BLE001 - as in read()
            _log.debug("%s is still lost: %s", self.name, error)
            self.close()
            self._try_at_s = self._clock.now() + self.retry_s
            return None
        self.lost_cause = ""
        back_s = self._clock.now()
        _log.warning("%s was opened again", self.name)
        return Arrival(self.name, back_s, status=Status(Health.SILENT, back_s, "opened again, nothing came yet"))


def share_sources(devices: Sequence[Device]) -> None:
    """Let those that are streams of one source hold it together."""
    sharing = [device for device in devices if isinstance(device, SharesSource)]
    for k, device in enumerate(sharing):
        any(device.share(earlier) for earlier in sharing[:k])
