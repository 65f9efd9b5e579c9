"""The face of the rehabilitation hand: cue, hand, intent bar, guard state and a stop, to be read across a room."""

from __future__ import annotations

from collections.abc import Callable

from PySide6.QtCore import QRectF, Qt
from PySide6.QtGui import QCloseEvent, QColor, QFont, QFontMetricsF, QKeyEvent, QPainter, QPaintEvent, QResizeEvent
from PySide6.QtWidgets import QGridLayout, QPushButton, QSizePolicy, QWidget

from bci.apps.rehab import words
from bci.apps.rehab.hand_view import BACKGROUND, HandView
from bci.ports import Status

_WHITE, _TRACK = QColor("#ffffff"), QColor("#2a323d")
_CLOSE, _OPEN = QColor("#ffb000"), QColor("#4cc3ff")
_STATE_COLORS = {
    "active": "#2ecc71",
    "armed": "#4cc3ff",
    "hold": "#ffb000",
    "safe": "#ff9f43",
    "stopped": "#ff5a4f",
    "fault": "#ff5a4f",
}
_RED = (
    "QPushButton {background: #d8101f; color: white; border: 6px solid white; border-radius: 28px; font-weight: 900}"
    "QPushButton:pressed {background: #8d0712}"
)
LIVELY = ("active", "hold")
"""Guard states in which a command may move the hand."""


class Words(QWidget):
    """One line of text, as large as it fits, on a coloured ground or none."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.text, self._ink, self._ground = "", _WHITE, QColor(0, 0, 0, 0)

    def set_text(self, text: str, ink: QColor = _WHITE, ground: QColor | None = None) -> None:
        """Show `text` from the next frame on."""
        ground = ground or QColor(0, 0, 0, 0)
        if (text, ink, ground) != (self.text, self._ink, self._ground):
            self.text, self._ink, self._ground = text, ink, ground
            self.update()

    def paintEvent(self, _event: QPaintEvent) -> None:  # Qt's name
        """Draw."""
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        box = QRectF(self.rect())
        painter.setPen(Qt.PenStyle.NoPen)
        painter.setBrush(self._ground)
        painter.drawRoundedRect(box, 24, 24)
        painter.setPen(self._ink)
        painter.setFont(fitting_font(self.font(), self.text, box.width() - 32, box.height() * 0.8))
        painter.drawText(box, int(Qt.AlignmentFlag.AlignCenter), self.text)
        painter.end()


class IntentBar(QWidget):
    """The decoded intent: to the right closes, to the left opens."""

    def __init__(self, left: str, right: str, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.value, self._words = 0.0, (left, right)

    def set_value(self, value: float) -> None:
        """Show `value`, -1 to 1, from the next frame on."""
        if value != self.value:
            self.value = value
            self.update()

    def paintEvent(self, _event: QPaintEvent) -> None:  # Qt's name
        """Draw."""
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        side = self.width() * 0.15
        track = QRectF(side, self.height() * 0.14, self.width() - 2 * side, self.height() * 0.72)
        painter.setPen(Qt.PenStyle.NoPen)
        painter.setBrush(_TRACK)
        painter.drawRoundedRect(track, 14, 14)
        length = self.value * track.width() / 2
        begin = track.center().x() + min(length, 0.0)
        painter.setBrush(_CLOSE if length > 0 else _OPEN)
        painter.drawRoundedRect(QRectF(begin, track.top(), abs(length), track.height()), 10, 10)
        painter.fillRect(QRectF(track.center().x() - 3, 0, 6, self.height()), _WHITE)
        boxes = (QRectF(0, 0, side, self.height()), QRectF(self.width() - side, 0, side, self.height()))
        for box, text, color in zip(boxes, self._words, (_OPEN, _CLOSE), strict=True):
            painter.setPen(color)
            painter.setFont(fitting_font(self.font(), text, side - 16, self.height() * 0.7))
            painter.drawText(box, int(Qt.AlignmentFlag.AlignCenter), text)
        painter.end()


class HandPanel(QWidget):
    """The whole window.

    Parameters
    ----------
    stop : callable
        Called at once when the button, Space or Escape is pressed.
    closed : callable
        Called when the window is being closed.
    title : str
        Title of the window; the one of `words` if empty.
    lang : "en" or "zh"
        Language.
    """

    def __init__(
        self, stop: Callable[[], None], closed: Callable[[], None], title: str = "", lang: words.Lang = "en"
    ) -> None:
        super().__init__()
        self._stop, self._closed, self.lang = stop, closed, lang
        self.setWindowTitle(title or words.word(words.TEXTS, "title", lang))
        self.setStyleSheet(f"background: {BACKGROUND.name()}")
        self.cue, self.state, self.message, self.hand = Words(self), Words(self), Words(self), HandView(self)
        self.bar = IntentBar(words.word(words.TEXTS, "open", lang), words.word(words.TEXTS, "close", lang), self)
        self.stop_button = QPushButton(words.word(words.TEXTS, "stop", lang), self)
        self.stop_button.setStyleSheet(_RED)
        self.stop_button.setFocusPolicy(Qt.FocusPolicy.NoFocus)  # the keys belong to the window
        self.stop_button.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Expanding)
        self.stop_button.pressed.connect(stop)  # not `clicked`, which waits for the finger to lift
        self.hint = Words(self)
        self.hint.set_text(words.word(words.TEXTS, "stop_hint", lang))
        self._lay_out()
        self.resize(1280, 800)

    def _lay_out(self) -> None:
        grid = QGridLayout(self)
        grid.setContentsMargins(24, 18, 24, 18)
        grid.setSpacing(16)
        grid.addWidget(self.cue, 0, 0, 1, 2)
        grid.addWidget(self.hand, 1, 0, 4, 1)
        grid.addWidget(self.state, 1, 1)
        grid.addWidget(self.message, 2, 1)
        grid.addWidget(self.stop_button, 3, 1)
        grid.addWidget(self.hint, 4, 1)
        grid.addWidget(self.bar, 5, 0, 1, 2)
        for row, share in enumerate((15, 11, 6, 34, 5, 10)):
            grid.setRowStretch(row, share)
        grid.setColumnStretch(0, 64)
        grid.setColumnStretch(1, 36)

    def show_status(self, status: Status, pose: float) -> None:
        """Show `status`, and the hand at `pose`, from the next frame on."""
        state = status.state.lower()
        self.cue.set_text(words.cue(status.cue, self.lang))
        ground = QColor(_STATE_COLORS.get(state, "#8a929d"))
        self.state.set_text(words.word(words.STATES, state, self.lang), QColor("#0b0f14"), ground)
        self.message.set_text(status.message)
        self.bar.set_value(min(max(status.intent, -1.0), 1.0) if status.intent == status.intent else 0.0)
        self.hand.set_pose(pose, state in LIVELY)

    def keyPressEvent(self, event: QKeyEvent) -> None:  # Qt's name
        """Stop at Space and Escape."""
        if event.key() in (Qt.Key.Key_Space, Qt.Key.Key_Escape):
            if not event.isAutoRepeat():
                self._stop()
        else:
            super().keyPressEvent(event)

    def resizeEvent(self, event: QResizeEvent) -> None:  # Qt's name
        """Keep the word on the stop as large as its button."""
        super().resizeEvent(event)
        font = QFont(self.font())
        font.setPixelSize(max(24, min(self.stop_button.height() // 3, self.stop_button.width() // 5)))
        self.stop_button.setFont(font)

    def closeEvent(self, event: QCloseEvent) -> None:  # Qt's name
        """Stop, then close."""
        self._closed()
        event.accept()


def fitting_font(font: QFont, text: str, width: float, height: float) -> QFont:
    """Return `font`, bold, in the largest size in which `text` fits into `width` by `height` pixels."""
    font = QFont(font)
    font.setBold(True)
    font.setPixelSize(100)
    size = QFontMetricsF(font).size(0, text or " ")
    font.setPixelSize(max(8, int(100 * min(width / max(size.width(), 1.0), height / max(size.height(), 1.0)))))
    return font
