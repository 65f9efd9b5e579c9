"""The process that holds one BrainFlow board: ``python -m bci.acquisition.board_host``.

A maker's library may hang, crash or print; here it can do so without harm: the process is ended. Commands come as
lines of JSON, what leaves are frames (`HEAD`): answers, samples as BrainFlow has them (rows first), and notes that the
wall clock stepped. The process ends when its standard input does; to be terminated it leaves to its session.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import queue
import signal
import struct
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

from bci.acquisition.boards import brainflow

HEAD = struct.Struct("<cI")
"""Kind of a frame and the bytes that follow: "a" an answer, "s" samples, "w" a step of the wall clock."""
SAMPLES = struct.Struct("<dIIIB?")
"""Before samples: when they were pulled (s), number of the start, rows, samples, preset, was the ring full."""
RELEASE_S = 3.0
"""How long a board may take to be stopped or released, s."""
_STEP_S = 0.5
"""A change of wall clock against monotonic clock that is no slewing, s."""
_IDENTITIES = ("serial_port", "mac_address", "serial_number", "ip_address", "ip_port", "file")


class Host:
    """Do what the commands say, and pull samples in between.

    Parameters
    ----------
    out : int
        File descriptor that the frames go to.
    """

    def __init__(self, out: int) -> None:
        self._out = out
        (self._refusal,) = brainflow("BrainFlowError")
        self._shim: Any = None
        self._lock: Any = None
        self._streaming = self._is_by_wall = False
        self._epoch = self._ring = 0
        self._presets: list[int] = []
        self._wait_s = 0.5
        self._wall_s = time.time() - time.monotonic()

    @property
    def wait_s(self) -> float:
        """How long to wait for a command before the next look for samples, s."""
        return self._wait_s if self._streaming else 0.5

    def obey(self, command: dict[str, Any]) -> None:
        """Carry out one command and send the answer."""
        answer: dict[str, Any] = {"number": command["number"]}
        try:
            answer["answer"] = getattr(self, f"_{command['do']}")(**command["with"]) or ""
        except (self._refusal, OSError) as error:
            answer["error"] = str(error)
        self._send(b"a", json.dumps(answer).encode())

    def pull(self) -> None:
        """Send what has arrived; say so if the wall clock stepped.

        A board that makes its samples by the wall clock then stops or floods: no more is taken until it starts anew.
        """
        step_s = time.time() - time.monotonic() - self._wall_s
        for preset in self._presets if self._streaming else ():
            n = self._shim.get_board_data_count(preset)
            raw = self._shim.get_board_data(n, preset) if n else None
            pulled_s = time.monotonic()
            step_s = time.time() - time.monotonic() - self._wall_s
            if raw is not None and not (self._is_by_wall and abs(step_s) >= _STEP_S):
                head = SAMPLES.pack(pulled_s, self._epoch, *raw.shape, preset, raw.shape[1] >= self._ring - 1)
                self._send(b"s", head + raw.tobytes())
        if abs(step_s) >= _STEP_S:
            self._wall_s += step_s
            self._streaming = self._streaming and not self._is_by_wall
            self._send(b"w", json.dumps({"step_s": step_s}).encode())

    # ------------------------------------------------------------- commands
    def _open(self, board: int, master: int, presets: list[int], parameters: dict[str, Any]) -> None:
        self._hold(board, parameters)
        BoardShim, BrainFlowInputParams = brainflow("BoardShim", "BrainFlowInputParams")
        given = BrainFlowInputParams()
        for key, value in parameters.items():
            setattr(given, key, value)
        if master != board:
            given.master_board = master
        self._presets = presets
        self._shim = BoardShim(board, given)
        self._shim.prepare_session()

    def _start(self, ring: int, epoch: int, wait_s: float, is_by_wall: bool) -> None:
        self._ring, self._epoch, self._wait_s, self._is_by_wall = ring, epoch, wait_s, is_by_wall
        self._shim.start_stream(ring)
        for preset in self._presets:
            self._shim.get_board_data(preset=preset)  # what an earlier stream left behind
        self._streaming = True

    def _stop(self) -> None:
        self._streaming = False
        self._shim.stop_stream()

    def _configure(self, command: str) -> str:
        return str(self._shim.config_board(command))

    def _release(self) -> None:
        if self._shim is not None and self._shim.is_prepared():
            self._streaming = False
            self._shim.release_session()

    # -------------------------------------------------------------- private
    def _hold(self, board: int, parameters: dict[str, Any]) -> None:
        """Lock the board against other sessions; `OSError` if one holds it. The lock ends with this process."""
        # The same port may have several names, such as the links in /dev/serial/by-id.
        identity = [os.path.realpath(str(parameters[key])) if key == "serial_port" else str(parameters[key])
                    for key in _IDENTITIES if parameters.get(key)]  # fmt: skip
        if not identity or board < 0:
            return
        try:
            import fcntl
        except ImportError:  # Windows, where a serial port has one holder in any case
            return
        key = hashlib.sha256("|".join(identity).encode()).hexdigest()[:16]
        path = Path(tempfile.gettempdir()) / f"bci-board-{key}.lock"
        try:
            self._lock = path.open("a+")
        except PermissionError:  # left by another user; reading is enough to lock
            self._lock = path.open("r")
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self._lock.seek(0)
            raise OSError(f"process {self._lock.read().strip() or 'unknown'} holds it; close it there first") from None
        if self._lock.writable():
            self._lock.truncate(0)
            self._lock.write(str(os.getppid()))
            self._lock.flush()

    def _send(self, kind: bytes, payload: bytes) -> None:
        frame = memoryview(HEAD.pack(kind, len(payload)) + payload)
        while frame:
            frame = frame[os.write(self._out, frame) :]


def main() -> None:
    """Run until told to release, or until the other side is gone."""
    for name in ("SIGINT", "SIGTERM", "SIGHUP"):
        # These reach the whole group (Ctrl+C, `timeout`, a closed terminal). They are for the session, which then
        # releases the board in order; where it is killed, standard input ends, and with it this process.
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), signal.SIG_IGN)
    out = os.dup(1)
    os.dup2(2, 1)  # what a maker's library prints must not come between the frames
    commands: queue.SimpleQueue[dict[str, Any]] = queue.SimpleQueue()
    threading.Thread(target=_listen, args=(commands,), daemon=True).start()
    host = Host(out)
    with contextlib.suppress(BrokenPipeError):
        while True:
            try:
                command = commands.get(timeout=host.wait_s)
            except queue.Empty:
                host.pull()
                continue
            if command["do"] == "release":
                _leave_soon()
            host.obey(command)
            if command["do"] == "release":
                break
    os._exit(0)  # a library whose threads hang would abort the process in its destructors


def _listen(commands: queue.SimpleQueue[dict[str, Any]]) -> None:
    for line in sys.stdin.buffer:
        commands.put(json.loads(line))
    commands.put({"do": "release", "number": -1, "with": {}})
    _leave_soon()


def _leave_soon() -> None:
    """End the process in any case after `RELEASE_S`."""
    timer = threading.Timer(RELEASE_S, os._exit, (1,))
    timer.daemon = True
    timer.start()


if __name__ == "__main__":
    main()
