"""Mutants of what is delivered: data, names, units, capabilities."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from bci.acquisition.conformance.reference import ReferenceAmplifier, ReferenceDriver
from bci.acquisition.driver import Samples, State
from bci.stream import Channel, Chunk, Flag, StreamInfo


class DeliversAnotherStream(ReferenceDriver):
    """Its chunks carry another description than open() gave."""

    def read(self, timeout_s: float) -> Chunk:
        """Read."""
        chunk = super().read(timeout_s)
        return chunk.replace(info=replace(chunk.info, source_id="another"))


class ChangesItsType(ReferenceDriver):
    """Delivers single precision now and then."""

    def _read(self, timeout_s: float) -> Samples | None:
        got = super()._read(timeout_s)
        if got is not None and self._n % 100 == 0:
            return replace(got, data=got.data.astype(np.float32))
        return got


class RepeatsNames(ReferenceDriver):
    """Has two channels that differ by case only."""

    def _open(self) -> StreamInfo:
        info = super()._open()
        return replace(info, channels=(*info.channels[:-1], Channel("FZ")))

    def impedance(self) -> dict[str, float]:
        """Return the impedance of one electrode, kOhm."""
        return {"Fz": 5.0}


class StatesVolts(ReferenceDriver):
    """States another unit for EEG than microvolts."""

    def _open(self) -> StreamInfo:
        info = super()._open()
        return replace(info, channels=tuple(replace(c, unit="V") for c in info.channels))


class DeliversVolts(ReferenceDriver):
    """Delivers volts and states microvolts: wrong by a million."""

    def _read(self, timeout_s: float) -> Samples | None:
        got = super()._read(timeout_s)
        return got if got is None else replace(got, data=got.data * 1e-6)


class HidesNans(ReferenceDriver):
    """Delivers unknown values without a word."""

    def read(self, timeout_s: float) -> Chunk:
        """Read."""
        chunk = super().read(timeout_s)
        if not chunk.n_samples:
            return chunk
        data = chunk.data.copy()
        data[0, 0] = np.nan
        return chunk.replace(data=data)


class ReusesItsBuffer(ReferenceDriver):
    """Delivers views of a buffer that it writes to again."""

    def __init__(self, amplifier: ReferenceAmplifier) -> None:
        super().__init__(amplifier)
        self._buffer = np.empty((2000, len(amplifier.names)))

    def _read(self, timeout_s: float) -> Samples | None:
        got = super()._read(timeout_s)
        if got is None:
            return None
        view = self._buffer[: len(got.data)]
        view[:] = got.data
        return replace(got, data=view)


class DeliversWriteable(ReferenceDriver):
    """Delivers arrays that every reader can spoil."""

    def read(self, timeout_s: float) -> Chunk:
        """Read."""
        chunk = super().read(timeout_s)
        object.__setattr__(chunk, "data", chunk.data.copy())
        return chunk


class RepeatsAChunk(ReferenceDriver):
    """Delivers the same samples again now and then, under new numbers."""

    _last: Any = None

    def _read(self, timeout_s: float) -> Samples | None:
        got = super()._read(timeout_s)
        if got is None:
            return None
        again = self._last is not None and self._n % 200 == 0 and self._last.shape == got.data.shape
        self._last, data = got.data, self._last if again else got.data
        return replace(got, data=data)


class CountsWrongly(ReferenceDriver):
    """Reports one sample more than it delivered."""

    def report(self) -> dict[str, Any]:
        """Return what happened."""
        told = super().report()
        return {**told, "delivered": told["delivered"] + 1}


class MeasuresStrangers(ReferenceDriver):
    """Measures the impedance of channels that it does not have."""

    def impedance(self) -> dict[str, float]:
        """Return impedances, kOhm."""
        return {"E1": 5.0}


class DiesOfImpedance(ReferenceDriver):
    """Delivers nothing any more once it has measured impedance."""

    _measured = False

    def impedance(self) -> dict[str, float]:
        """Return impedances, kOhm."""
        self._measured = self.state is not State.STREAMING
        return super().impedance()

    def _read(self, timeout_s: float) -> Samples | None:
        if not self._measured:
            return super()._read(timeout_s)
        self._clock.sleep_until(self._clock.now() + timeout_s)
        return None


class CountsPercent(ReferenceDriver):
    """Says its battery in percent."""

    def battery(self) -> float:
        """Return what is left."""
        return 80.0


class FlagsNothing(ReferenceDriver):
    """Counts what is lost and does not flag it."""

    def read(self, timeout_s: float) -> Chunk:
        """Read."""
        chunk = super().read(timeout_s)
        return chunk.replace(flags=chunk.flags & ~Flag.GAP)
