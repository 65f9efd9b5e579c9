"""An effector that writes commands to a serial port."""

from __future__ import annotations

import importlib
import logging
import os
import threading
from typing import Any

from bci.decision import Command
from bci.errors import ConfigError, PluginError, SafetyError
from bci.ports import Limits

try:
    from termios import error as _TermiosError  # what a port that is gone raises, and no OSError
except ImportError:  # not on Windows
    _TermiosError = OSError  # type: ignore[misc,assignment]  # only ever caught

_log = logging.getLogger(__name__)


class SerialOutput:
    r"""Write ``<name> <value>\n`` in ASCII for every command and ``halt 0\n`` for the safe state.

    Parameters
    ----------
    port : str
        Serial port, as ``/dev/ttyACM0`` or ``COM3``.
    baud : int, default=115200
        Speed, bits per second; 8 data bits, no parity, 1 stop bit.

    Raises
    ------
    ConfigError
        If no port is given.

    Notes
    -----
    The device needs a timeout of its own: after 0.2 s without a line it goes to its safe state.
    """

    limits = Limits(safe_state="the device is told to halt")

    def __init__(self, port: str = "", baud: int = 115200) -> None:
        if not port:
            raise ConfigError('a serial output needs a port, as in "serial:/dev/ttyACM0"; got none; name the port')
        self.port, self.baud = port, int(baud)
        self._serial: Any = None
        self._lock = threading.Lock()
        self._failing = self._is_cut = False

    def self_test(self) -> None:
        """Open the port and write ``halt``; `SafetyError` if that fails."""
        if self._serial is not None and not self._failing:
            return
        try:
            serial: Any = importlib.import_module("serial")  # its exports carry no types
            ports: Any = importlib.import_module("serial.tools.list_ports")
        except ModuleNotFoundError as error:
            raise PluginError(
                "the serial output needs the package 'pyserial', which is not here; pip install 'bci[apps]'"
            ) from error
        self._release()
        try:
            # write_timeout 0: a device that does not read must not block the loop.
            self._serial = serial.Serial(self.port, self.baud, write_timeout=0, exclusive=True)
        except (serial.SerialException, OSError, ValueError) as error:
            there = ", ".join(p.device for p in ports.comports()) or "none"
            raise SafetyError(
                f"expected a serial port at {self.port!r}: {error}; ports found: {there}; plug it in or name another"
            ) from error
        self._failing = False
        self.halt()
        if self._failing:
            raise SafetyError(f"the serial port {self.port!r} should take a line, it does not; check the device")

    def send(self, command: Command) -> None:
        """Write `command`."""
        self._write(f"{command.name} {command.value:.4f}\n")

    def halt(self) -> None:
        """Write ``halt``; what still waits to be sent is dropped."""
        self._write("halt 0\n", drop=True)

    def close(self) -> None:
        """Halt and close the port."""
        self.halt()
        self._release()

    def _write(self, line: str, drop: bool = False) -> None:
        with self._lock:
            if self._serial is None:
                return
            data = line.encode("ascii", "replace")
            try:
                if drop:
                    self._serial.reset_output_buffer()
                if drop or self._is_cut:
                    data = b"\n" + data  # ends a line that was cut off
                self._is_cut = self._put(data) < len(data)
                self._failing = False
            except (OSError, _TermiosError) as error:
                if not self._failing:
                    _log.warning("the serial port %s does not take commands: %s", self.port, error)
                self._failing = True

    def _put(self, data: bytes) -> int:
        if os.name == "posix":  # pyserial's own write spins for ever when the device does not read
            return os.write(self._serial.fileno(), data)
        return int(self._serial.write(data))

    def _release(self) -> None:
        with self._lock:
            port, self._serial = self._serial, None
            if port is not None:
                port.close()
