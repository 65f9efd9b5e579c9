"""Whether there is a display."""

from __future__ import annotations

import os
import sys


def has_display() -> bool:
    """Return whether a window could be seen here."""
    return not sys.platform.startswith("linux") or bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))
