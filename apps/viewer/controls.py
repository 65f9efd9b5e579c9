"""The row of choices above the channels; gives way when the window is narrow."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from PySide6.QtCore import Qt
from PySide6.QtGui import QResizeEvent
from PySide6.QtWidgets import QComboBox, QHBoxLayout, QLabel, QPushButton, QSizePolicy, QWidget


class Controls(QWidget):
    """Captioned choices and buttons in one row.

    What was added first stays longest when there is no room for all; captions go before choices.
    """

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._row = QHBoxLayout(self)
        self._row.setContentsMargins(8, 5, 8, 3)
        self._row.setSpacing(5)
        self._captions: list[QLabel] = []
        self._parts: list[QWidget] = []
        self._row.addStretch(1)
        self.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Fixed)

    def add_choice(
        self, caption: str, choices: Sequence[tuple[str, Any]], chosen: Callable[[Any], None], tip: str
    ) -> QComboBox:
        """Add a choice; `chosen` is called with the value that a person picked."""
        label = QLabel(caption)
        label.setObjectName("caption")
        box = QComboBox()
        for text, value in choices:
            box.addItem(text, value)
        box.setToolTip(tip)
        box.setFocusPolicy(Qt.FocusPolicy.NoFocus)  # the keys belong to the window
        box.activated.connect(lambda i: chosen(box.itemData(i)))
        self._captions.append(label)
        self._insert(label)
        self._insert(box)
        self._parts.append(box)
        return box

    def add_button(self, text: str, pressed: Callable[[], None], tip: str, checkable: bool = False) -> QPushButton:
        """Add a button."""
        button = QPushButton(text)
        button.setCheckable(checkable)
        button.setToolTip(tip)
        button.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        button.clicked.connect(lambda _checked: pressed())
        self._insert(button)
        self._parts.append(button)
        return button

    def resizeEvent(self, event: QResizeEvent) -> None:  # Qt's name
        """Show as much as there is room for."""
        super().resizeEvent(event)
        self.fit(event.size().width())

    def fit(self, width: int) -> None:
        """Hide captions, then the latest parts, until the rest fits into `width` pixels."""
        room = width - 20

        def size(parts: Sequence[QWidget]) -> int:
            return sum(p.sizeHint().width() + self._row.spacing() for p in parts)

        with_captions = size(self._parts) + size(self._captions) <= room
        for label in self._captions:
            label.setVisible(with_captions)
        used = size(self._captions) if with_captions else 0
        for part in self._parts:
            used += part.sizeHint().width() + self._row.spacing()
            part.setVisible(used <= room)

    def _insert(self, part: QWidget) -> None:
        self._row.insertWidget(self._row.count() - 1, part)


def show_value(box: QComboBox, value: Any, text: str) -> None:
    """Show `value` in `box`; a value that is not among the choices is added as `text`."""
    for row in range(box.count()):
        if box.itemData(row) == value:
            box.setCurrentIndex(row)
            return
    box.addItem(text, value)
    box.setCurrentIndex(box.count() - 1)
