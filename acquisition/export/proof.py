"""The proof that a file holds what the recording held: written, read back, compared."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bci.errors import DataError


@dataclass(frozen=True, slots=True)
class Proof:
    """What a comparison of an exported file with its recording gave.

    Parameters
    ----------
    path : Path
        The exported file.
    sha256 : str
        Hash over the samples, quantised to what the format can hold: the same for recording and file.
    largest_error : float
        Largest difference between a sample in the recording and in the file, in the unit of its channel (µV for EEG).
    resolution : float
        The coarsest step of the file, in the unit of its channel; 0 for floating-point numbers.
    samples, channels, annotations : int
        How many were compared.
    """

    path: Path
    sha256: str
    largest_error: float
    resolution: float
    samples: int
    channels: int
    annotations: int


def sample_hash(samples: NDArray[Any]) -> str:
    """Return the SHA-256 over samples, shape (n_samples, n_channels), of one number format, little-endian."""
    fixed = np.ascontiguousarray(samples, samples.dtype.newbyteorder("<"))
    return hashlib.sha256(f"{fixed.shape} {fixed.dtype.str} ".encode() + fixed.tobytes()).hexdigest()


def compared(
    path: Path,
    quantised: NDArray[Any],
    read: NDArray[Any],
    original: NDArray[np.float64],
    physical: NDArray[np.float64],
    resolution: float,
    annotations: list[tuple[float, float, str]],
    read_annotations: list[tuple[float, float, str]],
) -> Proof:
    """Compare a file with its recording.

    Parameters
    ----------
    path : Path
        The file.
    quantised, read : ndarray, shape (n_samples, n_channels)
        Numbers that were to be written, and those that were read back.
    original, physical : ndarray of float64, shape (n_samples, n_channels)
        Samples of the recording and of the file in the units of the channels; NaN in the first is not compared.
    resolution : float
        Coarsest step of the file.
    annotations, read_annotations : list of (float, float, str)
        Onset and duration in s, and text, as they were to be written and as they were read back.

    Raises
    ------
    DataError
        If they differ.
    """
    known = np.isfinite(original)
    size = float(np.abs(original[known]).max()) if known.any() else 0.0
    largest = float(np.abs(original[known] - physical[known]).max()) if known.any() else 0.0
    wanted = sample_hash(quantised)
    # Half a step, and what double precision rounds.
    if sample_hash(read) != wanted or not largest <= 0.501 * resolution + 1e-12 * size:
        raise DataError(
            f"{path} was to hold the samples of the recording, read back they differ (by up to {largest:g}); do not "
            "use it, and export again"
        )
    if not _alike(annotations, read_annotations):
        raise DataError(
            f"{path} was to hold {len(annotations)} events and gaps, read back are {len(read_annotations)} or others; "
            "do not use it, and export to another format"
        )
    return Proof(path, wanted, largest, resolution, len(quantised), quantised.shape[1], len(annotations))


def _alike(wanted: list[tuple[float, float, str]], got: list[tuple[float, float, str]]) -> bool:
    """Whether events agree: text by text, times to 0.1 ms (EDF+ stores decimals)."""
    if sorted(text for *_, text in wanted) != sorted(text for *_, text in got):
        return False
    pairs = zip(sorted(wanted, key=_by_text), sorted(got, key=_by_text), strict=True)
    return all(abs(a[0] - b[0]) < 1e-4 and abs(a[1] - b[1]) < 1e-4 for a, b in pairs)


def _by_text(annotation: tuple[float, float, str]) -> tuple[str, float]:
    return annotation[2], annotation[0]
