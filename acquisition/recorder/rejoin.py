"""Join what is left of a damaged recording so that its quality lines are true of the rows that are there."""

from __future__ import annotations

import json
import re
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from bci.acquisition.recorder.xdf_blocks import (
    FILE_HEADER,
    MAGIC,
    SAMPLES,
    STREAM_FOOTER,
    STREAM_HEADER,
    Block,
    framed,
    read_texts,
    read_xml,
    text_content,
    walk,
)

_COUNT = re.compile(rb"<sample_count>\s*(\d+)\s*</sample_count>")
_HEADER = MAGIC + framed(FILE_HEADER, b'<?xml version="1.0"?><info><version>1.0</version></info>')
_QUALITY = "-quality"
_DOUBTFUL_S = 0.5
"""By how much the stamps in a block may differ from their count over the rate, s."""


@dataclass(frozen=True, slots=True)
class Missing:
    """Samples or texts that are gone.

    Parameters
    ----------
    stream : str
        Name of the stream.
    n : int
        How many; those that the device lost in the same place are among them.
    sample : int
        Number of the first of them; -1 where only their count is known.
    is_text : bool
        Whether they are texts.
    """

    stream: str
    n: int
    sample: int = -1
    is_text: bool = False


class Rejoined:
    """The whole blocks of a recording without a check file, joined.

    Parameters
    ----------
    data : bytes-like
        The recording.
    runs : sequence of (int, int)
        First byte and the one after the last of whole blocks in a row, as `survey` has them.

    Attributes
    ----------
    names : dict of int to str
        Name of each stream.

    Notes
    -----
    How many samples lay in the damage is told by the next quality line of their stream, exactly; where there is
    none before the next damage, by the time stamps on both sides and the rate. How many texts did, by the footer.
    """

    def __init__(self, data: Any, runs: Sequence[tuple[int, int]]) -> None:
        self._data, self._runs = data, runs
        self._streams: dict[int, _Stream] = {}
        self._has_header = False
        self._unreadable: set[int] = set()
        for run, block in self._blocks():
            self._learn(run, block)
        for stream in self._streams.values():
            stream.settle()
        self.names = {number: stream.name for number, stream in self._streams.items()}

    @property
    def missing(self) -> list[Missing]:
        """What is gone, as far as it is known."""
        return [gone for stream in self._streams.values() for gone in stream.missing()]

    def parts(self) -> Iterator[Block | bytes]:
        """Yield the blocks that stay as they are, and the bytes of those that are new or changed; for one use."""
        if not self._has_header:
            yield _HEADER
        rows = dict.fromkeys(self._streams, 0)
        for run, block in self._blocks():
            stream = self._streams.get(block.stream)
            if stream is None or block.tag not in (SAMPLES, STREAM_FOOTER):
                yield block
            elif block.tag == STREAM_FOOTER:
                yield self._footer(block, rows[block.stream])
            elif (signal := self._signal_of(stream)) is not None:
                texts = read_texts(self._data, block)
                true = [(t, line) for t, text in texts if (line := signal.true_line(text, run, rows[signal.number]))]
                rows[block.stream] += len(true)
                if true:
                    yield block if true == texts else _text_block(block.stream, true)
            else:
                line = stream.new_line(run, rows[block.stream])
                if line is not None and stream.quality is not None:
                    yield _text_block(stream.quality, [(stream.pieces[run].first_s, line)])
                    rows[stream.quality] += 1
                rows[block.stream] += block.samples
                yield block

    # -------------------------------------------------------------- private
    def _blocks(self) -> Iterator[tuple[int, Block]]:
        """Yield (number of the run, block); behind a quality line that cannot be read a new run begins."""
        number = 0
        for start, stop in self._runs:
            for block in walk(self._data, start, stop):
                yield number, block
                number += block.offset in self._unreadable
            number += 1

    def _learn(self, run: int, block: Block) -> None:
        self._has_header |= block.offset == 0
        if block.tag == STREAM_HEADER and (root := read_xml(self._data, block)) is not None:
            is_text, sfreq = root.findtext("channel_format") == "string", float(root.findtext("nominal_srate") or 0)
            stream = _Stream(block.stream, root.findtext("name") or "", sfreq, is_text)
            quality = (s.number for s in self._streams.values() if s.is_text and s.name == f"{stream.name}{_QUALITY}")
            stream.quality = next(quality, None)
            self._streams[block.stream] = stream
        elif block.tag == SAMPLES and (found := self._streams.get(block.stream)) is not None:
            found.kept += block.samples
            signal = self._signal_of(found)
            if signal is not None:
                for _, text in read_texts(self._data, block):
                    if not signal.learn(text, run):
                        self._unreadable.add(block.offset)
            elif not found.is_text and block.samples:
                found.pieces.setdefault(run, _Piece()).grow(
                    block.samples, 1 / found.sfreq if found.sfreq else 0.0, *_times(self._data, block)
                )
        elif block.tag == STREAM_FOOTER and (found := self._streams.get(block.stream)) is not None:
            said = _COUNT.search(bytes(self._data[block.body : block.stop]))
            found.counted = None if said is None else int(said[1])

    def _signal_of(self, quality: _Stream) -> _Stream | None:
        """Return the signal whose quality lines are in a stream."""
        return next((s for s in self._streams.values() if s.quality == quality.number), None)

    def _footer(self, block: Block, rows: int) -> Block | bytes:
        body = bytes(self._data[block.body - 4 : block.stop])
        true = _COUNT.sub(b"<sample_count>%d</sample_count>" % rows, body)
        return block if true == body else framed(STREAM_FOOTER, true)


@dataclass(slots=True)
class _Piece:
    """What is left of a signal between two damages: numbers from `first` on, `passed` of them, `rows` recorded.

    Those before `up_to` come up to the last row; behind it may be a loss whose next sample is gone too.
    `lost` are missing before it; where it `is_new` its numbers do not follow, until that `is_told` by a line.
    """

    rows: int = 0
    passed: int = 0
    up_to: int = 0
    first_s: float = float("nan")
    last_s: float = float("nan")
    first: int | None = None
    lost: int = 0
    is_new: bool = False
    is_told: bool = False

    def grow(self, n: int, period_s: float, first_s: float, last_s: float) -> None:
        """Add the rows of a block; stamps that do not fit to their count are not believed."""
        if not abs(last_s - first_s - (n - 1) * period_s) < _DOUBTFUL_S:
            first_s = self.last_s + period_s if self.rows else first_s
            last_s = first_s + (n - 1) * period_s
        self.first_s = self.first_s if self.rows else first_s
        self.last_s = last_s
        self.rows += n
        self.passed += n
        self.up_to = self.passed


@dataclass(slots=True)
class _Stream:
    """A stream of the recording; `pieces` by the number of their run, `counted` what the footer says."""

    number: int
    name: str
    sfreq: float
    is_text: bool
    quality: int | None = None
    pieces: dict[int, _Piece] = field(default_factory=dict)
    kept: int = 0
    counted: int | None = None
    _flags: list[str] = field(default_factory=list)

    def learn(self, text: str, run: int) -> bool:
        """Take a quality line of this signal: from it on, sample numbers are known; False if it cannot be read."""
        entry = _entry(text)
        if entry is None or "event" in entry:
            return entry is not None
        piece = self.pieces.setdefault(run, _Piece())
        if not piece.rows:
            piece.first = int(entry["start"])
        else:
            if piece.first is None:
                piece.first = int(entry["start"]) - int(entry["lost"]) - piece.passed
            piece.passed = int(entry["start"]) - piece.first
        return True

    def settle(self) -> None:
        """Give each piece its first number, and what is missing before it."""
        self.pieces = {run: piece for run, piece in self.pieces.items() if piece.rows}
        pieces = list(self.pieces.values()) if self.sfreq else []
        after: int | None = None
        for k, piece in enumerate(pieces):
            if piece.first is None:
                piece.first = self._estimate(pieces, k, after)
            piece.lost = 0 if after is None else max(0, piece.first - after)
            piece.is_new = piece.first != (after or 0)
            after = piece.first + piece.passed

    def _estimate(self, pieces: list[_Piece], k: int, after: int | None) -> int:
        """Return the first number of a piece without a quality line, by time and what is known of its neighbours."""
        passed = 0
        for later in pieces[k:]:
            if later.first is not None:  # a number that is known, and leaves room for so many before it
                most = later.first - passed
                break
            passed += later.passed
        else:
            later, most = pieces[k], None
        if after is not None:
            before = pieces[k - 1]
            first = after - before.passed + before.up_to - 1 + self._steps(before.last_s, pieces[k].first_s)
        else:
            first = 0 if later.first is None else later.first - self._steps(pieces[k].first_s, later.first_s)
        return max(after or 0, first if most is None else min(first, most))

    def true_line(self, text: str, run: int, row: int) -> str | None:
        """Return a quality line as it is true of the rows that are left; None if it is damaged."""
        entry = _entry(text)
        if entry is None or "event" in entry:
            return None if entry is None else text
        self._flags = [flag for flag in entry["flags"] if flag != "GAP"]
        piece = self.pieces.get(run)
        lost = int(entry["lost"])
        if piece is not None and piece.first == entry["start"] and not piece.is_told:
            lost = lost if run == min(self.pieces) else piece.lost
            piece.is_told = True
        flags = entry["flags"] if "GAP" in entry["flags"] or lost == entry["lost"] else [*entry["flags"], "GAP"]
        return json.dumps({**entry, "row": row, "lost": lost, "flags": flags})

    def new_line(self, run: int, row: int) -> str | None:
        """Return the quality line that is to stand before the next samples, once for each piece; None for none."""
        piece = self.pieces.get(run)
        if piece is None or piece.is_told or not piece.is_new:
            return None
        piece.is_told = True
        return json.dumps({"row": row, "start": piece.first, "lost": piece.lost, "flags": [*self._flags, "GAP"]})

    def missing(self) -> list[Missing]:
        """Return what is gone of this stream."""
        found = [Missing(self.name, p.lost, (p.first or 0) - p.lost) for p in self.pieces.values() if p.lost]
        rest = 0 if self.counted is None else self.counted - self.kept - sum(gone.n for gone in found)
        return [*found, Missing(self.name, rest, is_text=self.is_text)] if rest > 0 else found

    def _steps(self, from_s: float, to_s: float) -> int:
        steps = (to_s - from_s) * self.sfreq
        return round(steps) if abs(steps) < 1e12 else 1


def _entry(text: str) -> dict[str, Any] | None:
    """Return a quality line, of a row or of an event; None if it is neither."""
    try:
        entry = json.loads(text)
        numbers, other = (("sample",), "source") if "event" in entry else (("row", "start", "lost"), "flags")
        whole = isinstance(entry, dict) and all(type(entry[key]) is int for key in numbers)
        return entry if whole and isinstance(entry[other], str if other == "source" else list) else None
    except (ValueError, KeyError, TypeError):
        return None


def _times(data: Any, block: Block) -> tuple[float, float]:
    """Return the time stamps of the first and the last sample of a block, s; NaN where there are none."""
    size, rest = divmod(block.stop - block.body, block.samples)
    last = block.stop - size
    if rest or data[block.body] != 8 or data[last] != 8:
        return float("nan"), float("nan")
    return struct.unpack_from("<d", data, block.body + 1)[0], struct.unpack_from("<d", data, last + 1)[0]


def _text_block(stream: int, texts: list[tuple[float, str]]) -> bytes:
    return framed(SAMPLES, struct.pack("<I", stream) + text_content(texts))
