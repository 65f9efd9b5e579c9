"""Any board that BrainFlow knows, by name."""

from __future__ import annotations

import logging
import math
import sys
import time
from pathlib import Path
from typing import Any

from bci.acquisition.board_host import RELEASE_S
from bci.acquisition.board_process import BoardProcess, WallStep
from bci.acquisition.board_stream import BoardStream
from bci.acquisition.boards import board_names, check_parameters, describe
from bci.acquisition.driver import Driver, Samples
from bci.clock import Clock
from bci.errors import ConfigError, DeviceError, DeviceLost, DeviceNotFound, DeviceTimeout
from bci.stream import StreamInfo

__all__ = ["BrainFlowBoard", "board_names"]

_log = logging.getLogger(__name__)

_OPEN_S = 60.0
"""How long a board may take to be found, beyond its own timeout, s."""
_START_S = 30.0
_RING_S = 60.0
_SILENT_PERIODS = 4.0
"""A slow stream (temperature, once a second) is not silent between its samples."""
_LOOK_S = (0.0005, 0.005)
"""Shortest and longest time between two looks for samples, s."""


class BrainFlowBoard(Driver):
    """A board of BrainFlow.

    Parameters
    ----------
    board : str or int, default="synthetic"
        Name (see `bci.acquisition.boards.board_names`) or number.
    preset : str, default="default"
        Which of the board's streams: "default", "auxiliary" (movement, as a rule) or "ancillary".
    serial_port, mac_address, ip_address, serial_number, other_info, file : str
        What BrainFlow needs to find this board.
    ip_port, ip_protocol, timeout : int
        Likewise; `timeout` is in s.
    master_board : str or int
        For playback and streaming: the board that recorded or sends.
    file_aux, file_anc, ip_address_aux, ip_address_anc, ip_port_aux, ip_port_anc
        For playback and streaming of the other presets.
    ring_s : float, default=60
        How much is kept for a reader that is late, s; older samples are dropped and counted as lost.
    clock : Clock, optional
        Session clock.

    Raises
    ------
    ConfigError
        If there is no such board or preset, or a parameter is missing, of another type, or out of range.
    DeviceNotFound
        From `open`, if the board does not answer.
    DeviceError
        From `open`, if another session holds it.
    DeviceLost
        From `read`, if the board's process has ended.

    Notes
    -----
    BrainFlow runs in a process of its own (`bci.acquisition.board_host`): a board that hangs while it is released,
    or whose library crashes, is ended there. Samples are stamped by `bci.acquisition.timebase.ClockFit` from their
    number and the monotonic time of their arrival; the wall clock, by which BrainFlow stamps, never steers. Losses
    are told by the board's package counter once its first samples have shown how it counts, and those that it
    cannot show by time: what it takes for one must last for 0.15 s, so that a stall is none.
    `mark` does not use BrainFlow's markers, of which a sample takes one, so that a burst queues up.
    """

    def __init__(
        self,
        board: str | int = "synthetic",
        *,
        preset: str = "default",
        serial_port: str = "",
        mac_address: str = "",
        ip_address: str = "",
        ip_port: int = 0,
        ip_protocol: int = 0,
        serial_number: str = "",
        other_info: str = "",
        file: str = "",
        timeout: int = 0,
        master_board: str | int = "",
        file_aux: str = "",
        file_anc: str = "",
        ip_address_aux: str = "",
        ip_address_anc: str = "",
        ip_port_aux: int = 0,
        ip_port_anc: int = 0,
        ring_s: float = _RING_S,
        clock: Clock | None = None,
    ) -> None:
        super().__init__(clock=clock)
        if isinstance(ring_s, bool) or not isinstance(ring_s, int | float) or not 0 < ring_s < math.inf:
            raise ConfigError(f"ring_s must be a number of seconds above 0, got {ring_s!r}; 60 holds a minute")
        self.board, self.preset, self.ring_s = board, preset, ring_s
        self.parameters: dict[str, str | int] = {
            "serial_port": serial_port, "mac_address": mac_address, "ip_address": ip_address, "ip_port": ip_port,
            "ip_protocol": ip_protocol, "serial_number": serial_number, "other_info": other_info, "file": file,
            "timeout": timeout, "file_aux": file_aux, "file_anc": file_anc, "ip_address_aux": ip_address_aux,
            "ip_address_anc": ip_address_anc, "ip_port_aux": ip_port_aux, "ip_port_anc": ip_port_anc,
        }  # fmt: skip
        check_parameters(board, {**self.parameters, "master_board": master_board}, sys.platform)
        self._board = describe(board, preset, master_board)
        self.silence_s = max(self.silence_s, _SILENT_PERIODS / self._board.sfreq)
        self._process: BoardProcess | None = None
        self._epoch = 0
        self._commands: list[str] = []
        self._stream: BoardStream | None = None

    # ------------------------------------------------------------- commands
    def configure(self, command: str) -> str:
        """Send `command` as BrainFlow and the maker wrote it down and return the answer.

        Raises
        ------
        DeviceError
            If the board is not open, or refuses the command.
        """
        if self._process is None:
            raise DeviceError(f"configure() needs a device that is open, {self._name} is closed; open() it first")
        answer = self._process.ask("configure", _START_S, command=command)
        self._commands.append(command)
        return answer

    def battery(self) -> float:
        """Return what is left of the battery, from 0 to 1; NaN while the board has not said it, or never does."""
        return math.nan if self._stream is None else self._stream.battery

    def report(self) -> dict[str, Any]:
        """Return what happened since `start`, ready for JSON.

        Returns
        -------
        dict
            As `Driver.report`, with ``sfreq``: the rate measured by the session clock, Hz, and ``sfreq_error``: its
            standard error, Hz; both None while too little has arrived.
        """
        measured: dict[str, Any] = {"sfreq": None, "sfreq_error": None}
        if self._stream is not None and math.isfinite(self._stream.fit.rate_error):
            sfreq = self.info.sfreq / self._stream.fit.rate
            measured = {"sfreq": sfreq, "sfreq_error": sfreq * self._stream.fit.rate_error}
        return {**super().report(), **measured}

    # ---------------------------------------------------------------- hooks
    def _open(self) -> StreamInfo:
        board, file = self._board, str(self.parameters["file"])
        if file and not Path(file).is_file():
            raise DeviceNotFound(f"expected a recording of BrainFlow at {file}, there is no such file; check the path")
        self._commands = []
        self._process = BoardProcess(f"board {self.board!r}")
        try:
            self._process.ask("open", _OPEN_S + float(self.parameters["timeout"]), **self._address())
        except (DeviceLost, DeviceTimeout):
            raise
        except DeviceError as error:
            raise self._not_opened(str(error)) from error
        identity = next((str(self.parameters[k]) for k in ("serial_number", "mac_address", "serial_port", "ip_address",
                                                           "file") if self.parameters[k]), board.name)  # fmt: skip
        return StreamInfo(board.title, board.sfreq, board.channels, identity,
                          {"board": board.name, "preset": self.preset})  # fmt: skip

    def _start(self) -> None:
        process = self._running()
        self._stream = BoardStream(self._board, self.ring_s)
        self._epoch += 1
        # The session's clock may be any; arrivals are stamped in another process on the monotonic one.
        self._ahead_s = self._clock.now() - time.monotonic()
        process.keep(max(1, round(self.ring_s * self.info.sfreq)))
        process.ask("start", _START_S, **self._settings())

    def _read(self, timeout_s: float) -> Samples | None:
        assert self._stream is not None
        end_s = time.monotonic() + timeout_s
        while (samples := self._stream.next()) is None:
            left_s = end_s - time.monotonic()
            for item in self._running().take(max(0.0, left_s)):
                if isinstance(item, WallStep):
                    self._wall_stepped(item.step_s)
                elif item.epoch == self._epoch and item.raw.shape[1]:
                    self._stream.take(item, item.arrival_s + self._ahead_s)
            self._stream.give_up_waiting(time.monotonic() + self._ahead_s)
            if left_s <= 0:
                return self._stream.next()
        return samples

    def _stop(self) -> None:
        process = self._running()
        try:
            process.ask("stop", RELEASE_S)
        except (DeviceLost, DeviceTimeout) as error:
            _log.warning("%s did not stop within %g s, so its process was ended: %s", self._name, RELEASE_S, error)
            process.close(release=False)
            self._process = None

    def _close(self) -> None:
        process, self._process = self._process, None
        if process is not None:
            process.close()

    # -------------------------------------------------------------- private
    def _address(self) -> dict[str, Any]:
        parameters = {key: value for key, value in self.parameters.items() if value not in ("", 0)}
        board = self._board
        return {"board": board.number, "master": board.master, "preset": board.preset, "parameters": parameters}

    def _settings(self) -> dict[str, Any]:
        sfreq = self.info.sfreq
        wait_s = min(max(0.5 / sfreq, _LOOK_S[0]), _LOOK_S[1])
        return {"ring": max(2, round(self.ring_s * sfreq)), "epoch": self._epoch, "wait_s": wait_s,
                "is_by_wall": self._board.runs_on_wall_clock}  # fmt: skip

    def _running(self) -> BoardProcess:
        """Return the process of the board; a new one if the last had to be ended."""
        if self._process is None:
            self._process = BoardProcess(f"board {self.board!r}")
            self._process.ask("open", _OPEN_S + float(self.parameters["timeout"]), **self._address())
        return self._process

    def _not_opened(self, error: str) -> DeviceError:
        given = ", ".join(f"{k}={v}" for k, v in self.parameters.items() if v)
        if "holds it" in error:
            return DeviceError(f"expected board {self.board!r} ({given}) to be free, {error}")
        hint = "check power, cable and these parameters, and that no other program has it open"
        return DeviceNotFound(
            f"expected board {self.board!r} to answer, with {given or 'no parameters'}: {error}; {hint}"
        )

    def _wall_stepped(self, step_s: float) -> None:
        """Go on after a step of the wall clock: only boards that make their samples by it need help."""
        if not self._board.runs_on_wall_clock:
            _log.info("the wall clock stepped by %+.1f s; %s does not depend on it", step_s, self._name)
            return
        _log.warning("the wall clock stepped by %+.1f s, by which %s makes its samples; it is started anew",
                     step_s, self._name)  # fmt: skip
        self._running().close(release=False)
        self._process = process = BoardProcess(f"board {self.board!r}")
        self._epoch += 1
        if self._stream is not None:
            self._stream.restart(f"the wall clock stepped by {step_s:+.1f} s and the board was started anew")
        process.keep(max(1, round(self.ring_s * self.info.sfreq)))
        process.post("open", **self._address())
        for command in self._commands:
            process.post("configure", command=command)
        process.post("start", **self._settings())
