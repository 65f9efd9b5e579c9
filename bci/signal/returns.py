"""A channel that was unknown for a while and is known again: its filters go on as if it had drawn a line meanwhile."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from bci.signal.assembly import Assembly
from bci.signal.runners import runner
from bci.signal.stages import Array, FirStage, Mask, Stage
from bci.stream import StreamInfo

JUMP_UV, DRIFT_UV_S = 500.0, 1000.0
"""A step of more than the first, and the second for each s in which samples are missing, is a jump and no drift."""
FOR_EVER = np.iinfo(np.int64).max
"""Instead of a number of samples: a channel goes on as if it had always been at its new level."""


class Returns:
    """Watches for channels that are known again, and brings the states of a program to where they should be.

    Parameters
    ----------
    stages : sequence of Stage
        The stages of the program.
    info : StreamInfo
        What comes in.
    longest : int
        Longest absence that a line stands for, in samples. After a longer one, and after a jump, the filters of the
        channel go on as if it had been at its new level for ever.

    Notes
    -----
    While a channel is unknown its last value is held, since nothing better is known. What it should have been is known
    when it returns. The stages are linear: the states that a line would have left, less those that the held value has
    left, are the states of the same stages after the difference alone, a ramp of the height of the step. They are
    computed beside the program and added to it.
    """

    def __init__(self, stages: Sequence[Stage], info: StreamInfo, longest: int) -> None:
        self._longest, self._info, n_channels = longest, info, info.n_channels
        self._tape = Assembly(stages, n_channels)
        self._runners = [runner(stage, k, self._tape) for k, stage in enumerate(stages)]
        self._n_before = [len(s.taps) - 1 if isinstance(s, FirStage) else 0 for s in stages]
        self._gone = np.zeros(n_channels, np.int64)

    @property
    def is_waiting(self) -> bool:
        """Whether a channel that was known is unknown now."""
        return bool(self._gone.any())

    def restart(self) -> None:
        """Forget who is unknown."""
        self._gone[:] = 0

    def find(self, values: Array, bad: Mask, before: Array, known: Mask) -> dict[int, tuple[Array, NDArray[np.int64]]]:
        """Return the rows in which channels return, with their steps and how many samples they were unknown.

        Parameters
        ----------
        values, bad : ndarray, shape (n_samples, n_channels)
            The next rows, held where they are unknown.
        before, known : ndarray, shape (n_channels,)
            The last known values before them, and whether there were any.
        """
        found: dict[int, tuple[Array, NDArray[np.int64]]] = {}
        n_samples = len(values)
        for c in np.flatnonzero(bad.any(axis=0) | (self._gone > 0)):
            good = np.flatnonzero(bad[:, c] == 0)
            since = np.concatenate([[-1 - self._gone[c]], good[:-1]])  # the known row before each, known[c] allowing
            for t, s in zip(good.tolist(), since.tolist(), strict=False):
                if t - s > 1 and (known[c] or s >= 0):
                    step, length = found.setdefault(t, (np.zeros(len(before)), np.zeros(len(before), np.int64)))
                    step[c] = values[t, c] - (values[t - 1, c] if t else before[c])
                    length[c] = t - s - 1
            if len(good):
                self._gone[c] = n_samples - 1 - good[-1]
            elif known[c]:
                self._gone[c] += n_samples
        for step, length in found.values():
            length[jumps(self._info, step, length)] = FOR_EVER
        return found

    def add(self, steps: Array, lengths: NDArray[np.int64], number: int, memory: Array) -> None:
        """Add to the states in `memory` what makes up for steps in the row of that number, channel by channel."""
        for length in np.unique(lengths[lengths > 0]):
            columns = lengths == length
            for stage in self._runners:
                stage.restart()
            step = np.where(columns, steps, 0.0)
            if length > self._longest:
                self._take(step[None], None, 0)  # a stage begins in the steady state for its first row
            else:
                self._take(np.zeros((1, len(step))), None, 0)
                ramp = np.arange(1, length + 1)[:, None] / (length + 1) * step
                self._take(ramp, np.tile(columns.astype(np.uint8), (int(length), 1)), number - int(length))
            for k, place in enumerate(self._tape.states):
                memory[place] += self._tape.memory[place]
                for begin, d, e in self._tape.histories[k]:
                    rows = slice(begin, begin + self._n_before[k] * (e - d))
                    memory[rows] += self._tape.memory[rows]

    def _take(self, values: Array, bad: Mask | None, number: int) -> None:
        for stage in self._runners:
            values, bad, number = stage.run(values, bad, number)


def jumps(info: StreamInfo, steps: Array, missing: int | NDArray[np.int64]) -> NDArray[np.bool_]:
    """Return which channels jumped: their steps over so many missing samples are too large for a drift."""
    is_uv = np.array([c.unit == "uV" for c in info.channels])
    return np.asarray(is_uv & (np.abs(steps) > JUMP_UV + DRIFT_UV_S / info.sfreq * (missing + 1)))
