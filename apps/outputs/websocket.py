"""An effector that broadcasts commands to every page that connects."""

from __future__ import annotations

import asyncio
import errno
import logging
import math
import threading
import time
from collections.abc import Sequence
from concurrent.futures import Future
from typing import Any

from bci.apps.outputs.message import parse_address, to_json
from bci.decision import Command
from bci.errors import PluginError, SafetyError
from bci.ports import Limits

_log = logging.getLogger(__name__)


class WebSocketOutput:
    """A WebSocket server; every client receives every command and halt as JSON text.

    Parameters
    ----------
    address : str, default="127.0.0.1:8766"
        Where to listen, ``host:port``.
    origins : sequence of str
        Web pages that may connect, as in ``"http://127.0.0.1:8000"``; programs always may, other pages never.

    Raises
    ------
    ConfigError
        If the address has no valid port.

    Notes
    -----
    A client that reads too slowly is disconnected rather than waited for. A client needs its own timeout
    and goes to its safe state after ``valid_s`` without a message, or when the connection is lost.
    """

    limits = Limits(safe_state="every client is told that nothing is asked for")

    def __init__(self, address: str = "127.0.0.1:8766", origins: Sequence[str] = ()) -> None:
        self.host, self.port = parse_address(address, 8766)
        self.origins = tuple(origins)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._server: Any = None
        self._last, self._until_s = to_json(None), math.inf

    def self_test(self) -> None:
        """Listen; `SafetyError` if the port is taken."""
        if self._loop is not None:
            return
        try:
            import websockets.asyncio.server  # noqa: F401  # asked before a thread is started
        except ModuleNotFoundError as error:
            raise PluginError(
                "the WebSocket output needs the package 'websockets', which is not here; pip install 'bci[vr]'"
            ) from error
        started: Future[None] = Future()
        self._thread = threading.Thread(target=self._serve, args=(started,), name="websocket output", daemon=True)
        self._thread.start()
        try:
            started.result(10.0)
        except OSError as error:
            self._thread.join()
            taken = "is taken" if error.errno == errno.EADDRINUSE else f"cannot be used ({error})"
            raise SafetyError(
                f"expected a free port to listen on, {self.host}:{self.port} {taken}; "
                "close what holds it or choose another, as in websocket:127.0.0.1:8767"
            ) from error

    def send(self, command: Command) -> None:
        """Send `command` to every client."""
        self._broadcast(to_json(command), time.monotonic() + command.valid_s)

    def halt(self) -> None:
        """Tell every client to go to its safe state."""
        self._broadcast(to_json(None), math.inf)

    def close(self) -> None:
        """Halt, disconnect every client, stop listening."""
        self.halt()
        loop, self._loop = self._loop, None
        if loop is not None and self._thread is not None:
            loop.call_soon_threadsafe(loop.stop)
            self._thread.join(5.0)

    def _broadcast(self, text: str, until_s: float) -> None:
        self._last, self._until_s = text, until_s
        loop = self._loop
        if loop is not None:
            try:
                loop.call_soon_threadsafe(self._send_all, text)
            except RuntimeError:
                _log.info("the WebSocket server is closed already")

    def _send_all(self, text: str) -> None:
        from websockets.asyncio.server import broadcast

        broadcast(self._server.connections, text)

    def _serve(self, started: Future[None]) -> None:
        loop = asyncio.new_event_loop()
        try:
            self._server = loop.run_until_complete(self._listen())
        except OSError as error:
            started.set_exception(error)
            loop.close()
            return
        self._loop = loop
        started.set_result(None)
        loop.run_forever()
        self._server.close()
        loop.run_until_complete(self._server.wait_closed())
        loop.close()

    async def _listen(self) -> Any:
        from websockets.asyncio.server import serve
        from websockets.typing import Origin

        return await serve(
            self._greet, self.host, self.port, origins=[None, *map(Origin, self.origins)],
            close_timeout=0.5, ping_interval=5, ping_timeout=5,
        )  # fmt: skip

    async def _greet(self, connection: Any) -> None:
        # Whoever comes late learns where things stand; what has expired by then must not be obeyed.
        await connection.send(self._last if time.monotonic() <= self._until_s else to_json(None))
        await connection.wait_closed()
