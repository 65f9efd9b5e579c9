"""What BrainFlow says of its boards: names, parameters, presets, channels."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from fnmatch import fnmatch
from functools import cache
from typing import Any

from bci.errors import ConfigError, PluginError
from bci.simulation.electrodes import HEAD_RADIUS_M, names, positions
from bci.stream import Channel, Kind, unknown

_log = logging.getLogger(__name__)

SYNTHETIC, STREAMING, PLAYBACK = -1, -2, -3
PRESETS = {"default": 0, "auxiliary": 1, "ancillary": 2}
_LIKE_MASTER = (STREAMING, PLAYBACK)

# What a parameter may be: a text, or a whole number from 0 up to this (ports have 16 bits; BrainFlow has no address,
# UDP and TCP; a timeout is given in s, and BrainFlow keeps it in 32 bits).
_MOST = {
    "ip_port": 65535, "ip_port_aux": 65535, "ip_port_anc": 65535, "ip_protocol": 2, "timeout": 2**31 - 1,
}  # fmt: skip
_EXTRA_FILES = "file_aux file_anc"
_EXTRA_STREAMS = "ip_address_aux ip_address_anc ip_port_aux ip_port_anc"
# What a board needs, and what it may be given besides: BrainFlow documentation, "Supported Boards", release 5.
# A board that is not listed there is not checked.
_PARAMETERS = {
    "playback_file": ("file master_board", _EXTRA_FILES),
    "streaming": ("ip_address ip_port master_board", _EXTRA_STREAMS),
    "synthetic": ("", ""),
    "cyton cyton_daisy freeeeg32 freeeeg128 ironbci_32": ("serial_port", ""),
    "neuropawn_knight neuropawn_knight_imu": ("serial_port", "other_info"),
    "ganglion": ("serial_port", "mac_address"),
    "brainbit_bled": ("serial_port", "mac_address"),
    "muse_s_bled muse_2_bled muse_2016_bled": ("serial_port", "serial_number"),
    "ganglion_native brainalive muse_s muse_2 muse_2016": ("", "mac_address serial_number"),
    "ganglion_wifi cyton_wifi cyton_daisy_wifi": ("ip_port", "ip_address ip_protocol"),
    "galea": ("", "ip_address"),
    "brainbit unicorn notion_1 notion_2 crown": ("", "serial_number"),
    "callibri_eeg callibri_emg callibri_ecg": ("", "other_info"),
    "gforce_pro gforce_dual": ("", ""),
    "pieeg": ("", "serial_port"),
    "ant_neuro_*": ("", "serial_number"),
    "emotibit": ("", "ip_address serial_number"),
    "biolistener": ("", "ip_address ip_port"),
    # "Windows and MacOS can autodiscover paired devices, Linux cannot."
    "enophone explore_4_chan explore_8_chan": ("mac_address on linux", "mac_address"),
}
_EXAMPLES = {
    "serial_port": "serial_port=/dev/ttyUSB0 (COM3 on Windows)", "mac_address": "mac_address=F4:0E:11:75:76:78",
    "ip_address": "ip_address=225.1.1.1", "ip_port": "ip_port=6677 (any free port)", "file": "file=recorded.csv",
    "master_board": "master_board=cyton (the board that recorded or sends)",
}  # fmt: skip

# Rows of a description, what they measure, the unit, the name of one channel; the first that claims a row has it.
_ROWS = (
    ("eeg", Kind.EEG, "uV", "eeg"), ("emg", Kind.EMG, "uV", "emg"), ("eog", Kind.EOG, "uV", "eog"),
    ("ecg", Kind.ECG, "uV", "ecg"), ("accel", Kind.ACCEL, "", "accel"), ("gyro", Kind.GYRO, "", "gyro"),
    ("magnetometer", Kind.MAGN, "", "magn"), ("rotation", Kind.ORNT, "", "rotation"), ("ppg", Kind.PPG, "", "ppg"),
    ("optical", Kind.MISC, "", "optical"), ("eda", Kind.GSR, "", "eda"), ("temperature", Kind.TEMP, "degC", "temp"),
    ("resistance", Kind.MISC, "", "resistance"), ("analog", Kind.MISC, "", "analog"),
    ("other", Kind.MISC, "", "other"),
)  # fmt: skip
# The description has no units. Biosignals are in uV but where the documentation says that they are the converter's
# numbers; movement is in the units of these boards' own datasheets, and without one where we know none.
_UNITS = {
    "gforce_*": {Kind.EMG: ""},
    "cyton*": {Kind.ACCEL: "g"}, "ganglion*": {Kind.ACCEL: "g"}, "synthetic": {Kind.ACCEL: "g", Kind.GYRO: "deg/s"},
    "muse_*": {Kind.ACCEL: "g", Kind.GYRO: "deg/s"}, "unicorn": {Kind.ACCEL: "g", Kind.GYRO: "deg/s"},
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Board:
    """What is known of a board before it is opened.

    Parameters
    ----------
    name : str
        Its name, lower case, such as "cyton".
    number, master : int
        BrainFlow's number of it, and of the board whose data it delivers (itself but for playback and streaming).
    preset : int
        Which of its streams.
    title : str
        What BrainFlow calls the stream.
    sfreq : float
        Nominal rate, Hz.
    rows : tuple of int
        Rows of BrainFlow's array that hold the channels.
    channels : tuple of Channel
        What these rows are.
    counter, battery : int or None
        Rows with the package counter, and the battery in per cent.
    """

    name: str
    number: int
    master: int
    preset: int
    title: str
    sfreq: float
    rows: tuple[int, ...]
    channels: tuple[Channel, ...]
    counter: int | None
    battery: int | None

    @property
    def runs_on_wall_clock(self) -> bool:
        """Whether it makes its samples by the wall clock: when that steps, they stop, or come in a flood."""
        return self.number in (SYNTHETIC, PLAYBACK)


def board_names() -> list[str]:
    """Return the names of all boards, lower case, such as "synthetic" or "cyton"."""
    return sorted(_numbers())


def board_number(board: str | int) -> int:
    """Return BrainFlow's number of a board given by name or number; `ConfigError` if there is none such."""
    shim, failure = brainflow("BoardShim", "BrainFlowError")
    known = _numbers()
    if not isinstance(board, str) and not _is_whole(board):
        raise ConfigError(f"expected a board by its name or its number, got {board!r}; `bci devices` lists the names")
    if isinstance(board, str) and not board.lstrip("-").isdigit():
        name = _folded(board)
        if name not in known:
            raise ConfigError(unknown("board", board, known))
        return known[name]
    try:
        shim.get_board_presets(int(board))
    except failure as error:
        raise ConfigError(f"expected the number of a BrainFlow board, got {board}; see `bci devices`") from error
    return int(board)


def board_presets(board: str | int) -> list[str]:
    """Return the presets of a board: "default", and "auxiliary" or "ancillary" where it has them."""
    (shim,) = brainflow("BoardShim")
    has = shim.get_board_presets(board_number(board))
    return [name for name, number in PRESETS.items() if number in has]


def describe(board: str | int, preset: str = "default", master: str | int = "") -> Board:
    """Return what is known of a board.

    Parameters
    ----------
    board : str or int
        Name or number.
    preset : str, default="default"
        Which of its streams: "default", "auxiliary" or "ancillary".
    master : str or int, optional
        For playback and streaming: the board that recorded or sends.

    Raises
    ------
    ConfigError
        If there is no such board or preset, or it has no channels in it.
    """
    (shim,) = brainflow("BoardShim")
    number = board_number(board)
    source = board_number(master) if number in _LIKE_MASTER else number
    has = board_presets(source)
    if preset not in has:
        raise ConfigError(
            f"preset must be one of those that {_name(source)!r} has, {', '.join(has)}, got {preset!r}; choose one"
        )
    found = shim.get_board_descr(source, PRESETS[preset])
    rows, channels = _channels(found, _name(source))
    if not rows:
        raise ConfigError(
            f"expected channels in preset {preset!r} of board {_name(source)!r}, got none; choose another preset"
        )
    return Board(_name(number), number, source, PRESETS[preset], str(found["name"]), float(found["sampling_rate"]),
                 tuple(rows), tuple(channels), found.get("package_num_channel"),
                 found.get("battery_channel"))  # fmt: skip


def check_parameters(board: str | int, parameters: Mapping[str, str | int], platform: str) -> None:
    """Refuse what BrainFlow cannot find a board with, and warn of what it will not look at.

    Parameters
    ----------
    board : str or int
        Name or number.
    parameters : mapping
        What was given, by BrainFlow's names; "" and 0 mean nothing.
    platform : str
        As `sys.platform`.

    Raises
    ------
    ConfigError
        With one sentence that names what is missing, or of a type or range that BrainFlow does not take.
    """
    name = _name(board_number(board))
    for key, value in parameters.items():
        _check_parameter(name, key, value)
    entry = next((e for boards, e in _PARAMETERS.items() if any(fnmatch(name, b) for b in boards.split())), None)
    if entry is None:
        return
    needs, takes = entry
    if needs.endswith(" on linux"):
        needs = needs.removesuffix(" on linux") if platform == "linux" else ""
    given = [key for key, value in parameters.items() if value not in ("", 0)]
    missing = [key for key in needs.split() if key not in given]
    if missing:
        got = ", ".join(f"{key}={parameters[key]}" for key in given) or "no parameters"
        raise ConfigError(
            f"board {name!r} is found by its {' and '.join(needs.split())}, got {got}; "
            f"add {', '.join(_EXAMPLES[key] for key in missing)}"
        )
    useless = [key for key in given if key not in (*needs.split(), *takes.split(), "timeout")]
    if useless:
        _log.warning("board %r does not look at %s; leave it out", name, " and ".join(useless))


def brainflow(*wanted: str) -> tuple[Any, ...]:
    """Return classes of the package; `PluginError` if it is not here."""
    with warnings.catch_warnings():  # it still needs pkg_resources, which warns each user of its end
        warnings.filterwarnings("ignore", message="pkg_resources is deprecated")
        try:
            from brainflow import board_shim
        except ImportError as error:
            raise PluginError(f"boards need the package brainflow, got: {error}; pip install brainflow") from error
        board_shim.BoardShim.disable_board_logger()  # its first call loads the library, which imports pkg_resources
    return tuple(getattr(board_shim, name) for name in wanted)


@cache
def _numbers() -> dict[str, int]:
    (boards,) = brainflow("BoardIds")
    return {_folded(b.name): b.value for b in boards if b.name != "NO_BOARD"}


def _folded(name: str) -> str:
    """Return `name` as we write it: BrainFlow's without the word BOARD."""
    return name.lower().replace("-", "_").replace(" ", "_").replace("_board", "")


def _name(number: int) -> str:
    return next((name for name, value in _numbers().items() if value == number), str(number))


def _is_whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _check_parameter(board: str, key: str, value: object) -> None:
    """Refuse a value of another type, or out of range."""
    if key in _MOST:
        if isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= _MOST[key]:
            return
        expected, remedy = f"a whole number from 0 to {_MOST[key]}", "leave it out for BrainFlow's own choice"
    elif isinstance(value, str) or (key == "master_board" and _is_whole(value)):
        return
    else:
        example = _EXAMPLES.get(key, f"{key}=...")
        expected = "a board by name or number" if key == "master_board" else "a text"
        remedy = f"write it as in {example}"
    raise ConfigError(f"{key} of board {board!r} takes {expected}, got {value!r}; {remedy}")


def _channels(found: Mapping[str, Any], board: str) -> tuple[list[int], list[Channel]]:
    """Return the rows to read and what they are, biosignals first."""
    taken: dict[int, Channel] = {}
    units = next((units for boards, units in _UNITS.items() if fnmatch(board, boards)), {})
    labels = [name.strip() for name in str(found.get("eeg_names", "")).split(",")]
    for key, kind, unit, stem in _ROWS:
        for k, row in enumerate(dict.fromkeys(found.get(f"{key}_channels", []))):
            label = labels[k] if key == "eeg" and k < len(labels) else ""
            taken.setdefault(row, _channel(label or f"{stem}{k + 1}", kind, units.get(kind, unit)))
    if "battery_channel" in found:
        taken.setdefault(found["battery_channel"], Channel("battery", Kind.MISC, "%"))
    return list(taken), list(taken.values())


def _channel(name: str, kind: Kind, unit: str) -> Channel:
    """Return a channel, at its place on the head if it is named after one."""
    if kind is not Kind.EEG or name.lower() not in _places():
        return Channel(name, kind, unit)
    x, y, z = (float(v) for v in positions([name])[0] * HEAD_RADIUS_M)
    return Channel(name, kind, unit, (x, y, z))


@cache
def _places() -> frozenset[str]:
    return frozenset(name.lower() for name in names())
