"""Draw the virtual scene once, in a browser without a window: ``python -m bci.apps.vr.snapshot OUT.png VALUE``."""

from __future__ import annotations

import base64
import contextlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from websockets.sync.client import ClientConnection, connect

from bci.apps.vr.scene import VrScene
from bci.decision import Command
from bci.errors import BciError, ConfigError, PluginError
from bci.ports import Status

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "microsoft-edge", "msedge")
"""Programs that can draw without a window, in the order in which they are looked for."""

_SIZE = (1280, 720)
_WAIT_S = 50.0
_ARGUMENTS = (
    "--headless=new", "--remote-debugging-port=0", "--no-first-run", "--disable-sync",
    "--disable-background-networking", "--disable-component-update", "--disable-dev-shm-usage",
    "--use-gl=angle", "--use-angle=swiftshader", "--enable-unsafe-swiftshader", f"--window-size={_SIZE[0]},{_SIZE[1]}",
)  # fmt: skip


def draw_scene(path: Path, value: float) -> None:
    """Save a picture of the page at the intent `value`, -1 to 1, as PNG.

    Raises
    ------
    PluginError
        If no browser is found that can draw without a window.
    ConfigError
        If the page does not draw, or the picture cannot be written.
    """
    program = next((found for name in BROWSERS if (found := shutil.which(name))), None)
    if program is None:
        raise PluginError(f"a picture of the scene needs one of {', '.join(BROWSERS)}, found none; install Chromium")
    value = min(max(value, -1.0), 1.0)
    cue = "rest" if abs(value) < 0.1 else "right" if value > 0 else "left"
    scene = VrScene(port=0)
    scene.open()
    try:
        with _browser(program) as port, _page(port) as page, _sending(scene, value):
            scene.show(Status("active", value, cue, "Rest" if cue == "rest" else f"Imagine moving your {cue} hand"))
            _ask(page, "Page.navigate", url=scene.url)
            picture = _picture_when(
                page, f"window.__scene && !__scene.restCause && Math.abs(__scene.ballX) >= {0.8 * abs(value):.3f}"
            )
    finally:
        scene.close()
    try:
        path.write_bytes(picture)
    except OSError as error:
        raise ConfigError(f"a picture needs a file that can be written, got {path}: {error}; choose another") from error


@contextlib.contextmanager
def _browser(program: str) -> Iterator[int]:
    """Run a browser; yield the port on which it is steered."""
    with tempfile.TemporaryDirectory(prefix="bci-browser-", ignore_cleanup_errors=True) as folder:
        arguments = [program, *_ARGUMENTS, f"--user-data-dir={folder}", "about:blank"]
        if hasattr(os, "geteuid") and os.geteuid() == 0:
            arguments.append("--no-sandbox")  # Chromium refuses root otherwise; the one page is ours
        process = subprocess.Popen(arguments, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            told, end_s = Path(folder) / "DevToolsActivePort", time.monotonic() + _WAIT_S
            while not (told.exists() and (text := told.read_text()).count("\n")):
                if time.monotonic() > end_s or process.poll() is not None:
                    raise ConfigError(f"the browser {program} did not start; try it by hand")
                time.sleep(0.05)
            yield int(text.split()[0])
        finally:
            process.terminate()
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


@contextlib.contextmanager
def _page(port: int) -> Iterator[ClientConnection]:
    """Connect to the browser's first page, with the protocol of its developer tools."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/json", timeout=_WAIT_S) as answer:
        url = next(target for target in json.load(answer) if target["type"] == "page")["webSocketDebuggerUrl"]
    with connect(url, max_size=None, open_timeout=_WAIT_S) as page:
        yield page


def _ask(page: ClientConnection, method: str, **parameters: Any) -> dict[str, Any]:
    page.send(json.dumps({"id": 1, "method": method, "params": parameters}))
    while True:
        answer = json.loads(page.recv(timeout=_WAIT_S))
        if answer.get("id") == 1:
            if "error" in answer:
                raise ConfigError(f"the browser could not do {method}: {answer['error'].get('message')}")
            found: dict[str, Any] = answer["result"]
            return found


def _picture_when(page: ClientConnection, condition: str) -> bytes:
    """Return the frame that the page drew while `condition` held, PNG.

    The frames are those that the page draws anyway: a screenshot on request holds up a page that is drawn in
    software, until it rightly finds its signal stale.
    """
    _ask(page, "Page.enable")
    _ask(page, "Page.startScreencast", format="png")
    frame, end_s = "", time.monotonic() + _WAIT_S
    while time.monotonic() < end_s:
        message = json.loads(page.recv(timeout=_WAIT_S))
        if message.get("method") != "Page.screencastFrame":
            continue
        held = _holds(page, condition)
        if frame and held:
            return base64.b64decode(message["params"]["data"])
        frame = message["params"]["data"] if held else ""
        page.send(json.dumps({"id": 2, "method": "Page.screencastFrameAck",
                              "params": {"sessionId": message["params"]["sessionId"]}}))  # fmt: skip
    raise ConfigError(f"the page of the scene did not draw within {_WAIT_S:g} s; open it in a browser to see why")


def _holds(page: ClientConnection, condition: str) -> bool:
    answer = _ask(page, "Runtime.evaluate", expression=f"Boolean({condition})")
    return bool(answer["result"].get("value"))


@contextlib.contextmanager
def _sending(scene: VrScene, value: float) -> Iterator[None]:
    """Send the intent every 20 ms, as the guard's host does."""
    ended = threading.Event()

    def send() -> None:
        while not ended.wait(0.02):
            scene.send(Command("intent", value, 0.0))

    thread = threading.Thread(target=send)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def main() -> None:
    """Read the arguments and draw."""
    if len(sys.argv) != 3:
        sys.exit("usage: python -m bci.apps.vr.snapshot OUT.png VALUE (an intent from -1 to 1)")
    try:
        draw_scene(Path(sys.argv[1]), float(sys.argv[2]))
    except BciError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
