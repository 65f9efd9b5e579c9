"""Hold a recording against its check file: which bytes, samples and streams are damaged."""

from __future__ import annotations

import logging
import mmap
import os
import re
import zlib
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bci.acquisition.formats.xdf_chunks import survey
from bci.acquisition.recorder.check_file import Ledger, Line, check_path, read_check
from bci.acquisition.recorder.xdf_blocks import (
    MAGIC,
    SAMPLES,
    STREAM_FOOTER,
    STREAM_HEADER,
    Block,
    block_at,
    read_xml,
    walk,
)
from bci.errors import DeviceNotFound, FormatError

_log = logging.getLogger(__name__)

# How a block begins: a length in one of three widths, and a tag; the magic word before the first.
_HEAD = re.compile(rb"(?=XDF:|\x01.[\x01-\x06]\x00|\x04.{4}[\x01-\x06]\x00|\x08.{8}[\x01-\x06]\x00)", re.DOTALL)
_WHAT = {1: "file header", 2: "header", 3: "samples", 4: "clock offset", 5: "boundary", 6: "footer"}


@dataclass(frozen=True, slots=True)
class Damage:
    """One thing that is wrong.

    Parameters
    ----------
    offset, length : int
        Where the bytes stood when they were written; for bytes that do not belong, where they stand now.
    what : str
        The damage in words.
    stream : str
        Name of the stream it hits; empty if it is none or unknown.
    row, samples : int
        First row of the stream that is hit, and how many; 0 samples where none are.
    """

    offset: int
    length: int
    what: str
    stream: str = ""
    row: int = 0
    samples: int = 0


@dataclass(frozen=True, slots=True)
class Kept:
    """A block that is whole: where it is, where it was written, and whether the check file vouches for it."""

    block: Block
    written_at: int
    is_checked: bool = False


@dataclass(slots=True)
class Findings:
    """What `examine` found.

    Parameters
    ----------
    path : Path
        The recording.
    size : int
        Its bytes.
    kept : list of Kept
        Blocks that are whole, in the order in which they were written.
    missing : list of (Line, Damage)
        Blocks that the check file knows and the recording has no more.
    damages : list of Damage
        Everything that is not as it was written, in the recording and in the check file; empty if nothing is.
    has_check : bool
        Whether there is a check file. Without one only the structure was looked at.
    finished : bool
        Whether the recording was closed; one that was killed is not, and that is no damage.
    unchecked : int
        Bytes in whole blocks that the check file does not cover.
    cut : int
        Bytes of the half block at the end that a kill left.
    names : dict
        Name of each stream, by its number.
    runs : list of (int, int)
        Without a check file: first byte and the one after the last of whole blocks in a row; damage lies between.
    """

    path: Path
    size: int
    kept: list[Kept] = field(default_factory=list)
    missing: list[tuple[Line, Damage]] = field(default_factory=list)
    damages: list[Damage] = field(default_factory=list)
    has_check: bool = True
    finished: bool = False
    unchecked: int = 0
    cut: int = 0
    names: dict[int, str] = field(default_factory=dict)
    runs: list[tuple[int, int]] = field(default_factory=list)

    @property
    def is_sound(self) -> bool:
        """True if every byte that is covered is as it was written."""
        return not self.damages


def open_bytes(path: str | os.PathLike[str]) -> Any:
    """Return the bytes of a file without reading them all: a memory map, or ``b""`` for an empty file."""
    try:
        with open(path, "rb") as file:
            return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) if os.fstat(file.fileno()).st_size else b""
    except FileNotFoundError as error:
        raise DeviceNotFound(f"expected a recording at {path}, there is no such file; check the path") from error


def examine(path: str | os.PathLike[str], progress: Callable[[int], object] = lambda _n: None) -> Findings:
    """Look at every block of a recording.

    Parameters
    ----------
    path : path
        An XDF file; ``PATH.check`` beside it is its check file.
    progress : callable, optional
        Told the number of bytes that were looked at since it was last told.

    Raises
    ------
    DeviceNotFound
        If there is no such file.
    FormatError
        If it has no check file and does not begin as XDF does.

    Notes
    -----
    Every block is looked for where it was written, then, by its length, CRC-32 and SHA-256, anywhere
    in what is left: bytes that were cut out, put in or moved cost only the blocks they hit. Time and memory
    grow with the size of the file. Without a check file a block is whole if it holds what its head and its stream
    say it must; behind damage the next such block is looked for (see `bci.acquisition.formats.xdf_chunks.survey`).
    """
    data = open_bytes(path)
    try:
        findings = Findings(Path(path), len(data))
        try:
            ledger = read_check(check_path(path))
        except FileNotFoundError:
            findings.has_check = False
            _by_structure(findings, data, progress)
            return findings
        _by_ledger(findings, data, ledger, progress)
        return findings
    finally:
        if data:
            data.close()


# ------------------------------------------------------------ without a check file
def _by_structure(findings: Findings, data: Any, progress: Callable[[int], object]) -> None:
    if data[: len(MAGIC)] != MAGIC:
        raise FormatError(
            f"an XDF file begins with {MAGIC!r}, {findings.path} with {bytes(data[:4])!r}, and has no check file; it "
            "is of another format or empty"
        )
    with memoryview(data) as view:
        found = survey(view, progress)
    findings.runs, findings.cut = found.spans, found.cut
    for start, stop in found.spans:
        for block in walk(data, start, stop):
            findings.kept.append(Kept(block, block.offset))
            if block.tag == STREAM_HEADER:
                _name(findings.names, data, block)
    findings.unchecked = sum(kept.block.length for kept in findings.kept)
    findings.finished = bool(findings.kept) and findings.kept[-1].block.tag == STREAM_FOOTER
    if not findings.kept:  # a recorder writes the magic word and the first header at once
        what = f"it holds nothing: no whole block in its {findings.size} bytes"
        findings.damages.append(Damage(0, findings.size, what))
    for hurt in found.damage if findings.kept else ():
        where = "in the middle" if hurt.in_the_middle else "at the end"
        findings.damages.append(Damage(hurt.at, hurt.length, f"{hurt.length} bytes {where} left out: {hurt.what}"))


# --------------------------------------------------------------- with a check file
def _by_ledger(findings: Findings, data: Any, ledger: Ledger, progress: Callable[[int], object]) -> None:
    found = _located(data, ledger.lines, progress)
    findings.damages += [Damage(0, 0, f"the check file is damaged: {fault}") for fault in ledger.faults]
    findings.finished = ledger.end is not None
    rows: dict[int, int] = defaultdict(int)
    moved = 0
    for number, line in enumerate(ledger.lines):
        if line.tag == STREAM_HEADER:
            content = line.content or b""
            block = block_at(content, 0)
            if block is not None:
                _name(findings.names, content, block)
        at = found.get(number)
        block = None if at is None else block_at(data, at, at + line.length)
        if at is None or block is None:
            findings.missing.append((line, _missing(line, rows[line.stream], findings.names, findings.size)))
        else:
            findings.kept.append(Kept(block, line.offset, True))
            moved += at != line.offset
        if line.tag == SAMPLES:
            rows[line.stream] += line.samples
    findings.damages += [damage for _, damage in findings.missing]
    if moved:
        findings.damages.append(Damage(0, 0, f"{moved} whole blocks stand at other places than they were written to"))
    _look_between(findings, data, ledger)


def _located(data: Any, lines: list[Line], progress: Callable[[int], object]) -> dict[int, int]:
    """Return where each block stands, by the number of its line; those that are gone are left out."""
    found: dict[int, int] = {}
    view = memoryview(data)
    try:
        lost: dict[tuple[int, int], list[int]] = defaultdict(list)
        for number, line in enumerate(lines):
            if line.stop <= len(data) and line.fits(view[line.offset : line.stop]):
                found[number] = line.offset
            else:
                lost[line.length, line.crc].append(number)
            progress(line.length)
        if lost:
            for start, stop in _unclaimed(((found[n], lines[n].length) for n in found), len(data)):
                _search(data, view, start, stop, lines, lost, found)
        return found
    finally:
        view.release()


def _search(
    data: Any,
    view: memoryview,
    start: int,
    stop: int,
    lines: list[Line],
    lost: dict[tuple[int, int], list[int]],
    found: dict[int, int],
) -> None:
    """Look for lost blocks between two bytes that no block claims."""
    lengths = {length for length, _ in lost}
    match = _HEAD.search(data, start, stop)
    while match is not None:
        at = match.start()
        after, length = at + 1, _stated_length(data, at)
        if length in lengths and at + length <= stop:
            numbers = lost.get((length, zlib.crc32(view[at : at + length])))
            if numbers and lines[numbers[0]].fits(view[at : at + length]):
                found[numbers.pop(0)] = at
                after = at + length
        match = _HEAD.search(data, after, stop)


def _stated_length(data: Any, at: int) -> int:
    """Return the length of the block that seems to begin at `at`."""
    front = len(MAGIC) if data[at : at + len(MAGIC)] == MAGIC else 0
    width = data[at + front] if at + front < len(data) else 0
    return front + 1 + width + int.from_bytes(data[at + front + 1 : at + front + 1 + width], "little")


def _unclaimed(claimed: Any, size: int) -> list[tuple[int, int]]:
    """Return the ranges of a file that (offset, length) of `claimed` leave."""
    ranges, at = [], 0
    for offset, length in sorted(claimed):
        if offset > at:
            ranges.append((at, offset))
        at = max(at, offset + length)
    return [*ranges, (at, size)] if at < size else ranges


def _look_between(findings: Findings, data: Any, ledger: Ledger) -> None:
    """Tell, of the bytes that no known block claims, whole blocks without a line from what does not belong."""
    begins = {kept.block.offset: kept for kept in findings.kept}
    ends = {kept.block.stop: kept for kept in findings.kept}
    holes = _holes(ledger)
    spans = ((kept.block.offset, kept.block.length) for kept in findings.kept)
    for start, stop in _unclaimed(spans, len(data)):
        # Where these bytes would have been written: after the block on their left, before the one on their right.
        left = ends[start].written_at + ends[start].block.length if start in ends else 0
        right = begins[stop].written_at if stop in begins else None
        at = start
        for hole_start, hole_stop in holes:
            if hole_start < left or (right is not None and hole_start >= right):
                continue
            limit = stop if hole_stop is None else min(stop, start + hole_stop - left)
            for block in walk(data, start + hole_start - left, limit):
                findings.kept.append(Kept(block, left + block.offset - start))
                findings.unchecked += block.length
                at = block.stop
                if block.tag == STREAM_HEADER:
                    _name(findings.names, data, block)
        if any(left <= line.offset and (right is None or line.offset < right) for line, _ in findings.missing):
            continue  # what is missing stood here, and is told
        if ledger.end is None and right is None and _is_cut(data, at):
            findings.cut = stop - at
        elif at < stop:
            findings.damages.append(Damage(at, stop - at, "bytes that do not belong to the recording"))
    findings.kept.sort(key=lambda kept: kept.written_at)
    if ledger.end is None and any(k.block.tag == STREAM_FOOTER and not k.is_checked for k in findings.kept):
        silent = f"it says nothing of {findings.unchecked} bytes of a recording that was finished"
        findings.damages.append(Damage(0, 0, f"the check file is cut off: {silent}"))


def _holes(ledger: Ledger) -> list[tuple[int, int | None]]:
    """Return the ranges that no line speaks of; the last is open where the recording was not finished."""
    holes: list[tuple[int, int | None]] = []
    at = 0
    for line in ledger.lines:
        if line.offset > at:
            holes.append((at, line.offset))
        at = max(at, line.stop)
    if ledger.end is None or ledger.end.offset > at:
        holes.append((at, None if ledger.end is None else ledger.end.offset))
    return holes


def _is_cut(data: Any, at: int) -> bool:
    """Whether the block that begins here would go on after the end of the file: what a kill leaves behind."""
    if at >= len(data) or data[at] not in (1, 4, 8):
        return False
    return at + 1 + data[at] > len(data) or _stated_length(data, at) > len(data) - at


def _missing(line: Line, row: int, names: dict[int, str], size: int) -> Damage:
    name = names.get(line.stream, "")
    what = _WHAT.get(line.tag, "block")
    whose = f" of stream {name!r}" if name else ""
    if line.tag == SAMPLES:
        what = f"{what} {row} to {row + line.samples - 1}"
    how = "cut off" if line.offset >= size else "damaged"
    restored = "" if line.content is None else "; the check file has a copy"
    rows = line.samples if line.tag == SAMPLES else 0
    return Damage(line.offset, line.length, f"{what}{whose} {how}{restored}", name, row if rows else 0, rows)


def _name(names: dict[int, str], data: Any, block: Block) -> None:
    root = read_xml(data, block)
    if root is not None:
        names[block.stream] = root.findtext("name") or ""
