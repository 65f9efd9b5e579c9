"""Real EEG as it would have happened live: one person, in-process and over LSL."""

import pytest

from bci.apps.evaluate import evaluate_eegmmidb
from bci.datasets.eegmmidb import Eegmmidb
from bci.errors import DataError


def people():
    try:
        return Eegmmidb().subjects()
    except DataError as error:
        pytest.skip(str(error))


@pytest.mark.slow
def test_run_12_gives_the_same_decisions_in_process_and_over_lsl():
    said = []
    result = evaluate_eegmmidb(subjects=people()[6:7], over="both", say=said.append)
    (row,) = result["people"]
    assert result["identical"] and row["process"]["hash"] == row["lsl"]["hash"]
    assert row["process"]["n"] == 15 and row["process"]["low"] < row["process"]["accuracy"]
    assert any("chance limit" in line for line in said)


def test_one_person_in_process_is_scored_with_an_interval():
    (row,) = evaluate_eegmmidb(subjects=people()[6:7], over="process", say=lambda _: None)["people"]
    assert row["process"]["accuracy"] >= 0.8  # one of the clearest of the twelve
    assert row["process"]["high"] <= 1.0
