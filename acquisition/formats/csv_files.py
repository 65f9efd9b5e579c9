"""CSV: a header row with the names, one sample per line; the rate is given, or told from a column of times."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bci.acquisition.formats.columns import checked_rate, described, timed
from bci.acquisition.formats.found import Cut, Found, Room, Settings
from bci.acquisition.formats.table import read_table
from bci.acquisition.formats.time_units import column_of_times, in_seconds
from bci.errors import FormatError
from bci.stream import Event

_MARKS = ("marker", "markers", "event", "events", "annotation")
"""Names of a column of events: a text, where something happens; empty or 0, where nothing does."""
_SEPARATORS = ",;\t"
_NOTHING = ("", "0", "0.0", "nan")


def read(path: Path, settings: Settings, room: Room) -> Found:
    """Read a table of text.

    Raises
    ------
    FormatError
        If a line is no line of numbers, or the rate is not known.
    """
    with path.open(encoding="utf-8-sig", errors="replace", newline=None) as file:
        header = file.readline(1 << 20)
        separator = max(_SEPARATORS, key=header.count)
        names = [name.strip().strip('"') for name in header.rstrip("\r\n").split(separator)]
        _check_names(names, path)
        time, mark = column_of_times(names), _first(names, _MARKS)
        columns = _columns(names, settings, {time, mark}, path)
        wanted = columns if time is None else [*columns, time]
        table = read_table(file, path, 2, separator, wanted, mark, settings, room)
    rows = table.numbers
    if time is None:
        sfreq, cuts = _counted(table.lines, settings, path)
    else:
        times = in_seconds(rows[:, -1], names[time], settings, path, room.warn)
        sfreq, cuts = timed(times, settings.sfreq, path, room.warn)
    scale, info = described([names[k] for k in columns], sfreq, settings, "", path)
    data = room.array((len(rows), len(columns)))
    np.multiply(rows[:, : len(columns)], scale, out=data)
    said_by = "" if mark is None else names[mark]
    events = [Event(row, 0.0, text, said_by) for row, text in enumerate(table.texts) if text.lower() not in _NOTHING]
    return Found(data, info, events, cuts)


def _check_names(names: list[str], path: Path) -> None:
    numbers = 0
    for name in names:
        try:
            float(name)
        except ValueError:
            continue
        numbers += 1
    if numbers or not all(name.isprintable() and "\ufffd" not in name for name in names):
        raise FormatError(
            f"expected a first line with the names of the columns in {path}, got {', '.join(names)[:60]!r}; "
            f"write the names there",
            where="line 1",
        )


def _first(names: list[str], known: Collection[str]) -> int | None:
    return next((k for k, name in enumerate(names) if name.lower() in known), None)


def _columns(names: list[str], settings: Settings, taken: set[int | None], path: Path) -> list[int]:
    if settings.ch_names is None:
        columns = [k for k, name in enumerate(names) if k not in taken and name]
    else:
        missing = [name for name in settings.ch_names if name not in names]
        if missing:
            raise FormatError(f"expected a column {missing[0]!r} in {path}, got {', '.join(names)[:200]}; name others")
        columns = [names.index(name) for name in settings.ch_names]
    if not columns:
        raise FormatError(f"expected columns of samples in {path}, got {', '.join(names)[:200]!r}", where="line 1")
    return columns


def _counted(lines: NDArray[np.int64], settings: Settings, path: Path) -> tuple[float, list[Cut]]:
    """Without times the lines count: one that could not be read is a lost sample."""
    if settings.sfreq is None:
        raise FormatError(
            f"expected the sampling rate of {path}, or a column of times called time_s or time_ms; give it as sfreq=HZ",
            where="line 1",
        )
    jumps = np.flatnonzero(np.diff(lines) > 1) + 1
    cuts = [Cut(0, 0)]
    for row in jumps.tolist():
        cuts.append(Cut(row, int(lines[row] - lines[0]), int(lines[row] - lines[row - 1]) - 1, cause="not readable"))
    return checked_rate(settings.sfreq, path), cuts
