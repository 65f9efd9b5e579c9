"""All channels as one item: a ring of columns, of which only new ones are drawn; gaps and events over it."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pyqtgraph as pg
from numpy.typing import NDArray
from PySide6.QtCore import QPointF, QRectF, Qt
from PySide6.QtGui import QBrush, QColor, QFont, QFontMetricsF, QImage, QPainter, QPen, QStaticText

from bci.apps.viewer import health, look
from bci.apps.viewer.model import Gap, Model
from bci.apps.viewer.raster import Raster
from bci.signal.quality import Quality

TOP_PX, BOTTOM_PX = 34, 18
"""Room above the lines for the codes of events, and below them for the time, px."""
_LINE_PX = 1.2
_REACH_LANES = 1.5
_MAX_LABEL = 18
_FONT_PX = 11
_LABEL_ROWS = 2
_CONTACT_PX = 54
_CLICK = "Click a channel to see its spectrum"


class Traces(pg.GraphicsObject):
    """The lines of the visible channels, one lane each, the newest sample at the right edge.

    Parameters
    ----------
    model : Model
        What is shown.
    view : pyqtgraph.ViewBox
        What it fills.

    Attributes
    ----------
    visible : ndarray of int
        Channels on the screen, top to bottom.
    per_lane : ndarray, shape (n_channels,)
        Height of a lane in the unit of each channel.
    centre : ndarray, shape (n_channels,)
        Value in the middle of the lane.
    color_of : ndarray of int, shape (n_channels,)
        Colour of each channel, an index into `look.LINES`.
    """

    def __init__(self, model: Model, view: pg.ViewBox) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # pyqtgraph has no types
        self.model, self._view = model, view
        n = model.info.n_channels
        self.visible: NDArray[np.int64] = np.arange(n)
        self.per_lane, self.centre = np.full(n, 100.0), np.zeros(n)
        self.color_of: NDArray[np.int64] = np.arange(n) % 2
        self.scale_uv = 0.0
        self._ratio = 1.0
        self._make_raster()
        self._font = QFont()
        self._font.setPixelSize(_FONT_PX)
        self._metrics = QFontMetricsF(self._font)
        self._labels: dict[str, QStaticText] = {}
        self._label_rows: dict[tuple[int, str], int | None] = {}
        self._label_ends = [-math.inf] * _LABEL_ROWS
        self.setParentItem(view)
        view.sigResized.connect(self.fit)

    # ------------------------------------------------------------- content
    def fit(self, *_: object) -> None:
        """Take the size of the view; one column is one pixel of the screen."""
        self.prepareGeometryChange()
        views = self.scene().views() if self.scene() is not None else []
        self._ratio = float(views[0].devicePixelRatioF()) if views else 1.0
        columns, rows = self._size()
        if (rows, columns) != self._raster.pixels.shape:
            if columns != self.model.n_columns:
                self.model.set_screen(self.model.window_s, columns)
            self._make_raster()
            self.redraw()

    def redraw(self) -> None:
        """Draw every column anew: after a change of scale, channels, filters or time on the screen."""
        m = self.model
        self._forget_labels()
        self._draw(m.stop_column - m.n_columns, m.stop_column)
        self.update()

    def follow(self, until: float | None = None) -> bool:
        """Draw the columns that are complete up to sample `until`; return whether there was a new one."""
        first, stop = self.model.advance(until)
        if stop > first:
            self._draw(first, stop)
            self.update()
        return stop > first

    def lane_px(self) -> float:
        """Return the height of a lane, px."""
        return self._raster.n_rows / self._ratio / max(1, len(self.visible))

    # ------------------------------------------------------------- Qt
    def boundingRect(self) -> QRectF:  # Qt's name
        """Return the whole view."""
        return QRectF(0, 0, self._view.width(), self._view.height())

    def paint(self, painter: QPainter, *_: Any) -> None:
        """Draw the ring's two parts, then the time, the gaps, the events and the scale."""
        columns, rows = self._raster.n_columns, self._raster.n_rows
        split, ratio = self.model.stop_column % columns, self._ratio
        height = rows / ratio
        for begin, n, at in ((split, columns - split, 0), (0, split, columns - split)):
            if n:
                painter.drawImage(QRectF(at / ratio, TOP_PX, n / ratio, height), self._image, QRectF(begin, 0, n, rows))
        painter.setRenderHint(QPainter.RenderHint.Antialiasing, False)  # upright lines need none
        painter.setFont(self._font)
        self._paint_time(painter, height)
        free = 0.0
        for gap in self.model.gaps:
            free = self._paint_gap(painter, gap, height, free)
        self._paint_events(painter, height)
        self._paint_scale(painter)

    # ------------------------------------------------------------- private
    def _size(self) -> tuple[int, int]:
        columns = max(8, int(self._view.width() * self._ratio))
        return columns, max(8, int((self._view.height() - TOP_PX - BOTTOM_PX) * self._ratio))

    def _make_raster(self) -> None:
        columns, rows = self.model.n_columns, self._size()[1]
        self._raster = Raster(rows, columns, look.LINES, look.BACKGROUND)
        # The image looks at the very memory of the raster: nothing is copied per frame.
        self._image = QImage(self._raster.pixels.data, columns, rows, 4 * columns, QImage.Format.Format_RGB32)

    def _draw(self, first: int, stop: int) -> None:
        m, shown = self.model, self.visible
        if not len(shown):
            return
        lane = self._raster.n_rows / len(shown)
        middle: NDArray[np.float64] = (np.arange(len(shown), dtype=np.float64) + 0.5) * lane
        rows = np.arange(first, stop) % m.n_columns
        reach, half = _REACH_LANES * lane, _LINE_PX * self._ratio / 2
        scale = lane / self.per_lane[shown]
        top: NDArray[np.float64] = (
            middle - np.clip((m.high[rows][:, shown] - self.centre[shown]) * scale, -reach, reach) - half
        )
        bottom: NDArray[np.float64] = (
            middle - np.clip((m.low[rows][:, shown] - self.centre[shown]) * scale, -reach, reach) + half
        )
        self._raster.draw(first, top, bottom, self.color_of[shown])

    def _x(self, sample: float) -> float:
        return self.model.column(sample) / self._ratio

    def _paint_time(self, painter: QPainter, height: float) -> None:
        m = self.model
        width = self._raster.n_columns / self._ratio
        step = next((s for s in (1, 2, 5, 10, 15, 30, 60) if s / m.window_s * width >= 70), 60)
        end_s = m.stop_column * m.samples_per_column / m.info.sfreq
        first = max(0, int((end_s - m.window_s) // step))
        for k in range(first, int(end_s // step) + 1):
            x = self._x(k * step * m.info.sfreq)
            if x < 0:
                continue
            painter.setPen(QColor(look.GRID))
            painter.drawLine(QPointF(x, TOP_PX), QPointF(x, TOP_PX + height))
            label = self._label(look.clock_text(k * step))
            if label.size().width() / 2 <= min(x, width - x):
                painter.setPen(QColor(look.DIM))
                painter.drawStaticText(QPointF(x - label.size().width() / 2, TOP_PX + height + 2), label)

    def _paint_gap(self, painter: QPainter, gap: Gap, height: float, free: float) -> float:
        """Draw a gap, with words if they fit to the right of `free`; return where the next may begin."""
        begin, end = self._x(gap.first), self._x(gap.after)
        width = self._raster.n_columns / self._ratio
        if end < 0 or begin > width:
            return free
        begin, end = max(0.0, begin), min(max(end, begin + 2), width)  # one lost sample is seen, too
        color = QColor(look.GAP_LOST if gap.cause == "lost" else look.GAP_UNSHOWN)
        band = QRectF(begin, TOP_PX, end - begin, height)
        color.setAlpha(60)
        painter.fillRect(band, color)
        color.setAlpha(190)
        painter.fillRect(band, QBrush(color, Qt.BrushStyle.BDiagPattern))
        text = f"{gap.cause} {look.duration_text(gap.n_samples / self.model.info.sfreq)}"
        w = self._metrics.horizontalAdvance(text) + 8
        left = min(max((begin + end - w) / 2, 0.0), max(0.0, width - w))
        if left < free:
            return free
        box = QRectF(left, TOP_PX + height - 19, w, 17)
        painter.fillRect(box, QColor(*look.BACKGROUND, 220))
        painter.setPen(QColor(color.rgb()))
        painter.drawText(box, int(Qt.AlignmentFlag.AlignCenter), text)
        return left + w + 4

    def _paint_events(self, painter: QPainter, height: float) -> None:
        width, row_px = self._raster.n_columns / self._ratio, TOP_PX / _LABEL_ROWS
        color, faint = QColor(look.EVENT), QColor(look.EVENT)
        faint.setAlpha(140)
        for event in self.model.events:
            x = self._x(event.sample)
            if not -200 <= x <= width:
                continue
            code = event.code if len(event.code) <= _MAX_LABEL else event.code[: _MAX_LABEL - 1] + "…"
            label = self._label(code)
            w = label.size().width()
            row = self._label_row(event.sample, code, w + 8)
            painter.setPen(color)
            if row is not None and x + w <= width:
                painter.drawStaticText(QPointF(x + 3, row * row_px), label)
            if x >= 0:
                painter.setPen(faint)
                painter.drawLine(
                    QPointF(x, (row if row is not None else _LABEL_ROWS) * row_px), QPointF(x, TOP_PX + height)
                )

    def _label(self, text: str) -> QStaticText:
        """Return `text`, laid out once: that costs more than drawing it."""
        if text not in self._labels:
            if len(self._labels) > 500:
                self._labels.clear()
            label = QStaticText(text)
            label.setTextFormat(Qt.TextFormat.PlainText)
            label.prepare(font=self._font)
            self._labels[text] = label
        return self._labels[text]

    def _label_row(self, sample: int, code: str, width: float) -> int | None:
        """Return the row of an event's label, chosen once so that it does not jump; None where there is no room."""
        key = (sample, code)
        if key not in self._label_rows:
            if len(self._label_rows) > 4096:
                self._forget_labels()
            row = next((r for r, end in enumerate(self._label_ends) if sample >= end), None)
            if row is not None:
                self._label_ends[row] = sample + width * self._ratio * self.model.samples_per_column
            self._label_rows[key] = row
        return self._label_rows[key]

    def _forget_labels(self) -> None:
        self._label_rows.clear()
        self._label_ends = [-math.inf] * _LABEL_ROWS

    def _paint_scale(self, painter: QPainter) -> None:
        """Draw how high so many microvolts are, at the right edge."""
        if not self.scale_uv:
            return
        x, y, lane = self._raster.n_columns / self._ratio - 6, TOP_PX + 6.0, self.lane_px()
        share = next(s for s in (1.0, 0.5, 0.2, 0.1, 0.05, 0.0) if s * lane <= 120)  # of a lane: no taller than needed
        text = f"{self.scale_uv * share:g} µV"
        label = self._label(text)
        w = label.size().width()
        painter.fillRect(QRectF(x - w - 12, y - 6, w + 16, max(share * lane, 12) + 12), QColor(*look.BACKGROUND, 210))
        painter.setPen(QPen(QColor(look.TEXT), 2))
        painter.drawLine(QPointF(x, y), QPointF(x, y + share * lane))
        painter.setPen(QColor(look.TEXT))
        painter.drawStaticText(QPointF(x - w - 6, y + (share * lane - label.size().height()) / 2), label)


class Names(pg.AxisItem):
    """Channel names on the left; a click chooses a channel for the spectrum.

    Parameters
    ----------
    traces : Traces
        Whose lanes are named.
    clicked : callable
        Called with the number of the channel.
    """

    def __init__(self, traces: Traces, clicked: Callable[[int], None]) -> None:
        super().__init__("left")
        self._traces, self._clicked = traces, clicked
        self.quality = traces.model.quality
        self._font = QFont()
        self._font.setPixelSize(12)
        longest = max(QFontMetricsF(self._font).horizontalAdvance(c.name[:14]) for c in traces.model.info.channels)
        self._width = int(min(150, longest + 62))
        self.setWidth(self._width)
        self.setToolTip(_CLICK)
        self.setCacheMode(self.CacheMode.DeviceCoordinateCache)  # its place touches the traces'

    def paint(self, painter: QPainter, *_: Any) -> None:
        """Write the names; where lanes are too low, every second or fewer."""
        lane = self._traces.lane_px()
        size = int(min(12, max(8, lane - 1)))
        self._font.setPixelSize(size)
        painter.setFont(self._font)
        every = max(1, int(np.ceil((size + 1) / lane)))
        shown = self._traces.visible
        free = np.ones(len(shown), dtype=bool)  # where lanes are too low, channels that look wrong come first
        levels = [c.level for c in self.quality.channels]
        for place in sorted(range(len(shown)), key=lambda p: (-levels[shown[p]], p % every != 0)):
            if free[place]:
                self._write(painter, int(shown[place]), TOP_PX + (place + 0.5) * lane, size)
                free[max(0, place - every + 1) : place + every] = False

    def _write(self, painter: QPainter, channel: int, y: float, size: int) -> None:
        verdict = self.quality.channels[channel]
        note, name = verdict.fault, verdict.name[:14]
        group = int(self._traces.color_of[channel])
        painter.setPen(QColor(*look.LINES[group]) if group >= look.CHOSEN else QColor(health.color(verdict)))
        box = QRectF(2, y - size, self.size().width() - 8, 2 * size)
        text = f"{note}  {name}" if note else name
        painter.drawText(box, int(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter), text)
        kohm = self.quality.contact_kohm.get(verdict.name)
        if kohm is not None:
            painter.setPen(QColor(health.contact_color(verdict, kohm)))
            contact = f"{health.short(kohm)} kΩ" if np.isfinite(kohm) else health.short(kohm)
            painter.drawText(box, int(Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignVCenter), contact)

    def look_at(self, quality: Quality) -> None:
        """Show other verdicts, and room for contacts once there are some."""
        self.quality = quality
        wide = self._width + (_CONTACT_PX if quality.contact_kohm else 0)
        if wide != self.fixedWidth:
            self.setWidth(wide)

    def mouseClickEvent(self, event: Any) -> None:  # pyqtgraph's name
        """Choose the channel under the mouse."""
        channel = self.channel_at(event.pos().y())
        if channel is not None:
            event.accept()
            self._clicked(channel)

    def hoverEvent(self, event: Any) -> None:  # pyqtgraph's name
        """Say what the verdict on the channel under the mouse is, and why."""
        channel = None if event.isExit() else self.channel_at(event.pos().y())
        if channel is not None:
            verdict = self.quality.channels[channel]
            kohm = self.quality.contact_kohm.get(verdict.name)
            self.setToolTip(f"{health.hint(verdict, kohm)}\n{_CLICK}")

    def channel_at(self, y: float) -> int | None:
        """Return the number of the channel whose lane is at `y`, px; None where there is none."""
        place = int((y - TOP_PX) // self._traces.lane_px())
        return int(self._traces.visible[place]) if 0 <= place < len(self._traces.visible) else None
