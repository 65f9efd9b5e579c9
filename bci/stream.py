"""The data that flows: channels, stream descriptions, events, flags and chunks.

A chunk is always contiguous: a loss lies *between* two chunks, never inside one.
The sample number is the truth within a stream, time is the truth between streams.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bci.errors import ConfigError, DataError


class Kind(enum.StrEnum):
    """What a channel measures (names as in BIDS `channels.tsv`, lower case)."""

    EEG = "eeg"
    EOG = "eog"
    EMG = "emg"
    ECG = "ecg"
    PPG = "ppg"
    GSR = "gsr"
    """Conductance of the skin (electrodermal activity)."""
    GAZE = "gaze"
    ACCEL = "accel"
    GYRO = "gyro"
    MAGN = "magn"
    """Magnetometer."""
    ORNT = "ornt"
    """Orientation."""
    TEMP = "temp"
    TRIG = "trig"
    MISC = "misc"


class Flag(enum.IntFlag):
    """What is known to be wrong with a chunk, a window or a decision."""

    OK = 0
    GAP = enum.auto()
    """Samples are missing just before this chunk."""
    OVERFLOW = enum.auto()
    """A buffer between source and reader ran full and samples were dropped."""
    SATURATED = enum.auto()
    """A channel is at the rail of its converter."""
    LEAD_OFF = enum.auto()
    """An electrode has no contact."""
    CLOCK_JUMP = enum.auto()
    """The source's clock stepped; times were re-anchored."""
    SILENT = enum.auto()
    """The source has delivered nothing for longer than its deadline."""
    FLAT = enum.auto()
    """A channel does not change."""
    NAN = enum.auto()
    """Some values are unknown (NaN)."""
    STALE = enum.auto()
    """The samples are old: they waited somewhere before they were read."""
    NOISY = enum.auto()
    """A channel is drowned in mains, muscle, drift or jumps, or its values are unknown."""
    RATE = enum.auto()
    """Samples come at another rate than the stream declares: every frequency and every delay is wrong."""
    REPAIRED = enum.auto()
    """Some values were replaced by an estimate, because an artefact lay over them."""
    REJECTED = enum.auto()
    """Some values were judged to be an artefact and made unknown (NaN)."""


@dataclass(frozen=True, slots=True)
class Channel:
    """One signal of a stream.

    Parameters
    ----------
    name : str
        Label, unique in its stream; 10-05 names for EEG.
    kind : Kind, default=Kind.EEG
        What is measured.
    unit : str, default="uV"
        Physical unit of the samples as they stand in `Chunk.data`.
    position : tuple of 3 float, optional
        Electrode position in metres, head coordinates (MNE's RAS frame).
    scale : float, default=1
        What a number in `Chunk.data` is multiplied with to be in `unit`; other than 1 only where a device
        delivers integers.
    """

    name: str
    kind: Kind = Kind.EEG
    unit: str = "uV"
    position: tuple[float, float, float] | None = None
    scale: float = 1.0


@dataclass(frozen=True, slots=True)
class StreamInfo:
    """What a stream is: its name, rate and channels.

    Parameters
    ----------
    name : str
        Name of the stream.
    sfreq : float
        Nominal sampling rate in Hz, > 0.
    channels : sequence of Channel
        The columns of `Chunk.data`, in order; names are unique.
    source_id : str
        What identifies the source across restarts (serial number, file, ...).
    meta : mapping of str to str
        Anything else worth recording, never an identity of a person.

    Raises
    ------
    ConfigError
        If the rate is not positive, or no or doubled channel names are given.
    """

    name: str
    sfreq: float
    channels: tuple[Channel, ...]
    source_id: str = ""
    meta: Mapping[str, str] = field(default_factory=dict, hash=False)

    def __post_init__(self) -> None:
        if not (np.isfinite(self.sfreq) and self.sfreq > 0):
            raise ConfigError(f"sfreq must be a rate above 0 Hz, got {self.sfreq}; give the sampling rate")
        object.__setattr__(self, "channels", tuple(self.channels))
        object.__setattr__(self, "meta", MappingProxyType(dict(self.meta)))
        names = self.ch_names
        doubled = sorted({n for n in names if names.count(n) > 1}) if len(set(names)) < len(names) else []
        if not names or doubled:
            raise ConfigError(
                f"a stream needs at least one channel and unique names, got {len(names)} channels"
                f"{' with doubled ' + ', '.join(doubled) if doubled else ''}; rename the channels"
            )

    def __reduce__(self) -> tuple[Any, ...]:
        # MappingProxyType cannot be pickled; a plain dict can and is wrapped again.
        return (StreamInfo, (self.name, self.sfreq, self.channels, self.source_id, dict(self.meta)))

    @property
    def n_channels(self) -> int:
        """Number of channels."""
        return len(self.channels)

    @property
    def ch_names(self) -> list[str]:
        """Channel names, in column order."""
        return [c.name for c in self.channels]

    @property
    def scales(self) -> NDArray[np.float64] | None:
        """What the columns are multiplied with to be in the units of the channels; None where all are already."""
        scales = np.array([c.scale for c in self.channels])
        return None if (scales == 1.0).all() else scales

    def physical(self) -> StreamInfo:
        """Return what the stream is once its samples are in the units of the channels."""
        if self.scales is None:
            return self
        return replace(self, channels=tuple(replace(c, scale=1.0) for c in self.channels))

    def index(self, name: str) -> int:
        """Column of the channel called `name` (case counts); `ConfigError` with the nearest names if there is none."""
        try:
            return self.ch_names.index(name)
        except ValueError:
            raise ConfigError(unknown("channel", name, self.ch_names)) from None

    def pick(self, names: Iterable[str]) -> StreamInfo:
        """Return the description with only the channels `names`, in that order."""
        return replace(self, channels=tuple(self.channels[self.index(n)] for n in names))


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened at one sample of a stream.

    Parameters
    ----------
    sample : int
        Number of the first sample at or after the event. An event that arrives
        late (over a network) keeps its true number, so it may lie before the
        chunk that carries it, never after.
    time : float
        When it happened, s on the session clock.
    code : str
        What happened.
    source : str
        Who said so (a marker stream, a paradigm, a file).
    """

    sample: int
    time: float
    code: str
    source: str = ""


@dataclass(frozen=True, slots=True, eq=False, init=False)
class Chunk:
    """A contiguous run of samples, or a window of them.

    Parameters
    ----------
    data : ndarray, shape (n_samples, n_channels)
        Samples, C order; a row is one instant. Unit: `info.channels[i].unit`, once multiplied with its `scale`.
    times : ndarray of float64, shape (n_samples,)
        Time of each row, s on the session clock.
    start : int
        Number of `data[0]` since the stream began, lost samples counted.
    info : StreamInfo
        What the stream is.
    events : tuple of Event
        Events with ``sample < start + n_samples`` not delivered before.
    flags : Flag
        What is wrong with these samples.

    Raises
    ------
    DataError
        If shapes do not fit together.
    """

    data: NDArray[Any]
    times: NDArray[np.float64]
    start: int
    info: StreamInfo
    events: tuple[Event, ...]
    flags: Flag

    def __init__(
        self,
        data: NDArray[Any],
        times: NDArray[np.float64],
        start: int,
        info: StreamInfo,
        events: tuple[Event, ...] = (),
        flags: Flag = Flag.OK,
    ) -> None:
        # By hand, not by dataclass: a chunk of 64 x 32 is filtered in 2 us, so what it takes to make one counts.
        if data.ndim != 2 or data.shape[1] != len(info.channels) or times.shape != data.shape[:1]:
            raise DataError(
                f"a chunk of stream {info.name!r} needs data of shape (n_samples, {info.n_channels}) "
                f"and as many times, got {data.shape} and {times.shape}; samples are rows"
            )
        layout = data.flags
        if layout.writeable or not layout.c_contiguous:
            data = read_only(data if layout.c_contiguous else np.ascontiguousarray(data))
        _set_data(self, data)
        _set_times(self, read_only(times))
        _set_start(self, start)
        _set_info(self, info)
        _set_events(self, events)
        _set_flags(self, flags)

    @property
    def n_samples(self) -> int:
        """Number of rows."""
        return len(self.data)

    @property
    def stop(self) -> int:
        """Number of the sample after the last."""
        return self.start + len(self.data)

    @classmethod
    def empty(cls, info: StreamInfo, start: int, flags: Flag = Flag.OK, events: tuple[Event, ...] = ()) -> Chunk:
        """Return a chunk without samples, to carry flags or events."""
        return cls(np.empty((0, info.n_channels)), np.empty(0), start, info, events, flags)

    def physical(self) -> Chunk:
        """Return the chunk with its samples in the units of the channels; itself if they are already."""
        scales = self.info.scales
        if scales is None:
            return self
        return replace(self, data=self.data * scales, info=self.info.physical())

    def replace(self, **changes: Any) -> Chunk:
        """Return a copy with some fields changed."""
        return replace(self, **changes)


_new: Any = object.__new__
_SLOTS = ("data", "times", "start", "info", "events", "flags")
_set_data, _set_times, _set_start, _set_info, _set_events, _set_flags = (Chunk.__dict__[k].__set__ for k in _SLOTS)


def whole_chunk(
    data: NDArray[np.float64],
    times: NDArray[np.float64],
    start: int,
    info: StreamInfo,
    events: tuple[Event, ...],
    flags: Flag,
) -> Chunk:
    """Return a chunk of a new array that fits its description, without looking again; `data` becomes read-only.

    For blocks, which know the shape of what they made: a chunk costs half a microsecond then, instead of two.
    """
    data.setflags(write=False)
    chunk: Chunk = _new(Chunk)
    _set_data(chunk, data)
    _set_times(chunk, times)
    _set_start(chunk, start)
    _set_info(chunk, info)
    _set_events(chunk, events)
    _set_flags(chunk, flags)
    return chunk


def read_only(array: NDArray[Any]) -> NDArray[Any]:
    """Return a view of `array` that cannot be written to."""
    if not array.flags.writeable:
        return array
    view = array.view()
    view.setflags(write=False)
    return view


def difference(who: str, expected: StreamInfo, got: StreamInfo) -> str:
    """Say how `got` differs in channels, rate or units from what `who` expects, and what to do; "" if it fits."""
    if expected.ch_names != got.ch_names:
        missing = [n for n in expected.ch_names if n not in got.ch_names]
        extra = [n for n in got.ch_names if n not in expected.ch_names]
        found = [f"missing {listed(missing)}"] if missing else []
        found += [f"not known to it {listed(extra)}"] if extra else []
        return (
            f"{who} expects the channels {listed(expected.ch_names)}, got a stream with "
            f"{'; '.join(found) or 'the same channels in another order: ' + listed(got.ch_names)}; "
            "pick and order the channels (block Pick) or train again"
        )
    if expected.sfreq != got.sfreq:
        rates = f"{expected.sfreq:g} Hz, got {got.sfreq:g} Hz"
        return f"{who} expects {rates}; set the device's rate, decimate, or train again"
    for one, other in zip(expected.channels, got.channels, strict=True):
        if (one.unit, one.kind) != (other.unit, other.kind):
            return (
                f"{who} expects {one.name} as {one.kind.value} in {one.unit}, got {other.kind.value} in {other.unit}; "
                "convert the unit at the driver or train again"
            )
    return ""


def unknown(what: str, name: str, known: Iterable[str]) -> str:
    """Word the error for a name that is not known, with the nearest ones that are."""
    import difflib

    names = sorted(known)
    near = difflib.get_close_matches(name, names, 3, 0.5)
    hint = f"did you mean {' or '.join(near)}?" if near else "use one of these"
    return f"unknown {what} {name!r}; known are {listed(names) or 'none'}; {hint}"


def listed(names: Sequence[str], most: int = 20) -> str:
    """Return `names` for a sentence: the first `most`, and how many there are."""
    return ", ".join(names[:most]) + (f", ... ({len(names)} in all)" if len(names) > most else "")
