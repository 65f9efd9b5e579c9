from __future__ import annotations

import logging

import numpy as np
import pytest

from bci.datasets.kalunga import FREQUENCIES, Kalunga
from bci.errors import DataError


@pytest.fixture
def folder(tmp_path, monkeypatch):
    for person, sessions in (("subject02", ("2012.07.19-17.36.23",)), ("subject01", ("2012.08.01", "2012.07.06"))):
        for session in sessions:
            path = tmp_path / "ssvep-exo" / person / f"record-[{session}]_raw.fif"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
    (tmp_path / "ssvep-exo" / "README.md").touch()
    monkeypatch.setenv("BCI_DATA", str(tmp_path))
    return tmp_path / "ssvep-exo"


def test_people_and_sessions_are_found_and_sorted(folder):
    assert Kalunga().subjects() == ["subject01", "subject02"]
    assert Kalunga(folder).sessions("subject01") == ["2012.07.06", "2012.08.01"]


def test_path_of_a_session(folder):
    assert Kalunga().path("subject01", "2012.07.06") == folder / "subject01" / "record-[2012.07.06]_raw.fif"


def test_missing_session_says_which_are_here(folder):
    with pytest.raises(DataError, match=r"2012\.07\.06"):
        Kalunga().path("subject01", "1999")


def test_missing_folder_says_where_to_get_it(tmp_path):
    with pytest.raises(DataError, match="dataset-ssvep-exoskeleton"):
        Kalunga(tmp_path / "nothing")


def test_licence_and_citation_are_said(folder, caplog):
    with caplog.at_level(logging.INFO):
        Kalunga()
    assert "Kalunga" in caplog.text and "CC0" in caplog.text


def test_real_spectra_are_strongest_at_the_frequency_of_their_label():
    """With 17 and 21 Hz as the published table has them, this fails."""
    pytest.importorskip("mne")
    try:
        data = Kalunga()
        sessions = [(data.raw("subject03", s), data.events("subject03", s)) for s in data.sessions("subject03")]
    except DataError as error:
        pytest.skip(str(error))
    hz = np.fft.rfftfreq(4 * 256, 1 / 256)
    power = np.zeros((3, 3))
    for raw, cues in sessions:
        assert (len(cues), len(raw.ch_names), raw.info["sfreq"]) == (32, 8, 256.0)
        samples = raw.get_data() - raw.get_data().mean(axis=0)
        for row, name in zip(power, FREQUENCIES, strict=True):
            windows = np.stack([samples[:, c.sample + 256 : c.sample + 5 * 256] for c in cues if c.code == name])
            windows = (windows - windows.mean(axis=2, keepdims=True)) * np.hanning(windows.shape[2])
            bins = np.log(np.abs(np.fft.rfft(windows, axis=2)) ** 2).mean(axis=(0, 1))
            row += [bins[np.isclose(hz, f)][0] for f in FREQUENCIES.values()]
    assert power.argmax(axis=0).tolist() == [0, 1, 2]
