"""Damaged files: refused with FormatError or loaded, and nothing else. `benchmarks/bench_damage.py` has the figures."""

import numpy as np
import pytest

from bci.acquisition.recording import load
from bci.errors import FormatError
from benchmarks import damaged


def outcomes(folder, name, n_files, what):
    (folder / "whole").mkdir()
    (folder / "hurt").mkdir()
    whole = damaged.MAKERS[name](folder / "whole" / "x", what)
    rng = np.random.default_rng([1, *name.encode()])
    found = []
    for _ in range(n_files):
        try:
            load(damaged.damaged_copy(whole, folder / "hurt", rng), **damaged.SETTINGS.get(name, {}))
            found.append("loaded")
        except FormatError as error:
            assert error.path, "a damaged file is named"
            # That a library crashed is no shame where it crashed alone: SciPy does on some damaged EEGLAB files.
            found.append("late" if "not over" in str(error) else "refused")
    return set(found)


@pytest.mark.parametrize("name", list(damaged.MAKERS))
def test_damage_is_refused_or_read(tmp_path, name):
    assert outcomes(tmp_path, name, 5, damaged.truth(2560, 4)) <= {"loaded", "refused"}


@pytest.mark.slow
@pytest.mark.parametrize("name", list(damaged.MAKERS))
def test_much_damage_is_refused_or_read(tmp_path, name):
    assert outcomes(tmp_path, name, 40, damaged.truth()) <= {"loaded", "refused"}
