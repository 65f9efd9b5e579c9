"""The five ports: everything that plugs in is a small class behind one of these.

A session moves samples one way:

    Device -> recorder -> Block ... Block -> window -> Decoder -> Paradigm -> gate -> guard -> Effector

Implement one port, register it (`bci.registry`), and prove it with its checker in
`bci.testing`. Capabilities beyond a port are asked with `isinstance`.
"""

from __future__ import annotations

import enum
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Protocol, Self, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from bci.decision import Command, Decision
from bci.stream import Chunk, StreamInfo
from bci.trial import Trial, Window


# 1 ------------------------------------------------------------------ Device
@runtime_checkable
class Device(Protocol):
    """A source of samples: closed -> open -> streaming. Authors subclass `bci.acquisition.driver.Driver`."""

    def open(self) -> StreamInfo:
        """Connect and say what will be delivered; no I/O happens before."""
        ...

    def start(self) -> None:
        """Begin to stream."""
        ...

    def read(self, timeout_s: float) -> Chunk:
        """Return what has arrived, waiting up to `timeout_s` for the first sample; may be empty."""
        ...

    def stop(self) -> None:
        """Stop streaming."""
        ...

    def close(self) -> None:
        """Disconnect; from any state, any number of times."""
        ...


@runtime_checkable
class AcceptsMarkers(Protocol):
    """A device that can stamp an event into its own stream."""

    def mark(self, code: str, time_s: float) -> None:
        """Attach an event that happened at `time_s` (session clock)."""
        ...


@runtime_checkable
class AnswersCues(Protocol):
    """A device with a (simulated) person who does what the paradigm shows."""

    def respond(self, code: str, time_s: float) -> None:
        """Show the person `code` at `time_s` (session clock)."""
        ...


@runtime_checkable
class HasOwnTime(Protocol):
    """A device that runs on its own time (faster than real time): the session adopts its clock."""

    @property
    def clock(self) -> Any:
        """The `bci.clock.Clock` on which its samples are stamped."""
        ...


@runtime_checkable
class HasEnd(Protocol):
    """A device whose data end (a recording)."""

    @property
    def at_end(self) -> bool:
        """True once everything was delivered."""
        ...


@runtime_checkable
class RecordsBeside(Protocol):
    """A device that is one of several streams: it writes the others into the session's recording."""

    def record_beside(self, recorder: Any) -> None:
        """Write them into `recorder`, which is open, from now on, as `read` brings them."""
        ...


@runtime_checkable
class SharesSource(Protocol):
    """A device that may be one of several streams of one source, which has one holder."""

    def share(self, other: object) -> bool:
        """Read the source that `other` holds, if it is the same one; whether it is. Before either is open."""
        ...


@runtime_checkable
class Reports(Protocol):
    """A device that says what happened to its samples: losses, silences, the rate and the clocks it measured."""

    def report(self) -> dict[str, Any]:
        """Return plain values, ready for JSON."""
        ...


@runtime_checkable
class MeasuresImpedance(Protocol):
    """A device that can measure the contact of its electrodes."""

    def impedance(self) -> dict[str, float]:
        """Return the impedance of each electrode by channel name, kOhm; inf where there is no contact, NaN unknown."""
        ...


@runtime_checkable
class ReportsBattery(Protocol):
    """A device that knows its battery."""

    def battery(self) -> float:
        """Return what is left, from 0 to 1; NaN while it is not known."""
        ...


@runtime_checkable
class TakesCommands(Protocol):
    """A device with commands of its own."""

    def configure(self, command: str) -> str:
        """Send `command` as the maker wrote it down and return the answer; `DeviceError` if it is refused."""
        ...


# 2 ------------------------------------------------------------------- Block
class Block(ABC):
    """A causal step of the signal chain. Law: however a stream is cut, the joined output is the same."""

    delay_s: float = 0.0
    """Group delay added, s; known after `prepare`."""

    @abstractmethod
    def prepare(self, info: StreamInfo) -> StreamInfo:
        """Validate, design and allocate for `info`; return what comes out. May raise `ConfigError`."""

    @abstractmethod
    def process(self, chunk: Chunk) -> Chunk:
        """Return the output for `chunk`, of any length including 0; no I/O, no clock, no log."""

    @abstractmethod
    def reset(self) -> None:
        """Forget all samples, keep the settings."""


# 3 ----------------------------------------------------------------- Decoder
@runtime_checkable
class Decoder(Protocol):
    """From windows to class probabilities; any scikit-learn classifier that takes 3-D `X` fits."""

    classes_: NDArray[Any]

    def fit(self, X: NDArray[np.float64], y: NDArray[Any]) -> Self:
        """Learn from `X`, shape (n_epochs, n_channels, n_times), and `y`, shape (n_epochs,)."""
        ...

    def predict_proba(self, X: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return probabilities, shape (n_epochs, n_classes), columns as `classes_`."""
        ...


@runtime_checkable
class HasTemperature(Protocol):
    """A decoder whose probabilities can be calibrated: it divides its logits by `temperature_`, 1 after `fit`."""

    temperature_: float


# 4 ---------------------------------------------------------------- Paradigm
@runtime_checkable
class Paradigm(Protocol):
    """The rules of an experiment: seeded and pure, without clock and pixels."""

    classes: tuple[str, ...]
    """The answers; also the event codes that ask for them."""
    window: Window
    """What is decided on."""
    answer_s: tuple[float, float]
    """When the brain answers a cue, s after it: labels training windows, and the windows of one trial's answer."""

    def blocks(self) -> list[Block]:
        """Return new blocks for the signal chain, in order."""
        ...

    def schedule(self, rng: np.random.Generator) -> Iterator[Trial]:
        """Yield the trials of one calibration run."""
        ...

    def command(self, decision: Decision) -> Command | None:
        """Return what a decision asks for; None for nothing."""
        ...


# 5 ---------------------------------------------------------------- Effector
class Hazard(enum.IntEnum):
    """How much harm an effector can do."""

    SCREEN = 0
    MOTION = 1
    """Virtual reality with motion."""
    BODY = 2
    """Touches a body."""
    VEHICLE = 3
    """Moves a person or a vehicle."""


@dataclass(frozen=True, slots=True)
class Limits:
    """The envelope of an effector; the guard holds it, whatever is asked.

    Parameters
    ----------
    hazard : Hazard
        How much harm it can do; BODY and VEHICLE refuse to run without the guard.
    low, high, neutral : float
        Range of the value, and the value of the safe state.
    rise_per_s, fall_per_s : float
        Largest change per second away from, and back to, neutral.
    max_on_s, min_off_s : float
        Longest time away from neutral, and the pause demanded after it, s.
    max_age_s : float
        Oldest signal that may move it, s (0.3 where it touches or moves a person, 1 on a screen).
    safe_state : str
        The safe state in words a clinician understands.
    """

    hazard: Hazard = Hazard.SCREEN
    low: float = -1.0
    high: float = 1.0
    neutral: float = 0.0
    rise_per_s: float = 4.0
    fall_per_s: float = float("inf")
    max_on_s: float = float("inf")
    min_off_s: float = 0.0
    max_age_s: float = 1.0
    safe_state: str = "shows nothing"

    def in_words(self) -> str:
        """Return the envelope as a person confirms it."""
        words = [f"{self.low:g} to {self.high:g}, neutral {self.neutral:g}, at most {self.rise_per_s:g}/s away from it"]
        if self.max_on_s != float("inf"):
            words.append(f"{self.max_on_s:g} s on at most, then {self.min_off_s:g} s off")
        words.append(f"nothing older than {self.max_age_s:g} s moves it; safe state: {self.safe_state}")
        return "; ".join(words)


@runtime_checkable
class Effector(Protocol):
    """Something that acts. Its safe state is where it is whenever nothing fresh tells it otherwise."""

    @property
    def limits(self) -> Limits:
        """The envelope it must be kept in."""
        ...

    def self_test(self) -> None:
        """Raise `SafetyError` unless the safe state can be reached; opens what it needs."""
        ...

    def send(self, command: Command) -> None:
        """Act on `command` now; never blocks."""
        ...

    def halt(self) -> None:
        """Go to the safe state; idempotent, never raises, callable at any time from any thread."""
        ...

    def close(self) -> None:
        """Halt, then release what is held; any number of times."""
        ...


@dataclass(frozen=True, slots=True)
class Status:
    """What people should see beside an output: the guard's state, the decoded intent, the cue, a sentence."""

    state: str = ""
    intent: float = 0.0
    cue: str = ""
    message: str = ""


@runtime_checkable
class ShowsStatus(Protocol):
    """An effector with a face."""

    def show(self, status: Status) -> None:
        """Show `status`; never blocks."""
        ...


@runtime_checkable
class ExplainsLimits(Protocol):
    """An effector whose limits mean more to a person than numbers from -1 to 1 (a current, a force, a speed)."""

    def limits_in_words(self) -> str:
        """Return what it can do at most, in units: a person confirms it before arming."""
        ...


@runtime_checkable
class ReportsEvents(Protocol):
    """An effector that tells what happened on its side (frames shown, buttons, collisions)."""

    def take_events(self) -> list[tuple[float, str]]:
        """Return (monotonic time in s, code) of everything since the last call."""
        ...


@runtime_checkable
class HasStop(Protocol):
    """An effector with a stop of its own (a button in its window)."""

    def attach_stop(self, stop: Callable[[], None]) -> None:
        """Call `stop` at once, from any thread, when a person wants everything to stop."""
        ...


@runtime_checkable
class OwnsLoop(Protocol):
    """An effector that needs its process's main thread (Qt, a simulator)."""

    def run(self, poll: Callable[[], bool]) -> None:
        """Run the own loop, calling `poll` at least every 20 ms, until it returns False."""
        ...
