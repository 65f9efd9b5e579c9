"""Make a recording whole again: every block that is whole, and a gap where samples are gone."""

from __future__ import annotations

import json
import os
import re
import struct
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from bci.acquisition.recorder.check_file import CheckWriter, Line, check_path
from bci.acquisition.recorder.rejoin import Rejoined
from bci.acquisition.recorder.verify import Damage, Findings, examine, open_bytes
from bci.acquisition.recorder.xdf_blocks import (
    FILE_HEADER,
    MAGIC,
    SAMPLES,
    STREAM_FOOTER,
    STREAM_HEADER,
    Block,
    block_at,
    framed,
    read_texts,
    text_content,
)
from bci.errors import ConfigError, FormatError

_COUNT = re.compile(rb"<sample_count>\d+</sample_count>")


@dataclass(slots=True)
class Repaired:
    """What `repair` did.

    Parameters
    ----------
    path : Path
        The whole recording: the copy, or the original if nothing was to be done.
    findings : Findings
        What was wrong.
    kept, restored : int
        Blocks that were whole, and blocks that were put back from the check file.
    lost : list of Damage
        What is missing for good.
    """

    path: Path
    findings: Findings
    kept: int = 0
    restored: int = 0
    lost: list[Damage] = field(default_factory=list)

    @property
    def lost_samples(self) -> dict[str, int]:
        """How many samples (or texts) each stream lost; streams that lost none are left out."""
        counts: dict[str, int] = {}
        for damage in self.lost:
            if damage.samples:
                counts[damage.stream] = counts.get(damage.stream, 0) + damage.samples
        return counts


def repair(
    path: str | os.PathLike[str],
    target: str | os.PathLike[str] | None = None,
    progress: Callable[[int], object] = lambda _n: None,
) -> Repaired:
    """Write a copy of a recording with every whole block; the recording itself is never changed.

    Parameters
    ----------
    path : path
        Recording, with its check file ``PATH.check`` beside it.
    target : path, optional
        Where the copy goes; beside the recording with ``-repaired`` in its name by default. It gets a check file too.
    progress : callable, optional
        Told the number of bytes that were looked at since it was last told.

    Returns
    -------
    Repaired
        With the path of the recording itself if that is whole and no `target` is given.

    Raises
    ------
    DeviceNotFound
        If there is no such recording.
    FormatError
        If it is no XDF file, holds no whole block, or its first header is gone and there is no copy.
    ConfigError
        If the copy's name is taken.

    Notes
    -----
    Samples that are gone become a loss in the quality lines of their stream, as if the device had lost them: true
    sample numbers and time stamps of all others stay right. Nothing is invented. Without a check
    file every block that is whole by its structure is kept, behind damage in the middle too (see `examine`), and how
    many samples are gone is told by what is left (see `rejoin`); a changed number inside a block is not seen.
    """
    source = Path(path)
    findings = examine(source, progress)
    if not (findings.kept or findings.has_check):
        raise FormatError(
            f"a recording is repaired from its whole blocks, {source} holds nothing: none in {findings.size} bytes; "
            "take another copy, or put its check file beside it"
        )
    whole = not findings.damages and sum(kept.block.length for kept in findings.kept) == findings.size
    if target is None and whole:
        return Repaired(source, findings, len(findings.kept))
    copy = Path(target) if target is not None else source.with_name(f"{source.stem}-repaired{source.suffix}")
    if copy.exists() or check_path(copy).exists():
        raise ConfigError(f"the repaired copy needs a new file; {copy} exists and is kept; name another one")
    done = Repaired(copy, findings, len(findings.kept))
    data = open_bytes(source)
    try:
        if findings.has_check:
            _write_copy(data, done)
        else:
            _write_rejoined(data, done)
    finally:
        if data:
            data.close()
    return done


def _write_copy(data: Any, done: Repaired) -> None:
    findings = done.findings
    entries: list[tuple[int, Block | bytes | Line]] = [(kept.written_at, kept.block) for kept in findings.kept]
    for line, damage in findings.missing:
        entries.append((line.offset, line if line.content is None else line.content))
        if line.content is None:
            done.lost.append(damage)
        else:
            done.restored += 1
    entries.sort(key=lambda entry: entry[0])
    first = entries[0][1] if entries else b""
    if isinstance(first, Block):
        first = data[first.offset : first.stop]
    if isinstance(first, Line) or not first.startswith(MAGIC):
        raise FormatError(
            f"the first header of {findings.path} is damaged and its check file has no copy; take another copy of both"
        )
    with _Copy(done.path) as copy:
        joiner = _Joiner(copy, findings.names)
        for _, content in entries:
            if isinstance(content, Line):
                joiner.lose(content)
            else:
                joiner.take(data[content.offset : content.stop] if isinstance(content, Block) else content)


def _write_rejoined(data: Any, done: Repaired) -> None:
    """Write what is whole of a recording without a check file."""
    rejoined = Rejoined(data, done.findings.runs)
    texts = {number for number, name in rejoined.names.items() if name.endswith("-quality")}
    with _Copy(done.path) as copy:
        for part in rejoined.parts():
            content = data[part.offset : part.stop] if isinstance(part, Block) else part
            block = block_at(content, 0)
            assert block is not None  # a part is a whole block
            keep = block.tag in (FILE_HEADER, STREAM_HEADER, STREAM_FOOTER) or block.stream in texts
            copy.append(content, block.tag, block.stream, block.samples, keep)
    done.lost = list(done.findings.damages)
    for gone in rejoined.missing:
        where = f", the first is number {gone.sample}" if gone.sample >= 0 else ""
        what = f"{gone.n} {'texts' if gone.is_text else 'samples'} of stream {gone.stream!r} are gone{where}"
        done.lost.append(Damage(0, 0, what, gone.stream, max(0, gone.sample), gone.n))


class _Copy:
    """A new recording with its check file, written block by block."""

    def __init__(self, path: Path) -> None:
        self._out = open(path, "xb")  # noqa: SIM115 - closed by __exit__
        self._check = CheckWriter(check_path(path))
        self._length = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, error: object, *_: object) -> None:
        """Release both files; unless something went wrong, say in the check file that the copy is complete."""
        if error is None:
            self._out.flush()
            os.fsync(self._out.fileno())
            self._check.end(self._length)
        self._out.close()
        self._check.close()

    def append(self, content: bytes, tag: int, stream: int, samples: int, keep: bool) -> None:
        """Write a block."""
        self._out.write(content)
        self._check.add([Line.of(self._length, content, tag, stream, samples, keep)])
        self._length += len(content)


class _Joiner:
    """Write blocks one after another and keep the quality lines true to what is there."""

    def __init__(self, copy: _Copy, names: dict[int, str]) -> None:
        self._copy = copy
        numbers = {name: number for number, name in names.items()}
        self._quality_of = {n: numbers[f"{name}-quality"] for n, name in names.items() if f"{name}-quality" in numbers}
        self._signals = {number: _Rows() for number in names}
        self._signal_of = {quality: signal for signal, quality in self._quality_of.items()}

    def lose(self, line: Line) -> None:
        """Note that a block is gone for good."""
        if line.tag == SAMPLES:
            self._signals.setdefault(line.stream, _Rows()).lose(line.samples)

    def take(self, content: bytes) -> None:
        """Append a block, with what has to change in it."""
        block = block_at(content, 0)
        if block is None:
            raise FormatError("a block in the check file is not one of XDF; take another copy of it")
        rows = self._signals.setdefault(block.stream, _Rows())
        if block.tag == SAMPLES and block.stream in self._signal_of:
            signal = self._signals[self._signal_of[block.stream]]
            texts = [(time_s, signal.renumbered(text)) for time_s, text in read_texts(content, block)]
            if signal.gone:
                content = _text_block(block.stream, texts)
        elif block.tag == SAMPLES:
            if rows.pending and block.stream in self._quality_of:
                (time_s,) = struct.unpack_from("<d", content, block.body + 1)
                note = _text_block(self._quality_of[block.stream], [(time_s, rows.gap())])
                self._copy.append(note, SAMPLES, self._quality_of[block.stream], 1, keep=True)
            rows.take(block.samples)
        elif block.tag == STREAM_FOOTER and rows.gone:
            count = b"<sample_count>%d</sample_count>" % (rows.row - rows.gone)
            body = content[block.body - 4 :]
            content = framed(STREAM_FOOTER, _COUNT.sub(count, body))
        keep = block.tag != SAMPLES or block.stream in self._signal_of
        self._copy.append(content, block.tag, block.stream, block.samples, keep and block.tag in (FILE_HEADER, 2, 3, 6))


class _Rows:
    """The rows of one stream: as they were recorded, and how many are gone."""

    def __init__(self) -> None:
        self.row = self.gone = self.pending = 0
        self._from_row = self._start = 0
        self._flags: list[str] = []

    def take(self, n: int) -> None:
        """Pass `n` rows that are there."""
        self.row += n

    def lose(self, n: int) -> None:
        """Pass `n` rows that are gone."""
        self.row += n
        self.gone += n
        self.pending += n

    def renumbered(self, text: str) -> str:
        """Return a quality line for the rows that are left."""
        try:
            entry = json.loads(text)
        except ValueError:
            return text
        if not isinstance(entry, dict) or "row" not in entry:
            return text
        self._from_row, self._start = int(entry["row"]), int(entry["start"])
        self._flags = [flag for flag in entry["flags"] if flag != "GAP"]
        return json.dumps({**entry, "row": int(entry["row"]) - self.gone})

    def gap(self) -> str:
        """Return the quality line for the rows that went before the next one."""
        start = self._start + self.row - self._from_row
        lost, self.pending = self.pending, 0
        return json.dumps({"row": self.row - self.gone, "start": start, "lost": lost, "flags": [*self._flags, "GAP"]})


def _text_block(stream: int, texts: list[tuple[float, str]]) -> bytes:
    return framed(SAMPLES, struct.pack("<I", stream) + text_content(texts))
