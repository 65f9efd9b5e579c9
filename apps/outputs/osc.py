"""An effector that sends commands as Open Sound Control messages."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from bci.apps.outputs.message import parse_address
from bci.decision import Command
from bci.errors import PluginError, SafetyError
from bci.ports import Limits

if TYPE_CHECKING:
    from pythonosc.udp_client import SimpleUDPClient

_log = logging.getLogger(__name__)


class OscOutput:
    """Send ``/bci/<name> value label`` for every command and ``/bci/halt`` for the safe state.

    Parameters
    ----------
    address : str, default="127.0.0.1:9000"
        Receiver, ``host:port``.
    prefix : str, default="/bci"
        Beginning of the OSC address.

    Raises
    ------
    ConfigError
        If the address has no valid port.

    Notes
    -----
    A receiver needs its own timeout and goes to its safe state when nothing came for 0.3 s: a session
    that is killed cannot tell it to.
    """

    limits = Limits(safe_state="the receiver is told that nothing is asked for")

    def __init__(self, address: str = "127.0.0.1:9000", prefix: str = "/bci") -> None:
        self.host, self.port = parse_address(address, 9000)
        self.prefix = "/" + prefix.strip("/")
        self._client: SimpleUDPClient | None = None
        self._last_name = "intent"

    def self_test(self) -> None:
        """Look up the receiver's host; `SafetyError` if it has no address."""
        if self._client is not None:
            return
        try:
            from pythonosc.udp_client import SimpleUDPClient
        except ModuleNotFoundError as error:
            raise PluginError(
                "the OSC output needs the package 'python-osc', which is not here; pip install 'bci[apps]'"
            ) from error
        try:
            self._client = SimpleUDPClient(self.host, self.port)
        except OSError as error:
            raise SafetyError(
                f"expected a host that has an address, got {self.host!r} ({error}); correct the address"
            ) from error
        self.halt()

    def send(self, command: Command) -> None:
        """Send `command`."""
        self._last_name = command.name
        self._post(f"{self.prefix}/{command.name}", [float(command.value), command.label])

    def halt(self) -> None:
        """Send the neutral value, then ``halt``."""
        self._post(f"{self.prefix}/{self._last_name}", [0.0, ""])
        self._post(f"{self.prefix}/halt", [1])

    def close(self) -> None:
        """Halt and release the socket."""
        self.halt()
        client, self._client = self._client, None
        if client is not None:
            client._sock.close()  # the library has no public way

    def _post(self, address: str, values: list[float | str]) -> None:
        client = self._client
        if client is None:
            return
        try:
            client.send_message(address, values)
        except OSError as error:
            _log.warning("cannot send to %s:%d: %s", self.host, self.port, error)
