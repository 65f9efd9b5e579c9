"""What a rig writes down: its streams, and in a text stream "Rig" what only the rig knows.

Each line of "Rig" is a JSON object with one of: ``begin_s`` (with ``late_s``, ``main``, ``streams``), ``late`` (a
stream; its samples ``from`` to ``to`` (excluded) arrived at ``arrived_s``, too late for some windows), ``health`` (of
a ``stream``, since ``since_s``, with its ``cause``), ``clock`` (what is known of the clock of a ``stream``),
``marker`` (an event ``at_s`` of a stream of markers, or of the program itself), ``end_s``. Times are those of the
session clock.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from bci.acquisition.rig_reader import Reader
from bci.acquisition.rig_source import Arrival, Health
from bci.errors import DataError, RecordingError
from bci.stream import Flag, StreamInfo

TEXT = "Rig"
_CLOCKS_S = 10.0


class RigLog:
    """Count what comes, and write it into a recorder once one is attached."""

    def __init__(self) -> None:
        self._recorder: Any = None
        self._events = True
        self._handles: dict[str, int] = {}
        self._text = self._marker_text = -1
        self._begun: dict[str, Any] = {}
        self._reset()

    def _reset(self) -> None:
        self._changes: dict[str, list[dict[str, Any]]] = {}
        self._delivered: dict[str, int] = {}
        self._first: dict[str, int] = {}
        self._next: dict[str, int] = {}
        self._lost: set[str] = set()
        self._back_s: dict[str, float] = {}
        self._clocks_at_s = float("-inf")

    def begin(self, begin_s: float, late_s: float, main: str, streams: tuple[str, ...]) -> None:
        """Begin anew."""
        self._reset()
        self._begun = {"begin_s": begin_s, "late_s": late_s, "main": main, "streams": streams}
        self._note(begin_s, self._begun)

    def attach(self, recorder: Any, infos: Mapping[str, StreamInfo], *, events: bool = True) -> None:
        """Write the streams `infos` into `recorder` from now on, with their events or without."""
        self._recorder, self._events = recorder, events
        self._handles = {name: recorder.add_stream(info) for name, info in infos.items()}
        self._text = recorder.add_text(TEXT)
        self._marker_text = recorder.add_text("Markers")
        if self._begun:
            self._note(self._begun["begin_s"], self._begun)

    def write(self, arrival: Arrival) -> None:
        """Take note of one arrival, and write it."""
        if arrival.status is not None:
            status = arrival.status
            entry = {"health": status.health.value, "since_s": status.since_s, "cause": status.cause}
            self._changes.setdefault(arrival.name, []).append(
                {"time": status.since_s, "health": status.health.value, "cause": status.cause}
            )
            if status.health is Health.LOST:
                self._lost.add(arrival.name)
            self._note(arrival.arrived_s, {**entry, "stream": arrival.name})
        if arrival.chunk is not None and arrival.chunk.n_samples:
            self._count(arrival)
        if self._recorder is None:
            return
        if arrival.chunk is not None and arrival.name in self._handles:
            chunk = arrival.chunk if self._events else arrival.chunk.replace(events=())
            self._recorder.write(self._handles[arrival.name], chunk)
        for event in arrival.events if self._events else ():
            self._note(event.time, {"marker": event.code, "source": event.source, "at_s": event.time})
            self._recorder.write_text(self._marker_text, event.time, event.code)

    def clocks(self, now_s: float, readers: Mapping[str, Reader]) -> None:
        """Write now and then what is known of the clocks."""
        if self._recorder is None or now_s - self._clocks_at_s < _CLOCKS_S:
            return
        self._clocks_at_s = now_s
        for name, reader in readers.items():
            self._note(now_s, {"clock": reader.described_clock(), "stream": name})

    def end(self, end_s: float) -> None:
        """Write where reading ended, and let go of the recorder; never raises."""
        with suppress(DataError, RecordingError):  # closed or full already: the end is then that of the samples
            self._note(end_s, {"end_s": end_s})
        self._recorder = None

    def changes(self, name: str) -> list[dict[str, Any]]:
        """Return how a stream's health changed."""
        return [dict(c) for c in self._changes.get(name, [])]

    def counts(self, name: str) -> dict[str, int]:
        """Return samples delivered by a stream, and lost between them."""
        delivered = self._delivered.get(name, 0)
        return {"delivered": delivered, "lost": self._next.get(name, 0) - self._first.get(name, 0) - delivered}

    # -------------------------------------------------------------- private
    def _count(self, arrival: Arrival) -> None:
        chunk, name = arrival.chunk, arrival.name
        assert chunk is not None
        # A gap before the first sample is a loss too; elsewhere the count begins where the stream does.
        self._first.setdefault(name, 0 if Flag.GAP in chunk.flags else chunk.start)
        self._next[name] = chunk.stop
        self._delivered[name] = self._delivered.get(name, 0) + chunk.n_samples
        first_s = float(chunk.times[0])
        if name in self._lost:
            self._lost.discard(name)
            self._back_s[name] = arrival.arrived_s
        if arrival.arrived_s > first_s + self._begun["late_s"] or first_s < self._back_s.get(name, float("-inf")):
            self._note(
                arrival.arrived_s,
                {"late": name, "from": chunk.start, "to": chunk.stop, "arrived_s": arrival.arrived_s},
            )

    def _note(self, time_s: float, entry: Mapping[str, Any]) -> None:
        if self._recorder is not None:
            self._recorder.write_text(self._text, time_s, json.dumps(entry))
