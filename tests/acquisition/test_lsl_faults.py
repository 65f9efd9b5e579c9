"""LSL streams that break and come back, between real processes."""

import signal
import subprocess
import sys
import time
import uuid

import numpy as np
import pytest

from bci.acquisition.lsl import LslInlet
from bci.acquisition.lsl_find import find, streams
from bci.acquisition.lsl_link import LslLink
from bci.acquisition.lsl_local import load_pylsl
from bci.acquisition.lsl_marks import LslMarks
from bci.errors import ConfigError, DeviceLost, DeviceNotFound
from bci.stream import Flag

pytest.importorskip("pylsl")
pylsl = load_pylsl()

FOREIGN = """
import sys, time, numpy as np, pylsl
name, source, label = sys.argv[1:4]
info = pylsl.StreamInfo(name, "EEG", 2, 250.0, "float32", None if source == "None" else source)
info.set_channel_labels([label, "Cz"])
out = pylsl.StreamOutlet(info)
codes = pylsl.StreamOutlet(pylsl.StreamInfo(name + "-codes", "Markers", 1, 0, sys.argv[4], name + "-codes"))
print("ready", flush=True)
begin, number = pylsl.local_clock(), 0
while True:
    time.sleep(max(0.0, begin + (number + 10) / 250.0 - pylsl.local_clock()))
    rows = np.arange(number, number + 10)
    if codes.have_consumers() and number % 100 == 0:
        for k in range(50):
            value = {"float32": k + 0.5, "int32": k, "string": f"text-{k}"}[sys.argv[4]]
            codes.push_sample([value], begin + (number + k) / 250.0)
    out.push_chunk(np.column_stack((rows, -rows)).astype(np.float32), begin + rows / 250.0)
    number += 10
"""
OWN = """
import sys, time, numpy as np
from bci import Channel, StreamInfo
from bci.acquisition.driver import Driver, Samples
from bci.acquisition.lsl_serve import serve

class Counter(Driver):
    def _open(self):
        return StreamInfo("counter", 250.0, (Channel("number"),), "counter", {"maker": "none"})
    def _start(self):
        self.begin_s, self.n = self.clock.now(), 0
        print("ready", flush=True)
    def _read(self, timeout_s):
        due_s = self.begin_s + (self.n + 10) / 250.0
        time.sleep(max(0.0, min(timeout_s, due_s - self.clock.now())))
        if self.clock.now() < due_s:
            return None
        rows = np.arange(self.n, self.n + 10)
        self.n += 10
        return Samples(rows[:, None].astype(float), self.begin_s + rows / 250.0)
    def _stop(self): ...
    def _close(self): ...

serve(Counter(), sys.argv[1], wait_s=None)
"""


@pytest.fixture
def name():
    return f"bci-test-{uuid.uuid4()}"


@pytest.fixture
def start(name):
    """Start senders in processes of their own; end them after the test."""
    running = []

    def begin(code=FOREIGN, source=None, label="C3", dtype="int32"):
        source = source or name
        process = subprocess.Popen([sys.executable, "-c", code, name, source, label, dtype], stdout=subprocess.PIPE)
        running.append(process)
        while process.stdout.readline() != b"ready\n":  # pylsl talks, too
            assert process.poll() is None
        return process

    yield begin
    for process in running:
        end(process)
        process.stdout.close()


def end(process):
    process.kill()
    process.wait()


def until(device, done, limit_s=20.0):
    until_s = time.monotonic() + limit_s
    while time.monotonic() < until_s:
        chunk = device.read(0.2)
        if done(chunk):
            return chunk
    raise AssertionError(f"not within {limit_s} s: {device.report()}")


def restarted(device, start, process, **settings):
    """Kill a sender, start it again; return the first chunk that is there then."""
    until(device, lambda c: c.stop > 50)
    end(process)
    start(**settings)
    return until(device, lambda c: c.n_samples and Flag.GAP in c.flags)


# ---------------------------------------------------------------- recovery
@pytest.mark.parametrize("source", [None, "None"])  # "None": pylsl makes up an id, another one in each process
def test_restarted_sender_is_found_and_its_loss_said(name, start, source):
    process = start(source=source)
    with LslInlet(name) as device:
        back = restarted(device, start, process, source=source)
        report = device.report()
    assert back.data[0, 0] < 250  # 20 samples on a machine that has time (bench_lsl_faults.py)
    (restart,), (gap,) = report["restarts"], report["gaps"]
    assert restart["lost"] == gap["lost"] == report["lost"] > 0
    assert gap["cause"] == "the sender ended the connection, the sender was restarted"
    assert restart["away"] == pytest.approx((restart["lost"] + 1) / 250.0, abs=0.003)


def test_nothing_of_our_own_restarted_sender_is_missing(name, start):
    process = start(OWN)
    with LslInlet(name) as device:
        assert restarted(device, start, process, code=OWN).data[0, 0] == 0


def test_nothing_is_missing_between_two_receivers_of_our_own_sender(name, start):
    start(OWN)
    with LslInlet(name) as device:
        first = until(device, lambda c: c.stop > 50)
    time.sleep(1.5)  # nobody is there
    with LslInlet(name) as device:
        second = device.read(5.0)
        until(device, lambda c: c.n_samples and Flag.STALE not in c.flags)
        assert device.n_lost == 0
    assert second.data[0, 0] <= first.data[-1, 0] + 1
    assert Flag.STALE in second.flags


def test_sender_that_comes_back_with_other_channels_is_lost(name, start):
    process = start()
    with LslInlet(name) as device, pytest.raises(DeviceLost, match="other channels"):
        restarted(device, start, process, label="C4")


def test_successor_of_a_sender_that_hangs_is_taken(name, start):
    hung = start()
    with LslInlet(name) as device:
        until(device, lambda c: c.stop > 50)
        hung.send_signal(signal.SIGSTOP)
        until(device, lambda c: Flag.SILENT in c.flags)
        start()
        until(device, lambda c: c.n_samples > 0)
        assert device.report()["restarts"][0]["cause"].startswith("the sender hung")


def test_markers_come_back_with_their_sender(name, start):
    process = start()
    with LslInlet(name, markers=f"{name}-codes") as device:
        until(device, lambda c: bool(c.events))
        restarted(device, start, process)
        until(device, lambda c: bool(c.events))
        (broken,) = device.report()["marker_breaks"]
    assert broken["stream"] == f"{name}-codes" and broken["back"] >= broken["time"]


def test_markers_are_found_again_as_often_as_their_sender_goes(name, start):
    """Whoever sees it first, the receiver of the markers or that of the signal, which asks for a successor."""
    process = start()
    link = LslMarks(find({"name": f"{name}-codes"}, 5.0, False))
    link.start(5.0)
    for n in range(1, 4):
        assert taken(link)
        end(process)
        process = start()
        link.look_for_successor()
        assert taken(link, lambda n=n: len(link.breaks) >= n and link.breaks[-1]["back"])
        assert len(link.breaks) == n and all(b["back"] >= b["time"] for b in link.breaks)
    link.stop()


def taken(link, once=lambda: True):
    """Return the first codes that are taken once that holds, within 20 s."""
    return next((codes for _ in range(100) if (codes := link.take(0.2)) and once()), None)


def test_stop_and_start_again_streams_on_though_the_sender_was_restarted(name, start):
    process = start()
    with LslInlet(name, markers=f"{name}-codes") as device:
        until(device, lambda c: c.stop > 20)
        device.stop()
        end(process)
        start()
        device.start()
        assert until(device, lambda c: c.n_samples > 0).start == 0


# ------------------------------------------------------------------ markers
@pytest.mark.parametrize(("dtype", "code"), [("int32", "{}"), ("float32", "{}.5"), ("string", "text-{}")])
def test_burst_of_markers_keeps_its_samples(name, start, dtype, code):
    start(dtype=dtype)
    events = []
    with LslInlet(name, markers=f"{name}-codes") as device:
        first = device.read(5.0)
        offset = first.start - int(first.data[0, 0])
        until(device, lambda c: (events.extend(c.events), len(events) >= 100)[1])
    whole = events[-50:]  # the first burst may lie before the first sample
    assert [e.code for e in whole] == [code.format(k) for k in range(50)]
    numbers = np.array([e.sample for e in whole]) - offset
    assert numbers[0] % 100 == 0 and np.array_equal(np.diff(numbers), np.ones(49))


# ------------------------------------------------------------------- honesty
def test_reader_that_is_too_late_gets_the_newest_and_is_told_what_is_missing(name, start):
    start()
    with LslInlet(name, buffer_s=1.0) as device:
        first = until(device, lambda c: c.n_samples > 0)
        time.sleep(2.0)
        late = until(device, lambda c: Flag.OVERFLOW in c.flags)
        gap = device.report()["gaps"][0]
    assert Flag.GAP in late.flags and "waited for more than 1 s" in gap["cause"]
    assert late.data[0, 0] - first.data[0, 0] == late.start - first.start  # counted to the sample


def test_clock_offsets_are_measured_with_their_uncertainty(name, start):
    start()
    with LslInlet(name) as device:
        until(device, lambda c: bool(device.report()["clock_offsets"]))
        offset = device.report()["clock_offsets"][0]
    assert abs(offset["offset"]) < 0.01 and 0 <= offset["uncertainty"] < 0.1  # one machine, one clock
    assert abs(offset["time"] - pylsl.local_clock()) < 20


def test_what_was_received_before_the_sender_went_is_still_there(name):
    (outlet,) = outlets(name, name)
    link = LslLink(find({"name": name}, 5.0), 10.0)
    link.open(5.0)
    link.start(5.0)
    outlet.push_chunk(np.arange(20, dtype=np.float32)[:, None])
    time.sleep(0.2)
    del outlet  # the sender is gone before anybody reads
    n = 0
    while n < 20 and (piece := link.take(1.0)) is not None:
        n += len(piece.stamps)
    link.stop()
    assert n == 20


# ----------------------------------------------------------------- discovery
def outlets(name, *sources):
    return [pylsl.StreamOutlet(pylsl.StreamInfo(name, "EEG", 1, 100.0, "float32", s)) for s in sources]


def test_stream_without_an_id_is_refused_unless_taken_knowingly(name):
    kept = outlets(name, "")
    with pytest.raises(ConfigError, match=r"no source_id.*allow_unnamed"):
        LslInlet(name).open()
    device = LslInlet(name, allow_unnamed=True)
    assert device.open().source_id == ""
    device.close()
    del kept


def test_two_senders_with_one_id_are_refused(name):
    kept = outlets(name, name, name)
    with pytest.raises(ConfigError, match=r"2 streams have its name.*close all senders but one"):
        LslInlet(name, allow_unnamed=True).open()
    assert [bool(s["problem"]) for s in streams(0.5) if s["name"] == name] == [True, True]
    del kept


def test_streams_tell_channels_units_and_id(name, start):
    start()
    (found,) = [s for s in streams(1.0, channels=True) if s["name"] == name]
    assert (found["labels"], found["source_id"], found["format"], found["problem"]) == (
        ["C3", "Cz"],
        name,
        "float32",
        "",
    )


def test_host_chooses(name):
    kept = outlets(name, name)
    with pytest.raises(DeviceNotFound, match="hostname='nowhere'"):
        LslInlet(name, hostname="nowhere", timeout_s=0.5).open()
    del kept
