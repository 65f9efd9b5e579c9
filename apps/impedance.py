"""``bci device impedance``: the contacts of electrodes, measured again and again."""

from __future__ import annotations

import json
import math
import shutil
import sys
import time
from collections.abc import Mapping
from typing import Any

import click

from bci.apps.key import keys, raw_terminal
from bci.ports import Device
from bci.signal.contact import Aims, in_words, measure, plain, refuse_if_unable
from bci.signal.verdict import Level, of_contact
from bci.stream import listed

_COLOURS = {"good": "green", "fair": "yellow", "bad": "red", "unknown": None}
_LOOK_S = 0.05
_LEAST_CELL, _HEAD_LINES = 28, 5


def follow_contacts(
    device: Device,
    spec: str,
    *,
    seconds: float | None = None,
    every_s: float = 1.0,
    aims: Aims | None = None,
    as_json: bool = False,
) -> None:
    """Measure the contacts of `device` and show them, until a key, Ctrl+C, or `seconds` are over.

    Without a terminal, and as JSON, they are measured once unless `seconds` are given.

    Parameters
    ----------
    device : Device
        Closed; it is closed again at the end.
    spec : str
        What the user calls it.
    seconds : float, optional
        For how long, s.
    every_s : float, default=1
        Time between two measurements, s.
    aims : Aims, optional
        From where on a contact is good, and bad.
    as_json : bool, default=False
        One line of JSON for each measurement.

    Raises
    ------
    ConfigError
        If the device cannot measure impedance.
    """
    refuse_if_unable(device, spec)
    aims = aims or Aims()
    is_live = sys.stdout.isatty() and not as_json
    is_once = seconds is None and not is_live
    has_keys = is_live and sys.stdin.isatty()
    screen = _Screen(spec, aims, is_live, has_keys)
    begin_s = time.monotonic()
    restore = raw_terminal() if has_keys else lambda: None
    try:
        info = device.open()
        while True:
            kohm = measure(device, info)
            if as_json:
                time_s = round(time.monotonic() - begin_s, 3)
                click.echo(json.dumps({"time_s": time_s, **told(kohm, aims)}))
            else:
                screen.show(kohm)
            end_s = math.inf if seconds is None else begin_s + seconds
            if is_once or not _wait(time.monotonic() + every_s, end_s, has_keys):
                return
    except KeyboardInterrupt:
        click.echo("")  # how it is meant to end
    finally:
        restore()
        device.close()


def told(kohm: Mapping[str, float], aims: Aims) -> dict[str, Any]:
    """Return contacts ready for JSON: ``contact_kohm``, ``verdict`` for who prepares, ``session``: what a session says.

    Each is a dict by channel. ``session`` is the level of the shared verdict, "good", "doubtful" or "bad": with the
    last the gate stays closed if decisions rest on the channel.
    """
    return {
        "contact_kohm": plain(kohm),
        "verdict": {name: aims.word(v) for name, v in kohm.items()},
        "session": {name: of_contact(name, v).level.name.lower() for name, v in kohm.items()},
    }


class _Screen:
    """Shows each table in the place of the one before, or below it where there is no terminal."""

    def __init__(self, spec: str, aims: Aims, is_live: bool, has_keys: bool) -> None:
        self._spec, self._aims, self._is_live, self._has_keys = spec, aims, is_live, has_keys
        self._n_lines = 0

    def show(self, kohm: Mapping[str, float]) -> None:
        size = shutil.get_terminal_size((100, 50))
        lines = [self._spec, *table(kohm, self._aims, size)]
        lines += ["Any key ends."] if self._has_keys else []
        if self._is_live:
            lines = [line if "\x1b" in line else line[: size.columns] for line in lines]  # a line that wraps is two
            click.echo(f"\x1b[{self._n_lines}A\x1b[J" if self._n_lines else "", nl=False)
        click.echo("\n".join(lines))
        self._n_lines = len(lines)


def table(kohm: Mapping[str, float], aims: Aims, size: tuple[int, int]) -> list[str]:
    """Return contacts as lines of a table that fits a terminal of `size` (columns, lines).

    Where there are more channels than there is room for, those that are good are left out.
    """
    words = {name: aims.word(v) for name, v in kohm.items()}
    wide = max([_LEAST_CELL, *(len(name) + 22 for name in kohm)])
    n_columns, n_rows = max(1, size[0] // wide), max(1, size[1] - _HEAD_LINES)
    shown = list(kohm)
    if len(shown) > n_columns * n_rows:
        shown = [name for name in kohm if words[name] != "good"][: n_columns * n_rows]
    n_rows = -(-len(shown) // n_columns)
    cells = [click.style(_cell(name, kohm[name], words[name], wide), fg=_COLOURS[words[name]]) for name in shown]
    rows = ["".join(cells[row::n_rows]) for row in range(n_rows)]
    counts = ", ".join(f"{n} {word}" for word in _COLOURS if (n := list(words.values()).count(word)))
    hidden = f" ({len(kohm) - len(shown)} not shown)" if len(shown) < len(kohm) else ""
    head = f"{counts}{hidden}; good up to {aims.good_kohm:g} kOhm, bad above {aims.bad_kohm:g} kOhm"
    return [head, *rows, _session_line(kohm)]


def _cell(name: str, kohm: float, word: str, wide: int) -> str:
    return f"{name:<{wide - 22}}{in_words(kohm):>10}  {word:<10}"


def _session_line(kohm: Mapping[str, float]) -> str:
    """Say what the shared verdict on these contacts is."""
    levels = {name: of_contact(name, v).level for name, v in kohm.items()}
    bad, doubtful = ([name for name, at in levels.items() if at is level] for level in (Level.BAD, Level.DOUBTFUL))
    parts = [f"closed by {listed(bad, 6)}"] if bad else []
    parts += [f"doubtful {listed(doubtful, 6)}"] if doubtful else []
    return "In a session: " + ("; ".join(parts) or "no channel is held back by its contact")


def _wait(due_s: float, end_s: float, has_keys: bool) -> bool:
    """Wait until the next measurement is due; return False if there shall be none."""
    while time.monotonic() < min(due_s, end_s):
        if has_keys:
            try:
                if keys(_LOOK_S):
                    return False
            except OSError:  # the terminal is gone
                return False
        else:
            time.sleep(_LOOK_S)
    return due_s <= end_s
