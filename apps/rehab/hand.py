"""A window with a large hand that closes and opens with the decoded intent: for a patient across the room."""

from __future__ import annotations

import logging
import math
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import replace

from PySide6.QtCore import Qt, QTimer
from PySide6.QtGui import QFontDatabase

from bci.apps import qt
from bci.apps.rehab.panel import HandPanel
from bci.apps.rehab.words import Lang
from bci.decision import Command
from bci.errors import ConfigError, SafetyError
from bci.ports import Limits, Status

log = logging.getLogger(__name__)

FRAME_S = 0.015
"""Time between two frames, s."""
_POLL_MS = 10
_EASE_S = 0.07  # a hand that jumps is hard to follow
_SHOWN_FROM = 0.1  # an intent smaller than this is neither opening nor closing
_MAX_EVENTS = 1000


class HandWindow:
    """An animated hand that closes for an intent above 0, opens below 0, and is half open at 0.

    Parameters
    ----------
    title : str, default=""
        Title of the window; one in the chosen language if empty.
    lang : "en" or "zh", default="en"
        Language of the words. Chinese falls back to English where no font has its letters.
    fullscreen : bool, default=False
        Fill the screen.

    Raises
    ------
    ConfigError
        If the language is not known.

    Notes
    -----
    The window opens at `self_test`, in the main thread; `send`, `show` and `halt` work from any
    thread. A command moves the hand for its `valid_s`, then the hand relaxes. The button, Space,
    Escape and closing the window call the attached stop in the moment they are pressed. Its
    events are "stop", "closed", "hand/close", "hand/open" and "hand/relax", the latter three at the
    frame that first shows it.
    """

    simulated = True
    """Nobody is touched: it only draws."""

    def __init__(self, title: str = "", lang: Lang = "en", fullscreen: bool = False) -> None:
        if lang not in ("en", "zh"):
            raise ConfigError(f"lang must be 'en' or 'zh', got {lang!r}; choose one of these")
        self.title, self.lang, self.fullscreen = title, lang, fullscreen
        self.panel: HandPanel | None = None
        self._lock = threading.RLock()
        self._target, self._until_s = 0.0, -math.inf
        self._pose, self._drawn_s = 0.0, 0.0
        self._side = "hand/relax"
        self._status = Status()
        self._events: deque[tuple[float, str]] = deque(maxlen=_MAX_EVENTS)
        self._attached: Callable[[], None] | None = None
        self._timer: QTimer | None = None
        self._closed = False

    # ------------------------------------------------------------- Effector
    @property
    def limits(self) -> Limits:
        """The envelope: a screen."""
        return Limits(safe_state="the hand is relaxed, half open")

    def self_test(self) -> None:
        """Open the window and prove that halting relaxes the hand with the next frame.

        Raises
        ------
        SafetyError
            If it does not.
        ConfigError
            Outside the main thread.
        """
        panel = self._open()
        with self._lock:
            self._target, self._pose, self._until_s = 1.0, 1.0, math.inf
        self.halt()
        self.frame()
        if panel.hand.pose != 0.0:
            raise SafetyError(f"a halted hand must be relaxed (0), got {panel.hand.pose}; restart the program")

    def send(self, command: Command) -> None:
        """Move towards the intent `command.value`, for as long as the command is valid."""
        if command.name != "intent" or not math.isfinite(command.value):
            return  # no wish of ours: the last one runs out by itself
        valid_s = command.valid_s if math.isfinite(command.valid_s) else 0.0
        with self._lock:
            self._target = min(max(float(command.value), -1.0), 1.0)
            self._until_s = time.monotonic() + valid_s

    def halt(self) -> None:
        """Relax the hand with the next frame."""
        with self._lock:
            self._target, self._pose, self._until_s = 0.0, 0.0, -math.inf
            self._status = replace(self._status, intent=0.0)

    def close(self) -> None:
        """Relax the hand and close the window."""
        self.halt()
        self._closed = True
        if self._timer is not None:
            self._timer.stop()
        if self.panel is not None:
            self.panel.hide()
            self.panel.deleteLater()
        self._timer = self.panel = None

    # ------------------------------------------------------------- capabilities
    def show(self, status: Status) -> None:
        """Show the guard's state, the intent, the cue and the message."""
        with self._lock:
            self._status = status

    def take_events(self) -> list[tuple[float, str]]:
        """Return (monotonic time in s, code) of everything since the last call."""
        with self._lock:
            events = list(self._events)
            self._events.clear()
        return events

    def attach_stop(self, stop: Callable[[], None]) -> None:
        """Call `stop` when a person wants everything to stop."""
        self._attached = stop

    def run(self, poll: Callable[[], bool]) -> None:
        """Run Qt's loop, calling `poll` every 10 ms, until it returns False or the window is closed."""
        self._open()
        qt.run_loop(lambda: poll() and not self._closed, _POLL_MS)

    # ------------------------------------------------------------- main thread
    def frame(self) -> None:
        """Draw what holds now; the window's timer calls it every `FRAME_S`."""
        now_s = time.monotonic()
        with self._lock:
            if now_s > self._until_s:
                self._target = 0.0
            step = 1.0 - math.exp(-max(now_s - self._drawn_s, FRAME_S) / _EASE_S)
            self._pose += step * (self._target - self._pose)
            if abs(self._pose - self._target) < 1e-3:
                self._pose = self._target
            self._drawn_s, pose, status = now_s, self._pose, self._status
            side = "hand/relax" if abs(pose) < _SHOWN_FROM else "hand/close" if pose > 0 else "hand/open"
            if side != self._side:
                self._side = side
                self._events.append((now_s, side))
        if self.panel is not None:
            self.panel.show_status(status, pose)

    def stop(self) -> None:
        """Do what the button does: relax the hand and call the attached stop."""
        self._halt_and_tell("stop")

    def _halt_and_tell(self, code: str) -> None:
        self.halt()
        with self._lock:
            self._events.append((time.monotonic(), code))
        if self._attached is not None:
            self._attached()
        self.frame()

    def _window_closed(self) -> None:
        if not self._closed:
            self._closed = True
            self._halt_and_tell("closed")

    def _open(self) -> HandPanel:
        if self.panel is not None:
            return self.panel
        qt.application()
        lang = self.lang
        if lang == "zh" and not qt.can_write(QFontDatabase.WritingSystem.SimplifiedChinese):
            log.warning(
                "no font here has Chinese letters: the hand speaks English; install one (Debian: fonts-noto-cjk)"
            )
            lang = "en"
        self._closed = False
        self.panel = HandPanel(self.stop, self._window_closed, self.title, lang)
        self._timer = QTimer(self.panel)
        self._timer.setTimerType(Qt.TimerType.PreciseTimer)
        self._timer.timeout.connect(self.frame)
        self._timer.start(round(1000 * FRAME_S))
        self.panel.showFullScreen() if self.fullscreen else self.panel.show()
        self.frame()
        return self.panel
