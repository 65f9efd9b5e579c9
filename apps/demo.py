"""The whole loop once: calibrate, fit, drive three plugs, drill the guard, report."""

from __future__ import annotations

import contextlib
import math
import os
import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from bci.apps.display import has_display
from bci.apps.drill import drill
from bci.apps.gate_words import gate_in_words, warning_of
from bci.apps.operator import Operator
from bci.apps.pictures import take_pictures
from bci.apps.progress import FollowSignal
from bci.apps.report import write_report
from bci.apps.train import renamed
from bci.clock import ManualClock
from bci.errors import BciError, ConfigError, PluginError
from bci.paradigms.motor_imagery import MotorImagery
from bci.ports import Effector, HasEnd, HasOwnTime, MeasuresImpedance
from bci.registry import create
from bci.runtime.collect import Calibration
from bci.runtime.loop import Turn
from bci.runtime.run import Run
from bci.runtime.session import Session
from bci.safety.console import ScriptedOperator
from bci.safety.link import guarded
from bci.settings import plugin_name, split_spec
from bci.signal import contact

PLUGS = {"hand": "rehabilitation hand", "stimulator": "simulated stimulator", "vr": "virtual scene", "car": "car"}
PLUG_EVENTS = {
    "hand/close": "hand closed",
    "hand/open": "hand opened",
    "car:left:accepted": "lane changes accepted",
    "car:right:accepted": "lane changes accepted",
    "car:left:refused": "lane changes refused",
    "car:right:refused": "lane changes refused",
    "car:collision": "collisions",
    "vr:frames": "seconds of virtual scene",
}
"""What the plugs report, by how it begins."""
PACED_S = 25.0
"""How much of the driving is held back to real time, s: a hand and a car need that to move."""
CLASSES = ("left", "right", "rest")
DRAWN = "drawn for the strongest command of the run"
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
    events: Sequence[str] = (),
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
    events : sequence of str
        ``CODE=CLASS`` for a recording whose events have other names.
    say : callable
        Takes each line of text.

    Raises
    ------
    ConfigError
        If windows are to be shown where there is no display.
    """
    begin_s = time.monotonic()
    if show and not has_display():
        raise ConfigError("--show opens windows, there is no display here; leave it out and look at the report")
    source = _source(device, live or show, seed, strength, events)
    if not show:  # windows of the plugs' own processes
        os.environ.update(QT_QPA_PLATFORM="offscreen", SDL_VIDEODRIVER="dummy")
    plugs, missing = _plugs(show)
    say(f"Source: {device}. Plugs behind the guard: {', '.join(PLUGS[p] for p in plugs) or 'none'}.")
    for line in missing:
        say(line)
    folder = _new_folder(out)
    with FollowSignal() as bar:
        seen = _Seen(bar)
        session = Session(
            source,
            MotorImagery(n_trials=10),
            decoder,
            effectors=list(plugs.values()),
            record=folder / "session.xdf",
            seed=seed,
            on_turn=seen,
            impedance=isinstance(source, MeasuresImpedance),
        )
        try:
            calibration, run, states = _play(session, folder, minutes, seen, say)
        except (KeyboardInterrupt, BciError):
            if (folder / "session.xdf").exists():
                say(f"What was recorded so far is in {folder / 'session.xdf'}.")
            raise
    say("Safety drill: the decoder is killed while it drives ...")
    drilled = drill()
    pictures = take_pictures(folder, run)
    result = _result(session, run, drilled, states, folder, time.monotonic() - begin_s) | {
        "plugs": dict(seen.counts), "guard_logs": [str(path) for path in session.outputs.logs],
    }  # fmt: skip
    facts = _facts(result, device, decoder)
    report = write_report(
        folder / "report.html", "Motor imagery, one session", run, calibration,
        {"cross-validated": session.score, "online": run.score}, facts,
        {f"{caption}, {DRAWN}": path for caption, path in pictures.items()},
    )  # fmt: skip
    result |= {"report": str(report), "pictures": {k: str(v) for k, v in pictures.items()}}
    _tell(result, facts, say)
    return result


def _tell(result: dict[str, Any], facts: Sequence[tuple[str, str]], say: Callable[[str], None]) -> None:
    """Say what was measured, and where everything is."""
    for name, text in facts:
        say(f"  {name:<22} {text}")
    say(f"\nRecording: {result['recording']}\nReport:    {result['report']}")
    for path in result["guard_logs"]:
        say(f"Guard log: {path}")
    for caption, path in result["pictures"].items():
        say(f"Picture:   {path} ({caption}, {DRAWN})")


def _play(
    session: Session, folder: Path, minutes: float, seen: _Seen, say: Callable[[str], None]
) -> tuple[Calibration, Run, dict[str, str]]:
    """Calibrate, fit, arm and drive; return calibration, run, and the guards' last states."""
    with contextlib.ExitStack() as stack:
        stack.callback(_remove_if_empty, folder)
        stack.enter_context(session)
        consoles = {g.spec: g.console for g in session.outputs.guarded}
        stack.enter_context(Operator(consoles, say, may_arm=False, stop=session.outputs.stop))
        if warning := warning_of(session.pipeline.windower.info):
            say(warning)
        recorded = isinstance(session.device, HasEnd)
        say(
            "Calibrating on the recording's own cues ..." if recorded
            else "Calibrating: left hand, right hand and rest, 10 trials each ..."
        )  # fmt: skip
        calibration = _calibrate(session)
        score = session.fit()
        say(f"Fitted on {calibration.n_trials} trials: {score}")
        for console in consoles.values():
            operator = ScriptedOperator(console)
            stack.callback(operator.close)
            operator.arm()
        if consoles:
            say("A simulated operator tried each stop, armed the guards in two steps and holds the deadman.")
        own_time = isinstance(session.device, HasOwnTime) and isinstance(session.device.clock, ManualClock)
        paced_s = min(PACED_S, minutes * 30) if own_time else 0.0
        say(
            f"Driving for {minutes:g} min of signal"
            + (f", the first {paced_s:g} s of it in real time, so that the plugs can follow ..." if paced_s else " ...")
        )
        seen.pace(paced_s)
        run = session.drive(minutes * 60)
        return calibration, run, {g.spec: g.state for g in session.outputs.guarded}


def _calibrate(session: Session) -> Calibration:
    device: Any = session.device  # a replay knows more than the port says
    recorded = isinstance(device, HasEnd)
    if recorded and not device.has_event("phase:fit"):
        # Somebody else's recording: calibrate on its first two thirds, drive through the rest.
        return session.calibrate(until_s=device.duration_s * 2 / 3)
    return session.calibrate()


class _Seen:
    """Count what the plugs did; hold simulated time back to real time for a while, since windows cannot hurry."""

    def __init__(self, bar: FollowSignal) -> None:
        self._bar = bar
        self.counts: Counter[str] = Counter()
        self._until_s = self._offset_s = float("nan")
        self._paced_s = 0.0

    def pace(self, seconds: float) -> None:
        """Let the next `seconds` of signal take as long as they are."""
        self._paced_s = seconds

    def __call__(self, turn: Turn) -> None:
        self._bar(turn)
        for event in turn.chunk.events:
            for begin, what in PLUG_EVENTS.items():
                if event.code.startswith(begin):
                    self.counts[what] += 1
        if not self._paced_s or not turn.chunk.n_samples:
            return
        now_s, signal_s = time.monotonic(), turn.stop_s
        if math.isnan(self._until_s):
            self._until_s, self._offset_s = signal_s + self._paced_s, now_s - signal_s
        if signal_s > self._until_s:
            self._paced_s = 0.0
        else:
            time.sleep(max(0.0, signal_s + self._offset_s - now_s))


def _source(device: str, live: bool, seed: int, strength: float, events: Sequence[str]) -> Any:
    given = split_spec(device)[1]
    speed: float | str = 1.0 if live else "max"
    defaults: dict[str, dict[str, Any]] = {
        "participant": {"seed": seed, "strength": strength, "speed": speed},
        "replay": {"speed": speed, "rename": {"T0": "rest", "T1": "left", "T2": "right"} | renamed(events, CLASSES)},
    }
    settings = defaults.get(plugin_name(device), {})
    return create("devices", device, **{k: v for k, v in settings.items() if k not in given})


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
        "decisions": run.n_decisions,
        "hash": run.hash,
        "commands": {k: run.sent[k] for k in ("left", "right", "rest")},
        "gate": dict(run.gate),
        "gate_text": gate_in_words(run),
        "contact_kohm": contact.plain(session.contact_kohm),
        "contact_text": contact.line(session.contact_kohm) or "not measured",
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
        ("contacts", result["contact_text"]),
        ("decisions", f"{result['decisions']} (SHA-256 {result['hash'][:16]})"),
        ("commands", ", ".join(f"{k} {n}" for k, n in result["commands"].items())),
        ("gate", result["gate_text"]),
        ("latency, ms", f"median / 99th percentile: {stages}"),
        ("age of newest sample", f"median {latency['age'][0]:.0f} ms, 99th percentile {latency['age'][1]:.0f} ms"),
        ("plugs", ", ".join(f"{k} {n}" for k, n in sorted(result["plugs"].items())) or "did nothing"),
        ("guards at the end", ", ".join(f"{k} {v}" for k, v in result["guards"].items()) or "none"),
        ("safety drill", drilled["text"]),
        ("time taken", f"{result['seconds']:.0f} s"),
    ]
