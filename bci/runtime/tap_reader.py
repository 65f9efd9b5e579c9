"""A reader of a session's tap, in another process: it sleeps until a chunk comes and takes a copy of it."""

from __future__ import annotations

import contextlib
import logging
import os
import select
import socket
import struct
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bci.errors import ConfigError, DataError, DeviceNotFound, DeviceTimeout
from bci.runtime.tap_ring import IS_POSSIBLE, RingReader
from bci.runtime.tap_wire import (
    PLACE_MAGIC,
    TAKEN,
    TOKEN_BYTES,
    Place,
    arrays_of,
    chunk_of,
    events_from,
    info_from_dict,
    unpack,
    unpack_place,
)
from bci.signal.contact import contacts_of, from_plain, of_channels
from bci.stream import Chunk, Flag, StreamInfo, whole_chunk

log = logging.getLogger(__name__)

_TIMEVAL = struct.Struct("@ll")
_DONT_WAIT = getattr(socket, "MSG_DONTWAIT", 0)


class TapReader:
    """The other end; `connect` makes it.

    Attributes
    ----------
    info : StreamInfo
        The stream that is watched.
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
        self._size = 1 << 12 if ring else 1 << 20
        self._sleeps_s = float("nan")
        self._has_received = False
        # With memory that both map, a wait is one call of the system: it sleeps until something comes and takes it.
        self._sock.setblocking(ring is not None)

    @property
    def dropped(self) -> int:
        """Chunks this reader did not get because it was slow."""
        return self._dropped + self._missed

    def fileno(self) -> int:
        """What `select` waits on."""
        return self._sock.fileno()

    def wait(self, timeout_s: float) -> bool:
        """Wait for the next chunk or the end, asleep, up to `timeout_s`; return whether there is something to read."""
        if self.at_end or self._has_received:
            return True
        if self._ring is not None:
            return self._sleep(timeout_s)
        if hasattr(select, "poll"):
            poll = select.poll()
            poll.register(self._sock, select.POLLIN)
            return bool(poll.poll(1e3 * timeout_s))
        return bool(select.select([self._sock], [], [], timeout_s)[0])

    def read(self) -> list[Chunk]:
        """Return the chunks that have arrived; waits for none, but up to 0.1 s for a session to finish writing one.

        Raises
        ------
        DataError
            If what arrives is not from a tap.
        """
        if self._has_received:
            self._has_received = False
        else:
            self._receive()
        chunks: list[Chunk] = []
        while self._buffer:
            if self._buffer.startswith(PLACE_MAGIC):
                placed = unpack_place(self._buffer)
                if placed is None:
                    break
                chunk = self._take(*placed)
            else:
                message = unpack(self._buffer)
                if message is None:
                    break
                chunk = self._hear(*message)
            if chunk is not None:
                chunks.append(chunk)
        if self._taken - self._said >= self._say_every and not self.at_end:
            with contextlib.suppress(OSError):  # it may be gone; and what is said later says this as well
                self._sock.send(TAKEN.pack(self._taken, self._missed), _DONT_WAIT)
            self._said = self._taken
        return chunks

    def close(self) -> None:
        """Disconnect; any number of times."""
        self.at_end = True
        self._sock.close()
        if self._ring is not None:
            self._ring.close()

    def _take(self, place: Place, sent_s: float, dropped: int) -> Chunk | None:
        """Copy a chunk out of the ring; None if it is gone."""
        if self._ring is None:
            raise DataError("a tap says where in its memory a chunk lies, got none from it; connect again")
        at, start, n, flags, code, words = place
        found = self._ring.take(at, n, code)
        self._taken += 1
        self._dropped = dropped
        self.delay_s = max(0.0, time.monotonic() - sent_s)
        if found is None:
            self._missed += 1
            return None
        data, times = found
        events = events_from(words) if words else ()
        return whole_chunk(data, times, start, self.info, events, Flag(flags) if flags else Flag.OK)

    def _hear(self, text: dict[str, Any], arrays: bytes) -> Chunk | None:
        """Take in a message other than a place; return the chunk that it holds, if any."""
        if "sent_s" in text:
            self._dropped = int(text["dropped"])
            self.delay_s = max(0.0, time.monotonic() - float(text["sent_s"]))
        if "contact_kohm" in text:
            self.contact_kohm = of_channels(from_plain(text["contact_kohm"]), self.info)
        return chunk_of(text, *arrays_of(text, arrays, self.info), self.info) if "start" in text else None

    def _sleep(self, timeout_s: float) -> bool:
        """Wait for something to come and receive it; return whether there is anything."""
        if timeout_s <= 0:
            self._has_received = self._receive()
            return self._has_received
        if timeout_s != self._sleeps_s:
            whole_s, part_us = divmod(max(1, round(1e6 * min(timeout_s, 1e9))), 1_000_000)
            self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, _TIMEVAL.pack(whole_s, part_us))
            self._sleeps_s = timeout_s
        self._has_received = self._receive(0)
        return self._has_received

    def _receive(self, how: int = _DONT_WAIT) -> bool:
        """Take in what has come; return whether it was anything, be it the end."""
        size, before = self._size, len(self._buffer)
        while not self.at_end:
            try:
                got = self._sock.recv(size, how)
            except (BlockingIOError, InterruptedError):
                break
            except OSError as error:
                log.info("the tap is gone: %s", error)
                got = b""
            if not got:
                self.at_end = True
            self._buffer += got
            if len(got) < size:
                break  # that was all; the next call sees whether it was the end
            how = _DONT_WAIT
        return self.at_end or len(self._buffer) > before


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
        hello = message[0]
        info = info_from_dict(hello["info"])
        ring = RingReader(handles.pop(0), info.n_channels) if handles else None
        return TapReader(sock, info, bytes(buffer), ring, int(hello["every"]))
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
    if len(token) != 2 * TOKEN_BYTES or not where or scheme not in ("unix", "tcp"):
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
