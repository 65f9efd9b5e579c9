import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from bci.apps.cli import main

ROOT = Path(__file__).resolve().parents[2]
VERBS = ["demo", "devices", "view", "record", "replay", "serve", "train", "run", "chain", "evaluate", "doctor"]


def call(*arguments):
    return CliRunner().invoke(main, list(arguments))


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_has_help(verb):
    done = call(verb, "--help")
    assert done.exit_code == 0
    assert "Usage" in done.output


def test_help_lists_every_verb():
    output = call("--help").output
    assert all(verb in output for verb in VERBS)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("record", "x.xdf", "--device", "brainflow:no-such-board"), "no-such-board"),
        (("record", "x.xdf", "--device", "nothing"), "known are"),
        (("record", "x.xdf", "--device", "replay:none.edf"), "there is no such file"),
        (("run", "none.toml"), "could not read it"),
        (("train", "none.edf"), "there is no such file"),
        (("train", "none.edf", "--event", "T1"), "CODE=CLASS"),
        (("replay", "none.xdf"), "there is no such file"),
        (("evaluate", "--subject", "S999"), ""),
    ],
)
def test_bad_input_is_one_sentence(arguments, says, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    done = call(*arguments)
    assert done.exit_code == 2
    assert "Traceback" not in done.output
    assert says in done.output


def test_verbs_stand_in_the_order_of_the_work():
    output = call("--help").output
    found = [output.index(f"\n  {verb} ") for verb in ("demo", "view", "record", "train", "run", "evaluate")]
    assert found == sorted(found)


def test_record_answers_a_machine(tmp_path):
    path = tmp_path / "run.xdf"
    done = call("record", str(path), "--device", "participant,sfreq=500", "--seconds", "1", "--json")
    said = json.loads(done.stdout)
    assert (said["samples"], said["lost"], said["sfreq"], said["path"]) == (500, 0, 500, str(path))


@pytest.mark.parametrize(
    ("words", "offered"),
    [
        ("bci re", "record"),
        ("bci record --device brainflow:cyt", "brainflow:cyton"),
        ("bci train --decoder e", "eegnet"),
    ],
)
def test_tab_completes_verbs_boards_and_decoders(words, offered):
    env = {"_BCI_COMPLETE": "bash_complete", "COMP_WORDS": words, "COMP_CWORD": str(len(words.split()) - 1)}
    done = CliRunner().invoke(main, [], env=env, prog_name="bci")
    assert f"plain,{offered}" in done.output


def test_errors_come_as_json_too(tmp_path):
    done = call("run", str(tmp_path / "none.toml"), "--json")
    assert json.loads(done.output.splitlines()[0])["error"] == "ConfigError"


def test_doctor_finds_what_is_needed():
    checks = json.loads(call("doctor", "--json").output)
    assert all(c["ok"] for c in checks if c["needed"])


def test_a_recording_is_trained_on_and_the_model_drives(tmp_path):
    toml = tmp_path / "session.toml"
    recording, model = tmp_path / "run.xdf", tmp_path / "model.bci"
    toml.write_text(
        f"record = '{recording}'\n[paradigm]\nname = 'motor-imagery'\nn_trials = 3\n[drive]\nduration_s = 5\n"
    )
    first = json.loads(call("run", str(toml), "--json").output)
    assert first["decisions"] == 50
    trained = json.loads(call("train", str(recording), "--model", str(model), "--json").output)
    assert Path(trained["model"]).exists()
    toml.write_text("[paradigm]\nname = 'motor-imagery'\nn_trials = 3\n[drive]\nduration_s = 5\n")
    again = json.loads(
        call("run", str(toml), "--model", str(model), "--device", f"replay:{recording}", "--json").output
    )
    assert again["decisions"] == 31  # from the first sample on, so the first window ends after 2 s


def demo(tmp_path, *options):
    env = dict(os.environ, OPENBLAS_NUM_THREADS="1")
    done = subprocess.run(
        [sys.executable, "-m", "bci.apps.cli", "demo", "--out", str(tmp_path), "--json", *options],
        capture_output=True, text=True, env=env, cwd=ROOT,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def test_the_demo_runs_and_reports(tmp_path):
    result = demo(tmp_path, "--minutes", "0.5")
    assert sum(result["plugs"].values()) >= 1
    assert all(Path(path).exists() for path in result["guard_logs"]) and len(result["guard_logs"]) == 4
    assert result["drill"]["neutral_s"] > 0
    assert result["score"]["n"] == 30
    assert set(result["latency_ms"]) >= {"blocks", "decode", "age"}
    assert Path(result["recording"]).stat().st_size > 100_000
    page = Path(result["report"]).read_text()
    assert page.count("data:image/png;base64,") >= 4


def test_example_is_short_and_replays_identically(tmp_path):
    example = ROOT / "examples" / "closed_loop.py"
    assert len(example.read_text().splitlines()) <= 40
    outputs = []
    for device in ("participant", "replay:out/closed_loop-1.xdf"):
        done = subprocess.run([sys.executable, str(example), device], capture_output=True, text=True, cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        outputs.append(done.stdout.splitlines()[-1])
    assert outputs[0] == outputs[1]


@pytest.mark.slow
def test_the_demo_runs_on_a_recording_on_a_board_and_over_lsl(tmp_path):
    first = demo(tmp_path, "--minutes", "0.5")
    again = demo(tmp_path, "--minutes", "0.5", "--device", f"replay:{first['recording']}")
    assert again["hash"] == first["hash"]
    assert sum(again["plugs"].values()) >= 1
    name = f"demo-{os.getpid()}"
    serve = [sys.executable, "-m", "bci.acquisition.lsl_serve", first["recording"], "--name", name, "--speed", "20"]
    with subprocess.Popen([*serve, "--run-once"], cwd=ROOT) as sender:
        over_lsl = demo(tmp_path, "--minutes", "0.5", "--device", f"lsl-replay:{name}")
        sender.kill()
    assert over_lsl["decisions"] > 0
    assert demo(tmp_path, "--minutes", "0.1", "--device", "brainflow:synthetic")["decisions"] > 0


@pytest.mark.parametrize(
    ("spec", "seconds", "pace"),
    [
        ("participant", None, {"speed": 1.0}), ("participant,lapse=0", None, {"speed": 1.0}),
        ("participant,speed=4", None, {}), ("participant,lapse=0", 60.0, {}), ("brainflow:synthetic", None, {}),
    ],
)  # fmt: skip
def test_a_simulated_person_without_an_end_is_recorded_in_real_time(spec, seconds, pace):
    from bci.apps.record import pace_of

    assert pace_of(spec, seconds) == pace
