"""The space that a recording has left: refused before, told in time while it runs."""

from __future__ import annotations

import logging
import os
import shutil
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from bci.errors import ConfigError
from bci.stream import StreamInfo

_log = logging.getLogger(__name__)

CAUTIONS_S = (600.0, 120.0)
"""How long before the disk is full a caution is logged, s."""
_MEASURE_S = 30.0
"""Over how long the rate is measured, s."""
_FIRST_S = 5.0
"""A rate over less than this is not believed, s."""
_PER_SAMPLE = 9
"""Bytes that XDF adds to each sample: the length of its time stamp, and the stamp."""
_PER_CHUNK = 160.0
"""Most bytes that a chunk adds: 16 of frame, stream and count, and a check line whose offset has 13 digits."""
_PER_S = 300.0
"""Bytes per second for the boundary (20 and its line), and for clock offsets of some streams each ten seconds."""
_ORDINARY_CHUNK_S = 0.04
"""Length of a chunk until some have come, s."""


def free_bytes(path: str | os.PathLike[str]) -> int:
    """Return how many bytes may still be written to the file system that holds `path`, or the folder of it."""
    there = Path(path)
    return shutil.disk_usage(there if there.exists() else there.parent).free


def bytes_per_s(info: StreamInfo, dtype: np.dtype[Any] | None = None, chunk_samples: float | None = None) -> float:
    """Return what a stream takes on the disk with its check file, bytes per second; markers and texts come on top.

    Parameters
    ----------
    info : StreamInfo
        The stream; its `sfreq` is the rate that the device declares.
    dtype : dtype, optional
        Type of the samples. While it is not known the least it can be: 2 bytes for integers with a scale, else 4.
    chunk_samples : float, optional
        Samples in a chunk, on average: each chunk costs a frame and a line. Those of 40 ms while it is not known.
    """
    size = dtype.itemsize if dtype is not None else 4 if info.scales is None else 2
    n = max(1.0, info.sfreq * _ORDINARY_CHUNK_S if chunk_samples is None else chunk_samples)
    return info.sfreq * (info.n_channels * size + _PER_SAMPLE + _PER_CHUNK / n) + _PER_S


def refuse_if_too_long(planned_s: float, needed_per_s: float, places: Sequence[Path]) -> None:
    """Raise `ConfigError` if `planned_s` of recording do not fit into what is free at `places` together."""
    free = sum({os.stat(p if p.exists() else p.parent).st_dev: free_bytes(p) for p in places}.values())
    needed = planned_s * needed_per_s
    if needed > free:
        raise ConfigError(
            f"the planned {planned_s:g} s of recording need {needed / 1e6:.0f} MB, {free / 1e6:.0f} MB are free at "
            f"{' and '.join(str(p.parent if p.suffix else p) for p in places)}, which is {free / needed_per_s:.0f} s; "
            "free space, record to another disk, or plan less"
        )


class DiskWatch:
    """Say once at ten and once at two minutes that the disk will be full.

    Parameters
    ----------
    path : path
        Recording.
    free : callable, optional
        Returns the bytes that are free at a path; `free_bytes` by default.
    """

    def __init__(
        self, path: str | os.PathLike[str], free: Callable[[str | os.PathLike[str]], int] = free_bytes
    ) -> None:
        self._path, self._free = Path(path), free
        self._seen: deque[tuple[float, int]] = deque()
        self._ahead = list(CAUTIONS_S)
        self.left_s = float("inf")
        """Time until the disk is full at the measured rate, s; inf while it is not known."""

    def check(self, now_s: float, written: int) -> None:
        """Take the bytes `written` until `now_s` (monotonic clock) and log a caution if one is due."""
        self._seen.append((now_s, written))
        while now_s - self._seen[0][0] > _MEASURE_S:
            self._seen.popleft()
        since_s, before = self._seen[0]
        if now_s - since_s < _FIRST_S or written <= before:
            return
        self.left_s = self._free(self._path) * (now_s - since_s) / (written - before)
        due = [at for at in self._ahead if self.left_s <= at]
        if due:
            self._ahead = [at for at in self._ahead if at < min(due)]
            _log.warning(
                "the disk of %s will be full in %.0f s; free space, or stop and record to another disk",
                self._path.name, self.left_s,
            )  # fmt: skip
