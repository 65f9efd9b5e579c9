"""Single keys of a terminal."""

from __future__ import annotations

import os
import select
import sys
from collections.abc import Callable


def raw_terminal() -> Callable[[], None]:
    """Let single keys through without Enter and without echo; return what undoes it. Ctrl-C keeps its meaning."""
    try:
        import termios
        import tty
    except ImportError:  # Windows reads single keys anyway
        return lambda: None
    descriptor = sys.stdin.fileno()
    before = termios.tcgetattr(descriptor)
    tty.setcbreak(descriptor)
    return lambda: termios.tcsetattr(descriptor, termios.TCSADRAIN, before)


def keys(timeout_s: float) -> str:
    """Return the keys that were pressed within `timeout_s`; `OSError` if there is no keyboard any more."""
    if sys.platform == "win32":
        import msvcrt
        import time

        time.sleep(timeout_s)
        return msvcrt.getwch() if msvcrt.kbhit() else ""
    if not select.select([sys.stdin], [], [], timeout_s)[0]:
        return ""
    data = os.read(sys.stdin.fileno(), 64)
    if not data:
        raise OSError("end of input")
    return data.decode(errors="replace")
