"""A rig as the device of a session: it decides on one stream, the others run and are recorded beside it."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from bci.acquisition.rig import Rig
from bci.acquisition.rig_replay import RigReplay
from bci.clock import Clock
from bci.errors import ConfigError
from bci.ports import AcceptsMarkers, AnswersCues
from bci.stream import Chunk, Event, Flag, StreamInfo


class MainStream:
    """The main stream of a rig, which is opened, started and closed with it.

    The events of all other streams are merged into it, at the sample that was taken when they happened; their
    `Event.source` is the stream they come from. If the main stream is lost it is silent until it is back, as the
    others are: effectors halt, the recording goes on.

    Parameters
    ----------
    streams : Rig or mapping of str to str
        A rig that is closed, or its devices by name, as ``{"eeg": "lsl:Amp", "emg": "lsl:Arm"}``.
    main : str, optional
        The stream that is decided on; that of the rig, or the first, by default.

    Raises
    ------
    ConfigError
        From `open`, if the device of the main stream does not accept markers.

    Examples
    --------
    >>> Session(MainStream({"eeg": "lsl:Amp", "emg": "lsl:Arm"}))  # doctest: +SKIP
    """

    def __init__(self, streams: Rig | Mapping[str, str], *, main: str = "") -> None:
        self.rig = rig = streams if isinstance(streams, Rig) else Rig(streams, main=main or None)
        self.main, self.streams = rig.main, rig.names
        self.devices = {name: rig.reader(name).device for name in rig.names}
        self._waiting: deque[Chunk] = deque()
        self._reader = rig.reader(rig.main)
        self._next = 0

    # ------------------------------------------------------------ lifecycle
    def open(self) -> StreamInfo:
        """Open all devices of the rig, or none."""
        if not isinstance(self._reader.device, AcceptsMarkers):
            raise ConfigError(
                f"the main stream takes the events of the others, {self.rig.main!r} is a "
                f"{type(self._reader.device).__name__}, which accepts no markers; choose another with main="
            )
        return self.rig.open()[self.rig.main]

    def start(self) -> None:
        """Let all streams flow."""
        self._waiting.clear()
        self._next = 0
        self.rig.start()

    def stop(self) -> None:
        """Stop all streams; the rig is closed with them, since devices in threads cannot be held in between."""
        self.rig.close()

    def close(self) -> None:
        """Close all devices."""
        self.rig.close()

    # ----------------------------------------------------------- main verbs
    def read(self, timeout_s: float) -> Chunk:
        """Return what has arrived of the main stream, waiting up to `timeout_s` for the first sample."""
        until_s = self.clock.now() + timeout_s
        while not self._waiting:
            left_s = until_s - self.clock.now()
            self._take(max(0.0, left_s))
            if left_s <= 0 or self.rig.at_end:
                break
        chunk = self._waiting.popleft() if self._waiting else self._nothing()
        self._next = max(self._next, chunk.stop)
        return chunk

    def mark(self, code: str, time_s: float) -> None:
        """Attach an event that happened at `time_s` (session clock)."""
        self._reader.mark(code, time_s, "")

    def respond(self, code: str, time_s: float) -> None:
        """Show `code` to every simulated person of the rig at `time_s` (session clock); of real ones there is none."""
        for name in self.rig.infos:
            reader = self.rig.reader(name)
            if isinstance(reader.device, AnswersCues):
                reader.device.respond(code, reader.shown(time_s))

    def record_beside(self, recorder: Any) -> None:
        """Write the other streams into the session's recorder."""
        self.rig.record_beside(recorder)

    def report(self) -> dict[str, Any]:
        """Return what happened to each stream; see `bci.acquisition.rig.Rig.report`."""
        return self.rig.report()

    @property
    def clock(self) -> Clock:
        """The session clock."""
        return self.rig.clock

    # -------------------------------------------------------------- private
    def _take(self, timeout_s: float) -> None:
        for arrival in self.rig.read(timeout_s):
            if arrival.name == self.rig.main:
                if arrival.chunk is not None:
                    self._waiting.append(arrival.chunk)
                continue
            self._merge(arrival.events if arrival.chunk is None else arrival.chunk.events, arrival.name)

    def _merge(self, events: tuple[Event, ...], name: str) -> None:
        for event in events:
            self._reader.mark(event.code, event.time, name or event.source)

    def _nothing(self) -> Chunk:
        silent = self.clock.now() - self._heard_s() > self.rig.silence_of_s(self.rig.main)
        return Chunk.empty(self._reader.info, self._next, Flag.SILENT if silent else Flag.OK)

    def _heard_s(self) -> float:
        return self.rig.heard_s(self.rig.main)


class RecordedMainStream(MainStream):
    """The main stream of a recorded rig, with an end.

    Parameters
    ----------
    path : str or Path
        XDF file that a rig has recorded, or a session on a rig.
    speed : float or "max", default="max"
        Times real time.
    """

    def __init__(self, path: str | Path, *, speed: float | Literal["max"] = "max") -> None:
        super().__init__(RigReplay(path, speed=speed))

    @property
    def at_end(self) -> bool:
        """True once everything was delivered."""
        return self.rig.at_end and not self._waiting
