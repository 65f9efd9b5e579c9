"""`bci doctor`: every check runs here, and what is wrong comes with what to do."""

import json
import sys
import time

import pytest
from click.testing import CliRunner

from bci.apps import inspect, machine
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
