"""The options that say how a recording is read: those of the device ``replay``, for the command line."""

from __future__ import annotations

from typing import Any

import click

from bci.apps.plain import above

_UNITS = ("uV", "mV", "V", "nV")
# Those of `time_units.UNITS`, whose import would take longer than all of --help.
TIME_UNITS = ("s", "ms", "us", "ns")


def replay_options(command: Any) -> Any:
    """Add --stream, --sfreq, --ch-names, --unit, --time-unit, --salvage and --loop."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


def _complete_unit(_ctx: click.Context, _param: click.Parameter, incomplete: str) -> list[str]:
    return [unit for unit in _UNITS if unit.lower().startswith(incomplete.lower())]


def _names(_ctx: click.Context, _param: click.Parameter, text: str | None) -> tuple[str, ...] | None:
    if text is None:
        return None
    names = tuple(name.strip() for name in text.split(","))
    if not all(names):
        raise click.BadParameter(f"{text!r} leaves a name empty.")
    return names


_OPTIONS = (
    click.option(
        "--stream", default=None, metavar="NAME", help="Stream of an XDF file; the first with EEG by default."
    ),
    click.option(
        "--sfreq",
        default=None,
        type=above(0),
        metavar="HZ",
        help="Sampling rate of a CSV or NumPy file that does not say it.",
    ),
    click.option(
        "--ch-names",
        default=None,
        metavar="A,B,...",
        callback=_names,
        help="Channel names of a NumPy file that does not say them; the columns to take of a CSV file.",
    ),
    click.option(
        "--unit",
        default=None,
        metavar="UNIT",
        help="Unit of the numbers of a CSV or NumPy file, as in mV; uV by default.",
        shell_complete=_complete_unit,
    ),
    click.option(
        "--time-unit",
        default=None,
        type=click.Choice(TIME_UNITS),
        help="Unit of the times in a CSV or NumPy file, where their column does not say it.",
    ),
    click.option("--salvage", is_flag=True, help="Play what is whole of a damaged file instead of refusing it."),
    click.option("--loop", is_flag=True, help="Begin again at the end, until Ctrl+C."),
)
