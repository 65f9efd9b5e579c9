"""Score imagery on real EEG as it would have happened: calibrate, then decide in the live loop."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from tqdm import tqdm

from bci.acquisition.replay import Replay
from bci.datasets.eegmmidb import EVENTS, Eegmmidb
from bci.errors import ConfigError, DataError
from bci.paradigms.motor_imagery import MotorImagery
from bci.registry import create
from bci.runtime.run import Run
from bci.runtime.score import Score
from bci.runtime.session import Session
from bci.stream import unknown
from bci.trial import Locked

PEERS = "TS+LR 0.644, TS+SVM 0.656, FgMDM 0.672, CSP6+LDA 0.650 (zero-phase filters, offline)"


def paradigm() -> MotorImagery:
    """Return left against right imagery with the default setting (docs/decisions/0002), one window per trial."""
    return MotorImagery(
        ("left", "right"),
        low_hz=7.0,
        high_hz=35.0,
        order=2,
        reference="none",
        whiten=True,
        window=Locked(0.5, 3.5, ("left", "right")),
    )


def evaluate_eegmmidb(
    decoder: str = "imagery",
    subjects: Sequence[str] = (),
    over: str = "both",
    speed: float = 40.0,
    say: Callable[[str], None] = print,
) -> dict[str, Any]:
    """Calibrate on runs 4 and 8, drive through run 12; print and return the scores.

    Parameters
    ----------
    decoder : str
        Decoder for everybody.
    subjects : sequence of str
        People; all that are here by default.
    over : str
        "process", "lsl" (run 12 is sent by a second process) or "both".
    speed : float
        Speed of the sender, times real time.
    say : callable
        Takes each line of text.
    """
    data = Eegmmidb()
    people = list(subjects) or data.subjects()
    for person in people:
        if person not in data.subjects():
            raise ConfigError(unknown("person", person, data.subjects()))
        for number in (4, 8, 12):
            data.path(person, number)  # what is missing is said now, not after an hour
    ways = {"process": ["process"], "lsl": ["lsl"], "both": ["process", "lsl"]}[over]
    rows: list[dict[str, Any]] = []
    failed: list[str] = []
    try:
        for person in tqdm(people, desc="people", unit="person", disable=None):
            try:
                rows.append(_one(data, person, decoder, ways, speed))
            except DataError as error:
                failed.append(person)
                say(f"{person} is left out: {error}")
        if not rows:
            raise DataError(f"nobody of {', '.join(people)} could be scored; see what was said of each")
    except KeyboardInterrupt:
        if rows:
            say(f"Stopped after {len(rows)} of {len(people)} people.")
            _report(rows, ways, decoder, say)
        raise
    return {**_report(rows, ways, decoder, say), "failed": failed}


def _one(data: Eegmmidb, person: str, decoder: str, ways: list[str], speed: float) -> dict[str, Any]:
    fitted = None
    row: dict[str, Any] = {"person": person}
    for way in ways:
        run, fitted = _drive(data, person, decoder, way, speed, fitted)
        if run.score is None:
            raise DataError(f"no cued trial of {person} was answered {way}; check run 12 of the recording")
        row[way] = {**run.score.as_dict(), "hash": run.hash}
        row[way]["decode_ms"] = 1e3 * run.latency["decode"][0]
    return row


def _drive(data: Eegmmidb, person: str, decoder: str, way: str, speed: float, fitted: Any) -> tuple[Run, Any]:
    test = data.path(person, 12)
    sender: subprocess.Popen[bytes] | None = None
    if way == "lsl":
        name = f"bci-evaluate-{person}-{os.getpid()}"  # several may run at a time
        sender = _serve(test, name, speed)
        device = create("devices", f"lsl-replay:{name}")
    else:
        device = Replay(test, events=EVENTS)
    try:
        with Session(device, paradigm(), fitted or decoder) as session:
            if fitted is None:
                session.calibrate(Replay([data.path(person, 4), data.path(person, 8)], events=EVENTS))
                session.fit()
            return session.drive(), session.decoder
    finally:
        if sender is not None:
            sender.kill()
            sender.wait()


def _serve(path: Path, name: str, speed: float) -> subprocess.Popen[bytes]:
    events = [f"--event={code}={label}" for code, label in EVENTS.items()]
    command = [sys.executable, "-m", "bci.acquisition.lsl_serve", str(path), "--name", name, "--speed", str(speed)]
    return subprocess.Popen([*command, *events], stdout=subprocess.DEVNULL)


def _report(rows: list[dict[str, Any]], ways: list[str], decoder: str, say: Callable[[str], None]) -> dict[str, Any]:
    say(f"\nImagined left against right fist, decoder {decoder!r}: calibrated on runs 4 and 8 (30 trials),")
    say("decided in the live loop on run 12 (15 trials), causal filters, one setting for everybody.\n")
    say("person   " + "   ".join(f"{'over ' + w + ' (95 %)':>26}" for w in ways) + "   decisions")
    for row in rows:
        cells = "   ".join(
            f"{row[w]['correct']:>6}/{row[w]['n']} = {row[w]['accuracy']:.2f} "
            f"({row[w]['low']:.2f}-{row[w]['high']:.2f})"
            for w in ways
        )
        same = "identical" if len({row[w]["hash"] for w in ways}) == 1 else "DIFFERENT"
        say(f"{row['person']:<8} {cells}   {same if len(ways) > 1 else row[ways[0]]['hash'][:12]}")
    result: dict[str, Any] = {"decoder": decoder, "people": rows, "mean": {}}
    for way in ways:
        score = Score(sum(r[way]["correct"] for r in rows), sum(r[way]["n"] for r in rows), 2,
                      "calibrated on runs 4 and 8, tested on run 12 of the same person")  # fmt: skip
        result["mean"][way] = score.as_dict()
        say(f"\nMean over {way}: {score}")
    say(f"Peers on the same files: {PEERS}.")
    result["identical"] = all(len({r[w]["hash"] for w in ways}) == 1 for r in rows)
    return result
