"""One turn of the loop: read, record, filter, cut."""

from __future__ import annotations

import json
import logging
import math
import time
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

from bci.clock import ManualClock, MonotonicClock
from bci.errors import BciError, ConfigError
from bci.ports import Device, HasEnd, HasOwnTime, RecordsBeside, Reports
from bci.runtime.describe import describe
from bci.runtime.intake import Intake, Overrun
from bci.runtime.slow import SlowWatch
from bci.runtime.verdicts import VerdictLog
from bci.runtime.warm import warming
from bci.signal.contact import measure, noted
from bci.signal.pipeline import Pipeline
from bci.signal.quality import Quality, QualityWatch
from bci.signal.window import Cut
from bci.stream import Chunk, Event, Flag, StreamInfo

_log = logging.getLogger(__name__)

READ_S = 0.02
"""Longest wait for samples: the effectors hear from the loop at least this often."""


class Recorder(Protocol):
    """What the session asks of a recorder (`bci.acquisition.recorder`)."""

    def open(self) -> object:
        """Create the file."""
        ...

    def add_stream(self, info: StreamInfo) -> int:
        """Begin a stream of samples; return its number."""
        ...

    def add_text(self, name: str) -> int:
        """Begin a stream of texts; return its number."""
        ...

    def write(self, stream_id: int, chunk: Chunk) -> None:
        """Write samples, events and flags."""
        ...

    def write_text(self, stream_id: int, time_s: float, text: str) -> None:
        """Write one text."""
        ...

    def close(self) -> None:
        """Finish the file."""
        ...


@dataclass(frozen=True, slots=True)
class Turn:
    """What one turn gave: the raw chunk, the windows it completed, time per stage (s), verdicts on the channels.

    `hint` says what is too slow, while something is.
    """

    chunk: Chunk
    cuts: list[Cut]
    stages: dict[str, float] = field(default_factory=dict)
    quality: Quality | None = None
    hint: str = ""

    @property
    def stop_s(self) -> float:
        """Position of the stream after this turn, s since it began."""
        return self.chunk.stop / self.chunk.info.sfreq

    def edge_s(self, code: str, after_s: float = float("-inf"), *, or_at: bool = False) -> float | None:
        """Position of the first event `code` after (or at) `after_s`, s since the stream began; None if not here."""
        found = (e.sample / self.chunk.info.sfreq for e in self.chunk.events if e.code == code)
        return next((s for s in found if s > after_s or (or_at and s == after_s)), None)

    def events_from(self, begin_s: float) -> list[Event]:
        """Return the events at `begin_s` (s since the stream began) or later."""
        return [e for e in self.chunk.events if e.sample / self.chunk.info.sfreq >= begin_s]


def keep_report(device: Device, recorder: Recorder, time_s: float) -> None:
    """Write what `device` reports (losses, silences, measured rate, clock offsets) into the text stream "Device"."""
    if isinstance(device, Reports):
        _write_report("Device", device.report(), recorder, time_s)


def _write_report(name: str, report: dict[str, Any], recorder: Recorder, time_s: float) -> None:
    if not math.isfinite(time_s):
        return  # nothing came
    try:
        recorder.write_text(recorder.add_text(name), time_s, json.dumps(describe(report)))
    except BciError as error:  # a disk that is full must not keep the device open
        _log.error("the report %r is not in the recording: %s", name, error)


def position_s(cut: Cut) -> float:
    """Return where a window ends, s since the stream began: the same at any rate the chain may give it."""
    return cut.chunk.stop / cut.chunk.info.sfreq


class Loop:
    """Read a device, record what it delivers, run the pipeline.

    Parameters
    ----------
    device : Device
        The source.
    pipeline : Pipeline
        Chain and window.
    recorder : Recorder, optional
        Keeps the raw samples before anything else touches them.
    on_turn : callable, optional
        Sees every turn; must not block.
    impedance : bool, default=False
        Measure the contacts before the stream begins; they stand in the header of the recording.
    overrun : {"block", "drop-oldest", "skip-to-newest"}, default="block"
        What is done when the loop does not keep up, see `bci.runtime.intake.Intake`.
    """

    def __init__(
        self,
        device: Device,
        pipeline: Pipeline,
        recorder: Recorder | None = None,
        on_turn: Callable[[Turn], None] | None = None,
        impedance: bool = False,
        overrun: Overrun = "block",
    ) -> None:
        self._impedance = impedance
        self._intake = Intake(device, self._keep, overrun)
        self._slow = SlowWatch(lambda: pipeline.chain.step_now)
        self._device, self._pipeline, self._recorder, self._on_turn = device, pipeline, recorder, on_turn
        self._stream = -1
        self._verdicts: VerdictLog | None = None
        self._again: Turn | None = None
        self.quality: QualityWatch | None = None
        """Judges the raw signal; exists once the device is open."""
        self._spent: dict[str, float] = {}
        """Time that the last turn took, s, by what people know the stages by."""
        self._open = self.is_turning = False
        self.info: StreamInfo | None = None
        self.next_s = float("-inf")
        """No sample before this time (session clock, s) will be delivered any more."""

    def open(self) -> StreamInfo:
        """Open the device, prepare the pipeline for it, begin the recording."""
        self._open = True
        with warming():
            self.info = self._device.open()
        used = self._pipeline.prepare(self.info)
        self.quality = QualityWatch(self.info, used.ch_names)
        contacts = measure(self._device, self.info) if self._impedance else {}
        self.quality.set_contact(contacts)
        if self._recorder is not None:
            self._recorder.open()
            self._stream = self._recorder.add_stream(noted(self.info, contacts))
            self._verdicts = VerdictLog(self.quality, self._recorder)
            if isinstance(self._device, RecordsBeside):
                self._device.record_beside(self._recorder)
        return self.info

    def start(self) -> None:
        """Let the samples flow."""
        self._device.start()
        self._intake.clock = self._device.clock if isinstance(self._device, HasOwnTime) else MonotonicClock()

    def turns(self) -> Iterator[Turn]:
        """Yield turns; ends only with a recording."""
        if self.info is None:
            raise ConfigError("the session is not open; use `with Session(...) as session:`")
        self.is_turning = True
        try:
            # Where the source waits for the loop, as a recording does, nothing is slow.
            with nullcontext() if isinstance(self._intake.clock, ManualClock) else self._slow:
                while True:
                    again, self._again = self._again, None
                    turn = again or self._turn()
                    signal_s = 0.0 if again else turn.chunk.n_samples / turn.chunk.info.sfreq
                    begin = self._begin("decoder and outputs", signal_s)
                    yield turn
                    self._slow.turn(signal_s, self._spent | {"decoder and outputs": time.perf_counter() - begin})
                    if isinstance(self._device, HasEnd) and self._device.at_end and not turn.chunk.n_samples:
                        return
        finally:
            self.is_turning = False

    def report(self) -> dict[str, Any]:
        """Return the policy for overruns, the samples that were left out, and the stages that were slow."""
        return self._intake.report() | {"slow": self._slow.report()}

    def put_back(self, turn: Turn) -> None:
        """Let the next phase see `turn` again: it holds the end of one phase and the begin of the next."""
        self._again = turn

    def close(self) -> None:
        """Stop and close device and recorder; what the device reports of its samples is the recording's last line."""
        if self._open:
            self._open = False
            if self._recorder is not None:
                keep_report(self._device, self._recorder, self.next_s)
                _write_report("Loop", self.report(), self._recorder, self.next_s)
            self._device.close()
            if self._recorder is not None:
                self._recorder.close()

    def _turn(self) -> Turn:
        begin = self._begin("")
        chunk = self._intake.take(READ_S)
        taken, recorded = time.perf_counter(), self._intake.record_s
        cuts, spent = self._push(chunk)
        stages = {"read": taken - begin - recorded, "record": recorded, **spent}
        self._spent["recording"] = recorded
        watch = self.quality
        flags = Flag.OK if watch is None else watch.flags
        chunk = replace(chunk, flags=chunk.flags | flags) if flags else chunk
        turn = Turn(chunk, cuts, stages, None if watch is None else watch.quality, self._slow.hint)
        if self._on_turn is not None:
            begin = self._begin("on_turn", chunk.n_samples / chunk.info.sfreq)
            self._on_turn(turn)
            self._spent["on_turn"] = time.perf_counter() - begin
        return turn

    def _keep(self, chunk: Chunk) -> None:
        """Record a raw chunk, before anything else touches it."""
        if chunk.n_samples:
            self.next_s = float(chunk.times[-1]) + 0.5 / chunk.info.sfreq
        if self._recorder is not None:
            self._begin("recording", chunk.n_samples / chunk.info.sfreq)
            self._recorder.write(self._stream, chunk)
            self._begin("")

    def _begin(self, stage: str, signal_s: float = 0.0) -> float:
        self._slow.begin(stage, signal_s)
        return time.perf_counter()

    def _push(self, chunk: Chunk) -> tuple[list[Cut], dict[str, float]]:
        """Return the windows that `chunk` completes, and the time spent on them per stage (s)."""
        begin = self._begin("judge of channels", chunk.n_samples / chunk.info.sfreq)
        parts = [chunk] if self.quality is None else self.quality.split(chunk)
        if self._verdicts is not None:
            self._verdicts.keep(chunk, self.next_s)
        judged = time.perf_counter() - begin
        spent, chain = {"blocks": judged, "window": 0.0}, self._pipeline.chain
        steps = [0.0] * len(chain.step_names)
        self._begin("windows", chunk.n_samples / chunk.info.sfreq)
        cuts: list[Cut] = []
        for part in parts:
            cuts += self._pipeline.push(part)
            spent = {name: spent[name] + s for name, s in self._pipeline.last_stages.items()}
            steps = [a + b for a, b in zip(steps, chain.spent_s, strict=True)]
        named = zip(chain.step_names, steps, strict=True)
        self._spent = {"judge of channels": judged, "windows": spent["window"], **dict(named)}
        return cuts, spent
