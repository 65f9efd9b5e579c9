import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from bci.acquisition.faulty import FaultyDevice
from bci.acquisition.participant import Participant
from bci.acquisition.recorder.recover import open_complete
from bci.acquisition.replay import Replay
from bci.acquisition.truth import differences
from bci.errors import ConfigError, DataError, DeviceLost, DeviceNotFound, SafetyError
from bci.paradigms.motor_imagery import MotorImagery
from bci.ports import Hazard, Limits
from bci.runtime.collect import Collector, Labeller
from bci.runtime.score import binomial_interval
from bci.runtime.session import Session
from bci.safety.console import ScriptedOperator
from bci.safety.gate import Gate
from bci.safety.link import GuardedEffector
from bci.signal.filters import Bandpass
from bci.signal.spatial import Pick
from bci.signal.window import Cut
from bci.stream import Channel, Chunk, Event, Flag, StreamInfo
from bci.trial import Locked

DRIVE_S = 12.0


def imagery(**settings):
    return MotorImagery(**{"n_trials": 3, "pause_s": (0.5, 1.0), **settings})


def play(device, record=None, paradigm=None):
    with Session(device, paradigm or imagery(), "csp-lda", record=record, seed=1) as session:
        session.calibrate()
        session.fit()
        return session.drive(DRIVE_S), session


@pytest.fixture(scope="module")
def recorded(tmp_path_factory):
    path = tmp_path_factory.mktemp("session") / "run.xdf"
    run, _ = play(Participant(seed=2), record=path)
    return path, run


@pytest.mark.parametrize("n", [1, 7, 32, 160, 500])
def test_replay_decides_as_live_whatever_the_chunk(recorded, n):
    path, live = recorded
    again, _ = play(Replay(path, chunk_samples=n))
    assert again.hash == live.hash


@pytest.mark.parametrize("speed", [20.0, "max"])
def test_replay_decides_as_live_whatever_the_speed(recorded, speed):
    path, live = recorded
    again, _ = play(Replay(path, speed=speed))
    assert again.hash == live.hash


LOSSY = {"drop": [(0.0, 13), (3.0, 13), (10.02, 1)], "silent": [(28.0, 0.4)]}


def play_all(device, record=None):
    """Every verb twice, as at a desk: a calibration that is repeated, and two drives."""
    with Session(device, imagery(), "csp-lda", record=record, seed=1) as session:
        calibrations = [session.calibrate(), session.calibrate()]
        session.fit()
        runs = [session.drive(4.0), session.drive(4.0)]
    return calibrations, runs


@pytest.fixture(scope="module")
def recorded_twice(tmp_path_factory):
    path = tmp_path_factory.mktemp("twice") / "run.xdf"
    return path, *play_all(Participant(seed=2, **LOSSY), path)


@pytest.mark.parametrize("n", [1, 33, 500])
def test_replay_of_losses_and_repeated_phases_decides_as_live(recorded_twice, n):
    path, calibrations, runs = recorded_twice
    again, runs_again = play_all(Replay(path, chunk_samples=n))
    for one, two in zip(calibrations, again, strict=True):
        np.testing.assert_array_equal(one.X, two.X)
        assert one.y.tolist() == two.y.tolist()
    assert [r.hash for r in runs_again] == [r.hash for r in runs]


def test_each_drive_counts_its_own_decisions(recorded_twice):
    _, _, runs = recorded_twice
    assert [sum(r.gate.values()) for r in runs] == [len(r.decisions) for r in runs] == [40, 40]


def test_a_foreign_recording_is_driven_on_from_where_it_stopped(recorded):
    path, _ = recorded
    with Session(Replay(path, chunk_samples=500), imagery(), "csp-lda", seed=1) as session:
        session.calibrate(until_s=40.0)
        session.fit()
        first, second = session.drive(4.0), session.drive(4.0)
    assert (first.decisions[0].stop, first.decisions[-1].stop) == (40 * 250 + 25, 44 * 250)
    assert (second.decisions[0].stop, second.decisions[-1].stop) == (44 * 250 + 25, 48 * 250)


def test_every_decision_has_its_ledger(recorded):
    _, run = recorded
    assert len(run.decisions) == DRIVE_S / 0.1
    for decision in run.decisions:
        assert set(decision.stages) == {"read", "record", "blocks", "window", "decode", "decide"}
        assert 0 <= decision.age_s <= 0.04 + 1e-9


def test_recording_holds_everything(recorded):
    import pyxdf

    path, run = recorded
    streams, _ = pyxdf.load_xdf(str(path), dejitter_timestamps=False, verbose=False)
    found = {s["info"]["name"][0]: s for s in streams}
    assert {"participant", "Markers", "Decisions", "Commands", "Session", "Config"} <= set(found)
    assert len(found["Decisions"]["time_series"]) == len(run.decisions)
    config = json.loads(found["Config"]["time_series"][0][0])
    assert config["session"]["seed"] == 1
    assert "numpy" in config["versions"]


def test_recording_opens_in_mne(recorded):
    from bci.interop import to_raw

    path, _ = recorded
    chunks = []
    with Replay(path) as device:
        while not device.at_end:
            chunks.append(device.read(0.0))
    raw = to_raw(chunks)
    assert raw.info["sfreq"] == 250.0
    assert {"left", "right", "rest"} <= set(raw.annotations.description)
    assert 1e-6 < raw.get_data().std() < 1e-4  # volts


def test_strength_zero_is_at_chance():
    scores = []
    for seed in range(3):
        with Session(Participant(seed=seed, strength=0.0), imagery(n_trials=8), "csp-lda", seed=seed) as session:
            session.calibrate()
            scores.append((session.fit(), session.drive().score))
    for kind in zip(*scores, strict=True):  # offline, then online
        low, high = binomial_interval(sum(s.correct for s in kind), sum(s.n for s in kind), 0.99)
        assert sum(s.n for s in kind) == 72
        assert low < 1 / 3 < high


class Witness:
    """A fitted decoder that remembers every window it was asked about."""

    classes_ = np.array(["left", "rest", "right"])

    def __init__(self):
        self.seen = set()

    def fit(self, X, y):
        return self

    def predict_proba(self, X):
        self.seen |= {x.tobytes() for x in X}
        return np.full((len(X), 3), 1 / 3)


def test_the_decoder_is_fitted_on_the_very_windows_it_meets_online(recorded):
    path, _ = recorded
    witness = Witness()
    with Session(Replay(path, chunk_samples=33), imagery(), witness) as session:
        session.drive()
    with Session(Replay(path), imagery()) as session:
        calibration = session.calibrate()
    assert len(calibration.X) > 100
    assert {x.tobytes() for x in calibration.X} <= witness.seen


def test_another_recording_goes_through_the_same_blocks(recorded):
    path, _ = recorded
    blocks = [Pick(("C3", "C4")), Bandpass(8.0, 30.0, 2)]
    with Session(Replay(path), imagery(), blocks=blocks) as session:
        own = session.calibrate()
    with Session(Participant(seed=3), imagery(), blocks=blocks) as session:
        other = session.calibrate(f"replay:{path}")
    np.testing.assert_array_equal(own.X, other.X)
    assert own.info.ch_names == ["C3", "C4"]


def test_response_is_decoded():
    with Session(Participant(seed=1, strength=1.5), imagery(n_trials=8), "csp-lda", seed=1) as session:
        session.calibrate()
        score = session.fit()
    assert score.accuracy > score.chance_limit


def test_a_gap_closes_the_gate_and_no_window_spans_it():
    device = Participant(seed=2, drop=[(25.0, 40)])
    with Session(device, imagery(), "csp-lda", seed=1) as session:
        session.calibrate()
        session.fit()
        run = session.drive(DRIVE_S)
    assert device.n_lost == 40
    gaps = [g["sample"] for g in device.report()["gaps"]]
    for decision in run.decisions:
        assert not any(decision.start < g < decision.stop for g in gaps)


def test_first_window_after_a_gap_is_flagged_and_refused():
    # Driving begins after about 24 s of calibration; the loss falls into it.
    device = Participant(seed=2, drop=[(53.0, 40)])
    with Session(device, imagery(n_trials=3), "csp-lda", seed=1) as session:
        session.calibrate()
        session.fit()
        run = session.drive(DRIVE_S * 2)
    flagged = [d for d in run.decisions if d.flags & Flag.GAP]
    assert len(flagged) == 1
    assert any("GAP" in reason for reason in run.gate)


def test_a_lost_device_is_said_and_its_recording_kept(tmp_path):
    path = tmp_path / "lost.xdf"
    device = Participant(seed=2, disconnect_at_s=10.0)
    with pytest.raises(DeviceLost), Session(device, imagery(), record=path) as session:
        session.calibrate()
    with Replay(path) as again:
        samples = 0
        while not again.at_end:
            samples += again.read(0.0).n_samples
    assert samples == device.n_delivered


def test_a_recording_is_never_overwritten(recorded):
    path, _ = recorded
    before = path.read_bytes()
    with pytest.raises(ConfigError, match="exist"), Session(Participant(), imagery(), record=path):
        pass
    assert path.read_bytes() == before


def test_fit_before_calibrate_says_what_to_call():
    with Session(Participant(), imagery()) as session, pytest.raises(ConfigError, match="calibrate"):
        session.fit()


def test_drive_before_fit_says_what_to_call():
    with Session(Participant(), imagery()) as session, pytest.raises(ConfigError, match="fit"):
        session.drive(1.0)


def test_missing_recording_is_one_sentence(tmp_path):
    with pytest.raises(DeviceNotFound, match="check the path"), Session(f"replay:{tmp_path / 'none.edf'}"):
        pass


@pytest.mark.parametrize("flags", [Flag.GAP, Flag.STALE, Flag.NAN, Flag.REJECTED, Flag.OK, Flag.REPAIRED])
def test_only_windows_without_a_flaw_train(flags):
    info = StreamInfo("amp", 100.0, (Channel("C3"),))
    labeller = Labeller(("left",), (0.0, 4.0), 100.0)
    labeller.see([Event(0, 0.0, "left")])
    data = np.full((100, 1), np.nan if flags & Flag.NAN else 1.0)
    flawed = Cut(Chunk(data, np.arange(100) / 100, 100, info, (), flags))
    good = Cut(Chunk(np.ones((100, 1)), np.arange(100) / 100, 200, info))
    collector = Collector(labeller)
    collector.add([flawed, good])
    assert len(collector.finish().X) == (1 if flags & ~Flag.REPAIRED else 2)


def test_recording_without_cues_says_so(tmp_path, recorded):
    path, _ = recorded
    paradigm = MotorImagery(window=Locked(0.5, 2.5, ("nothing",)))
    with Session(Replay(path), paradigm) as session, pytest.raises(DataError, match="event codes"):
        session.calibrate()


def test_a_bare_effector_that_touches_is_refused():
    class Arm:
        limits = Limits(hazard=Hazard.BODY)

        def self_test(self): ...
        def send(self, command): ...
        def halt(self): ...
        def close(self): ...

    with pytest.raises(SafetyError, match="behind the guard"):
        Session(Participant(), imagery(), effectors=[Arm()])


def test_a_model_that_says_nan_brings_the_guard_to_the_safe_state_for_good(tmp_path):
    class Lost:
        classes_ = np.array(["left", "rest", "right"])

        def fit(self, X, y):
            return self

        def predict_proba(self, X):
            n = len(X)
            return np.full((n, 3), np.nan) if time.monotonic() > nan_from_s else np.random.default_rng().dirichlet(
                np.array([0.02, 0.02, 5.0]), n)  # fmt: skip

    nan_from_s = np.inf
    guarded = GuardedEffector(f"log:{tmp_path / 'out.jsonl'}", auto_operator=False)
    states = []
    with Session(Participant(seed=2, speed=1.0), imagery(), Lost(), effectors=[guarded]) as session:
        operator = ScriptedOperator(guarded.console)

        def watch(decision, command):
            nonlocal nan_from_s
            states.append(guarded.state)
            if guarded.state == "active" and nan_from_s == np.inf:
                nan_from_s = time.monotonic() + 0.5

        operator.arm()
        session.drive(7.0, on_decision=watch)
        operator.close()
    assert "active" in states
    assert states[-10:] == ["safe"] * 10  # the deadman is held and the loop runs, yet it stays safe


class Face:
    """An effector that remembers what it was told."""

    limits = Limits()

    def __init__(self):
        self.sent, self.shown, self.halted = [], [], 0

    def self_test(self): ...
    def close(self): ...

    def send(self, command):
        self.sent.append(command)

    def show(self, status):
        self.shown.append(status)

    def halt(self):
        self.halted += 1


def test_cues_are_shown_while_calibrating():
    face = Face()
    with Session(Participant(seed=2), imagery(), effectors=[face]) as session:
        session.calibrate()
    assert {"left", "right", "rest"} <= {s.cue for s in face.shown}
    assert not face.sent


def test_a_drive_that_fails_halts_the_effectors_at_once():
    class Failing:
        classes_ = np.array(["left", "rest", "right"])

        def fit(self, X, y):
            return self

        def predict_proba(self, X):
            raise ValueError("broken model")

    face = Face()
    with Session(Participant(seed=2), imagery(), Failing(), effectors=[face]) as session:
        with pytest.raises(ValueError, match="broken model"):
            session.drive(3.0)
        assert face.halted == 1


def test_plain_effectors_get_each_command(tmp_path):
    path = tmp_path / "commands.jsonl"
    with Session(Participant(seed=2), imagery(), "csp-lda", effectors=[f"log:{path}"], seed=1) as session:
        session.calibrate()
        session.fit()
        run = session.drive(3.0)
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    written = {line["value"] for line in lines if "value" in line}
    assert {c.value for c in run.commands if c.value} <= written
    assert lines[-1].get("halt") or lines[-1]["value"] == 0.0


def test_a_run_says_score_gate_and_latency(recorded):
    _, run = recorded
    text = str(run)
    assert str(run.score) in text
    assert run.hash[:16] in text
    assert all(f"{reason} {n}" in text for reason, n in run.gate.items())
    assert "decode" in text and "age" in text


def test_the_same_seed_gives_the_same_session():
    one, two = play(Participant(seed=4))[0], play(Participant(seed=4))[0]
    assert one.hash == two.hash


CHILD = """
import sys
from bci.acquisition.faulty import FaultyDevice
from bci.acquisition.participant import Participant
from bci.paradigms.motor_imagery import MotorImagery
from bci.runtime.session import Session
done = lambda turn: (sys.stdout.write(f"{turn.chunk.stop}\\n"), sys.stdout.flush())
with Session(Participant(speed=20.0), MotorImagery(), record=sys.argv[1], on_turn=done) as session:
    session.calibrate()
"""


def kill_a_session(path, after_s):
    child = subprocess.Popen([sys.executable, "-c", CHILD, str(path)], stdout=subprocess.PIPE, text=True)
    child.stdout.readline()
    time.sleep(after_s)
    os.kill(child.pid, signal.SIGKILL)
    text, _ = child.communicate()
    accepted = int(text.split()[-1])
    import pyxdf

    with open_complete(path) as file:
        streams, _ = pyxdf.load_xdf(file, dejitter_timestamps=False, verbose=False)
    found = next(s for s in streams if s["info"]["name"][0] == "participant")
    assert len(found["time_stamps"]) >= accepted
    assert np.isfinite(found["time_series"]).all()


@pytest.mark.parametrize("after_s", [0.31, 0.77])
def test_a_killed_session_keeps_every_accepted_sample(tmp_path, after_s):
    kill_a_session(tmp_path / "killed.xdf", after_s)


@pytest.mark.slow
def test_twenty_killed_sessions_keep_every_accepted_sample(tmp_path):
    rng = np.random.default_rng(0)
    for k in range(20):
        kill_a_session(tmp_path / f"killed-{k}.xdf", float(rng.uniform(0.05, 2.0)))


def test_a_calibration_of_other_channels_is_refused(recorded):
    path, _ = recorded
    from bci.simulation.person import CHANNELS

    with (
        Session(Participant(channels=CHANNELS[::-1]), imagery()) as session,
        pytest.raises(ConfigError, match="the calibration expects the channels .* another order"),
    ):
        session.calibrate(str(f"replay:{path}"))


def test_a_drive_without_an_end_is_refused(recorded):
    path, _ = recorded
    with Session(Participant(seed=2), imagery()) as session:
        session.calibrate(f"replay:{path}")
        session.fit()
        with pytest.raises(ConfigError, match="lasts for ever"):
            session.drive(cues=False)


def test_a_decoder_of_other_classes_is_refused(recorded):
    path, _ = recorded
    with Session(Replay(path), imagery(), "csp-lda") as session:
        session.calibrate()
        session.fit()
        decoder = session.decoder
    with (
        Session("participant", imagery(classes=("left", "right")), decoder) as session,
        pytest.raises(ConfigError, match="asks for left, right, got a decoder that knows left, rest, right"),
    ):
        session.drive(10)


def test_a_foreign_recording_that_is_over_before_the_drive_is_refused(tmp_path):
    with Session(Participant(seed=2), imagery(), record=tmp_path / "a.xdf", seed=1) as session:
        session.calibrate()
        session.fit()
    with Session(Replay(tmp_path / "a.xdf", events={c: c for c in ("left", "right", "rest")}), imagery()) as session:
        session.calibrate()
        session.fit()
        with pytest.raises(DataError, match="calibrate on its first part"):
            session.drive()


@pytest.mark.parametrize("n", [0, 1])
def test_a_score_needs_two_folds(recorded, n):
    path, _ = recorded
    with Session(Replay(path), imagery(), "csp-lda") as session:
        session.calibrate()
        with pytest.raises(ConfigError, match="two folds"):
            session.fit(n_splits=n)


def test_a_session_describes_its_chain_its_device_and_its_revision():
    from bci.runtime.describe import versions

    session = Session(Participant(strength=0.5, drop=[(1.0, 3)]), imagery(), blocks=[Pick(("C3", "C4"))])
    assert session.resolved["blocks"] == [{"class": "bci.signal.spatial.Pick", "channels": ["C3", "C4"]}]
    assert session.resolved["device"]["strength"] == 0.5 and session.resolved["device"]["drop"] == [[1.0, 3]]
    assert "GAP" in session.resolved["gate"]["bad_flags"]
    assert versions()["revision"]


def test_an_own_gate_is_never_looser_than_the_effectors():
    guarded = GuardedEffector("log", limits=Limits(hazard=Hazard.BODY, max_age_s=0.3))
    assert Session(effectors=[guarded], gate=Gate(max_age_s=1.0)).gate.max_age_s == 0.3


def test_a_drive_survives_a_disconnect_and_decides_again():
    device = FaultyDevice(Participant(seed=2), faults=[{"kind": "disconnect", "at_s": 50.0, "duration_s": 2.0}])
    with Session(device, imagery(), "csp-lda", seed=1) as session:
        session.calibrate()
        session.fit()
        run = session.drive(30.0, cues=False)
    (gap,) = device.report()["gaps"]
    assert not differences(device.ledger, device.report()) and gap["lost"] == 500
    assert not any(d.start < gap["sample"] < d.stop for d in run.decisions)
    after = [d for d in run.decisions if d.start >= gap["sample"]]
    assert Flag.GAP in after[0].flags and not after[-1].flags and run.gate["bad signal: GAP"] == 1


def test_a_recording_ends_with_what_the_device_reports(tmp_path):
    import pyxdf

    path = tmp_path / "r.xdf"
    with Session(Participant(seed=2, drop=[(3.0, 7)]), imagery(), record=path) as session:
        session.calibrate()
    streams, _ = pyxdf.load_xdf(path)
    (said,) = next(s for s in streams if s["info"]["name"] == ["Device"])["time_series"]
    report = json.loads(said[0])
    assert report["lost"] == 7 and report["gaps"][0]["cause"] == "simulated loss"


def test_a_session_that_would_not_fit_on_the_disk_is_refused(tmp_path):
    from bci.config import SessionConfig

    settings = {"record": str(tmp_path / "r.xdf"), "record_fallback": str(tmp_path), "planned_s": 1e15}
    with pytest.raises(ConfigError, match="plan less"):
        SessionConfig.from_mapping(settings).session().open()
