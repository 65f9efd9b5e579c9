"""One port that serves a page and its socket, to this machine's own browser only.

The page is reached by an address that carries a random token; the socket is opened
only with that token and from that page. The newest message wins: a slow browser
gets fewer messages, never old ones.
"""

from __future__ import annotations

import asyncio
import errno
import hmac
import json
import logging
import math
import secrets
import socket
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from http import HTTPStatus
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from bci.errors import ConfigError, PluginError

try:
    from websockets.asyncio.server import Server, ServerConnection, serve
    from websockets.datastructures import Headers
    from websockets.exceptions import ConnectionClosed
    from websockets.http11 import Request, Response
except ModuleNotFoundError as error:
    raise PluginError(
        f"the virtual scene needs the package {(error.name or '').partition('.')[0]!r}, which is not here; "
        "pip install 'bci[vr]'"
    ) from error

log = logging.getLogger(__name__)

SOCKET_PATH = "/socket"
_TYPES = {".html": "text/html", ".js": "text/javascript", ".css": "text/css", "": "text/plain"}
# Nothing from elsewhere: no script, picture or connection but those of this page.
_POLICY = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'"
_LOOPBACK = ("127.0.0.1", "localhost", "[::1]")
_MAX_MESSAGE = 4096
_MAX_CLIENTS = 4
_MAX_PER_S = 200
_PING_FAST_S, _PING_SLOW_S, _N_FAST = 0.05, 1.0, 10
_START_S = 5.0

Message = dict[str, Any]


class BrowserClock:
    """The browser's clock on this machine's monotonic clock.

    Each exchange bounds the offset between the clocks to within half its round trip;
    of the last `n_kept` the one with the shortest round trip is believed (the
    clock filter of the Network Time Protocol [1]_, section 10).

    Parameters
    ----------
    n_kept : int, default=32
        Number of exchanges considered.

    References
    ----------
    .. [1] D. Mills et al. Network Time Protocol Version 4. RFC 5905, 2010.
    """

    def __init__(self, n_kept: int = 32) -> None:
        self._kept: deque[tuple[float, float]] = deque(maxlen=n_kept)

    def add(self, sent_s: float, browser_s: float, received_s: float) -> None:
        """Take one exchange: sent and received on our clock, answered at `browser_s` on the browser's; all s."""
        if math.isfinite(browser_s) and received_s >= sent_s:
            self._kept.append((received_s - sent_s, (sent_s + received_s) / 2 - browser_s))

    def to_monotonic(self, browser_s: float) -> float | None:
        """Return our time of a browser's time, s; None before the first exchange."""
        return browser_s + min(self._kept)[1] if self._kept else None

    @property
    def error_s(self) -> float:
        """Largest possible error of `to_monotonic`, s: half the shortest round trip."""
        return min(self._kept)[0] / 2 if self._kept else math.inf


class Client:
    """One open page: its clock, and which messages it has not got yet."""

    def __init__(self, connection: ServerConnection) -> None:
        self.connection = connection
        self.clock = BrowserClock()
        self.news = asyncio.Event()
        self.pings: dict[int, float] = {}
        self.n_pings = 0
        self.seen: dict[str, Message] = {}
        self.window_s, self.n_in_window = 0.0, 0

    def time_of(self, message: Message) -> float:
        """Our time of what the page reports, s: never in the future, now if the page does not say."""
        now_s, at = time.monotonic(), message.get("at")
        mapped = self.clock.to_monotonic(at) if isinstance(at, int | float) else None
        return now_s if mapped is None or not now_s - 60.0 < mapped <= now_s else mapped

    def is_flooding(self) -> bool:
        """Count a message; True where there are more than a page has reason to send."""
        now_s = time.monotonic()
        if now_s - self.window_s > 1.0:
            self.window_s, self.n_in_window = now_s, 0
        self.n_in_window += 1
        return self.n_in_window > _MAX_PER_S


class PageServer:
    """Serve the files of a page and a socket to it.

    Parameters
    ----------
    files : mapping of str to Path
        What is served, by path of the request; nothing else is.
    on_message : callable
        Called with the client and each message of the page, in the server's thread.
    host : str, default="127.0.0.1"
        Address to listen on.
    port : int, default=8765
        Port to listen on; 0 for any that is free.
    """

    def __init__(
        self,
        files: Mapping[str, Path],
        on_message: Callable[[Client, Message], None],
        host: str = "127.0.0.1",
        port: int = 8765,
    ) -> None:
        self.host, self.port = host, port
        self.token = secrets.token_urlsafe(16)
        self._files = {path: (file.read_bytes(), _TYPES[file.suffix]) for path, file in files.items()}
        self._on_message = on_message
        self._clients: set[Client] = set()
        self._latest: dict[str, tuple[Message, float]] = {}
        self._lock = threading.RLock()  # a signal handler may halt in the middle of a send
        self._is_waking = False  # one wake of the loop is enough for all that came meanwhile
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._finish: asyncio.Event | None = None

    def open(self) -> None:
        """Listen.

        Raises
        ------
        ConfigError
            If the port is in use or the address is not this machine's.
        """
        if self._thread is not None:
            return
        listener = self._bind()
        self.port = int(listener.getsockname()[1])
        started = threading.Event()
        self._thread = threading.Thread(
            target=lambda: asyncio.run(self._serve(listener, started)), name="page server", daemon=True
        )
        self._thread.start()
        if not started.wait(_START_S):
            raise ConfigError(
                f"the page should be served within {_START_S:.0f} s, it is not; see the log and try again"
            )

    def publish(self, kind: str, message: Message, valid_s: float = math.inf) -> None:
        """Give every page this message, unless a newer one of its kind comes first or it is older than `valid_s`.

        Never blocks; from any thread. The message carries its time (``at``, s), so that
        the page can tell what was held up on the way.
        """
        now_s = time.monotonic()
        with self._lock:
            self._latest[kind] = ({"kind": kind, "at": now_s, **message}, now_s + valid_s)
            loop, is_waking = self._loop, self._is_waking
            self._is_waking = loop is not None
        if loop is not None and not is_waking:
            try:
                loop.call_soon_threadsafe(self._wake)
            except RuntimeError:
                log.debug("the page server is closed; a message was dropped")

    def close(self) -> None:
        """Stop serving; any number of times."""
        loop, thread = self._loop, self._thread
        if loop is not None and self._finish is not None and not loop.is_closed():
            try:
                loop.call_soon_threadsafe(self._finish.set)
            except RuntimeError:
                log.debug("the page server ended by itself")
        if thread is not None and thread is not threading.current_thread():
            thread.join(_START_S)
        self._loop = self._thread = None
        self._is_waking = False

    @property
    def url(self) -> str:
        """Address of the page, with the token."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"http://{host}:{self.port}/?token={self.token}"

    @property
    def n_clients(self) -> int:
        """Number of pages that are open."""
        return len(self._clients)

    # ------------------------------------------------------------------- private
    def _bind(self) -> socket.socket:
        """Take the port, or say who has to give way."""
        family = socket.AF_INET6 if ":" in self.host else socket.AF_INET
        listener = socket.socket(family, socket.SOCK_STREAM)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((self.host, self.port))
            listener.listen()
        except OSError as error:
            listener.close()
            if error.errno == errno.EADDRINUSE:
                raise ConfigError(
                    f"the virtual scene needs port {self.port} on {self.host}, which another program uses; "
                    "close that program, or give port=0 for any free port"
                ) from error
            raise ConfigError(
                f"the virtual scene should listen on {self.host} port {self.port}, the system says "
                f"{error.strerror or error}; give host='127.0.0.1' and a port above 1023"
            ) from error
        return listener

    async def _serve(self, listener: socket.socket, started: threading.Event) -> None:
        self._loop, self._finish = asyncio.get_running_loop(), asyncio.Event()
        server: Server
        async with serve(
            self._talk,
            sock=listener,
            process_request=self._answer,
            max_size=_MAX_MESSAGE,
            compression=None,
            ping_interval=5,
            ping_timeout=5,
            close_timeout=1,
            server_header=None,
        ) as server:
            started.set()
            await self._finish.wait()
            server.close()

    def _answer(self, connection: ServerConnection, request: Request) -> Response | None:
        """Serve a file, refuse, or let the socket be opened (None)."""
        parts = urlsplit(request.path)
        given = parse_qs(parts.query).get("token", [""])[0]
        if not self._is_own_host(request.headers.get("Host", "")):
            return _refuse(HTTPStatus.FORBIDDEN, "this page is served to its own machine only")
        has_token = hmac.compare_digest(given.encode(), self.token.encode())
        if parts.path == SOCKET_PATH:
            if request.headers.get("Origin", "") != f"http://{request.headers['Host']}" or not has_token:
                return _refuse(HTTPStatus.FORBIDDEN, "the socket opens only for the page of this session")
            if len(self._clients) >= _MAX_CLIENTS:
                return _refuse(HTTPStatus.SERVICE_UNAVAILABLE, f"{_MAX_CLIENTS} pages are open; close one")
            return None
        if parts.path == "/" and not has_token:
            return _refuse(HTTPStatus.FORBIDDEN, "open the address that the program shows, with its token")
        if parts.path not in self._files:
            return _refuse(HTTPStatus.NOT_FOUND, "there is no such page")
        body, kind = self._files[parts.path]
        return _reply(HTTPStatus.OK, body, kind)

    def _is_own_host(self, host: str) -> bool:
        """Refuse names that lead here by way of a foreign name server (DNS rebinding)."""
        if self.host not in ("127.0.0.1", "localhost", "::1"):
            return bool(host)
        return host in {f"{name}:{self.port}" for name in _LOOPBACK}

    async def _talk(self, connection: ServerConnection) -> None:
        """Serve one page until it closes."""
        client = Client(connection)
        self._clients.add(client)
        client.news.set()
        tasks = [asyncio.create_task(self._feed(client)), asyncio.create_task(self._measure(client))]
        self._on_message(client, {"kind": "open"})
        try:
            async for raw in connection:
                self._hear(client, raw)
        except ConnectionClosed:
            log.debug("a page went away without a farewell")
        finally:
            self._clients.discard(client)
            for task in tasks:
                task.cancel()
            self._on_message(client, {"kind": "closed"})

    async def _feed(self, client: Client) -> None:
        """Send the newest of each kind, as fast as the page takes it."""
        try:
            while True:
                await client.news.wait()
                client.news.clear()
                with self._lock:
                    latest = dict(self._latest)
                for kind, (message, valid_until_s) in latest.items():
                    if client.seen.get(kind) is not message and time.monotonic() < valid_until_s:
                        client.seen[kind] = message
                        await client.connection.send(json.dumps(message))
        except ConnectionClosed:
            log.debug("a page closed while it was sent to")

    async def _measure(self, client: Client) -> None:
        """Exchange times with the page: quickly at first, then once a second."""
        try:
            while True:
                client.n_pings += 1
                client.pings = {client.n_pings: time.monotonic()}
                await client.connection.send(json.dumps({"kind": "ping", "id": client.n_pings, "at": time.monotonic()}))
                await asyncio.sleep(_PING_FAST_S if client.n_pings < _N_FAST else _PING_SLOW_S)
        except ConnectionClosed:
            log.debug("a page closed while its clock was measured")

    def _hear(self, client: Client, raw: str | bytes) -> None:
        """Take one message of the page; what cannot be read is dropped."""
        received_s = time.monotonic()
        try:
            message = json.loads(raw)
        except ValueError:
            return
        # A stop is obeyed however much else the page sends.
        if not isinstance(message, dict) or (client.is_flooding() and message.get("kind") != "stop"):
            return
        if message.get("kind") == "pong":
            sent_s, at = client.pings.pop(message.get("id", -1), None), message.get("at")
            if sent_s is not None and isinstance(at, int | float):
                client.clock.add(sent_s, at, received_s)
            return
        self._on_message(client, message)

    def _wake(self) -> None:
        with self._lock:
            self._is_waking = False
        for client in self._clients:
            client.news.set()


def _refuse(status: HTTPStatus, why: str) -> Response:
    return _reply(status, f"{why}\n".encode(), "text/plain")


def _reply(status: HTTPStatus, body: bytes, kind: str) -> Response:
    headers = {
        "Content-Type": f"{kind}; charset=utf-8",
        "Content-Length": str(len(body)),
        "Content-Security-Policy": _POLICY,
        "X-Content-Type-Options": "nosniff",
        "Referrer-Policy": "no-referrer",
        "Cache-Control": "no-store",
        "Connection": "close",
    }
    return Response(int(status), status.phrase, Headers(headers), body)
