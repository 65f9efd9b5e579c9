from __future__ import annotations

import logging

import numpy as np
import pytest
from scipy.io import savemat

from bci.datasets.guger import Guger, letters_of
from bci.errors import DataError, FormatError


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """One person: a letter, 180 flashes of 20 samples, W (column 5, row 10) being looked at."""
    code = np.concatenate([np.full((180, 1), 0), np.tile(np.arange(1, 13), 15)[:, None]], axis=1).repeat(10)
    code = np.r_[code, np.zeros(300)]
    rows = np.vstack([np.arange(len(code)) / 256, np.tile(np.arange(len(code)), (8, 1)), code, np.isin(code, (5, 10))])
    root = tmp_path / "p300-guger2009"
    root.mkdir()
    savemat(root / "s10.mat", {"s10": {"train": rows, "test": rows}})
    savemat(root / "s2.mat", {"s2": {"train": rows[:5]}})
    (root / "s3.mat").write_bytes(b"no MAT file")
    monkeypatch.setenv("BCI_DATA", str(tmp_path))
    return root


def test_people_are_found_in_order_of_their_number(folder):
    assert Guger().subjects() == ["s2", "s3", "s10"]


def test_run_has_its_flashes_and_its_word(folder):
    run = Guger().load("s10", "train")
    assert (run.samples.shape[1], run.sfreq, run.word) == (8, 256.0, "W")
    np.testing.assert_array_equal(run.onsets, 10 + 20 * np.arange(180))
    np.testing.assert_array_equal(run.flashed[:13], [*range(1, 13), 1])
    assert run.is_target.sum() == 30


def test_window_begins_with_its_flash(folder):
    run = Guger().load("s10", "test")
    windows = run.windows(run.samples, 0.5)
    assert windows.shape == (180, 8, 128)
    np.testing.assert_array_equal(windows[:, 3, 0], run.onsets)


def test_codes_are_columns_and_rows():
    assert (letters_of(1), letters_of(6), letters_of(7), letters_of(12)) == ("AGMSY4", "FLRX39", "ABCDEF", "456789")
    with pytest.raises(DataError, match="got 0"):
        letters_of(0)


@pytest.mark.parametrize(("subject", "run"), [("s2", "train"), ("s2", "test"), ("s3", "train")])
def test_file_of_another_layout_is_refused(folder, subject, run):
    with pytest.raises(FormatError, match="download it again"):
        Guger().load(subject, run)


def test_what_is_missing_is_named(folder, tmp_path):
    with pytest.raises(DataError, match="BNCI Horizon"):
        Guger().path("s1")
    with pytest.raises(DataError, match="got 'third'"):
        Guger().load("s10", "third")
    with pytest.raises(DataError, match="bnci-horizon-2020.eu"):
        Guger(tmp_path / "nothing")


def test_citation_is_said(folder, caplog):
    with caplog.at_level(logging.INFO):
        Guger()
    assert "Neurosci Lett" in caplog.text and "redistributed" in caplog.text


def test_real_runs_spell_their_words():
    try:
        data = Guger()
        runs = [data.load("s6", run) for run in ("train", "test")]
    except DataError as error:
        pytest.skip(str(error))
    assert [run.word for run in runs] == ["LUKAS", "WATER"]
    assert [(len(run.onsets), run.is_target.sum(), run.sfreq) for run in runs] == [(900, 150, 256.0)] * 2
