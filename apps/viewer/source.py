"""The acquisition as a process of its own: a slow, hung or dead window costs it nothing.

``python -m bci.apps.viewer.source`` reads one JSON line from standard input,
``{"device": SPEC, "settings": {...}, "impedance": false}``, opens that device, and answers with one JSON line: where
its tap listens, or what is wrong. Then it writes its state once a second. When its input closes, it ends.
"""

from __future__ import annotations

import contextlib
import inspect
import json
import logging
import os
import sys
import threading
import time
from typing import Any

from bci.errors import BciError
from bci.ports import Device, HasEnd
from bci.registry import create, load, names
from bci.runtime.tap import Tap
from bci.settings import split_spec
from bci.signal.contact import measure, noted, refuse_if_unable
from bci.stream import Chunk

READ_S = 0.02
_REPORT_EVERY_S = 1.0
_READER_WAIT_S = 20.0
_GRACE_S = 3.0
_RATE_OVER_S = 10


class Source:
    """Reads a device, offers every chunk to the tap, and keeps count.

    Parameters
    ----------
    device : Device
        What is read.
    impedance : bool, default=False
        Measure the contacts before it streams, and tell them.
    """

    def __init__(self, device: Device, impedance: bool = False) -> None:
        self._device, self._tap, self._impedance = device, Tap(), impedance
        self.ended = threading.Event()
        self.delivered = self.lost = 0
        self._next = 0
        self._counts: list[tuple[float, int]] = []

    def open(self) -> str:
        """Open the device; return the address of the tap. `ConfigError` if it shall measure contacts and cannot."""
        if self._impedance:
            refuse_if_unable(self._device)
        info = self._device.open()
        self._info = noted(info, measure(self._device, info) if self._impedance else {})
        return self._tap.serve(self._info)

    def run(self) -> None:
        """Read until told to end, or the recording is over; `DeviceError` if the device fails."""
        empty = self._wait_for_reader()
        try:
            self._device.start()
            while not self.ended.is_set():
                chunk = self._device.read(READ_S)
                self._count(chunk)
                self._tap.offer(chunk)
                if isinstance(self._device, HasEnd) and self._device.at_end and not chunk.n_samples:
                    break
        finally:
            until_s = time.monotonic() + 0.5
            while time.monotonic() < until_s and not self.ended.is_set():  # let the reader have the rest
                self._tap.offer(empty)
                time.sleep(READ_S)
            self.close()

    def close(self) -> None:
        """Close the device and the tap."""
        self._device.close()
        self._tap.close()

    def state(self) -> dict[str, Any]:
        """Return what was counted, ready for JSON."""
        now = (time.monotonic(), self.delivered + self.lost)
        self._counts = [*self._counts[-_RATE_OVER_S:], now] if self.delivered else []
        begin_s, begin = self._counts[0] if self._counts else now
        rate = (now[1] - begin) / (now[0] - begin_s) if now[0] - begin_s > 1.5 else None
        return {"delivered": self.delivered, "lost": self.lost, "rate_hz": rate}

    def _wait_for_reader(self) -> Chunk:
        """Nothing shall be missed at the begin: wait until somebody watches."""
        empty = Chunk.empty(self._info, 0)
        until_s = time.monotonic() + _READER_WAIT_S
        while not self._tap.n_readers and time.monotonic() < until_s and not self.ended.is_set():
            self._tap.offer(empty)
            time.sleep(0.01)
        return empty

    def _count(self, chunk: Chunk) -> None:
        if chunk.n_samples:
            self.lost += max(0, chunk.start - self._next)
            self.delivered += chunk.n_samples
            self._next = chunk.stop


def live_device(spec: str, settings: dict[str, Any]) -> Device:
    """Return the device `spec`, in real time where it could run at any speed."""
    plain, texts = split_spec(spec)
    name = plain.partition(":")[0]
    if (
        "speed" not in texts
        and name in names("devices")
        and "speed" in inspect.signature(load("devices", name)).parameters
    ):
        settings = {"speed": 1.0, **settings}
    device: Device = create("devices", spec, **settings)
    return device


class _Report:
    """Lines to whoever started this process; a window that hangs does not hold the acquisition up."""

    def __init__(self, source: Source, file: Any) -> None:
        self._source, self._file = source, file
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="source report", daemon=True)
        self._thread.start()

    def finish(self, last: dict[str, Any]) -> None:
        """Write a last line, unless nobody reads."""
        self._over.set()
        self._thread.join(_REPORT_EVERY_S)
        if not self._thread.is_alive():
            say(self._file, {**self._source.state(), **last})

    def _run(self) -> None:
        while not self._over.wait(_REPORT_EVERY_S):
            say(self._file, self._source.state())


def say(file: Any, what: dict[str, Any]) -> None:
    """Write one line of JSON; nobody may be there to read it."""
    with contextlib.suppress(OSError, ValueError):
        print(json.dumps(what), file=file, flush=True)


def main() -> None:
    """Run the acquisition as a process."""
    logging.basicConfig(level=logging.ERROR, format="%(levelname)s %(message)s")  # the window tells the rest
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what a driver prints must not mix with the answers
    asked = json.loads(_read_line(0))
    source: Source | None = None
    ended = threading.Event()

    def watch() -> None:
        with contextlib.suppress(OSError):
            while os.read(0, 4096):
                pass
        ended.set()
        if source is not None:
            source.ended.set()
        time.sleep(_GRACE_S)
        os._exit(3)  # a driver that hangs shall not outlive the window

    threading.Thread(target=watch, name="source watch", daemon=True).start()
    try:
        source = Source(live_device(asked["device"], asked["settings"]), asked["impedance"])
        say(answers, {"address": source.open()})
    except BciError as error:
        say(answers, failure(error))
        sys.exit(1)
    if ended.is_set():  # it came while the device was being opened
        source.ended.set()
    report = _Report(source, answers)
    try:
        source.run()
        report.finish({"is_over": True})
    except BciError as error:
        report.finish(failure(error))
        sys.exit(1)


def failure(error: BciError) -> dict[str, str]:
    """Return what is wrong, ready for JSON."""
    return {"error": type(error).__name__, "message": str(error)}


def _read_line(fd: int) -> str:
    """Read without a lock of the interpreter, which a thread that waits would hold at exit."""
    line = b""
    while not line.endswith(b"\n"):
        byte = os.read(fd, 1)
        if not byte:
            sys.exit(3)
        line += byte
    return line.decode()


if __name__ == "__main__":
    main()
