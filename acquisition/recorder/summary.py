"""What is in a recording, without reading its samples."""

from __future__ import annotations

import contextlib
import json
import os
import struct
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bci.acquisition.formats.xdf_chunks import survey
from bci.acquisition.recorder.check_file import check_path
from bci.acquisition.recorder.verify import open_bytes
from bci.acquisition.recorder.xdf_blocks import (
    FILE_HEADER,
    MAGIC,
    SAMPLES,
    STREAM_FOOTER,
    STREAM_HEADER,
    Block,
    read_texts,
    read_xml,
    walk,
)
from bci.errors import FormatError
from bci.signal.contact import KEY


@dataclass(slots=True)
class StreamSummary:
    """One stream.

    Parameters
    ----------
    name, type, format : str
        As the header has them; `format` is the number format, or "string".
    channels : list of str
        Labels; empty where none are given.
    sfreq : float
        Nominal rate, Hz; 0 for texts.
    samples : int
        Samples or texts recorded.
    lost, gaps : int
        Samples that the source lost, and in how many places; 0 where the recording does not say.
    first_s, last_s : float
        Time of the first and the last sample, s; NaN while there is none or it has no stamp of its own.
    contact_kohm : dict of str to float
        Contacts of the electrodes when the recording began, kOhm; empty where none were measured.
    """

    name: str
    type: str
    format: str
    channels: list[str]
    n_channels: int
    sfreq: float
    samples: int = 0
    lost: int = 0
    gaps: int = 0
    first_s: float = float("nan")
    last_s: float = float("nan")
    contact_kohm: dict[str, float] = field(default_factory=dict)

    @property
    def duration_s(self) -> float:
        """Samples over rate, s; for texts the time from the first to the last."""
        if self.sfreq > 0:
            return (self.samples + self.lost) / self.sfreq
        return self.last_s - self.first_s if self.samples else 0.0


@dataclass(slots=True)
class Summary:
    """A recording: its streams and how it ended.

    Parameters
    ----------
    path : Path
        File.
    size : int
        Its bytes.
    begun : str
        Date and time in the header (UTC), as text.
    config : str
        The configuration that was recorded, JSON; empty if there is none.
    is_finished : bool
        Whether it was closed; else it was cut off, or is being written.
    has_check : bool
        Whether a check file lies beside it.
    is_damaged : bool
        Whether whole blocks follow on bytes that are none.
    left_over : int
        Bytes that are no whole block.
    streams : list of StreamSummary
        In the order in which they began.
    """

    path: Path
    size: int
    begun: str = ""
    config: str = ""
    is_finished: bool = False
    has_check: bool = False
    is_damaged: bool = False
    left_over: int = 0
    streams: list[StreamSummary] = field(default_factory=list)


def summarize(path: str | os.PathLike[str]) -> Summary:
    """Look through the blocks of an XDF file; what they hold is not checked.

    Raises
    ------
    DeviceNotFound
        If there is no such file.
    FormatError
        If it does not begin as XDF does.
    """
    data = open_bytes(path)
    try:
        if data[: len(MAGIC)] != MAGIC:
            raise FormatError(f"an XDF file begins with {MAGIC!r}, {path} with {bytes(data[:4])!r}; see bci record")
        summary = Summary(Path(path), len(data), has_check=check_path(path).exists())
        _fill(summary, data)
        return summary
    finally:
        if data:
            data.close()


def _fill(summary: Summary, data: Any) -> None:
    streams: dict[int, StreamSummary] = {}
    quality: list[tuple[str, int, int]] = []
    runs = _runs(data)
    for block in (block for start, stop in runs for block in walk(data, start, stop)):
        summary.is_finished = block.tag == STREAM_FOOTER
        if block.tag in (FILE_HEADER, STREAM_HEADER):
            root = read_xml(data, block)
            if root is None:
                continue
            if block.tag == FILE_HEADER:
                summary.begun, summary.config = root.findtext("datetime") or "", root.findtext("config") or ""
            else:
                streams[block.stream] = _stream(root)
        elif block.tag == SAMPLES and block.stream in streams:
            stream = streams[block.stream]
            _count(stream, data, block)
            if stream.name.endswith("-quality") and stream.format == "string":
                quality += _losses(stream.name.removesuffix("-quality"), data, block)
    summary.left_over = len(data) - sum(stop - start for start, stop in runs)
    summary.is_damaged = len(runs) > 1
    summary.streams = list(streams.values())
    for name, lost, gaps in quality:
        for stream in summary.streams:
            if stream.name == name:
                stream.lost, stream.gaps = stream.lost + lost, stream.gaps + gaps


def _runs(data: Any) -> list[tuple[int, int]]:
    """Return where whole blocks stand in a row; only where the first row does not reach to the end all are checked."""
    end = 0
    for block in walk(data):
        end = block.stop
    if end == len(data):
        return [(0, end)]
    with memoryview(data) as view:
        return survey(view).spans


def _stream(root: Any) -> StreamSummary:
    nodes = root.findall("desc/channels/channel")
    labels = [node.findtext("label") or "" for node in nodes]
    contacts = {}
    for label, node in zip(labels, nodes, strict=True):
        with contextlib.suppress(ValueError):  # "" where none was measured
            contacts[label] = float(node.findtext(KEY) or "")
    return StreamSummary(
        root.findtext("name") or "", root.findtext("type") or "", root.findtext("channel_format") or "", labels,
        int(root.findtext("channel_count") or 0), float(root.findtext("nominal_srate") or 0),
        contact_kohm=contacts,
    )  # fmt: skip


def _count(stream: StreamSummary, data: Any, block: Block) -> None:
    stream.samples += block.samples
    if not block.samples:
        return
    if stream.format == "string":
        times = [time_s for time_s, _ in read_texts(data, block)] if stream.n_channels == 1 else []
        first_s, last_s = (times[0], times[-1]) if times else (float("nan"), float("nan"))
    else:
        # Blocks of ours have a stamp at each sample, so all samples are of one length.
        size, rest = divmod(block.stop - block.body, block.samples)
        last = block.stop - size
        if rest or data[block.body] != 8 or data[last] != 8:
            return
        (first_s,), (last_s,) = struct.unpack_from("<d", data, block.body + 1), struct.unpack_from("<d", data, last + 1)
    if stream.samples == block.samples:
        stream.first_s = first_s
    stream.last_s = last_s


def _losses(name: str, data: Any, block: Block) -> list[tuple[str, int, int]]:
    found = []
    for _, text in read_texts(data, block):
        try:
            lost = int(json.loads(text).get("lost", 0))
        except (ValueError, AttributeError, TypeError):
            continue
        if lost:
            found.append((name, lost, 1))
    return found
