"""An effector that sends commands as JSON datagrams."""

from __future__ import annotations

import logging
import socket
from typing import Any

from bci.apps.outputs.message import parse_address, to_json
from bci.decision import Command
from bci.errors import SafetyError
from bci.ports import Limits

_log = logging.getLogger(__name__)


class UdpOutput:
    """Send every command, and every halt, as one UDP datagram of JSON.

    Parameters
    ----------
    address : str, default="127.0.0.1:5005"
        Receiver, ``host:port``.

    Raises
    ------
    ConfigError
        If the address has no valid port.

    Notes
    -----
    UDP does not say whether anybody listens: a receiver needs its own timeout
    and goes to its safe state after ``valid_s`` without a message.
    """

    limits = Limits(safe_state="the receiver is told that nothing is asked for")

    def __init__(self, address: str = "127.0.0.1:5005") -> None:
        self.host, self.port = parse_address(address, 5005)
        self._socket: socket.socket | None = None
        self._address: tuple[Any, ...] = (self.host, self.port)
        self._failing = False

    def self_test(self) -> None:
        """Look up the receiver's host; `SafetyError` if it has no address."""
        if self._socket is not None:
            return
        try:
            # Not connected: a connected socket gives the refusal of one datagram in exchange for the next.
            family, kind, _, _, self._address = socket.getaddrinfo(self.host, self.port, type=socket.SOCK_DGRAM)[0]
            self._socket = socket.socket(family, kind)
            self._socket.setblocking(False)
        except OSError as error:
            self.close()
            raise SafetyError(
                f"expected a host that has an address, got {self.host!r} ({error}); correct the address"
            ) from error
        self.halt()

    def send(self, command: Command) -> None:
        """Send `command`."""
        self._post(to_json(command))

    def halt(self) -> None:
        """Tell the receiver to go to its safe state."""
        self._post(to_json(None))

    def close(self) -> None:
        """Halt and release the socket."""
        self.halt()
        receiver, self._socket = self._socket, None
        if receiver is not None:
            receiver.close()

    def _post(self, text: str) -> None:
        receiver = self._socket
        if receiver is None:
            return
        try:
            receiver.sendto(text.encode(), self._address)
            self._failing = False
        except OSError as error:
            if not self._failing:
                _log.warning("cannot send to %s:%d: %s", self.host, self.port, error)
            self._failing = True
