"""PhysioNet EEG Motor Movement/Imagery: imagined left and right fist, 64 channels, 160 Hz."""

from __future__ import annotations

import logging
from pathlib import Path

from bci.datasets.folder import folder_of
from bci.errors import DataError

_log = logging.getLogger(__name__)

EVENTS = {"T0": "rest", "T1": "left", "T2": "right"}
"""What the annotations of runs 4, 8 and 12 mean."""

CITATION = (
    "G. Schalk et al. BCI2000: a general-purpose brain-computer interface system. IEEE Trans Biomed Eng 51:1034, 2004; "
    "A. Goldberger et al. PhysioBank, PhysioToolkit, and PhysioNet. Circulation 101:e215, 2000. Licence ODC-By 1.0."
)


class Eegmmidb:
    """Find the recordings.

    Parameters
    ----------
    root : str or Path, optional
        Folder with S001, S002, ...; ``$BCI_DATA/eegmmidb`` by default, with
        BCI_DATA being ../shared/data from the project if not set.

    Raises
    ------
    DataError
        If there is no such folder, saying where to get it.
    """

    def __init__(self, root: str | Path | None = None) -> None:
        self.root = folder_of("eegmmidb", root, "download S001, S002, ... from physionet.org/content/eegmmidb/1.0.0")
        _log.info("eegmmidb: %s", CITATION)

    def subjects(self) -> list[str]:
        """Return the people that are here, such as "S001"."""
        return sorted(p.name for p in self.root.iterdir() if p.is_dir() and p.name.startswith("S"))

    def path(self, subject: str, run: int) -> Path:
        """Return the file of one run; `DataError` if it is not here."""
        path = self.root / subject / f"{subject}R{run:02d}.edf"
        if not path.exists():
            raise DataError(f"expected {path}, there is no such file; download run {run} of {subject} from PhysioNet")
        return path
