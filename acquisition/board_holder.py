"""One board, held once, however many of its presets are read."""

from __future__ import annotations

import logging
import threading
from typing import Any

from bci.acquisition.board_host import RELEASE_S
from bci.acquisition.board_process import BoardProcess
from bci.errors import DeviceError, DeviceLost, DeviceTimeout

_log = logging.getLogger(__name__)

_OPEN_S = 60.0
"""How long a board may take to be found, beyond its own timeout, s."""
_START_S = 30.0
_LOOK_S = (0.0005, 0.005)
"""Shortest and longest time between two looks for samples, s."""


class BoardHolder:
    """The process of a board, and who reads which of its presets.

    The board is opened and started for the first, stopped and released with the last. Each reader keeps the process
    that it was given; when that has ended or was replaced, it finds out from what it reads.

    Parameters
    ----------
    what : str
        The board, for messages.
    address : dict
        How BrainFlow finds it: ``board``, ``master`` and ``parameters``.
    is_by_wall : bool
        Whether it makes its samples by the wall clock.
    """

    def __init__(self, what: str, address: dict[str, Any], is_by_wall: bool) -> None:
        self._what, self.address, self._is_by_wall = what, address, is_by_wall
        self._lock = threading.RLock()  # a reader may have a thread of its own
        self._rings: dict[int, tuple[int, float]] = {}
        self._readers: set[int] = set()
        self._started: set[int] = set()
        self._process: BoardProcess | None = None
        self._commands: list[str] = []
        self._epoch = 0

    @property
    def is_held(self) -> bool:
        """Whether the board is open."""
        return bool(self._readers)

    @property
    def presets(self) -> frozenset[int]:
        """The presets that may be read."""
        return frozenset(self._rings)

    def add(self, preset: int, ring: int, sfreq: float) -> None:
        """Read `preset` too, at `sfreq` Hz, of which up to `ring` samples may wait; before the board is open."""
        self._rings[preset] = ring, sfreq

    def open(self, preset: int) -> BoardProcess:
        """Open the board, if nobody has; `DeviceError` in BrainFlow's words."""
        with self._lock:
            process = self._running()
            self._readers.add(preset)
            return process

    def start(self, preset: int) -> tuple[BoardProcess, int]:
        """Start the board, if nobody has; return its process, and the number of the start."""
        with self._lock:
            process = self._running()
            process.forget(preset)
            if not self._started:
                self._epoch += 1
                process.ask("start", _START_S, **self._settings())
            self._started.add(preset)
            return process, self._epoch

    def stop(self, preset: int) -> None:
        """Stop the board, if nobody else reads it; one that hangs is ended."""
        with self._lock:
            self._started.discard(preset)
            if self._started or self._process is None:
                return
            try:
                self._process.ask("stop", RELEASE_S)
            except DeviceLost as error:
                _log.warning("%s was not stopped, its process had ended before: %s", self._what, error)
                self._end(release=False)
            except DeviceTimeout as error:
                _log.warning("%s did not stop within %g s, so its process was ended: %s", self._what, RELEASE_S, error)
                self._end(release=False)

    def close(self, preset: int) -> None:
        """Release the board, if nobody else reads it; any number of times."""
        with self._lock:
            self._readers.discard(preset)
            self._started.discard(preset)
            if not self._readers:
                self._end(release=True)
                self._commands = []

    def renew(self, process: BoardProcess) -> tuple[BoardProcess, int]:
        """Start the board anew in place of `process`, unless another reader has; return as `start`."""
        with self._lock:
            if self._process is not process and self._process is not None:
                return self._process, self._epoch
            self._end(release=False)
            self._process = BoardProcess(self._what, self._sizes())
            self._epoch += 1
            self._process.post("open", **self._asked())
            for command in self._commands:
                self._process.post("configure", command=command)
            self._process.post("start", **self._settings())
            return self._process, self._epoch

    def configure(self, command: str) -> str:
        """Send a command and return the answer; it is sent again when the board has to be started anew."""
        with self._lock:
            answer = self._running().ask("configure", _START_S, command=command)
            self._commands.append(command)
            return answer

    # -------------------------------------------------------------- private
    def _running(self) -> BoardProcess:
        """Return the process of the board; a new one if there is none, or the last can be used no longer."""
        if self._process is not None and self._process.is_usable:
            return self._process
        self._end(release=False)
        self._started.clear()
        self._process = process = BoardProcess(self._what, self._sizes())
        try:
            process.ask("open", _OPEN_S + float(self.address["parameters"].get("timeout", 0)), **self._asked())
        except DeviceError:
            self._end(release=True)
            raise
        return process

    def _end(self, *, release: bool) -> None:
        process, self._process = self._process, None
        if process is not None:
            process.close(release)

    def _sizes(self) -> dict[int, int]:
        return {preset: ring for preset, (ring, _) in self._rings.items()}

    def _asked(self) -> dict[str, Any]:
        return {**self.address, "presets": sorted(self._rings)}

    def _settings(self) -> dict[str, Any]:
        fastest = max(sfreq for _, sfreq in self._rings.values())
        return {"ring": max(2, *self._sizes().values()), "epoch": self._epoch,
                "wait_s": min(max(0.5 / fastest, _LOOK_S[0]), _LOOK_S[1]), "is_by_wall": self._is_by_wall}  # fmt: skip
