"""EDF+ (16 bits) and BDF+ (24 bits)."""

from __future__ import annotations

import math
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bci.acquisition.export.proof import Proof, compared
from bci.acquisition.export.signal import PADDING, Signal
from bci.errors import ConfigError, DataError, PluginError

_BITS = {".edf": 16, ".bdf": 24}
_LONGEST_RECORD_S = 100
_FIELD = 8
"""Characters that the header has for a number."""


def write_edf(signal: Signal, target: str | Path) -> Proof:
    """Write a recording as EDF+ or BDF+, by the ending of `target`, and compare what was written.

    Parameters
    ----------
    signal : Signal
        Recording.
    target : path
        New file, ending in ``.edf`` (16 bits) or ``.bdf`` (24 bits).

    Returns
    -------
    Proof
        With the largest rounding error.

    Raises
    ------
    ConfigError
        If the name has another ending or is taken.
    DataError
        If the format cannot hold the rate, or what was read back differs.
    PluginError
        If edfio is not installed.

    Notes
    -----
    The format is that of [1]_. The range of each channel is what it holds, so that the steps are as fine as can be.
    The format has no word for "unknown": lost and unknown samples are written as the value nearest to 0 and annotated
    "BAD_gap" and "BAD_unknown"; so is what fills the last record, "BAD_padding". No date and no person stands in the
    header.

    References
    ----------
    .. [1] B. Kemp, J. Olivan. European data format 'plus' (EDF+), Clin Neurophysiol 114, 2003,
       doi:10.1016/S1388-2457(03)00123-8
    """
    path = Path(target)
    if path.suffix.lower() not in _BITS:
        raise ConfigError(f"an EDF+ file ends in .edf, a BDF+ file in .bdf, got {path.name}; rename it")
    if path.exists():
        raise ConfigError(f"an export needs a new file; {path} exists and is kept; name another one")
    bits = _BITS[path.suffix.lower()]
    edfio = _edfio()
    record_s = _record_s(signal.info.sfreq)
    per_record = round(record_s * signal.info.sfreq)
    padding = -len(signal.data) % per_record
    data = np.concatenate([signal.data, np.full((padding, signal.info.n_channels), np.nan)])
    notes = signal.annotations()
    if padding:
        notes.append((len(signal.data) / signal.info.sfreq, padding / signal.info.sfreq, PADDING))
    signal_class, file_class = (edfio.EdfSignal, edfio.Edf) if bits == 16 else (edfio.BdfSignal, edfio.Bdf)
    ranges = [_kept_range(signal_class, *_range(data[:, k])) for k in range(data.shape[1])]
    codes = _quantised(data, ranges, bits)
    labels = _labels(signal.info.ch_names)
    signals = [
        signal_class.from_digital(
            np.ascontiguousarray(codes[:, k]),
            signal.info.sfreq,
            label=labels[k],
            physical_dimension=_ascii(channel.unit, 8),
            physical_range=ranges[k],
            digital_range=_digital_range(bits),
        )
        for k, channel in enumerate(signal.info.channels)
    ]
    annotations = [edfio.EdfAnnotation(onset, duration or None, text) for onset, duration, text in notes]
    file_class(signals, data_record_duration=record_s, annotations=annotations).write(path)
    return _proof(path, signal, codes, ranges, bits, notes)


def quantised_signal(path: Path) -> tuple[NDArray[Any], NDArray[np.float64], list[tuple[float, float, str]]]:
    """Return integers and physical values, shape (n_samples, n_channels), and annotations of an EDF+ or BDF+ file."""
    edfio = _edfio()
    file = edfio.read_bdf(path) if _BITS[path.suffix.lower()] == 24 else edfio.read_edf(path)
    codes = np.stack([np.asarray(s.digital) for s in file.signals], axis=1)
    physical = np.stack([np.asarray(s.data) for s in file.signals], axis=1)
    return codes, physical, [(float(a.onset), float(a.duration or 0.0), str(a.text)) for a in file.annotations]


def _proof(
    path: Path,
    signal: Signal,
    codes: NDArray[Any],
    ranges: list[tuple[float, float]],
    bits: int,
    notes: list[tuple[float, float, str]],
) -> Proof:
    got, physical, annotations = quantised_signal(path)
    n = len(signal.data)
    resolution = max((high - low) / (2**bits - 1) for low, high in ranges)
    return compared(path, codes[:n], got[:n], signal.data, physical[:n], resolution, notes, annotations)


def _edfio() -> Any:
    try:
        import edfio
    except ImportError as error:
        raise PluginError('EDF+ and BDF+ are written by edfio, which is missing; pip install "bci[export]"') from error
    return edfio


def _record_s(sfreq: float) -> int:
    """Return the shortest record, in whole seconds, that holds a whole number of samples."""
    for record_s in range(1, _LONGEST_RECORD_S + 1):
        n = record_s * sfreq
        if n >= 1 and abs(n - round(n)) < 1e-9 * n:
            return record_s
    raise DataError(
        f"EDF+ needs a whole number of samples in {_LONGEST_RECORD_S} s or less, {sfreq!r} Hz has none; export to FIF"
    )


def _digital_range(bits: int) -> tuple[int, int]:
    return -(2 ** (bits - 1)), 2 ** (bits - 1) - 1


def _range(values: NDArray[np.float64]) -> tuple[float, float]:
    """Return the physical range of a channel, as the header can hold it."""
    known = values[np.isfinite(values)]
    least, most = (float(known.min()), float(known.max())) if len(known) else (0.0, 0.0)
    low, high = _rounded(least, ROUND_FLOOR), _rounded(most, ROUND_CEILING)
    if high > low:
        return low, high
    return _rounded(least - 1, ROUND_FLOOR), _rounded(most + 1, ROUND_CEILING)  # a constant channel needs one too


def _kept_range(signal_class: Any, low: float, high: float) -> tuple[float, float]:
    """Return the range that edfio writes: it rounds outwards once more, by binary fractions, until nothing changes."""
    for _ in range(10):
        empty = signal_class(np.array([low, high]), 1.0, physical_range=(low, high))
        kept = (float(empty.physical_min), float(empty.physical_max))
        if kept == (low, high):
            return kept
        low, high = kept
    raise DataError(f"EDF+ cannot write the range {low!r} to {high!r} of a channel; export to FIF")


def _quantised(data: NDArray[np.float64], ranges: list[tuple[float, float]], bits: int) -> NDArray[Any]:
    """Return the integers that stand for `data`; what is unknown becomes the value nearest to 0."""
    low_code, high_code = _digital_range(bits)
    low, high = np.array(ranges).T
    values = np.clip(np.where(np.isfinite(data), data, 0.0), low, high)
    steps = np.rint((values - low) / ((high - low) / (high_code - low_code)))
    return np.clip(steps + low_code, low_code, high_code).astype(np.int16 if bits == 16 else np.int32)


def _rounded(value: float, rounding: str) -> float:
    """Return `value` rounded to what the header can hold: eight characters."""
    whole = len(str(math.floor(abs(value)))) + (value < 0)
    places = min(4, max(0, _FIELD - 1 - whole))  # smaller numbers would be written with an exponent
    step = Decimal(1).scaleb(-places)
    text = f"{Decimal(value).quantize(step, rounding=rounding):f}"
    if len(text) > _FIELD:
        raise DataError(f"EDF+ writes the range of a channel in {_FIELD} characters, got {value!r}; export to FIF")
    return float(text)


def _labels(names: list[str]) -> list[str]:
    """Return names that the header can hold: 16 ASCII characters, each once."""
    labels: list[str] = []
    for k, name in enumerate(names, 1):
        label = _ascii(name, 16)
        labels.append(label if label and label not in labels else f"channel {k}")
    return labels


def _ascii(text: str, length: int) -> str:
    micro = text.replace("µ", "u").replace("μ", "u")
    return micro.encode("ascii", "replace").decode()[:length]
