"""Record a session: raw samples, markers, texts and the configuration, in one XDF file."""

from __future__ import annotations

import contextlib
import itertools
import json
import logging
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import numpy as np

from bci.acquisition.recorder.quality import Quality
from bci.acquisition.recorder.xdf_writer import XdfWriter
from bci.errors import DataError, RecordingError
from bci.stream import Chunk, StreamInfo

_log = logging.getLogger(__name__)

_REMIND_S = 10.0
"""How often clock offsets and a boundary are written, s of session time."""


class XdfRecorder:
    """Write what a session takes in and decides, at once and for good.

    Parameters
    ----------
    path : path
        File to create, ending in ``.xdf``. ``{n}`` in its name stands for the first number that is free, as in
        ``out/run-{n}.xdf``, and the folder is then made if it is missing.
    config : mapping, optional
        The resolved configuration and the versions; anything that JSON can hold. It goes into the
        file header and, for readers that show only streams, into a stream "Config".

    Notes
    -----
    When `write` returns, the samples are in the file, whatever happens to this process.
    Samples keep the number format in which the device delivered them, and their own time
    stamps. Beside each signal stream "NAME" a text stream "NAME-quality" holds the true sample
    numbers, losses and flags (see `bci.acquisition.recorder.quality`); the events of all
    signal streams go into the text stream "Markers". Times are those of the session clock.

    Examples
    --------
    >>> with XdfRecorder("run.xdf") as recorder:  # doctest: +SKIP
    ...     stream = recorder.add_stream(device.open())
    ...     recorder.write(stream, device.read(0.1))
    """

    def __init__(self, path: str | os.PathLike[str], config: Mapping[str, Any] | None = None) -> None:
        self.path = Path(path)
        self._config = json.dumps(dict(config or {}), default=str)
        self._writer: XdfWriter | None = None
        self._streams: list[_Signal | _Text] = []
        self._remind_at_s: float | None = None

    # ------------------------------------------------------------ lifecycle
    def open(self) -> Self:
        """Create the file; `ConfigError` if it exists or cannot be created."""
        if self._writer is None:
            self._writer = self._create()
            self._streams, self._remind_at_s = [], None
            self.write_text(self.add_text("Config"), 0.0, self._config)
        return self

    def _create(self) -> XdfWriter:
        name = self.path.name
        if "{n}" in name:
            with contextlib.suppress(OSError):  # the writer says what is wrong with the folder
                self.path.parent.mkdir(exist_ok=True)
            files = (self.path.with_name(name.replace("{n}", str(n))) for n in itertools.count(1))
            self.path = next(file for file in files if not file.exists())
        return XdfWriter(self.path, {"config": self._config})

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

    def __enter__(self) -> Self:
        return self.open()

    def __exit__(self, *_: object) -> None:
        self.close()

    # ----------------------------------------------------------- main verbs
    def add_stream(self, info: StreamInfo) -> int:
        """Begin a stream of samples; return its handle for `write`.

        Its header is written with the first samples, which tell the number format.
        """
        self._open_writer()
        quality = self._streams_text(self.add_text(f"{info.name}-quality"))
        markers = self._streams_text(self.add_text("Markers"))
        self._streams.append(_Signal(info, quality, markers))
        return len(self._streams) - 1

    def add_text(self, name: str) -> int:
        """Begin a stream of texts, or find the one of that name; return its handle for `write_text`."""
        writer = self._open_writer()
        for handle, stream in enumerate(self._streams):
            if isinstance(stream, _Text) and stream.name == name:
                return handle
        self._streams.append(_Text(name, writer.add_text(name, "Markers" if name == "Markers" else "Text")))
        return len(self._streams) - 1

    def write(self, stream_id: int, chunk: Chunk) -> None:
        """Append a chunk: its samples, what is wrong with them, and its events.

        Raises
        ------
        RecordingError
            If the file cannot grow; what was written before is kept.
        DataError
            If the chunk is not of that stream.
        """
        writer, signal = self._open_writer(), self._streams[stream_id]
        if not isinstance(signal, _Signal):
            raise DataError(f"stream {signal.name!r} holds texts, got samples; use write_text()")
        signal.check(chunk)
        if chunk.n_samples:
            signal.last_s = float(chunk.times[-1])
            if signal.number is None:
                self._begin(signal, chunk.data.dtype)
        # Before the samples: a loss that is known must never be missing beside samples that are there.
        first_s = float(chunk.times[0]) if chunk.n_samples else signal.last_s
        writer.write_text(signal.quality, [(first_s, line) for line in signal.lines.lines(chunk)])
        if signal.number is not None:
            writer.write(signal.number, chunk.data, chunk.times)
        writer.write_text(signal.markers, [(event.time, event.code) for event in chunk.events])
        self._remind(signal.last_s)

    def write_text(self, stream_id: int, time_s: float, text: str) -> None:
        """Append one text that belongs to `time_s` (session clock)."""
        self._open_writer().write_text(self._streams_text(stream_id), [(time_s, text)])

    # -------------------------------------------------------------- private
    def _open_writer(self) -> XdfWriter:
        if self._writer is None:
            raise DataError(
                f"the recording {self.path.name} takes data while it is open; it is closed; open() it first"
            )
        return self._writer

    def _streams_text(self, handle: int) -> int:
        stream = self._streams[handle]
        if not isinstance(stream, _Text):
            raise DataError(f"stream {stream.name!r} holds samples, got a text; use write()")
        return stream.number

    def _begin(self, signal: _Signal, dtype: np.dtype[Any]) -> None:
        signal.number = self._open_writer().add_numeric(signal.info, dtype)

    def _remind(self, time_s: float) -> None:
        if self._remind_at_s is None or time_s >= self._remind_at_s:
            self._open_writer().mark_time(time_s)
            self._remind_at_s = time_s + _REMIND_S


@dataclass(slots=True)
class _Text:
    """A stream of texts and its number in the file."""

    name: str
    number: int


@dataclass(slots=True)
class _Signal:
    """A stream of samples, with the numbers of the text streams beside it; its own comes with the first samples."""

    info: StreamInfo
    quality: int
    markers: int
    number: int | None = None
    last_s: float = 0.0
    lines: Quality = field(default_factory=Quality)

    @property
    def name(self) -> str:
        return self.info.name

    def check(self, chunk: Chunk) -> None:
        """Raise `DataError` unless `chunk` has the channels and the rate that were announced."""
        if chunk.info is self.info:
            return
        if chunk.info.channels != self.info.channels or chunk.info.sfreq != self.info.sfreq:
            raise DataError(
                f"stream {self.name!r} was begun with {self.info.n_channels} channels at {self.info.sfreq:g} Hz, got a "
                f"chunk with {chunk.info.n_channels} at {chunk.info.sfreq:g} Hz or other names; add it as a new stream"
            )
