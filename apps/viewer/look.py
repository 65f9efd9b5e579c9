"""Colours, sizes and number steps of the viewer."""

from __future__ import annotations

import numpy as np

BACKGROUND = (14, 17, 22)
CURVES = ((255, 190, 80), (126, 231, 135), (255, 123, 156), (199, 146, 234), (79, 214, 190), (255, 120, 60))
"""Colours of the channels chosen for the spectrum, there and in the traces."""
LINES = ((122, 200, 255), (214, 222, 235), (120, 105, 100), *CURVES)
"""Colours of the lines: even and odd channels, channels that look wrong, chosen ones."""
EVEN, ODD, BAD, CHOSEN = range(4)
TEXT, DIM, WARN, ALARM = "#d6deeb", "#7f8a99", "#ffb454", "#ff6b61"
FAIR = "#d8d25a"
EVENT, GRID, GAP_LOST, GAP_UNSHOWN = "#7ee787", "#222a35", "#ff6b61", "#9aa4b2"
SCALES_UV = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10000)
SECONDS = (1, 2, 5, 10, 20, 30, 60)

STYLE = """
QWidget {background: #0e1116; color: #d6deeb; font-size: 12px}
QComboBox, QPushButton {background: #1b222c; border: 1px solid #303a47; border-radius: 4px; padding: 3px 8px}
QComboBox {padding-right: 18px}
QComboBox QAbstractItemView {background: #1b222c; selection-background-color: #33506e}
QPushButton:hover, QComboBox:hover {border-color: #5b6b7f}
QPushButton:checked {background: #33506e; border-color: #7ac8ff; color: white}
QPushButton:disabled {color: #566273}
QLabel#caption {color: #7f8a99}
QToolTip {background: #1b222c; color: #d6deeb; border: 1px solid #5b6b7f}
"""


def nice_above(value: float, steps: tuple[int, ...] = SCALES_UV) -> float:
    """Return the smallest of `steps` that is at least `value`, else the largest."""
    return float(next((s for s in steps if s >= value), steps[-1])) if np.isfinite(value) else float(steps[6])


def neighbour(value: float, steps: tuple[int, ...], up: bool) -> float:
    """Return the next larger or smaller of `steps`."""
    after = [s for s in steps if (s > value * 1.001 if up else s < value * 0.999)]
    return float((after[0] if up else after[-1]) if after else value)


def clock_text(seconds: float) -> str:
    """Return `seconds` as m:ss, or h:mm:ss from an hour on."""
    whole = round(seconds)
    text = f"{whole // 60 % 60}:{whole % 60:02d}"
    return f"{whole // 3600}:{whole // 60 % 60:02d}:{whole % 60:02d}" if whole >= 3600 else text


def duration_text(seconds: float) -> str:
    """Return a short time in ms or s."""
    if not np.isfinite(seconds):
        return "–"
    return f"{seconds * 1000:.0f} ms" if abs(seconds) < 1 else f"{seconds:.1f} s"
