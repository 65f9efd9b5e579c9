"""A bounded tap: lets other processes watch a session's samples, drops rather than blocks.

The session calls `Tap.offer` in its loop. There is no thread and no lock: one call costs a
non-blocking ``accept`` and, per reader, a non-blocking ``send``. A reader that is slow, frozen or
dead loses chunks and is told how many; the session never waits for it.

Where the system can (Linux), the samples themselves lie in memory that both map (`bci.runtime.tap_ring`),
and the socket only says where, before they are written, since a reader takes as long to wake up; elsewhere
they go through the socket. See `bci.runtime.tap_wire`.
"""

from __future__ import annotations

import contextlib
import logging
import os
import secrets
import socket
import tempfile
import time
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field

from bci.errors import ConfigError
from bci.runtime.tap_reader import TapReader, connect
from bci.runtime.tap_ring import IS_POSSIBLE, KEEPS_ORDER, RingWriter
from bci.runtime.tap_wire import (
    TAKEN,
    TOKEN_BYTES,
    Place,
    dtype_of,
    info_from_dict,
    info_to_dict,
    pack,
    pack_chunk,
    pack_place,
    place_of,
)
from bci.signal.contact import plain
from bci.stream import Chunk, StreamInfo

__all__ = ["Tap", "TapReader", "connect", "info_from_dict", "info_to_dict"]

log = logging.getLogger(__name__)

_HELLO_TIMEOUT_S = 5.0
_ACCEPT_EVERY_S = 0.005


@dataclass(eq=False)
class _Client:
    """One reader as the session sees it."""

    sock: socket.socket
    since_s: float
    is_greeted: bool = False
    queue: deque[Place | bytes] = field(default_factory=deque)
    sending: memoryview = field(default_factory=lambda: memoryview(b""))
    token: bytes = b""
    dropped: int = 0
    beside: bytes = b""
    """What is to be told beside the chunks; never dropped, since only the newest counts."""
    sent: int = 0
    """Chunks that were said to lie in the ring."""
    taken: int = 0
    """Of these, the ones that the reader has looked for ..."""
    missed: int = 0
    """... and did not find any more."""
    said: bytes = b""

    def put(self, body: Place | bytes, capacity: int) -> None:
        """Queue `body`, at the cost of the oldest if `capacity` wait already."""
        if len(self.queue) >= capacity:
            self.queue.popleft()
            self.dropped += 1
        self.queue.append(body)

    def hear(self) -> None:
        """Take in what the reader says it took; raises BlockingIOError if nothing."""
        got = self.sock.recv(4096)
        if not got:
            raise ConnectionResetError("it left")
        said = self.said + got
        whole = len(said) // TAKEN.size * TAKEN.size
        if whole:
            self.taken, self.missed = TAKEN.unpack_from(said, whole - TAKEN.size)
        self.said = said[whole:]


class Tap:
    """The session's end: offers chunks to any number of readers in other processes.

    Parameters
    ----------
    capacity_chunks : int, default=256
        How many chunks may wait for one reader; then its oldest is dropped.

    Raises
    ------
    ConfigError
        If `capacity_chunks` is below 1.

    Notes
    -----
    `serve`, `offer` and `close` belong to one thread. Readers are let in during `offer`; a session
    without data calls it with an empty chunk.
    """

    def __init__(self, capacity_chunks: int = 256) -> None:
        if capacity_chunks < 1:
            raise ConfigError(f"a tap holds at least 1 chunk, got capacity_chunks={capacity_chunks}; use about 256")
        self.capacity_chunks = capacity_chunks
        self._ahead = max(1, capacity_chunks // 2)
        """Chunks in the ring that a reader may have been told of and not have taken."""
        self._server: socket.socket | None = None
        self._folder: str | None = None
        self._token = ""
        self._hello = b""
        self._beside = b""
        self._clients: list[_Client] = []
        self._dropped_by_gone = 0
        self._ring: RingWriter | None = None
        self._accepted_s = float("-inf")

    def serve(self, info: StreamInfo) -> str:
        """Start to listen for readers of the stream `info`; return the address for `connect`.

        Returns
        -------
        str
            ``unix:PATH#TOKEN``, or ``tcp:HOST:PORT#TOKEN`` where there are no Unix sockets. Whoever
            has the address can watch, so treat it as private.
        """
        self.close()
        self._token = secrets.token_hex(TOKEN_BYTES)
        if IS_POSSIBLE:
            self._ring = RingWriter(info)
        every = self._ahead // 2 if self._ring is not None else 0
        self._hello = pack({"info": info_to_dict(info), "every": max(1, every)})
        if hasattr(socket, "AF_UNIX"):
            self._folder = tempfile.mkdtemp(prefix="bci-tap-")  # mode 0700: other users cannot watch
            path = os.path.join(self._folder, "tap")
            self._server = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            self._server.bind(path)
            place = f"unix:{path}"
        else:
            self._server = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
            self._server.bind(("127.0.0.1", 0))
            place = f"tcp:127.0.0.1:{self._server.getsockname()[1]}"
        self._server.listen(8)
        self._server.setblocking(False)
        return f"{place}#{self._token}"

    def offer(self, chunk: Chunk) -> None:
        """Offer `chunk` to every reader; never blocks, never raises because of a reader."""
        if self._server is None:
            return
        if self._clients:
            has_news = len(chunk.data) or chunk.events or chunk.flags
            body = self._body(chunk) if has_news and self.n_readers else None
            for client in tuple(self._clients):
                if body is not None and client.is_greeted:
                    client.put(body, self.capacity_chunks)
                self._serve_one(client)
            if KEEPS_ORDER and self._ring is not None and isinstance(body, tuple):
                self._ring.fill(chunk, dtype_of(chunk))  # while the readers wake up
        now_s = time.monotonic()
        if now_s - self._accepted_s > _ACCEPT_EVERY_S:  # after the chunk is on its way: it takes a call of the system
            self._accepted_s = now_s
            self._accept()

    def tell_contacts(self, kohm: Mapping[str, float]) -> None:
        """Tell every reader, also those that come later, the contacts that were measured, kOhm by channel.

        It goes with the next `offer`; chunks are no larger for it.
        """
        self._beside = pack({"contact_kohm": plain(kohm)})
        for client in self._clients:
            client.beside = self._beside if client.is_greeted else b""

    def close(self) -> None:
        """Let all readers go and stop to listen; any number of times."""
        for client in list(self._clients):
            self._forget(client)
        if self._server is not None:
            self._server.close()
            self._server = None
        if self._folder is not None:
            with contextlib.suppress(OSError):
                os.unlink(os.path.join(self._folder, "tap"))
            with contextlib.suppress(OSError):
                os.rmdir(self._folder)
            self._folder = None
        if self._ring is not None:
            self._ring.close()
            self._ring = None

    @property
    def n_readers(self) -> int:
        """Number of readers that are connected."""
        return sum([c.is_greeted for c in self._clients])

    @property
    def dropped(self) -> int:
        """Number of chunks dropped, over all readers so far."""
        return self._dropped_by_gone + sum(c.dropped + c.missed for c in self._clients)

    def _body(self, chunk: Chunk) -> Place | bytes:
        """Promise `chunk` a place in the ring and return what to say of it; the whole of it where there is none."""
        if self._ring is not None:
            dtype = dtype_of(chunk)
            at = self._ring.promise(chunk, dtype)
            if at is not None:
                if not KEEPS_ORDER:
                    self._ring.fill(chunk, dtype)
                return place_of(chunk, at, dtype)
        return pack_chunk(chunk)

    def _accept(self) -> None:
        while self._server is not None:
            try:
                sock, _ = self._server.accept()
            except (BlockingIOError, InterruptedError):
                return
            except OSError as error:
                log.warning("a reader could not be let in: %s", error)
                return
            sock.setblocking(False)
            with contextlib.suppress(OSError):
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 20)
            client = _Client(sock, time.monotonic())
            self._clients.append(client)
            self._serve_one(client)

    def _serve_one(self, client: _Client) -> None:
        try:
            if not client.is_greeted and not self._greet(client):
                return
            self._flush(client)
        except (BlockingIOError, InterruptedError):
            return
        except OSError as error:
            log.info("a reader of the tap is gone: %s", error)
            self._forget(client)

    def _greet(self, client: _Client) -> bool:
        """Read the reader's token; the stream's description is the answer."""
        try:
            got = client.sock.recv(2 * TOKEN_BYTES - len(client.token))
        except (BlockingIOError, InterruptedError):
            if time.monotonic() - client.since_s > _HELLO_TIMEOUT_S:
                self._forget(client)
            return False
        if not got:
            raise ConnectionResetError("it left without a word")
        client.token += got
        if len(client.token) < 2 * TOKEN_BYTES:
            return False
        if not secrets.compare_digest(client.token, self._token.encode()):
            log.warning("a reader with a wrong token was refused")
            self._forget(client)
            return False
        client.is_greeted, client.beside = True, self._beside
        if self._ring is not None:
            # The memory itself goes with the first bytes, of which a fresh socket takes some.
            n = socket.send_fds(client.sock, [self._hello], [self._ring.fd])
            client.sending = memoryview(self._hello)[n:]
        else:
            client.sending = memoryview(self._hello)
        return True

    def _flush(self, client: _Client) -> None:
        """Send what the socket takes and the reader can hold; raises BlockingIOError when it takes no more."""
        if client.sent - client.taken >= self._ahead // 2:
            with contextlib.suppress(BlockingIOError):
                client.hear()
        while client.sending or client.beside or client.queue:
            if not client.sending and client.beside:
                client.sending, client.beside = memoryview(client.beside), b""
            elif not client.sending:
                if client.sent - client.taken >= self._ahead:
                    return
                whole = self._next(client)
                try:
                    n = client.sock.send(whole)
                except (BlockingIOError, InterruptedError):
                    n = 0
                if n == len(whole):
                    continue
                client.sending = memoryview(whole)[n:]
            client.sending = client.sending[client.sock.send(client.sending) :]

    def _next(self, client: _Client) -> bytes:
        """Return the next message for a reader."""
        body, now_s = client.queue.popleft(), time.monotonic()
        if isinstance(body, bytes):
            return pack({"sent_s": now_s, "dropped": client.dropped}) + body
        client.sent += 1
        return pack_place(body, now_s, client.dropped)

    def _forget(self, client: _Client) -> None:
        self._dropped_by_gone += client.dropped + client.missed
        self._clients.remove(client)
        client.sock.close()
