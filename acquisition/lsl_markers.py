"""A marker stream of the Lab Streaming Layer by itself, without a signal: for a rig."""

from __future__ import annotations

from bci.acquisition.lsl_find import find
from bci.acquisition.lsl_local import load_pylsl
from bci.acquisition.lsl_marks import LslMarks
from bci.clock import Clock, MonotonicClock
from bci.errors import DeviceError, DeviceLost

_SAME_CLOCK_S = 0.001
"""Clocks that were measured to differ by less are one: on one machine the difference is that of the measurement, s."""


class LslMarkers:
    """Markers of an LSL stream, texts or numbers, as a `bci.acquisition.rig_source.MarkerSource`.

    Parameters
    ----------
    name : str
        Name of the stream.
    timeout_s : float, default=5
        How long to look for it, s.
    allow_unnamed : bool, default=False
        Whether a stream without a source id is taken.
    clock : Clock, optional
        Session clock.

    Raises
    ------
    DeviceNotFound, ConfigError
        From `open`, if there is no such stream, or more than one.
    DeviceLost
        From `read`, if the sender is gone and, having no source id, cannot come back.
    """

    def __init__(
        self, name: str, *, timeout_s: float = 5.0, allow_unnamed: bool = False, clock: Clock | None = None
    ) -> None:
        self.name, self.timeout_s, self.allow_unnamed = name, timeout_s, allow_unnamed
        self._clock: Clock = clock if clock is not None else MonotonicClock()
        self._link: LslMarks | None = None
        self._source_id = ""

    def open(self) -> None:
        """Find the stream."""
        head = find({"name": self.name}, self.timeout_s, self.allow_unnamed)
        self._link, self._source_id = LslMarks(head), head.source_id()

    def start(self) -> None:
        """Begin to receive; `DeviceLost` if the sender does not answer."""
        # Both run on monotonic clocks; they may begin at different zeros.
        self._zero_s = load_pylsl().local_clock() - self._clock.now()
        self._opened().start(self.timeout_s)

    def read(self, timeout_s: float) -> list[tuple[float, str]]:
        """Return (time in s on the session clock, code) of what has arrived, waiting up to `timeout_s` for it."""
        link = self._opened()
        taken = link.take(timeout_s)
        if link.breaks and link.breaks[-1]["back"] is None and not self._source_id and not taken:
            raise DeviceLost(
                f"expected markers of {self.name!r}, the sender is gone and has no source_id to be found by; start it "
                "again, with one"
            )
        if not taken:
            return []
        offset_s = link.follow_clock(self.timeout_s)
        shift_s = (0.0 if abs(offset_s) < _SAME_CLOCK_S else offset_s) - self._zero_s
        return [(stamp + shift_s, code) for code, stamp in taken]

    def close(self) -> None:
        """Disconnect; any number of times."""
        link, self._link = self._link, None
        if link is not None:
            link.stop()

    def _opened(self) -> LslMarks:
        if self._link is None:
            raise DeviceError(f"markers of {self.name!r} are read from a stream that is open; open() it first")
        return self._link
