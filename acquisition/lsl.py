"""Receive a Lab Streaming Layer stream, with its markers."""

from __future__ import annotations

import logging
import math
import os
import socket
import time
from collections import deque
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from bci.acquisition.driver import SILENCE_S, Driver, Samples
from bci.acquisition.montage import Entry, described
from bci.acquisition.stamps import STEP_BACK_S, StampTracker
from bci.clock import Clock, ManualClock, MonotonicClock
from bci.errors import ConfigError, DeviceLost, DeviceNotFound, PluginError
from bci.stream import Flag, StreamInfo

if TYPE_CHECKING:
    import pylsl

_log = logging.getLogger(__name__)

END = "bci:end"
"""Marker with which a served recording says that it is over."""
_LOOK_S = 0.8
"""Longest wait for the list of streams that goes into an error message, s."""
_STEP_S = 1.0
"""Longest time that Ctrl+C waits, s."""
_CORRECT_EVERY_S = 2.0


class LslInlet(Driver):
    """A stream of the Lab Streaming Layer [1]_, found by name, type or source id.

    Waits on the data themselves, without polling. Lost samples are told from
    the time stamps (`bci.acquisition.stamps`). A stream of `lsl_serve` that is
    not sent at real time runs on its own clock, which stands at its newest sample.

    Parameters
    ----------
    name, type, source_id : str
        What the stream must have; what is empty does not matter. Give at least one.
    markers : str, optional
        Name of a stream of text markers that become events; "" for none.
    timeout_s : float, default=5
        How long to look for the streams, s.
    silence_s : float, default=0.22
        See `bci.acquisition.driver.Driver`.
    max_age_s : float, default=1
        Samples older than this when they arrive are flagged STALE: after a cut
        of the network LSL delivers what had waited, s.
    buffer_s : float, default=360
        What LSL keeps for a reader that is late, s; more than that is lost.
    clock : Clock, optional
        Session clock.

    Raises
    ------
    ConfigError
        If nothing is asked for; from `open`, if several streams fit, the rate is
        irregular, or the samples are text.
    DeviceNotFound
        From `open`, with the streams that were there.
    DeviceLost
        From `read`, if the sender is gone and, having no source id, cannot come back.

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
        markers: str = "",
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
        self.markers, self.timeout_s, self.buffer_s = markers, timeout_s, buffer_s
        self._given_clock = self._clock
        self._live = MonotonicClock()
        self._inlet: pylsl.StreamInlet | None = None
        self._marker_inlet: pylsl.StreamInlet | None = None

    # ---------------------------------------------------------------- hooks
    def _open(self) -> StreamInfo:
        lsl = load_pylsl()
        head = _find(self.query, self.timeout_s)
        _check(head)
        self._inlet = self._connect(lsl, head)
        if self.markers:
            found = _find({"name": self.markers}, self.timeout_s)
            self._marker_inlet = self._connect(lsl, found)
            self._same_host = found.hostname() == head.hostname()
        full = self._inlet.info(self.timeout_s)
        self._correction_s = 0.0 if head.hostname() == socket.gethostname() else None
        self._scale, info = _describe(full)
        self._adopt(full.desc().child("bci"), lsl)
        return info

    def _start(self) -> None:
        assert self._inlet is not None
        lsl = load_pylsl()
        # Both run on monotonic clocks; they may begin at different zeros.
        self._zero_s = lsl.local_clock() - (
            self._clock.now() if self._clock is self._given_clock else lsl.local_clock()
        )
        self._tracker = StampTracker(self.info.sfreq, trusted=self._is_served)
        self._shift_s = self._offset_s()
        self._corrected_at_s = self._live.now()
        self._last_stamp = math.nan
        self._waiting: deque[Samples] = deque()
        self._end_stamp = math.inf
        self._most = max(64, round(self.info.sfreq / 4))  # pylsl makes room for as many at every read
        if self._marker_inlet is not None:
            self._marker_inlet.open_stream(self.timeout_s)
        self._inlet.open_stream(self.timeout_s)

    def _read(self, timeout_s: float) -> Samples | None:
        assert self._inlet is not None
        if self._waiting:
            return self._waiting.popleft()
        try:
            data, stamps = self._inlet.pull_chunk(timeout_s, self._most, min_samples=1, as_numpy=True)
        except Exception as error:
            if _is_lost(error):
                raise DeviceLost(
                    f"expected samples of {self._name}, the sender is gone; start it again and open the stream anew"
                ) from error
            raise
        # Markers after the data: one that was sent before these samples is here by now.
        self._take_markers()
        if not len(stamps):
            self._see_end()
            return None
        self._split(data, stamps)
        return self._waiting.popleft()

    def _stop(self) -> None:
        for inlet in (self._inlet, self._marker_inlet):
            if inlet is not None:
                inlet.close_stream()

    def _close(self) -> None:
        self._inlet = self._marker_inlet = None  # liblsl disconnects when the last reference goes

    def _wall(self) -> float:
        # Silence is of this world even where the samples are stamped by a recording's clock.
        return self._live.now()

    # -------------------------------------------------------------- private
    def _connect(self, lsl: Any, head: pylsl.StreamInfo) -> pylsl.StreamInlet:
        # LSL buffers whole seconds; a sender without a source id cannot be recovered, so say that it is lost.
        return lsl.StreamInlet(head, max_buflen=max(1, round(self.buffer_s)), recover=bool(head.source_id()))

    def _adopt(self, served: Any, lsl: Any) -> None:
        """Take on what `lsl_serve` says about its stream."""
        self._is_served = not served.empty()
        self._clock = self._given_clock
        if self._is_served and served.child_value("speed") != "1.0":
            self._clock = ManualClock(lsl.local_clock())

    def _offset_s(self) -> float:
        """What is taken from a stamp to have the session clock's time."""
        if self._correction_s is not None:
            return self._zero_s - self._correction_s
        assert self._inlet is not None
        return self._zero_s - float(self._inlet.time_correction(self.timeout_s))

    def _correct(self) -> Flag:
        """Follow the sender's clock: slowly, so that times keep rising; a step is flagged."""
        if self._correction_s is not None or self._live.now() - self._corrected_at_s < _CORRECT_EVERY_S:
            return Flag.OK
        self._corrected_at_s = self._live.now()
        error_s = self._offset_s() - self._shift_s
        if abs(error_s) > 0.05:
            self._shift_s += error_s
            return Flag.CLOCK_JUMP
        limit_s = 0.25 / self.info.sfreq
        self._shift_s += min(max(error_s, -limit_s), limit_s)
        return Flag.OK

    def _split(self, data: NDArray[Any], stamps: NDArray[np.float64]) -> None:
        """Queue what was pulled in contiguous runs."""
        flags, lost_first = self._correct(), 0
        if float(stamps[0]) < self._last_stamp - STEP_BACK_S:
            # Another sender under the same id: its clock tells nothing about what is missing, ours does.
            lost_first = max(1, round((self._live.now() - self._last_data_s) * self.info.sfreq))
            self._tracker = StampTracker(self.info.sfreq, trusted=self._is_served)
            self._shift_s, flags = self._offset_s(), flags | Flag.CLOCK_JUMP
        self._last_stamp = float(stamps[-1])
        smooth, losses = self._tracker.follow(stamps)
        times = smooth - self._shift_s
        if self._scale is not None:
            data = data * self._scale
        elif data.dtype.kind != "f":
            data = data.astype(np.float64)
        if isinstance(self._clock, ManualClock):
            self._clock.advance_to(float(times[-1]))
        cuts = [(0, lost_first), *((row, lost) for row, lost in losses if row), (len(data), 0)]
        cuts[0] = (0, lost_first + sum(lost for row, lost in losses if not row))
        for (row, lost), (end, _) in zip(cuts, cuts[1:], strict=False):
            self._waiting.append(
                Samples(data[row:end], times[row:end], lost, flags, cause="a jump of the sender's time stamps")
            )
            flags = Flag.OK

    def _take_markers(self) -> None:
        inlet = self._marker_inlet
        while inlet is not None and inlet.samples_available():
            try:
                texts, stamps = inlet.pull_chunk(0.0, 16)
            except Exception as error:
                if not _is_lost(error):
                    raise
                _log.warning("%s: the marker stream %r is gone", self._name, self.markers)
                self._marker_inlet = None
                return
            for values, stamp in zip(texts, stamps, strict=True):
                code = "|".join(str(v) for v in values)
                if self._is_served and code == END:
                    self._end_stamp = stamp
                else:
                    self.mark(code, stamp - self._marker_shift_s(), self.markers)

    def _marker_shift_s(self) -> float:
        if self._same_host:  # one clock: markers and samples must be moved alike, to the bit
            return self._shift_s
        assert self._marker_inlet is not None
        return self._zero_s - float(self._marker_inlet.time_correction(self.timeout_s))

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


def load_pylsl() -> Any:
    """Return the package pylsl; `PluginError` if it or its library is not here."""
    try:
        import pylsl
    except (ImportError, RuntimeError) as error:
        raise PluginError(f"LSL needs the package pylsl and liblsl, got: {error}; pip install pylsl") from error
    here = [Path("lsl_api.cfg"), Path.home() / "lsl_api" / "lsl_api.cfg", Path("/etc/lsl_api/lsl_api.cfg")]
    if not os.environ.get("LSLAPICFG") and not any(p.exists() for p in here) and hasattr(pylsl, "set_config_content"):
        pylsl.set_config_content("[log]\nlevel = -2\n")  # liblsl greets on standard error; only warnings are of use
    return pylsl


def streams(wait_s: float = 1.0) -> list[dict[str, Any]]:
    """Return the streams heard within `wait_s` s: name, type, channels, sfreq (Hz), source_id, host."""
    return [
        {
            "name": s.name(), "type": s.type(), "channels": s.channel_count(), "sfreq": s.nominal_srate(),
            "source_id": s.source_id(), "host": s.hostname(),
        }
        for s in load_pylsl().resolve_streams(wait_s)
    ]  # fmt: skip


def _find(query: dict[str, str], timeout_s: float) -> pylsl.StreamInfo:
    """Return the one stream that fits; `DeviceNotFound` or `ConfigError` with what there is instead."""
    lsl = load_pylsl()
    asked = " and ".join(f"{key}={value!r}" for key, value in query.items())
    quote = {value: '"' if "'" in value else "'" for value in query.values()}
    predicate = " and ".join(f"{key}={quote[value]}{value}{quote[value]}" for key, value in query.items())
    found: Sequence[pylsl.StreamInfo] = []
    until_s = time.monotonic() + timeout_s
    while not found and (left_s := until_s - time.monotonic()) > 0:
        found = lsl.resolve_bypred(predicate, 1, min(_STEP_S, left_s))  # in steps: Ctrl+C is not heard meanwhile
    if not found:
        there = ", ".join(sorted({f"{s['name']} ({s['type']})" for s in streams(min(_LOOK_S, timeout_s))}))
        raise DeviceNotFound(
            f"expected an LSL stream with {asked} within {timeout_s:g} s, found {there or 'no stream at all'}; "
            "start the sender, or check name and network"
        )
    # The first answer ends the search; look once more for a second stream that fits as well.
    found = lsl.resolve_bypred(predicate, 2, min(_LOOK_S, timeout_s)) or found
    distinct = {s.uid(): s for s in found}
    if len(distinct) > 1:
        listed = "; ".join(f"{s.name()} (type {s.type()}, source_id {s.source_id()!r}, host {s.hostname()})"
                           for s in distinct.values())  # fmt: skip
        raise ConfigError(f"expected one LSL stream with {asked}, found {listed}; add source_id or type to choose one")
    return next(iter(distinct.values()))


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
    meta = {"host": full.hostname(), "type": full.type()}
    return scale, StreamInfo(full.name(), full.nominal_srate(), channels, full.source_id(), meta)


def _entry(node: Any) -> Entry:
    def text(*path: str) -> str:
        at = node
        for key in path[:-1]:
            at = at.child(key)
        return str(at.child_value(path[-1]))

    return text


def _is_lost(error: Exception) -> bool:
    return isinstance(error, load_pylsl().util.LostError)
