"""An emulator in a process of its own: started by the kit, told through its standard input what to break."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping
from types import TracebackType
from typing import Any, ClassVar, Protocol, Self

from bci.errors import DeviceError

_END_S = 3.0
"""How long the process may take to end, s."""


class Breakable(Protocol):
    """What the process holds: the device and how it breaks, as `bci.acquisition.conformance.emulated.Emulated`."""

    def unplug(self) -> None:
        """Pull the cable."""
        ...

    def replug(self) -> None:
        """Put it back."""
        ...

    def freeze(self, seconds: float) -> None:
        """Send nothing for `seconds`."""
        ...

    def drop(self, n_samples: int) -> None:
        """Lose the next samples."""
        ...


class EmulatorProcess:
    """Runs ``python -m`` `module`, which calls `obey`; is `bci.acquisition.conformance.emulated.Emulated`.

    Subclasses set `module` and are registered as an entry point of the group ``bci.emulators``.

    Raises
    ------
    DeviceError
        If the process ends or answers something else.
    """

    module: ClassVar[str]

    def __init__(self) -> None:
        self._settings: Mapping[str, Any] = {}
        self._process: subprocess.Popen[str] | None = None

    @property
    def settings(self) -> Mapping[str, Any]:
        """What the driver is made with."""
        return self._settings

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(
            [sys.executable, "-m", self.module], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        try:
            self._settings = json.loads(self._answer())
        except (DeviceError, ValueError):
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        assert process.stdin is not None and process.stdout is not None
        process.stdin.close()  # the end of its input is its end
        try:
            process.wait(_END_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        process.stdout.close()

    def unplug(self) -> None:
        """Pull the cable."""
        self._tell("unplug")

    def replug(self) -> None:
        """Put it back."""
        self._tell("replug")

    def freeze(self, seconds: float) -> None:
        """Send nothing for `seconds`."""
        self._tell(f"freeze {seconds}")

    def drop(self, n_samples: int) -> None:
        """Lose the next `n_samples`."""
        self._tell(f"drop {n_samples}")

    def _tell(self, line: str) -> None:
        assert self._process is not None and self._process.stdin is not None
        self._process.stdin.write(line + "\n")
        self._process.stdin.flush()
        answer = self._answer()
        if answer != "ok":
            raise DeviceError(f"expected the emulator {self.module} to answer ok to {line!r}, got {answer!r}; mend it")

    def _answer(self) -> str:
        assert self._process is not None and self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise DeviceError(
                f"expected an answer of the emulator {self.module}, it has ended; run python -m {self.module}"
            )
        return line.strip()


def obey(emulator: Breakable, settings: Mapping[str, Any]) -> None:
    """Say `settings` on standard output, then do what standard input says, until it ends."""
    _say(json.dumps(dict(settings)))
    for line in sys.stdin:
        verb, *arguments = line.split()
        if verb == "unplug":
            emulator.unplug()
        elif verb == "replug":
            emulator.replug()
        elif verb == "freeze":
            emulator.freeze(float(arguments[0]))
        elif verb == "drop":
            emulator.drop(int(arguments[0]))
        else:
            _say(f"unknown verb {verb}")
            continue
        _say("ok")


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()
