"""What a session does with its effectors when things go wrong around them: real outputs, real receivers."""

import json
import os
import select
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from bci.acquisition.participant import Participant
from bci.clock import ManualClock, MonotonicClock
from bci.decision import Command
from bci.errors import DeviceLost, SafetyError
from bci.paradigms.motor_imagery import MotorImagery
from bci.ports import Hazard, Limits
from bci.runtime.outputs import Outputs
from bci.runtime.session import Session
from bci.safety.console import ScriptedOperator
from bci.safety.gate import Verdict
from bci.safety.link import GuardedEffector

ROOT = Path(__file__).resolve().parents[2]
OPEN = Verdict(True, "open")
pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="processes are watched through POSIX pipes")


class Receiver:
    """The far end of a UDP effector."""

    def __init__(self):
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind(("127.0.0.1", 0))
        self.spec = f"udp:127.0.0.1:{self.socket.getsockname()[1]}"

    def drain(self, seconds=0.05):
        """Return what arrives in the next `seconds`."""
        messages, end_s = [], time.monotonic() + seconds
        while select.select([self.socket], [], [], max(0.0, end_s - time.monotonic()))[0]:
            messages.append(json.loads(self.socket.recv(4096)))
        return messages


@pytest.fixture
def receiver():
    found = Receiver()
    yield found
    found.socket.close()


def right(now_s):
    return Command("intent", 0.8, now_s, 0.3, now_s, "right")


class Sure:
    """A decoder that is sure of the right hand, never twice in the same way."""

    classes_ = np.array(["left", "rest", "right"])

    def __init__(self):
        self.n = 0

    def fit(self, X, y):
        return self

    def predict_proba(self, X):
        self.n += 1
        p = 0.9 + 1e-6 * self.n
        return np.array([[(1 - p) / 2, (1 - p) / 2, p]])


def drive(device, effectors, seconds, on_turn=None):
    with Session(device, MotorImagery(), Sure(), effectors=effectors, on_turn=on_turn) as session:
        session.drive(seconds, cues=False)


# ---------------------------------------------------------------- silence
def test_output_without_a_guard_is_halted_when_the_device_falls_silent(receiver):
    seen = []  # (time of the stream, what the receiver was told)

    def watch(turn):
        seen.extend((turn.stop_s, m) for m in receiver.drain(0.0))

    drive(Participant(seed=2, silent=[(5.0, 3.0)]), [receiver.spec], 10.0, watch)
    silent = [m for at_s, m in seen if 4.9 < at_s < 5.01]
    assert any(m["value"] > 0.5 for m in silent)
    assert silent[-1]["safe"]  # before anything came again


def test_output_without_a_guard_goes_on_once_the_signal_is_good_again(receiver):
    drive(Participant(seed=2, silent=[(5.0, 1.0)]), [receiver.spec], 12.0)
    values = [m["value"] for m in receiver.drain()]
    assert values.count(0.0) > 5
    assert any(v > 0.5 for v in values[values.index(0.0) :])


def test_lost_device_halts_an_output_without_a_guard(receiver):
    with pytest.raises(DeviceLost):
        drive(Participant(seed=2, disconnect_at_s=5.0), [receiver.spec], 10.0)
    told = receiver.drain()
    assert any(m["value"] > 0.5 for m in told)
    assert told[-1]["safe"]


def test_command_that_expired_is_taken_back_from_outputs_without_a_guard(receiver):
    clock = ManualClock(10.0)
    outputs = Outputs([receiver.spec])
    outputs.open(clock)
    outputs.act(right(10.0), OPEN)
    clock.advance(0.29)
    outputs.turn()
    assert receiver.drain()[-1]["value"] == 0.8
    clock.advance(0.02)
    for _ in range(3):
        outputs.turn()
    assert [m["safe"] for m in receiver.drain()] == [True]
    outputs.close()


# ---------------------------------------------------------------- one that breaks
class Broken:
    """It cannot even be halted."""

    limits = Limits()

    def self_test(self): ...
    def send(self, command): ...

    def halt(self):
        raise OSError("the cable is out")

    close = halt


def test_effector_that_cannot_be_halted_does_not_keep_the_others_from_it(receiver):
    outputs = Outputs([Broken(), receiver.spec])
    outputs.open(MonotonicClock())
    outputs.act(right(time.monotonic()), OPEN)
    outputs.halt()
    assert receiver.drain()[-1]["safe"]
    outputs.act(right(time.monotonic()), OPEN)
    outputs.close()
    assert receiver.drain()[-1]["safe"]


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs a disk that is always full")
def test_log_on_a_full_disk_halts_the_others_and_itself_without_raising(receiver):
    outputs = Outputs(["log:/dev/full", receiver.spec])
    outputs.open(MonotonicClock())
    for effector in reversed(outputs.effectors):
        try:
            effector.send(right(time.monotonic()))
        except OSError:
            outputs.halt()
    assert [m["value"] for m in receiver.drain()][-2:] == [0.8, 0.0]
    for effector in outputs.effectors:
        effector.halt()
        effector.close()
        effector.close()


def test_recording_is_finished_though_an_effector_cannot_be_released(tmp_path):
    session = Session(Participant(seed=2), MotorImagery(), Sure(), effectors=[Broken()], record=tmp_path / "run.xdf")
    with session:
        session.drive(1.0, cues=False)
    session.close()
    assert session.device.state.value == "closed"


# ---------------------------------------------------------------- the stop
WINDOW = '''
import time
from bci.ports import Limits

class Window:
    """A window with a stop, which is pressed when the cue says so."""
    limits = Limits(safe_state="blank")
    def self_test(self): ...
    def send(self, command): ...
    def halt(self): ...
    def close(self): ...
    def attach_stop(self, stop): self.stop = stop
    def show(self, status):
        if status.cue == "press": self.stop()
    def run(self, poll):
        while poll(): time.sleep(0.005)
'''


@pytest.fixture
def window(tmp_path, monkeypatch):
    (tmp_path / "plugin_with_stop").mkdir()
    (tmp_path / "plugin_with_stop" / "window.py").write_text(WINDOW)
    monkeypatch.syspath_prepend(str(tmp_path))
    return "plugin_with_stop.window:Window"


def keep(outputs, seconds, until):
    """Be the loop of a session, until `until` holds."""
    end_s = time.monotonic() + seconds
    while time.monotonic() < end_s and not until():
        outputs.act(right(time.monotonic()), OPEN)
        outputs.turn()
        time.sleep(0.01)
    return until()


def test_stop_in_one_window_stops_every_effector_of_the_session(window, receiver):
    bare = Receiver()
    specs = [GuardedEffector(window), GuardedEffector(receiver.spec), bare.spec]
    outputs = Outputs(specs)
    outputs.open(MonotonicClock())
    operators = [ScriptedOperator(g.console) for g in outputs.guarded]
    try:
        for operator in operators:
            operator.arm()
        assert keep(outputs, 20, lambda: all(g.state == "active" for g in outputs.guarded))
        outputs.cue = "press"
        assert keep(outputs, 5, lambda: all(g.state == "stopped" for g in outputs.guarded))
        keep(outputs, 0.1, lambda: False)
        bare.drain(0.0)
        keep(outputs, 0.3, lambda: False)
        assert {m["value"] for m in bare.drain() + receiver.drain(0.0)[-1:]} <= {0.0}
    finally:
        for operator in operators:
            operator.close()
        outputs.close()
        bare.socket.close()


def test_window_that_is_lost_takes_every_effector_to_its_safe_state(window, receiver):
    """Its stop is lost with it."""
    outputs = Outputs([GuardedEffector(window), GuardedEffector(receiver.spec)])
    outputs.open(MonotonicClock())
    lost, other = outputs.guarded
    operators = [ScriptedOperator(g.console) for g in outputs.guarded]
    try:
        for operator in operators:
            operator.arm()
        assert keep(outputs, 20, lambda: all(g.state == "active" for g in outputs.guarded))
        os.kill(lost.pids["host"], signal.SIGKILL)
        assert keep(outputs, 5, lambda: other.state == "safe")
        assert "asked for the safe state" in other.status.cause
        other.console.acknowledge()  # a person may go on without it
        assert keep(outputs, 1, lambda: other.state == "safe") is False
    finally:
        for operator in operators:
            operator.close()
        outputs.close()


class Page:
    """A face in this very process, with a stop."""

    limits = Limits()

    def self_test(self): ...
    def send(self, command): ...
    def halt(self): ...
    def close(self): ...

    def attach_stop(self, stop):
        self.stop = stop


def test_stop_of_an_effector_without_a_guard_stops_the_others(receiver):
    page = Page()
    outputs = Outputs([page, receiver.spec])
    outputs.open(MonotonicClock())
    outputs.act(right(time.monotonic()), OPEN)
    page.stop()
    outputs.act(right(time.monotonic()), OPEN)
    assert [m["value"] for m in receiver.drain()][-2:] == [0.8, 0.0]
    outputs.close()


# ---------------------------------------------------------------- the session ends
CHILD = """
import sys
sys.argv = ["bci", "run", sys.argv[1], "--device", "participant"]
from bci.apps.cli import main
main()
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_terminated_program_halts_its_outputs(receiver, tmp_path, number):
    config = tmp_path / "session.toml"
    config.write_text(
        '[device]\nname = "participant"\nspeed = 1.0\n[paradigm]\nname = "motor-imagery"\nn_trials = 2\n'
        '[decoder]\nname = "csp-lda"\n'
        f'[[effectors]]\nname = "udp"\naddress = "{receiver.spec.partition(":")[2]}"\n[drive]\nduration_s = 60\n'
    )
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    child = subprocess.Popen([sys.executable, "-c", CHILD, str(config)], env=env, stdin=subprocess.DEVNULL)
    try:
        assert wait_for_message(receiver)
        child.send_signal(number)
        child.wait(20)
        assert receiver.drain(0.2)[-1]["safe"]
        assert child.returncode == 128 + number
    finally:
        child.kill()
        child.wait()


def wait_for_message(receiver, seconds=30.0):
    """Return whether the program has opened its output."""
    return bool(select.select([receiver.socket], [], [], seconds)[0] and receiver.drain(0.5))


def test_scripted_operator_refuses_what_is_not_simulated(receiver):
    effector = GuardedEffector(receiver.spec, limits=Limits(hazard=Hazard.BODY, max_age_s=0.3))
    effector.self_test()
    operator = ScriptedOperator(effector.console)
    try:
        with pytest.raises(SafetyError, match="a person arms"):
            operator.arm()
        assert effector.state == "idle"
    finally:
        operator.close()
        effector.close()


# ---------------------------------------------------------------- outputs without a guard stay silent
def freeze(lost):
    os.kill(lost.pids["guard"], signal.SIGSTOP)


def lose(lost):
    os.kill(lost.pids["host"], signal.SIGKILL)


@pytest.fixture
def bare():
    receiver = Receiver()
    yield receiver
    receiver.socket.close()


@pytest.fixture
def driving(receiver, bare):
    """Outputs of which one is guarded and driving, the other bare and driven."""
    outputs = Outputs([GuardedEffector(receiver.spec), bare.spec])
    outputs.open(MonotonicClock())
    operator = ScriptedOperator(outputs.guarded[0].console)
    operator.arm()
    assert keep(outputs, 20, lambda: outputs.guarded[0].state == "active")
    assert bare.drain(0.0)[-1]["value"] == 0.8
    yield outputs, operator
    operator.close()
    outputs.close()


def is_silent(outputs, bare):
    keep(outputs, 0.1, lambda: False)
    bare.drain(0.0)
    keep(outputs, 0.3, lambda: False)
    return {m["value"] for m in bare.drain()} <= {0.0}


def test_the_stop_silences_bare_outputs_where_a_guard_is_frozen(driving, bare):
    outputs, _ = driving
    freeze(outputs.guarded[0])
    outputs.stop()
    assert is_silent(outputs, bare)
    os.kill(outputs.guarded[0].pids["guard"], signal.SIGCONT)


def test_a_lost_effector_silences_bare_outputs_for_good(driving, bare):
    outputs, _ = driving
    lose(outputs.guarded[0])
    assert is_silent(outputs, bare)


def test_a_broken_model_silences_bare_outputs_and_is_said_once(driving, bare, caplog):
    outputs, _ = driving
    for _ in range(5):
        outputs.act(None, Verdict(False, "broken model: NaN", signal_ok=False, broken=True))
        outputs.turn()
    assert is_silent(outputs, bare)
    assert sum("broken model" in r.message for r in caplog.records) == 1


def test_a_reset_alone_does_not_wake_bare_outputs_arming_does(driving, bare):
    outputs, operator = driving
    console = outputs.guarded[0].console
    console.stop()
    assert keep(outputs, 5, lambda: outputs.guarded[0].state == "stopped")
    console.reset()
    assert keep(outputs, 10, lambda: outputs.guarded[0].state == "idle")
    assert is_silent(outputs, bare)
    operator.arm()
    assert keep(outputs, 5, lambda: outputs.guarded[0].state == "active")
    keep(outputs, 0.1, lambda: False)
    assert bare.drain()[-1]["value"] == 0.8


def test_guards_log_beside_the_recording(receiver, tmp_path):
    outputs = Outputs([GuardedEffector(receiver.spec)])
    outputs.open(MonotonicClock(), tmp_path / "run-1.xdf")
    outputs.close()
    (log,) = outputs.logs
    assert log.parent == tmp_path and log.name.startswith("run-1-1-udp") and log.name.endswith("-guard.jsonl")
    done = subprocess.run(
        [sys.executable, "-m", "bci.safety.verify", str(log)], capture_output=True, text=True, cwd=ROOT
    )
    assert done.returncode == 0 and "as they were written" in done.stdout
    log.write_text(log.read_text().replace("start", "begin", 1))
    done = subprocess.run(
        [sys.executable, "-m", "bci.safety.verify", str(log)], capture_output=True, text=True, cwd=ROOT
    )
    assert done.returncode == 1 and "line 1" in done.stderr


def test_a_person_is_shown_current_charge_and_density():
    guarded = GuardedEffector("stimulator", settings={"cap_ma": 8.0}, simulated=True)
    guarded.self_test()
    try:
        assert "at most 8 mA, 2 µC per phase" in guarded.limits_in_words
    finally:
        guarded.close()
