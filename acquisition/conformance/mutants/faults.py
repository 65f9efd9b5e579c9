"""Mutants that behave while all is well, and lie when something breaks."""

from __future__ import annotations

import math
from dataclasses import replace

from bci.acquisition.conformance.reference import ReferenceDriver
from bci.acquisition.driver import Samples
from bci.errors import DeviceError, DeviceLost, DeviceNotFound
from bci.stream import Chunk, Flag, StreamInfo


class HidesSilence(ReferenceDriver):
    """Returns empty chunks for ever when its source is dead."""

    def read(self, timeout_s: float) -> Chunk:
        """Read."""
        chunk = super().read(timeout_s)
        return chunk.replace(flags=chunk.flags & ~Flag.SILENT)


class ForgetsSilence(ReferenceDriver):
    """Counts on after a silence as if nothing had been lost."""

    def _read(self, timeout_s: float) -> Samples | None:
        frozen = math.isfinite(self._amplifier.frozen_until_s)
        got = super()._read(timeout_s)
        return replace(got, lost=0) if got is not None and frozen else got


class CountsOneLess(ReferenceDriver):
    """Counts a short loss one sample short."""

    def _lost(self) -> int:
        lost = super()._lost()
        return lost - 1 if 3 < lost < 100 else lost


class CountsAByte(ReferenceDriver):
    """Believes a counter of one byte and not the time."""

    def _lost(self) -> int:
        return super()._lost() % 256


class RaisesTheWrongError(ReferenceDriver):
    """Does not say that nothing answers, but that something failed."""

    def _open(self) -> StreamInfo:
        try:
            return super()._open()
        except DeviceNotFound as error:
            raise DeviceError(str(error)) from error


class LetsTheSystemSpeak(ReferenceDriver):
    """Hands on what the system says when the cable is pulled."""

    def _read(self, timeout_s: float) -> Samples | None:
        try:
            return super()._read(timeout_s)
        except DeviceLost as error:
            raise OSError(5, "Input/output error") from error


class StartsWithoutADevice(ReferenceDriver):
    """Hands on what the system says when there is nothing to start."""

    def _start(self) -> None:
        try:
            super()._start()
        except DeviceError as error:
            raise OSError(5, "Input/output error") from error


class HangsWhenUnplugged(ReferenceDriver):
    """Waits ten seconds for an answer to its last word."""

    _started = False

    def _start(self) -> None:
        super()._start()
        self._started = True

    def _close(self) -> None:
        if self._started and not self._amplifier.is_plugged:
            self._clock.sleep_until(self._clock.now() + 10.0)


class NeverComesBack(ReferenceDriver):
    """Cannot be opened again once it was unplugged."""

    _is_dead = False

    def _read(self, timeout_s: float) -> Samples | None:
        try:
            return super()._read(timeout_s)
        except DeviceLost:
            self._is_dead = True
            raise

    def _open(self) -> StreamInfo:
        if self._is_dead:
            raise DeviceError("expected a device that was never lost; start the program again")
        return super()._open()
