"""Record a session: raw samples, markers, texts and the configuration, in one XDF file."""

from __future__ import annotations

import contextlib
import copy
import itertools
import json
import logging
import os
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Self

import numpy as np

from bci.acquisition.recorder.check_file import check_path
from bci.acquisition.recorder.disk import bytes_per_s, refuse_if_too_long
from bci.acquisition.recorder.identity import without_identity
from bci.acquisition.recorder.quality import Quality, event_lines
from bci.acquisition.recorder.xdf_writer import XdfWriter
from bci.errors import ConfigError, DataError, RecordingError
from bci.stream import Chunk, StreamInfo

_log = logging.getLogger(__name__)

_REMIND_S = 10.0
"""How often clock offsets are written, s of session time."""
_BOUNDARY_S = 1.0
"""How often a boundary is written, s of session time: readers that look for nothing else lose no more than that."""

_FEW_CHUNKS = 10
"""After so many the size of a chunk is known; the first alone may be what had gathered before."""


class XdfRecorder:
    """Write what a session takes in and decides, at once and for good.

    Parameters
    ----------
    path : path
        File to create, ending in ``.xdf``. ``{n}`` in its name stands for the first number that is free, as in
        ``out/run-{n}.xdf``, and the folder is then made if it is missing.
    config : mapping, optional
        The resolved configuration and the versions; anything that JSON can hold. It goes into the
        file header and, for readers that show only streams, into a stream "Config". Home folders and names of
        the user and the machine are left out (see `identity`).
    planned_s : float, optional
        How long the session will be, s: refused if that does not fit on the disk.
    fallback : path, optional
        Folder, best on another disk, in which a new file goes on where the first cannot grow.
    check : bool, default=True
        Whether to write the check file ``run.xdf.check``, by which every damage is found (see `verify`).

    Notes
    -----
    When `write` returns, the samples are in the file, whatever happens to this process; a
    chunk is written whole, with its events, or not at all. Samples keep the number format
    in which the device delivered them, and their own time stamps. Beside each signal stream
    "NAME" a text stream "NAME-quality" holds the true sample numbers, losses and flags (see
    `bci.acquisition.recorder.quality`); the events of all signal streams go into the text
    stream "Markers". Times are those of the session clock.

    Ten and two minutes before the disk is full, at the rate that is measured, a caution is logged.

    Examples
    --------
    >>> with XdfRecorder("run.xdf") as recorder:  # doctest: +SKIP
    ...     stream = recorder.add_stream(device.open())
    ...     recorder.write(stream, device.read(0.1))
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        config: Mapping[str, Any] | None = None,
        *,
        planned_s: float | None = None,
        fallback: str | os.PathLike[str] | None = None,
        check: bool = True,
    ) -> None:
        self.path = Path(path)
        self.planned_s, self.check = planned_s, check
        self.fallback = None if fallback is None else Path(fallback)
        self._config = json.dumps(without_identity(dict(config or {})), default=str)
        self._writer: XdfWriter | None = None
        self._paths: list[Path] = []
        self._streams: list[_Signal | _Text] = []
        self._remind_at_s: float | None = None
        self._finishing: list[threading.Thread] = []

    # ------------------------------------------------------------ lifecycle
    def open(self) -> Self:
        """Create the file, in the fallback folder if its disk is full already.

        Raises
        ------
        ConfigError
            If it exists or cannot be created, or the fallback is no folder.
        RecordingError
            If there is no room for its header, and no fallback has any.
        """
        if self._writer is None:
            if self.fallback is not None and not os.access(self.fallback, os.W_OK):
                raise ConfigError(
                    f"the fallback of a recording is a folder that can be written to, got {self.fallback}; create it"
                )
            self._streams, self._remind_at_s, self._boundary_at_s = [], None, 0.0
            if "{n}" in self.path.name:
                with contextlib.suppress(OSError):  # the writer says what is wrong with the folder
                    self.path.parent.mkdir(exist_ok=True)
                names = (self.path.name.replace("{n}", str(n)) for n in itertools.count(1))
                self.path = _first_free(self.path.with_name(name) for name in names)
            self._paths = []
            self._keep(self._create)
            self.write_text(self.add_text("Config"), 0.0, self._config)
        return self

    def close(self) -> None:
        """Finish the file; any number of times, never raises."""
        if self._writer is None:
            return
        try:
            for stream in self._streams:
                if isinstance(stream, _Signal) and stream.number is None:
                    self._begin(stream, np.dtype(np.float64))  # nothing came, but what was to come is worth keeping
        except RecordingError as error:
            _log.error("%s", error)
        finally:
            self._writer.close()
            self._writer = None
            for thread in self._finishing:
                thread.join()
            self._finishing = []

    def __enter__(self) -> Self:
        return self.open()

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def paths(self) -> tuple[Path, ...]:
        """The files of this recording, in order: one, and those in the fallback folder if a disk was full."""
        return tuple(self._paths)

    @property
    def left_s(self) -> float:
        """Time until the disk is full at the measured rate, s; inf while it is not known."""
        return float("inf") if self._writer is None else self._writer.left_s

    # ----------------------------------------------------------- main verbs
    def add_stream(self, info: StreamInfo) -> int:
        """Begin a stream of samples; return its handle for `write`.

        Its header is written with the first samples, which tell the number format.

        Raises
        ------
        ConfigError
            If a stream of that name was begun, or the planned session does not fit on the disk.
        """
        self._open_writer()
        if any(stream.name == info.name for stream in self._streams):
            raise ConfigError(
                f"each stream of a recording needs its own name, got {info.name!r} twice; rename one of them"
            )
        # First, so that a refusal leaves nothing behind.
        signal = _Signal(info)
        self._refuse_if_too_long(signal)
        signal.quality, signal.markers = self._text(f"{info.name}-quality"), self._text("Markers")
        self._streams.append(signal)
        return len(self._streams) - 1

    def add_text(self, name: str) -> int:
        """Begin a stream of texts, or find the one of that name; return its handle for `write_text`."""
        return self._streams.index(self._text(name))

    def write(self, stream_id: int, chunk: Chunk) -> None:
        """Append a chunk: its samples, what is wrong with them, and its events.

        Raises
        ------
        RecordingError
            If the file cannot grow, and no fallback can; what was written before is kept.
        DataError
            If the chunk is not of that stream.
        ConfigError
            With the first chunks, which tell type and size, if the planned session does not fit on the disk.
        """
        self._open_writer()
        signal = self._streams[stream_id]
        if not isinstance(signal, _Signal):
            raise DataError(f"stream {signal.name!r} holds texts, got samples; use write_text()")
        signal.check(chunk)
        if signal.learn(chunk):
            self._refuse_if_too_long(signal)
        self._keep(lambda: self._write(signal, chunk))

    def write_text(self, stream_id: int, time_s: float, text: str) -> None:
        """Append one text that belongs to `time_s` (session clock)."""
        self._open_writer()
        stream = self._streams[stream_id]
        if not isinstance(stream, _Text):
            raise DataError(f"stream {stream.name!r} holds samples, got a text; use write()")
        self._keep(lambda: self._open_writer().write_text(stream.number, [(time_s, text)]))

    # -------------------------------------------------------------- private
    def _create(self) -> None:
        if self._writer is None:  # else it was created in the fallback folder
            self._writer = XdfWriter(self.path, {"config": self._config}, check=self.check)
            self._paths = [self.path]

    def _open_writer(self) -> XdfWriter:
        if self._writer is None:
            raise DataError(
                f"the recording {self.path.name} takes data while it is open; it is closed; open() it first"
            )
        return self._writer

    def _text(self, name: str) -> _Text:
        found = next((s for s in self._streams if s.name == name), None)
        if isinstance(found, _Signal):
            raise ConfigError(f"each stream of a recording needs its own name, got {name!r} twice; rename one of them")
        if found is None:
            found = _Text(name, 0)
            self._keep(lambda: self._begin_text(found))
            self._streams.append(found)
        return found

    def _begin_text(self, text: _Text) -> None:
        is_marker = text.name == "Markers"
        kind = "Markers" if is_marker else "Text"
        precious = is_marker or text.name in ("Config", "Quality", "Device") or text.name.endswith("-quality")
        writer = self._open_writer()
        text.number = writer.add_text(text.name, kind, keep=precious)
        if self._remind_at_s is not None:  # the others have their clock offsets; pyxdf warns of a stream without
            writer.mark_time(self._remind_at_s - _REMIND_S, text.number)

    def _begin(self, signal: _Signal, dtype: np.dtype[Any]) -> None:
        info = signal.info
        named = replace(info, source_id=without_identity(info.source_id), meta=without_identity(info.meta))
        signal.number = self._open_writer().add_numeric(named, dtype)

    def _write(self, signal: _Signal, chunk: Chunk) -> None:
        writer, quality = self._open_writer(), copy.copy(signal.lines)
        begins = chunk.n_samples > 0 and signal.number is None
        if begins:
            self._begin(signal, chunk.data.dtype)
        last_s = float(chunk.times[-1]) if chunk.n_samples else signal.last_s
        first_s = float(chunk.times[0]) if chunk.n_samples else last_s
        with writer.together():
            # Before the samples: a loss that is known must never be missing beside samples that are there.
            writer.write_text(signal.quality.number, [(first_s, line) for line in quality.lines(chunk)])
            if chunk.n_samples and signal.number is not None:  # an empty chunk is of no number format
                writer.write(signal.number, chunk.data, chunk.times)
            # After them: a kill may cut a write, and an event must not come back at another sample.
            writer.write_text(signal.quality.number, [(last_s, line) for line in event_lines(chunk)])
            writer.write_text(signal.markers.number, [(event.time, event.code) for event in chunk.events])
        signal.lines, signal.last_s = quality, last_s
        with contextlib.suppress(RecordingError):  # the chunk is kept; the next one says what is wrong
            self._mark(writer, last_s, signal.number if begins else None)

    def _mark(self, writer: XdfWriter, now_s: float, begun: int | None) -> None:
        """Write the clock offsets, that of a stream that has just `begun`, or a boundary, where they are due."""
        if self._remind_at_s is None or now_s >= self._remind_at_s:
            self._remind_at_s = now_s + _REMIND_S
            writer.mark_time(now_s)
        elif begun is not None:
            writer.mark_time(now_s, begun)
        elif now_s >= self._boundary_at_s:
            writer.mark_boundary()
        else:
            return
        self._boundary_at_s = now_s + _BOUNDARY_S

    def _refuse_if_too_long(self, newest: _Signal) -> None:
        if self.planned_s is None:
            return
        signals = {id(s): s for s in [*self._streams, newest] if isinstance(s, _Signal)}
        places = [self.path] if self.fallback is None else [self.path, self.fallback]
        refuse_if_too_long(self.planned_s, sum(s.needed_per_s for s in signals.values()), places)

    def _keep(self, write: Callable[[], None]) -> None:
        """Do `write`; if the file cannot grow, do it again in a new file in the fallback folder."""
        try:
            write()
        except RecordingError as error:
            if self.fallback is None or self.path.parent == self.fallback:
                raise
            self._move(error)
            write()

    def _move(self, error: RecordingError) -> None:
        """Go on in a new file: the same streams, and sample numbers that continue."""
        before, stem = self._writer, self.path.stem  # there is none before where not even the header had room
        names = (f"{stem}{f'-{n}' if n > 1 else ''}.xdf" for n in itertools.count(1))
        assert self.fallback is not None  # the caller looked
        path = _first_free(self.fallback / name for name in names)
        header = {"config": self._config} | ({} if before is None else {"continues": before.path.name})
        try:
            self._writer = XdfWriter(path, header, check=self.check)
        except (ConfigError, RecordingError) as second:
            raise RecordingError(f"{error}; the fallback failed too: {second}") from error
        self.path, self._remind_at_s = path, None
        self._paths.append(path)
        if before is not None:  # its footers may have no room, and the loop must not wait for its disk
            self._finishing.append(threading.Thread(target=before.close, name=f"finish {before.path.name}"))
            self._finishing[-1].start()
        for stream in self._streams:
            if isinstance(stream, _Signal):
                stream.number, stream.lines = None, Quality()
            else:
                self._begin_text(stream)
                if stream.name == "Config":
                    self._writer.write_text(stream.number, [(0.0, self._config)])
        _log.error("%s; the recording goes on in %s", error, path)


def _first_free(paths: Iterator[Path]) -> Path:
    return next(path for path in paths if not path.exists() and not check_path(path).exists())


@dataclass(slots=True)
class _Text:
    """A stream of texts and its number in the file."""

    name: str
    number: int


@dataclass(slots=True)
class _Signal:
    """A stream of samples, with the text streams beside it; its number comes with the first samples."""

    info: StreamInfo
    quality: _Text = field(default_factory=lambda: _Text("", 0))
    markers: _Text = field(default_factory=lambda: _Text("", 0))
    number: int | None = None
    dtype: np.dtype[Any] | None = None
    n_chunks: int = 0
    n_samples: int = 0
    last_s: float = 0.0
    lines: Quality = field(default_factory=Quality)

    @property
    def name(self) -> str:
        return self.info.name

    @property
    def needed_per_s(self) -> float:
        """What it takes on the disk by all that is known so far, bytes per second."""
        known = self.n_samples / self.n_chunks if self.n_chunks >= _FEW_CHUNKS else None
        return bytes_per_s(self.info, self.dtype, known)

    def learn(self, chunk: Chunk) -> bool:
        """Take type and size of a chunk; return whether `needed_per_s` says more than before."""
        if not chunk.n_samples or self.n_chunks >= _FEW_CHUNKS:
            return False
        self.dtype = chunk.data.dtype
        self.n_chunks, self.n_samples = self.n_chunks + 1, self.n_samples + chunk.n_samples
        return self.n_chunks in (1, _FEW_CHUNKS)

    def check(self, chunk: Chunk) -> None:
        """Raise `DataError` unless `chunk` has the channels and the rate that were announced."""
        if chunk.info is self.info:
            return
        if chunk.info.channels != self.info.channels or chunk.info.sfreq != self.info.sfreq:
            raise DataError(
                f"stream {self.name!r} was begun with {self.info.n_channels} channels at {self.info.sfreq:g} Hz, got a "
                f"chunk with {chunk.info.n_channels} at {chunk.info.sfreq:g} Hz or other names; add it as a new stream"
            )
