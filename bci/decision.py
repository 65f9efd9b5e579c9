"""What a decoder answers and what an effector is asked to do."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from bci.stream import Flag


@dataclass(frozen=True, slots=True, eq=False)
class Decision:
    """Class probabilities for one window, with where they come from.

    Parameters
    ----------
    classes : tuple of str
        Names of the classes.
    probabilities : ndarray, shape (n_classes,)
        Probability of each class, in that order.
    start, stop : int
        Samples of the window, as numbered by the stream that entered the window.
    start_s, stop_s : float
        Times of the window's first and last sample, s on the session clock.
    event : str
        Code of the event the window is locked to; empty for a sliding window.
    flags : Flag
        Flags of all samples in the window.
    age_s : float
        Age of the newest sample when the decision was made, s (session clock).
    stages : mapping of str to float
        Time spent in each stage, s of monotonic time:
        ``read, record, blocks, window, decode, decide``.
    bad_channels : tuple of str
        Channels of which a sample in the window is unknown or was changed (`bci.signal.window.Cut`).
    """

    classes: tuple[str, ...]
    probabilities: NDArray[np.float64]
    start: int
    stop: int
    start_s: float
    stop_s: float
    event: str = ""
    flags: Flag = Flag.OK
    age_s: float = 0.0
    stages: Mapping[str, float] = field(default_factory=dict)
    bad_channels: tuple[str, ...] = ()

    @property
    def label(self) -> str:
        """The most probable class."""
        return self.classes[int(np.argmax(self.probabilities))]

    @property
    def confidence(self) -> float:
        """Probability of the most probable class."""
        return float(np.max(self.probabilities))

    def probability(self, label: str) -> float:
        """Probability of the class `label`, 0 if there is no such class."""
        return float(self.probabilities[self.classes.index(label)]) if label in self.classes else 0.0


@dataclass(frozen=True, slots=True)
class Command:
    """A wish for an effector; it expires.

    Parameters
    ----------
    name : str
        What to do; the paradigms of this project say "intent".
    value : float
        How much. An intent runs from -1 (left, open) over 0 (nothing) to 1 (right, close).
    issued_s : float
        When it was issued, s on the session clock.
    valid_s : float
        For how long it may be obeyed after `issued_s`, s.
    signal_s : float
        Time of the newest sample it rests on, s on the session clock.
    label : str
        The decided class, for people to read.
    """

    name: str
    value: float
    issued_s: float
    valid_s: float = 0.3
    signal_s: float = 0.0
    label: str = ""


def decisions_hash(decisions: Iterable[Decision]) -> str:
    """Return a SHA-256 over windows and probabilities: equal only if every bit is.

    Times spent and ages are left out: they belong to the machine, not to the data.
    """
    digest = hashlib.sha256()
    for decision in decisions:
        digest.update(hashed(decision))
    return digest.hexdigest()


def hashed(decision: Decision) -> bytes:
    """Return what of a decision goes into the hash of a run."""
    d = decision
    head = f"{d.start},{d.stop},{d.event},{int(d.flags)},{'|'.join(d.classes)};".encode()
    return head + np.ascontiguousarray(d.probabilities, dtype=np.float64).tobytes()
