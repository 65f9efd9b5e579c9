"""SSVEP of three flickering lights and a reject class (Kalunga 2016): 8 channels, 256 Hz."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING

from bci.datasets.folder import folder_of
from bci.errors import DataError
from bci.stream import Event

if TYPE_CHECKING:
    import mne

_log = logging.getLogger(__name__)

EVENTS = {1: "rest", 2: "13 Hz", 3: "21 Hz", 4: "17 Hz"}
"""What the event numbers mean. The published table swaps 17 and 21 Hz; the spectra of the recordings say this."""

FREQUENCIES = {"13 Hz": 13.0, "17 Hz": 17.0, "21 Hz": 21.0}
"""Frequency of each class that flickers, Hz, as the decoders of flicker take it."""

TRIAL_S = 5.0
"""Length of a trial after its cue, s."""

CITATION = (
    "E. Kalunga et al. Online SSVEP-based BCI using Riemannian geometry. Neurocomputing 191:55-68, 2016, "
    "doi:10.1016/j.neucom.2016.01.007. Licence CC0."
)


class Kalunga:
    """Find and read the recordings.

    Parameters
    ----------
    root : str or Path, optional
        Folder with subject01, subject02, ...; ``$BCI_DATA/ssvep-exo`` by default, with
        BCI_DATA being ../shared/data from the project if not set.

    Raises
    ------
    DataError
        If there is no such folder, saying where to get it.

    Notes
    -----
    The sessions of a person lie minutes apart. The lights are not locked to the trials: `Trca` is at chance, and
    templates bring `ExtendedCca` nothing. The amplitudes are those of the files, about a thousand times what an EEG
    has: their unit is not known.
    """

    def __init__(self, root: str | Path | None = None) -> None:
        to_get = "download subject01, subject02, ... from github.com/sylvchev/dataset-ssvep-exoskeleton"
        self.root = folder_of("ssvep-exo", root, to_get)
        _log.info("kalunga-ssvep: %s", CITATION)

    def subjects(self) -> list[str]:
        """Return the people that are here, such as "subject01"."""
        return sorted(p.name for p in self.root.iterdir() if p.is_dir() and p.name.startswith("subject"))

    def sessions(self, subject: str) -> list[str]:
        """Return the sessions of a person by time, such as "2012.07.06-19.02.16"."""
        found = sorted((self.root / subject).glob("record-*_raw.fif"))
        return [p.name.removeprefix("record-[").removesuffix("]_raw.fif") for p in found]

    def path(self, subject: str, session: str) -> Path:
        """Return the recording of one session; `DataError` if it is not here."""
        path = self.root / subject / f"record-[{session}]_raw.fif"
        if not path.exists():
            raise DataError(f"expected {path}, there is no such file; sessions here are {self.sessions(subject)}")
        return path

    def raw(self, subject: str, session: str) -> mne.io.BaseRaw:
        """Return the recording of one session as MNE reads it."""
        import mne

        return mne.io.read_raw_fif(self.path(subject, session), preload=True, verbose="error")

    def events(self, subject: str, session: str) -> list[Event]:
        """Return the cues of one session: sample from the start of the recording, time in s, and class."""
        import mne

        path = self.path(subject, session)
        raw = mne.io.read_raw_fif(path, verbose="error")  # its head, not its samples
        rows = mne.read_events(path.with_name(path.name.replace("_raw.fif", "-eve.fif")), verbose="error")
        cues = [(int(sample) - raw.first_samp, EVENTS[int(number)]) for sample, _, number in rows if number in EVENTS]
        return [Event(sample, sample / raw.info["sfreq"], code, "kalunga-ssvep") for sample, code in cues]
