"""A virtual scene in the browser: an arm reaches and a ball moves with the decoded intent."""

from __future__ import annotations

import logging
import math
import re
import sys
import threading
import time
import webbrowser
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any

from bci.apps.vr.server import Client, PageServer
from bci.decision import Command
from bci.errors import ConfigError
from bci.ports import Hazard, Limits, Status

log = logging.getLogger(__name__)

_STATIC = Path(__file__).parent / "static"
_FILES = {
    "/": _STATIC / "index.html",
    "/scene.js": _STATIC / "scene.js",
    "/limb.js": _STATIC / "limb.js",
    "/room.js": _STATIC / "room.js",
    "/link.js": _STATIC / "link.js",
    "/quality.js": _STATIC / "quality.js",
    "/style.css": _STATIC / "style.css",
    "/three/three.module.min.js": _STATIC / "three" / "three.module.min.js",
    "/three/three.core.min.js": _STATIC / "three" / "three.core.min.js",
    "/three/LICENSE": _STATIC / "three" / "LICENSE",
}
FRESH_S = 0.2
"""Age at which an intent is no longer shown, s; the page has the same number."""

_LIMITS = Limits(hazard=Hazard.MOTION, max_age_s=0.5, safe_state="limb at rest, scene still")
_EVENT = re.compile(r"[a-z][a-z0-9-]{0,31}(:[\w .-]{1,48})?")
_MAX_EVENTS = 10_000
_N_SENT = 512


class VrScene:
    """Show the intent as a reaching arm and a rolling ball, in a browser or a headset.

    Parameters
    ----------
    port : int or str, default=8765
        Port of the page; 0 for any that is free. Text, as in the spec ``vr:8766``, is read as a number.
    host : str, default="127.0.0.1"
        Address to listen on. Other machines cannot reach the default, and a headset
        shows the scene only from an address it trusts: lead the port to it by cable
        (for example ``adb reverse tcp:8765 tcp:8765``) and open the page there.
    open_browser : bool, default=False
        Open the page in this machine's browser when the test of itself has passed.

    Raises
    ------
    ConfigError
        If the port is not one, here; if it is in use, from `open` and `self_test`.

    Notes
    -----
    Nothing fresh for 0.2 s means rest: the page itself lowers the limb when messages
    or the connection are missing, whatever became of this process.

    The page reports back on the session's clock: ``vr:open``, ``vr:closed``,
    ``vr:enter-xr``, ``vr:exit-xr``, ``vr:select``, ``vr:stop``, ``vr:hidden``,
    ``vr:visible``, ``vr:rest``, ``vr:cue-shown:CUE`` (the first frame with that
    cue), ``vr:frame-late``, and once a second ``vr:frames:n=.. median=.. max=..
    late=.. delay=.. error=..`` in seconds: frame intervals, the time from `send` to
    the frame that showed it, and the possible error of the browser's times.
    """

    def __init__(self, port: int | str = 8765, host: str = "127.0.0.1", open_browser: bool = False) -> None:
        if isinstance(port, str):  # from a spec "vr:8765"
            port = int(port) if port.isdecimal() else -1
        if not 0 <= port <= 65535:
            raise ConfigError(
                f"a port is a number from 0 to 65535, got {port}; leave it at 8765 or give 0 for a free one"
            )
        self.open_browser = open_browser
        self._server = PageServer(_FILES, self._hear, host, port)
        self._events: deque[tuple[float, str]] = deque(maxlen=_MAX_EVENTS)
        self._stop: Callable[[], None] | None = None
        self._sent: dict[int, float] = {}
        self._sequence = 0
        self._is_announced = False
        self._lock = threading.RLock()

    # ------------------------------------------------------------------ Effector
    @property
    def limits(self) -> Limits:
        """The envelope it must be kept in."""
        return _LIMITS

    def open(self) -> None:
        """Serve the page; say where it is.

        Raises
        ------
        ConfigError
            If the port is in use.
        """
        self._server.open()
        self.halt()

    def self_test(self) -> None:
        """Open the page's port at rest; the first time, write the address to standard error."""
        self.open()
        if self._is_announced:
            return
        self._is_announced = True
        print(f"virtual scene: {self.url}", file=sys.stderr, flush=True)
        if self.open_browser:
            threading.Thread(target=webbrowser.open, args=(self.url,), name="browser", daemon=True).start()

    def send(self, command: Command) -> None:
        """Show an intent from -1 (left) to 1 (right)."""
        if command.name != "intent" or not math.isfinite(command.value):
            return  # as good as silence: the page comes to rest by itself
        with self._lock:
            self._sequence += 1
            self._sent[self._sequence] = time.monotonic()
            self._sent.pop(self._sequence - _N_SENT, None)
            body = {"intent": min(max(command.value, -1.0), 1.0), "sequence": self._sequence, "rest": False}
            self._server.publish("intent", body, FRESH_S)

    def halt(self) -> None:
        """Limb at rest, ball in the middle, until a command comes again."""
        with self._lock:
            self._sequence += 1
            self._server.publish("intent", {"intent": 0.0, "sequence": self._sequence, "rest": True})

    def close(self) -> None:
        """Halt and stop serving; any number of times."""
        self.halt()
        self._server.close()

    # -------------------------------------------------------------- capabilities
    def show(self, status: Status) -> None:
        """Show the cue, the guard's state and a sentence."""
        self._server.publish("status", {"state": status.state, "cue": status.cue, "message": status.message})

    def take_events(self) -> list[tuple[float, str]]:
        """Return (monotonic time in s, code) of everything since the last call."""
        taken = []
        while self._events:
            taken.append(self._events.popleft())
        return taken

    def attach_stop(self, stop: Callable[[], None]) -> None:
        """Call `stop` when a person presses the page's stop button, a key or the grip of a controller."""
        self._stop = stop

    @property
    def url(self) -> str:
        """Address of the page, with this session's token."""
        return self._server.url

    @property
    def n_pages(self) -> int:
        """Number of pages that are open."""
        return self._server.n_clients

    # ------------------------------------------------------------------- private
    def _hear(self, client: Client, message: dict[str, Any]) -> None:
        """Take a message of the page (in the server's thread)."""
        kind, at_s = message.get("kind"), client.time_of(message)
        if kind == "stop":
            self.halt()
            self._events.append((at_s, "vr:stop"))
            if self._stop is not None:
                self._stop()
        elif kind in ("open", "closed"):
            self._events.append((at_s, f"vr:{kind}"))
            log.info("a page of the virtual scene is %s", kind)
        elif kind == "event" and _EVENT.fullmatch(str(message.get("code"))):
            self._events.append((at_s, f"vr:{message['code']}"))
        elif kind == "frames":
            self._events.append((at_s, self._frames(client, message, at_s)))

    def _frames(self, client: Client, message: dict[str, Any], at_s: float) -> str:
        """Word the page's summary of one second of frames."""
        sent_s = self._sent.get(int(_number(message, "sequence", -1)))
        shown = message.get("shown")
        shown_s = client.clock.to_monotonic(float(shown)) if isinstance(shown, int | float) else None
        delay_s = shown_s - sent_s if sent_s is not None and shown_s is not None else math.nan
        return (
            f"vr:frames:n={_number(message, 'n', 0):.0f} median={_number(message, 'median', math.nan):.4f} "
            f"max={_number(message, 'max', math.nan):.4f} late={_number(message, 'late', 0):.0f} "
            f"delay={delay_s:.4f} error={client.clock.error_s:.4f}"
        )


def _number(message: dict[str, Any], name: str, default: float) -> float:
    value = message.get(name)
    return value if isinstance(value, int | float) and math.isfinite(value) else default
