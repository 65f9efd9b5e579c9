"""The whole loop once: calibrate, fit, drive three plugs, drill the guard, report."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from bci.apps.drill import drill
from bci.apps.operator import Operator
from bci.apps.pictures import take_pictures
from bci.apps.progress import FollowSignal
from bci.apps.report import write_report
from bci.errors import PluginError
from bci.paradigms.motor_imagery import MotorImagery
from bci.ports import Effector, HasEnd
from bci.registry import create
from bci.runtime.collect import Calibration
from bci.runtime.run import Run
from bci.runtime.session import Session
from bci.safety.console import ScriptedOperator
from bci.safety.link import guarded

PLUGS = {"hand": "rehabilitation hand", "stimulator": "simulated stimulator", "vr": "virtual scene", "car": "car"}
CAP_MA = 10.0
"""What the simulated patient and operator agree on, mA."""


def run_demo(
    device: str = "participant",
    decoder: str = "csp-lda",
    minutes: float = 3.0,
    live: bool = False,
    show: bool = False,
    out: Path = Path("out"),
    seed: int = 0,
    strength: float = 1.0,
    say: Callable[[str], None] = print,
) -> dict[str, Any]:
    """Run the demo; return what was measured.

    Parameters
    ----------
    device : str
        Spec of the source.
    decoder : str
        Name of the decoder.
    minutes : float
        Driving, in minutes of signal.
    live : bool
        Real time instead of as fast as possible, where the source allows a choice.
    show : bool
        Open windows and browser, and run in real time.
    out : Path
        Folder for recording, report and pictures; each demo gets its own below it.
    seed : int
        Seed of schedule and person.
    strength : float
        How strongly the simulated brain answers.
    say : callable
        Takes each line of text.
    """
    begin_s = time.monotonic()
    source = _source(device, live or show, seed, strength)
    if not show:  # windows of the plugs' own processes
        os.environ.update(QT_QPA_PLATFORM="offscreen", SDL_VIDEODRIVER="dummy")
    plugs, missing = _plugs(show)
    say(f"Source: {device}. Plugs behind the guard: {', '.join(PLUGS[p] for p in plugs) or 'none'}.")
    for line in missing:
        say(line)
    folder = _new_folder(out)
    with FollowSignal() as bar:
        session = Session(
            source,
            MotorImagery(n_trials=10),
            decoder,
            effectors=list(plugs.values()),
            record=folder / "session.xdf",
            seed=seed,
            on_turn=bar,
        )
        calibration, run, states = _play(session, folder, minutes, say)
    say("Safety drill: the decoder is killed while it drives ...")
    drilled = drill()
    pictures = take_pictures(folder, run)
    result = _result(session, run, drilled, states, folder, time.monotonic() - begin_s)
    facts = _facts(result, device, decoder)
    report = write_report(
        folder / "report.html", "Motor imagery, one session", run, calibration,
        {"cross-validated": session.score, "online": run.score}, facts, pictures,
    )  # fmt: skip
    for name, text in facts:
        say(f"  {name:<22} {text}")
    say(f"\nRecording: {result['recording']}\nReport:    {report}")
    for caption, path in pictures.items():
        say(f"Picture:   {path} ({caption})")
    return {**result, "report": str(report), "pictures": {k: str(v) for k, v in pictures.items()}}


def _play(
    session: Session, folder: Path, minutes: float, say: Callable[[str], None]
) -> tuple[Calibration, Run, dict[str, str]]:
    """Calibrate, fit, arm and drive; return calibration, run, and the guards' last states."""
    with contextlib.ExitStack() as stack:
        stack.callback(_remove_if_empty, folder)
        stack.enter_context(session)
        consoles = {g.spec: g.console for g in session.outputs.guarded}
        stack.enter_context(Operator(consoles, say, may_arm=False))
        say("Calibrating: left hand, right hand and rest, 10 trials each ...")
        calibration = _calibrate(session)
        score = session.fit()
        say(f"Fitted on {calibration.n_trials} trials: {score}")
        for console in consoles.values():
            operator = ScriptedOperator(console)
            stack.callback(operator.close)
            operator.arm()
        if consoles:
            say("A simulated operator tried each stop, armed the guards in two steps and holds the deadman.")
        say(f"Driving for {minutes:g} min of signal ...")
        run = session.drive(minutes * 60)
        return calibration, run, {g.spec: g.state for g in session.outputs.guarded}


def _calibrate(session: Session) -> Calibration:
    device: Any = session.device  # a replay knows more than the port says
    recorded = isinstance(device, HasEnd)
    if recorded and not device.has_event("phase:fit"):
        # Somebody else's recording: calibrate on its first two thirds, drive through the rest.
        return session.calibrate(until_s=device.duration_s * 2 / 3)
    return session.calibrate()


def _source(device: str, live: bool, seed: int, strength: float) -> Any:
    name = device.partition(":")[0]
    if name == "participant":
        return create("devices", device, seed=seed, strength=strength, speed=1.0 if live else "max")
    if name == "replay":
        names = {"T0": "rest", "T1": "left", "T2": "right"}
        return create("devices", device, speed=1.0 if live else "max", rename=names)
    return create("devices", device)


def _plugs(show: bool) -> tuple[dict[str, Effector], list[str]]:
    """Return the plugs whose packages are here, and a line for each that is not."""
    settings: dict[str, dict[str, Any]] = {
        "stimulator": {"cap_ma": CAP_MA},
        "vr": {"port": 0, "open_browser": show},
        "car": {"render": "window" if show else False},
    }
    plugs: dict[str, Effector] = {}
    missing = []
    for name, what in PLUGS.items():
        try:
            plugs[name] = guarded(name, **settings.get(name, {}))
        except PluginError as error:
            missing.append(f"Without the {what}: {error}")
    return plugs, missing


def _new_folder(out: Path) -> Path:
    number = 1
    while (out / f"demo-{number}").exists():
        number += 1
    folder = out / f"demo-{number}"
    folder.mkdir(parents=True)
    return folder


def _remove_if_empty(folder: Path) -> None:
    with contextlib.suppress(OSError):  # it holds a recording
        folder.rmdir()


def _result(
    session: Session, run: Any, drilled: dict[str, Any], states: dict[str, str], folder: Path, seconds: float
) -> dict[str, Any]:
    return {
        "score": session.score.as_dict() if session.score else None,
        "online": run.score.as_dict() if run.score else None,
        "score_text": str(session.score),
        "online_text": str(run.score) if run.score else "no cued trial was answered",
        "decisions": len(run.decisions),
        "hash": run.hash,
        "commands": {k: sum(c.label == k for c in run.commands) for k in ("left", "right", "rest")},
        "gate": dict(run.gate),
        "latency_ms": {k: [1e3 * a, 1e3 * b] for k, (a, b) in run.latency.items()},
        "guards": states,
        "drill": drilled,
        "recording": str(folder / "session.xdf"),
        "seconds": seconds,
    }


def _facts(result: dict[str, Any], device: str, decoder: str) -> list[tuple[str, str]]:
    latency = result["latency_ms"]
    stages = ", ".join(f"{k} {latency[k][0]:.2f} / {latency[k][1]:.2f}" for k in latency if k not in ("read", "age"))
    drilled = result["drill"]
    return [
        ("source, decoder", f"{device}, {decoder}"),
        ("cross-validated", result["score_text"]),
        ("online", result["online_text"]),
        ("decisions", f"{result['decisions']} (SHA-256 {result['hash'][:16]})"),
        ("commands", ", ".join(f"{k} {n}" for k, n in result["commands"].items())),
        ("gate", ", ".join(f"{k} {n}" for k, n in sorted(result["gate"].items()))),
        ("latency, ms", f"median / 99th percentile: {stages}"),
        ("age of newest sample", f"median {latency['age'][0]:.0f} ms, 99th percentile {latency['age'][1]:.0f} ms"),
        ("guards at the end", ", ".join(f"{k} {v}" for k, v in result["guards"].items()) or "none"),
        ("safety drill", drilled["text"]),
        ("time taken", f"{result['seconds']:.0f} s"),
    ]
