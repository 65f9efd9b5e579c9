"""Draw the hand once, without a display: ``python -m bci.apps.rehab.snapshot OUT.png VALUE``."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from bci.apps import qt
from bci.apps.rehab.panel import HandPanel
from bci.errors import BciError, ConfigError
from bci.ports import Status


def draw_hand(path: Path, value: float) -> None:
    """Save a picture of the window at the intent `value`, -1 to 1, as PNG.

    Raises
    ------
    ConfigError
        If the picture cannot be written.
    """
    qt.application()
    value = min(max(value, -1.0), 1.0)
    cue = "rest" if abs(value) < 0.1 else "right" if value > 0 else "left"
    panel = HandPanel(lambda: None, lambda: None)
    panel.show_status(Status("active", value, cue), value)
    panel.show()
    if not panel.grab().toImage().save(str(path)):
        raise ConfigError(f"a picture needs a file that can be written, got {path}; choose another")
    panel.close()


def main() -> None:
    """Read the arguments and draw."""
    if len(sys.argv) != 3:
        sys.exit("usage: python -m bci.apps.rehab.snapshot OUT.png VALUE (an intent from -1 to 1)")
    os.environ["QT_QPA_PLATFORM"] = "offscreen"
    try:
        draw_hand(Path(sys.argv[1]), float(sys.argv[2]))
    except BciError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
