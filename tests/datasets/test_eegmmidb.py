from __future__ import annotations

import logging

import pytest

from bci.datasets.eegmmidb import EVENTS, Eegmmidb
from bci.errors import DataError


@pytest.fixture
def folder(tmp_path, monkeypatch):
    for person, runs in (("S002", (4, 8)), ("S001", (4, 8, 12))):
        for run in runs:
            path = tmp_path / "eegmmidb" / person / f"{person}R{run:02d}.edf"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
    (tmp_path / "eegmmidb" / "README").touch()
    monkeypatch.setenv("BCI_DATA", str(tmp_path))
    return tmp_path / "eegmmidb"


def test_people_are_found_and_sorted(folder):
    assert Eegmmidb().subjects() == ["S001", "S002"]
    assert Eegmmidb(folder).root == Eegmmidb().root


def test_path_of_a_run(folder):
    assert Eegmmidb().path("S001", 4) == folder / "S001" / "S001R04.edf"


def test_missing_run_says_what_to_get(folder):
    with pytest.raises(DataError, match=r"S002R12\.edf.*run 12 of S002 from PhysioNet"):
        Eegmmidb().path("S002", 12)


def test_missing_folder_says_where_to_get_it(tmp_path):
    with pytest.raises(DataError, match="physionet.org/content/eegmmidb"):
        Eegmmidb(tmp_path / "nothing")


def test_licence_and_citation_are_said(folder, caplog):
    with caplog.at_level(logging.INFO):
        Eegmmidb()
    assert "Schalk" in caplog.text and "ODC-By" in caplog.text


def test_real_runs_have_fifteen_cues():
    mne = pytest.importorskip("mne")
    try:
        data = Eegmmidb()
        path = data.path("S001", 4)
    except DataError as error:
        pytest.skip(str(error))
    raw = mne.io.read_raw_edf(path, verbose="error")
    labels = [EVENTS[d] for d in raw.annotations.description]
    assert (labels.count("left") + labels.count("right"), len(raw.ch_names), raw.info["sfreq"]) == (15, 64, 160.0)
