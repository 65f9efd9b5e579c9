"""Replay a recording as a device."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Literal

import numpy as np

from bci.acquisition.driver import NEXT_RECORDING, NEXT_ROUND, Driver, Samples
from bci.acquisition.recording import Part, load
from bci.clock import Clock, ManualClock, MonotonicClock
from bci.errors import ConfigError, DataError
from bci.stream import Event, Flag, StreamInfo


class Replay(Driver):
    """A recording, delivered as it was, at any speed.

    Parameters
    ----------
    path : str, Path, or sequence of them
        Recordings of the same channels; several follow one another with a gap
        of one sample between them, so that no filter or window runs across.
    speed : float or "max", default="max"
        1 plays in real time. At "max" and at every other speed the stream runs
        on its own clock, which stands at its newest sample, so results do not
        depend on speed.
    chunk_s : float, default=0.04
        Length of one chunk, s.
    chunk_samples : int, optional
        Length of one chunk in samples; overrules `chunk_s`.
    stream : str, optional
        Name of the stream in an XDF file; the first with EEG by default.
    loop : bool, default=False
        Begin again at the end, for ever: numbers and times go on rising, and a gap of one sample parts the rounds.
    sfreq : float, optional
        Sampling rate of a CSV or NumPy file that does not say it, Hz.
    ch_names : sequence of str, optional
        Channel names of a NumPy file that does not say them; the columns to take of a CSV file.
    unit : str, optional
        Unit of the numbers of a CSV or NumPy file; µV by default.
    time_unit : {"s", "ms", "us", "ns"}, optional
        Unit of the times in a CSV or NumPy file, where the name of their column does not say it.
    salvage : bool, default=False
        Play what is whole of a damaged file, where its format lets one tell, instead of refusing it.
    progress : callable, optional
        Told how much of all files is read when the device is opened, 0 to 1.
    events : mapping of str to str, optional
        Events to keep and what they are called here, as in ``{"T1": "left"}``;
        all, unchanged, by default.
    rename : mapping of str to str, optional
        Other names for some events; the others are kept as they are.
    clock : Clock, optional
        Session clock.

    Raises
    ------
    ConfigError
        If a setting is out of range.
    DeviceNotFound
        From `open`, if there is no such file.
    FormatError
        From `open`, if the file is damaged or of an unknown format.
    """

    def __init__(
        self,
        path: str | Path | Sequence[str | Path],
        *,
        speed: float | Literal["max"] = "max",
        chunk_s: float = 0.04,
        chunk_samples: int | None = None,
        stream: str | None = None,
        loop: bool = False,
        sfreq: float | None = None,
        ch_names: Sequence[str] | None = None,
        unit: str | None = None,
        time_unit: str | None = None,
        salvage: bool = False,
        progress: Callable[[float], None] | None = None,
        events: Mapping[str, str] | None = None,
        rename: Mapping[str, str] | None = None,
        clock: Clock | None = None,
    ) -> None:
        # Not a public setting: recordings describe those, and the name of a file may be that of a person.
        self._paths = [Path(p) for p in ([path] if isinstance(path, str | Path) else path)]
        self.speed = float("inf") if speed == "max" else float(speed)
        if (
            not self.speed > 0
            or not chunk_s > 0
            or (chunk_samples is not None and chunk_samples < 1)
            or not self._paths
        ):
            raise ConfigError(
                f"a replay needs a file, a speed above 0 or 'max', and chunks of a sample or more, got {self._paths}, "
                f"speed {speed}, chunk_s {chunk_s}, chunk_samples {chunk_samples}"
            )
        own_time = self.speed != 1.0
        if own_time and clock is not None and not isinstance(clock, ManualClock):
            raise ConfigError(f"speed {speed} needs a ManualClock, got {type(clock).__name__}; leave the clock out")
        super().__init__(clock=clock or (ManualClock() if own_time else MonotonicClock()))
        self.chunk_s, self.chunk_samples, self.stream = chunk_s, chunk_samples, stream
        self.loop, self.sfreq, self.unit, self.time_unit, self.salvage = loop, sfreq, unit, time_unit, salvage
        self.ch_names = None if ch_names is None else tuple(ch_names)
        self._progress = progress or (lambda _: None)
        self.events = dict(events) if events is not None else None
        self.rename = dict(rename or {})
        self._parts: list[Part] = []

    @property
    def at_end(self) -> bool:
        """True once everything was delivered; never, if it is played in a loop."""
        return self._ended

    @property
    def duration_s(self) -> float:
        """Length of the recording (of one round), s; known once it is open."""
        return sum(len(p.data) for p in self._parts) / self.info.sfreq

    def has_event(self, code: str) -> bool:
        """Return whether an event `code` is in the recording; known once it is open."""
        return any(self._named(e) == code for part in self._parts for e in part.events)

    # ---------------------------------------------------------------- hooks
    def _open(self) -> StreamInfo:
        self._parts = []
        for number, path in enumerate(self._paths):
            parts = self._load(path, number)
            if self._parts:  # one sample is left out between two recordings
                shift = self._parts[-1].stop + 1 - parts[0].offset
                parts[0].lost, parts[0].cause = 1, NEXT_RECORDING
                for part in parts:
                    part.offset += shift
            self._parts += parts
        info = self._parts[0].info
        for part in self._parts[1:]:
            if part.info.ch_names != info.ch_names or part.info.sfreq != info.sfreq:
                raise DataError(
                    f"recordings played in a row need the same channels and rate, got {info.n_channels} at "
                    f"{info.sfreq:g} Hz and {part.info.n_channels} at {part.info.sfreq:g} Hz; replay them one by one"
                )
        return info

    def _load(self, path: Path, number: int) -> list[Part]:
        def progress(done: float) -> None:
            self._progress((number + done) / len(self._paths))

        return load(path, self.stream, sfreq=self.sfreq, ch_names=self.ch_names, unit=self.unit,
                    time_unit=self.time_unit, salvage=self.salvage, progress=progress)  # fmt: skip

    def _start(self) -> None:
        self._part = self._row = self._shift = 0
        self._begin_s = self._clock.now()
        self._wall_begin_s = time.monotonic()

    def _read(self, timeout_s: float) -> Samples | None:
        if self._part >= len(self._parts):
            if not self.loop:
                self._ended = True
                return None
            self._part, self._shift = 0, self._shift + self._parts[-1].stop + 1 - self._parts[0].offset
        part = self._parts[self._part]
        begin = self._shift + part.offset
        n = self.chunk_samples or max(1, round(self.chunk_s * self.info.sfreq))
        rows = slice(self._row, min(self._row + n, len(part.data)))
        if not self._wait(begin + rows.stop, timeout_s):
            return None
        lost, cause, flags = part.lost, part.cause, part.flags
        if self._shift and not self._part:
            lost, cause = 1, NEXT_ROUND
        if self._row:
            lost, cause, flags = 0, "", flags & ~Flag.GAP
        times = self._begin_s + (begin + np.arange(rows.start, rows.stop)) / self.info.sfreq
        found = part.between(rows.start, rows.stop)
        events = tuple((e.sample - rows.start, self._named(e), e.source) for e in found if self._named(e))
        self._row = rows.stop
        if self._row >= len(part.data):
            self._part, self._row = self._part + 1, 0
        if isinstance(self._clock, ManualClock):
            self._clock.advance_to(float(times[-1]))
        return Samples(part.data[rows], times, lost, flags, events, cause)

    def _stop(self) -> None:
        return

    def _close(self) -> None:
        self._parts = []

    def _wall(self) -> float:
        # A recording is never silent: what waits is the player.
        return 0.0

    def _wait(self, number: int, timeout_s: float) -> bool:
        """Pace, through gaps as well; return False if sample `number` is not due within `timeout_s`."""
        if self.speed == float("inf"):
            return True
        due_s = self._wall_begin_s + number / (self.info.sfreq * self.speed)
        now_s = time.monotonic()
        time.sleep(max(0.0, min(due_s - now_s, timeout_s)))
        return due_s - now_s <= timeout_s

    def _named(self, event: Event) -> str:
        return self.rename.get(event.code, event.code) if self.events is None else self.events.get(event.code, "")
