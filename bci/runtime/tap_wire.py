"""What a tap and its readers say to one another: a fixed head, a JSON text and raw arrays.

Of a chunk that lies in memory both map, only the place is said, without JSON unless it has events.
Nothing is unpickled, so a stranger on the socket can at worst show a wrong picture.
"""

from __future__ import annotations

import functools
import json
import struct
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bci.errors import DataError
from bci.stream import Channel, Chunk, Event, Flag, Kind, StreamInfo

TOKEN_BYTES = 16
"""Length of the secret that a reader has to know; it is sent as twice as many digits."""
TAKEN = struct.Struct("<QQ")
"""What a reader says: chunks that it took so far, and of these the ones that were gone."""
_MAGIC = b"BCIT"
_HEAD = struct.Struct("<4sIQ")  # magic, bytes of JSON, bytes of arrays
PLACE_MAGIC = b"BCIR"
_PLACE = struct.Struct("<4sIQqIIdQ4s")  # magic, bytes of JSON, place, start, samples, flags, sent (s), dropped, type
Place = tuple[int, int, int, int, bytes, bytes]
"""Where in the memory that both map a chunk lies, its start, samples, flags, type, and events as JSON, if any."""
_MOST_BYTES = 1 << 28  # a length beyond this is not ours: refuse before allocating


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


def pack(text: dict[str, Any], arrays: bytes = b"") -> bytes:
    """Return one message."""
    words = json.dumps(text, separators=(",", ":")).encode()
    return _HEAD.pack(_MAGIC, len(words), len(arrays)) + words + arrays


def dtype_of(chunk: Chunk) -> np.dtype[Any]:
    """Return the type that the samples of `chunk` travel as."""
    return _travels(chunk.data.dtype)


@functools.cache
def _travels(dtype: np.dtype[Any]) -> np.dtype[Any]:
    return (dtype if dtype.kind in "iuf" else np.dtype(np.float64)).newbyteorder("<")


@functools.cache
def _code(dtype: np.dtype[Any]) -> bytes:
    return dtype.str.encode()


def dtype_from(code: bytes) -> np.dtype[Any]:
    """Return the type that a place names, or raise `DataError` if it is none of numbers."""
    dtype = np.dtype(code.rstrip(b"\0").decode("ascii", "replace"))
    if dtype.kind not in "iuf":
        raise DataError(f"the samples of a tap are numbers, got {dtype}; connect again")
    return dtype


def _listed(events: tuple[Event, ...]) -> list[list[Any]]:
    return [[e.sample, e.time, e.code, e.source] for e in events]


def text_of(chunk: Chunk, dtype: np.dtype[Any]) -> dict[str, Any]:
    """Return what is said of `chunk` beside its arrays."""
    return {
        "start": chunk.start,
        "n": chunk.n_samples,
        "dtype": dtype.str,
        "flags": int(chunk.flags),
        "events": _listed(chunk.events),
    }


def pack_chunk(chunk: Chunk) -> bytes:
    """Return one message with all of `chunk`."""
    dtype = dtype_of(chunk)
    times = np.ascontiguousarray(chunk.times, dtype="<f8")
    return pack(text_of(chunk, dtype), times.tobytes() + chunk.data.astype(dtype, copy=False).tobytes())


def place_of(chunk: Chunk, at: int, dtype: np.dtype[Any]) -> Place:
    """Return what is said of `chunk`, which lies at `at`."""
    words = json.dumps(_listed(chunk.events), separators=(",", ":")).encode() if chunk.events else b""
    return at, chunk.start, len(chunk.data), chunk.flags, _code(dtype), words


def pack_place(place: Place, sent_s: float, dropped: int) -> bytes:
    """Return one message that says where a chunk lies."""
    at, start, n, flags, code, words = place
    head = _PLACE.pack(PLACE_MAGIC, len(words), at, start, n, flags, sent_s, dropped, code)
    return head + words if words else head


def unpack(buffer: bytearray) -> tuple[dict[str, Any], bytes] | None:
    """Take a message other than a place off `buffer`; None if it is not whole yet."""
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


def unpack_place(buffer: bytearray) -> tuple[Place, float, int] | None:
    """Take a place off `buffer`, when it was sent (s) and the chunks dropped; None if it is not whole yet."""
    if len(buffer) < _PLACE.size:
        return None
    _, n_words, at, start, n, flags, sent_s, dropped, code = _PLACE.unpack_from(buffer)
    end = _PLACE.size + n_words
    if n_words > _MOST_BYTES:
        raise DataError(f"the events of a chunk fit into {_MOST_BYTES} bytes, got {n_words}; connect again")
    if len(buffer) < end:
        return None
    words = bytes(buffer[_PLACE.size : end]) if n_words else b""
    del buffer[:end]
    return (at, start, n, flags, code, words), sent_s, dropped


def arrays_of(text: dict[str, Any], arrays: bytes, info: StreamInfo) -> tuple[NDArray[Any], NDArray[np.float64]]:
    """Return samples and times of a message that holds them."""
    n = int(text["n"])
    times = np.frombuffer(arrays, "<f8", n)
    return np.frombuffer(arrays, text["dtype"], offset=8 * n).reshape(n, info.n_channels), times


def chunk_of(text: dict[str, Any], data: NDArray[Any], times: NDArray[np.float64], info: StreamInfo) -> Chunk:
    """Return the chunk that `text_of` has described."""
    return Chunk(data, times, int(text["start"]), info, _events(text["events"]), Flag(text["flags"]))


def events_from(words: bytes) -> tuple[Event, ...]:
    """Return the events that a place carries."""
    return _events(json.loads(words)) if words else ()


def _events(listed: list[list[Any]]) -> tuple[Event, ...]:
    return tuple(Event(s, t, c, o) for s, t, c, o in listed)
