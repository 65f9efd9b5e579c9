"""The header of EDF and BDF files, held against the size of the file."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from bci.acquisition.formats.found import Room
from bci.errors import FormatError
from bci.stream import Kind
from bci.units import factor, is_voltage

# EDF+ specification, "Standard EDF+ texts": labels begin with the type of signal.
_KINDS = {"EEG": Kind.EEG, "ECG": Kind.ECG, "EKG": Kind.ECG, "EOG": Kind.EOG, "EMG": Kind.EMG, "TEMP": Kind.TEMP,
          "RESP": Kind.MISC, "SAO2": Kind.MISC, "SOUND": Kind.MISC, "EVENT": Kind.MISC, "DC": Kind.MISC,
          "LIGHT": Kind.MISC}  # fmt: skip
_TRIGGERS = ("status", "trigger", "stim", "sti 014")
"""Labels of channels that hold codes (BioSemi: Status)."""
_NOTES = ("EDF Annotations", "BDF Annotations")
_FIELDS = (16, 80, 8, 8, 8, 8, 8, 80, 8, 32)
"""Bytes for each signal: label, transducer, unit, physical and digital limits, filters, samples, reserved."""


@dataclass(frozen=True, slots=True)
class Signal:
    """One signal of the file.

    Parameters
    ----------
    name, kind, unit : str, Kind, str
        What it is, in the units of this library.
    gain, offset : float
        Physical is ``digital * gain + offset``.
    at : int
        Byte in a record where its numbers begin.
    n_samples : int
        Numbers in a record.
    """

    name: str
    kind: Kind
    unit: str
    gain: float
    offset: float
    at: int
    n_samples: int


@dataclass(frozen=True, slots=True)
class Header:
    """What is known of the file.

    Parameters
    ----------
    signals : list of Signal
        Those with samples.
    notes : list of (int, int)
        First byte and number of bytes in a record of each signal with annotations.
    n_bytes, n_records, record_bytes : int
        Length of the header, whole records in the file, and the length of each.
    record_s : float
        Duration of a record, s.
    width : int
        Bytes of a number: 2 (EDF) or 3 (BDF).
    is_interrupted : bool
        Whether records need not follow one another (EDF+D).
    """

    signals: list[Signal]
    notes: list[tuple[int, int]]
    n_bytes: int
    n_records: int
    record_bytes: int
    record_s: float
    width: int
    is_interrupted: bool


class _Fields:
    """Text fields, with the place of each for the error."""

    def __init__(self, file: BinaryIO, path: Path) -> None:
        self._file, self._path = file, path
        self.at = 0

    def text(self, n: int) -> str:
        raw = self._file.read(n)
        self.at += n
        if len(raw) < n:
            raise self.error("a whole header", f"a file that ends within it ({self.at - n + len(raw)} bytes)")
        try:
            return raw.decode().strip(" \0")
        except UnicodeDecodeError:  # µ in the code pages of old programs
            return raw.replace(b"\x83\xca", b"\xb5").decode("latin-1").strip(" \0")

    def whole(self, n: int, what: str, least: int) -> int:
        text = self.text(n)
        try:
            value = int(text)
        except ValueError:
            value = least - 1
        if value < least:
            raise self.error(f"{what}, a whole number of {least} or more", repr(text), n)
        return value

    def number(self, n: int, what: str) -> float:
        text = self.text(n)
        try:
            value = float(text.replace(",", "."))
        except ValueError:
            value = math.nan
        if not math.isfinite(value):
            raise self.error(f"{what}, a number", repr(text), n)
        return value

    def error(self, expected: str, got: str, back: int = 0) -> FormatError:
        where = f"byte {self.at - back}"
        return FormatError(
            f"expected {expected} at {where} of {self._path}, got {got}; it is damaged or no EDF or BDF: take another "
            f"copy",
            where=where,
        )


def parse(file: BinaryIO, size: int, path: Path, room: Room) -> Header:
    """Read the header; `FormatError` with the byte where it contradicts itself or the file."""
    fields = _Fields(file, path)
    width = 3 if file.read(1) == b"\xff" else 2
    file.seek(0)
    fields.text(184)
    n_bytes = fields.whole(8, "the length of the header in bytes", 512)
    reserved = fields.text(44)
    n_said = fields.whole(8, "the number of records", -1)
    record_s = fields.number(8, "the duration of a record in s")
    n_signals = fields.whole(4, "the number of signals", 1)
    if n_bytes != 256 * (n_signals + 1):
        raise fields.error(
            f"a header of {256 * (n_signals + 1)} bytes for {n_signals} signals", f"one of {n_bytes}", fields.at - 184
        )
    if n_bytes > size:
        raise fields.error(f"{n_signals} signals, described in {n_bytes} bytes", f"a file of {size} bytes", 4)
    signals, notes, record_bytes = _signals(fields, n_signals, width, path, room)
    if not signals:
        raise fields.error("signals", "annotations only")
    if not record_s > 0:
        raise fields.error("records of more than 0 s", f"{record_s:g} s", fields.at - 244)
    n_records = (size - n_bytes) // record_bytes
    _compare(n_said, n_records, path, room)
    if n_records == 0:
        raise fields.error(f"records of {record_bytes} bytes", f"{size - n_bytes} bytes after the header")
    is_interrupted = reserved.startswith(("EDF+D", "BDF+D")) and bool(notes)
    return Header(signals, notes, n_bytes, n_records, record_bytes, record_s, width, is_interrupted)


def _compare(n_said: int, n_records: int, path: Path, room: Room) -> None:
    if n_said > n_records:
        room.warn(f"{path.name} is incomplete: its header says {n_said} records, there are {n_records} whole ones")
    elif 0 <= n_said < n_records:  # -1 is what a recorder writes that is still at work
        room.warn(f"{path.name}: its header says {n_said} records, the file size {n_records}; all of them are read")


def _signals(
    fields: _Fields, n_signals: int, width: int, path: Path, room: Room
) -> tuple[list[Signal], list[tuple[int, int]], int]:
    labels, _, units = ([fields.text(n) for _ in range(n_signals)] for n in _FIELDS[:3])
    limits = [
        [fields.number(n, what) for _ in range(n_signals)]
        for n, what in zip(_FIELDS[3:7], ("a physical minimum", "a physical maximum", "a digital minimum",
                                          "a digital maximum"), strict=True)
    ]  # fmt: skip
    for _ in range(n_signals):
        fields.text(_FIELDS[7])
    counts = [fields.whole(_FIELDS[8], "the number of samples in a record", 1) for _ in range(n_signals)]
    signals: list[Signal] = []
    notes: list[tuple[int, int]] = []
    at = 0
    for label, unit, n, *ends in zip(labels, units, counts, *limits, strict=True):
        if label in _NOTES:
            notes.append((at, n * width))
        else:
            signals.append(_signal(label, unit, at, n, ends, path, room))
        at += n * width
    return signals, notes, at


def _signal(label: str, unit: str, at: int, n: int, ends: list[float], path: Path, room: Room) -> Signal:
    if label.lower() in _TRIGGERS:
        return Signal(label, Kind.TRIG, "", 1.0, 0.0, at, n)
    word, _, rest = label.partition(" ")
    kind = _KINDS.get(word.upper())
    name = rest.strip() if kind is not None and rest.strip() else label
    low, high, digital_low, digital_high = ends
    if digital_low == digital_high or low == high:
        room.warn(f"{path.name}: the range of {label!r} is empty, its numbers are taken as they are")
        return Signal(name, Kind.MISC, "", 1.0, 0.0, at, n)
    gain = (high - low) / (digital_high - digital_low)
    offset = low - digital_low * gain
    if is_voltage(unit):
        scale = factor(unit)
        return Signal(name, kind or Kind.EEG, "uV", gain * scale, offset * scale, at, n)
    return Signal(name, kind or Kind.MISC, unit, gain, offset, at, n)
