"""Windows across the streams of a rig, fed with what the rig reads."""

from __future__ import annotations

from collections import deque

from bci.acquisition.rig_source import Arrival, Health
from bci.signal.aligned import AlignedWindow, Aligner

_MOST_WINDOWS = 10_000


class Alignment:
    """Windows across the streams of a rig, as they become complete."""

    def __init__(self, aligner: Aligner) -> None:
        self.aligner = aligner
        self._ready: deque[AlignedWindow] = deque(maxlen=_MOST_WINDOWS)

    def take(self) -> list[AlignedWindow]:
        """Return the windows since the last call."""
        windows = list(self._ready)
        self._ready.clear()
        return windows

    def push(self, arrival: Arrival, arrived_s: float) -> None:
        """Take in what the rig has read."""
        if arrival.status is not None and arrival.status.health is Health.LOST and arrival.name in self.aligner.infos:
            self.aligner.lose(arrival.name, arrival.status.since_s)
        if arrival.chunk is not None:
            if arrival.chunk.n_samples:
                self.aligner.find(arrival.name, arrived_s)
            self.aligner.push(arrival.name, arrival.chunk, arrived_s)
        self.aligner.push_events(arrival.events)

    def collect(self, now_s: float) -> None:
        """Cut what is due."""
        self._ready.extend(self.aligner.due(now_s))
