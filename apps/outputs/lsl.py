"""An effector that offers commands as Lab Streaming Layer streams."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from bci.decision import Command
from bci.errors import PluginError, SafetyError
from bci.ports import Limits

if TYPE_CHECKING:
    from pylsl import StreamOutlet


class LslOutput:
    """Two streams: NAME with the value of every command, and NAME-labels with the decided class when it changes.

    Parameters
    ----------
    name : str, default="bci-intent"
        Name of the value stream, type ``Control``, one double channel at an irregular rate; the
        label stream is of type ``Markers``. The safe state is the value 0 and the label ``halt``.

    Notes
    -----
    A receiver needs its own timeout and goes to its safe state when no value came for 0.3 s: a session
    that is killed cannot tell it to.
    """

    limits = Limits(safe_state="the stream says 0 and 'halt'")

    def __init__(self, name: str = "bci-intent") -> None:
        self.name = name
        self._outlets: tuple[StreamOutlet, StreamOutlet] | None = None
        self._lock = threading.Lock()
        self._label: str | None = None

    def self_test(self) -> None:
        """Open both outlets; `SafetyError` if LSL refuses."""
        if self._outlets is not None:
            return
        try:
            import pylsl
        except (ModuleNotFoundError, RuntimeError) as error:
            raise PluginError(f"the LSL output needs pylsl and liblsl, got: {error}; pip install pylsl") from error
        # A source id that does not change lets receivers find the stream again after a restart.
        value = pylsl.StreamInfo(self.name, "Control", 1, pylsl.IRREGULAR_RATE, pylsl.cf_double64, f"bci-{self.name}")
        value.desc().append_child("channels").append_child("channel").append_child_value("label", "value")
        label = pylsl.StreamInfo(
            f"{self.name}-labels", "Markers", 1, pylsl.IRREGULAR_RATE, pylsl.cf_string, f"bci-{self.name}-labels"
        )
        try:
            self._outlets = pylsl.StreamOutlet(value), pylsl.StreamOutlet(label)
        except RuntimeError as error:
            raise SafetyError(
                f"expected to open the LSL stream {self.name!r}, LSL says: {error}; check the network"
            ) from error
        self.halt()

    def send(self, command: Command) -> None:
        """Push `command`."""
        self._push(float(command.value), command.label or command.name)

    def halt(self) -> None:
        """Push 0 and ``halt``, once."""
        if self._label != "halt":
            self._push(0.0, "halt")

    def close(self) -> None:
        """Halt and take the streams away."""
        self.halt()
        with self._lock:
            self._outlets = None

    def _push(self, value: float, label: str) -> None:
        with self._lock:
            if self._outlets is None:
                return
            self._outlets[0].push_sample([value])
            if label != self._label:
                self._outlets[1].push_sample([label])
                self._label = label
