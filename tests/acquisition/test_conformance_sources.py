"""The whole kit on the sources that are here: nothing fails, and what is exempt says why."""

import subprocess
import sys

import numpy as np
import pytest

from bci.acquisition.conformance.case import Outcome
from bci.acquisition.conformance.grade import grade, reached
from bci.acquisition.conformance.subject import Subject
from bci.acquisition.conformance.suite import run_cases
from bci.acquisition.recorder.xdf_recorder import XdfRecorder
from bci.registry import create
from bci.stream import Channel, Chunk, StreamInfo

SENDER = """
import time
import numpy as np, pylsl
info = pylsl.StreamInfo("conformance", "EEG", 4, 250.0, "float32", "conformance-1")
channels = info.desc().append_child("channels")
for name in ("Fz", "Cz", "Pz", "Oz"):
    channel = channels.append_child("channel")
    channel.append_child_value("label", name)
    channel.append_child_value("type", "EEG")
    channel.append_child_value("unit", "microvolts")
outlet, noise = pylsl.StreamOutlet(info), np.random.default_rng(0)
begin_s, n = pylsl.local_clock(), 0
while True:
    time.sleep(0.02)
    until = int((pylsl.local_clock() - begin_s) * 250)
    if until > n:
        data = 10 * noise.standard_normal((until - n, 4))
        outlet.push_chunk(data.astype(np.float32), begin_s + until / 250)
        n = until
"""

pytestmark = pytest.mark.slow


def examine(spec):
    results = run_cases(Subject(lambda: create("devices", spec), cycles=10))
    failed = {r.case.name: r.reason for r in results if r.outcome is Outcome.FAILED}
    assert failed == {}
    assert all(r.reason for r in results if r.outcome is Outcome.EXEMPT)
    return reached(grade(results))


@pytest.fixture
def recording(tmp_path):
    path, n, sfreq = tmp_path / "run.xdf", 5000, 250.0
    info = StreamInfo("own", sfreq, (Channel("Cz"), Channel("Pz")))
    data = 10 * np.random.default_rng(0).standard_normal((n, 2))
    with XdfRecorder(path) as recorder:
        recorder.write(recorder.add_stream(info), Chunk(data, 3.0 + np.arange(n) / sfreq, 0, info))
    return path


@pytest.mark.parametrize("speed", ["max", "1", "20"])
def test_participant_reaches_silver(speed):
    assert examine(f"participant,speed={speed}") == "silver"


@pytest.mark.parametrize("speed", ["max", "1"])
def test_replay_reaches_silver(recording, speed):
    assert examine(f"replay:{recording},speed={speed}") == "silver"


def test_synthetic_board_reaches_silver():
    assert examine("brainflow:synthetic") == "silver"


def test_stream_of_another_process_reaches_silver():
    sender = subprocess.Popen([sys.executable, "-c", SENDER], stderr=subprocess.DEVNULL)
    try:
        assert examine("lsl:conformance") == "silver"
    finally:
        sender.kill()
        sender.wait()
