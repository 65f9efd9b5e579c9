"""The contract of `Device`, as a checker: lifecycle, sample numbers, times, markers, waiting."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np

from bci.errors import BciError
from bci.ports import AcceptsMarkers, Device, HasEnd
from bci.stream import Chunk, Event, Flag, StreamInfo
from bci.testing.contract import require

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
    _never_raises("close() of a device that was never opened", device.close)
    _refuses("start() before open()", device.start)
    _refuses("read() before open()", lambda: device.read(0.0))
    try:
        info = _check_ladder_up(device)
        _Stream(device, info).run(seconds)
        _check_ladder_down(device)
        again = device.open()
        require(again == info, "open() after close() gives the same stream", again)
        device.start()
        require(_first(device).n_samples > 0, "streams again after close() and open()", "no sample")
    finally:
        _never_raises("close() while streaming", device.close)
    _never_raises("close() twice", device.close)


def _check_ladder_up(device: Device) -> StreamInfo:
    info = device.open()
    require(isinstance(info, StreamInfo), "open() returns a StreamInfo", info)
    _refuses("open() of an open device", device.open)
    _refuses("read() before start()", lambda: device.read(0.0))
    device.start()
    _refuses("start() of a streaming device", device.start)
    return info


def _check_ladder_down(device: Device) -> None:
    device.stop()
    _refuses("read() after stop()", lambda: device.read(0.0))
    device.close()
    _refuses("read() after close()", lambda: device.read(0.0))
    _never_raises("close() twice", device.close)


class _Stream:
    """Read for a while and hold every chunk against the rules."""

    def __init__(self, device: Device, info: StreamInfo) -> None:
        self.device, self.info = device, info
        self.first: Chunk | None = None
        self.last: Chunk | None = None
        self.n_samples = 0
        self.kept: list[tuple[Chunk, Any]] = []
        self.starts: list[Chunk] = []
        self.events: list[Event] = []

    def run(self, seconds: float) -> None:
        chunk = _first(self.device)
        require(chunk.n_samples > 0, f"delivers samples within {_PATIENCE_S:g} s of start()", "none")
        self._take(chunk)
        mark_s = self._mark(chunk)
        until_s = time.monotonic() + 3 * seconds + 1.0
        while self.n_samples < seconds * self.info.sfreq or (mark_s is not None and not self._marked()):
            if time.monotonic() > until_s or self._at_end():
                break
            self._take(self._read())
        for kept, copy in self.kept:
            require(
                np.array_equal(kept.data, copy, equal_nan=True), "a chunk never changes once it was read", "changed"
            )
        self._check_rate()
        if mark_s is not None:
            self._check_mark(mark_s)
        if self._at_end():
            require(self._read().n_samples == 0, "read() after the end returns an empty chunk", "samples")

    def _read(self) -> Chunk:
        begin_s = time.monotonic()
        chunk = self.device.read(_READ_S)
        took_s = time.monotonic() - begin_s
        require(took_s < _READ_S + _GRACE_S, "read() waits no longer than its timeout", f"{took_s:.3f} s")
        return chunk

    def _take(self, chunk: Chunk) -> None:
        require(isinstance(chunk, Chunk), "read() returns a Chunk", chunk)
        require(chunk.info == self.info, "a chunk carries the StreamInfo of open()", chunk.info)
        require(all(e.sample < chunk.stop for e in chunk.events), "an event lies at or before its chunk", chunk.events)
        self.events += chunk.events
        if not chunk.n_samples:
            return
        require(chunk.data.dtype.kind in "fiu", "data are numbers", chunk.data.dtype)
        require(chunk.times.dtype == np.float64, "times are float64", chunk.times.dtype)
        require(bool(np.isfinite(chunk.times).all()), "times are finite", "not finite")
        times = chunk.times if self.last is None else np.concatenate((self.last.times[-1:], chunk.times))
        require(bool((np.diff(times) > 0).all()), "times rise from sample to sample", np.diff(times).min(initial=1.0))
        if self.last is not None:
            jump = chunk.start - self.last.stop
            require(jump >= 0, "sample numbers never step back", jump)
            require(jump == 0 or Flag.GAP in chunk.flags, "a jump of the sample number is flagged GAP", jump)
        self.first = self.first or chunk
        self.last = chunk
        self.n_samples += chunk.n_samples
        self.starts.append(chunk)
        if len(self.kept) < 3:
            self.kept.append((chunk, chunk.data.copy()))

    def _mark(self, chunk: Chunk) -> float | None:
        if not isinstance(self.device, AcceptsMarkers) or self._at_end():
            return None
        mark_s = float(chunk.times[-1]) + 0.5 / self.info.sfreq
        self.device.mark(_CODE, mark_s)
        return mark_s

    def _marked(self) -> list[Event]:
        return [e for e in self.events if e.code == _CODE]

    def _check_mark(self, mark_s: float) -> None:
        found = self._marked()
        if not found and self._at_end() and self.last is not None and self.last.times[-1] < mark_s:
            return
        require(len(found) == 1, "an event that was marked is delivered once", found)
        for chunk in self.starts:
            if chunk.times[-1] >= mark_s:
                truth = chunk.start + int(np.searchsorted(chunk.times, mark_s))
                require(found[0].sample == truth, f"an event is at the first sample after it ({truth})", found[0])
                return

    def _check_rate(self) -> None:
        assert self.first is not None and self.last is not None
        n = self.last.stop - 1 - self.first.start
        expected_s = n / self.info.sfreq
        came_s = float(self.last.times[-1] - self.first.times[0])
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


def _refuses(what: str, call: Callable[[], object]) -> None:
    try:
        call()
    except BciError:
        return
    except Exception as error:  # noqa: BLE001 - the checker judges what a stranger's device raises
        require(False, f"{what} raises DeviceError", error)
    require(False, f"{what} raises DeviceError", "no error")


def _never_raises(what: str, call: Callable[[], object]) -> None:
    try:
        call()
    except Exception as error:  # noqa: BLE001 - the checker judges what a stranger's device raises
        require(False, f"{what} never raises", error)
