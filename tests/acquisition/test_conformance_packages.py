"""Driver packages as a maker has them: scaffolded or written, installed elsewhere, found by entry point."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from bci.acquisition.conformance.emulated import Emulated
from bci.acquisition.conformance.emulator_process import EmulatorProcess
from bci.acquisition.conformance.reference import ReferenceAmplifier
from bci.acquisition.conformance.scaffold import scaffold
from bci.clock import ManualClock
from bci.errors import ConfigError, DeviceError

ROOT = Path(__file__).resolve().parents[2]
EXAMPLE = ROOT / "examples" / "amplifier"


def installed(source, folder):
    """Install a package into `folder`/site; return how to run Python with it."""
    copy, site = folder / "copy", folder / "site"
    shutil.copytree(source, copy)  # a build leaves files behind
    call = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation", "--no-index"]
    subprocess.run([*call, "--target", str(site), str(copy)], check=True, capture_output=True)
    path = os.pathsep.join([str(site), str(ROOT)])
    environment = {**os.environ, "PYTHONPATH": path}

    def run(*arguments):
        return subprocess.run(
            [sys.executable, *arguments], cwd=copy, env=environment, capture_output=True, text=True, timeout=280
        )

    return run


def own_tests(run, *more):
    return run("-m", "pytest", "-q", "-p", "no:cacheprovider", "-W", "error", *more, "tests")


def kit(run, name, *more):
    done = run("-m", "bci.apps.cli", "device", "check", name, "--emulated", "--out", "report", "--json", *more)
    assert done.stdout, done.stderr
    return json.loads(done.stdout)


@pytest.fixture(scope="module")
def scaffolded(tmp_path_factory):
    folder = tmp_path_factory.mktemp("scaffold")
    return installed(scaffold("try_amp", folder), folder)


@pytest.fixture(scope="module")
def example(tmp_path_factory):
    return installed(EXAMPLE, tmp_path_factory.mktemp("example"))


def test_scaffold_is_found_by_entry_point_and_passes_its_tables_of_bytes(scaffolded):
    done = own_tests(scaffolded, "--ignore", "tests/test_conformance.py")
    assert done.returncode == 0, done.stdout
    listed = scaffolded("-c", "from bci.registry import load; print(load('devices', 'try_amp'))")
    assert "try_amp.driver.TryAmp" in listed.stdout


def test_scaffold_passes_cases_against_its_emulator(scaffolded):
    cases = ("delivers_samples", "loss_is_counted_exactly", "unplugged_while_streaming_is_said")
    result = kit(scaffolded, "try_amp", *(word for name in cases for word in ("--case", name)))
    assert result["counts"] == {"passed": 3, "failed": 0, "exempt": 0}


def test_example_passes_its_tables_of_bytes(example):
    done = own_tests(example, "--ignore", "tests/test_conformance.py")
    assert done.returncode == 0, done.stdout


@pytest.mark.slow
def test_scaffold_reaches_platinum(scaffolded):
    assert own_tests(scaffolded).returncode == 0
    assert kit(scaffolded, "try_amp", "--cycles", "20")["reached"] == "platinum"


@pytest.mark.slow
def test_example_reaches_platinum(example):
    result = kit(example, "amp8", "--cycles", "100")
    assert result["reached"] == "platinum", result["text"]


@pytest.mark.parametrize("name", ["My-Amp", "1amp", "class", "participant", "bci", ""])
def test_name_that_cannot_be_a_package_is_refused(name, tmp_path):
    with pytest.raises(ConfigError):
        scaffold(name, tmp_path)


def test_emulator_that_ends_at_once_is_told():
    class Broken(EmulatorProcess):
        module = "bci.units"

    with pytest.raises(DeviceError, match=r"run python -m bci\.units"):
        Broken().__enter__()


def test_emulators_are_emulated():
    assert isinstance(ReferenceAmplifier(ManualClock()), Emulated)
    assert isinstance(EmulatorProcess(), Emulated)


def test_scaffold_replaces_nothing(tmp_path):
    scaffold("my_amp", tmp_path)
    with pytest.raises(ConfigError, match="exists"):
        scaffold("my_amp", tmp_path)


def test_scaffold_leaves_no_placeholder(tmp_path):
    for path in scaffold("my_amp", tmp_path).rglob("*"):
        assert "@" not in path.name
        if path.is_file():
            assert "@NAME@" not in path.read_text() and "@CLASS@" not in path.read_text(), path
