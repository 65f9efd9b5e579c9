"""The window's end of the acquisition: starts its process, reads its tap and its reports, ends it."""

from __future__ import annotations

import contextlib
import json
import queue
import subprocess
import sys
import threading
from collections.abc import Mapping
from typing import Any, Self

from bci import errors
from bci.errors import BciError, ConfigError, DeviceError, DeviceLost
from bci.runtime.tap import TapReader, connect
from bci.stream import Chunk, StreamInfo

_END_S = 2.0


class Feed:
    """The samples of a device that runs in a process of its own, or of a session that is watched.

    Parameters
    ----------
    device : str
        A device's spec, or ``tap:ADDRESS`` to watch what another process serves with
        `bci.runtime.tap.Tap`.
    settings : dict, optional
        Settings of the device.
    impedance : bool, default=False
        Measure the contacts of the device before it streams.

    Attributes
    ----------
    error : BciError or None
        Why the device stopped, once it did.
    is_over : bool
        True once nothing more will come.
    delivered, lost : int or None
        Samples that the device delivered and lost, as its own process counts; None: not told.
    rate_hz : float
        Rate measured there; NaN: not yet.
    """

    def __init__(self, device: str, settings: dict[str, Any] | None = None, impedance: bool = False) -> None:
        if impedance and device.startswith("tap:"):
            raise ConfigError("a session that is watched measures its contacts itself, got --impedance; leave it out")
        self.device, self._settings, self._impedance = device, settings or {}, impedance
        self.error: BciError | None = None
        self.is_over = False
        self.delivered: int | None = None
        self.lost: int | None = None
        self.rate_hz = float("nan")
        self._process: subprocess.Popen[str] | None = None
        self._reader: TapReader | None = None
        self._lines: queue.SimpleQueue[str] = queue.SimpleQueue()

    def start(self) -> None:
        """Start the process; returns before the device is open, so that the window can be made meanwhile."""
        if self.device.startswith("tap:"):
            return
        # A session of its own: Ctrl+C is for the window, which then ends this process in good order.
        self._process = subprocess.Popen(
            [sys.executable, "-m", "bci.apps.viewer.source"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, start_new_session=True,
        )  # fmt: skip
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError):  # it has ended already: `open` says why
            asked = {"device": self.device, "settings": self._settings, "impedance": self._impedance}
            self._process.stdin.write(json.dumps(asked) + "\n")
            self._process.stdin.flush()

    def open(self) -> StreamInfo:
        """Wait until the device is open; return what it delivers.

        Raises
        ------
        BciError
            Whatever was wrong with the device, as if it had been opened here.
        """
        if self._process is None:
            self._reader = connect(self.device.removeprefix("tap:"))
            return self._reader.info
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise self._died()
        answer = json.loads(line)
        if "error" in answer:
            raise _as_error(answer)
        self._reader = connect(answer["address"])
        threading.Thread(target=self._read_lines, args=(self._process.stdout,), daemon=True).start()
        return self._reader.info

    def read(self) -> list[Chunk]:
        """Return the chunks that have arrived; never waits."""
        if self._reader is None:
            return []
        chunks = self._reader.read()
        self._take_reports()
        if self._reader.at_end and not self.is_over:
            self._end()
        return chunks

    @property
    def contact_kohm(self) -> Mapping[str, float]:
        """The contacts that were told last, kOhm by channel; the same object until others are."""
        return self._reader.contact_kohm if self._reader is not None else {}

    @property
    def dropped(self) -> int:
        """Chunks that the tap dropped because they were not read in time."""
        return self._reader.dropped if self._reader is not None else 0

    def close(self) -> None:
        """End the acquisition, in good order if it can, and wait for it; any number of times."""
        if self._reader is not None:
            self._reader.close()
        process, self._process = self._process, None
        if process is None:
            return
        if process.stdin is not None:
            with contextlib.suppress(OSError):
                process.stdin.close()  # the sign to end
        try:
            process.wait(_END_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # ------------------------------------------------------------- private
    def _read_lines(self, file: Any) -> None:
        with contextlib.suppress(OSError, ValueError):
            for line in file:
                self._lines.put(line)

    def _take_reports(self) -> None:
        while not self._lines.empty():
            report = json.loads(self._lines.get())
            self.delivered, self.lost = report["delivered"], report["lost"]
            self.rate_hz = report["rate_hz"] or float("nan")
            if "error" in report:
                self.error = _as_error(report)
            self.is_over = self.is_over or "error" in report or "is_over" in report

    def _end(self) -> None:
        """The tap is closed: find out why."""
        if self._process is None:
            self.is_over = True
            return
        try:
            self._process.wait(0)
        except subprocess.TimeoutExpired:
            return  # its last words are still to come
        self._take_reports()
        if not self.is_over:
            self.is_over, self.error = True, self._died()

    def _died(self) -> DeviceError:
        assert self._process is not None
        code = self._process.wait()
        how = f"it was killed by signal {-code}" if code < 0 else f"it ended with code {code}"
        return DeviceLost(
            f"the acquisition of {self.device!r} should run until the window closes, {how}; "
            "see its own words above, and start again"
        )


def _as_error(answer: dict[str, Any]) -> BciError:
    kind = getattr(errors, str(answer["error"]), DeviceError)
    return kind(answer["message"]) if issubclass(kind, BciError) else DeviceError(answer["message"])
