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
from collections.abc import Mapping
from dataclasses import dataclass, replace
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


class Ring:
    """What waits of one preset.

    Parameters
    ----------
    n_samples : int
        How many are kept, at most; the oldest are dropped, and counted in the pull that follows them.
    """

    def __init__(self, n_samples: int) -> None:
        self._n_samples = n_samples
        self._items: deque[Pull | WallStep] = deque()
        self._waiting = self._dropped = 0

    def __bool__(self) -> bool:
        return bool(self._items)

    def put(self, item: Pull | WallStep) -> None:
        """Add what arrived last."""
        if isinstance(item, Pull):
            item = replace(item, dropped=item.dropped + self._dropped)
            self._dropped = 0
            self._waiting += item.raw.shape[1]
        self._items.append(item)
        while self._waiting > self._n_samples and len(self._items) > 1:
            oldest = self._items.popleft()
            if isinstance(oldest, Pull):
                self._waiting -= oldest.raw.shape[1]
                self._hand_on(oldest.raw.shape[1] + oldest.dropped)

    def take(self) -> list[Pull | WallStep]:
        """Return all that waits."""
        items, self._waiting = list(self._items), 0
        self._items.clear()
        return items

    def clear(self) -> None:
        """Forget all that waits, and that anything was dropped."""
        self.take()
        self._dropped = 0

    def _hand_on(self, dropped: int) -> None:
        for k, item in enumerate(self._items):
            if isinstance(item, Pull):
                self._items[k] = replace(item, dropped=item.dropped + dropped)
                return
        self._dropped += dropped


class BoardProcess:
    """The process that holds a board.

    Parameters
    ----------
    what : str
        The board, for messages.
    rings : mapping of int to int
        The presets that are read, and how many samples of each may wait.

    Notes
    -----
    A thread takes over what arrives, so that nothing waits in the process; the rings are here, and what runs over is
    counted exactly.
    """

    def __init__(self, what: str, rings: Mapping[int, int]) -> None:
        self.what = what
        self._arrived = threading.Condition()
        self._rings = {preset: Ring(n_samples) for preset, n_samples in rings.items()}
        self._number = 0
        self._answers: dict[int, dict[str, Any]] = {}
        self._posted: set[int] = set()
        self._failure = ""
        self._process = _spawn()
        self._thread = threading.Thread(target=self._take_over, name="board", daemon=True)
        self._thread.start()

    @property
    def pid(self) -> int:
        """The number of the process."""
        return self._process.pid

    @property
    def is_usable(self) -> bool:
        """Whether the process runs, and has refused nothing that was posted."""
        return self.is_alive and not self._failure

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

    def forget(self, preset: int) -> None:
        """Forget what waits of a preset."""
        with self._arrived:
            self._rings[preset].clear()

    def take(self, preset: int, timeout_s: float) -> list[Pull | WallStep]:
        """Return what has arrived of a preset, waiting up to `timeout_s`; `DeviceLost` once nothing more can."""
        ring = self._rings[preset]
        with self._arrived:
            self._arrived.wait_for(lambda: ring or self._failure, timeout_s)
            items = ring.take()
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
            arrival_s, epoch, n_rows, n, preset, is_full = SAMPLES.unpack_from(payload)
            raw = np.frombuffer(payload, np.float64, n_rows * n, SAMPLES.size).reshape(n_rows, n)
            self._rings[preset].put(Pull(raw, arrival_s, epoch, is_full=is_full))
        elif kind == b"w":
            for ring in self._rings.values():
                ring.put(WallStep(**json.loads(payload)))
        else:
            answer = json.loads(payload)
            if answer["number"] not in self._posted:
                self._answers[answer["number"]] = answer
            elif "error" in answer:
                self._failure = f"expected {self.what} to start anew, got: {answer['error']}; open it again"


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
