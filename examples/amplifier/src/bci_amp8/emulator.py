"""Amp8 without hardware: ``python -m bci_amp8.emulator`` serves its protocol on a pseudo-terminal."""

from __future__ import annotations

import contextlib
import math
import os
import pty
import tempfile
import threading
import time
import tty
from pathlib import Path

import numpy as np

from bci.acquisition.conformance.emulator_process import EmulatorProcess, obey
from bci_amp8.frames import N_CHANNELS, SCALE_UV, pack

SFREQ = 250.0
_TICK_S = 0.01
_BATTERY = 87


class Amp8Emulator(EmulatorProcess):
    """The emulator as the conformance kit starts it."""

    module = "bci_amp8.emulator"


class Amplifier:
    """Speaks the protocol on a pseudo-terminal and breaks when told to.

    Parameters
    ----------
    path : Path
        Link to the terminal, which is another one after each plugging.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = threading.Lock()
        self._master = self._slave = -1
        self._noise = np.random.default_rng(0)
        self._begin_s, self._n = math.nan, 0
        self._thaw_s, self._to_drop = 0.0, 0
        self.replug()

    # ------------------------------------------------------------ what breaks
    def unplug(self) -> None:
        """Pull the cable."""
        with self._lock:
            self.path.unlink()
            os.close(self._slave)
            os.close(self._master)
            self._master, self._begin_s = -1, math.nan

    def replug(self) -> None:
        """Put it back."""
        with self._lock:
            self._master, self._slave = pty.openpty()
            tty.setraw(self._slave)
            os.set_blocking(self._master, False)
            self.path.symlink_to(os.ttyname(self._slave))

    def freeze(self, seconds: float) -> None:
        """Send nothing for `seconds`."""
        with self._lock:
            self._thaw_s = time.monotonic() + seconds

    def drop(self, n_samples: int) -> None:
        """Lose the next samples."""
        with self._lock:
            self._to_drop += n_samples

    # --------------------------------------------------------------- protocol
    def serve(self) -> None:
        """Serve for ever."""
        while True:
            time.sleep(_TICK_S)
            with self._lock:
                if self._master >= 0:
                    self._obey()
                    self._send_frames()

    def _obey(self) -> None:
        with contextlib.suppress(BlockingIOError):  # nothing was said
            for command in os.read(self._master, 64).decode("ascii", "replace"):
                os.write(self._master, self._answer(command).encode())

    def _answer(self, command: str) -> str:
        if command == "b":
            self._begin_s, self._n, self._to_drop = time.monotonic(), 0, 0
            return "ok\n"
        if command == "s":
            self._begin_s = math.nan
            return "ok\n"
        if not math.isnan(self._begin_s):
            return "e busy\n"
        if command == "z":
            return f"z {' '.join(f'{4 + 0.5 * k:.1f}' for k in range(N_CHANNELS - 1))} inf\n"
        return {"v": f"amp8 1.0 0001 {SFREQ:g}\n", "q": f"q {_BATTERY}\n"}.get(command, "e what\n")

    def _send_frames(self) -> None:
        if math.isnan(self._begin_s):
            return
        for number in range(self._n, math.floor((time.monotonic() - self._begin_s) * SFREQ)):
            self._n = number + 1
            if self._to_drop:
                self._to_drop -= 1
            elif time.monotonic() >= self._thaw_s:
                alpha_uv = 15 * math.sin(2 * math.pi * 10 * number / SFREQ)
                values = (alpha_uv + 5 * self._noise.standard_normal(N_CHANNELS)) / SCALE_UV
                with contextlib.suppress(BlockingIOError):  # nobody reads: it is lost, as on a real line
                    os.write(self._master, pack(number, values.astype(int).tolist(), _BATTERY))


def main() -> None:
    """Serve until standard input ends."""
    with tempfile.TemporaryDirectory() as folder:
        amplifier = Amplifier(Path(folder) / "amp8")
        threading.Thread(target=amplifier.serve, daemon=True).start()
        obey(amplifier, {"port": str(amplifier.path)})


if __name__ == "__main__":
    main()
