"""Marker streams of LSL in a rig, without a signal of theirs."""

import time
import uuid

import pytest

from bci.acquisition.lsl_markers import LslMarkers
from bci.acquisition.participant import Participant
from bci.acquisition.rig import Rig
from bci.errors import DeviceError, DeviceNotFound
from bci.trial import Locked

pylsl = pytest.importorskip("pylsl")


@pytest.fixture
def name():
    return f"bci-test-{uuid.uuid4()}"


def outlet(name):
    return pylsl.StreamOutlet(pylsl.StreamInfo(name, "Markers", 1, 0, "string", f"{name}-id"))


def collect(rig, n, patience_s=10.0):
    events, until_s = [], time.monotonic() + patience_s
    while len(events) < n and time.monotonic() < until_s:
        events += [e for a in rig.read(0.05) for e in a.events]
    return events


def test_markers_come_with_their_time_and_lock_windows(name):
    sender = outlet(name)
    with Rig({"eeg": Participant(speed=1.0)}, markers={"keys": LslMarkers(name)}) as rig:
        alignment = rig.align(Locked(-0.1, 0.1))
        sender.wait_for_consumers(5)
        zero_s = pylsl.local_clock() - rig.clock.now()
        stamps = [pylsl.local_clock() + 0.3 + k * 1e-3 for k in range(50)]
        for k, stamp in enumerate(stamps):
            sender.push_sample([str(k)], stamp)
        events = collect(rig, 50)
        until_s = time.monotonic() + 5
        windows = []
        while len(windows) < 50 and time.monotonic() < until_s:
            rig.read(0.05)
            windows += alignment.take()
    assert [(e.code, e.source) for e in events] == [(str(k), "keys") for k in range(50)]
    assert [e.time for e in events] == pytest.approx([s - zero_s for s in stamps], abs=1e-3)
    assert len(windows) == 50 and all(len(w.streams["eeg"].times) in (49, 50, 51) for w in windows)


def test_markers_go_on_after_their_sender_was_restarted(name):
    sender = outlet(name)
    with Rig({"eeg": Participant(speed=1.0)}, markers={"keys": LslMarkers(name)}) as rig:
        sender.wait_for_consumers(5)
        sender.push_sample(["before"])
        assert [e.code for e in collect(rig, 1)] == ["before"]
        del sender
        sender = outlet(name)
        sender.wait_for_consumers(10)
        sender.push_sample(["after"])
        assert [e.code for e in collect(rig, 1)] == ["after"]


def test_missing_marker_stream_keeps_the_rig_closed(name):
    rig = Rig({"eeg": Participant(speed=1.0)}, markers={"keys": LslMarkers(name, timeout_s=0.6)})
    with pytest.raises(DeviceError, match="keys") as failed:
        rig.open()
    assert isinstance(failed.value.__cause__, DeviceNotFound)
