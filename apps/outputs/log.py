"""An effector that writes commands to a file or the log."""

from __future__ import annotations

import json
import logging
import threading
from pathlib import Path
from typing import TextIO

from bci.decision import Command
from bci.errors import SafetyError
from bci.ports import Limits

_log = logging.getLogger(__name__)


class LogOutput:
    """Write every command that differs from the one before, and every halt, as a JSON line.

    Parameters
    ----------
    path : str or Path, optional
        File to append to; the logger of this module if not given.
    """

    limits = Limits(safe_state="writes nothing")

    def __init__(self, path: str | Path = "") -> None:
        self.path = str(path)
        self._file: TextIO | None = None
        self._lock = threading.Lock()
        self._last: tuple[str, float, str] | None = None

    def self_test(self) -> None:
        """Open the file; `SafetyError` if that fails."""
        if self.path and self._file is None:
            try:
                self._file = open(self.path, "a", encoding="utf-8", buffering=1)  # noqa: SIM115  # closed by close()
            except OSError as error:
                raise SafetyError(
                    f"expected a file that can be written at {self.path}: {error}; choose another"
                ) from error

    def send(self, command: Command) -> None:
        """Write `command`, unless it says what the last one said."""
        said = command.name, command.value, command.label
        record = {"time": command.issued_s, "name": command.name, "value": command.value, "label": command.label}
        with self._lock:
            if said != self._last:
                self._last = said
                self._write(record)

    def halt(self) -> None:
        """Write that it was halted, once."""
        # A file that blocks must not keep the safe state waiting.
        locked = self._lock.acquire(timeout=0.1)
        try:
            if self._last is not None:
                self._last = None
                self._write({"halt": True})
        except OSError as error:  # a full disk; nothing moves by what this file says
            _log.warning("the halt could not be written to %s: %s", self.path, error)
        finally:
            if locked:
                self._lock.release()

    def close(self) -> None:
        """Halt and close the file."""
        self.halt()
        with self._lock:
            file, self._file = self._file, None
            if file is not None:
                try:
                    file.close()
                except OSError as error:  # what it still held does not fit on the disk
                    _log.warning("the end of %s could not be written: %s", self.path, error)

    def _write(self, record: dict[str, object]) -> None:
        if self._file is not None:
            self._file.write(json.dumps(record) + "\n")
        elif not self.path:
            _log.info("%s", json.dumps(record))
