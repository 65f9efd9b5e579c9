"""The command line: ``bci demo | devices | view | record | recording | replay | serve | train | run | chain | ...``."""

from __future__ import annotations

import contextlib
import functools
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

import bci
from bci.apps.device_cli import device as device_group
from bci.apps.plain import PlainGroup, above, json_option
from bci.apps.recording_cli import recording
from bci.apps.replay_options import replay_options

_DEVICE_HELP = (
    "brainflow:BOARD, lsl:NAME, replay:FILE or participant (a simulated person); settings follow, as in "
    "brainflow:cyton,serial_port=/dev/ttyUSB0"
)


def _complete_device(_ctx: click.Context, _param: click.Parameter, incomplete: str) -> list[str]:
    from bci.registry import names

    if incomplete.startswith("brainflow:"):
        from bci.acquisition.brainflow_board import board_names

        known = [f"brainflow:{board}" for board in board_names()]
    else:
        known = [*names("devices"), "brainflow:synthetic", "lsl:", "replay:"]
    return [k for k in known if k.startswith(incomplete)]


def _complete(group: str) -> Callable[[click.Context, click.Parameter, str], list[str]]:
    def complete(_ctx: click.Context, _param: click.Parameter, incomplete: str) -> list[str]:
        from bci.registry import names

        return [k for k in names(group) if k.startswith(incomplete)]

    return complete


def device_option(default: str = "participant") -> Callable[[Any], Any]:
    """Add --device."""
    return click.option(
        "--device",
        default=default,
        show_default=True,
        metavar="SPEC",
        help=_DEVICE_HELP,
        shell_complete=_complete_device,
    )


def decoder_option(default: str = "csp-lda") -> Callable[[Any], Any]:
    """Add --decoder."""
    return click.option(
        "--decoder", default=default, show_default=True, help="Decoder to use.", shell_complete=_complete("decoders")
    )


def event_option(command: Any) -> Any:
    """Add --event."""
    return click.option(
        "--event",
        "events",
        multiple=True,
        metavar="CODE=CLASS",
        help="What an event of a recording means, as in T1=left.",
    )(command)


@click.group(cls=PlainGroup, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(bci.__version__, prog_name="bci")
def main() -> None:
    """Brain-computer interface: from amplifier to effector.

    \b
    bci demo                                       see everything work, with a simulated person
    bci view --device brainflow:synthetic          look at the signals of a board
    bci record run.xdf --device lsl:MyAmplifier    record them
    bci run examples/session.toml                  run an experiment

    Tab completion: add the line eval "$(_BCI_COMPLETE=bash_source bci)" to ~/.bashrc
    (zsh and fish: docs/how-to/command-line.md).
    """
    import logging

    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(message)s")
    logging.getLogger("bci.apps.outputs.log").setLevel(logging.INFO)  # an output whose only face is the log


@main.command()
@device_option()
@decoder_option()
@click.option("--minutes", default=3.0, show_default=True, type=above(0), help="Minutes of driving, of signal.")
@click.option("--live", is_flag=True, help="Run in real time (a simulated person is faster otherwise).")
@click.option("--show", is_flag=True, help="Open the hand, the virtual scene and the car; runs in real time.")
@click.option("--out", default="out", show_default=True, type=click.Path(path_type=Path), help="Folder for results.")
@click.option("--seed", default=0, show_default=True, help="Seed of schedule and person.")
@click.option(
    "--strength",
    default=1.0,
    show_default=True,
    type=above(0, or_equal=True),
    help="How strongly the simulated brain answers; 0: not.",
)
@event_option
@json_option
def demo(as_json: bool, **options: Any) -> None:
    """Calibrate, fit, drive, drill, report: the whole loop once.

    \b
    bci demo                                  a simulated person, as fast as possible
    bci demo --show                           with windows, in real time
    bci demo --device participant,strength=0  a brain that does not answer: chance
    bci demo --device replay:run.xdf          a recording
    """
    from bci.apps.demo import run_demo

    result = run_demo(**options, say=(lambda _: None) if as_json else click.echo)
    if as_json:
        click.echo(json.dumps(result))


@main.command()
@json_option
def devices(as_json: bool) -> None:
    """List what samples can come from: plugins, boards, LSL streams on this machine (docs/how-to/lsl.md: beyond it).

    \b
    bci devices
    bci devices --json | python -m json.tool
    """
    from bci.apps.inspect import list_devices, stream_in_words

    found = list_devices()
    if as_json:
        click.echo(json.dumps(found))
        return
    streams = [stream_in_words(s) for s in found["streams"]]
    for title, words in (
        ("Plugins:  ", ", ".join(found["plugins"])),
        ("Boards:   ", ", ".join(found["boards"])),
        *(("LSL:      ", stream) for stream in streams or ["no stream is being sent now"]),
        *(("Missing:  ", sentence) for sentence in found["missing"]),
    ):
        click.echo(click.wrap_text(words, 100, f"{title} ", " " * 11))


@main.command()
@device_option()
@click.option("--seconds", default=None, type=float, help="Close by itself after so many seconds of signal.")
@click.option("--screenshot", default=None, type=click.Path(path_type=Path), help="Save a picture before closing.")
@click.option("--window-s", default=10.0, show_default=True, help="Seconds on the screen, up to 60.")
@click.option(
    "--scale-uv", default=None, type=float, help="Height of a channel in µV; chosen from the signal if not given."
)
@click.option(
    "--band", default=(1.0, 40.0), show_default=True, nargs=2, type=float, metavar="LOW HIGH", help="Band-pass in Hz."
)
@click.option("--no-band", is_flag=True, help="No band-pass: the signal as it comes.")
@click.option("--notch", default="50", show_default=True, type=click.Choice(["50", "60", "off"]), help="Mains in Hz.")
@click.option("--reference", default="none", show_default=True, type=click.Choice(["none", "average"]))
@click.option("--spectrum", is_flag=True, help="Show the spectrum from the begin.")
@click.option("--head", is_flag=True, help="Show the electrodes on a head from the begin.")
@click.option("--impedance", is_flag=True, help="Measure the contacts before the device streams.")
def view(device: str, band: tuple[float, float], no_band: bool, notch: str, **options: Any) -> None:
    """Look at the signals: scrolling channels, spectrum, events, gaps, contacts of electrodes.

    Click a channel's name to see its spectrum; hover over ? for the keys. A running session is
    watched with --device tap:ADDRESS, where ADDRESS is what its tap says.

    \b
    bci view --device brainflow:synthetic --notch 60
    bci view --device replay:run.xdf,speed=1 --spectrum
    bci view --head --impedance
    """
    from bci.apps.viewer.process import view_device

    notch_hz = None if notch == "off" else float(notch)
    view_device(device, band=None if no_band else band, notch_hz=notch_hz, **options)


@main.command()
@device_option("brainflow:synthetic")
@click.option(
    "--seconds",
    default=None,
    type=above(0),
    help="How long; until Ctrl+C if not given. A silent source is given up 5 s and 2 % later.",
)
@click.option("--force", is_flag=True, help="Give the file a new number if it exists, instead of refusing.")
@click.option(
    "--fallback",
    default=None,
    type=click.Path(path_type=Path),
    help="Folder on another disk where the recording goes on if this one is full.",
)
@click.option("--impedance", is_flag=True, help="Measure the contacts first, and keep them in the header.")
@click.argument("path", type=click.Path(path_type=Path))
@json_option
def record(as_json: bool, **options: Any) -> None:
    """Record a device to the XDF file PATH; what was recorded survives a crash.

    \b
    bci record run.xdf                                          BrainFlow's synthetic board
    bci record run.xdf --device lsl:MyAmplifier --seconds 60
    """
    from bci.apps.record import record_device

    with _plain_log():
        result = record_device(options.pop("device"), options.pop("path"), **options)
    click.echo(json.dumps(result) if as_json else result["text"])
    sys.exit(result["code"])


@main.command()
@click.argument("path", type=click.Path(path_type=Path))
@click.option("--name", default="bci-replay", show_default=True, help="Name of the LSL stream.")
@click.option("--speed", default=1.0, show_default=True, type=above(0), help="Times real time.")
@click.option(
    "--wait", "wait_s", default=300.0, show_default=True, type=above(0), help="Seconds for a receiver to come."
)
@replay_options
@json_option
def replay(as_json: bool, **options: Any) -> None:
    """Send the recording PATH as an LSL stream, with its markers, once a receiver is there.

    \b
    bci replay run.xdf                               in one shell
    bci view --device lsl-replay:bci-replay          in another
    bci replay table.csv --sfreq 250 --unit mV       what a file does not say
    bci replay run.xdf --stream EMG --loop           another stream, again and again
    """
    from bci.apps.record import serve_recording

    with _plain_log():
        result = serve_recording(**options, say=functools.partial(click.echo, err=True))
    click.echo(json.dumps(result) if as_json else result["text"])


@main.command()
@device_option("brainflow:synthetic")
@click.option("--name", default="bci", show_default=True, help="Name of the LSL stream.")
@click.option(
    "--keep", "keep_s", default=60.0, show_default=True, type=above(0, or_equal=True), help="Seconds kept unreceived."
)
@json_option
def serve(as_json: bool, device: str, **options: Any) -> None:
    """Send a device as an LSL stream, with its markers, to other programs.

    \b
    bci serve --device brainflow:synthetic --name Synthetic     in one shell
    bci view --device lsl:Synthetic                             in another
    """
    from bci.apps.serve import serve_device

    with _plain_log():
        result = serve_device(device, **options, say=functools.partial(click.echo, err=True))
    click.echo(json.dumps(result) if as_json else result["text"])


@main.command()
@click.argument("recordings", nargs=-1, required=True, type=click.Path(path_type=Path))
@decoder_option()
@click.option("--model", default="model.bci", show_default=True, type=click.Path(path_type=Path), help="File to write.")
@event_option
@click.option(
    "--paradigm",
    default="motor-imagery",
    show_default=True,
    help="Rules: classes, chain and windows.",
    shell_complete=_complete("paradigms"),
)
@json_option
def train(as_json: bool, **options: Any) -> None:
    """Fit a decoder on RECORDINGS and save it with its passport.

    \b
    bci train run-1.xdf run-2.xdf
    bci train S001R04.edf --event T0=rest --event T1=left --event T2=right
    """
    from bci.apps.train import train_model

    with _plain_log():
        result = train_model(**options)
    click.echo(json.dumps(result) if as_json else f"{result['text']}\nSaved {result['model']}")


@main.command()
@click.argument("config", type=click.Path(path_type=Path))
@click.option(
    "--device",
    default=None,
    metavar="SPEC",
    help="Another source than the file says: " + _DEVICE_HELP,
    shell_complete=_complete_device,
)
@click.option("--model", default=None, type=click.Path(path_type=Path), help="Use a saved model instead of fitting.")
@click.option("--impedance", is_flag=True, help="Measure the contacts before the stream begins.")
@event_option
@json_option
def run(as_json: bool, **options: Any) -> None:
    """Run the session that the TOML file CONFIG describes.

    \b
    bci run examples/session.toml
    bci run examples/session.toml --device brainflow:cyton,serial_port=/dev/ttyUSB0
    bci run examples/session.toml --model model.bci
    """
    from bci.apps.train import run_config

    with _plain_log():
        result = run_config(options.pop("config"), **options, say=functools.partial(click.echo, err=True))
    click.echo(json.dumps(result) if as_json else result["text"])


@main.command()
@click.argument("config", type=click.Path(path_type=Path))
@click.option(
    "--device",
    default=None,
    metavar="SPEC",
    help="Another source than the file says: " + _DEVICE_HELP,
    shell_complete=_complete_device,
)
@click.option("--rate", "rate_hz", default=None, type=above(0), help="Sampling rate in Hz; opens no device.")
@click.option("--channels", default="C3,Cz,C4", show_default=True, help="With --rate: names of EEG channels.")
@click.option("--plot", default=None, type=click.Path(path_type=Path), help="Also draw it into this file (.png, .pdf).")
@click.option("--measure", is_flag=True, help="Also measure what a chunk costs on this machine.")
@json_option
def chain(as_json: bool, **options: Any) -> None:
    """Show the signal chain of the session that the TOML file CONFIG describes: blocks, delays, response.

    \b
    bci chain examples/session.toml
    bci chain examples/session.toml --plot chain.png --measure
    bci chain examples/session.toml --rate 500 --channels C3,C4,Cz,Pz    without the device
    """
    from bci.apps.chain_view import show_chain

    result = show_chain(options.pop("config"), **options)
    click.echo(json.dumps(result) if as_json else result["text"])


@main.command()
@decoder_option("imagery")
@click.option("--subject", "subjects", multiple=True, help="Only these people, as in S001; all by default.")
@click.option(
    "--over",
    type=click.Choice(["process", "lsl", "both"]),
    default="both",
    show_default=True,
    help="How run 12 reaches the loop.",
)
@click.option(
    "--speed", default=40.0, show_default=True, type=above(0), help="Speed of the LSL sender, times real time."
)
@json_option
def evaluate(as_json: bool, **options: Any) -> None:
    """Score imagery on real EEG as it would have happened live (people of PhysioNet's eegmmidb).

    The folder that holds eegmmidb/S001, ... is named by the environment variable BCI_DATA.

    \b
    bci evaluate                                   everybody, in-process and over LSL
    bci evaluate --subject S001 --over process     one person, quickly
    """
    from bci.apps.evaluate import evaluate_eegmmidb

    with _plain_log():
        result = evaluate_eegmmidb(**options, say=(lambda _: None) if as_json else click.echo)
    if as_json:
        click.echo(json.dumps(result))
    sys.exit(0 if result["identical"] else 1)


@main.command()
@json_option
def doctor(as_json: bool) -> None:
    """Check this installation and machine: packages, LSL, boards, screen, disk, clock, timing, rights.

    What is wrong comes last, each with what to do about it. Takes some seconds.
    """
    from bci.apps.inspect import examine, problems

    checks = examine()
    missing = [c["what"] for c in checks if c["needed"] and not c["ok"]]
    if as_json:
        click.echo(json.dumps(checks))
    else:
        for check in checks:
            mark = "ok  " if check["ok"] else "FAIL" if check["needed"] else "none"
            click.echo(f"{mark} {check['what']}: {check['found']}")
        wrong = problems(checks)
        if wrong:
            click.echo("\nWhat is wrong: what to do")
        for line in wrong:
            click.echo(click.wrap_text(line, 100, "- ", "  "))
        click.echo(f"Needed and missing: {', '.join(missing)}." if missing else "Everything that is needed is here.")
    sys.exit(1 if missing else 0)


main.add_command(recording)
main.add_command(device_group)


def _plain_log() -> contextlib.AbstractContextManager[None]:
    """Keep lines of the log from breaking a progress bar."""
    from tqdm.contrib.logging import logging_redirect_tqdm

    return logging_redirect_tqdm()


if __name__ == "__main__":
    main()
