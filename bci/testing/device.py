"""The contract of `Device`, as a checker: lifecycle, sample numbers, times, markers, waiting.

This is the short form, for unit tests; `bci device check` runs the long one (`bci.acquisition.conformance`).
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from bci.ports import AcceptsMarkers, Device, HasEnd
from bci.stream import Chunk, StreamInfo
from bci.testing import stream_rules as rules
from bci.testing.contract import require
from bci.testing.stream_rules import never_raises, refuses

_READ_S = 0.1
_GRACE_S = 0.5
"""How much longer than asked a read may take on a busy machine, s."""
_PATIENCE_S = 10.0
"""How long the first sample may take, s."""
_CODE = "check_device"


def check_device(make_device: Callable[[], Device], seconds: float = 1.0) -> None:
    """Check that a device obeys its contract.

    Parameters
    ----------
    make_device : callable
        Returns a new, closed device each time; what it connects to must be there.
    seconds : float, default=1
        How much signal is read, s.

    Raises
    ------
    ContractError
        Naming the first rule that is broken.

    Examples
    --------
    >>> from bci.acquisition.participant import Participant
    >>> from bci.testing.device import check_device
    >>> check_device(Participant)
    """
    device = make_device()
    require(isinstance(device, Device), "has open, start, read, stop and close", type(device).__name__)
    never_raises("close() of a device that was never opened", device.close)
    refuses("start() before open()", device.start)
    refuses("read() before open()", lambda: device.read(0.0))
    try:
        info = _check_ladder_up(device)
        _Stream(device, info).run(seconds)
        _check_ladder_down(device)
        again = device.open()
        require(again == info, "open() after close() gives the same stream", again)
        device.start()
        require(_first(device).n_samples > 0, "streams again after close() and open()", "no sample")
    finally:
        never_raises("close() while streaming", device.close)
    never_raises("close() twice", device.close)


def _check_ladder_up(device: Device) -> StreamInfo:
    info = device.open()
    require(isinstance(info, StreamInfo), "open() returns a StreamInfo", info)
    refuses("open() of an open device", device.open)
    refuses("read() before start()", lambda: device.read(0.0))
    device.start()
    refuses("start() of a streaming device", device.start)
    return info


def _check_ladder_down(device: Device) -> None:
    device.stop()
    refuses("read() after stop()", lambda: device.read(0.0))
    device.close()
    refuses("read() after close()", lambda: device.read(0.0))
    never_raises("close() twice", device.close)


class _Stream:
    """Read for a while and hold what came against the rules."""

    def __init__(self, device: Device, info: StreamInfo) -> None:
        self.device, self.info = device, info
        self.chunks: list[Chunk] = []
        self.copies: list[Any] = []

    def run(self, seconds: float) -> None:
        chunk = _first(self.device)
        require(chunk.n_samples > 0, f"delivers samples within {_PATIENCE_S:g} s of start()", "none")
        self._take(chunk)
        mark_s = self._mark(chunk)
        until_s = time.monotonic() + 3 * seconds + 1.0
        while self._heard() < seconds * self.info.sfreq or (mark_s is not None and not self._marked()):
            if time.monotonic() > until_s or self._at_end():
                break
            self._take(self._read())
        self._judge(mark_s)
        if self._at_end():
            require(self._read().n_samples == 0, "read() after the end returns an empty chunk", "samples")

    def _read(self) -> Chunk:
        begin_s = time.monotonic()
        chunk = self.device.read(_READ_S)
        took_s = time.monotonic() - begin_s
        require(took_s < _READ_S + _GRACE_S, "read() waits no longer than its timeout", f"{took_s:.3f} s")
        return chunk

    def _take(self, chunk: Chunk) -> None:
        rules.carries_info([chunk], self.info)
        self.chunks.append(chunk)
        if len(self.copies) < 3:
            self.copies.append(chunk.data.copy())

    def _judge(self, mark_s: float | None) -> None:
        rules.events_are_not_early(self.chunks)
        rules.data_are_numbers(self.chunks)
        rules.times_rise(self.chunks)
        rules.numbers_do_not_step_back(self.chunks)
        rules.jumps_are_flagged(self.chunks)
        rules.never_changes(self.chunks, self.copies)
        self._check_rate()
        if mark_s is not None:
            self._check_mark(mark_s)

    def _heard(self) -> int:
        return sum(chunk.n_samples for chunk in self.chunks)

    def _mark(self, chunk: Chunk) -> float | None:
        if not isinstance(self.device, AcceptsMarkers) or self._at_end():
            return None
        mark_s = float(chunk.times[-1]) + 0.5 / self.info.sfreq
        self.device.mark(_CODE, mark_s)
        return mark_s

    def _marked(self) -> bool:
        return bool(rules.found(self.chunks, _CODE))

    def _check_mark(self, mark_s: float) -> None:
        events, truth = rules.found(self.chunks, _CODE), rules.number_at(self.chunks, mark_s)
        if not events and self._at_end() and truth is None:
            return
        require(len(events) == 1, "an event that was marked is delivered once", events)
        if truth is not None:
            require(events[0].sample == truth, f"an event is at the first sample after it ({truth})", events[0])

    def _check_rate(self) -> None:
        times, numbers = rules.joined_times(self.chunks), rules.joined_numbers(self.chunks)
        n = int(numbers[-1] - numbers[0])
        expected_s = n / self.info.sfreq
        came_s = float(times[-1] - times[0])
        slack_s = 0.1 * expected_s + 0.25
        require(abs(came_s - expected_s) < slack_s, f"{n + 1} samples span {expected_s:.3f} s", f"{came_s:.3f} s")

    def _at_end(self) -> bool:
        return isinstance(self.device, HasEnd) and self.device.at_end


def _first(device: Device) -> Chunk:
    until_s = time.monotonic() + _PATIENCE_S
    chunk = device.read(_READ_S)
    while not chunk.n_samples and time.monotonic() < until_s:
        chunk = device.read(_READ_S)
    return chunk
