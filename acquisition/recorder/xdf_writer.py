"""Write XDF files so that being killed at any moment loses nothing that was accepted."""

from __future__ import annotations

import errno
import logging
import os
import struct
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Self
from xml.etree.ElementTree import Element, SubElement

import numpy as np
from numpy.typing import NDArray

from bci.acquisition.recorder.check_file import CheckWriter, Line, check_path
from bci.acquisition.recorder.disk import DiskWatch
from bci.acquisition.recorder.xdf_blocks import (
    BOUNDARY,
    BOUNDARY_MARK,
    CLOCK_OFFSET,
    FILE_HEADER,
    MAGIC,
    SAMPLES,
    STREAM_FOOTER,
    STREAM_HEADER,
    framed,
    head,
    text_content,
    varlen,
)
from bci.acquisition.recorder.xdf_header import clean, signal_header, stored_type, text_header, xml_bytes
from bci.errors import ConfigError, DataError, RecordingError
from bci.stream import StreamInfo

_log = logging.getLogger(__name__)

_ADVICE = "free space, record to another disk, or name a second place with --fallback (in Python fallback=)"
_FULL = (errno.ENOSPC, errno.EDQUOT)


class XdfWriter:
    """A file in the Extensible Data Format (XDF 1.0), one write to the system per block, and its check file.

    Parameters
    ----------
    path : path
        File to create, ending in ``.xdf``; an existing one is never touched.
    header : mapping of str to str
        Elements for the file header, beside version and date (UTC).
    sync_s : float, default=1
        How often the system is told to bring the file to the disk, s.
    check : bool, default=True
        Whether to write the check file (see `check_file`).

    Raises
    ------
    ConfigError
        If the file exists or cannot be created there.
    RecordingError
        If there is no room for it; nothing is left behind.

    Notes
    -----
    Nothing is buffered here: when a method returns, the block belongs to the operating
    system, and neither an exception nor ``kill -9`` can take it back. A power cut can take
    the last `sync_s`. A thread does the syncing, since it may take tens of milliseconds,
    which a running loop has not; it also watches the space on the disk.

    If a write fails (the disk is full), the file is cut back to its last whole block and
    `RecordingError` is raised: what was accepted stays readable, what was not is not hidden.

    References
    ----------
    .. [1] C. Kothe et al. Extensible Data Format, specification 1.0,
       https://github.com/sccn/xdf/wiki/Specifications
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        header: Mapping[str, str] | None = None,
        sync_s: float = 1.0,
        check: bool = True,
    ) -> None:
        self.path = Path(path)
        self._fd = _create(self.path)
        self._check: CheckWriter | None = None
        self._length = 0
        self._streams: dict[int, _Stream] = {}
        self._gathered: list[_Written] | None = None
        self._sync_error: OSError | None = None
        self._closing = threading.Event()
        self._sync_s, self._disk = sync_s, DiskWatch(self.path)
        try:
            if check:
                self._check = _create_check(self.path)
            info = Element("info")
            SubElement(info, "version").text = "1.0"
            SubElement(info, "datetime").text = datetime.now(UTC).isoformat(timespec="seconds")
            for name, text in (header or {}).items():
                SubElement(info, name).text = clean(text)
            # The magic word and the header in one write: either there is a file that opens, or an empty one.
            self._write(_Written(MAGIC + framed(FILE_HEADER, xml_bytes(info)), FILE_HEADER, keep=True))
        except BaseException:
            self._abandon()
            raise
        self._syncer = threading.Thread(target=self._sync_often, name=f"sync {self.path.name}", daemon=True)
        self._syncer.start()

    @property
    def length(self) -> int:
        """Bytes written so far."""
        return self._length

    @property
    def left_s(self) -> float:
        """Time until the disk is full at the measured rate, s; inf while it is not known."""
        return self._disk.left_s

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
        stored = stored_type(dtype)
        root = signal_header(info, stored, kind)
        packed = np.dtype([("size", "u1"), ("time", "<f8"), ("row", stored, (info.n_channels,))])
        return self._begin(root, _Stream(info.name, packed))

    def add_text(self, name: str, kind: str = "Text", source_id: str = "", keep: bool = False) -> int:
        """Begin a stream of one text per instant; return its id.

        With `keep` its texts stand in the check file too, so that a damaged one can be put back.
        """
        root = text_header(name, kind, source_id)
        return self._begin(root, _Stream(name, None, keep))

    def write(self, stream_id: int, data: NDArray[Any], times: NDArray[np.float64]) -> None:
        """Append samples, shape (n_samples, n_channels), with the time of each, shape (n_samples,), s."""
        stream = self._streams[stream_id]
        if stream.packed is None:
            raise DataError(f"stream {stream.name!r} holds texts, got an array; use write_text()")
        stored, shape = stream.packed["row"].subdtype or (stream.packed["row"], (1,))
        if data.shape != (len(times), *shape) or not np.can_cast(data.dtype, stored, "safe"):
            raise DataError(
                f"stream {stream.name!r} was begun with {shape[0]} channels of {stored}, got "
                f"{data.shape} of {data.dtype}; record what has changed as a new stream"
            )
        if len(data):
            block = _sample_block(stream_id, np.ascontiguousarray(data, stored), times, stream.packed.itemsize)
            self._write(_Written(block, SAMPLES, stream_id, len(data), float(times[0]), float(times[-1])))

    def write_text(self, stream_id: int, entries: Sequence[tuple[float, str]]) -> None:
        """Append texts, each with its time in s."""
        stream = self._streams[stream_id]
        if stream.packed is not None:
            raise DataError(f"stream {stream.name!r} holds numbers, got texts; use write()")
        if entries:
            block = framed(SAMPLES, struct.pack("<I", stream_id) + text_content(list(entries)))
            self._write(_Written(block, SAMPLES, stream_id, len(entries), entries[0][0], entries[-1][0], stream.keep))

    @contextmanager
    def together(self) -> Iterator[None]:
        """Write everything that is appended inside with one write to the system: all of it is kept, or nothing."""
        self._gathered = []
        try:
            yield
            gathered, self._gathered = self._gathered, None
            self._write(*gathered)
        finally:
            self._gathered = None

    def mark_time(self, time_s: float, stream_id: int | None = None) -> None:
        """Write a boundary and, for one stream or each, that its clock is the file's own at `time_s`."""
        offsets = [
            _Written(framed(CLOCK_OFFSET, struct.pack("<Idd", number, time_s, 0.0)), CLOCK_OFFSET, number)
            for number in ([stream_id] if stream_id is not None else self._streams)
        ]
        self._write(*offsets, _Written(framed(BOUNDARY, BOUNDARY_MARK), BOUNDARY))

    def mark_boundary(self) -> None:
        """Write a boundary, by which a reader finds its place again behind damage."""
        self._write(_Written(framed(BOUNDARY, BOUNDARY_MARK), BOUNDARY))

    def close(self) -> None:
        """Write the footers and release the file; any number of times, never raises."""
        if self._closing.is_set():
            return
        self._closing.set()
        self._syncer.join()
        try:
            self._finish()
            self._sync()
        except (RecordingError, OSError) as error:  # the file opens without footers too
            _log.error("the recording %s is whole but was not finished: %s", self.path.name, error)
        finally:
            os.close(self._fd)
            if self._check is not None:
                self._check.close()

    # -------------------------------------------------------------- private
    def _abandon(self) -> None:
        """Leave nothing of a file that could not begin."""
        os.close(self._fd)
        self.path.unlink()
        if self._check is not None:
            self._check.close()
            self._check.path.unlink()

    def _finish(self) -> None:
        """Write the footers, and the end of the check file, or neither: they hold nothing that is not known already."""
        before = self._length
        with self.together():
            for number, stream in self._streams.items():
                footer = framed(STREAM_FOOTER, struct.pack("<I", number) + xml_bytes(stream.footer()))
                self._write(_Written(footer, STREAM_FOOTER, number, keep=True))
        if self._check is None:
            return
        if self._check.is_behind:
            os.ftruncate(self._fd, before)
            raise RecordingError(f"its check file {self._check.path.name} has no room; free space before the next one")
        self._check.end(self._length)

    def _begin(self, root: Element, stream: _Stream) -> int:
        number = len(self._streams) + 1
        block = framed(STREAM_HEADER, struct.pack("<I", number) + xml_bytes(root))
        self._write(_Written(block, STREAM_HEADER, number, keep=True))
        self._streams[number] = stream
        return number

    def _write(self, *blocks: _Written) -> None:
        if self._gathered is not None:
            self._gathered += blocks
            return
        self._append([block.data for block in blocks])
        lines = []
        for block in blocks:
            if block.tag == SAMPLES:
                self._streams[block.stream].count(block)
            if self._check is not None:
                lines.append(Line.of(self._length, block.data, block.tag, block.stream, block.samples, block.keep))
            self._length += len(block.data)
        if self._check is not None:
            self._check.add(lines)

    def _append(self, parts: list[Any]) -> None:
        """Write all of `parts`, or cut back to what there was and raise `RecordingError`."""
        size, error = sum(map(len, parts)), self._sync_error
        if error is None:
            try:
                written = _write_once(self._fd, parts)
                if written == size:
                    return
                rest = b"".join(parts)[written:]
                while rest:  # the system says why only with the next write
                    rest = rest[os.write(self._fd, rest) :]
                return
            except OSError as failed:
                error = failed
            # Half a block would hide everything that is written after it.
            os.ftruncate(self._fd, self._length)
        raise RecordingError(
            f"the recording {self.path.name} was to grow by {size} bytes, but: {error.strerror}; all {self._length} "
            f"bytes before are kept; {_ADVICE}"
        ) from error

    def _sync(self) -> None:
        os.fsync(self._fd)
        if self._check is not None:
            self._check.sync()

    def _sync_often(self) -> None:
        while not self._closing.wait(self._sync_s):
            try:
                self._sync()
                self._disk.check(time.monotonic(), self._length)
            except OSError as error:
                self._sync_error = error
                _log.error("the recording %s does not reach the disk: %s", self.path.name, error)
                return


@dataclass(frozen=True, slots=True)
class _Written:
    """A block on its way to the file: its bytes, what it is, and the times of its first and last sample, s."""

    data: Any
    tag: int
    stream: int = 0
    samples: int = 0
    first_s: float = 0.0
    last_s: float = 0.0
    keep: bool = False


class _Stream:
    """What is known of a stream while it grows."""

    def __init__(self, name: str, packed: np.dtype[Any] | None, keep: bool = False) -> None:
        self.name, self.packed, self.keep = name, packed, keep
        self.first_s: float | None = None
        self.last_s = 0.0
        self.n = 0

    def count(self, block: _Written) -> None:
        self.first_s = block.first_s if self.first_s is None else self.first_s
        self.last_s = block.last_s
        self.n += block.samples

    def footer(self) -> Element:
        info = Element("info")
        if self.first_s is not None:
            SubElement(info, "first_timestamp").text = repr(self.first_s)
            SubElement(info, "last_timestamp").text = repr(self.last_s)
        SubElement(info, "sample_count").text = str(self.n)
        return info


def _sample_block(stream_id: int, data: NDArray[Any], times: NDArray[np.float64], itemsize: int) -> memoryview:
    """Return samples as XDF has them; the numbers are moved once, which matters at 60 MB/s."""
    content = struct.pack("<I", stream_id) + varlen(len(data))
    front = head(SAMPLES, len(content) + len(data) * itemsize) + content
    block = np.empty(len(front) + len(data) * itemsize, np.uint8)
    block[: len(front)] = np.frombuffer(front, np.uint8)
    rows = block[len(front) :].reshape(len(data), itemsize)
    rows[:, 0] = 8  # bytes of a time stamp
    rows[:, 1:9] = np.ascontiguousarray(times, "<f8").view(np.uint8).reshape(-1, 8)
    rows[:, 9:] = data.view(np.uint8).reshape(len(data), -1)
    return block.data


def _write_once(fd: int, parts: list[Any]) -> int:
    if len(parts) == 1:
        return os.write(fd, parts[0])
    if hasattr(os, "writev"):
        return os.writev(fd, parts) if parts else 0
    return os.write(fd, b"".join(parts))


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
        if error.errno in _FULL:
            raise RecordingError(f"a recording was to begin at {path}, but: {error.strerror}; {_ADVICE}") from error
        raise ConfigError(f"a recording was to begin at {path}; {error.strerror}; create its folder first") from error


def _create_check(path: Path) -> CheckWriter:
    try:
        return CheckWriter(check_path(path))
    except OSError as error:
        if error.errno in _FULL:
            raise RecordingError(f"{check_path(path)} was to begin, but: {error.strerror}; {_ADVICE}") from error
        raise ConfigError(
            f"beside the recording {path.name} its check file was to begin, but: {check_path(path)}: {error.strerror}; "
            "move that file away or choose another name"
        ) from error
