"""A hand drawn as vectors: the palm faces its owner, four fingers of three bones and a thumb curl towards it."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from PySide6.QtCore import QPointF, QRectF, Qt
from PySide6.QtGui import QColor, QLinearGradient, QPainter, QPainterPath, QPaintEvent, QPen
from PySide6.QtWidgets import QWidget

BACKGROUND = QColor("#0b0f14")
_SKIN, _SHADE, _LINE = QColor("#ffd9b0"), QColor("#e0a36f"), QColor("#3a1f10")
_GREY, _GREY_SHADE = QColor("#c3c9d1"), QColor("#8a929d")
_TILT_RAD = math.radians(14)  # seen slightly from above, so that a bone that points to the viewer keeps a length
_FLEX_RAD = tuple(math.radians(a) for a in (84.0, 104.0, 62.0))  # of the three joints in a fist
_OUTLINE = 7.0  # drawn units; the hand is about 560 of them high


@dataclass(frozen=True, slots=True)
class _Finger:
    base: tuple[float, float]
    lean_deg: float
    bones: tuple[float, float, float]
    width: float


_FINGERS = (
    _Finger((-88.0, 208.0), -13.0, (76.0, 50.0, 42.0), 43.0),
    _Finger((-32.0, 232.0), -4.0, (102.0, 68.0, 52.0), 49.0),
    _Finger((28.0, 240.0), 2.5, (112.0, 76.0, 55.0), 51.0),
    _Finger((86.0, 224.0), 9.0, (100.0, 66.0, 52.0), 50.0),
)


@dataclass(frozen=True, slots=True)
class Bone:
    """One bone as it is drawn: its ends in the plane (drawn units, y up), its width and how near it is."""

    begin: tuple[float, float]
    end: tuple[float, float]
    width: float
    depth: float


def bones(closure: float) -> list[Bone]:
    """Return the 15 bones of the hand, farthest first.

    Parameters
    ----------
    closure : float
        From 0, open, to 1, a fist; half open is 0.5.
    """
    closure = min(max(closure, 0.0), 1.0) ** 1.5  # foreshortening makes a small bend look large
    found = [bone for finger in _FINGERS for bone in _finger_bones(finger, closure)] + _thumb_bones(closure)
    return sorted(found, key=lambda b: b.depth)


def _finger_bones(finger: _Finger, closure: float) -> list[Bone]:
    lean = math.radians(finger.lean_deg * (1.0 - 0.8 * closure))
    along = np.array([math.sin(lean), math.cos(lean), 0.0])
    point, flexion = np.array([*finger.base, 6.0]), 0.0
    found: list[Bone] = []
    for length, flex in zip(finger.bones, _FLEX_RAD, strict=True):
        flexion += closure * flex
        step = along * math.cos(flexion) + np.array([0.0, 0.0, math.sin(flexion)])
        after = point + length * step
        found.append(_bone(point, after, finger.width * (1.0 + 0.16 * closure) * (1.0 - 0.06 * len(found))))
        point = after
    return found


def _thumb_bones(closure: float) -> list[Bone]:
    point = np.array([62.0, 74.0, 20.0])
    found: list[Bone] = []
    angles = ((52.0, 34.0), (38.0, -38.0), (26.0, -74.0))
    for (open_deg, closed_deg), length, width in zip(angles, (92.0, 78.0, 60.0), (68.0, 56.0, 50.0), strict=True):
        angle = math.radians(open_deg + closure * (closed_deg - open_deg))
        rise = length * closure * (0.75 if not found else 0.3)
        after = point + np.array([length * math.sin(angle), length * math.cos(angle), rise])
        found.append(replace(_bone(point, after, width), depth=float(after[2]) + 70.0 * closure))  # over the fingers
        point = after
    return found


def _bone(begin: NDArray[np.float64], end: NDArray[np.float64], width: float) -> Bone:
    (x0, y0), (x1, y1) = _project(begin), _project(end)
    return Bone((x0, y0), (x1, y1), width, float(begin[2] + end[2]) / 2)


def _project(point: NDArray[np.float64]) -> tuple[float, float]:
    x, y, z = (float(v) for v in point)
    return x, y * math.cos(_TILT_RAD) - z * math.sin(_TILT_RAD)


class HandView(QWidget):
    """The hand, as large as the widget allows.

    Parameters
    ----------
    parent : QWidget, optional
        Where it is shown.

    Attributes
    ----------
    pose : float
        What is drawn: -1 open, 0 relaxed and half open, 1 a fist.
    lively : bool
        False draws it grey: nothing drives it.
    """

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.pose, self.lively = 0.0, False
        self.setMinimumSize(200, 200)

    def set_pose(self, pose: float, lively: bool) -> None:
        """Draw `pose`, -1 to 1, from the next frame on."""
        if (pose, lively) != (self.pose, self.lively):
            self.pose, self.lively = pose, lively
            self.update()

    def paintEvent(self, _event: QPaintEvent) -> None:  # Qt's name
        """Draw."""
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        painter.fillRect(self.rect(), BACKGROUND)
        scale = min(self.width() / 520.0, self.height() / 590.0)
        painter.translate(self.width() / 2 - 22 * scale, self.height() - 92 * scale)
        painter.scale(scale, -scale)
        fill, shade = (_SKIN, _SHADE) if self.lively else (_GREY, _GREY_SHADE)
        _draw_palm(painter, fill, shade)
        for bone in bones((self.pose + 1.0) / 2.0):
            _draw_bone(painter, bone, fill, shade)
        painter.end()


def _draw_palm(painter: QPainter, fill: QColor, shade: QColor) -> None:
    path = QPainterPath(QPointF(-62, -140))
    path.cubicTo(-66, -60, -60, -30, -84, 20)
    path.cubicTo(-116, 80, -116, 160, -110, 200)
    path.cubicTo(-104, 236, -60, 250, 0, 256)
    path.cubicTo(60, 258, 108, 244, 112, 212)
    path.cubicTo(112, 150, 112, 90, 88, 30)
    path.cubicTo(66, -24, 64, -60, 62, -140)
    colors = QLinearGradient(0, 260, 0, -100)
    colors.setColorAt(0.0, fill)
    colors.setColorAt(1.0, shade)
    painter.setPen(QPen(_LINE, _OUTLINE))
    painter.setBrush(colors)
    painter.drawPath(path)
    painter.setPen(QPen(shade.darker(118), 5, Qt.PenStyle.SolidLine, Qt.PenCapStyle.RoundCap))
    painter.setBrush(Qt.BrushStyle.NoBrush)
    painter.drawArc(QRectF(-20, 20, 150, 150), 100 * 16, 130 * 16)
    painter.drawArc(QRectF(-92, 96, 190, 90), 200 * 16, 130 * 16)


def _draw_bone(painter: QPainter, bone: Bone, fill: QColor, shade: QColor) -> None:
    begin, end = QPointF(*bone.begin), QPointF(*bone.end)
    near = min(max(bone.depth / 110.0, 0.0), 1.0)
    color = QColor(*(round(s + (f - s) * (0.55 + 0.45 * near)) for f, s in zip(_rgb(fill), _rgb(shade), strict=True)))
    for pen_color, width in ((_LINE, bone.width + _OUTLINE), (color, bone.width - _OUTLINE / 2)):
        painter.setPen(QPen(pen_color, width, Qt.PenStyle.SolidLine, Qt.PenCapStyle.RoundCap))
        painter.drawLine(begin, end)


def _rgb(color: QColor) -> tuple[int, int, int]:
    return color.red(), color.green(), color.blue()
