"""What every window needs: one application, a platform that works here, fonts that have the letters."""

from __future__ import annotations

import ctypes
import importlib.util
import logging
import os
import sys
import threading
from collections.abc import Callable
from pathlib import Path

from PySide6.QtCore import QEventLoop, QLibraryInfo, QMessageLogContext, Qt, QTimer, QtMsgType, qInstallMessageHandler
from PySide6.QtGui import QFontDatabase
from PySide6.QtWidgets import QApplication

from bci.apps.display import has_display
from bci.errors import ConfigError

log = logging.getLogger(__name__)

PACKAGES = "libxcb-cursor0 libxcb-icccm4 libxcb-image0 libxcb-keysyms1 libxcb-render-util0 libxkbcommon-x11-0"
"""Debian's names for what Qt's windows need on X11 and a small installation lacks."""


def application() -> QApplication:
    """Return the one application of this process; make it if there is none.

    Without a display and without a chosen platform the windows are drawn in memory only
    ("offscreen"), and the log says so.

    Raises
    ------
    ConfigError
        Outside the main thread, or where a display is there but a library of Qt is missing.
    """
    app = QApplication.instance()
    if isinstance(app, QApplication):
        return app
    if threading.current_thread() is not threading.main_thread():
        raise ConfigError(
            f"windows need the main thread, got thread {threading.current_thread().name!r}; open them from there"
        )
    _choose_platform()
    qInstallMessageHandler(_log_message)
    app = QApplication([sys.argv[0] or "bci"])
    app.setApplicationName("bci")
    _ensure_font()
    return app


def can_write(script: QFontDatabase.WritingSystem) -> bool:
    """True if a font here has the letters of `script`."""
    return bool(QFontDatabase.families(script))


def run_loop(tick: Callable[[], bool], interval_ms: int) -> None:
    """Run the event loop, calling `tick` every `interval_ms`, until it returns False; what it raises is raised here."""
    app = application()
    loop, raised = QEventLoop(), []
    timer = QTimer()
    timer.setTimerType(Qt.TimerType.PreciseTimer)

    def guarded() -> None:
        try:
            if not tick():
                loop.quit()
        except BaseException as error:  # noqa: BLE001  # Qt would swallow it: carry it over the loop
            raised.append(error)
            loop.quit()

    timer.timeout.connect(guarded)
    app.aboutToQuit.connect(loop.quit)
    timer.start(interval_ms)
    loop.exec()
    timer.stop()
    app.aboutToQuit.disconnect(loop.quit)
    if raised:
        raise raised[0]


def _log_message(kind: QtMsgType, context: QMessageLogContext, text: str) -> None:
    """Let Qt speak through the log; what it warns of is rarely of use to a user."""
    levels = {QtMsgType.QtCriticalMsg: logging.ERROR, QtMsgType.QtFatalMsg: logging.CRITICAL}
    log.log(levels.get(kind, logging.DEBUG), "%s", text)


def _choose_platform() -> None:
    if not sys.platform.startswith("linux") or os.environ.get("QT_QPA_PLATFORM"):
        return
    if not has_display():
        os.environ["QT_QPA_PLATFORM"] = "offscreen"
        log.warning("no display here: windows are drawn in memory only (QT_QPA_PLATFORM=offscreen)")
    elif not os.environ.get("WAYLAND_DISPLAY") and (missing := missing_library()):
        # Qt would end the process without a chance to explain.
        raise ConfigError(
            f"windows on this display need the library {missing}, which is not here; install it (Debian: {PACKAGES}) "
            "or set QT_QPA_PLATFORM=offscreen"
        )


def missing_library() -> str:
    """Return the first system library that Qt's windows need on X11 and that is not here; empty if none is missing."""
    plugin = Path(QLibraryInfo.path(QLibraryInfo.LibraryPath.PluginsPath)) / "platforms" / "libqxcb.so"
    if not sys.platform.startswith("linux") or not plugin.exists():
        return ""
    try:
        ctypes.CDLL(str(plugin))
    except OSError as error:
        return str(error).partition(":")[0]
    return ""


def _ensure_font() -> None:
    """Load the font that matplotlib brings where the system has none."""
    if QFontDatabase.families():
        return
    spec = importlib.util.find_spec("matplotlib")
    folder = Path(spec.origin).parent / "mpl-data/fonts/ttf" if spec is not None and spec.origin else Path()
    found = [QFontDatabase.addApplicationFont(str(folder / f"DejaVuSans{s}.ttf")) for s in ("", "-Bold")]
    if -1 in found:
        log.warning("no font found: windows will have no letters; install one (Debian: fonts-dejavu-core)")
    else:
        QApplication.setFont(QFontDatabase.applicationFontFamilies(found[0])[0])
        log.info("no system font found: using the one of matplotlib")
