"""Receive a Lab Streaming Layer stream, with its markers."""

from __future__ import annotations

import logging
import math
import socket
from collections import deque
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from bci.acquisition.driver import SILENCE_S, Driver, Samples
from bci.acquisition.durations import check_durations
from bci.acquisition.lsl_find import find, streams
from bci.acquisition.lsl_link import LslLink, Piece
from bci.acquisition.lsl_local import load_pylsl
from bci.acquisition.lsl_marks import LslMarks
from bci.acquisition.montage import Entry, described
from bci.acquisition.stamps import STEP_BACK_S, StampTracker
from bci.clock import Clock, ManualClock, MonotonicClock
from bci.errors import ConfigError, DeviceLost
from bci.stream import Flag, StreamInfo, listed

if TYPE_CHECKING:
    import pylsl

__all__ = ["END", "LslInlet", "LslReplay", "streams"]

_log = logging.getLogger(__name__)

END = "bci:end"
"""Marker with which a served recording says that it is over."""
_CORRECT_EVERY_S = 2.0
_SAME_CLOCK_S = 0.01
"""Two programs on hosts of one name share a clock if it was measured to differ by less, s."""


class LslInlet(Driver):
    """A stream of the Lab Streaming Layer [1]_, found by name, type, source id or host.

    Waits on the data themselves, without polling. Lost samples are told from
    the time stamps (`bci.acquisition.stamps`). A sender that was restarted is
    found again at once by its source id; what is missing then is counted, with
    its cause. A stream of `lsl_serve` that is not sent at real time runs on its
    own clock, which stands at its newest sample.

    Parameters
    ----------
    name, type, source_id, hostname : str
        What the stream must have; what is empty does not matter. Give at least one of the first three.
    markers : str, optional
        Name of a stream of markers (texts or numbers) that become events; "" for none.
    allow_unnamed : bool, default=False
        Whether to take streams without a source id, which cannot be found again when their sender was restarted.
    timeout_s : float, default=5
        How long to look for the streams, s.
    silence_s : float, default=0.22
        See `bci.acquisition.driver.Driver`.
    max_age_s : float, default=1
        Samples older than this when they arrive are flagged STALE: after a cut
        of the network LSL delivers what had waited, s.
    buffer_s : float, default=360
        What is kept for a reader that is late, s; more than that is lost, flagged OVERFLOW and counted.
    clock : Clock, optional
        Session clock.

    Raises
    ------
    ConfigError
        If nothing is asked for; from `open`, if several streams fit, what fits has no source id or shares it, the
        rate is irregular, or the samples are text.
    DeviceNotFound
        From `open`, with the streams that were there.
    DeviceLost
        From `open` and `start`, if the sender does not answer; from `read`, if it is gone and, having no source id
        or other channels than before, cannot come back.

    Notes
    -----
    `report` has, beside what every driver says: ``restarts``, a list of dicts with ``time`` (s, first sample after
    it), ``away`` (s without samples), ``lost`` (samples) and ``cause``; ``marker_breaks``, a list of dicts with
    ``stream``, ``time`` and ``back`` (s; None while it lasts), and ``clock_offsets``, a list of dicts with ``time``,
    ``offset`` and ``uncertainty`` (s): what is added to the sender's clock to have LSL's clock here.

    References
    ----------
    .. [1] C. Kothe et al. The lab streaming layer for synchronized multimodal
       recording. Imaging Neuroscience, 2025. doi:10.1162/IMAG.a.136
    """

    def __init__(
        self,
        name: str = "",
        *,
        type: str = "",
        source_id: str = "",
        hostname: str = "",
        markers: str = "",
        allow_unnamed: bool = False,
        timeout_s: float = 5.0,
        silence_s: float = SILENCE_S,
        max_age_s: float = 1.0,
        buffer_s: float = 360.0,
        clock: Clock | None = None,
    ) -> None:
        super().__init__(clock=clock, silence_s=silence_s, max_age_s=max_age_s)
        self.query = {k: v for k, v in (("name", name), ("type", type), ("source_id", source_id)) if v}
        if not self.query:
            raise ConfigError("an LSL stream needs a name, type or source_id to be found by, got none; try lsl:NAME")
        check_durations(timeout_s=timeout_s, buffer_s=buffer_s)
        if timeout_s == math.inf:
            raise ConfigError("an LSL stream is looked for in a limited time, got timeout_s = inf; give some seconds")
        if hostname:
            self.query["hostname"] = hostname
        self.markers, self.allow_unnamed = markers, allow_unnamed
        self.timeout_s, self.buffer_s = timeout_s, buffer_s
        self._given_clock = self._clock
        self._live = MonotonicClock()
        self._link: LslLink | None = None
        self._marker_link: LslMarks | None = None

    # --------------------------------------------------------------- report
    def report(self) -> dict[str, Any]:
        """Return what happened since `start`, see `Driver.report` and the notes of the class."""
        offsets = self._link.offsets if self._link is not None else ()
        return super().report() | {
            "restarts": [dict(r) for r in self._restarts],
            "marker_breaks": [dict(b) for b in self._marker_link.breaks] if self._marker_link is not None else [],
            "clock_offsets": [
                {"time": o.time_s, "offset": o.offset_s, "uncertainty": o.uncertainty_s} for o in list(offsets)
            ],
        }

    # ---------------------------------------------------------------- hooks
    def _open(self) -> StreamInfo:
        lsl = load_pylsl()
        head = find(self.query, self.timeout_s, self.allow_unnamed)
        _check(head)
        self._marker_link = None
        if self.markers:
            found = find({"name": self.markers}, self.timeout_s, self.allow_unnamed)
            self._marker_link = LslMarks(found)
            self._same_host = found.hostname() == head.hostname()
        self._link = LslLink(head, self.buffer_s)
        full = self._link.open(self.timeout_s)
        self._same_clock = head.hostname() == socket.gethostname()
        self._scale, info = _describe(full)
        self._adopt(full.desc().child("bci"), lsl)
        return info

    def _start(self) -> None:
        assert self._link is not None
        lsl = load_pylsl()
        # Both run on monotonic clocks; they may begin at different zeros.
        self._zero_s = lsl.local_clock() - (
            self._clock.now() if self._clock is self._given_clock else lsl.local_clock()
        )
        self._tracker = StampTracker(self.info.sfreq, trusted=self._is_served)
        self._correction_s = 0.0
        self._last_stamp = math.nan
        self._connection = 0
        self._waiting: deque[Samples] = deque()
        self._end_stamp = math.inf
        if self._marker_link is not None:
            self._marker_link.start(self.timeout_s)
        if not self._same_clock:
            self._measure(self.timeout_s)
        self._shift_s = self._zero_s - self._correction_s
        self._corrected_at_s = self._live.now()
        self._link.start(self.timeout_s)

    def _read(self, timeout_s: float) -> Samples | None:
        assert self._link is not None
        if self._waiting:
            return self._waiting.popleft()
        piece = self._link.take(timeout_s)
        # Markers after the data: one that was sent before these samples is here by now.
        self._take_markers()
        if piece is None:
            if self._link.is_gone:
                raise DeviceLost(
                    f"expected samples of {self._name}, the sender is gone and {self._link.why_gone}; start it again "
                    "and open the stream anew"
                )
            self._see_end()
            return None
        self._split(piece)
        return self._waiting.popleft() if self._waiting else None

    def _stop(self) -> None:
        for link in (self._link, self._marker_link):
            if link is not None:
                link.stop()

    def _close(self) -> None:
        self._stop()

    def _wall(self) -> float:
        # Silence is of this world even where the samples are stamped by a recording's clock.
        return self._live.now()

    def _reset(self) -> None:
        super()._reset()
        self._restarts: list[dict[str, Any]] = []

    # -------------------------------------------------------------- private
    def _adopt(self, served: Any, lsl: Any) -> None:
        """Take on what `lsl_serve` says about its stream."""
        self._is_served = not served.empty()
        self._clock = self._given_clock
        if self._is_served and served.child_value("speed") != "1.0":
            self._clock = ManualClock(lsl.local_clock())

    def _measure(self, timeout_s: float) -> None:
        """Take on the offset of the sender's clock; hosts of one name share a clock unless it is measured to differ."""
        assert self._link is not None
        offset = self._link.measure(timeout_s) if timeout_s else self._link.newest_offset
        if offset is None:
            return
        if self._same_clock and abs(offset.offset_s) > max(_SAME_CLOCK_S, 2 * offset.uncertainty_s):
            self._same_clock = False
        if not self._same_clock:
            self._correction_s = offset.offset_s

    def _correct(self) -> Flag:
        """Follow the sender's clock: slowly, so that times keep rising; a step is flagged."""
        if self._live.now() - self._corrected_at_s < _CORRECT_EVERY_S:
            return Flag.OK
        self._corrected_at_s = self._live.now()
        self._measure(0.0)
        error_s = self._zero_s - self._correction_s - self._shift_s
        if abs(error_s) > 0.05:
            self._shift_s += error_s
            return Flag.CLOCK_JUMP
        limit_s = 0.25 / self.info.sfreq
        self._shift_s += min(max(error_s, -limit_s), limit_s)
        return Flag.OK

    def _split(self, piece: Piece) -> None:
        """Queue what was received in contiguous runs."""
        data, stamps, flags = piece.data, piece.stamps, self._correct()
        lost, cause = 0, "a jump of the sender's time stamps"
        if piece.connection != self._connection:
            if piece.same_stream:  # our own sender repeats the last second, in case it was on its way
                new = stamps > self._last_stamp + 0.1 / self.info.sfreq
                data, stamps = data[new], stamps[new]
                if not len(stamps):
                    return
            lost, flags, cause = self._rejoin(piece, stamps, flags)
        elif float(stamps[0]) < self._last_stamp - STEP_BACK_S:
            lost, flags = self._begin_anew(), flags | Flag.CLOCK_JUMP
        elif piece.dropped:
            lost, cause = piece.dropped, f"they waited for more than {self.buffer_s:g} s to be read"
            self._tracker = StampTracker(self.info.sfreq, trusted=self._is_served)
        if piece.dropped:
            flags |= Flag.OVERFLOW
        self._last_stamp = float(stamps[-1])
        self._queue(data, stamps, lost, flags, cause)

    def _rejoin(self, piece: Piece, stamps: NDArray[np.float64], flags: Flag) -> tuple[int, Flag, str]:
        """Go on over a new connection; return what is missing (samples), flags and cause."""
        self._connection = piece.connection
        away_s = float(stamps[0]) - self._last_stamp
        gone_s = self._live.now() - self._last_data_s
        if self._marker_link is not None and not piece.same_stream:
            self._marker_link.look_for_successor()
        if not math.isfinite(away_s) or not -0.5 / self.info.sfreq < away_s < gone_s + self.buffer_s:
            # Another clock: it tells nothing about what is missing, ours does.
            away_s, lost, flags = gone_s, self._begin_anew(), flags | Flag.CLOCK_JUMP
        else:
            self._tracker = StampTracker(self.info.sfreq, trusted=self._is_served)
            lost = max(0 if piece.same_stream else 1, round(away_s * self.info.sfreq) - 1)
        what = "the connection was made anew" if piece.same_stream else "the sender was restarted"
        cause = f"{piece.reason}, {what}"
        self._restarts.append({"time": float(stamps[0]) - self._shift_s, "away": away_s, "lost": lost, "cause": cause})
        return lost, flags, cause

    def _begin_anew(self) -> int:
        """Take over another clock; return the samples that are missing by ours."""
        self._tracker = StampTracker(self.info.sfreq, trusted=self._is_served)
        self._measure(0.0)
        self._shift_s = self._zero_s - self._correction_s
        return max(1, round((self._live.now() - self._last_data_s) * self.info.sfreq))

    def _queue(self, data: NDArray[Any], stamps: NDArray[np.float64], lost_first: int, flags: Flag, cause: str) -> None:
        times, losses = self._tracker.follow(stamps, self._shift_s)
        if self._scale is not None:
            data = data * self._scale
        elif data.dtype.kind != "f":
            data = data.astype(np.float64)
        if isinstance(self._clock, ManualClock):
            self._clock.advance_to(float(times[-1]))
        if not losses:
            self._waiting.append(Samples(data, times, lost_first, flags, cause=cause))
            return
        cuts = [(0, lost_first), *((row, lost) for row, lost in losses if row), (len(data), 0)]
        cuts[0] = (0, lost_first + sum(lost for row, lost in losses if not row))
        for (row, lost), (end, _) in zip(cuts, cuts[1:], strict=False):
            self._waiting.append(Samples(data[row:end], times[row:end], lost, flags, cause=cause))
            flags, cause = Flag.OK, "a jump of the sender's time stamps"

    def _take_markers(self) -> None:
        link = self._marker_link
        for code, stamp in link.take() if link is not None else ():
            if self._is_served and code == END:
                self._end_stamp = stamp
            else:
                self.mark(code, stamp - self._marker_shift_s(), self.markers)

    def _marker_shift_s(self) -> float:
        if self._same_host:  # one clock: markers and samples must be moved alike, to the bit
            return self._shift_s
        assert self._marker_link is not None
        return self._zero_s - self._marker_link.follow_clock(self.timeout_s)

    def _see_end(self) -> None:
        """See whether a served recording has delivered its last sample (or will never)."""
        if self._end_stamp == math.inf:
            return
        reached = self._last_stamp >= self._end_stamp - 0.5 / self.info.sfreq
        if reached or self._live.now() - self._last_data_s > self.timeout_s:
            self._ended = True


class LslReplay(LslInlet):
    """A recording that another process sends (`bci.acquisition.lsl_serve`): a stream with its markers and an end.

    Parameters
    ----------
    name : str
        Name of the stream; its markers are "NAME-markers".
    timeout_s : float, default=30
        How long to look for it, s.
    buffer_s : float, default=3600
        What LSL keeps for a reader that is late, s.
    clock : Clock, optional
        Session clock.

    Raises
    ------
    ConfigError
        From `open`, if the stream is no recording.
    """

    def __init__(
        self, name: str, *, timeout_s: float = 30.0, buffer_s: float = 3600.0, clock: Clock | None = None
    ) -> None:
        super().__init__(name, markers=f"{name}-markers", timeout_s=timeout_s, buffer_s=buffer_s, clock=clock)

    @property
    def at_end(self) -> bool:
        """True once everything was delivered."""
        return self._ended

    def _adopt(self, served: Any, lsl: Any) -> None:
        super()._adopt(served, lsl)
        if served.child_value("ends") != "true":
            raise ConfigError(
                f"expected the recording that lsl_serve sends as {self.query['name']!r}, got a live stream; "
                f"use lsl:{self.query['name']}"
            )


def _check(head: pylsl.StreamInfo) -> None:
    if head.nominal_srate() <= 0 or head.channel_format() == load_pylsl().cf_string:
        raise ConfigError(
            f"expected an LSL stream of numbers at a regular rate, got {head.name()!r} of type {head.type()!r}, which "
            "has no rate or is text; choose the signal stream (text streams go into markers=)"
        )


def _describe(full: pylsl.StreamInfo) -> tuple[NDArray[np.float64] | None, StreamInfo]:
    """Return what converts the samples to µV (None: nothing) and the description of the stream."""
    entries: list[Entry] = []
    node = full.desc().child("channels").child("channel")
    for _ in range(full.channel_count()):
        entries.append(_entry(node))
        node = node.next_sibling("channel")
    scale, channels = described(entries, full.type())
    unsaid = [c.name for c, entry in zip(channels, entries, strict=True) if c.unit == "uV" and not entry("unit")]
    if unsaid:
        _log.warning("LSL stream %s states no unit of %s: taken for µV, as is LSL's convention; let the sender state "
                     "it if it is another", full.name(), listed(unsaid, 5))  # fmt: skip
    meta = {"host": full.hostname(), "type": full.type()}
    return scale, StreamInfo(full.name(), full.nominal_srate(), channels, full.source_id(), meta)


def _entry(node: Any) -> Entry:
    def text(*path: str) -> str:
        at = node
        for key in path[:-1]:
            at = at.child(key)
        return str(at.child_value(path[-1]))

    return text
