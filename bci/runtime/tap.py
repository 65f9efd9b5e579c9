"""A bounded tap: lets other processes watch a session's samples, drops rather than blocks.

The session calls `Tap.offer` in its loop. There is no thread and no lock: one call costs a
non-blocking ``accept`` and, per reader, a non-blocking ``send``. A reader that is slow, frozen or
dead loses chunks and is told how many; the session never waits for it.

A message is a fixed head, a JSON text and raw arrays; nothing is unpickled, so a stranger on the
socket can at worst show a wrong picture.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import secrets
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
from bci.signal.contact import contacts_of, from_plain, of_channels, plain
from bci.stream import Channel, Chunk, Event, Flag, Kind, StreamInfo

log = logging.getLogger(__name__)

_MAGIC = b"BCIT"
_HEAD = struct.Struct("<4sIQ")  # magic, bytes of JSON, bytes of arrays
_TOKEN_BYTES = 16
_MOST_BYTES = 1 << 28  # a length beyond this is not ours: refuse before allocating
_HELLO_TIMEOUT_S = 5.0


@dataclass(eq=False)
class _Client:
    """One reader as the session sees it."""

    sock: socket.socket
    since_s: float
    queue: deque[bytes] = field(default_factory=deque)
    sending: memoryview = field(default_factory=lambda: memoryview(b""))
    token: bytes = b""
    dropped: int = 0
    beside: bytes = b""
    """What is to be told beside the chunks; never dropped, since only the newest counts."""

    @property
    def is_greeted(self) -> bool:
        return len(self.token) == 2 * _TOKEN_BYTES


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
        self._server: socket.socket | None = None
        self._folder: str | None = None
        self._token = ""
        self._hello = b""
        self._beside = b""
        self._clients: list[_Client] = []
        self._dropped_by_gone = 0

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
        self._hello = _pack({"info": info_to_dict(info)})
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
        self._accept()
        ready = [c for c in self._clients if c.is_greeted]
        if ready and (chunk.n_samples or chunk.events or chunk.flags):
            body = _pack_chunk(chunk)
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
        self._beside = _pack({"contact_kohm": plain(kohm)})
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

    @property
    def n_readers(self) -> int:
        """Number of readers that are connected."""
        return sum(c.is_greeted for c in self._clients)

    @property
    def dropped(self) -> int:
        """Number of chunks dropped, over all readers so far."""
        return self._dropped_by_gone + sum(c.dropped for c in self._clients)

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
        client.sending, client.beside = memoryview(self._hello), self._beside
        return True

    def _flush(self, client: _Client) -> None:
        """Send what the socket takes; raises BlockingIOError when it takes no more."""
        while client.sending or client.beside or client.queue:
            if not client.sending and client.beside:
                client.sending, client.beside = memoryview(client.beside), b""
            elif not client.sending:
                now = {"sent_s": time.monotonic(), "dropped": client.dropped}
                client.sending = memoryview(_pack(now) + client.queue.popleft())
            client.sending = client.sending[client.sock.send(client.sending) :]

    def _forget(self, client: _Client) -> None:
        self._dropped_by_gone += client.dropped
        self._clients.remove(client)
        client.sock.close()


class TapReader:
    """The other end; `connect` makes it.

    Attributes
    ----------
    info : StreamInfo
        The stream that is watched.
    dropped : int
        Chunks the tap dropped because this reader was slow.
    delay_s : float
        Time the newest message spent between the two processes, s.
    at_end : bool
        True once the session has closed the tap and everything was read.
    contact_kohm : mapping of str to float
        The contacts that were told last, kOhm by channel; another object once others are told.
    """

    def __init__(self, sock: socket.socket, info: StreamInfo, rest: bytes = b"") -> None:
        self.info = info
        self.dropped = 0
        self.delay_s = 0.0
        self.at_end = False
        self.contact_kohm: Mapping[str, float] = contacts_of(info)
        self._sock = sock
        self._buffer = bytearray(rest)
        self._sock.setblocking(False)

    def read(self) -> list[Chunk]:
        """Return the chunks that have arrived; never blocks.

        Raises
        ------
        DataError
            If what arrives is not from a tap.
        """
        self._receive()
        chunks: list[Chunk] = []
        while (message := _unpack(self._buffer)) is not None:
            text, arrays = message
            if "start" in text:
                chunks.append(_chunk_from(text, arrays, self.info))
            elif "contact_kohm" in text:
                self.contact_kohm = of_channels(from_plain(text["contact_kohm"]), self.info)
            elif "sent_s" in text:
                self.dropped = int(text["dropped"])
                self.delay_s = max(0.0, time.monotonic() - float(text["sent_s"]))
        return chunks

    def close(self) -> None:
        """Disconnect; any number of times."""
        self.at_end = True
        self._sock.close()

    def _receive(self) -> None:
        while not self.at_end:
            try:
                got = self._sock.recv(1 << 20)
            except (BlockingIOError, InterruptedError):
                return
            except OSError as error:
                log.info("the tap is gone: %s", error)
                got = b""
            if not got:
                self.at_end = True
            self._buffer += got


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
    buffer = bytearray()
    deadline = time.monotonic() + timeout_s
    try:
        sock.sendall(token.encode())
        while (message := _unpack(buffer)) is None:
            sock.settimeout(max(1e-3, deadline - time.monotonic()))
            got = sock.recv(1 << 16)
            if not got:
                raise DeviceNotFound(f"the session at {address} refused this reader; use the address of a running one")
            buffer += got
        return TapReader(sock, info_from_dict(message[0]["info"]), bytes(buffer))
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


def info_to_dict(info: StreamInfo) -> dict[str, Any]:
    """Return `info` as what JSON can hold."""
    channels = [[c.name, c.kind.value, c.unit, c.position, c.scale] for c in info.channels]
    return {
        "name": info.name,
        "sfreq": info.sfreq,
        "channels": channels,
        "source_id": info.source_id,
        "meta": dict(info.meta),
    }


def info_from_dict(text: dict[str, Any]) -> StreamInfo:
    """Return the description that `info_to_dict` has written."""
    channels = tuple(Channel(n, Kind(k), u, tuple(p) if p else None, s) for n, k, u, p, s in text["channels"])
    return StreamInfo(text["name"], float(text["sfreq"]), channels, text["source_id"], text["meta"])


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


def _pack(text: dict[str, Any], arrays: bytes = b"") -> bytes:
    words = json.dumps(text, separators=(",", ":")).encode()
    return _HEAD.pack(_MAGIC, len(words), len(arrays)) + words + arrays


def _pack_chunk(chunk: Chunk) -> bytes:
    data = chunk.data if chunk.data.dtype.kind in "iuf" else chunk.data.astype(np.float64)
    dtype = data.dtype.newbyteorder("<")
    text = {
        "start": chunk.start,
        "n": chunk.n_samples,
        "dtype": dtype.str,
        "flags": int(chunk.flags),
        "events": [[e.sample, e.time, e.code, e.source] for e in chunk.events],
    }
    times = np.ascontiguousarray(chunk.times, dtype="<f8")
    return _pack(text, times.tobytes() + data.astype(dtype, copy=False).tobytes())


def _unpack(buffer: bytearray) -> tuple[dict[str, Any], bytes] | None:
    """Take the first whole message off `buffer`; None if there is none yet."""
    if len(buffer) < _HEAD.size:
        return None
    magic, n_words, n_arrays = _HEAD.unpack_from(buffer)
    if magic != _MAGIC or n_words > _MOST_BYTES or n_arrays > _MOST_BYTES:
        raise DataError(f"a message of a tap begins with {_MAGIC!r}, got {bytes(magic)!r}; connect again")
    end = _HEAD.size + n_words + n_arrays
    if len(buffer) < end:
        return None
    text = json.loads(buffer[_HEAD.size : _HEAD.size + n_words])
    arrays = bytes(memoryview(buffer)[_HEAD.size + n_words : end])
    del buffer[:end]
    return text, arrays


def _chunk_from(text: dict[str, Any], arrays: bytes, info: StreamInfo) -> Chunk:
    n = int(text["n"])
    times = np.frombuffer(arrays, "<f8", n)
    data = np.frombuffer(arrays, text["dtype"], offset=8 * n).reshape(n, info.n_channels)
    events = tuple(Event(s, t, c, o) for s, t, c, o in text["events"])
    return Chunk(data, times, int(text["start"]), info, events, Flag(text["flags"]))
