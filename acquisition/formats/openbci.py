"""Text files of the OpenBCI GUI, version 5 and later."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TextIO

import numpy as np
from numpy.typing import NDArray

from bci.acquisition.formats.columns import checked_rate
from bci.acquisition.formats.found import Found, Room, Settings, pieces
from bci.acquisition.formats.table import read_table
from bci.acquisition.stamps import numbered
from bci.errors import FormatError
from bci.stream import Channel, Event, Kind, StreamInfo

_COUNTER = "Sample Index"
_KINDS = {"exg channel": (Kind.EEG, "uV"), "accel channel": (Kind.ACCEL, "g"), "analog channel": (Kind.MISC, ""),
          "digital channel": (Kind.MISC, "")}  # fmt: skip
"""Columns that are samples, by how their names begin; units as the GUI writes them."""
_RATE = re.compile(r"^%\s*Sample Rate\s*=\s*([0-9.]+)", re.IGNORECASE)
_MS = 1e11
"""Unix times above are in ms."""
_COUNTER_STEPS = 256
"""The Cyton counts to 255 and begins anew."""


def read(path: Path, settings: Settings, room: Room) -> Found:
    """Read a recording of the OpenBCI GUI.

    What is lost is told from the counter of the board where it counts to 255 (Cyton), with the Unix times for whole
    turns of it; else from the times alone.

    Raises
    ------
    FormatError
        If the header lacks the rate or the names of the columns, or a line is no line of numbers.
    """
    with path.open(encoding="utf-8", errors="replace") as file:
        names, sfreq, line = _header(file, path)
        chosen = [(k, _kind(name)) for k, name in enumerate(names)]
        columns = [(k, kind) for k, kind in chosen if kind is not None and names.index(names[k]) == k]
        if not any(kind[0] is Kind.EEG for _, kind in columns):
            raise FormatError(
                f"expected columns called EXG Channel in {path}, got {', '.join(names)[:200]}; take another copy",
                where=f"line {line - 1}",
            )
        extra = [k for k in (_index(names, _COUNTER), _index(names, "Timestamp"), _index(names, "Marker Channel")) if
                 k is not None]  # fmt: skip
        table = read_table(file, path, line, ",", [*(k for k, _ in columns), *extra], None, settings, room)
    rows = table.numbers
    channels = tuple(Channel(names[k], kind, unit) for k, (kind, unit) in columns)
    n = len(channels)
    info = StreamInfo("", checked_rate(settings.sfreq or sfreq or 0.0, path), channels)
    by_name = {names[k]: rows[:, n + at] for at, k in enumerate(extra)}
    data = room.array((len(rows), n))
    data[:] = rows[:, :n]
    numbers = _numbers(by_name.get(_COUNTER), by_name.get("Timestamp"), info.sfreq, len(rows))
    return Found(data, info, _events(by_name.get("Marker Channel")), pieces(numbers))


def _header(file: TextIO, path: Path) -> tuple[list[str], float | None, int]:
    """Return the names of the columns, the rate, and the number of the first line of samples."""
    sfreq, line, text = None, 0, "%"
    while text.startswith("%") and line < 100:
        text, line = file.readline(1 << 16), line + 1
        if match := _RATE.match(text):
            sfreq = float(match[1]) if match[1].count(".") <= 1 and match[1] != "." else None
    names = [name.strip() for name in text.split(",")]
    if _COUNTER not in names:
        raise FormatError(
            f"expected the names of the columns, {_COUNTER} the first, after the lines with % in {path}, got "
            f"{text[:60]!r}; take another copy, or one of GUI version 5 or later",
            where=f"line {line}",
        )
    return names, sfreq, line + 1


def _kind(name: str) -> tuple[Kind, str] | None:
    return next((kind for start, kind in _KINDS.items() if name.lower().startswith(start)), None)


def _index(names: list[str], name: str) -> int | None:
    return names.index(name) if name in names else None


def _numbers(
    counter: NDArray[np.float64] | None, times: NDArray[np.float64] | None, sfreq: float, n: int
) -> NDArray[np.int64]:
    """Return the number of each sample."""
    by_time = None
    if times is not None and np.isfinite(times).all():
        seconds = times * (1e-3 if np.median(times) > _MS else 1.0)
        by_time = numbered(seconds, sfreq) if np.ptp(seconds) < 3.2e7 else None
    step = None if counter is None else np.diff(np.nan_to_num(counter)).astype(np.int64) % _COUNTER_STEPS
    if step is None or np.mean(step == 1) < 0.9:
        return np.arange(n) if by_time is None else by_time
    # A turn of the counter that is lost as a whole shows in the times only.
    lost = (step - 1) % _COUNTER_STEPS
    numbers = np.arange(n) + np.concatenate([[0], np.cumsum(lost)])
    if by_time is not None:
        late = np.diff(by_time) - 1 - lost
        turns = np.where(late > _COUNTER_STEPS / 2, np.rint(late / _COUNTER_STEPS), 0).astype(np.int64)
        numbers += np.concatenate([[0], np.cumsum(turns * _COUNTER_STEPS)])
    return numbers


def _events(marks: NDArray[np.float64] | None) -> list[Event]:
    """Return what stands in the marker channel, as the shortest text."""
    if marks is None:
        return []
    rows = np.flatnonzero(np.nan_to_num(marks))
    return [Event(int(row), 0.0, f"{marks[row]:g}", "Marker Channel") for row in rows]
