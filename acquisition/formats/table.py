"""Read a table of text, fast where it is whole and line by line where it is not."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

import numpy as np
from numpy.typing import NDArray

from bci.acquisition.formats.found import Room, Settings
from bci.errors import FormatError

_LINES = 2048
"""How many lines are read at a time."""


@dataclass(slots=True)
class Table:
    """Numbers and texts of the lines that could be read.

    Parameters
    ----------
    numbers : ndarray, shape (n_lines, n_columns)
        Values of the columns with numbers.
    texts : list of str
        What stands in the column of marks, for each line; empty without one.
    lines : ndarray of int, shape (n_lines,)
        Number of each line in the file, from 1.
    """

    numbers: NDArray[np.float64]
    texts: list[str]
    lines: NDArray[np.int64]


def read_table(
    file: TextIO, path: Path, first_line: int, separator: str, columns: Sequence[int], mark: int | None,
    settings: Settings, room: Room,
) -> Table:  # fmt: skip
    """Read all lines that are left.

    Parameters
    ----------
    file : file
        After its header.
    path : Path
        The file, for what is said.
    first_line : int
        Number of the next line, from 1.
    separator : str
        What stands between columns.
    columns : sequence of int
        Columns with numbers.
    mark : int, optional
        Column with text.
    settings : Settings
        With `salvage`, lines that are no numbers are left out and said; else they are refused, but for a last one
        that was cut off.
    room : Room
        Told of progress and of what is left out.

    Raises
    ------
    FormatError
        With the line that could not be read.
    """
    blocks: list[NDArray[np.float64]] = []
    numbers: list[NDArray[np.int64]] = []
    texts: list[str] = []
    bad: list[int] = []
    size = max(1, path.stat().st_size)
    width = max([*columns, mark or 0]) + 1
    line, done = first_line, 0
    while lines := _some(file):
        done += sum(map(len, lines))
        block, good = _block(lines, separator, columns, width)
        if len(good) < len(lines):
            bad += [line + k for k in sorted(set(range(len(lines))) - set(good)) if lines[k].strip()]
        blocks.append(block)
        numbers.append(line + np.asarray(good, dtype=np.int64))
        if mark is not None:
            texts += [lines[k].rstrip("\r\n").split(separator)[mark].strip() for k in good]
        line += len(lines)
        room.progress(min(1.0, done / size))
    found = Table(np.concatenate(blocks) if blocks else np.empty((0, len(columns))), texts,
                  np.concatenate(numbers) if numbers else np.empty(0, np.int64))  # fmt: skip
    _judge(found, bad, line - 1, path, settings.salvage, room)
    return found


def _some(file: TextIO) -> list[str]:
    lines = []
    for text in file:
        lines.append(text)
        if len(lines) == _LINES:
            break
    return lines


def _block(
    lines: list[str], separator: str, columns: Sequence[int], width: int
) -> tuple[NDArray[np.float64], Sequence[int]]:
    """Return the numbers of the lines that have them, and which lines those are."""
    try:
        block = np.loadtxt(lines, delimiter=separator, usecols=columns, ndmin=2, comments=None)
        if len(block) == len(lines) and all(text.count(separator) >= width - 1 for text in lines):
            return block, range(len(lines))
    except ValueError:
        pass
    rows, good = [], []
    for number, text in enumerate(lines):
        cells = text.rstrip("\r\n").split(separator)
        if len(cells) < width:
            continue
        with contextlib.suppress(ValueError):
            rows.append([float(cells[k].strip() or "nan") for k in columns])  # an empty cell: unknown
            good.append(number)
    return np.array(rows).reshape(len(rows), len(columns)), good


def _judge(found: Table, bad: list[int], last: int, path: Path, salvage: bool, room: Room) -> None:
    n = len(found.numbers)
    if n == 0:
        raise FormatError(f"expected lines of numbers in {path}, it has none; check the file", where=f"line {last}")
    if bad == [last] and not salvage:  # a program that was killed while it wrote
        room.warn(f"{path.name} ends within a line; it is left out")
    elif bad and not salvage:
        raise FormatError(
            f"expected numbers in line {bad[0]} of {path}, got something else, and {len(bad) - 1} more such lines; "
            f"{n} lines can be read with salvage=True",
            where=f"line {bad[0]}", readable=f"{n} of {n + len(bad)} samples",
        )  # fmt: skip
    elif bad:
        room.warn(f"{path.name}: {len(bad)} lines are no numbers and left out, the first is line {bad[0]}")
