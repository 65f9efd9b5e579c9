"""A bounded tap: lets other processes watch a session's samples, drops rather than blocks.

The session calls `Tap.offer` in its loop. There is no thread and no lock: one call costs a
non-blocking ``accept`` and, per reader, a non-blocking ``send``. A reader that is slow, frozen or
dead loses chunks and is told how many; the session never waits for it.

Where the system can (Linux), the samples themselves lie in memory that both map (`bci.runtime.tap_ring`),
and the socket only says where; elsewhere they go through the socket. See `bci.runtime.tap_wire`.
"""

from __future__ import annotations

import contextlib
import logging
import os
import secrets
import select
import socket
import struct
import tempfile
import time
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from bci.errors import ConfigError, DataError, DeviceNotFound, DeviceTimeout
from bci.runtime.tap_ring import IS_POSSIBLE, RingReader, RingWriter
from bci.runtime.tap_wire import (
    arrays_of,
    chunk_of,
    dtype_of,
    info_from_dict,
    info_to_dict,
    pack,
    pack_chunk,
    pack_place,
    text_of,
    unpack,
)
from bci.signal.contact import contacts_of, from_plain, of_channels, plain
from bci.stream import Chunk, StreamInfo

__all__ = ["Tap", "TapReader", "connect", "info_from_dict", "info_to_dict"]

log = logging.getLogger(__name__)

_TOKEN_BYTES = 16
_TAKEN = struct.Struct("<QQ")  # chunks that a reader took so far, and of these the ones that were gone
_HELLO_TIMEOUT_S = 5.0
_ACCEPT_EVERY_S = 0.005


@dataclass(eq=False)
class _Client:
    """One reader as the session sees it."""

    sock: socket.socket
    since_s: float
    queue: deque[tuple[dict[str, Any], int] | bytes] = field(default_factory=deque)
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

    @property
    def is_greeted(self) -> bool:
        return len(self.token) == 2 * _TOKEN_BYTES

    def hear(self) -> None:
        """Take in what the reader says it took; raises BlockingIOError if nothing."""
        got = self.sock.recv(4096)
        if not got:
            raise ConnectionResetError("it left")
        said = self.said + got
        whole = len(said) // _TAKEN.size * _TAKEN.size
        if whole:
            self.taken, self.missed = _TAKEN.unpack_from(said, whole - _TAKEN.size)
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
        self._token = secrets.token_hex(_TOKEN_BYTES)
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
        now_s = time.monotonic()
        if now_s - self._accepted_s > _ACCEPT_EVERY_S:
            self._accepted_s = now_s
            self._accept()
        ready = [c for c in self._clients if c.is_greeted]
        if ready and (chunk.n_samples or chunk.events or chunk.flags):
            body = self._body(chunk)
            for client in ready:
                if len(client.queue) >= self.capacity_chunks:
                    client.queue.popleft()
                    client.dropped += 1
                client.queue.append(body)
        for client in list(self._clients):
            self._serve_one(client)

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
        return sum(c.is_greeted for c in self._clients)

    @property
    def dropped(self) -> int:
        """Number of chunks dropped, over all readers so far."""
        return self._dropped_by_gone + sum(c.dropped + c.missed for c in self._clients)

    def _body(self, chunk: Chunk) -> tuple[dict[str, Any], int] | bytes:
        """Put `chunk` into the ring and return what to say of it; the whole of it where that is not possible."""
        if self._ring is not None:
            dtype = dtype_of(chunk)
            at = self._ring.put(chunk, dtype)
            if at is not None:
                return text_of(chunk, dtype), at
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
            self._clients.append(_Client(sock, time.monotonic()))

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
            got = client.sock.recv(2 * _TOKEN_BYTES - len(client.token))
        except (BlockingIOError, InterruptedError):
            if time.monotonic() - client.since_s > _HELLO_TIMEOUT_S:
                self._forget(client)
            return False
        if not got:
            raise ConnectionResetError("it left without a word")
        client.token += got
        if not client.is_greeted:
            return False
        if not secrets.compare_digest(client.token, self._token.encode()):
            log.warning("a reader with a wrong token was refused")
            self._forget(client)
            return False
        client.beside = self._beside
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
                client.sending = memoryview(self._next(client))
            client.sending = client.sending[client.sock.send(client.sending) :]

    def _next(self, client: _Client) -> bytes:
        """Return the next message for a reader."""
        body, now_s = client.queue.popleft(), time.monotonic()
        if isinstance(body, bytes):
            return pack({"sent_s": now_s, "dropped": client.dropped}) + body
        client.sent += 1
        return pack_place(*body, now_s, client.dropped)

    def _forget(self, client: _Client) -> None:
        self._dropped_by_gone += client.dropped + client.missed
        self._clients.remove(client)
        client.sock.close()


class TapReader:
    """The other end; `connect` makes it.

    Attributes
    ----------
    info : StreamInfo
        The stream that is watched.
    dropped : int
        Chunks this reader did not get because it was slow.
    delay_s : float
        Time the newest message spent between the two processes, s.
    at_end : bool
        True once the session has closed the tap and everything was read.
    contact_kohm : mapping of str to float
        The contacts that were told last, kOhm by channel; another object once others are told.
    """

    def __init__(
        self,
        sock: socket.socket,
        info: StreamInfo,
        rest: bytes = b"",
        ring: RingReader | None = None,
        say_every: int = 1,
    ) -> None:
        self.info = info
        self.delay_s = 0.0
        self.at_end = False
        self.contact_kohm: Mapping[str, float] = contacts_of(info)
        self._sock, self._ring, self._say_every, self._said = sock, ring, say_every, 0
        self._buffer = bytearray(rest)
        self._dropped = self._taken = self._missed = 0
        self._sock.setblocking(False)

    @property
    def dropped(self) -> int:
        """Chunks this reader did not get because it was slow."""
        return self._dropped + self._missed

    def fileno(self) -> int:
        """What `select` waits on."""
        return self._sock.fileno()

    def wait(self, timeout_s: float) -> bool:
        """Wait for the next chunk or the end, asleep, up to `timeout_s`; return whether there is something to read."""
        if self.at_end:
            return True
        if hasattr(select, "poll"):
            poll = select.poll()
            poll.register(self._sock, select.POLLIN)
            return bool(poll.poll(1e3 * timeout_s))
        return bool(select.select([self._sock], [], [], timeout_s)[0])

    def read(self) -> list[Chunk]:
        """Return the chunks that have arrived; never blocks.

        Raises
        ------
        DataError
            If what arrives is not from a tap.
        """
        self._receive()
        chunks: list[Chunk] = []
        while (message := unpack(self._buffer)) is not None:
            text, arrays = message
            if "sent_s" in text:
                self._dropped = int(text["dropped"])
                self.delay_s = max(0.0, time.monotonic() - float(text["sent_s"]))
            if "contact_kohm" in text:
                self.contact_kohm = of_channels(from_plain(text["contact_kohm"]), self.info)
            if "start" in text:
                found = self._take(text) if "at" in text else arrays_of(text, arrays, self.info)
                if found is not None:
                    data, times = found
                    chunks.append(chunk_of(text, data, times, self.info))
        if self._taken - self._said >= self._say_every and not self.at_end:
            with contextlib.suppress(OSError):  # it may be gone; and what is said later says this as well
                self._sock.send(_TAKEN.pack(self._taken, self._missed))
            self._said = self._taken
        return chunks

    def close(self) -> None:
        """Disconnect; any number of times."""
        self.at_end = True
        self._sock.close()
        if self._ring is not None:
            self._ring.close()

    def _take(self, text: dict[str, Any]) -> tuple[Any, Any] | None:
        """Copy a chunk out of the ring; None if it is gone."""
        if self._ring is None:
            raise DataError("a tap says where in its memory a chunk lies, got none from it; connect again")
        found = self._ring.take(int(text["at"]), int(text["n"]), self.info.n_channels, np.dtype(text["dtype"]))
        self._taken += 1
        self._missed += found is None
        return found

    def _receive(self) -> None:
        size = 1 << 12 if self._ring else 1 << 20
        while not self.at_end:
            try:
                got = self._sock.recv(size)
            except (BlockingIOError, InterruptedError):
                return
            except OSError as error:
                log.info("the tap is gone: %s", error)
                got = b""
            if not got:
                self.at_end = True
            self._buffer += got
            if len(got) < size:
                return  # that was all; the next call sees whether it was the end


def connect(address: str, timeout_s: float = 10.0) -> TapReader:
    """Connect to the tap at `address`, as returned by `Tap.serve`.

    Raises
    ------
    ConfigError
        If `address` is not one of a tap.
    DeviceNotFound
        If no session listens there, or it refuses.
    DeviceTimeout
        If it does not answer within `timeout_s`.
    """
    sock, token = _dial(address, timeout_s)
    buffer, handles = bytearray(), list[int]()
    deadline = time.monotonic() + timeout_s
    try:
        sock.sendall(token.encode())
        while (message := unpack(buffer)) is None:
            sock.settimeout(max(1e-3, deadline - time.monotonic()))
            got = _receive(sock, handles)
            if not got:
                raise DeviceNotFound(f"the session at {address} refused this reader; use the address of a running one")
            buffer += got
        ring = RingReader(handles.pop(0)) if handles else None
        hello = message[0]
        return TapReader(sock, info_from_dict(hello["info"]), bytes(buffer), ring, int(hello["every"]))
    except TimeoutError:
        sock.close()
        raise DeviceTimeout(
            f"the session at {address} should answer within {timeout_s:g} s, nothing came; check that it streams"
        ) from None
    except (OSError, KeyError) as error:
        sock.close()
        raise DeviceNotFound(f"no session answers at {address} ({error}); start one and use its address") from error
    except BaseException:
        sock.close()
        raise
    finally:
        for handle in handles:
            os.close(handle)


def _receive(sock: socket.socket, handles: list[int]) -> bytes:
    """Return what has arrived; memory that was handed over with it goes into `handles`."""
    if not IS_POSSIBLE or sock.family != socket.AF_UNIX:
        return sock.recv(1 << 16)
    got, found, _, _ = socket.recv_fds(sock, 1 << 16, 1)
    handles += found
    return got


def _dial(address: str, timeout_s: float) -> tuple[socket.socket, str]:
    place, _, token = address.rpartition("#")
    scheme, _, where = place.partition(":")
    host, _, port = where.rpartition(":")
    wrong = f"a tap's address looks like unix:PATH#TOKEN or tcp:HOST:PORT#TOKEN, got {address!r}; copy it whole"
    if len(token) != 2 * _TOKEN_BYTES or not where or scheme not in ("unix", "tcp"):
        raise ConfigError(wrong)
    if scheme == "tcp" and not (host and port.isdigit()):
        raise ConfigError(wrong)
    sock = socket.socket(socket.AF_UNIX if scheme == "unix" else socket.AF_INET, socket.SOCK_STREAM)
    sock.settimeout(timeout_s)
    try:
        sock.connect(where if scheme == "unix" else (host, int(port)))
    except OSError as error:
        sock.close()
        name = Path(where).parent.name if scheme == "unix" else where
        raise DeviceNotFound(
            f"no session listens at {name} ({error.strerror}); start one and use its address"
        ) from error
    return sock, token
