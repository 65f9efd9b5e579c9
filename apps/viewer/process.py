"""``bci view``: the window in this process, the acquisition in another."""

from __future__ import annotations

import contextlib
import math
import signal
import threading
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

from bci.apps.viewer.feed import Feed
from bci.apps.viewer.model import Filters
from bci.errors import ConfigError
from bci.settings import plugin_name

if TYPE_CHECKING:
    from bci.apps.viewer.scope import Scope

FRAME_MS = 16


def view_device(
    device: str,
    *,
    seconds: float | None = None,
    screenshot: Path | None = None,
    window_s: float = 10.0,
    scale_uv: float | None = None,
    band: tuple[float, float] | None = (1.0, 40.0),
    notch_hz: float | None = 50.0,
    reference: str = "none",
    spectrum: bool = False,
    head: bool = False,
    impedance: bool = False,
    settings: dict[str, Any] | None = None,
) -> None:
    """Show the signals of a device until the window is closed.

    Parameters
    ----------
    device : str
        A device's spec, or ``tap:ADDRESS`` of a process that serves a tap.
    seconds : float, optional
        Close by itself after so many s of signal.
    screenshot : Path, optional
        Picture to save before closing.
    window_s, scale_uv, band, notch_hz, reference
        First settings of the scope; see `Scope` and `Filters`.
    spectrum : bool, default=False
        Show the spectrum from the begin.
    head : bool, default=False
        Show the head with its electrodes from the begin.
    impedance : bool, default=False
        Measure the contacts before the device streams.
    settings : dict, optional
        Settings of the device.

    Raises
    ------
    ConfigError
        If a setting of the view itself does not fit.
    BciError
        If the device does not exist or has failed; the window is closed and the picture saved then.
    """
    if seconds is not None and not seconds > 0:
        raise ConfigError(f"a view lasts for more than 0 s, got --seconds {seconds:g}; leave it out to view on")
    _check_folder(screenshot)
    filters = Filters(band, notch_hz, reference)
    with Feed(device, settings, impedance) as feed, _Interrupts() as interrupts:
        feed.start()
        with interrupts.held():
            _prepare(filters, seconds)
        info = feed.open()
        from bci.apps.viewer.scope import Scope

        scope = Scope(info, filters, window_s, scale_uv)
        scope.set_spectrum(spectrum)
        scope.set_head(head)
        _show(scope, feed, seconds, screenshot, interrupts)
    if feed.error is not None:
        raise feed.error


class _Interrupts:
    """Ctrl+C and a request to terminate, as a flag: Qt swallows what is raised within it."""

    def __init__(self) -> None:
        self.came = False
        self._before: dict[int, Any] = {}
        self._armed = False

    def arm(self) -> None:
        """From now on only note what comes; before, Ctrl+C interrupts as ever."""
        self._armed = True

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """Keep what comes until the body is over: what is raised in the midst of an import of Qt is printed by it."""
        self._armed = True
        yield
        self._armed = False
        if self.came:
            raise KeyboardInterrupt

    def __enter__(self) -> _Interrupts:
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                self._before[number] = signal.signal(number, self._note)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _note(self, _number: int, _frame: FrameType | None) -> None:
        self.came = True
        if not self._armed:
            raise KeyboardInterrupt


def _prepare(filters: Filters, seconds: float | None) -> None:
    """Load and compile what takes long while the device is being opened."""
    from bci.apps import qt
    from bci.apps.viewer.model import Model
    from bci.stream import Channel, StreamInfo

    app = qt.application()
    if seconds is None and app.platformName() == "offscreen":
        raise ConfigError(
            "a view without a display needs --seconds, or it would never close, and --screenshot to be seen; got none"
        )
    import bci.apps.viewer.scope  # noqa: F401  # imports pyqtgraph

    Model(StreamInfo("warm up", 1000.0, (Channel("a"), Channel("b"))), filters, n_columns=8)


def _show(scope: Scope, feed: Feed, seconds: float | None, screenshot: Path | None, interrupts: _Interrupts) -> None:
    from bci.apps import qt

    interrupts.arm()
    kind = plugin_name(feed.device)
    scope.source.name = kind if kind == scope.model.info.name else f"{kind}: {scope.model.info.name}"
    scope.show()
    first_s = float("nan")
    told: Mapping[str, float] | None = None

    def frame() -> bool:
        nonlocal first_s, told
        now_s = time.monotonic()
        chunks = feed.read()
        if feed.contact_kohm is not told:
            told = feed.contact_kohm
            scope.set_contacts(told)
        scope.push(chunks, now_s)
        if math.isnan(first_s) and chunks:
            first_s = now_s
        state = scope.source
        state.rate_hz, state.lost, state.dropped_chunks = feed.rate_hz, feed.lost, feed.dropped
        state.is_over, state.message = feed.is_over, str(feed.error or "")
        scope.tick(now_s)
        is_due = seconds is not None and (feed.is_over or now_s - first_s >= seconds)
        return not (is_due or interrupts.came) and scope.isVisible()

    try:
        qt.run_loop(frame, FRAME_MS)
        if screenshot is not None:
            scope.save(screenshot)
    finally:
        scope.close()


def _check_folder(screenshot: Path | None) -> None:
    if screenshot is not None and not screenshot.absolute().parent.is_dir():
        raise ConfigError(f"a picture needs a folder that is there, got {screenshot.parent}; make it or choose another")
