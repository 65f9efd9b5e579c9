"""EDF, EDF+, BDF and BDF+, with the gaps of discontinuous files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bci.acquisition.formats.edf_header import Header, Signal, parse
from bci.acquisition.formats.edf_notes import Note, read_notes
from bci.acquisition.formats.found import Cut, Found, Room, Settings
from bci.acquisition.formats.mne_files import standard_names, standard_places
from bci.acquisition.formats.plausible import MOST
from bci.errors import FormatError
from bci.stream import Channel, Event, Flag, Kind, StreamInfo

_BLOCK = 1 << 21
"""How many bytes are converted at a time."""
_ROUNDING_S = 1e-3
"""Records that follow this closely, s, follow one another: many programs write their times in ms."""


def prepare() -> None:
    """Import what takes long."""
    standard_places()


def read(path: Path, settings: Settings, room: Room) -> Found:
    """Read a recording in EDF or BDF.

    Channels of a lower rate than the fastest repeat each value until the next. Where the file says that records do
    not follow one another (EDF+D), samples are missing; they are counted from the time of each record.

    Raises
    ------
    FormatError
        If the header contradicts itself or the file.

    References
    ----------
    .. [1] B. Kemp et al. A simple format for exchange of digitized polygraphic recordings.
       Electroencephalogr. Clin. Neurophysiol. 82:391-393, 1992. doi:10.1016/0013-4694(92)90009-7
    .. [2] B. Kemp, J. Olivan. European data format 'plus' (EDF+), an EDF alike standard format for the exchange of
       physiological data. Clin. Neurophysiol. 114:1755-1761, 2003. doi:10.1016/S1388-2457(03)00123-8
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        header = parse(file, size, path, room)
    n_records, per_record = header.n_records, max(s.n_samples for s in header.signals)
    shape = (n_records * per_record, len(header.signals))
    if 8 * shape[0] * shape[1] > MOST * max(size, 1 << 20):
        raise FormatError(
            f"expected channels of similar rates in {path}, got 1 to {per_record} samples in a record, which would "
            f"take {8e-6 * shape[0] * shape[1]:.0f} MB; the header is damaged, or split the file by rate",
            where=f"byte {256 + 216 * len(header.signals)}",
        )  # fmt: skip
    records = np.memmap(path, np.uint8, "r", header.n_bytes, (n_records, header.record_bytes))
    data = room.array(shape)
    step = max(1, _BLOCK // header.record_bytes)
    for first in range(0, n_records, step):
        last = min(first + step, n_records)
        _convert(records[first:last], header, data[first * per_record : last * per_record])
        room.progress(last / n_records)
    _say_slow(header, per_record, path, room)
    info = StreamInfo("", per_record / header.record_s, _channels(header.signals))
    cuts, events = _timed(records, header, per_record, settings.salvage, path, room)
    events += _triggers(data, header.signals)
    return Found(data, info, sorted(events, key=lambda e: e.sample), cuts)


def _convert(records: NDArray[np.uint8], header: Header, target: NDArray[np.float64]) -> None:
    """Write the physical values of some records to `target`, shape (n_records * n_samples, n_channels)."""
    per_record = len(target) // len(records)
    for column, signal in enumerate(header.signals):
        stored = np.ascontiguousarray(records[:, signal.at : signal.at + signal.n_samples * header.width])
        digital = stored.view("<i2") if header.width == 2 else _from_24_bits(stored)
        if signal.n_samples < per_record:
            digital = digital[:, np.arange(per_record) * signal.n_samples // per_record]
        np.multiply(digital.ravel(), signal.gain, out=target[:, column])
        if signal.offset:
            target[:, column] += signal.offset


def _from_24_bits(stored: NDArray[np.uint8]) -> NDArray[np.int32]:
    wide = np.zeros((len(stored), stored.shape[1] // 3, 4), np.uint8)  # into the upper bytes of 32, for the sign
    wide[:, :, 1:] = stored.reshape(len(stored), -1, 3)
    return wide.view("<i4")[:, :, 0] >> 8


def _say_slow(header: Header, per_record: int, path: Path, room: Room) -> None:
    slow = [s.name for s in header.signals if s.n_samples < per_record]
    if slow:
        rate = per_record / header.record_s
        room.warn(f"{path.name}: {', '.join(slow[:10])} are of a lower rate than {rate:g} Hz; each value is repeated")


def _channels(signals: list[Signal]) -> tuple[Channel, ...]:
    standard = standard_names([s.name for s in signals if s.kind is Kind.EEG])
    channels: list[Channel] = []
    taken: set[str] = set()
    for number, signal in enumerate(signals):
        is_eeg = signal.kind is Kind.EEG
        name = standard.get(signal.name, signal.name) if is_eeg else signal.name
        place = standard_places().get(name) if is_eeg and standard else None
        name = name or f"ch{number + 1}"
        if name in taken:
            name = f"{name}-{number}"
        taken.add(name)
        channels.append(Channel(name, signal.kind, signal.unit, place))
    return tuple(channels)


def _timed(
    records: NDArray[np.uint8], header: Header, per_record: int, salvage: bool, path: Path, room: Room
) -> tuple[list[Cut], list[Event]]:
    """Return the contiguous pieces and the annotations."""
    found = read_notes(records, header)
    if found.n_unread:
        room.warn(f"{path.name}: {found.n_unread} annotations could not be read")
    sfreq = per_record / header.record_s
    begins_s = found.begins_s
    first_s = float(begins_s[0]) if len(begins_s) and np.isfinite(begins_s[0]) else 0.0
    numbers = np.arange(header.n_records, dtype=np.int64) * per_record
    cuts = [Cut(0, 0)]
    if header.is_interrupted:
        least = max(0.5, _ROUNDING_S * sfreq)
        numbers = _numbered((begins_s - first_s) * sfreq, numbers, least, salvage, path, room)
        cuts = _cuts(numbers, per_record)
    return cuts, _placed(found.notes, numbers, per_record, first_s, sfreq)


def _numbered(
    begins: NDArray[np.float64], following: NDArray[np.int64], least: float, salvage: bool, path: Path, room: Room
) -> NDArray[np.int64]:
    """Return the number of each record's first sample; `begins` is its written time in samples, `least` a gap."""
    late = begins - following
    # A recording of a year at 30 kHz has 1e12 samples; records do not overlap.
    bad = ~(np.abs(late) < 1e12) | (np.diff(late, prepend=late[0]) < -2 * least)
    if bad.any():
        number = int(np.argmax(bad))
        if not salvage:
            raise FormatError(
                f"expected the time of record {number} of {path} after the one before, got {begins[number]:.1f} "
                f"samples after the first; read it as if nothing were missing there with salvage=True",
                where=f"sample {int(following[number])}", readable=f"{len(begins)} records without their times",
            )  # fmt: skip
        room.warn(f"{path.name}: the times of {int(bad.sum())} records make no sense; they are not used")
        late = np.where(bad, np.nan, late)
        late = np.maximum.accumulate(np.where(np.isnan(late), -np.inf, late))
        late = np.maximum(late, 0.0)
    jumps = np.diff(late, prepend=0.0)
    return following + np.cumsum(np.where(jumps > least, np.rint(jumps), 0)).astype(np.int64)


def _cuts(numbers: NDArray[np.int64], per_record: int) -> list[Cut]:
    lost = np.diff(numbers, prepend=-per_record) - per_record
    later = [
        Cut(int(r) * per_record, int(numbers[r]), int(lost[r]), Flag.OK, "the recording was paused")
        for r in np.flatnonzero(lost)
    ]
    return [Cut(0, 0), *later]


def _placed(
    notes: list[Note], numbers: NDArray[np.int64], per_record: int, first_s: float, sfreq: float
) -> list[Event]:
    """Return annotations at rows: inside a gap at the first sample after it, after the end at the last sample."""
    last = len(numbers) * per_record - 1
    events = []
    for note in notes:
        at_s = note.onset_s - first_s
        number = int(np.ceil(np.clip(at_s * sfreq, 0, 1e15) - 1e-3))
        record = max(0, int(np.searchsorted(numbers, number, side="right")) - 1)
        row = record * per_record + min(number - int(numbers[record]), per_record)
        events.append(Event(min(max(row, 0), last), at_s, note.text, "annotations"))
    return events


def _triggers(data: NDArray[np.float64], signals: list[Signal]) -> list[Event]:
    """Return what rises on the trigger channels."""
    events = []
    for column, signal in enumerate(signals):
        if signal.kind is Kind.TRIG:
            # The lower 16 bits are the triggers; BioSemi keeps its own state in those above.
            codes = data[:, column].astype(np.int64) & 0xFFFF
            rows = np.flatnonzero(np.diff(codes) > 0) + 1
            events += [Event(int(row), 0.0, str(codes[row]), "triggers") for row in rows]
    return events
