"""Write XDF files so that being killed at any moment loses nothing that was accepted."""

from __future__ import annotations

import logging
import os
import re
import struct
import threading
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Self
from xml.etree.ElementTree import Element, SubElement, tostring

import numpy as np
from numpy.typing import NDArray

from bci.errors import ConfigError, DataError, RecordingError
from bci.stream import StreamInfo

_log = logging.getLogger(__name__)

FILE_HEADER, STREAM_HEADER, SAMPLES, CLOCK_OFFSET, BOUNDARY, STREAM_FOOTER = range(1, 7)
"""Tags of the chunks."""

# XDF 1.0, "Boundary Chunk": a fixed UUID by which a reader finds its place again in a damaged file.
_BOUNDARY = bytes.fromhex("43a546dccbf5410fb30ed5467383cbe4")

_FORMATS = {"f4": "float32", "f8": "double64", "i1": "int8", "i2": "int16", "i4": "int32", "i8": "int64"}
# XDF has no unsigned numbers: the next larger signed type holds them all.
_WIDER = {"b1": "i1", "u1": "i2", "u2": "i4", "u4": "i8", "f2": "f4"}

# XML 1.0, production [2] "Char": everything else may not stand in a document, not even escaped.
_NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


class XdfWriter:
    """A file in the Extensible Data Format (XDF 1.0), one write to the system per chunk.

    Parameters
    ----------
    path : path
        File to create, ending in ``.xdf``; an existing one is never touched.
    header : mapping of str to str
        Elements for the file header, beside version and date (UTC).
    sync_s : float, default=1
        How often the system is told to bring the file to the disk, s.

    Raises
    ------
    ConfigError
        If the file exists or cannot be created there.

    Notes
    -----
    Nothing is buffered here: when a method returns, the chunk belongs to the operating
    system, and neither an exception nor ``kill -9`` can take it back. A power cut can take
    the last `sync_s`. A thread does the syncing, since it may take tens of milliseconds,
    which a running loop has not.

    If a write fails (the disk is full), the file is cut back to its last whole chunk and
    `RecordingError` is raised: what was accepted stays readable, what was not is not hidden.

    References
    ----------
    .. [1] C. Kothe et al. Extensible Data Format, specification 1.0,
       https://github.com/sccn/xdf/wiki/Specifications
    """

    def __init__(self, path: str | os.PathLike[str], header: Mapping[str, str] | None = None, sync_s: float = 1.0):
        self.path = Path(path)
        self._fd = _create(self.path)
        self._length = 0
        self._streams: dict[int, _Stream] = {}
        self._sync_error: OSError | None = None
        self._closing = threading.Event()
        self._sync_s = sync_s
        try:
            info = Element("info")
            SubElement(info, "version").text = "1.0"
            SubElement(info, "datetime").text = datetime.now(UTC).isoformat(timespec="seconds")
            for name, text in (header or {}).items():
                SubElement(info, name).text = clean(text)
            # The magic word and the header in one write: either there is a file that opens, or an empty one.
            self._write(b"XDF:" + _frame(FILE_HEADER, _xml(info)))
        except BaseException:
            os.close(self._fd)
            raise
        self._syncer = threading.Thread(target=self._sync_often, name=f"sync {self.path.name}", daemon=True)
        self._syncer.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def add_numeric(self, info: StreamInfo, dtype: np.dtype[Any], kind: str = "") -> int:
        """Begin a stream of numbers; return its id.

        Parameters
        ----------
        info : StreamInfo
            What is recorded; everything it says goes into the header.
        dtype : dtype
            Type of the samples; kept as it is where XDF has it, else the next wider one.
        kind : str, optional
            Content type in XDF's words; the kind of the first channel in capitals by default.
        """
        stored = _stored(dtype)
        root = _description(info.name, kind or info.channels[0].kind.value.upper(), info.n_channels)
        SubElement(root, "nominal_srate").text = repr(float(info.sfreq))
        SubElement(root, "channel_format").text = _FORMATS[stored.str[1:]]
        SubElement(root, "source_id").text = clean(info.source_id)
        desc = SubElement(root, "desc")
        channels = SubElement(desc, "channels")
        for channel in info.channels:
            entry = SubElement(channels, "channel")
            SubElement(entry, "label").text = clean(channel.name)
            SubElement(entry, "unit").text = "microvolts" if channel.unit == "uV" else clean(channel.unit)
            SubElement(entry, "type").text = channel.kind.value.upper()
            if channel.scale != 1.0:  # the convention has no word for it: ours, with a name that says what it does
                SubElement(entry, "scale_to_unit").text = repr(channel.scale)
            if channel.position is not None:
                # The channel meta-data convention of XDF gives locations in millimetres.
                in_mm, in_m = SubElement(entry, "location"), SubElement(entry, "position_m")
                for axis, metres in zip("XYZ", channel.position, strict=True):
                    SubElement(in_mm, axis).text = f"{1e3 * metres:.3f}"
                    SubElement(in_m, axis).text = repr(float(metres))  # to the bit, for our own replay
        meta = SubElement(desc, "meta")
        for key, value in info.meta.items():
            SubElement(meta, "entry", {"key": clean(key)}).text = clean(value)
        packed = np.dtype([("size", "u1"), ("time", "<f8"), ("row", stored, (info.n_channels,))])
        return self._begin(root, _Stream(info.name, packed))

    def add_text(self, name: str, kind: str = "Text", source_id: str = "") -> int:
        """Begin a stream of one text per instant; return its id."""
        root = _description(name, kind, 1)
        SubElement(root, "nominal_srate").text = "0"
        SubElement(root, "channel_format").text = "string"
        SubElement(root, "source_id").text = clean(source_id)
        SubElement(root, "desc")
        return self._begin(root, _Stream(name, None))

    def write(self, stream_id: int, data: NDArray[Any], times: NDArray[np.float64]) -> None:
        """Append samples, shape (n_samples, n_channels), with the time of each, shape (n_samples,), s."""
        stream = self._streams[stream_id]
        if stream.packed is None:
            raise DataError(f"stream {stream.name!r} holds texts, got an array; use write_text()")
        rows = np.empty(len(data), stream.packed)
        stored = rows["row"].dtype
        if rows["row"].shape != data.shape or not np.can_cast(data.dtype, stored, "safe"):
            raise DataError(
                f"stream {stream.name!r} was begun with {rows['row'].shape[1]} channels of {stored}, got "
                f"{data.shape} of {data.dtype}; record what has changed as a new stream"
            )
        if not len(data):
            return
        rows["size"], rows["time"], rows["row"] = 8, times, data
        self._samples(stream_id, len(rows), rows.tobytes())
        stream.count(float(times[0]), float(times[-1]), len(rows))

    def write_text(self, stream_id: int, entries: Sequence[tuple[float, str]]) -> None:
        """Append texts, each with its time in s."""
        stream = self._streams[stream_id]
        if stream.packed is not None:
            raise DataError(f"stream {stream.name!r} holds numbers, got texts; use write()")
        if not entries:
            return
        parts = []
        for time_s, text in entries:
            encoded = text.encode("utf-8", "backslashreplace")
            parts += [b"\x08", struct.pack("<d", time_s), _varlen(len(encoded)), encoded]
        self._samples(stream_id, len(entries), b"".join(parts))
        stream.count(entries[0][0], entries[-1][0], len(entries))

    def mark_time(self, time_s: float) -> None:
        """Write a boundary and, for each stream, that its clock is the file's own at `time_s`."""
        for number in self._streams:
            self._write(_frame(CLOCK_OFFSET, struct.pack("<Idd", number, time_s, 0.0)))
        self._write(_frame(BOUNDARY, _BOUNDARY))

    def close(self) -> None:
        """Write the footers and release the file; any number of times, never raises."""
        if self._closing.is_set():
            return
        self._closing.set()
        self._syncer.join()
        try:
            for number, stream in self._streams.items():
                self._write(_frame(STREAM_FOOTER, struct.pack("<I", number) + _xml(stream.footer())))
            os.fsync(self._fd)
        except (RecordingError, OSError) as error:  # the file opens without footers too
            _log.error("the recording %s is whole but was not finished: %s", self.path.name, error)
        finally:
            os.close(self._fd)

    # -------------------------------------------------------------- private
    def _begin(self, root: Element, stream: _Stream) -> int:
        number = len(self._streams) + 1
        self._write(_frame(STREAM_HEADER, struct.pack("<I", number) + _xml(root)))
        self._streams[number] = stream
        return number

    def _samples(self, stream_id: int, n: int, content: bytes) -> None:
        self._write(_frame(SAMPLES, struct.pack("<I", stream_id) + _varlen(n) + content))

    def _write(self, frame: bytes) -> None:
        error = self._sync_error
        if error is None:
            try:
                written = os.write(self._fd, frame)
            except OSError as failed:
                written, error = 0, failed
            if written == len(frame):
                self._length += written
                return
            # A half chunk would hide everything that is written after it.
            os.ftruncate(self._fd, self._length)
        reason = error.strerror if error else "the disk took only a part of it (it is full)"
        raise RecordingError(
            f"the recording {self.path.name} was to grow by {len(frame)} bytes, but: {reason}; "
            f"all {self._length} bytes before are kept; free space or record to another disk"
        ) from error

    def _sync_often(self) -> None:
        while not self._closing.wait(self._sync_s):
            try:
                os.fsync(self._fd)
            except OSError as error:
                self._sync_error = error
                _log.error("the recording %s does not reach the disk: %s", self.path.name, error)
                return


class _Stream:
    """What is known of a stream while it grows."""

    def __init__(self, name: str, packed: np.dtype[Any] | None) -> None:
        self.name, self.packed = name, packed
        self.first_s: float | None = None
        self.last_s = 0.0
        self.n = 0

    def count(self, first_s: float, last_s: float, n: int) -> None:
        self.first_s = first_s if self.first_s is None else self.first_s
        self.last_s = last_s
        self.n += n

    def footer(self) -> Element:
        info = Element("info")
        if self.first_s is not None:
            SubElement(info, "first_timestamp").text = repr(self.first_s)
            SubElement(info, "last_timestamp").text = repr(self.last_s)
        SubElement(info, "sample_count").text = str(self.n)
        return info


def clean(text: str) -> str:
    """Return `text` with what XML 1.0 cannot hold (control characters, lone surrogates) replaced by U+FFFD."""
    return _NOT_XML.sub("\ufffd", text)


def _create(path: Path) -> int:
    if path.suffix.lower() != ".xdf":
        raise ConfigError(f"a recording is a file that ends in .xdf, got {path.name!r}; name it {path.stem}.xdf")
    try:
        # O_EXCL: a recording is never overwritten. O_APPEND: nothing can write into its middle.
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | getattr(os, "O_BINARY", 0)
        return os.open(path, flags | getattr(os, "O_CLOEXEC", 0), 0o644)
    except FileExistsError:
        raise ConfigError(
            f"a recording needs a new file; {path} exists and is kept; choose another name or move it away"
        ) from None
    except OSError as error:
        raise ConfigError(f"a recording was to begin at {path}; {error.strerror}; create its folder first") from error


def _stored(dtype: np.dtype[Any]) -> np.dtype[Any]:
    code = np.dtype(dtype).str[1:]
    code = _WIDER.get(code, code)
    if code not in _FORMATS:
        raise DataError(
            f"XDF holds {', '.join(_FORMATS.values())} and texts; got samples of type {dtype}; convert them to float64"
        )
    return np.dtype("<" + code)


def _description(name: str, kind: str, n_channels: int) -> Element:
    root = Element("info")
    for key, text in (("name", name), ("type", kind), ("channel_count", str(n_channels))):
        SubElement(root, key).text = clean(text)
    return root


def _xml(root: Element) -> bytes:
    body: bytes = tostring(root, encoding="utf-8")
    return b'<?xml version="1.0"?>' + body


def _varlen(value: int) -> bytes:
    """Return `value` as XDF writes lengths: the number of bytes that follow (1, 4 or 8), then those bytes."""
    if value < 1 << 8:
        return struct.pack("<BB", 1, value)
    return struct.pack("<BI", 4, value) if value < 1 << 32 else struct.pack("<BQ", 8, value)


def _frame(tag: int, content: bytes) -> bytes:
    return _varlen(len(content) + 2) + struct.pack("<H", tag) + content
