"""The command line for recordings: ``bci recording info | verify | repair | export``."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import click

from bci.apps.plain import PlainGroup, above, json_option

_RECORDING = click.argument("path", type=click.Path(path_type=Path))


def _complete_stream(ctx: click.Context, _param: click.Parameter, incomplete: str) -> list[str]:
    from bci.acquisition.recorder.summary import summarize
    from bci.errors import BciError

    try:
        streams = summarize(ctx.params["path"]).streams
    except (BciError, OSError, KeyError, TypeError):  # completion has no place to complain
        return []
    return [s.name for s in streams if s.format != "string" and s.name.startswith(incomplete)]


@click.group(cls=PlainGroup)
def recording() -> None:
    """Look into, check, repair and export recordings.

    \b
    bci recording info run.xdf                     what is in it
    bci recording verify run.xdf                   is every byte as it was written?
    bci recording repair run.xdf                   a copy with everything that is whole
    bci recording export run.xdf --to bids         for other programs
    """


@recording.command()
@_RECORDING
@json_option
def info(path: Path, as_json: bool) -> None:
    """Say what is in the recording PATH: streams, samples, losses.

    \b
    bci recording info run.xdf
    bci recording info run.xdf --json
    """
    from bci.apps.recordings import describe_recording

    _tell(describe_recording(path), as_json)


@recording.command()
@_RECORDING
@json_option
def verify(path: Path, as_json: bool) -> None:
    """Hold the recording PATH against its check file: which bytes, samples and streams are damaged.

    Exit code 0 if it is as it was written, 1 if it is damaged. A recording that was cut off at its end, as a kill
    does, is not damaged. Without a check file (PATH.check) only the structure is looked at.

    \b
    bci recording verify run.xdf
    bci recording verify run.xdf --json
    """
    from bci.apps.recordings import verify_recording

    _tell(verify_recording(path), as_json)


@recording.command()
@_RECORDING
@click.option(
    "--out", default=None, type=click.Path(path_type=Path), help="The copy; run-repaired.xdf for run.xdf by default."
)
@json_option
def repair(path: Path, out: Path | None, as_json: bool) -> None:
    """Write a copy of the recording PATH with every whole block; PATH itself is not changed.

    Samples that are gone become a gap, and are told. With the check file PATH.check beside it every changed byte is
    found; without one only the structure is looked at, and the copy goes on behind damage where a whole block begins.

    \b
    bci recording repair run.xdf
    bci recording repair run.xdf --out whole.xdf
    """
    from bci.apps.recordings import repair_recording

    _tell(repair_recording(path, out), as_json)


@recording.command()
@_RECORDING
@click.option("--to", required=True, type=click.Choice(["edf", "bdf", "fif", "bids"]), help="Format.")
@click.option("--out", default=None, type=click.Path(path_type=Path), help="File, or folder of the BIDS data set.")
@click.option("--stream", default=None, help="Stream; the first with EEG by default.", shell_complete=_complete_stream)
@click.option("--subject", default="01", show_default=True, help="BIDS: label of the person; never a name.")
@click.option("--task", default="recording", show_default=True, help="BIDS: label of the task.")
@click.option("--session", default=None, help="BIDS: label of the session.")
@click.option("--run", default=None, type=click.IntRange(1), help="BIDS: number of the run.")
@click.option("--line-hz", default=None, type=above(0), help="BIDS: mains frequency, Hz.")
@json_option
def export(path: Path, to: str, out: Path | None, stream: str | None, as_json: bool, **labels: Any) -> None:
    """Write the recording PATH in another format, read it back, and compare.

    EDF+ has 16 bits, BDF+ and BIDS 24, FIF all of them; the largest difference is told. Losses become annotations.

    \b
    bci recording export run.xdf --to edf
    bci recording export run.xdf --to fif --stream eeg --out S01_raw.fif
    bci recording export run.xdf --to bids --out study --subject 07 --task imagery --run 1 --line-hz 50
    """
    from bci.apps.recordings import export_recording

    _tell(export_recording(path, to, out, stream, **labels), as_json)


def _tell(result: dict[str, Any], as_json: bool) -> None:
    code = result.pop("code", 0)
    click.echo(json.dumps(result) if as_json else result["text"])
    sys.exit(code)
