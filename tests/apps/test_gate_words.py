"""What a person is told when nothing moves."""

import pytest
from click.testing import CliRunner

from bci.acquisition.brainflow_board import BrainFlowBoard
from bci.apps.cli import main
from bci.apps.gate_words import gate_in_words, warning_of
from bci.runtime.run import Run
from bci.stream import Channel, StreamInfo

RUN = """
seed = 1
{device}

[paradigm]
name = "motor-imagery"
n_trials = 2
window = {{ length_s = 2.0, step_s = 0.1 }}

[decoder]
name = "csp-lda"

[[effectors]]
name = "log"

[drive]
duration_s = {seconds}
"""


@pytest.mark.parametrize(
    ("gate", "text"),
    [
        ({"open": 30, "uncertain": 15, "waiting for a second vote": 5},
         "open for 30 of 50 decisions; closed by uncertain (15), waiting for a second vote (5)"),
        ({"open": 4}, "open for 4 of 4 decisions"), ({}, "open for 0 of 0 decisions"),
        ({"bad signal: NOISY": 48, "settling": 2},
         "open for 0 of 50 decisions; closed by bad signal: NOISY (48), settling (2). Nothing was driven, outputs "
         "stayed in their safe state; `bci view` names each bad channel and says why"),
        ({"uncertain": 9}, "open for 0 of 9 decisions; closed by uncertain (9). Nothing was driven, outputs stayed in "
                           "their safe state"),
    ],
)  # fmt: skip
def test_gate_is_told_in_words(gate, text):
    assert gate_in_words(Run(gate=gate)) == text


def test_synthetic_board_is_said_to_be_noise_and_no_other():
    pytest.importorskip("brainflow")
    board = BrainFlowBoard()
    info = board.open()
    board.close()
    assert "sines and noise" in warning_of(info) and "--device participant" in warning_of(info)
    assert warning_of(StreamInfo("Cyton", 250.0, (Channel("Cz"),), meta={"board": "cyton"})) == ""


def run(folder, device, seconds):
    path = folder / "session.toml"
    path.write_text(RUN.format(device=f"[device]\n{device}", seconds=seconds))
    done = CliRunner().invoke(main, ["run", str(path)])
    assert done.exit_code == 0, done.output
    return done


def test_run_ends_with_how_often_the_gate_was_open(tmp_path):
    done = run(tmp_path, 'name = "participant"', 10)
    assert "Gate: open for " in done.stdout and " decisions" in done.stdout
    assert "sines and noise" not in done.stderr


@pytest.mark.slow
def test_run_on_the_synthetic_board_says_first_and_last_why_nothing_moves(tmp_path):
    done = run(tmp_path, 'name = "brainflow"\nboard = "synthetic"', 5)
    assert "sines and noise" in done.stderr
    assert "Gate: open for 0 of " in done.stdout and "Nothing was driven" in done.stdout
