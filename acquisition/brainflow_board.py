"""Any board that BrainFlow knows, by name."""

from __future__ import annotations

import hashlib
import logging
import math
import sys
import time
from pathlib import Path
from typing import Any

from bci.acquisition.board_holder import BoardHolder
from bci.acquisition.board_process import BoardProcess, WallStep
from bci.acquisition.board_stream import BoardStream
from bci.acquisition.boards import board_names, check_parameters, describe
from bci.acquisition.driver import Driver, Samples
from bci.clock import Clock
from bci.errors import ConfigError, DeviceError, DeviceLost, DeviceNotFound, DeviceTimeout
from bci.stream import StreamInfo

__all__ = ["BrainFlowBoard", "board_names"]

_log = logging.getLogger(__name__)

_RING_S = 60.0
_SILENT_PERIODS = 4.0
"""A slow stream (temperature, once a second) is not silent between its samples."""


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
            "ip_protocol": ip_protocol, "serial_number": serial_number, "other_info": other_info, "timeout": timeout,
            "ip_address_aux": ip_address_aux, "ip_address_anc": ip_address_anc, "ip_port_aux": ip_port_aux,
            "ip_port_anc": ip_port_anc,
        }  # fmt: skip
        # Not among what a recording tells of a device: names of files often say who was recorded.
        self._files: dict[str, str | int] = {"file": file, "file_aux": file_aux, "file_anc": file_anc}
        check_parameters(board, {**self.parameters, **self._files, "master_board": master_board}, sys.platform)
        self._board = describe(board, preset, master_board)
        self.silence_s = max(self.silence_s, _SILENT_PERIODS / self._board.sfreq)
        given = {key: value for key, value in (self.parameters | self._files).items() if value not in ("", 0)}
        address = {"board": self._board.number, "master": self._board.master, "parameters": given}
        self._hold_with(BoardHolder(f"board {board!r}", address, self._board.runs_on_wall_clock))
        self._process: BoardProcess | None = None
        self._epoch = 0
        self._stream: BoardStream | None = None

    # --------------------------------------------------- one of several
    def share(self, other: object) -> bool:
        """Read the board that `other` holds, if it is the same one in another preset; whether it is.

        One board has one holder. Those that share it are opened and closed one by one as any device; the board is
        found for the first and released with the last. A `bci.acquisition.rig.Rig` lets its streams share.

        Raises
        ------
        DeviceError
            If one of them is open already.
        """
        if not isinstance(other, BrainFlowBoard) or other is self:
            return False
        holder = other._holder
        if holder.address != self._holder.address or self._board.preset in holder.presets:
            return False
        if len(self._holder.presets) > 1:  # others share with this one already
            return False
        if holder.is_held or self._holder.is_held:
            raise DeviceError(
                f"the presets of board {self.board!r} are to share it before it is opened, it is open; close() it first"
            )
        self._hold_with(holder)
        return True

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
        return self._holder.configure(command)

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
        board, file = self._board, str(self._files["file"])
        if file and not Path(file).is_file():
            raise DeviceNotFound(f"expected a recording of BrainFlow at {file}, there is no such file; check the path")
        named = ("serial_number", "mac_address", "serial_port", "ip_address")
        identity = next((str(self.parameters[key]) for key in named if self.parameters[key]), board.name)
        if file:
            identity = f"{board.name}-{_content_hash(Path(file))}"
        try:
            self._process = self._holder.open(board.preset)
        except (DeviceLost, DeviceTimeout):
            raise
        except DeviceError as error:
            raise self._not_opened(str(error)) from error
        return StreamInfo(board.title, board.sfreq, board.channels, identity,
                          {"board": board.name, "preset": self.preset})  # fmt: skip

    def _start(self) -> None:
        self._stream = BoardStream(self._board, self.ring_s)
        # The session's clock may be any; arrivals are stamped in another process on the monotonic one.
        self._ahead_s = self._clock.now() - time.monotonic()
        self._process, self._epoch = self._holder.start(self._board.preset)

    def _read(self, timeout_s: float) -> Samples | None:
        assert self._stream is not None and self._process is not None
        end_s = time.monotonic() + timeout_s
        while (samples := self._stream.next()) is None:
            left_s = end_s - time.monotonic()
            for item in self._process.take(self._board.preset, max(0.0, left_s)):
                if isinstance(item, WallStep):
                    self._wall_stepped(item.step_s)
                elif item.epoch == self._epoch and item.raw.shape[1]:
                    self._stream.take(item, item.arrival_s + self._ahead_s)
            self._stream.give_up_waiting(time.monotonic() + self._ahead_s)
            if left_s <= 0:
                return self._stream.next()
        return samples

    def _stop(self) -> None:
        self._holder.stop(self._board.preset)

    def _close(self) -> None:
        self._process = None
        self._holder.close(self._board.preset)

    # -------------------------------------------------------------- private
    def _hold_with(self, holder: BoardHolder) -> None:
        self._holder = holder
        holder.add(self._board.preset, max(1, round(self.ring_s * self._board.sfreq)), self._board.sfreq)

    def _not_opened(self, error: str) -> DeviceError:
        given = ", ".join(f"{k}={v}" for k, v in (self.parameters | self._files).items() if v)
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
        assert self._process is not None
        self._process, self._epoch = self._holder.renew(self._process)
        if self._stream is not None:
            self._stream.restart(f"the wall clock stepped by {step_s:+.1f} s and the board was started anew")


def _content_hash(path: Path) -> str:
    """Return what tells a file from others but says nothing of who was recorded, as its name may."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=4)).hexdigest()
