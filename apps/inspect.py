"""What is there: devices, packages, screens, and what this computer is like."""

from __future__ import annotations

import functools
import importlib
import shutil
import sys
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from tqdm import tqdm

from bci.apps import machine, ranges
from bci.apps.display import has_display
from bci.apps.machine import Check, check
from bci.errors import DataError, PluginError
from bci.registry import names
from bci.stream import listed

NEEDED = ("numpy", "scipy", "numba", "mne", "brainflow", "pylsl", "torch", "scikit-learn", "pyriemann", "pyxdf")
EXTRAS = {
    "PySide6": "apps",
    "pyqtgraph": "apps",
    "serial": "apps",
    "pythonosc": "apps",
    "websockets": "vr",
    "gymnasium": "control",
    "highway_env": "control",
    "edfio": "export",
    "mne_bids": "bids",
    "cryptography": "sign",
}


def list_devices(wait_s: float = 1.0) -> dict[str, Any]:
    """Return plugins, BrainFlow boards, LSL streams heard within `wait_s` s, and a sentence for what is missing."""
    from bci.acquisition.brainflow_board import board_names
    from bci.acquisition.lsl_find import streams

    found: dict[str, Any] = {"plugins": sorted(names("devices")), "boards": [], "streams": [], "missing": []}
    for key, look in (("boards", board_names), ("streams", functools.partial(streams, wait_s, channels=True))):
        try:
            found[key] = look()
        except (ImportError, PluginError) as error:  # one that is not here must not hide the others
            found["missing"].append(f"{key}: {error}")
    return found


def stream_in_words(stream: dict[str, Any]) -> str:
    """Return one LSL stream of `list_devices` as a line: what chooses it, its channels, and what is wrong with it."""
    rate = f"{stream['sfreq']:g} Hz" if stream["sfreq"] else "irregular"
    words = f"{stream['name']} ({stream['type']}, {stream['channels']} ch, {rate}, {stream['format']})"
    words += f" from {stream['host']}, source_id {stream['source_id'] or 'none'}"
    if stream["labels"]:
        words += f": {listed(stream['labels'], 8)}"
        words += f" in {listed(sorted(set(stream['units'])))}" if stream["units"] else ""
    return words + (f". Refused: {stream['problem']}" if stream["problem"] else "")


def looks() -> list[Callable[[], Check]]:
    """Return what is looked at, in order."""
    return [
        _python,
        *(functools.partial(_package, name) for name in NEEDED),
        *(functools.partial(_module, name, extra) for name, extra in EXTRAS.items()),
        *(ranges.versions, _screen, _windows, _browser, _recordings),
        *machine.CHECKS,
    ]


def examine() -> list[Check]:
    """Return one record per check: ``what``, ``ok``, ``needed``, ``found`` and ``fix`` in words; takes some seconds."""
    with tqdm(looks(), desc="checking", unit="check", disable=None, leave=False) as bar:
        return [look() for look in bar]


def problems(checks: list[Check]) -> list[str]:
    """Return what is wrong and what to do about it, what is needed first; empty if all is well."""
    wrong = sorted((c for c in checks if not c["ok"]), key=lambda c: not c["needed"])
    return [f"{c['what']}: {c['found']}: {c['fix']}" for c in wrong]


def _python() -> Check:
    return check("Python", sys.version_info >= (3, 11), sys.version.split()[0], "install Python 3.11 or newer")


def _package(name: str) -> Check:
    try:
        return check(name, True, version(name))
    except PackageNotFoundError:
        return check(name, False, "absent", f"pip install {name}")


def _module(name: str, extra: str) -> Check:
    try:
        importlib.import_module(name)
        return check(name, True, "found", needed=False)
    except ImportError as error:
        return check(name, False, f"absent ({error})", f"pip install 'bci[{extra}]'", needed=False)


def _screen() -> Check:
    there = has_display()
    found = "found" if there else "none; windows are drawn offscreen"
    return check("screen", there, found, "log in at the machine's own screen to see windows", needed=False)


def _windows() -> Check:
    try:
        from bci.apps import qt
    except ImportError as error:
        return check("windows", False, f"absent ({error})", "pip install 'bci[apps]'", needed=False)
    missing = qt.missing_library()
    fix = f"on a machine with a display install {qt.PACKAGES} (Debian's names)"
    return check("windows", not missing, f"{missing} is missing" if missing else "found", fix, needed=False)


def _browser() -> Check:
    browser = next((b for b in ("chromium", "google-chrome", "chrome", "firefox") if shutil.which(b)), None)
    fix = "install chromium or firefox to see the virtual scene"
    return check("browser for virtual reality", bool(browser), browser or "none on the path", fix, needed=False)


def _recordings() -> Check:
    from bci.datasets.eegmmidb import Eegmmidb

    fix = "set BCI_DATA to the folder that holds eegmmidb/ (only bci evaluate needs it)"
    try:
        people = Eegmmidb().subjects()
    except DataError as error:
        return check("recordings for evaluate", False, str(error).partition(";")[0], fix, needed=False)
    return check("recordings for evaluate", bool(people), f"{len(people)} people", fix, needed=False)
