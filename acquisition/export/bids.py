"""EEG-BIDS: a data set that others can read without asking."""

from __future__ import annotations

import re
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

from bci.acquisition.export.edf import quantised_signal, write_edf
from bci.acquisition.export.proof import Proof, compared
from bci.acquisition.export.signal import Signal
from bci.errors import ConfigError, PluginError
from bci.stream import Kind

_TYPES = {Kind.EEG: "eeg", Kind.EOG: "eog", Kind.EMG: "emg", Kind.ECG: "ecg"}
_LABEL = re.compile(r"[A-Za-z0-9]+")


def write_bids(
    signal: Signal,
    root: str | Path,
    *,
    subject: str = "01",
    task: str = "recording",
    session: str | None = None,
    run: int | None = None,
    line_hz: float | None = None,
) -> Proof:
    """Add a recording to a BIDS data set (EEG-BIDS, as BDF+), and compare what was written.

    Parameters
    ----------
    signal : Signal
        Recording; its first channels of kind EEG make it one of EEG.
    root : path
        Folder of the data set; begun if it is new or empty.
    subject, task, session : str
        Labels: letters and digits. A number of a person, never a name.
    run : int, optional
        Number of the run, if a task was done several times.
    line_hz : float, optional
        Frequency of the mains, Hz; "n/a" if it is not given.

    Raises
    ------
    ConfigError
        If a label has other characters, or the data set has this recording.
    DataError
        If what was read back differs.
    PluginError
        If mne-bids or edfio is not installed.

    Notes
    -----
    As in [1]_, events, losses and unknown samples stand in ``events.tsv`` and in the BDF+ file; electrode
    positions, where they are known, in ``electrodes.tsv``. No date is written.

    References
    ----------
    .. [1] C. R. Pernet et al. EEG-BIDS, an extension to the brain imaging data structure for electroencephalography,
       Sci Data 6:103, 2019, doi:10.1038/s41597-019-0104-8
    """
    for what, label in (("subject", subject), ("task", task), ("session", session)):
        if label is not None and not _LABEL.fullmatch(label):
            raise ConfigError(f"the {what} of a BIDS data set is letters and digits, got {label!r}; correct it")
    mne_bids = _mne_bids()
    place = mne_bids.BIDSPath(
        subject=subject, task=task, session=session, run=run, root=root, datatype="eeg", suffix="eeg", extension=".bdf"
    )
    if place.fpath.exists():
        raise ConfigError(f"the data set has {place.fpath.name} already; it is kept; give another run, task or subject")
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "export.bdf"
        proof = write_edf(signal, source)
        codes, _, notes = quantised_signal(source)
        mne_bids.write_raw_bids(_raw(source, signal, line_hz), place, overwrite=False, verbose="error")
    # mne-bids tells the maker by the ending, so that every amplifier's BDF+ file would be one of Biosemi's.
    maker = {"Manufacturer": signal.info.meta.get("manufacturer", "n/a")}
    mne_bids.update_sidecar_json(place.copy().update(extension=".json"), maker, verbose="error")
    got, physical, annotations = quantised_signal(place.fpath)
    n = len(signal.data)
    compared(place.fpath, codes[:n], got[:n], signal.data, physical[:n], proof.resolution, notes, annotations)
    return replace(proof, path=place.fpath)


def _mne_bids() -> Any:
    try:
        import mne_bids
    except ImportError as error:
        raise PluginError('BIDS is written by mne-bids, which is missing; pip install "bci[bids]"') from error
    return mne_bids


def _raw(path: Path, signal: Signal, line_hz: float | None) -> Any:
    """Return the BDF+ file as MNE sees it, with what BDF+ cannot say: kinds, positions, mains."""
    import mne

    raw = mne.io.read_raw_bdf(path, verbose="error")
    kinds = {
        name: _TYPES.get(channel.kind, "misc") for name, channel in zip(raw.ch_names, signal.info.channels, strict=True)
    }
    raw.set_channel_types(kinds, verbose="error", on_unit_change="ignore")
    raw.info["line_freq"] = line_hz
    places = {
        name: channel.position
        for name, channel in zip(raw.ch_names, signal.info.channels, strict=True)
        if channel.kind is Kind.EEG and channel.position is not None
    }
    if places:
        montage = mne.channels.make_dig_montage(places, coord_frame="head")
        raw.set_montage(montage, on_missing="ignore", verbose="error")
    raw.set_meas_date(None)
    return raw
