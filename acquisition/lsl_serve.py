"""Send a device or a recording as Lab Streaming Layer streams, from this or another process.

``python -m bci.acquisition.lsl_serve FILE --name NAME --speed 20 --run-once``
"""

from __future__ import annotations

import argparse
import logging
import sys
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bci.acquisition.lsl import END
from bci.acquisition.lsl_local import load_pylsl
from bci.acquisition.lsl_outlet import KEEP_S, REWIND_S, LslOutlet, signal_head, text_head
from bci.acquisition.replay import Replay
from bci.clock import ManualClock
from bci.errors import BciError, ConfigError, DeviceTimeout
from bci.ports import Device, HasEnd, HasOwnTime
from bci.stream import Chunk, Event, StreamInfo

_log = logging.getLogger(__name__)

_AHEAD_S = 0.25
"""How long before its samples a recording's marker is sent, so that it never comes after them, s."""

_STEP_S = 0.5
"""Longest time that Ctrl+C waits, s."""


def serve(
    device: Device,
    name: str,
    *,
    speed: float = 1.0,
    wait_s: float | None = 300.0,
    linger_s: float = 30.0,
    keep_s: float = KEEP_S,
    follow: Callable[[Chunk | None], None] = lambda _: None,
) -> int:
    """Send `device` as the stream `name` (double precision) and its events as `name`-markers.

    Begins when a receiver has connected; ends with the recording, when the
    marker "bci:end" is sent. Recordings are stamped by counting, at whatever
    speed: their time runs as it did. Live devices are stamped with their own times.
    While nobody receives, samples and markers are kept, and given to the receiver
    that comes back.

    Parameters
    ----------
    device : Device
        Closed; is opened, started and closed.
    name : str
        Name of the stream.
    speed : float, default=1
        Times real time; for a recording or simulation on its own time only.
    wait_s : float or None, default=300
        How long to wait for a receiver, s; None begins at once.
    linger_s : float, default=30
        How long the streams stay for the receiver to take the rest, s.
    keep_s : float, default=60
        For how long what nobody receives is kept, s.
    follow : callable, optional
        Called with None when the stream is announced, and with each chunk that is sent.

    Returns
    -------
    int
        Samples sent.

    Raises
    ------
    ConfigError
        If the speed is not above 0, or not 1 for a live device.
    DeviceTimeout
        If no receiver comes.
    """
    if not (name and speed > 0):
        raise ConfigError(f"a stream needs a name and a speed above 0, got {name!r} and {speed}; see --help")
    info = device.open()
    try:
        counted = isinstance(device, HasEnd) or _has_own_time(device)
        if not counted and speed != 1.0:
            raise ConfigError(f"a live device runs at speed 1, got {speed}; record it and send the recording")
        sender = _Sender(info, name, speed, isinstance(device, HasEnd), keep_s, follow)
        try:
            follow(None)
            if wait_s is not None:
                sender.wait(wait_s)
            device.start()
            sent = _send_counted(device, sender) if counted else _send_live(device, sender)
            sender.linger(linger_s)
            return sent
        finally:
            sender.close()
    finally:
        device.close()


class _Sender:
    """The two outlets and the time stamps."""

    def __init__(
        self,
        info: StreamInfo,
        name: str,
        speed: float,
        ends: bool,
        keep_s: float,
        follow: Callable[[Chunk], None],
    ) -> None:
        self._lsl = load_pylsl()
        self.info, self.name, self.speed, self._follow = info, name, speed, follow
        # An id that stays lets a receiver find the stream again after a restart.
        source_id = f"bci-{name}-{info.source_id}"
        head = signal_head(info, name, source_id)
        served = head.desc().append_child("bci")
        served.append_child_value("speed", repr(float(speed)))
        served.append_child_value("ends", "true" if ends else "false")
        self._data = LslOutlet(head, keep_s)
        self._keep_s = keep_s
        self._texts = LslOutlet(text_head(f"{name}-markers", f"{source_id}-markers"), keep_s, say=False)
        self.begin_s = 0.0

    def wait(self, wait_s: float) -> None:
        until_s = time.monotonic() + wait_s
        # In steps, since nothing (Ctrl+C) is heard while liblsl waits.
        while not self._data.wait(max(0.0, min(_STEP_S, until_s - time.monotonic()))):
            if time.monotonic() < until_s:
                continue
            raise DeviceTimeout(
                f"expected a receiver of {self.name!r} within {wait_s:g} s, none came; start it, or wait longer"
            )
        time.sleep(_AHEAD_S)  # a receiver of both streams connects to the markers first, but it takes a moment

    def begin(self) -> None:
        self.begin_s = float(self._lsl.local_clock())

    def offset_s(self, device: Device) -> float:
        """What leads from the device's clock to LSL's."""
        now_s = device.clock.now() if isinstance(device, HasOwnTime) else time.monotonic()
        return float(self._lsl.local_clock()) - now_s

    def push(self, chunk: Chunk, stamps: NDArray[np.float64]) -> None:
        self._data.push(np.asarray(chunk.physical().data, dtype=np.float64), stamps)
        self.pass_on()
        self._follow(chunk)

    def push_text(self, text: str, stamp: float) -> None:
        self._texts.push([[text]], [stamp])

    def pass_on(self) -> bool:
        received = self._data.pass_on()
        # Markers of samples that somebody received already would fall on the first sample of the next receiver.
        self._texts.keep_s = min(self._keep_s, REWIND_S) if received else self._keep_s
        self._texts.pass_on()
        return received

    def linger(self, linger_s: float) -> None:
        until_s = time.monotonic() + linger_s
        while self.pass_on() and time.monotonic() < until_s:
            time.sleep(0.05)

    def close(self) -> None:
        self._data.close()
        self._texts.close()


def _send_counted(device: Device, sender: _Sender) -> int:
    sfreq, speed = sender.info.sfreq, sender.speed
    ahead = round(sfreq * _AHEAD_S * min(speed, 100.0))
    waiting: deque[Chunk] = deque()
    sent, last, over = 0, -1, False
    sender.begin()
    begin_s = time.monotonic() + _AHEAD_S

    def stamp(number: Any) -> Any:
        return sender.begin_s + number / sfreq

    while True:
        while not over and (not waiting or waiting[-1].stop - waiting[0].stop < ahead):
            chunk = device.read(0.1)
            for event in _in_order(chunk.events):
                sender.push_text(event.code, stamp(event.sample))
            if chunk.n_samples:
                waiting.append(chunk)
            over = isinstance(device, HasEnd) and device.at_end
        if not waiting:
            sender.push_text(END, stamp(last))
            return sent
        chunk = waiting.popleft()
        time.sleep(max(0.0, begin_s + chunk.stop / (sfreq * speed) - time.monotonic()))
        sender.push(chunk, stamp(np.arange(chunk.start, chunk.stop)))
        sent, last = sent + chunk.n_samples, chunk.stop - 1


def _send_live(device: Device, sender: _Sender) -> int:
    sent = 0
    offset_s = sender.offset_s(device)
    try:
        while True:
            chunk = device.read(0.25)
            for event in _in_order(chunk.events):
                sender.push_text(event.code, event.time + offset_s)
            if chunk.n_samples:
                sender.push(chunk, chunk.times + offset_s)
                sent += chunk.n_samples
            else:
                sender.pass_on()
    except KeyboardInterrupt:
        return sent


def _in_order(events: tuple[Event, ...]) -> list[Event]:
    return sorted(events, key=lambda e: e.sample)


def _has_own_time(device: Device) -> bool:
    return isinstance(device, HasOwnTime) and isinstance(device.clock, ManualClock)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit code."""
    parser = argparse.ArgumentParser(prog="bci.acquisition.lsl_serve", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("file", nargs="+", help="recording, or several that follow one another")
    parser.add_argument("--name", required=True, help="name of the stream; the markers are NAME-markers")
    parser.add_argument("--speed", type=float, default=1.0, help="times real time (default 1)")
    parser.add_argument("--stream", help="stream of an XDF file")
    parser.add_argument("--event", action="append", default=[], metavar="CODE=NAME", help="keep this event, so named")
    parser.add_argument("--wait", type=float, default=300.0, help="wait so many seconds for a receiver (default 300)")
    parser.add_argument("--run-once", action="store_true", help="end after the recording; else begin again")
    given = parser.parse_args(arguments)
    logging.basicConfig(level=logging.WARNING, format="%(name)s: %(message)s")
    events = dict(e.split("=", 1) if "=" in e else (e, e) for e in given.event) or None
    try:
        while True:
            serve(Replay(given.file, stream=given.stream, events=events), given.name, speed=given.speed,
                  wait_s=given.wait)  # fmt: skip
            if given.run_once:
                return 0
    except BciError as error:
        sys.stderr.write(f"{type(error).__name__}: {error}\n")
        return 2
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(main())
