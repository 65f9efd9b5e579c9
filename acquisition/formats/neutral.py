"""A name for a recording that says nothing of who was recorded: names of files and headers often do."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

_WORDS = {"csv_files": "csv", "numpy_files": "numpy", "openbci": "openbci", "xdf": "xdf", "edf": "edf"}
"""How formats are called, by their readers."""
_ENDINGS = ("fif", "gdf", "vhdr", "set", "cnt", "mff", "cdt", "eeg", "nxe", "bdf")
"""Endings of files that may stand in a name; any other could be part of somebody's."""
_MOST = 1 << 22
"""How many bytes of samples are looked at."""


def neutral_name(kind: str, data: NDArray[Any]) -> str:
    """Return a name such as "edf-1f3a9c02": the format, and a hash of the samples.

    Parameters
    ----------
    kind : str
        The format.
    data : ndarray, shape (n_samples, n_channels)
        All samples. Of more than 4 MB, rows spread evenly over them are taken.

    Notes
    -----
    The same recording has the same name wherever it lies and whatever its file is called, so who has the file can
    tell which one it was; nobody can tell more.
    """
    step = max(1, data.nbytes // _MOST)
    digest = hashlib.blake2b(repr(data.shape).encode(), digest_size=4)
    digest.update(np.ascontiguousarray(data[::step]).tobytes())
    return f"{kind}-{digest.hexdigest()}"


def format_word(path: Path, reader: str) -> str:
    """Return what the format of `path`, read by the module `reader`, is called in a name."""
    ending = path.suffix.lower().lstrip(".")
    if ending in _ENDINGS and reader in ("edf", "mne_files"):
        return ending
    return _WORDS.get(reader, "recording")
