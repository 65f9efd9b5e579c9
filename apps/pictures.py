"""Pictures of the plugs for the report, taken without a display."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
from pathlib import Path

from bci.runtime.run import Run

_log = logging.getLogger(__name__)

_MAKERS = {
    "rehabilitation hand": ("hand.png", "bci.apps.rehab.snapshot"),
    "car": ("car.png", "bci.apps.control.snapshot"),
    "virtual scene": ("vr.png", "bci.apps.vr.snapshot"),
}


def take_pictures(folder: Path, run: Run, timeout_s: float = 60.0) -> dict[str, Path]:
    """Draw each plug at the strongest command of `run`; return the files by caption.

    Each is drawn by a process of its own, since windows, simulators and
    browsers bring their own loops. One that cannot be drawn here is left out
    and logged.
    """
    value = max((c.value for c in run.commands), key=abs, default=0.0)
    env = dict(os.environ, QT_QPA_PLATFORM="offscreen", SDL_VIDEODRIVER="dummy")
    running = {
        caption: (folder / name, subprocess.Popen(
            [sys.executable, "-m", module, str(folder / name), f"{value:.3f}"],
            env=env, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
        ))
        for caption, (name, module) in _MAKERS.items()
    }  # fmt: skip
    made = {}
    for caption, (path, process) in running.items():
        try:
            _, errors = process.communicate(timeout=timeout_s)
        except subprocess.TimeoutExpired:
            process.kill()
            _, errors = process.communicate()
        if path.exists():
            made[caption] = path
        else:
            why = (errors or "").strip().splitlines() or ["it took too long"]
            _log.warning("no picture of the %s: %s", caption, why[-1])
    return made
