"""The head from above: where each electrode is, its verdict and its contact."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyqtgraph as pg
from numpy.typing import NDArray
from PySide6.QtGui import QFont

from bci.apps.viewer import health, look
from bci.signal.contact import Aims
from bci.signal.measures import place
from bci.signal.quality import Quality
from bci.stream import Channel, Kind, StreamInfo

_MOST_NAMED = 70
"""More electrodes than this have no room for a name and a value; the mouse tells them."""
_LEAST_RADIUS, _MOST_RADIUS = 0.03, 0.13


class HeadMap:
    """Electrodes on a head, coloured by their verdicts; contacts in kOhm where they were measured.

    Parameters
    ----------
    info : StreamInfo
        The stream. Electrodes are its EEG channels that have a position, or a name of the 10-10 system.

    Attributes
    ----------
    widget : pyqtgraph.PlotWidget
        What is drawn.
    electrodes : list of int
        Columns of the channels that have a place.
    """

    def __init__(self, info: StreamInfo) -> None:
        found = [(k, at) for k, c in enumerate(info.channels) if (at := projected(c)) is not None]
        self.electrodes = [k for k, _ in found]
        self._at = np.array([at for _, at in found]).reshape(-1, 2)
        self._radius = _radius(self._at)
        self.widget: Any = pg.PlotWidget()
        self.plot = self.widget.getPlotItem()
        self.plot.hideAxis("left")
        self.plot.hideAxis("bottom")
        self.plot.setMenuEnabled(False)
        self.plot.setMouseEnabled(False, False)
        self.plot.hideButtons()
        self.plot.setAspectLocked(True)
        self.plot.setXRange(-1.25, 1.25, padding=0)
        self.plot.setYRange(-1.15, 1.25, padding=0)
        self._draw_head()
        self._spots = pg.ScatterPlotItem(pxMode=False, hoverable=True, tip=lambda x, y, data: data)
        self.plot.addItem(self._spots)
        self._texts = [self._text() for _ in self.electrodes] if len(found) <= _MOST_NAMED else []
        for text, at in zip(self._texts, self._at, strict=False):
            text.setPos(*at)
            self.plot.addItem(text)

    def refresh(self, quality: Quality) -> None:
        """Draw the verdicts of `quality`."""
        kohm = quality.contact_kohm
        spots = []
        for (x, y), k in zip(self._at, self.electrodes, strict=True):
            verdict = quality.channels[k]
            value = kohm.get(verdict.name)
            spots.append({
                "pos": (x, y), "size": 2 * self._radius, "brush": pg.mkBrush(health.contact_color(verdict, value)),
                "pen": pg.mkPen(look.BACKGROUND), "data": health.hint(verdict, value),
            })  # fmt: skip
        self._spots.setData(spots)
        for text, k in zip(self._texts, self.electrodes, strict=False):
            verdict = quality.channels[k]
            below = health.short(kohm.get(verdict.name)) or verdict.fault
            text.setHtml(f'<div style="color: #0e1116; text-align: center"><b>{verdict.name}</b><br>{below}</div>')
        self.plot.setTitle(_title(quality, self.electrodes), size="9pt", color=look.DIM)

    def fit(self, width: int) -> None:
        """Let the names fit the electrodes in a widget that is `width` pixels wide."""
        font = QFont()
        font.setPixelSize(int(min(13, max(6, self._radius * width / 2.5 * 0.66))))
        for text in self._texts:
            text.setFont(font)
            text.setTextWidth(6 * font.pixelSize())  # what is centred needs a width

    def _text(self) -> Any:
        return pg.TextItem(anchor=(0.5, 0.5))

    def _draw_head(self) -> None:
        pen = pg.mkPen(look.DIM, width=1.5)
        around = np.linspace(0, 2 * np.pi, 100)
        outline = [(np.cos(around), np.sin(around)), (np.array([-0.12, 0.0, 0.12]), np.array([0.993, 1.12, 0.993]))]
        ear = np.linspace(-np.pi / 2, np.pi / 2, 20)
        outline += [(side * (0.995 + 0.07 * np.cos(ear)), 0.16 * np.sin(ear)) for side in (-1, 1)]
        for x, y in outline:
            self.plot.plot(x, y, pen=pen)


def projected(channel: Channel) -> NDArray[np.float64] | None:
    """Return where an electrode lies on a head seen from above, shape (2,): nose up, 1 at the equator; None: unknown.

    The angle from the vertex becomes the distance (azimuthal equidistant), so that rings stay rings.
    """
    at = place(channel) if channel.kind is Kind.EEG else None
    if at is None:
        return None
    across = float(np.hypot(at[0], at[1]))
    distance = float(np.arccos(np.clip(at[2], -1.0, 1.0))) / (np.pi / 2)
    return np.zeros(2) if across == 0 else at[:2] / across * distance


def _radius(at: NDArray[np.float64]) -> float:
    """Return the radius of electrodes that do not touch their neighbours."""
    if len(at) < 2:
        return _MOST_RADIUS
    distance = np.sqrt(((at[:, None] - at) ** 2).sum(axis=2))
    np.fill_diagonal(distance, np.inf)
    return float(np.clip(0.47 * np.median(distance.min(axis=1)), _LEAST_RADIUS, _MOST_RADIUS))


def _title(quality: Quality, electrodes: list[int]) -> str:
    """Say how many electrodes are how good, each in its colour."""
    shown = [quality.channels[k] for k in electrodes]
    if not shown:
        return "No channel has a place on the head"
    colours = [health.contact_color(c, quality.contact_kohm.get(c.name)) for c in shown]
    aims = Aims()
    words = {look.EVENT: "good", look.FAIR: f"above {aims.good_kohm:g} kΩ", look.WARN: "doubtful", look.ALARM: "bad"}
    parts = [f'<span style="color: {c}">{colours.count(c)} {w}</span>' for c, w in words.items() if c in colours]
    return ("kΩ: " if quality.contact_kohm else "") + ", ".join(parts)
