"""Any board that BrainFlow knows, by name."""

from __future__ import annotations

import logging
import threading
import time
import warnings
from collections import deque
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bci.acquisition.driver import Driver, Samples
from bci.clock import Clock
from bci.errors import ConfigError, DeviceError, DeviceNotFound, PluginError
from bci.stream import Channel, Flag, Kind, StreamInfo, unknown

_log = logging.getLogger(__name__)

_RELEASE_S = 3.0
_COUNTER = 256  # a counter that never went higher is one byte
_LEARN = 50
"""Steps of a board's counter that are watched before it is believed."""
_RING = 450_000
_JUMP_S = 1.0
"""Arrivals that are further off than this mean that time was lost, s."""
_KINDS = {"eeg": Kind.EEG, "emg": Kind.EMG, "eog": Kind.EOG, "ecg": Kind.ECG}


def board_names() -> list[str]:
    """Return the names of all boards, lower case, such as "synthetic" or "cyton"."""
    return sorted(_boards())


class BrainFlowBoard(Driver):
    """A board of BrainFlow.

    Parameters
    ----------
    board : str or int, default="synthetic"
        Name (see `board_names`) or number.
    serial_port, mac_address, ip_address, serial_number, other_info, file : str
        What BrainFlow needs to find this board.
    ip_port, timeout : int
        Likewise.
    clock : Clock, optional
        Session clock.

    Raises
    ------
    ConfigError
        If there is no such board.
    DeviceNotFound
        From `open`, if the board does not answer.

    Notes
    -----
    Sample times are counted at the nominal rate from the first arrival and follow the arrivals slowly: the
    wall clock, on which BrainFlow stamps, never steers. Losses are counted through the board's package counter,
    once its first steps have shown that it counts samples. BrainFlow has no call that waits for data, so a
    read sleeps until the next sample is due, at most 5 ms.
    """

    def __init__(
        self,
        board: str | int = "synthetic",
        *,
        serial_port: str = "",
        mac_address: str = "",
        ip_address: str = "",
        ip_port: int = 0,
        serial_number: str = "",
        other_info: str = "",
        file: str = "",
        timeout: int = 0,
        clock: Clock | None = None,
    ) -> None:
        super().__init__(clock=clock)
        self.board = board
        self.parameters = {
            "serial_port": serial_port, "mac_address": mac_address, "ip_address": ip_address, "ip_port": ip_port,
            "serial_number": serial_number, "other_info": other_info, "file": file, "timeout": timeout,
        }  # fmt: skip
        self._id = _board_id(board)
        self._shim: Any = None

    # ---------------------------------------------------------------- hooks
    def _open(self) -> StreamInfo:
        BoardShim, BrainFlowInputParams, BrainFlowError = _brainflow(
            "BoardShim", "BrainFlowInputParams", "BrainFlowError"
        )
        parameters = BrainFlowInputParams()
        for key, value in self.parameters.items():
            setattr(parameters, key, value)
        self._shim = BoardShim(self._id, parameters)
        try:
            self._shim.prepare_session()
        except BrainFlowError as error:
            given = ", ".join(f"{k}={v}" for k, v in self.parameters.items() if v)
            hint = "check power, cable and these parameters"
            if not given:
                hint = f"say where it is, as in brainflow:{self.board},serial_port=/dev/ttyUSB0 (or mac_address, ...)"
            raise DeviceNotFound(
                f"expected board {self.board!r} to answer, with {given or 'no parameters'}: {error}; {hint}"
            ) from error
        description = BoardShim.get_board_descr(self._id)
        self._rows, channels = _channels(description)
        self._counter_row = description.get("package_num_channel")
        return StreamInfo(str(description["name"]), float(description["sampling_rate"]), channels,
                          str(self.parameters["serial_number"] or self.board))  # fmt: skip

    def _start(self) -> None:
        self._shim.start_stream(_RING)
        self._shim.get_board_data()  # what an earlier stream left behind
        self._last_s = float("nan")
        self._counter = PackageCounter()
        self._waiting: deque[Samples] = deque()

    def _read(self, timeout_s: float) -> Samples | None:
        if self._waiting:
            return self._waiting.popleft()
        end_s = time.monotonic() + timeout_s
        while not self._shim.get_board_data_count():
            left_s = end_s - time.monotonic()
            if left_s <= 0:
                return None
            time.sleep(min(left_s, 0.005, max(0.0005, 0.5 / self.info.sfreq)))
        raw = self._shim.get_board_data()
        flags = Flag.OVERFLOW if raw.shape[1] >= _RING - 1 else Flag.OK
        losses = [] if self._counter_row is None else self._counter.follow(raw[self._counter_row].astype(np.int64))
        times, jumped = self._times(raw.shape[1], losses)
        self._split(np.ascontiguousarray(raw[self._rows].T), times, losses, flags | jumped)
        return self._waiting.popleft()

    def _stop(self) -> None:
        self._shim.stop_stream()

    def _close(self) -> None:
        shim, self._shim = self._shim, None
        if shim is None or not shim.is_prepared():
            return
        # Releasing hangs for some boards, and for the synthetic one when the wall clock stepped back.
        worker = threading.Thread(target=shim.release_session, daemon=True)
        worker.start()
        worker.join(_RELEASE_S)
        if worker.is_alive():
            _log.warning(
                "board %r was not released within %.0f s; unplug it before the next use", self.board, _RELEASE_S
            )

    # -------------------------------------------------------------- private
    def _split(
        self, data: NDArray[np.float64], times: NDArray[np.float64], losses: list[tuple[int, int]], flags: Flag
    ) -> None:
        """Queue what was pulled in contiguous runs."""
        lost_before = dict(losses)
        edges = sorted({0, len(data), *lost_before})
        for row, end in zip(edges, edges[1:], strict=False):
            lost = lost_before.get(row, 0)
            cause = "the board's counter jumped" if lost else ""
            self._waiting.append(Samples(data[row:end], times[row:end], lost, flags, cause=cause))
            flags = Flag.OK

    def _times(self, n: int, losses: list[tuple[int, int]]) -> tuple[NDArray[np.float64], Flag]:
        period_s, now_s, flag = 1 / self.info.sfreq, self._clock.now(), Flag.OK
        place = np.arange(1.0, n + 1)
        for row, lost in losses:
            place[row:] += lost
        if np.isnan(self._last_s):
            self._last_s = now_s - place[-1] * period_s
        error_s = now_s - (self._last_s + place[-1] * period_s)
        if abs(error_s) > _JUMP_S:
            # Times must rise, even if they were ahead.
            self._last_s = max(self._last_s, now_s - place[-1] * period_s)
            error_s, flag = 0.0, Flag.CLOCK_JUMP
        times: NDArray[np.float64] = self._last_s + place * period_s
        # Nothing arrives before it was sampled, so follow early arrivals fast and late ones slowly.
        self._last_s = float(times[-1]) + min(max(0.02 * error_s, -0.5 * period_s), 0.01 * n * period_s)
        return times, flag


class PackageCounter:
    """Tell from a board's package counter what is missing.

    Boards differ: some count samples, some packages of several samples, some
    every second sample. So the first steps only teach how this one counts; one
    that does not step evenly is never believed.
    """

    def __init__(self) -> None:
        self._last: int | None = None
        self._highest = 0
        self._steps: list[int] = []
        self._step: int | None = None

    def follow(self, counts: NDArray[np.int64]) -> list[tuple[int, int]]:
        """Take the counter of the next samples; return (row, lost before that row) for each loss."""
        self._highest = max(self._highest, int(counts.max()))
        steps = np.diff(counts, prepend=counts[0] if self._last is None else self._last)
        first = 1 if self._last is None else 0
        self._last = int(counts[-1])
        losses: list[tuple[int, int]] = []
        for row in range(first, len(steps)):
            if self._step is None:
                self._learn(int(steps[row]))
            elif self._step > 0:
                lost = self._missing(int(steps[row]))
                if lost:
                    losses.append((row, lost))
        return losses

    def _learn(self, step: int) -> None:
        self._steps.append(step)
        if len(self._steps) < _LEARN:
            return
        usual = max(set(self._steps), key=self._steps.count)
        even = self._steps.count(usual) >= 0.8 * len(self._steps)
        self._step = usual if even and usual > 0 else 0
        if not self._step:
            _log.info("the board does not count its samples; losses are told by silence only")

    def _missing(self, step: int) -> int:
        assert self._step
        if step <= 0 and self._highest >= _COUNTER:
            return 0  # a wide counter began again, at a value that is not known beforehand
        periods, rest = divmod(step % _COUNTER if self._highest < _COUNTER else step, self._step)
        return periods - 1 if periods > 1 and rest == 0 else 0


def _brainflow(*names: str) -> tuple[Any, ...]:
    """Return classes of the package; `PluginError` if it is not here."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "pkg_resources is deprecated")  # its own import; nobody here can change it
        try:
            from brainflow import board_shim
        except ImportError as error:
            raise PluginError(f"boards need the package brainflow, got: {error}; pip install brainflow") from error
        board_shim.BoardShim.disable_board_logger()  # its first call loads the library, which imports pkg_resources
    return tuple(getattr(board_shim, name) for name in names)


def _boards() -> dict[str, int]:
    with warnings.catch_warnings():  # it still needs pkg_resources, which warns each user of its end
        warnings.filterwarnings("ignore", message="pkg_resources is deprecated")
        (boards,) = _brainflow("BoardIds")
    return {b.name.removesuffix("_BOARD").lower(): b.value for b in boards if b.name != "NO_BOARD"}


def _board_id(board: str | int) -> int:
    shim, failure = _brainflow("BoardShim", "BrainFlowError")
    known = _boards()
    if isinstance(board, str) and not board.lstrip("-").isdigit():
        name = board.lower().removesuffix("_board").replace("-", "_").replace(" ", "_")
        if name not in known:
            raise ConfigError(unknown("board", board, known))
        return known[name]
    try:
        shim.get_board_descr(int(board))
    except failure as error:
        raise ConfigError(f"expected the number of a BrainFlow board, got {board}; see `bci devices`") from error
    return int(board)


def _channels(description: dict[str, Any]) -> tuple[list[int], tuple[Channel, ...]]:
    """Return the rows to read and what they are: bio-signals first, then acceleration."""
    rows: list[int] = []
    channels: list[Channel] = []
    names = str(description.get("eeg_names", "")).split(",")
    for key, kind in _KINDS.items():
        for k, row in enumerate(description.get(f"{key}_channels", [])):
            if row not in rows:
                name = names[k].strip() if key == "eeg" and k < len(names) and names[k].strip() else f"{key}{k + 1}"
                rows.append(row)
                channels.append(Channel(name, kind, "uV"))
    for k, row in enumerate(description.get("accel_channels", [])):
        rows.append(row)
        channels.append(Channel(f"accel{k + 1}", Kind.ACCEL, "g"))
    if not rows:
        raise DeviceError(f"board {description.get('name')!r} has no channels that this version reads; choose another")
    return rows, tuple(channels)
