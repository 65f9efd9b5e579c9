"""FIF, the format of MNE."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bci.acquisition.export.proof import Proof, compared
from bci.acquisition.export.signal import Signal
from bci.errors import ConfigError
from bci.interop import to_raw


def write_fif(signal: Signal, target: str | Path) -> Proof:
    """Write a recording as FIF in double precision, and compare what was written.

    Parameters
    ----------
    signal : Signal
        Recording.
    target : path
        New file, ending in ``_raw.fif`` or ``_eeg.fif``, as MNE wants it.

    Raises
    ------
    ConfigError
        If the name has another ending or is taken.
    DataError
        If what was read back differs.

    Notes
    -----
    Lost and unknown samples are NaN, and annotated "BAD_gap" and "BAD_unknown". MNE keeps volts: the
    difference in µV is what two multiplications round.
    """
    import mne

    path = Path(target)
    if not path.name.endswith(("_raw.fif", "_eeg.fif")):
        raise ConfigError(
            f"MNE wants the name of a recording to end in _raw.fif or _eeg.fif, got {path.name}; name it "
            f"{path.stem}_raw.fif"
        )
    if path.exists():
        raise ConfigError(f"an export needs a new file; {path} exists and is kept; name another one")
    raw = to_raw(signal.data, signal.info)
    notes = signal.annotations()
    onset, duration, text = zip(*notes, strict=True) if notes else ((), (), ())
    raw.set_annotations(mne.Annotations(list(onset), list(duration), list(text)), verbose="error")
    raw.save(path, fmt="double", verbose="error")
    read = mne.io.read_raw_fif(path, verbose="error")
    written, got = _samples(raw), _samples(read)
    in_units = _samples(to_raw(np.ones((1, signal.info.n_channels)), signal.info))
    marks = [(a["onset"], a["duration"], a["description"]) for a in read.annotations]
    return compared(path, written, got, signal.data, got / in_units, 0.0, notes, marks)


def _samples(raw: Any) -> NDArray[np.float64]:
    """Return what MNE holds, shape (n_samples, n_channels)."""
    data: NDArray[np.float64] = raw.get_data()
    return data.T
