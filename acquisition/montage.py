"""Channels as LSL and XDF describe them: one convention, two ways to write it down."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from bci.stream import Channel, Kind
from bci.units import factor, is_voltage

_KINDS = {"ecog": Kind.EEG, "seeg": Kind.EEG, "stim": Kind.TRIG, "marker": Kind.TRIG, "acc": Kind.ACCEL,
          "accelerometer": Kind.ACCEL, "gyroscope": Kind.GYRO, "temperature": Kind.TEMP}  # fmt: skip
_BIOSIGNALS = (Kind.EEG, Kind.EOG, Kind.EMG, Kind.ECG)


class Entry(Protocol):
    """The description of one channel; returns the text that stands at a path, "" for none."""

    def __call__(self, *path: str) -> str:
        """Return the text, as in ``entry("location", "X")``."""
        ...


def described(entries: Sequence[Entry], content: str) -> tuple[NDArray[np.float64] | None, tuple[Channel, ...]]:
    """Return what converts the samples to µV (None: nothing) and the channels.

    Parameters
    ----------
    entries : sequence of callable
        One for each channel.
    content : str
        Content type of the stream, such as "EEG", for channels that do not say theirs.

    Returns
    -------
    scale : ndarray, shape (n_channels,), or None
        Factors of the samples.
    channels : tuple of Channel
        Names, kinds, units after scaling, and places.

    Notes
    -----
    A biosignal without a unit is in µV, as is the convention of LSL and XDF. Channels without a name are called
    ch1, ch2, ...; of two with one name the second gets its number.

    References
    ----------
    .. [1] XDF meta-data, "EEG Meta-Data", https://github.com/sccn/xdf/wiki/EEG-Meta-Data
    """
    channels: list[Channel] = []
    scales: list[float] = []
    for number, entry in enumerate(entries):
        word = (entry("type") or content).strip().lower()
        kind = _KINDS.get(word) or (Kind(word) if word in set(Kind) else Kind.MISC)
        unit = entry("unit") or ("uV" if kind in _BIOSIGNALS else "")
        scales.append(_scale(entry) * (factor(unit) if is_voltage(unit) else 1.0))
        name = entry("label") or f"ch{number + 1}"
        if name in {c.name for c in channels}:
            name = f"{name}-{number}"
        channels.append(Channel(name, kind, "uV" if is_voltage(unit) else unit, _position(entry)))
    scale = None if all(s == 1.0 for s in scales) else np.array(scales)
    return scale, tuple(channels)


def xdf_entry(node: Any) -> Entry:
    """Return the description that stands in one channel node of an XDF header, as pyxdf gives it."""

    def text(*path: str) -> str:
        at = node
        for key in path:
            at = at.get(key, [None])[0] if hasattr(at, "get") else None
        return at if isinstance(at, str) else ""

    return text


def _scale(entry: Entry) -> float:
    """Return what integers are multiplied with to be in the unit; only our own recordings say so."""
    with contextlib.suppress(ValueError):
        scale = float(entry("scale_to_unit"))
        return scale if math.isfinite(scale) and scale != 0 else 1.0
    return 1.0


def _position(entry: Entry) -> tuple[float, float, float] | None:
    """Return an electrode's place in m; the convention gives it in mm, our own streams to the bit in m."""
    for key, scale in (("position_m", 1.0), ("location", 1e-3)):
        with contextlib.suppress(ValueError):
            x, y, z = (float(entry(key, axis)) * scale for axis in "XYZ")
            if math.isfinite(x + y + z):
                return x, y, z
    return None
