"""The lines beside a recorded stream that say where samples are missing and what is known to be wrong.

Each line is a JSON object and holds until the next: ``row`` (row of the recorded
stream), ``start`` (true number of that sample), ``lost`` (samples missing just
before it), ``flags`` (names of `bci.stream.Flag`). Lines with ``event`` give the
``sample`` and ``source`` of a marker instead.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bci.errors import FormatError
from bci.stream import Chunk, Event, Flag


class Quality:
    """Watch the chunks of one stream and word what is worth a line."""

    def __init__(self) -> None:
        self._row = 0
        self._next: int | None = None
        self._flags = Flag.OK

    def lines(self, chunk: Chunk) -> list[str]:
        """Return the lines that belong before the samples of `chunk`; call once for each chunk, in order."""
        lasting = chunk.flags & ~Flag.GAP
        lost = 0 if self._next is None or not chunk.n_samples else chunk.start - self._next
        found = []
        if (self._next is None and chunk.n_samples) or lost or Flag.GAP in chunk.flags or lasting != self._flags:
            entry = {"row": self._row, "start": chunk.start, "lost": lost, "flags": _names(chunk.flags)}
            found.append(json.dumps(entry))
        self._flags = lasting
        if chunk.n_samples:
            self._next = chunk.stop
        self._row += chunk.n_samples
        return found


def event_lines(chunk: Chunk) -> list[str]:
    """Return the lines that belong after the samples of `chunk`: an event is never kept without its sample."""
    return [_event(event) for event in chunk.events]


def sample_numbers(lines: Iterable[str], n_rows: int) -> NDArray[np.int64]:
    """Return the true sample number of each recorded row.

    Parameters
    ----------
    lines : iterable of str
        The quality lines of the stream.
    n_rows : int
        Rows recorded.

    Returns
    -------
    numbers : ndarray of int64, shape (n_rows,)
        Rising; a jump by more than one is a loss.

    Raises
    ------
    FormatError
        If a line is not one of these.
    """
    numbers = np.arange(n_rows, dtype=np.int64)
    for line in lines:
        entry = _parsed(line)
        if "start" in entry:
            row = int(entry["row"])
            numbers[row:] = np.arange(max(n_rows - row, 0)) + int(entry["start"])
    return numbers


def row_flags(lines: Iterable[str], n_rows: int) -> NDArray[np.int64]:
    """Return the flags of each recorded row as numbers, shape (n_rows,); GAP stands at the row after the gap only."""
    flags = np.zeros(n_rows, np.int64)
    for line in lines:
        entry = _parsed(line)
        if "start" in entry:
            row = int(entry["row"])
            held = [Flag[name] for name in entry["flags"] if name in Flag.__members__]
            flags[row:] = sum(flag for flag in held if flag is not Flag.GAP)
            if Flag.GAP in held:
                flags[row : row + 1] |= Flag.GAP
    return flags


def _names(flags: Flag) -> list[str]:
    return [flag.name for flag in flags if flag.name]


def _event(event: Event) -> str:
    return json.dumps({"event": event.code, "sample": event.sample, "source": event.source})


def _parsed(line: str) -> dict[str, Any]:
    try:
        entry: dict[str, Any] = json.loads(line)
        if "event" in entry or {"row", "start", "lost", "flags"} <= entry.keys():
            return entry
    except (ValueError, TypeError, AttributeError) as error:
        raise FormatError(f"a quality line is a JSON object, got {line[:80]!r}; the recording is damaged") from error
    raise FormatError(f"a quality line has row, start, lost and flags, got {line[:80]!r}; the recording is damaged")
