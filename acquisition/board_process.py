"""One BrainFlow board in a process of its own, seen from the session."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import subprocess
import sys
import threading
from collections import deque
from dataclasses import dataclass
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from bci.acquisition.board_host import HEAD, RELEASE_S, SAMPLES
from bci.errors import DeviceError, DeviceLost, DeviceTimeout

_log = logging.getLogger(__name__)

_SPARE_S = 1.0


@dataclass(frozen=True, slots=True, eq=False)
class Pull:
    """What the board gave at once.

    Parameters
    ----------
    raw : ndarray, shape (n_rows, n_samples)
        BrainFlow's array.
    arrival_s : float
        When it was pulled, s on the monotonic clock.
    epoch : int
        Number of the start it belongs to.
    dropped : int
        Samples that were thrown away just before it, because nobody read them in time.
    is_full : bool
        Whether BrainFlow's own ring was full, so that an unknown number is missing before it.
    """

    raw: NDArray[np.float64]
    arrival_s: float
    epoch: int
    dropped: int = 0
    is_full: bool = False


@dataclass(frozen=True, slots=True)
class WallStep:
    """The wall clock stepped by `step_s`, s."""

    step_s: float


class BoardProcess:
    """The process that holds a board.

    Parameters
    ----------
    what : str
        The board, for messages.

    Notes
    -----
    A thread takes over what arrives, so that nothing waits in the process; the ring is here, and what runs over is
    counted exactly.
    """

    def __init__(self, what: str) -> None:
        self.what = what
        self._arrived = threading.Condition()
        self._items: deque[Pull | WallStep] = deque()
        self._waiting = self._dropped = self._number = 0
        self._ring = sys.maxsize
        self._answers: dict[int, dict[str, Any]] = {}
        self._posted: set[int] = set()
        self._failure = ""
        self._process = _spawn()
        self._thread = threading.Thread(target=self._take_over, name="board", daemon=True)
        self._thread.start()

    @property
    def is_alive(self) -> bool:
        """Whether the process runs."""
        return self._process.poll() is None

    def ask(self, do: str, timeout_s: float, **more: Any) -> str:
        """Carry out a command and return its answer.

        Raises
        ------
        DeviceError
            With BrainFlow's words, if it is refused.
        DeviceTimeout
            If there is no answer in time.
        DeviceLost
            If the process has ended.
        """
        number = self._tell(do, more)
        with self._arrived:
            self._arrived.wait_for(lambda: number in self._answers or self._failure, timeout_s)
            answer = self._answers.pop(number, None)
        if answer is None and self._failure:
            raise DeviceLost(self._failure)
        if answer is None:
            raise DeviceTimeout(f"expected {self.what} to {do} within {timeout_s:g} s, it did not; unplug it and retry")
        if "error" in answer:
            raise DeviceError(answer["error"])
        return str(answer["answer"])

    def post(self, do: str, **more: Any) -> None:
        """Carry out a command without waiting; `take` raises `DeviceLost` if it is refused."""
        self._posted.add(self._tell(do, more))

    def keep(self, ring: int) -> None:
        """Keep at most the newest `ring` samples; forget what waits."""
        with self._arrived:
            self._items.clear()
            self._ring, self._waiting, self._dropped = ring, 0, 0

    def take(self, timeout_s: float) -> list[Pull | WallStep]:
        """Return all that has arrived, waiting up to `timeout_s` for the first; `DeviceLost` once nothing more can."""
        with self._arrived:
            self._arrived.wait_for(lambda: self._items or self._failure, timeout_s)
            items, self._waiting = list(self._items), 0
            self._items.clear()
        if not items and self._failure:
            raise DeviceLost(self._failure)
        return items

    def close(self, release: bool = True) -> None:
        """Release the board, or only end the process; a board that hangs is ended after `RELEASE_S`."""
        if release and self.is_alive:
            with contextlib.suppress(OSError, DeviceLost):
                self._tell("release", {})
                with contextlib.suppress(subprocess.TimeoutExpired):
                    self._process.wait(RELEASE_S + _SPARE_S)
            if self._process.poll() != 0:
                _log.warning("%s was not released within %g s, so its process was ended; unplug it before the next "
                             "use", self.what, RELEASE_S)  # fmt: skip
        self._process.kill()
        self._process.wait()
        self._thread.join(_SPARE_S)
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                with contextlib.suppress(OSError):
                    pipe.close()

    # -------------------------------------------------------------- private
    def _tell(self, do: str, more: dict[str, Any]) -> int:
        assert self._process.stdin is not None
        self._number += 1
        try:
            self._process.stdin.write(json.dumps({"do": do, "number": self._number, "with": more}).encode() + b"\n")
            self._process.stdin.flush()
        except (BrokenPipeError, ValueError) as error:
            raise DeviceLost(self._ended()) from error
        return self._number

    def _ended(self) -> str:
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(_SPARE_S)
        return (f"expected the process of {self.what} to run, it ended with {self._process.poll()}; "
                "close the device and open it again")  # fmt: skip

    def _take_over(self) -> None:
        assert self._process.stdout is not None
        try:
            while (frame := _read_frame(self._process.stdout)) is not None:
                with self._arrived:
                    self._sort(*frame)
                    self._arrived.notify_all()
        except (OSError, ValueError):  # closed from this side
            pass
        ended = self._ended()
        with self._arrived:
            self._failure = self._failure or ended
            self._arrived.notify_all()

    def _sort(self, kind: bytes, payload: bytes) -> None:
        if kind == b"s":
            arrival_s, epoch, n_rows, n, is_full = SAMPLES.unpack_from(payload)
            raw = np.frombuffer(payload, np.float64, n_rows * n, SAMPLES.size).reshape(n_rows, n)
            self._items.append(Pull(raw, arrival_s, epoch, self._dropped, is_full))
            self._dropped = 0
            self._waiting += n
            self._run_over()
        elif kind == b"w":
            self._items.append(WallStep(**json.loads(payload)))
        else:
            answer = json.loads(payload)
            if answer["number"] not in self._posted:
                self._answers[answer["number"]] = answer
            elif "error" in answer:
                self._failure = f"expected {self.what} to start anew, got: {answer['error']}; open it again"

    def _run_over(self) -> None:
        """Drop the oldest pulls that no longer fit the ring; the next one tells how many samples they had."""
        while self._waiting > self._ring and len(self._items) > 1:
            item = self._items.popleft()
            if isinstance(item, WallStep):
                continue
            n = item.raw.shape[1]
            self._waiting -= n
            self._hand_on(n + item.dropped)

    def _hand_on(self, dropped: int) -> None:
        for k, item in enumerate(self._items):
            if isinstance(item, Pull):
                self._items[k] = Pull(item.raw, item.arrival_s, item.epoch, item.dropped + dropped, item.is_full)
                return
        self._dropped += dropped


def _spawn() -> subprocess.Popen[bytes]:
    env = dict(os.environ, OPENBLAS_NUM_THREADS="1", OMP_NUM_THREADS="1")
    env["PYTHONPATH"] = os.pathsep.join(p or os.getcwd() for p in sys.path)
    command = [sys.executable, "-m", "bci.acquisition.board_host"]
    return subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=env, bufsize=-1
    )


def _read_frame(stream: IO[bytes]) -> tuple[bytes, bytes] | None:
    head = stream.read(HEAD.size)
    if len(head) < HEAD.size:
        return None
    kind, n = HEAD.unpack(head)
    payload = stream.read(n)
    return (kind, payload) if len(payload) == n else None
