"""The driver of Amp8: five hooks, impedance and battery."""

from __future__ import annotations

import contextlib
import threading
import time
from collections import deque
from collections.abc import Sequence
from typing import Any

import numpy as np
import serial

from bci import Channel, StreamInfo
from bci.acquisition.driver import Driver, Samples, State
from bci.acquisition.packets import PacketTracker
from bci.clock import Clock
from bci.errors import ConfigError, DeviceError, DeviceLost, DeviceNotFound
from bci_amp8.frames import COUNTER_BITS, N_CHANNELS, SCALE_UV, Parser

NAMES = ("Fp1", "Fp2", "C3", "C4", "P7", "P8", "O1", "O2")
_WAIT_S = 0.1
"""How long a wait for a byte may last before it is asked what else there is to do, s."""


class Amp8(Driver):
    """An eight-channel amplifier on a serial port.

    Delivers integers, as the converter gave them; `Channel.scale` makes them µV.

    Parameters
    ----------
    port : str
        Serial port, such as "/dev/ttyUSB0" or "COM3".
    channels : sequence of str, optional
        Electrodes at the eight inputs.
    timeout_s : float, default=0.8
        How long it may take to answer, s.
    clock : Clock, optional
        Session clock.

    Raises
    ------
    ConfigError
        If there are not eight channels.
    DeviceNotFound
        From `open`, if no Amp8 answers there, or another program holds the port.
    DeviceLost
        From `read`, if the port is gone.
    """

    def __init__(
        self, port: str, *, channels: Sequence[str] = NAMES, timeout_s: float = 0.8, clock: Clock | None = None
    ) -> None:
        super().__init__(clock=clock)
        if len(channels) != N_CHANNELS:
            raise ConfigError(f"an Amp8 has {N_CHANNELS} channels, got {len(channels)}: {list(channels)}; name each")
        self.port, self.channels, self.timeout_s = port, tuple(channels), timeout_s
        self._line: serial.Serial | None = None
        self._reader: threading.Thread | None = None
        self._there = threading.Condition()
        self._battery = float("nan")

    # ----------------------------------------------------------- main verbs
    def impedance(self) -> dict[str, float]:
        """Measure the impedance of each electrode, kOhm; inf without contact.

        Raises
        ------
        DeviceError
            If the device is not open, streams, or does not answer.
        """
        self._demand("impedance", State.OPEN, "open() it, or stop() it first")
        try:
            letter, *values = self._ask(b"z").split()
            found = [float(v) for v in values]
        except (OSError, ValueError) as error:
            raise DeviceError(f"expected impedances of {self._name}, got: {error}; check the cable") from error
        if letter != "z" or len(found) != N_CHANNELS:
            raise DeviceError(f"expected {N_CHANNELS} impedances of {self._name}, got {len(found)}; measure again")
        return dict(zip(self.channels, found, strict=True))

    def battery(self) -> float:
        """Return what is left, from 0 to 1; NaN before `open`."""
        if self.state is State.OPEN:
            with contextlib.suppress(OSError, ValueError):  # no answer: what was known last
                self._battery = float(self._ask(b"q").split()[1]) / 100
        return self._battery

    # ---------------------------------------------------------------- hooks
    def _open(self) -> StreamInfo:
        try:
            self._line = serial.Serial(self.port, 115200, timeout=_WAIT_S, write_timeout=1.0, exclusive=True)
            self._say(b"s", b"ok\n")  # a program that crashed may have left it streaming
            name, version, number, rate = self._ask(b"v").split()
        except (OSError, ValueError) as error:
            raise DeviceNotFound(
                f"expected an Amp8 at {self.port}, got: {error}; check power, cable and port, close what else uses it"
            ) from error
        if name != "amp8":
            raise DeviceNotFound(f"expected an Amp8 at {self.port}, {name!r} answered; give another port")
        channels = tuple(Channel(n, scale=SCALE_UV) for n in self.channels)
        return StreamInfo("Amp8", float(rate), channels, f"amp8-{number}", {"firmware": version})

    def _start(self) -> None:
        self._parser, self._waiting = Parser(), deque[Samples]()
        # It numbers and stamps the frames and tells what is lost; a line keeps their order, the counter begins at 0.
        self._tracker = PacketTracker(self.info.sfreq, counter_bits=COUNTER_BITS, reorder=0, first_counter=0)
        self._failure: OSError | None = None
        self._is_over = False
        try:
            answer = self._ask(b"b")
        except OSError as error:
            raise DeviceError(f"expected {self._name} to start, got: {error}; close it and open it again") from error
        if answer != "ok":
            raise DeviceError(f"expected {self._name} to start, got {answer!r}; close it and open it again")
        self._tracker.begin(self._clock.now())
        self._reader = threading.Thread(target=self._fetch, daemon=True, name="amp8")
        self._reader.start()

    def _read(self, timeout_s: float) -> Samples | None:
        with self._there:
            self._there.wait_for(lambda: self._waiting or self._failure, timeout_s)
            if self._waiting:
                return self._waiting.popleft()
            if self._failure is not None:
                raise DeviceLost(
                    f"expected samples of {self._name}, got: {self._failure}; plug it in and open it again"
                ) from self._failure
        return None

    def _stop(self) -> None:
        self._is_over = True
        if self._reader is not None:
            self._reader.join()
        with contextlib.suppress(OSError):  # it is gone: nothing is left to stop
            self._say(b"s", b"ok\n")

    def _close(self) -> None:
        if self._line is not None:
            self._line.close()
            self._line = None

    def _details(self) -> dict[str, Any]:
        return self._tracker.report()  # the rate as measured; frames that came twice

    # -------------------------------------------------------------- private
    def _ask(self, command: bytes) -> str:
        answer = self._say(command, b"\n")
        if not answer.endswith(b"\n"):
            raise TimeoutError(f"no answer to {command.decode()!r} within {self.timeout_s:g} s")
        return answer.decode("ascii", "replace").strip()

    def _say(self, command: bytes, end: bytes) -> bytes:
        """Send a command; return what comes up to `end`, or within the timeout."""
        assert self._line is not None
        self._line.write(command)
        answer, until_s = b"", time.monotonic() + self.timeout_s
        # The port's own timeout stays as it is: to set it means to configure the port anew.
        while not answer.endswith(end) and time.monotonic() < until_s:
            answer += self._line.read(1)
        return answer

    def _fetch(self) -> None:
        """Empty the system's buffer, which holds half a second only, into the queue; runs in a thread."""
        line = self._line
        assert line is not None
        while not self._is_over:
            try:
                received = line.read(1)
                received += line.read(line.in_waiting)
            except OSError as error:
                with self._there:
                    self._failure = error
                    self._there.notify()
                return
            self._take(received)

    def _take(self, received: bytes) -> None:
        """Queue the frames in what was received as contiguous runs, and what has become certain by now."""
        frames, now_s = self._parser.feed(received), self._clock.now()
        runs = self._tracker.push(frames.counters, frames.data, np.full(len(frames.counters), now_s))
        if len(frames.counters):
            self._battery = frames.battery
        with self._there:
            self._waiting.extend([*runs, *self._tracker.poll(now_s)])
            self._there.notify()
