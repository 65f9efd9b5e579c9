"""What is there: devices, packages, screens, rights."""

from __future__ import annotations

import functools
import importlib
import os
import shutil
import sys
import time
from importlib.metadata import PackageNotFoundError, version
from typing import Any

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


def examine() -> list[dict[str, Any]]:
    """Return one record per check: ``what``, ``ok``, ``needed``, ``found`` in words."""
    checks = [_check("Python", sys.version_info >= (3, 11), sys.version.split()[0])]
    checks += [_package(name) for name in NEEDED]
    checks += [_module(name, extra) for name, extra in EXTRAS.items()]
    resolution = time.get_clock_info("monotonic").resolution
    checks.append(_check("monotonic clock", resolution <= 1e-3, f"resolution {resolution:g} s"))
    free_gb = shutil.disk_usage(os.getcwd()).free / 1e9
    checks.append(_check("disk for recordings", free_gb > 1, f"{free_gb:.0f} GB free here"))
    screen = bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")) or sys.platform != "linux"
    checks.append(_check("screen", screen, "found" if screen else "none; windows are drawn offscreen", needed=False))
    browser = next((b for b in ("chromium", "google-chrome", "chrome", "firefox") if shutil.which(b)), None)
    checks.append(_check("browser for virtual reality", bool(browser), browser or "none on the path", needed=False))
    checks += [_windows(), _recordings(), _serial_ports(), _writable()]
    cores = os.cpu_count() or 1
    checks.append(_check("processor", cores >= 2, f"{cores} cores; the loop, the guard and a window each want one"))
    return checks


def _recordings() -> dict[str, Any]:
    from bci.datasets.eegmmidb import Eegmmidb

    try:
        people = Eegmmidb().subjects()
    except DataError as error:
        return _check("recordings for evaluate", False, str(error), needed=False)
    return _check("recordings for evaluate", bool(people), f"{len(people)} people", needed=False)


def _windows() -> dict[str, Any]:
    try:
        from bci.apps import qt
    except ImportError as error:
        return _check("windows", False, f"absent ({error}); pip install 'bci[apps]'", needed=False)
    missing = qt.missing_library()
    hint = f"{missing} is missing; on a machine with a display install {qt.PACKAGES} (Debian's names)"
    return _check("windows", not missing, hint if missing else "found", needed=False)


def _serial_ports() -> dict[str, Any]:
    try:
        listed = importlib.import_module("serial.tools.list_ports").comports()
    except ImportError:
        return _check("serial ports", False, "not known without pyserial; pip install 'bci[apps]'", needed=False)
    ports = [p.device for p in listed]
    locked = [p for p in ports if os.path.exists(p) and not os.access(p, os.R_OK | os.W_OK)]
    if locked:
        hint = "add yourself to the group that owns them (dialout on Debian), then log in again"
        return _check("serial ports", False, f"no right to use {', '.join(locked)}; {hint}", needed=False)
    return _check("serial ports", True, ", ".join(ports) or "none is plugged in", needed=False)


def _writable() -> dict[str, Any]:
    folder = os.getcwd()
    ok = os.access(folder, os.W_OK)
    return _check("folder for recordings", ok, f"{folder}{'' if ok else ' cannot be written to; change to another'}")


def _check(what: str, ok: bool, found: str, needed: bool = True) -> dict[str, Any]:
    return {"what": what, "ok": ok, "needed": needed, "found": found}


def _package(name: str) -> dict[str, Any]:
    try:
        return _check(name, True, version(name))
    except PackageNotFoundError:
        return _check(name, False, f"absent; pip install {name}")


def _module(name: str, extra: str) -> dict[str, Any]:
    try:
        importlib.import_module(name)
        return _check(name, True, "found", needed=False)
    except ImportError as error:
        return _check(name, False, f"absent ({error}); pip install 'bci[{extra}]'", needed=False)
