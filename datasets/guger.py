"""Guger 2009: a row and column speller of 6 x 6 letters, 8 channels, 256 Hz."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bci.datasets.folder import folder_of
from bci.errors import DataError, FormatError

_log = logging.getLogger(__name__)

CITATION = (
    "C. Guger et al. How many people are able to control a P300-based brain-computer interface (BCI)? "
    "Neurosci Lett 462:94-98, 2009. doi:10.1016/j.neulet.2009.06.045; BNCI Horizon 2020 set 003-2015, not to be "
    "redistributed."
)

CH_NAMES = ("Fz", "Cz", "P3", "Pz", "P4", "PO7", "Oz", "PO8")
LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
"""The speller, row by row."""
FLASHES_PER_LETTER = 180
"""15 repetitions of 6 columns and 6 rows."""


@dataclass(frozen=True, slots=True, eq=False)
class SpellerRun:
    """One run of five letters.

    Parameters
    ----------
    samples : ndarray, shape (n_samples, 8)
        EEG in µV, channels as `CH_NAMES`.
    sfreq : float
        Rate in Hz.
    onsets : ndarray of int, shape (n_flashes,)
        Sample at which each flash began.
    flashed : ndarray of int, shape (n_flashes,)
        What flashed: 1 to 6 a column from the left, 7 to 12 a row from the top.
    is_target : ndarray of bool, shape (n_flashes,)
        Whether the letter looked at was in it.
    """

    samples: NDArray[np.float64]
    sfreq: float
    onsets: NDArray[np.int64]
    flashed: NDArray[np.int64]
    is_target: NDArray[np.bool_]

    @property
    def letter(self) -> NDArray[np.int64]:
        """Which letter of the run each flash belongs to, 0 to 4, shape (n_flashes,)."""
        return np.arange(len(self.onsets)) // FLASHES_PER_LETTER

    @property
    def word(self) -> str:
        """The letters that were looked at."""
        word = ""
        for k in range(len(self.onsets) // FLASHES_PER_LETTER):
            hits = np.unique(self.flashed[(self.letter == k) & self.is_target])
            word += "".join(sorted(set.intersection(*(set(letters_of(int(code))) for code in hits))))
        return word

    def windows(self, samples: NDArray[np.float64], length_s: float = 0.8) -> NDArray[np.float64]:
        """Return what follows each flash in (filtered) `samples`, shape (n_flashes, n_channels, n_times)."""
        span = np.arange(round(length_s * self.sfreq))
        return samples[self.onsets[:, None] + span].transpose(0, 2, 1)


class Guger:
    """Find the recordings.

    Parameters
    ----------
    root : str or Path, optional
        Folder with s6.mat, s8.mat, ...; ``$BCI_DATA/p300-guger2009`` by default, with
        BCI_DATA being ../shared/data from the project if not set.

    Raises
    ------
    DataError
        If there is no such folder, saying where to get it.
    """

    def __init__(self, root: str | Path | None = None) -> None:
        self.root = folder_of(
            "p300-guger2009",
            root,
            "download s1.mat, s2.mat, ... of set 003-2015 from bnci-horizon-2020.eu/database/data-sets",
        )
        _log.info("guger: %s", CITATION)

    def subjects(self) -> list[str]:
        """Return the people that are here, such as "s6", in order of their number."""
        return sorted((p.stem for p in self.root.glob("s*.mat") if p.stem[1:].isdigit()), key=lambda s: int(s[1:]))

    def path(self, subject: str) -> Path:
        """Return the file of one person, which holds both runs; `DataError` if it is not here."""
        path = self.root / f"{subject}.mat"
        if not path.exists():
            raise DataError(f"expected {path}, there is no such file; download {subject} from BNCI Horizon 2020")
        return path

    def load(self, subject: str, run: str) -> SpellerRun:
        """Return the run "train" or "test" of a person.

        Raises
        ------
        DataError
            If there is no such person or run.
        FormatError
            If the file is not laid out as the set describes.
        """
        from scipy.io import loadmat
        from scipy.io.matlab import MatReadError

        path = self.path(subject)
        if run not in ("train", "test"):
            raise DataError(f'expected the run "train" or "test", got {run!r}; there are no others')
        try:
            rows = np.asarray(loadmat(path, simplify_cells=True)[subject][run], np.float64)
        except (KeyError, IndexError, TypeError, ValueError, MatReadError) as error:
            raise FormatError(
                f"{path} does not hold {subject}.{run} as rows of numbers; download it again", path=str(path)
            ) from error
        if rows.ndim != 2 or len(rows) != 11:
            raise FormatError(
                f"{path}: expected 11 rows (time, 8 channels, flash, target), got {rows.shape}; download it again",
                path=str(path),
            )
        # Row 0 is the time in s, 1 to 8 the EEG, 9 the column or row while it is lit (else 0), 10 whether it is target.
        code = rows[9].astype(np.int64)
        onsets = np.flatnonzero((code != 0) & (np.r_[0, code[:-1]] == 0))
        sfreq = round(1 / float(np.median(np.diff(rows[0]))), 3)
        return SpellerRun(np.ascontiguousarray(rows[1:9].T), sfreq, onsets, code[onsets], rows[10, onsets] == 1)


def letters_of(code: int) -> str:
    """Return the six letters that flash together: column 1 to 6 or row 7 to 12."""
    if not 1 <= code <= 12:
        raise DataError(f"expected a column 1 to 6 or a row 7 to 12, got {code}; other codes do not flash")
    return LETTERS[code - 1 :: 6] if code <= 6 else LETTERS[6 * (code - 7) : 6 * (code - 6)]
