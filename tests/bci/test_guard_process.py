"""The guard as it runs: real processes, real sockets, an effector that reports to an observer."""

import functools
import json
import os
import select
import signal
import socket
import subprocess
import sys
import threading
import time
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest

from bci.decision import Command
from bci.errors import SafetyError
from bci.ports import Hazard, Limits, Status
from bci.safety.console import ConsoleClient, ScriptedOperator
from bci.safety.eventlog import verify
from bci.safety.frame import COMMAND, Frame, pack
from bci.safety.link import GuardedEffector, require_guard

ROOT = Path(__file__).resolve().parents[2]
pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="processes are watched through POSIX pipes")


class Observer:
    """The far end of a UDP effector."""

    def __init__(self):
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind(("127.0.0.1", 0))
        self.spec = f"udp:127.0.0.1:{self.socket.getsockname()[1]}"

    def drain(self, seconds=0.0):
        """Return what arrives in the next `seconds`."""
        messages, end_s = [], time.monotonic() + seconds
        while select.select([self.socket], [], [], max(0.0, end_s - time.monotonic()))[0]:
            messages.append(json.loads(self.socket.recv(4096)))
        return messages


@pytest.fixture(scope="module")
def observed(tmp_path_factory):
    """A guard that lives through many tests, and its observer."""
    observer = Observer()
    effector = GuardedEffector(observer.spec, log_path=tmp_path_factory.mktemp("guard") / "guard.jsonl")
    effector.self_test()
    yield effector, observer
    effector.close()
    observer.socket.close()


@pytest.fixture
def living(observed):
    """That guard, while nobody drives."""
    effector, observer = observed
    assert effector.wait_for("idle", "safe", "stopped")
    observer.drain(0.02)
    return observed


@pytest.fixture
def observer():
    found = Observer()
    yield found
    found.socket.close()


@pytest.fixture
def guarded(observer, tmp_path):
    effector = GuardedEffector(observer.spec, log_path=tmp_path / "guard.jsonl")
    yield effector
    effector.close()


class Stalled(Exception):
    """This very process stood still for so long that the guard rightly went safe: the test says nothing."""


def patient(test):
    """Try again, a few times, where the machine is too busy to keep a session alive."""

    @functools.wraps(test)
    def again(*arguments, **fixtures):
        for attempt in range(5):
            try:
                return test(*arguments, **fixtures)
            except Stalled:
                if attempt == 4:
                    raise

    return again


def keep_sending(effector, seconds, value=0.8, until=None, **changes):
    """Be the loop of a session."""
    last_s = time.monotonic()
    end_s = last_s + seconds
    while last_s < end_s and effector.state != until:
        effector.send(Command("intent", value, time.monotonic(), label="right"), **changes)
        time.sleep(0.01)
        before_s, last_s = last_s, time.monotonic()
        if last_s - before_s > 0.09 and until not in ("safe", "stopped"):
            raise Stalled
    return effector.state


def activate(effector):
    effector.self_test()
    operator = ScriptedOperator(effector.console)
    for _ in range(5):
        assert effector.wait_for("idle", "safe", "stopped", timeout_s=10.0), effector.status
        operator.arm()
        try:
            assert keep_sending(effector, 20, until="active") == "active", effector.status
            keep_sending(effector, 0.3)
            return operator
        except Stalled:
            continue
    raise Stalled


def alive(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")")[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


def wait_until(what, timeout_s=10.0):
    end_s = time.monotonic() + timeout_s
    while not what() and time.monotonic() < end_s:
        time.sleep(0.01)
    return what()


# ---------------------------------------------------------------- what the guard is made of
def test_guard_runs_on_the_standard_library_alone():
    code = (
        "import sys, bci.safety.guard; names = {m.partition('.')[0] for m in sys.modules}\n"
        "print(sorted(names - sys.stdlib_module_names - {'bci', '__main__'}),"
        "sorted(m for m in sys.modules if m.startswith('bci')))"
    )
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-S", "-c", code], env=env, capture_output=True, text=True, check=True)
    own = ["bci", "bci.safety", *(f"bci.safety.{m}" for m in ("envelope", "eventlog", "frame", "guard", "machine"))]
    assert done.stdout.strip() == f"[] {own}"


def test_guard_is_small_enough_to_be_read():
    files = [ROOT / "bci/safety" / f"{m}.py" for m in ("__init__", "envelope", "eventlog", "frame", "guard", "machine")]
    assert sum(bool(line.strip()) for f in files for line in f.read_text().splitlines()) <= 600


# ---------------------------------------------------------------- the way to ACTIVE and back
def test_nobody_armed_means_nothing_is_put_out(guarded, observer):
    guarded.self_test()
    assert guarded.state == "idle"
    assert keep_sending(guarded, 1.2) == "idle"
    assert {m["value"] for m in observer.drain(0.1)} == {0.0}


@patient
def test_armed_guard_passes_commands_on(living):
    guarded, observer = living
    operator = activate(guarded)
    last, state = observer.drain()[-1], guarded.state
    operator.close()
    if state != "active":
        raise Stalled
    assert (last["name"], last["value"], last["label"], last["safe"]) == ("intent", 0.8, "right", False)


def test_silent_session_ends_in_the_safe_state(living):
    guarded, observer = living
    operator = activate(guarded)
    assert guarded.wait_for("safe")
    observer.drain(0.05)
    assert keep_sending(guarded, 1.5) == "safe"
    assert {m["value"] for m in observer.drain()} <= {0.0}
    operator.close()


def test_broken_value_ends_in_the_safe_state(living):
    guarded, _ = living
    operator = activate(guarded)
    guarded.send(Command("intent", float("nan"), time.monotonic()))
    assert guarded.wait_for("safe")
    assert "not a number" in guarded.status.cause
    operator.close()


@patient
def test_bad_signal_holds_and_recovers(living):
    guarded, _ = living
    operator = activate(guarded)
    assert keep_sending(guarded, 5, until="hold", quality_ok=False, age_s=30.0) == "hold"
    assert keep_sending(guarded, 5, until="active") == "active"
    operator.close()


@patient
def test_deadman_let_go_holds(living):
    guarded, _ = living
    operator = activate(guarded)
    operator.close()
    assert keep_sending(guarded, 5, until="hold") == "hold"


@patient
def test_halt_needs_a_person_to_go_on(living):
    guarded, _ = living
    operator = activate(guarded)
    guarded.halt()
    assert guarded.wait_for("safe")
    guarded.console.acknowledge()
    guarded.console.arm()
    time.sleep(0.25)
    guarded.console.confirm()
    assert keep_sending(guarded, 20, until="active") == "active"
    operator.close()


@patient
def test_stop_from_another_process_is_safe(living):
    guarded, observer = living
    operator = activate(guarded)
    console = guarded.console
    code = (
        "import sys; from bci.safety.console import ConsoleClient\n"
        "ConsoleClient(('127.0.0.1', int(sys.argv[1])), bytes.fromhex(sys.argv[2])).stop()"
    )
    arguments = [str(console.address[1]), console.token.hex()]
    subprocess.Popen([sys.executable, "-c", code, *arguments], env={**os.environ, "PYTHONPATH": str(ROOT)})
    assert keep_sending(guarded, 10, until="stopped") == "stopped"
    assert observer.drain(0.1)[-1]["safe"]
    guarded.console.reset()
    assert guarded.wait_for("idle")
    operator.close()


def test_console_refuses_with_a_reason(guarded):
    guarded.self_test()
    with pytest.raises(SafetyError, match="refused to confirm: confirm: not possible now, the guard is idle"):
        guarded.console.confirm()


def test_console_without_the_token_gets_no_answer(living):
    guarded, _ = living
    guarded.self_test()
    with (
        ConsoleClient(guarded.console.address, bytes(16)) as stranger,
        pytest.raises(SafetyError, match="should answer within"),
    ):
        stranger.arm()


@patient
def test_strangers_frames_are_ignored(living):
    guarded, _ = living
    operator = activate(guarded)
    address, _ = guarded.command_address
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stranger:
        for _ in range(20):
            stranger.sendto(pack(Frame(1 << 63, time.monotonic(), -1.0), COMMAND, bytes(16)), address)
            guarded.send(Command("intent", 0.8, time.monotonic()))
            time.sleep(0.01)
    assert guarded.output == 0.8
    operator.close()


# ---------------------------------------------------------------- deaths
def test_killed_guard_leaves_the_effector_safe(guarded, observer):
    operator = activate(guarded)
    os.kill(guarded.pids["guard"], signal.SIGKILL)
    time.sleep(0.4)
    assert observer.drain()[-1]["safe"]
    assert wait_until(lambda: guarded.state == "fault")
    operator.close()


@pytest.mark.slow
def test_stopped_and_resumed_guard_does_not_resume_the_output(guarded, observer):
    operator = activate(guarded)
    os.kill(guarded.pids["guard"], signal.SIGSTOP)
    keep_sending(guarded, 0.4)
    os.kill(guarded.pids["guard"], signal.SIGCONT)
    assert keep_sending(guarded, 5, until="safe") == "safe"
    observer.drain(0.05)
    keep_sending(guarded, 0.5)
    assert {m["value"] for m in observer.drain()} <= {0.0}
    operator.close()


@pytest.mark.slow
def test_terminated_guard_says_the_safe_value_and_logs_it(guarded, observer):
    operator = activate(guarded)
    os.kill(guarded.pids["guard"], signal.SIGTERM)
    assert wait_until(lambda: guarded.state == "fault")
    assert observer.drain()[-1]["safe"]
    verify(guarded.log_path)
    assert "terminated" in Path(guarded.log_path).read_text().splitlines()[-1]
    operator.close()


def test_killed_host_ends_in_the_safe_state(guarded):
    operator = activate(guarded)
    os.kill(guarded.pids["host"], signal.SIGKILL)
    assert keep_sending(guarded, 10, until="safe") == "safe"
    assert "silent" in guarded.status.cause or "no valid command" in guarded.status.cause  # whichever came first
    operator.close()


def test_killed_session_ends_guard_and_host(observer, tmp_path):
    code = (
        "import sys, time; from bci.decision import Command; from bci.safety.link import GuardedEffector\n"
        "g = GuardedEffector(sys.argv[1], log_path=sys.argv[2], auto_operator=True); g.self_test()\n"
        "print(*g.pids.values(), flush=True)\n"
        "while True: g.send(Command('intent', 0.8, time.monotonic())); time.sleep(0.01)"
    )
    command = [sys.executable, "-c", code, observer.spec, str(tmp_path / "log")]
    child = subprocess.Popen(command, stdout=subprocess.PIPE, env={**os.environ, "PYTHONPATH": str(ROOT)})
    pids = [int(pid) for pid in child.stdout.readline().split()]
    assert wait_until(lambda: any(m["value"] > 0.7 for m in observer.drain(0.1)), 20)
    child.kill()
    child.wait()
    child.stdout.close()
    assert wait_until(lambda: not any(alive(pid) for pid in pids))
    assert observer.drain(0.1)[-1]["safe"]
    verify(tmp_path / "log")


def test_close_ends_both_processes(guarded):
    guarded.self_test()
    pids = guarded.pids.values()
    guarded.close()
    guarded.close()
    assert not any(alive(pid) for pid in pids)
    assert guarded.state == "off"


@pytest.mark.skipif(sys.platform != "linux", reason="the disk of another process is filled with prlimit")
def test_guard_whose_log_is_full_is_safe_and_cannot_be_armed(guarded, observer):
    import resource

    operator = activate(guarded)
    size = Path(guarded.log_path).stat().st_size
    resource.prlimit(guarded.pids["guard"], resource.RLIMIT_FSIZE, (size + 30, size + 30))
    keep_sending(guarded, 5, until="hold", quality_ok=False)
    assert keep_sending(guarded, 5, until="safe") == "safe"
    assert "event log" in guarded.status.cause
    guarded.console.acknowledge()
    assert guarded.wait_for("safe")
    assert observer.drain()[-1]["value"] == 0.0
    operator.close()
    guarded.close()
    assert verify(guarded.log_path) > 0


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells how long it slept")
def test_guard_that_wakes_with_its_machine_says_so_once(tmp_path, monkeypatch):
    """A machine cannot be sent to sleep by a test, so its clock is."""
    from bci.safety import guard

    clock = time.clock_gettime
    tokens = {name: "00" * 16 for name in ("command", "output", "console")}
    made = guard.Guard(
        {"tokens": tokens, "rules": {}, "envelope": {}, "log": tmp_path / "log", "host": 9, "session": 9}
    )
    assert [made._woke(), made._woke()] == ["", ""]
    monkeypatch.setattr(guard.time, "clock_gettime", lambda which: clock(which) + 60.0)
    assert [made._woke(), made._woke()] == ["the machine was asleep", ""]


# ---------------------------------------------------------------- refusals
def test_effector_that_fails_its_self_test_says_why():
    with pytest.raises(SafetyError, match="did not pass its self test: expected a file that can be written"):
        GuardedEffector("log:/no/such/folder/file").self_test()


def test_unknown_effector_is_named():
    with pytest.raises(SafetyError, match="no plugin called 'lgo'"):
        GuardedEffector("lgo").self_test()


def test_unwritable_log_is_refused(observer):
    with pytest.raises(SafetyError, match=r"guard did not start: .* No such file"):
        GuardedEffector(observer.spec, log_path="/no/such/folder/log").self_test()


def test_limits_may_only_be_tightened(observer):
    with pytest.raises(SafetyError, match=r"high 2\.0 instead of 1\.0"):
        GuardedEffector(observer.spec, limits=Limits(high=2.0)).self_test()


@pytest.mark.slow
@patient
def test_tighter_limits_hold(observer, tmp_path):
    limits = Limits(low=0.0, high=0.3, rise_per_s=1.0, safe_state="nothing")
    effector = GuardedEffector(observer.spec, limits=limits, log_path=tmp_path / "log")
    effector.self_test()
    operator = ScriptedOperator(effector.console)
    operator.arm()
    keep_sending(effector, 20, value=0.3, until="active")
    keep_sending(effector, 0.5, value=0.3)
    values = [m["value"] for m in observer.drain()]
    effector.close()
    operator.close()
    assert max(values) == 0.3
    assert max(b - a for a, b in pairwise(values)) < 0.15


def test_bare_effector_that_touches_is_refused(guarded):
    class Stimulator:
        limits = Limits(hazard=Hazard.BODY, max_age_s=0.3)

    with pytest.raises(SafetyError, match="works only behind the guard"):
        require_guard(Stimulator())
    require_guard(guarded)


def test_scripted_operator_may_not_arm_what_touches(observer):
    limits = Limits(hazard=Hazard.BODY, max_age_s=0.3)
    with pytest.raises(SafetyError, match="a person arms an effector of hazard BODY"):
        GuardedEffector(observer.spec, limits=limits, auto_operator=True).self_test()


@patient
def test_what_touches_is_armed_after_its_stop_was_tried(observer, tmp_path):
    limits = Limits(hazard=Hazard.BODY, max_age_s=0.3)
    effector = GuardedEffector(observer.spec, limits=limits, log_path=tmp_path / "log", simulated=True)
    effector.self_test()
    with pytest.raises(SafetyError, match="stop has not been tried"):
        effector.console.arm()
    operator = ScriptedOperator(effector.console)
    operator.arm()
    assert effector.console.status().stop_tried
    assert keep_sending(effector, 20, until="active") == "active"
    operator.close()
    effector.close()


# ---------------------------------------------------------------- what an effector may be
FACE = '''
import time
from bci.ports import Limits

class Face:
    """Owns its loop, shows, reports, stops, and blocks for a while when told to."""
    limits = Limits(safe_state="looks away")
    def __init__(self, path=""):
        self.path, self.events, self.stop, self.block = path, [], None, False
    def note(self, text):
        with open(self.path, "a") as file:
            file.write(text + "\\n")
    def self_test(self): self.note("test")
    def send(self, command): self.events.append((time.monotonic(), f"value {command.value:.1f}"))
    def halt(self): self.note(f"halt {time.monotonic()}")
    def close(self): self.note("close")
    def show(self, status):
        self.note(f"show {status.state} {status.cue}")
        if status.cue == "stop": self.stop()
        if status.cue == "block": self.block = True
        if status.cue == "break": raise_it()
    def take_events(self):
        events, self.events = self.events, []
        return events
    def attach_stop(self, stop): self.stop = stop
    def run(self, poll):
        self.note("run")
        while poll():
            if self.block:
                self.note("blocked"); self.block = False; time.sleep(1.5); self.note("free")
            time.sleep(0.005)
'''


@pytest.fixture
def face(tmp_path, monkeypatch):
    (tmp_path / "plugin_for_test").mkdir()
    (tmp_path / "plugin_for_test" / "face.py").write_text(FACE)
    monkeypatch.syspath_prepend(str(tmp_path))
    notes = tmp_path / "notes"
    effector = GuardedEffector("plugin_for_test.face:Face", settings={"path": str(notes)}, log_path=tmp_path / "log")
    yield effector, lambda: notes.read_text().splitlines()
    effector.close()


@patient
def test_effector_with_a_loop_of_its_own_is_shown_and_heard(face):
    effector, notes = face
    operator = activate(effector)
    effector.show(Status(cue="left", intent=0.5))
    assert wait_until(lambda: "show active left" in notes() or keep_sending(effector, 0.05) is None)
    events = effector.take_events()
    assert events[-1][1] == "value 0.8"
    assert events[-1][0] <= time.monotonic()
    operator.close()
    effector.close()
    assert notes()[-1] == "close"
    assert notes().count("run") == 1


@patient
def test_stop_in_the_effectors_window_stops_the_guard(face):
    effector, _ = face
    operator = activate(effector)
    effector.show(Status(cue="stop"))
    assert keep_sending(effector, 5, until="stopped") == "stopped"
    operator.close()


def test_effector_is_halted_while_its_window_is_blocked(face):
    effector, notes = face
    operator = activate(effector)
    effector.show(Status(cue="block"))
    assert wait_until(lambda: "blocked" in notes() or keep_sending(effector, 0.02) is None)
    effector.console.stop()
    assert wait_until(lambda: "free" in notes())
    between = notes()[notes().index("blocked") + 1 : notes().index("free")]
    assert any(line.startswith("halt") for line in between)
    operator.close()


@pytest.mark.slow
def test_effector_whose_loop_stands_still_is_safe(face):
    effector, _ = face
    operator = activate(effector)
    effector.show(Status(cue="block"))
    assert keep_sending(effector, 5, until="safe") == "safe"
    assert "stands still" in effector.status.cause or "no valid command" in effector.status.cause
    operator.close()


@pytest.mark.slow
def test_settings_of_the_effector_arrive(observer):
    host, port = observer.spec.split(":")[1:]
    effector = GuardedEffector("udp", settings={"address": f"{host}:{port}"})
    assert effector.limits == replace(Limits(), safe_state=effector.limits.safe_state)
    effector.self_test()
    assert observer.drain(0.1)[-1]["safe"]
    effector.close()


def test_an_act_is_answered_and_done_once_while_the_deadman_is_held():
    """Nobody reads what the guard might say to a held deadman: it must not stand in the way of an answer."""
    effector = GuardedEffector("log")
    effector.self_test()
    console, done = effector.console, threading.Event()
    try:
        for _ in range(2000):  # a minute and more of holding
            console.press()
            time.sleep(0.0005)

        def hold():
            while not done.wait(0.02):
                console.press()

        threading.Thread(target=hold, daemon=True).start()
        for _ in range(5):
            begin_s = time.monotonic()
            assert console.status().state == "idle"
            assert console.arm().state == "idle"  # the first of two steps; asked twice, it would be refused
            assert time.monotonic() - begin_s < 1.0
    finally:
        done.set()
        effector.close()
