"""`bci doctor`: every check runs here, and what is wrong comes with what to do."""

import json
import sys
import time
from importlib.metadata import PackageNotFoundError

import pytest
from click.testing import CliRunner

from bci.apps import inspect, machine, ranges
from bci.apps.cli import main


@pytest.mark.parametrize("look", machine.CHECKS, ids=lambda look: look.__name__)
def test_every_check_says_what_it_found_and_what_to_do(look):
    found = look()
    assert set(found) == {"what", "ok", "needed", "found", "fix"}
    assert found["found"]
    assert bool(found["fix"]) != found["ok"]


def test_an_own_stream_is_found_and_the_synthetic_board_delivers():
    assert (machine.lsl_loop()["ok"], machine.board()["ok"]) == (True, True)


def test_problems_are_listed_with_their_fixes_what_is_needed_first():
    checks = [
        machine.check("screen", False, "none", "plug one in", needed=False),
        machine.check("clock", True, "fine", "another machine"),
        machine.check("disk", False, "0 GB free", "free some space"),
    ]
    assert inspect.problems(checks) == ["disk: 0 GB free: free some space", "screen: none: plug one in"]


@pytest.mark.skipif(sys.platform != "linux", reason="needs a folder that even root cannot write to")
def test_a_folder_that_takes_no_file_is_named(monkeypatch):
    monkeypatch.chdir("/proc")
    found = machine.writing()
    assert (found["ok"], found["needed"]) == (False, True)
    assert "/proc cannot be written to" in found["found"]


def test_a_board_that_hangs_is_not_waited_for(monkeypatch):
    monkeypatch.setattr(machine, "_BOARD_S", 0.1)
    monkeypatch.setattr(machine, "_try_board", lambda: time.sleep(1.0) or "samples")
    assert machine.board()["found"] == "no answer within 0.1 s"


def test_a_missing_package_is_a_fault_with_its_fix_and_exit_code_1(monkeypatch):
    monkeypatch.setattr(inspect, "NEEDED", ("numpy", "no-such-package"))
    monkeypatch.setattr(machine, "CHECKS", (machine.space,))
    done = CliRunner().invoke(main, ["doctor"])
    assert done.exit_code == 1
    assert "- no-such-package: absent: pip install no-such-package" in done.output
    assert "Needed and missing: no-such-package." in done.output
    checks = json.loads(CliRunner().invoke(main, ["doctor", "--json"]).stdout)
    assert [c["fix"] for c in checks if c["what"] == "no-such-package"] == ["pip install no-such-package"]


ASKED = ["numpy>=1.26", "setuptools<81", 'pyserial>=3.5; extra == "apps"', 'sphinx>=7; extra == "docs"',
         'old>=9; python_version < "3.0"', 'bci[apps]; extra == "all"']  # fmt: skip


@pytest.mark.parametrize(
    ("there", "ok", "needed", "found", "fix"),
    [
        ({"numpy": "1.26.4", "setuptools": "80.9"}, True, True, "2 packages", ""),
        ({"numpy": "2.0.0rc1+local", "setuptools": "80.9", "pyserial": "3.5", "sphinx": "1"}, True, True, "3 pack", ""),
        ({"numpy": "1.9", "setuptools": "80"}, False, True, "numpy 1.9, not >=1.26", "pip install 'numpy>=1.26'"),
        ({"numpy": "2.0", "setuptools": "81.0"}, False, True, "setuptools 81.0, not <81", "'setuptools<81'"),
        ({"setuptools": "80"}, False, True, "numpy absent, not >=1.26", "pip install 'numpy>=1.26'"),
        ({"numpy": "2.0", "setuptools": "80", "pyserial": "3.1"}, False, False, "pyserial 3.1", "'pyserial>=3.5'"),
    ],
)
def test_versions_are_held_against_the_ranges_of_the_metadata(there, ok, needed, found, fix):
    def installed(name):
        try:
            return there[name]
        except KeyError:
            raise PackageNotFoundError(name) from None

    got = ranges.judge(ASKED, ["apps"], installed)
    assert (got["ok"], got["needed"]) == (ok, needed)
    assert found in got["found"] and fix in got["fix"]


def test_versions_here_are_in_their_ranges_and_the_doctor_looks():
    found = ranges.versions()
    assert found["ok"] and int(found["found"].split()[0]) >= 17, found
    assert ranges.versions in inspect.looks()
