import json
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from bci.apps.cli import main

DRIVER = """
from bci.acquisition.participant import Participant


class Mine(Participant):
    def stop(self):
        if self.state.value == "open":
            raise RuntimeError("nothing to stop")
        super().stop()
"""


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    return tmp_path


def call(*arguments):
    return CliRunner().invoke(main, list(arguments))


def check(spec, *cases, more=()):
    return call("device", "check", spec, *more, *(word for name in cases for word in ("--case", name)))


@pytest.mark.parametrize("verb", ["check", "verify", "key", "new"])
def test_every_verb_has_help(verb):
    done = call("device", verb, "--help")
    assert done.exit_code == 0
    assert "Usage" in done.output


def test_check_writes_page_and_report_that_verify():
    done = check("participant", "times_rise", "units_are_stated")
    assert done.exit_code == 0, done.output
    assert "2 of 2 cases passed" in done.output
    for suffix in (".html", ".json"):
        verified = call("device", "verify", f"out/conformance-participant{suffix}")
        assert verified.exit_code == 0
        assert "unsigned" in verified.output


def test_failed_case_is_exit_code_1(folder):
    Path("mydriver.py").write_text(DRIVER, encoding="utf-8")
    done = check("mydriver:Mine,seed=3", "stops_twice", "times_rise", more=["--json"])
    assert done.exit_code == 1
    assert json.loads(done.output)["counts"] == {"passed": 1, "failed": 1, "exempt": 0}


def test_step_can_be_required_of_all_cases_only():
    done = check("participant", "times_rise", more=["--require", "bronze"])
    assert done.exit_code == 2 and "needs every case" in done.output


def test_a_key_is_never_replaced_nor_shown():
    assert call("device", "key", "z.pub").exit_code == 2
    Path("q.pub").write_text("old")
    assert call("device", "key", "q.pem").exit_code == 2 and Path("q.pub").read_text() == "old"
    assert call("device", "key", "maker-1.0").exit_code == 0 and Path("maker-1.0.pub").exists()
    assert check("participant", "times_rise", more=["--key", "maker-1.0", "--out", "r"]).exit_code == 0
    done = call("device", "verify", "r.json", "--public-key", "maker-1.0")
    assert done.exit_code == 2 and "PRIVATE" not in done.output


def test_report_is_signed_with_a_key():
    assert call("device", "key", "maker.pem").exit_code == 0
    assert check("participant", "times_rise", more=["--key", "maker.pem", "--out", "r"]).exit_code == 0
    done = call("device", "verify", "r.html", "--public-key", "maker.pub", "--json")
    assert json.loads(done.output)["seal"].endswith("(the key you gave)")


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("check", "nothing"), "known are"),
        (("check", "no_such_module:Amp"), "expected a driver at no_such_module:Amp"),
        (("check", "participant", "--case", "times_ris"), "did you mean times_rise"),
        (("check", "participant", "--key", "none.pem"), "expected a private key"),
        (("check", "participant", "--emulated"), "no plugin called 'participant' among the emulators"),
        (("check", "replay:none.edf"), "there is no such file"),
        (("verify", "none.json"), "could not use none.json"),
        (("new", "My-Amp"), "lower-case letters"),
    ],
)
def test_bad_input_is_one_sentence(arguments, says):
    done = call("device", *arguments)
    assert done.exit_code == 2
    assert "Traceback" not in done.output
    assert says in done.output


def test_new_says_what_is_next():
    done = call("device", "new", "my_amp")
    assert done.exit_code == 0
    assert "bci device check my_amp --emulated" in done.output
    assert Path("my_amp/src/my_amp/driver.py").exists()
