"""Whatever is wrong: one sentence on standard error, exit code 2, and nothing recorded is lost."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import pyxdf
from click.testing import CliRunner

from bci import Channel, StreamInfo
from bci.acquisition.lsl_local import load_pylsl
from bci.acquisition.replay import Replay
from bci.apps.cli import main
from bci.apps.record import record_device
from bci.decoding import passport
from bci.decoding.csp import CspLda
from bci.errors import FormatError
from bci.paradigms.motor_imagery import MotorImagery

EDF = Path(os.environ.get("BCI_DATA", Path(__file__).parents[2] / "../shared/data")) / "eegmmidb/S001/S001R04.edf"
FILES = {
    "data.csv": b"C3,C4\n1,2\n",
    "picture.png": b"\x89PNG\r\n\x1a\n" + bytes(64),
    "empty.edf": b"",
    "empty.xdf": b"",
    "text.edf": b"C3,C4\n1,2\n" * 99,
    "edf-inside.xdf": b"0       " + b" " * 500,
    "head-only.edf": b"0       " + b" " * 500,
    "half.xdf": b"XDF:\x01\x10",
}
TOML = {
    "syntax": ("seed = \n", "is not valid TOML"),
    "key": ("sead = 1", "did you mean seed"),
    "type": ("seed = 'one'", "seed must be a whole number, got 'one'"),
    "bool": ("seed = true", "seed must be a whole number"),
    "record": ("record = 5", "record must be the name of a file"),
    "drive": ("drive = 5", "begun by [drive]"),
    "drive-unit": ("[drive]\nduration_min = 1", "did you mean duration_s"),
    "drive-type": ("[drive]\nduration_s = '5'", "takes a number, got '5'"),
    "drive-negative": ("[drive]\nduration_s = -5", "longer than 0 s, got -5 s"),
    "drive-cues": ("[drive]\ncues = 'no'", "takes true or false"),
    "effectors": ("effectors = 'log'", "[[effectors]]"),
    "no-name": ("[decoder]\nn_components = 2", "needs a name"),
    "device": ("[device]\nname = 'amplifier'", "no plugin called 'amplifier'"),
    "device-setting": ("[device]\nname = 'participant'\nstrenght = 1", "did you mean strength"),
    "device-type": ("[device]\nname = 'participant'\nstrength = 'high'", "takes a number, got 'high'"),
    "device-range": ("[device]\nname = 'participant'\nstrength = -1", "0 or more, got -1"),
    "board": ("[device]\nname = 'brainflow'\nboard = 'cytom'", "did you mean cyton"),
    "board-type": ("[device]\nname = 'brainflow'\nserial_port = 3", "takes a text, got 3"),
    "path-type": ("[device]\nname = 'replay'\npath = 5", "path of device 'replay' takes a text"),
    "decoder": ("decoder = 'cps-lda'", "did you mean csp-lda"),
    "paradigm": ("paradigm = 'p300'", "no plugin called 'p300' among the paradigms"),
    "channel": ("[paradigm]\nname = 'motor-imagery'\nchannels = ['C3', 'CC4']", "unknown channel 'CC4'"),
    "unit": ("[paradigm]\nname = 'motor-imagery'\nlow_khz = 1", "did you mean low_hz"),
    "text-for-number": ("[paradigm]\nname = 'motor-imagery'\nlow_hz = '8 Hz'", "takes a number, got '8 Hz'"),
    "band": ("[paradigm]\nname = 'motor-imagery'\nhigh_hz = 300", "got 8.0 to 300 Hz"),
    "half-trial": ("[paradigm]\nname = 'motor-imagery'\nn_trials = 2.5", "takes a whole number, got 2.5"),
    "window-unit": (
        "[paradigm]\nname = 'motor-imagery'\nwindow = { length_ms = 1, step_s = 1 }",
        "length_s and step_s",
    ),
    "window-type": ("[paradigm]\nname = 'motor-imagery'\nwindow = { length_s = '2', step_s = 1 }", "takes a number"),
    "gate-range": ("[gate]\nmin_confidence = 7", "0 <= min_confidence <= 1"),
    "gate-type": ("[gate]\nmin_confidence = 'high'", "min_confidence of gate takes a number"),
    "effector": ("[[effectors]]\nname = 'robot'", "no plugin called 'robot'"),
    "effector-setting": ("[[effectors]]\nname = 'udp'\nport = 5", "unknown setting of effector 'udp'"),
    "udp-port": ("[[effectors]]\nname = 'udp'\naddress = '127.0.0.1:99999'", "port from 1 to 65535"),
    "vr-port": ("[[effectors]]\nname = 'vr'\nport = 99999", "from 0 to 65535, got 99999"),
    "serial": ("[[effectors]]\nname = 'serial'\nport = '/dev/ttyNONE'", "expected a serial port at '/dev/ttyNONE'"),
    "record-name": ("record = 'run.edf'", "ends in .xdf"),
    "record-folder": ("record = 'data.csv/run.xdf'", "Not a directory"),
    "one-trial": ("[paradigm]\nname = 'motor-imagery'\nn_trials = 1", "two trials each"),
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    place = tmp_path_factory.mktemp("bad")
    for name, content in FILES.items():
        (place / name).write_bytes(content)
    for name, (text, _) in TOML.items():
        (place / f"{name}.toml").write_text(text)
    (place / "binary.toml").write_bytes(b"\xff\xfe\x00")
    (place / "ok.toml").write_text("[paradigm]\nname = 'motor-imagery'\nn_trials = 2\n[drive]\nduration_s = 1\n")
    for name in ("folder.edf", "folder.xdf", "folder.toml"):
        (place / name).mkdir()
    record_device("participant", place / "run.xdf", 3.0)
    (place / "xdf-inside.edf").write_bytes((place / "run.xdf").read_bytes())
    _write_model(place / "model.bci")
    damaged = bytearray((place / "model.bci").read_bytes())
    damaged[-9] ^= 1
    (place / "damaged.bci").write_bytes(damaged)
    return place


@pytest.fixture(autouse=True)
def here(folder, monkeypatch):
    monkeypatch.chdir(folder)
    return folder


def _write_model(path):
    info = StreamInfo("eeg", 160.0, tuple(Channel(n) for n in ("C3", "Cz", "C4")))
    X, y = np.random.default_rng(0).standard_normal((20, 3, 320)), np.array(["left", "right"] * 10)
    rules = MotorImagery(("left", "right"))
    passport.save(path, CspLda(2).fit(X, y), info, blocks=rules.blocks(), window=rules.window)


def call(*arguments):
    return CliRunner().invoke(main, [str(a) for a in arguments])


def sentence(done, code=2):
    """Return what was said, which is one line of a readable length."""
    assert done.exit_code == code, done.output
    # A recording that ends in the middle is played all the same, and the log says so; replay says what it waits for.
    beside = ("ends within a chunk", "Sending run.xdf")
    lines = [line for line in done.stderr.splitlines() if not any(text in line for text in beside)]
    assert len(lines) == 1 and lines[0].startswith("Error: ") and len(lines[0]) < 650, done.stderr
    assert "Traceback" not in done.output
    return lines[0]


@pytest.mark.parametrize("name", TOML)
def test_a_wrong_session_file_is_said_in_one_sentence(name):
    assert TOML[name][1] in sentence(call("run", f"{name}.toml"))


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("none.toml", "No such file"), ("folder.toml", "Is a directory"), ("binary.toml", "not text"),
        ("picture.png", "not text"), ("data.csv", "is not valid TOML"),
    ],
)  # fmt: skip
def test_a_session_file_that_is_none_is_said_in_one_sentence(name, says):
    assert says in sentence(call("run", name))


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("none.edf", "no such file"), ("data.csv", "expected the sampling rate"), ("picture.png", "got a picture"),
        ("empty.edf", "empty file"), ("empty.xdf", "empty file"), ("text.edf", "begins with b'C3,C4"),
        ("edf-inside.xdf", "at byte 184"), ("head-only.edf", "at byte 184"), ("half.xdf", "stream of samples"),
        ("folder.edf", "got a folder"), ("folder.xdf", "got a folder"),
    ],
)  # fmt: skip
def test_a_recording_that_is_none_is_said_in_one_sentence(name, says):
    assert says in sentence(call("replay", name, "--wait", "0.1"))


def test_an_xdf_file_plays_whatever_its_name():
    with Replay("xdf-inside.edf") as device:
        assert device.duration_s == 3.0


@pytest.mark.skipif(not EDF.exists(), reason=f"needs {EDF}")
def test_half_an_edf_file_plays_and_says_so(tmp_path, caplog):
    half = tmp_path / "half.edf"
    half.write_bytes(EDF.read_bytes()[:1_500_000])
    with Replay(half) as device:
        assert 0 < device.duration_s < 100
    assert "half.edf is incomplete" in caplog.text


def test_a_file_without_rights_is_said_as_such(tmp_path, monkeypatch):
    path = tmp_path / "run.edf"
    path.write_bytes(b"0")
    monkeypatch.setattr(Path, "open", _refuse)  # whoever runs the tests may have all rights
    with pytest.raises(FormatError, match="Permission denied; check your rights"):
        Replay(path).open()


def _refuse(*_):
    raise PermissionError(13, "Permission denied")


@pytest.mark.parametrize(
    ("device", "says"),
    [
        ("amplifier", "no plugin called 'amplifier'"), ("run.xdf", "played by replay:run.xdf"),
        ("replay:", "needs path"),
        ("replay:none.edf", "no such file"), ("lsl:", "try lsl:NAME"), ("brainflow:cytom", "did you mean cyton"),
        ("brainflow:9999", "number of a BrainFlow board"), ("brainflow:cyton", "serial_port="),
        ("brainflow:cyton,serial_port=/dev/ttyNONE", "with serial_port=/dev/ttyNONE"),
        ("brainflow:cyton,serial=x", "did you mean serial_port"), ("participant,strength=high", "takes a number"),
        ("participant,channels=[]", "at least one channel"),
    ],
)  # fmt: skip
def test_a_device_that_is_none_is_said_in_one_sentence(device, says):
    assert says in sentence(call("record", "new.xdf", "--device", device, "--seconds", "1"))


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("train", "run.xdf"), "needs events called left, right, rest"),
        (("train", "run.xdf", "--event", "T1"), "CODE=CLASS"),
        (("train", "run.xdf", "--event", "T1=lefty"), "did you mean left"),
        (("train", "run.xdf", "--decoder", "none"), "no plugin called 'none'"),
        (("train", "run.xdf", "--model", "none/model.bci"), "no such folder"),
        (("train", "run.xdf", "--model", "folder.edf"), "that is a folder"),
        (("train",), "missing argument"),
        (("run", "ok.toml", "--model", "none.bci"), "No such file"),
        (("run", "ok.toml", "--model", "picture.png"), "undamaged model"),
        (("run", "ok.toml", "--model", "damaged.bci"), "undamaged model"),
        (("run", "ok.toml", "--model", "model.bci"), "expects the channels C3, Cz, C4"),
        (("run", "ok.toml", "--device", "none"), "no plugin called 'none'"),
        (("record", "run.xdf", "--device", "participant", "--seconds", "1"), "run.xdf exists and is kept"),
        (("record", "run.edf", "--device", "participant", "--seconds", "1"), "ends in .xdf"),
        (("record", "new.xdf", "--seconds", "-1"), "range x>0"),
        (("record", "new.xdf", "--seconds", "nan"), "not a finite number"),
        (("record", "new.xdf", "--seconds", "long"), "not a valid number"),
        (("record",), "missing argument"),
        (("replay", "run.xdf", "--speed", "0"), "range x>0"),
        (("replay", "run.xdf", "--name", ""), "needs a name"),
        (("replay", "run.xdf", "--wait", "0.1"), "expected a receiver"),
        (("demo", "--minutes", "0"), "range x>0"),
        (("demo", "--strength", "-1"), "range x>=0"),
        (("demo", "--out", "data.csv"), "Not a directory"),
        (("evaluate", "--over", "post"), "not one of"),
        (("evaluate", "--speed", "-1"), "range x>0"),
        (("devces",), "'devices'"),
        (("--none",), "no such option"),
    ],
)
def test_a_wrong_option_is_said_in_one_sentence(arguments, says):
    assert says in sentence(call(*arguments))


def test_absent_recordings_are_said_before_the_work(monkeypatch):
    monkeypatch.setenv("BCI_DATA", "/nowhere")
    assert "set BCI_DATA" in sentence(call("evaluate"))


def test_an_lsl_stream_that_is_not_there_ends_soon_with_what_is_there():
    pylsl = load_pylsl()
    there = f"there-{os.getpid()}"
    outlet = pylsl.StreamOutlet(pylsl.StreamInfo(there, "EEG", 1, 100.0, "float32", there))
    begin_s = time.monotonic()
    said = sentence(call("record", "new.xdf", "--device", "lsl:nobody,timeout_s=1", "--seconds", "1"))
    assert there in said and "name='nobody'" in said
    assert time.monotonic() - begin_s < 20
    del outlet


def test_a_port_in_use_is_said_with_what_to_do():
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        Path("taken.toml").write_text(f"[[effectors]]\nname = 'websocket'\naddress = '127.0.0.1:{port}'\n")
        assert f"127.0.0.1:{port} is taken" in sentence(call("run", "taken.toml"))


def test_a_recording_is_never_overwritten(folder):
    before = (folder / "run.xdf").read_bytes()
    Path("again.toml").write_text("record = 'run.xdf'\n")
    assert "exists and is kept" in sentence(call("run", "again.toml"))
    done = call("record", "run.xdf", "--device", "participant", "--seconds", "1", "--force")
    assert done.exit_code == 0 and "run-2.xdf" in done.output
    assert (folder / "run.xdf").read_bytes() == before


@pytest.mark.parametrize(
    "arguments", [("run", "none.toml"), ("record", "run.xdf", "--seconds", "x"), ("train", "none")]
)
def test_an_error_is_one_json_object_for_a_machine(arguments):
    done = call(*arguments, "--json")
    assert done.exit_code == 2
    assert set(json.loads(done.stdout)) == {"error", "message"}


def test_a_bug_is_said_in_one_sentence_and_shown_on_demand(monkeypatch):
    monkeypatch.setattr("bci.apps.inspect.examine", lambda: int("a bug"))
    assert "BCI_DEBUG=1" in sentence(call("doctor"), code=1)
    monkeypatch.setenv("BCI_DEBUG", "1")
    assert isinstance(call("doctor").exception, ValueError)


def test_settings_that_code_gives_are_checked_alike():
    from bci import Session
    from bci.errors import ConfigError

    with Session("participant") as session:
        session.decoder = CspLda(2).fit(np.random.default_rng(0).standard_normal((8, 16, 500)), np.array([0, 1] * 4))
        with pytest.raises(ConfigError, match="longer than 0 s"):
            session.drive(duration_s=-1)


# ------------------------------------------------------------ Ctrl+C and closed pipes, in real processes
def started(*arguments, **options):
    return subprocess.Popen(
        [sys.executable, "-m", "bci.apps.cli", *arguments],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **options,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),  # noqa: PLW1509  # as a terminal has it
    )  # fmt: skip


def interrupted(process):
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=20)
    assert process.returncode == 130
    assert "Traceback" not in err
    return out + err


def wait_until_it_grows(path, process):
    deadline_s = time.monotonic() + 40
    while not (path.exists() and path.stat().st_size > 80_000):  # the header and a second or so
        assert process.poll() is None and time.monotonic() < deadline_s
        time.sleep(0.02)


def test_ctrl_c_ends_a_recording_and_keeps_it(folder):
    process = started("record", "kept.xdf", cwd=folder)
    wait_until_it_grows(folder / "kept.xdf", process)
    assert "stopped by the keyboard" in interrupted(process)
    streams, _ = pyxdf.load_xdf(folder / "kept.xdf", verbose=False)
    assert max(len(s["time_stamps"]) for s in streams) > 50


def test_ctrl_c_ends_a_session_and_keeps_its_recording(folder):
    (folder / "long.toml").write_text("record = 'session.xdf'\ndevice = 'brainflow'\n")
    process = started("run", "long.toml", cwd=folder)
    wait_until_it_grows(folder / "session.xdf", process)
    assert "recorded so far is in session.xdf" in interrupted(process)
    assert len(pyxdf.load_xdf(folder / "session.xdf", verbose=False)[0]) > 1


def test_ctrl_c_is_heard_while_a_receiver_is_waited_for(folder):
    process = started("replay", "run.xdf", "--name", f"unheard-{os.getpid()}", cwd=folder)
    assert "waiting 300 s for a receiver" in process.stderr.readline()
    assert "Stopped by the keyboard" in interrupted(process)


def test_a_reader_that_leaves_early_is_no_error(folder):
    process = started("devices", "--json", cwd=folder)
    process.stdout.close()
    assert process.stderr.read() == ""
    process.wait(20)
