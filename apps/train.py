"""Train a model from recordings; run the session that a TOML file describes."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from bci.acquisition.replay import Replay
from bci.apps.gate_words import gate_in_words, warning_of
from bci.apps.operator import Operator
from bci.apps.progress import FollowLoading, FollowSignal
from bci.config import SessionConfig
from bci.decoding import passport
from bci.errors import BciError, ConfigError
from bci.ports import Paradigm
from bci.registry import create
from bci.runtime.describe import versions
from bci.runtime.session import Session
from bci.signal.contact import line, plain
from bci.stream import unknown


def train_model(
    recordings: Sequence[Path],
    decoder: str = "csp-lda",
    model: Path = Path("model.bci"),
    events: Sequence[str] = (),
    paradigm: str = "motor-imagery",
) -> dict[str, Any]:
    """Fit `decoder` on recordings and save it; return score and file.

    Parameters
    ----------
    recordings : sequence of Path
        Recordings of the same channels, of this program or any that MNE reads.
    decoder, paradigm : str
        Names.
    model : Path
        File to write.
    events : sequence of str
        ``CODE=CLASS`` for recordings whose events have other names.

    Raises
    ------
    ConfigError
        If `events` are not of that form, or the model cannot be written there.
    """
    rules: Paradigm = create("paradigms", paradigm)
    rename = renamed(events, rules.classes)
    _check_writable(model)
    replayed = Replay(list(recordings), rename=rename, progress=FollowLoading(recordings[0].name))
    with FollowSignal() as follow, Session(replayed, rules, _talkative(decoder), on_turn=follow) as session:
        calibration = session.calibrate()
        score = session.fit()
        saved = passport.save(
            model,
            session.decoder,
            calibration.info,
            blocks=session.paradigm.blocks(),
            window=session.paradigm.window,
            provenance={"score": score.as_dict(), "n_trials": calibration.n_trials, "seed": session.seed,
                        "versions": versions()},
        )  # fmt: skip
    return {"model": str(saved), "score": score.as_dict(), "text": f"{decoder}: {score}"}


def run_config(
    path: Path,
    device: str | None = None,
    model: Path | None = None,
    events: Sequence[str] = (),
    impedance: bool = False,
    say: Callable[[str], None] = print,
) -> dict[str, Any]:
    """Run the session of a TOML file; return what was reached.

    Parameters
    ----------
    path : Path
        The file, see `bci.config`.
    device : str, optional
        Another source than the file says.
    model : Path, optional
        A saved model; without one the session calibrates and fits.
    events : sequence of str
        ``CODE=CLASS`` for a recording whose events have other names.
    impedance : bool
        Measure the contacts before the stream begins, whatever the file says.
    say : callable
        Takes what the operator at the keyboard is told.
    """
    config = SessionConfig.from_toml(path)
    changes: dict[str, Any] = {} if device is None else {"device": create("devices", device)}
    if impedance:
        changes["impedance"] = True
    if events:
        rules: Paradigm = config.paradigm.create("paradigms")
        settings = {"rename": renamed(events, rules.classes)}
        changes["device"] = create("devices", device or config.device.name, **(
            settings if device else {**config.device.settings, **settings}
        ))  # fmt: skip
    loaded = passport.load(model) if model is not None else None
    if loaded is not None:
        changes["decoder"] = loaded.decoder
    with contextlib.ExitStack() as stack:
        changes["on_turn"] = stack.enter_context(FollowSignal())
        session = stack.enter_context(config.session(**changes))
        if warning := warning_of(session.pipeline.windower.info):
            say(warning)
        guarded = session.outputs.guarded
        limits = {g.spec: g.limits_in_words for g in guarded}
        stop = session.outputs.stop
        stack.enter_context(Operator({g.spec: g.console for g in guarded}, say, stop=stop, limits=limits))
        try:
            if loaded is not None:
                loaded.check(session.pipeline.windower.info, session.paradigm.blocks(), session.paradigm.window)
            else:
                session.calibrate(config.calibrate.source, until_s=config.calibrate.until_s)
                session.fit()
            contacts = dict(session.contact_kohm)
            run = session.drive(config.drive.duration_s, cues=config.drive.cues)
            logs = session.outputs.logs
        except (KeyboardInterrupt, BciError):
            if session.recording is not None:
                say(f"What was recorded so far is in {session.recording}.")
            raise
    lines = [f"Calibration: {session.score}"] if session.score else []
    lines += [f"Driving: {run.score or 'no cued trial'}; {run.n_decisions} decisions, SHA-256 {run.hash[:16]}"]
    lines.append(f"Gate: {gate_in_words(run)}")
    if contacts:
        lines.append(f"Contacts: {line(contacts)}")
    if config.record:
        lines.append(f"Recording: {session.recording}")
        lines += [f"Guard's log: {path}" for path in logs]
    return {
        "score": session.score.as_dict() if session.score else None,
        "online": run.score.as_dict() if run.score else None,
        "decisions": run.n_decisions,
        "gate": dict(run.gate),
        "hash": run.hash,
        "contact_kohm": plain(contacts),
        "text": "\n".join(lines),
    }


def renamed(events: Sequence[str], classes: Sequence[str]) -> dict[str, str]:
    """Return what events mean, from texts ``CODE=CLASS``; `ConfigError` for what is not of that form."""
    rename = {}
    for text in events:
        code, equals, label = text.partition("=")
        if not (code and equals and label):
            raise ConfigError(f"--event needs CODE=CLASS, as in T1=left, got {text!r}")
        if label not in classes:
            raise ConfigError(unknown(f"class in --event {text}:", label, classes))
        rename[code] = label
    return rename


def _check_writable(model: Path) -> None:
    """Raise `ConfigError` before the work, not after it."""
    folder = model.parent
    trouble = "that is a folder" if model.is_dir() else "there is no such folder" if not folder.is_dir() else ""
    if not trouble and not os.access(folder, os.W_OK):
        trouble = "you may not write there"
    if trouble:
        raise ConfigError(f"the model was to be written to {model}, {trouble}; give --model another file")


def _talkative(decoder: str) -> Any:
    """Return the decoder, with a progress bar if it has one to show."""
    made = create("decoders", decoder)
    if hasattr(made, "get_params") and "verbose" in made.get_params():
        made.set_params(verbose=True)
    return made
