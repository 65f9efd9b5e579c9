"""``bci device impedance``: table, JSON, live until a key."""

import json
import math
import os
import re
import subprocess
import sys
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from bci.apps.cli import main
from bci.apps.impedance import table
from bci.signal.contact import Aims

ROOT = Path(__file__).resolve().parents[2]
AMP8 = ROOT / "examples" / "amplifier" / "src"
LOOSE = 'participant,impedance_kohm={"C3": 900, "Cz": Infinity, "C4": 44}'


def call(*arguments):
    return CliRunner().invoke(main, ["device", "impedance", *arguments])


def test_table_has_value_and_verdict_of_each_channel():
    done = call(LOOSE)
    assert done.exit_code == 0, done.output
    for pattern in (r"C3 +9\d\d kOhm  bad", r"Cz +no contact  bad", r"C4 +4\d\.\d kOhm  fair", r"Pz +6\.\d kOhm  good"):
        assert re.search(pattern, done.output), pattern
    assert "2 bad" in done.output
    assert "In a session: closed by C3, Cz" in done.output


def test_json_is_a_line_for_each_measurement_and_has_both_verdicts():
    lines = [json.loads(x) for x in call(LOOSE, "--json", "--seconds", "0.3", "--every", "0.2").output.splitlines()]
    assert len(lines) == 2
    first = lines[0]
    assert (first["contact_kohm"]["Cz"], first["verdict"]["C4"], first["session"]["C4"]) == ("inf", "fair", "good")
    assert (first["verdict"]["C3"], first["session"]["C3"]) == ("bad", "bad")


def test_limits_are_options():
    assert json.loads(call(LOOSE, "--json", "--good", "50", "--bad", "1000").output)["verdict"]["C3"] == "fair"
    done = call(LOOSE, "--good", "60")
    assert (done.exit_code, "as in 10 and 50" in done.output) == (2, True)


def test_a_board_that_cannot_measure_is_told_why_and_what_else_there_is():
    pytest.importorskip("brainflow")
    done = call("brainflow:synthetic")
    assert done.exit_code == 2
    for words in ("no board of BrainFlow", "bci view --device brainflow:synthetic"):
        assert words in done.output


def test_a_table_that_would_not_fit_leaves_out_the_good_ones():
    kohm = {f"E{k}": 5.0 for k in range(256)} | {"E7": 80.0, "E200": math.inf}
    lines = [click.unstyle(x) for x in table(kohm, Aims(), (80, 24))]
    assert len(lines) < 24
    assert "254 good, 2 bad (254 not shown)" in lines[0]
    assert "E7" in lines[1] and "E200" in "".join(lines[1:3])


@pytest.mark.skipif(sys.platform == "win32", reason="needs a pseudo-terminal")
def test_live_table_is_drawn_over_itself_until_a_key():
    import pty

    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "bci.apps.cli", "device", "impedance", "participant", "--every", "0.1"]
    with subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=theirs, cwd=ROOT) as process:
        os.close(theirs)
        said = b""
        while said.count(b"Any key ends.") < 2:
            said += os.read(ours, 4096)
        os.write(ours, b"q")
        assert process.wait(20) == 0
    os.close(ours)
    assert re.search(rb"\x1b\[\d+A\x1b\[J", said)


def test_an_amplifier_answers_over_its_serial_line(monkeypatch):
    pytest.importorskip("serial")
    monkeypatch.syspath_prepend(str(AMP8))
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(AMP8), str(ROOT)]))
    from bci_amp8.emulator import Amp8Emulator

    with Amp8Emulator() as emulator:
        done = call(f"bci_amp8.driver:Amp8,port={emulator.settings['port']}", "--json")
    assert done.exit_code == 0, done.output
    assert len(json.loads(done.output)["contact_kohm"]) == 8


@pytest.mark.parametrize("verb", ["record", "run"])
def test_contacts_are_asked_for_by_an_option(verb, tmp_path):
    (tmp_path / "s.toml").write_text('device = "participant"\n[paradigm]\nname = "motor-imagery"\nn_trials = 2\n'
                                     "[drive]\nduration_s = 2\n")  # fmt: skip
    what = (
        [str(tmp_path / "r.xdf"), "--device", LOOSE, "--seconds", "1"]
        if verb == "record"
        else [str(tmp_path / "s.toml")]
    )
    done = CliRunner().invoke(main, [verb, *what, "--impedance", "--json"])
    assert done.exit_code == 0, done.output
    assert len(json.loads(done.output.splitlines()[-1])["contact_kohm"]) == 16


def test_recording_info_tells_the_contacts(tmp_path):
    path = str(tmp_path / "r.xdf")
    CliRunner().invoke(main, ["record", path, "--device", LOOSE, "--seconds", "1", "--impedance"])
    said = CliRunner().invoke(main, ["recording", "info", path]).output
    assert re.search(r"contacts: 16 measured, median .*C3 9\d\d kOhm, Cz no contact", said)
