"""``bci chain``: the chain of a session file."""

import json

import pytest
from click.testing import CliRunner

from bci.apps.cli import main

BLOCKS = """
[paradigm]
name = "motor-imagery"
[[blocks]]
name = "notch"
[[blocks]]
name = "bandpass"
low_hz = 8
high_hz = 30
[[blocks]]
name = "decimate"
factor = 2
"""


@pytest.fixture
def config(tmp_path):
    path = tmp_path / "session.toml"
    path.write_text(BLOCKS)
    return str(path)


def call(*arguments):
    return CliRunner().invoke(main, ["chain", *map(str, arguments)])


def test_the_chain_of_a_file_is_shown_for_what_the_device_delivers(config):
    done = call(config)
    assert done.exit_code == 0, done.output
    lines = done.output.splitlines()
    assert lines[0] == "Chain for 'participant': 16 channels at 250 Hz"
    assert lines[4].startswith("Decimate(factor=2)") and "16 at 125 Hz" in lines[4]
    assert lines[-1].startswith("The decoder sees 2 s every 0.1 s, ")


def test_a_machine_gets_numbers_without_a_device(config, tmp_path):
    picture = tmp_path / "chain.png"
    done = call(config, "--rate", 500, "--channels", "C3, C4", "--json", "--measure", "--plot", picture)
    told = json.loads(done.output)
    assert [row["n_channels"] for row in told["blocks"]] == [2, 2, 2, 2]
    assert told["blocks"][-1]["sfreq"] == 250.0 and told["blocks"][-1]["cost_s"] > 0
    assert told["blocks"][-1]["delay_s"] == pytest.approx(sum(row["delay_s"] for row in told["blocks"][:-1]))
    (band,) = told["bands"]
    assert (band["low_hz"], band["high_hz"]) == pytest.approx((8, 30), abs=0.1)
    assert picture.read_bytes()[:4] == b"\x89PNG"


def test_the_paradigm_brings_a_chain_where_the_file_has_none(tmp_path):
    path = tmp_path / "session.toml"
    path.write_text("")
    assert "Bandpass(low_hz=8, high_hz=30)" in call(path, "--rate", 250).output


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--rate", "250", "--device", "participant"], "expected --device or --rate"),
        (["--rate", "50"], "line_hz must lie"),
        (["--rate", "250", "--plot", "chain.xyz"], "expected a picture"),
        (["--rate", "250", "--channels", "C3,C3"], "unique names"),
    ],
)
def test_what_is_wrong_is_said_in_a_sentence(config, arguments, says):
    done = call(config, *arguments)
    assert done.exit_code == 2 and says in done.output and done.output.count("\n") == 1
