"""Commands and decisions as Lab Streaming Layer streams."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Self

from bci.acquisition.lsl_local import Doorbell, load_pylsl
from bci.acquisition.lsl_outlet import column_head, text_head
from bci.apps.outputs.message import to_json
from bci.clock import Clock, ManualClock
from bci.decision import Command, Decision
from bci.errors import DataError, SafetyError
from bci.ports import Limits

if TYPE_CHECKING:
    import pylsl


class LslOutput:
    """Three streams: NAME with the value of every command, NAME-labels with the decided class when it changes, and
    NAME-commands with each command that differs from the one before, as JSON.

    Parameters
    ----------
    name : str, default="bci-intent"
        Name of the value stream, type ``Control``, one double channel at an irregular rate; the two
        others are texts of type ``Markers``. The safe state is the value 0, the label ``halt`` and the command
        ``{"safe": true, ...}``.

    Notes
    -----
    A receiver needs its own timeout and goes to its safe state when no value came for 0.3 s: a session
    that is killed cannot tell it to. Nothing is kept for a receiver that comes late: an old command must not act.
    """

    limits = Limits(safe_state="the stream says 0 and 'halt'")

    def __init__(self, name: str = "bci-intent") -> None:
        self.name = name
        self._outlets: tuple[pylsl.StreamOutlet, ...] | None = None
        self._lock = threading.Lock()
        self._doorbell = Doorbell()
        self._label: str | None = None
        self._said: tuple[str, float, str] | None = None

    def self_test(self) -> None:
        """Open the outlets; `SafetyError` if LSL refuses."""
        if self._outlets is not None:
            return
        lsl = load_pylsl()
        # A source id that does not change lets receivers find the stream again after a restart.
        heads = (
            column_head(self.name, "Control", ["value"], ["normalized"], f"bci-{self.name}"),
            text_head(f"{self.name}-labels", f"bci-{self.name}-labels"),
            text_head(f"{self.name}-commands", f"bci-{self.name}-commands"),
        )
        try:
            self._outlets = tuple(lsl.StreamOutlet(head) for head in heads)
        except RuntimeError as error:
            raise SafetyError(
                f"expected to open the LSL stream {self.name!r}, LSL says: {error}; check the network"
            ) from error
        self._doorbell.open()
        self.halt()

    def send(self, command: Command) -> None:
        """Push `command`."""
        self._push(float(command.value), command.label or command.name, command)

    def halt(self) -> None:
        """Push 0 and ``halt``, once."""
        if self._label != "halt":
            self._push(0.0, "halt", None)

    def close(self) -> None:
        """Halt and take the streams away."""
        self.halt()
        self._doorbell.close()
        with self._lock:
            self._outlets = None

    def _push(self, value: float, label: str, command: Command | None) -> None:
        said = None if command is None else (command.name, command.value, command.label)
        with self._lock:
            if self._outlets is None:
                return
            values, labels, commands = self._outlets
            values.push_sample([value])
            if label != self._label:
                labels.push_sample([label])
            if said != self._said or self._label is None or label == "halt":
                commands.push_sample([to_json(command)])
            self._label, self._said = label, said


class LslDecisions:
    """A stream of decisions: the probability of each class and the age of the newest sample.

    To be given to `Session.drive` as ``on_decision``.

    Parameters
    ----------
    classes : sequence of str
        The decoder's classes, in order: the first columns.
    name : str, default="bci-decisions"
        Name of the stream, type ``Decisions``, double precision at an irregular rate. After the classes comes the
        column ``age`` in seconds.
    clock : Clock, optional
        The session's clock; a decision is stamped with the time of its newest sample. Decisions of a session on its
        own time (faster than real time) are stamped when they are made.

    Raises
    ------
    DataError
        From the call, if a decision has other classes.

    Examples
    --------
    >>> with LslDecisions(session.decoder.classes_, clock=session.clock) as decisions:  # doctest: +SKIP
    ...     session.drive(duration_s=60, on_decision=decisions)
    """

    def __init__(self, classes: Sequence[str], name: str = "bci-decisions", clock: Clock | None = None) -> None:
        self.classes, self.name = tuple(str(c) for c in classes), name
        self._lsl = load_pylsl()
        head = column_head(name, "Decisions", [*self.classes, "age"], [*("probability" for _ in self.classes), "s"],
                           f"bci-{name}")  # fmt: skip
        self._outlet: pylsl.StreamOutlet | None = self._lsl.StreamOutlet(head)
        self._doorbell = Doorbell()
        self._doorbell.open()
        now_s = time.monotonic() if clock is None else clock.now()
        self._offset_s = None if isinstance(clock, ManualClock) else float(self._lsl.local_clock()) - now_s

    def __call__(self, decision: Decision, command: Command | None = None) -> None:
        """Send `decision`; the command goes its own way, through an effector."""
        if decision.classes != self.classes:
            raise DataError(
                f"expected decisions between {', '.join(self.classes)}, got {', '.join(decision.classes)}; make a new "
                "stream for another decoder"
            )
        if self._outlet is not None:
            stamp = 0.0 if self._offset_s is None else decision.stop_s + self._offset_s  # 0: LSL's time of now
            self._outlet.push_sample([*decision.probabilities.tolist(), decision.age_s], stamp)

    def close(self) -> None:
        """Take the stream away; any number of times."""
        self._doorbell.close()
        self._outlet = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
