"""Play what a rig has recorded: the same streams, times, losses and delays, and so the same aligned windows."""

from __future__ import annotations

import json
import math
from bisect import bisect_right
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from bci.acquisition.driver import Driver, Samples
from bci.acquisition.formats.neutral import neutral_name
from bci.acquisition.montage import described, xdf_entry
from bci.acquisition.recorder.quality import row_flags, sample_numbers
from bci.acquisition.recorder.recover import open_complete
from bci.acquisition.rig import Rig
from bci.acquisition.rig_log import TEXT
from bci.acquisition.rig_source import Arrival
from bci.clock import ManualClock
from bci.errors import DeviceNotFound, FormatError
from bci.stream import Event, Flag, StreamInfo

_CHUNK_S = 0.04


class RigReplay(Rig):
    """A recording of a rig, as a rig on simulated time.

    Parameters
    ----------
    path : str or Path
        XDF file that `Rig.record` wrote, or a session that ran on a rig.
    speed : float or "max", default="max"
        Times real time.
    late_s : float, optional
        How long windows wait for late samples, s; as when it was recorded by default.

    Raises
    ------
    DeviceNotFound
        If there is no such file.
    FormatError
        If the file is damaged or no rig has recorded it.
    """

    def __init__(self, path: str | Path, *, speed: float | Literal["max"] = "max", late_s: float | None = None) -> None:
        recorded = _load(Path(path))
        clock = ManualClock(recorded.begin_s)
        super().__init__(
            {name: Track(take, clock) for name, take in recorded.takes.items()},
            main=recorded.main,
            clock=clock,
            late_s=recorded.late_s if late_s is None else late_s,
            silence_s=math.inf,  # what was silent is no longer so: it is over
            speed=speed,
        )
        self._recorded = recorded
        self._to_tell = deque(sorted(recorded.markers))

    def read(self, timeout_s: float) -> list[Arrival]:
        """Return what has arrived; markers come when it is their time."""
        while self._to_tell and self._to_tell[0][0] <= self.clock.now():
            at_s, code, source = self._to_tell.popleft()
            self.mark(code, at_s, source)
        return super().read(timeout_s)

    def _end_s(self) -> float | None:
        return self._recorded.end_s

    def _in_time(self, arrival: Arrival) -> float:
        if arrival.chunk is None:
            return arrival.arrived_s
        return self._recorded.takes[arrival.name].arrived_s(arrival.chunk.start)

    def _known_losses(self) -> list[tuple[str, float, float]]:
        return self._recorded.losses


class Track(Driver):
    """One stream of such a recording, delivered at its own times."""

    def __init__(self, take: Take, clock: ManualClock) -> None:
        super().__init__(clock=clock, silence_s=math.inf)
        self._take = take
        self._row = 0

    @property
    def at_end(self) -> bool:
        """True once everything was delivered."""
        return self._ended

    @property
    def due_s(self) -> float:
        """When the next samples are there, s on the session clock."""
        return self._due(self._stop_row()) if self._row < len(self._take.times) else -math.inf

    def _open(self) -> StreamInfo:
        return self._take.info

    def _start(self) -> None:
        self._row, self._ended = 0, not len(self._take.times)

    def _read(self, timeout_s: float) -> Samples | None:
        take, first = self._take, self._row
        if first >= len(take.times):
            self._ended = True
            return None
        last = self._stop_row()
        if self._due(last) > self._clock.now() + timeout_s + 1e-9:
            return None
        self._clock.sleep_until(self._due(last))
        before = int(take.numbers[first - 1]) if first else -1
        for event in take.events_between(first, last):
            self.mark(event.code, event.time, event.source)
        self._row = last
        self._ended = last >= len(take.times)
        return Samples(
            take.data[first:last],
            take.times[first:last],
            int(take.numbers[first]) - before - 1,
            Flag(int(take.flags[first])),
            cause="missing in the recording",
        )

    def _stop(self) -> None:
        """Nothing runs between reads."""

    def _close(self) -> None:
        """Nothing is held."""

    def _due(self, stop: int) -> float:
        numbers, times = self._take.numbers, self._take.times
        return max(float(times[stop - 1]), self._take.arrived_s(int(numbers[stop - 1])))

    def _stop_row(self) -> int:
        """Return the row after the next chunk: up to a loss, another flag, another arrival, or `_CHUNK_S`."""
        return min(
            int(self._take.edges[np.searchsorted(self._take.edges, self._row, side="right")]),
            self._row + max(1, round(_CHUNK_S * self._take.info.sfreq)),
        )


@dataclass(eq=False)
class Take:
    """One stream as it was recorded.

    Parameters
    ----------
    data, times, numbers, flags : ndarray
        Samples, and for each row its time (s), its number and its flags.
    info : StreamInfo
        What it is.
    events : list of Event
        By sample number, with their times.
    late : list of (float, float, float)
        From which sample to which (excluded) arrived when (s), where that was late; in order.
    """

    data: NDArray[Any]
    times: NDArray[np.float64]
    numbers: NDArray[np.int64]
    flags: NDArray[np.int64]
    info: StreamInfo
    events: list[Event] = field(default_factory=list)
    late: list[tuple[float, float, float]] = field(default_factory=list)

    @property
    def edges(self) -> NDArray[np.int64]:
        """Rows at which a chunk has to end."""
        if self._edges is None:
            own = np.flatnonzero((np.diff(self.numbers) != 1) | (np.diff(self.flags) != 0)) + 1
            noted = np.searchsorted(self.numbers, [n for first, last, _ in self.late for n in (first, last)])
            self._edges = np.unique(np.concatenate([own, noted, [len(self.numbers)]])).astype(np.int64)
        return self._edges

    _edges: NDArray[np.int64] | None = None

    def arrived_s(self, number: int) -> float:
        """Return when a sample arrived, s; -inf if it was in time."""
        k = bisect_right(self.late, (number, math.inf, math.inf)) - 1
        return self.late[k][2] if k >= 0 and number < self.late[k][1] else -math.inf

    def events_between(self, first: int, last: int) -> Iterator[Event]:
        """Return the events that belong to rows from `first` to `last` (excluded), or to a gap before them."""
        begin = int(self.numbers[first - 1]) + 1 if first else -(1 << 62)
        stop = int(self.numbers[last - 1]) + 1 if last < len(self.numbers) else 1 << 62
        return (e for e in self.events if begin <= e.sample < stop)


@dataclass(eq=False)
class _Recorded:
    begin_s: float
    late_s: float
    main: str
    takes: dict[str, Take]
    end_s: float
    losses: list[tuple[str, float, float]]
    markers: list[tuple[float, str, str]]


def _load(path: Path) -> _Recorded:
    import pyxdf

    try:
        with open_complete(path) as file:
            streams, _ = pyxdf.load_xdf(file, synchronize_clocks=False, dejitter_timestamps=False, verbose=False)
    except FileNotFoundError:
        raise DeviceNotFound(f"expected a recording at {path}, there is none; check the name") from None
    except FormatError:
        raise
    except Exception as error:  # pyxdf raises what it likes for a damaged file
        raise FormatError(f"expected an XDF file at {path}, got: {error}; take another copy") from error
    texts = {s["info"]["name"][0]: s for s in streams if s["info"]["channel_format"][0] == "string"}
    try:
        notes = [json.loads(str(v[0])) for v in texts[TEXT]["time_series"]]
        head = next(note for note in notes if "begin_s" in note)
        names = [str(name) for name in head["streams"]]
    except (KeyError, StopIteration, ValueError, TypeError) as error:
        raise FormatError(
            f"expected a recording of a rig in {path.name}, it has no readable stream {TEXT!r} that says so; play its "
            "streams one by one with replay"
        ) from error
    signals = {s["info"]["name"][0]: s for s in streams if s["info"]["channel_format"][0] != "string"}
    missing = [name for name in names if name not in signals]
    if missing:
        raise FormatError(f"expected streams {', '.join(names)} in {path.name}, {', '.join(missing)} are missing")
    told = _Markers(texts.get("Markers"))
    takes = {name: _take(signals[name], texts.get(f"{name}-quality"), told, path) for name in names}
    return _gathered(head, notes, takes)


def _gathered(head: dict[str, Any], notes: Sequence[dict[str, Any]], takes: dict[str, Take]) -> _Recorded:
    lost: dict[str, float] = {}
    losses: list[tuple[str, float, float]] = []
    markers: list[tuple[float, str, str]] = []
    for note in notes:
        if "late" in note:
            takes[note["late"]].late.append((note["from"], note["to"], float(note["arrived_s"])))
            if note["late"] in lost:
                losses.append((note["late"], lost.pop(note["late"]), float(note["arrived_s"])))
        elif note.get("health") == "lost" and note["stream"] in takes:
            lost[note["stream"]] = float(note["since_s"])
        elif "marker" in note:
            markers.append((float(note["at_s"]), str(note["marker"]), str(note["source"])))
    losses += [(name, since_s, math.inf) for name, since_s in lost.items()]
    newest_s = max((float(t.times[-1]) for t in takes.values() if len(t.times)), default=float(head["begin_s"]))
    end_s = next((float(note["end_s"]) for note in notes if "end_s" in note), newest_s)
    return _Recorded(float(head["begin_s"]), float(head["late_s"]), str(head["main"]), takes, end_s, losses, markers)


def _take(stream: Any, quality: Any, told: _Markers, path: Path) -> Take:
    times = np.asarray(stream["time_stamps"], dtype=np.float64)
    scale, info = _described(stream, path)
    data = np.asarray(stream["time_series"]).reshape(len(times), info.n_channels)
    info = replace(info, source_id=neutral_name("xdf", data))
    lines = [str(v[0]) for v in quality["time_series"]] if quality is not None else []
    numbers, flags = sample_numbers(lines, len(times)), row_flags(lines, len(times))
    take = Take(data if scale is None else data * scale, times, numbers, flags & ~int(Flag.SILENT), info)
    for entry in map(json.loads, lines):
        if "event" in entry:
            number = int(entry["sample"])
            row = min(int(np.searchsorted(numbers, number)), len(times) - 1)
            near_s = float(times[row]) + (number - int(numbers[row])) / info.sfreq
            time_s = told.nearest(str(entry["event"]), near_s)
            take.events.append(Event(number, time_s, str(entry["event"]), str(entry["source"])))
    take.events.sort(key=lambda e: e.sample)
    return take


class _Markers:
    """When markers were, to the bit; the quality lines only know their samples."""

    def __init__(self, stream: Any) -> None:
        self._times: dict[str, list[float]] = {}
        if stream is not None:
            for at_s, value in zip(stream["time_stamps"], stream["time_series"], strict=True):
                self._times.setdefault(str(value[0]), []).append(float(at_s))

    def nearest(self, code: str, near_s: float) -> float:
        """Return the time of the marker `code` that is nearest to `near_s`; each is given once."""
        times = self._times.get(code, [])
        return times.pop(min(range(len(times)), key=lambda k: abs(times[k] - near_s))) if times else near_s


def _described(stream: Any, path: Path) -> tuple[NDArray[np.float64] | None, StreamInfo]:
    """Return what converts the samples to the units of the channels (None: nothing) and what the stream is."""
    head = stream["info"]
    try:
        nodes = head["desc"][0]["channels"][0]["channel"]
    except (KeyError, TypeError, IndexError):
        raise FormatError(f"expected the channels of {head['name'][0]} in {path.name}, it has none") from None
    scale, channels = described([xdf_entry(node) for node in nodes], head["type"][0] or "eeg")
    info = StreamInfo(head["name"][0], float(head["nominal_srate"][0]), channels, meta={"recorded": "true"})
    return scale, info
