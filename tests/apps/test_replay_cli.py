"""``bci replay FILE`` with what the file does not say."""

import inspect
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from click.shell_completion import ShellComplete
from click.testing import CliRunner

from bci.acquisition.formats.time_units import UNITS
from bci.acquisition.lsl import LslReplay
from bci.acquisition.replay import Replay
from bci.apps.cli import main
from bci.apps.replay_options import TIME_UNITS
from benchmarks import damaged


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    rows = "".join(f"{k},{k / 8}\n" for k in range(500))
    (tmp_path / "table.csv").write_text("C3,C4\n" + rows)
    (tmp_path / "times.csv").write_text("t,C3\n" + "".join(f"{4 * k},{k}\n" for k in range(500)))
    np.save(tmp_path / "array.npy", np.zeros((500, 2)))
    path = damaged.xdf(tmp_path / "two", damaged.truth(2560, 2))
    content = bytearray(path.read_bytes())
    content[len(content) // 2 : len(content) // 2 + 400] = bytes(400)
    (tmp_path / "hurt.xdf").write_bytes(content)
    return tmp_path


def replay(*arguments):
    done = CliRunner().invoke(main, ["replay", *arguments, "--wait", "0.1", "--name", f"options-{os.getpid()}"])
    assert done.exit_code == 2 and "Traceback" not in done.output
    return done.stderr


@pytest.mark.parametrize(
    ("name", "options", "without"),
    [
        ("table.csv", ("--sfreq", "250"), "expected the sampling rate"),
        ("times.csv", ("--time-unit", "ms"), "time_unit=ms"),
        ("hurt.xdf", ("--salvage",), "salvage=True"),
        ("array.npy", ("--sfreq", "250", "--ch-names", "C3, C4", "--unit", "mV"), "expected the sampling rate"),
        ("two.xdf", ("--stream", "eyes", "--loop"), ""),
    ],
)
def test_a_file_plays_once_it_is_told_what_it_lacks(folder, name, options, without):
    if without:
        assert without in replay(name)
    assert "expected a receiver" in replay(name, *options)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (("two.xdf", "--stream", "nose"), "known are amp, eyes"), (("two.xdf", "--sfreq", "100"), "leave it out"),
        (("table.csv", "--sfreq", "0"), "range x>0"), (("table.csv", "--time-unit", "min"), "'s', 'ms', 'us', 'ns'"),
        (("table.csv", "--sfreq", "250", "--ch-names", "C3,,C4"), "leaves a name empty"),
        (("table.csv", "--sfreq", "250", "--ch-names", "Cz"), "expected a column 'Cz'"),
    ],
)  # fmt: skip
def test_an_option_that_does_not_fit_is_said(folder, options, says):
    assert says in replay(*options)


def test_the_options_are_the_settings_of_the_device():
    names = {p.name for p in main.commands["replay"].params} - {"path", "name", "wait_s", "as_json"}
    assert names <= set(inspect.signature(Replay).parameters)
    assert {"stream", "sfreq", "ch_names", "unit", "time_unit", "salvage", "loop", "speed"} == names
    assert list(TIME_UNITS) == list(UNITS)


def test_units_are_completed():
    complete = ShellComplete(main, {}, "bci", "_BCI_COMPLETE")
    assert [c.value for c in complete.get_completions(["replay", "x.csv", "--unit"], "m")] == ["mV"]
    assert [c.value for c in complete.get_completions(["replay", "x.csv", "--time-unit"], "m")] == ["ms"]
    assert "--ch-names" in [c.value for c in complete.get_completions(["replay"], "--ch")]


def test_a_loop_goes_on_in_the_unit_and_with_the_channels_that_were_asked_for(folder):
    name = f"loop-{os.getpid()}"
    command = [sys.executable, "-m", "bci.apps.cli", "replay", "table.csv", "--name", name, "--sfreq", "250"]
    more = ["--unit", "mV", "--ch-names", "C4", "--loop", "--speed", "8"]
    process = subprocess.Popen(
        [*command, *more], stderr=subprocess.PIPE, text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),  # noqa: PLW1509  # as a terminal has it
    )  # fmt: skip
    try:
        with LslReplay(name, timeout_s=20) as device:
            chunks, until_s = [], time.monotonic() + 20
            while not (chunks and chunks[-1].stop >= 1200) and time.monotonic() < until_s:
                chunks.append(device.read(1.0))
        process.send_signal(signal.SIGINT)
        assert "Stopped by the keyboard" in process.communicate(timeout=20)[1]
    finally:
        process.kill()
        process.wait()
    data = np.concatenate([c.data for c in chunks])
    assert device.info.ch_names == ["C4"] and device.info.channels[0].unit == "uV"
    np.testing.assert_allclose(data[:1100, 0], 125.0 * (np.arange(1100) % 500))
