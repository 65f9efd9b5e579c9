"""Mutants of the lifecycle."""

from __future__ import annotations

import os
import threading
from typing import Any

import numpy as np

from bci.acquisition.conformance.reference import ReferenceAmplifier, ReferenceDriver
from bci.acquisition.driver import State
from bci.errors import DeviceError
from bci.stream import Chunk, StreamInfo


class ConnectsWhenMade(ReferenceDriver):
    """Opens its port in the constructor."""

    def __init__(self, amplifier: ReferenceAmplifier) -> None:
        super().__init__(amplifier)
        self._port = os.open(os.devnull, os.O_RDONLY)

    def close(self) -> None:
        """Close, and the port too."""
        super().close()
        if self._port >= 0:
            os.close(self._port)
            self._port = -1


class ReadsBeforeOpen(ReferenceDriver):
    """Answers a read with nothing although it was never opened."""

    def read(self, timeout_s: float) -> Chunk | Any:
        """Read in any state."""
        return None if self._info is None else super().read(timeout_s)


class OpensTwice(ReferenceDriver):
    """Lets itself be opened while it is open."""

    def open(self) -> StreamInfo:
        """Open in any state."""
        return super().open() if self.state is State.CLOSED else self.info


class StartsTwice(ReferenceDriver):
    """Lets itself be started while it streams."""

    def start(self) -> None:
        """Start in any state."""
        if self.state is not State.STREAMING:
            super().start()


class ReadsBeforeStart(ReferenceDriver):
    """Answers a read before it was ever started."""

    _started = False

    def start(self) -> None:
        """Start."""
        super().start()
        self._started = True

    def read(self, timeout_s: float) -> Chunk:
        """Read also while it is open only."""
        if self.state is State.OPEN and not self._started:
            return Chunk.empty(self.info, 0)
        return super().read(timeout_s)


class ReadsAfterStop(ReferenceDriver):
    """Answers a read after it was stopped."""

    _stopped = False

    def stop(self) -> None:
        """Stop."""
        super().stop()
        self._stopped = True

    def read(self, timeout_s: float) -> Chunk:
        """Read also after a stop."""
        if self.state is State.OPEN and self._stopped:
            return Chunk.empty(self.info, 0)
        return super().read(timeout_s)


class ReadsAfterClose(ReferenceDriver):
    """Answers a read after it was closed."""

    def read(self, timeout_s: float) -> Chunk:
        """Read also after close."""
        if self.state is State.CLOSED and self._info is not None:
            return Chunk.empty(self.info, 0)
        return super().read(timeout_s)


class StopsOnce(ReferenceDriver):
    """Raises when it is stopped twice."""

    def stop(self) -> None:
        """Stop, if it streams."""
        if self.state is State.OPEN:
            raise DeviceError("expected a device that streams, this one is open; start it")
        super().stop()


class ClosesOnce(ReferenceDriver):
    """Raises when it is closed twice."""

    def close(self) -> None:
        """Close, if it is open."""
        if self.state is State.CLOSED and self._info is not None:
            raise OSError("the port is closed already")
        super().close()


class StartsOnce(ReferenceDriver):
    """Cannot be started again after a stop."""

    _started = False

    def _start(self) -> None:
        if self._started:
            raise DeviceError("the amplifier must be switched off and on; do that")
        self._started = True
        super()._start()

    def _close(self) -> None:
        self._started = False


class ForgetsItsName(ReferenceDriver):
    """Describes another stream each time it is opened."""

    _n_opened = 0

    def _open(self) -> StreamInfo:
        info = super()._open()
        self._n_opened += 1
        return StreamInfo(f"{info.name}-{self._n_opened}", info.sfreq, info.channels, info.source_id)


class RaisesAnything(ReferenceDriver):
    """Raises errors that nobody can tell from a fault of the program."""

    def _demand(self, verb: str, state: State, hint: str) -> None:
        if self.state is not state:
            raise RuntimeError(f"{verb} failed")


class StopsSlowly(ReferenceDriver):
    """Takes two seconds to stop."""

    def _stop(self) -> None:
        self._clock.sleep_until(self._clock.now() + 2.0)


class TalksTooMuch(ReferenceDriver):
    """Prints all its samples as its name."""

    def __repr__(self) -> str:
        return repr(np.arange(900).tolist())


class Selfish(ReferenceDriver):
    """Takes samples away from an instance that streams already."""

    _stolen = 0

    def _start(self) -> None:
        super()._start()
        before = self._amplifier.streaming
        if isinstance(before, Selfish) and before is not self:
            before._stolen += 20
        self._amplifier.streaming = self

    def _lost(self) -> int:
        stolen, self._stolen = self._stolen, 0
        return super()._lost() + stolen


class LeaksThreads(ReferenceDriver):
    """Leaves a thread behind at every start."""

    def _start(self) -> None:
        super()._start()
        over = threading.Event()
        self._amplifier.kept.callback(over.set)
        threading.Thread(target=over.wait, daemon=True).start()


class LeaksHandles(ReferenceDriver):
    """Leaves a handle behind at every start."""

    def _start(self) -> None:
        super()._start()
        self._amplifier.kept.callback(os.close, os.open(os.devnull, os.O_RDONLY))


class LeaksMemory(ReferenceDriver):
    """Keeps two megabytes at every start."""

    def _start(self) -> None:
        super()._start()
        self._amplifier.kept.callback(len, np.ones(2**18))


class LeaksWhenAbsent(ReferenceDriver):
    """Leaves a handle behind when nothing is there to open."""

    def _open(self) -> StreamInfo:
        if not self._amplifier.is_plugged:
            self._amplifier.kept.callback(os.close, os.open(os.devnull, os.O_RDONLY))
        return super()._open()
