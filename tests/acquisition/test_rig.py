import threading
import time

import numpy as np
import pytest

from bci.acquisition.driver import Driver, Samples, State
from bci.acquisition.participant import Participant
from bci.acquisition.recorder.xdf_recorder import XdfRecorder
from bci.acquisition.rig import Rig
from bci.acquisition.rig_main import MainStream, RecordedMainStream
from bci.acquisition.rig_replay import RigReplay
from bci.acquisition.rig_source import Health
from bci.clock import ManualClock, SkewedClock
from bci.errors import ConfigError, DeviceError, DeviceLost, DeviceNotFound, FormatError
from bci.paradigms.motor_imagery import MotorImagery
from bci.runtime.session import Session
from bci.stream import Channel, Flag, Kind, StreamInfo
from bci.testing.device import check_device
from bci.trial import Locked, Slide


class Counter(Driver):
    """Counts on its clock: channel 0 is what the clock showed. Packets come late, and may be cut off."""

    def __init__(self, clock, name="counter", sfreq=100.0, packet=4, jitter_s=0.0, gone_s=(), fail=""):
        super().__init__(clock=clock)
        self.name, self.sfreq, self.packet, self.jitter_s = name, sfreq, packet, jitter_s
        self.gone_s, self.fail, self.opened = list(gone_s), fail, 0
        self.rng = np.random.default_rng(0)

    def _open(self):
        if self.fail == "open" or (self.gone_s and self.gone_s[0][0] <= self.clock.now() < self.gone_s[0][1]):
            raise DeviceNotFound("expected a counter, found none; plug it in")
        self.opened += 1
        return StreamInfo(self.name, self.sfreq, (Channel("t", Kind.MISC, "s"), Channel("n", Kind.MISC, "")))

    def _start(self):
        if self.fail == "start":
            raise DeviceError("expected it to start, it did not; try again")
        self.begin_s, self.n, self.delay_s = self.clock.now(), 0, 0.0

    def _read(self, timeout_s):
        if self.gone_s and self.gone_s[0][0] <= self.clock.now():
            if self.clock.now() < self.gone_s[0][1]:
                raise DeviceLost("expected samples, the cable is out; put it back")
            self.gone_s.pop(0)
        times = self.begin_s + (self.n + np.arange(self.packet)) / self.sfreq
        due_s, until_s = times[-1] + self.delay_s, self.clock.now() + timeout_s
        self.clock.sleep_until(min(due_s, until_s))
        if due_s > until_s + 1e-9:
            return None
        numbers = self.n + np.arange(self.packet)
        self.n, self.delay_s = self.n + self.packet, float(self.rng.exponential(self.jitter_s))
        return Samples(np.column_stack([times, numbers]), times)

    @property
    def due_s(self):
        """When the next packet is here, on the session clock."""
        shown_s = self.begin_s + (self.n + self.packet - 1) / self.sfreq + self.delay_s
        return self.clock.true(shown_s) if isinstance(self.clock, SkewedClock) else shown_s

    def _stop(self): ...

    def _close(self): ...


class Stuck(Counter):
    """Does not come back from its second read."""

    release = threading.Event()

    def _read(self, timeout_s):
        if self.n:
            self.release.wait()
        return super()._read(timeout_s)


class Buttons:
    """A stream of markers: presses at fixed times."""

    def __init__(self, clock, presses):
        self.clock, self.presses = clock, presses

    def open(self): ...

    def start(self):
        self.left = list(self.presses)

    def read(self, timeout_s):
        due = [p for p in self.left if p[0] <= self.clock.now()]
        self.left = self.left[len(due) :]
        return due

    def close(self): ...


def run(rig, seconds):
    until_s = rig.clock.now() + seconds
    arrivals = []
    while rig.clock.now() < until_s:
        arrivals += rig.read(0.02)
    return arrivals


# ----------------------------------------------------------------- lifecycle
@pytest.mark.parametrize("step", ["open", "start"])
def test_all_streams_begin_or_none(step):
    clock = ManualClock()
    good, bad = Counter(clock), Counter(clock, fail=step)
    with (
        pytest.raises(DeviceError, match="2 streams.*1 failed.*emg: expected"),
        Rig({"eeg": good, "emg": bad}, clock=clock),
    ):
        pass
    assert good.state is State.CLOSED and bad.state is State.CLOSED


def test_rig_opens_again_after_a_failure():
    clock = ManualClock()
    bad = Counter(clock, fail="open")
    rig = Rig({"eeg": Counter(clock), "emg": bad}, clock=clock)
    with pytest.raises(DeviceError):
        rig.open()
    bad.fail = ""
    with rig:
        assert {a.name for a in run(rig, 0.5)} == {"eeg", "emg"}
    rig.close()


def test_streams_bear_the_names_of_the_rig():
    clock = ManualClock()
    with Rig({"left": Counter(clock), "right": Counter(clock)}, clock=clock) as rig:
        assert {(a.name, a.chunk.info.name) for a in run(rig, 0.2)} == {("left", "left"), ("right", "right")}
        assert rig.infos["left"].meta["device"] == "counter" and rig.main == "left"


@pytest.mark.parametrize(
    ("devices", "settings"),
    [({}, {}), ({"a": "participant"}, {"main": "b"}), ({"a": "participant"}, {"late_s": 0.0}),
     ({"a": "participant"}, {"markers": {"a": None}}), ({"a": "participant"}, {"latency_s": {"b": 0.1}})],
)  # fmt: skip
def test_settings_are_checked(devices, settings):
    with pytest.raises(ConfigError):
        Rig(devices, **settings)


# ----------------------------------------------------------- loss and return
def test_stream_that_hangs_does_not_hold_up_the_others():
    Stuck.release.clear()
    try:
        with Rig({"eeg": Counter(None), "emg": Stuck(None)}) as rig:
            arrivals = run(rig, 0.8)
            latest_s = max(a.arrived_s - a.chunk.times[-1] for a in arrivals if a.name == "eeg" and a.chunk)
            assert rig.status["emg"].health is Health.SILENT and "no sample" in rig.status["emg"].cause
            assert rig.status["eeg"].health is Health.STREAMING
            assert rig.report()["eeg"]["delivered"] >= 60 and latest_s < 0.3
            Stuck.release.set()
    finally:
        Stuck.release.set()


def test_lost_stream_is_said_and_comes_back_with_its_numbers_running_on():
    clock = ManualClock()
    emg = Counter(clock, gone_s=[(2.0, 3.5)])
    with Rig({"eeg": Counter(clock), "emg": emg}, clock=clock) as rig:
        alignment = rig.align(Slide(0.5, 0.5))
        run(rig, 2.5)
        lost = rig.status["emg"]
        assert lost.health is Health.LOST and "cable" in lost.cause and 2.0 <= lost.since_s < 2.05
        arrivals = run(rig, 3.5)
        windows = alignment.take()
        report = rig.report()["emg"]
    first = next(a.chunk for a in arrivals if a.name == "emg" and a.chunk is not None and a.chunk.n_samples)
    assert Flag.GAP in first.flags and first.start == round(first.times[0] * 100) and emg.opened == 2
    assert report["lost"] == first.start - 200 >= 140 and report["health"] == "streaming"
    assert [c["health"] for c in report["changes"]] == ["lost", "silent", "streaming"]
    assert all(w.streams["eeg"].flags == Flag.OK for w in windows) and len(windows) >= 11
    assert [w.streams["emg"].flags for w in windows[4:7]] == [Flag.SILENT] * 3


def test_no_window_waits_for_a_lost_stream():
    clock = ManualClock()
    with Rig({"eeg": Counter(clock), "emg": Counter(clock, gone_s=[(1.0, 99.0)])}, clock=clock, late_s=5.0) as rig:
        alignment = rig.align(Slide(0.5, 0.5))
        run(rig, 3.1)
        assert alignment.take()[-1].stop_s == 3.0


def test_source_that_comes_back_as_another_stays_lost():
    clock = ManualClock()
    emg = Counter(clock, gone_s=[(1.0, 1.5)])
    with Rig({"eeg": Counter(clock), "emg": emg}, clock=clock) as rig:
        run(rig, 1.2)
        emg.sfreq = 200.0
        run(rig, 3.0)
        assert rig.status["emg"].health is Health.LOST and emg.opened > 2


def test_what_nobody_reads_is_counted_as_lost():
    with Rig({"eeg": Counter(None)}, buffer_s=0.2) as rig:
        time.sleep(0.6)
        run(rig, 0.3)
        report = rig.report()["eeg"]
        assert report["lost"] >= 20 and report["delivered"] <= 70


# --------------------------------------------------------------------- clocks
def test_skewed_clock_is_wrong_by_as_much_as_asked():
    true = ManualClock(10.0)
    skewed = SkewedClock(true, 200.0, offset_s=5.0)
    true.advance(1000.0)
    assert skewed.now() == pytest.approx(1015.2) and skewed.true(skewed.now()) == pytest.approx(1010.0)
    skewed.sleep_until(1016.0)
    assert skewed.now() == pytest.approx(1016.0)
    with pytest.raises(ConfigError):
        SkewedClock(true, -1e6)


@pytest.mark.parametrize("ppm", [200.0, -200.0])
def test_clock_of_its_own_is_brought_to_the_session_clock(ppm):
    clock = ManualClock(50.0)
    skewed = SkewedClock(clock, ppm, offset_s=1000.0)
    devices = {"eeg": Counter(clock, packet=10), "emg": Counter(skewed, packet=10, jitter_s=0.01)}
    with Rig(devices, clock=clock) as rig:
        run(rig, 60.0)
        chunks = [a.chunk for a in run(rig, 300.0) if a.name == "emg" and a.chunk is not None]
        found = rig.report()["emg"]["clock"]
    errors_s = np.concatenate([c.times - skewed.true(c.data[:, 0]) for c in chunks])
    assert np.abs(errors_s).max() < 2e-3
    assert abs(found["ppm"] - ppm) < 20 and found["offset_s"] == pytest.approx(-1000.0, abs=0.1)


def test_times_on_the_session_clock_are_left_alone():
    clock = ManualClock()
    with Rig({"eeg": Counter(clock, jitter_s=0.02)}, clock=clock) as rig:
        chunks = [a.chunk for a in run(rig, 3.0) if a.chunk is not None]
        assert all(np.array_equal(c.times, c.data[:, 0]) for c in chunks)


# --------------------------------------------------------------------- events
def test_markers_and_own_events_lock_windows_in_every_stream():
    clock = ManualClock()
    markers = {"buttons": Buttons(clock, [(1.234, "press")])}
    with Rig({"eeg": Counter(clock), "emg": Counter(clock, sfreq=250.0)}, markers=markers, clock=clock) as rig:
        alignment = rig.align(Locked(-0.5, 0.5))
        run(rig, 2.0)
        rig.mark("now", 1.5, "program")
        run(rig, 1.0)
        press, now = alignment.take()
    assert (press.event.code, press.event.source, now.event.source) == ("press", "buttons", "program")
    assert press.start_s == pytest.approx(0.734) and now.start_s == 1.0
    assert [len(s.times) for s in press.streams.values()] == [100, 250]


# ------------------------------------------------------------------ recording
def equal(one, two):
    return (one.start_s, one.stop_s, one.event and (one.event.time, one.event.code)) == (
        two.start_s, two.stop_s, two.event and (two.event.time, two.event.code)) and all(
        np.array_equal(getattr(a, what), getattr(b, what)) and a.flags == b.flags
        for a, b in zip(one.streams.values(), two.streams.values(), strict=True)
        for what in ("data", "times", "numbers"))  # fmt: skip


def test_recorded_rig_gives_the_windows_that_were_cut_live(tmp_path):
    clock = ManualClock(7.0)
    devices = {
        "eeg": Participant(speed=1.0, clock=clock),
        "emg": Counter(SkewedClock(clock, 150, 3.0), sfreq=500.0, jitter_s=0.05, gone_s=[(13.0, 14.2)]),
        "gaze": Counter(clock, sfreq=60.0, packet=1, jitter_s=0.1),
    }
    markers = {"buttons": Buttons(clock, [(8.0, "a"), (9.1, "b"), (11.3, "a")])}
    path = tmp_path / "rig.xdf"
    with XdfRecorder(path) as recorder, Rig(devices, markers=markers, clock=clock, late_s=0.1) as rig:
        rig.record(recorder)
        slide, locked = rig.align(Slide(0.5, 0.1)), rig.align(Locked(-0.2, 0.3))
        run(rig, 4.0)
        rig.mark("own")
        run(rig, 4.0)
        live = slide.take(), locked.take()
    flags = [w.streams["gaze"].flags for w in live[0]]
    assert Flag.SILENT in flags and Flag.OK in flags  # some samples came too late, which has to be the same again
    with RigReplay(path) as rig:
        slide, locked = rig.align(Slide(0.5, 0.1)), rig.align(Locked(-0.2, 0.3))
        while not rig.at_end:
            rig.read(0.1)
        rig.read(0.1)
        again = slide.take(), locked.take()
    for one, two in zip(live, again, strict=True):
        assert len(one) == len(two) and all(map(equal, one, two))
    assert len(live[0]) > 70 and [w.event.code for w in live[1]] == ["a", "b", "own", "a"]


def test_windows_of_a_recording_end_with_it(tmp_path):
    clock, path = ManualClock(), tmp_path / "rig.xdf"
    with XdfRecorder(path) as recorder, Rig({"eeg": Counter(clock), "emg": Counter(clock)}, clock=clock) as rig:
        rig.record(recorder)
        live = list(rig.windows(Slide(0.5, 0.25), duration_s=3.0))
    with RigReplay(path) as rig:
        assert [w.start_s for w in rig.windows(Slide(0.5, 0.25))] == [w.start_s for w in live]


def test_file_that_no_rig_has_recorded_is_refused(tmp_path):
    path = tmp_path / "one.xdf"
    with XdfRecorder(path) as recorder:
        recorder.add_stream(StreamInfo("eeg", 100.0, (Channel("Cz"),)))
    with pytest.raises(FormatError, match="rig"):
        RigReplay(path)
    with pytest.raises(DeviceNotFound):
        RigReplay(tmp_path / "none.xdf")


# -------------------------------------------------------------------- session
def decide(device, record=None):
    with Session(device, MotorImagery(n_trials=2, pause_s=(0.5, 0.6)), "csp-lda", record=record, seed=1) as session:
        session.calibrate()
        session.fit(n_splits=2)
        alignment = device.rig.align(Slide(1.0, 0.5))
        run = session.drive(6.0)
        return run.hash, [w.start_s for w in alignment.take()]


def test_session_runs_on_a_rig_and_its_recording_gives_the_same_decisions(tmp_path):
    clock, path = ManualClock(), tmp_path / "session.xdf"
    devices = {"eeg": Participant(speed=1.0, clock=clock), "emg": Counter(SkewedClock(clock, 200), sfreq=50.0)}
    rig = Rig(devices, markers={"buttons": Buttons(clock, [(2.0, "press")])}, clock=clock, tick_s=0.02)
    live, windows = decide(MainStream(rig), path)
    assert len(windows) >= 8
    again = RecordedMainStream(path)
    assert decide(again)[0] == live
    take = again.rig.reader("eeg").device._take
    assert [(e.code, e.source) for e in take.events if e.source] == [("press", "buttons")]
    assert len(again.rig.reader("emg").device._take.times) > 500


@pytest.mark.parametrize("speed", [1.0, "max"])
def test_main_stream_keeps_the_contract_of_a_device(tmp_path, speed):
    clock, path = ManualClock(), tmp_path / "rig.xdf"
    with XdfRecorder(path) as recorder, Rig({"a": Counter(clock), "b": Counter(clock)}, clock=clock) as rig:
        rig.record(recorder)
        run(rig, 2.0)
    check_device(lambda: RecordedMainStream(path, speed=speed), seconds=0.5)
    if speed == 1.0:
        check_device(lambda: MainStream({"a": "participant,speed=1.0", "b": "participant,speed=1.0"}), seconds=0.5)
