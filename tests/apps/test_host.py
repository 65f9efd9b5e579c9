"""The process that holds an effector, with effectors that break their contract."""

import os
import signal
import sys
import time

import pytest

from bci.decision import Command
from bci.errors import SafetyError
from bci.ports import Hazard, Limits, Status
from bci.safety.console import ScriptedOperator
from bci.safety.link import GuardedEffector

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="processes are stopped with POSIX signals")

BAD = '''
import time
from bci.ports import Limits

class Bad:
    """Breaks its contract in the way that the last cue says."""
    limits = Limits(safe_state="nothing")
    def __init__(self, path=""):
        self.path, self.cue, self.n = path, "", 0
    def note(self, text):
        with open(self.path, "a") as file:
            file.write(text + "\\n")
    def self_test(self): ...
    def close(self): self.note("close")
    def show(self, status):
        if status.cue != self.cue:
            self.cue = status.cue
            self.note("cue " + status.cue)
        self.note("show " + status.state)
        if self.cue == "break": raise ValueError("no face")
    def send(self, command):
        if self.cue == "block" and command.value > 0.5:
            self.cue = "blocked"
            self.note("blocking")
            time.sleep(0.6)
        self.note(f"value {command.value:.1f}")
    def halt(self):
        if self.cue == "stuck" and self.n < 5:
            self.n += 1
            self.note("stuck")
            raise OSError("the relay hangs")
        self.note("halt")
'''


@pytest.fixture
def bad(tmp_path, monkeypatch):
    (tmp_path / "plugin_that_breaks").mkdir()
    (tmp_path / "plugin_that_breaks" / "bad.py").write_text(BAD)
    monkeypatch.syspath_prepend(str(tmp_path))
    notes = tmp_path / "notes"
    effector = GuardedEffector("plugin_that_breaks.bad:Bad", settings={"path": str(notes)}, log_path=tmp_path / "log")
    operator = activate(effector)
    yield effector, lambda: notes.read_text().splitlines()
    operator.close()
    effector.close()


def send_until(effector, what, seconds=20.0):
    """Be the loop of a session."""
    end_s = time.monotonic() + seconds
    while time.monotonic() < end_s and not what():
        effector.send(Command("intent", 0.8, time.monotonic(), label="right"))
        time.sleep(0.01)
    return what()


def activate(effector):
    effector.self_test()
    operator = ScriptedOperator(effector.console)
    for _ in range(5):
        operator.arm()
        if send_until(effector, lambda: effector.state in ("active", "safe")) and effector.state == "active":
            return operator
    raise AssertionError(effector.status)


def tell(effector, notes, cue):
    effector.show(Status(cue=cue))
    assert send_until(effector, lambda: f"cue {cue}" in notes())


def after(notes, line):
    return notes()[notes().index(line) + 1 :]


def eventually(what, seconds=10.0):
    end_s = time.monotonic() + seconds
    while not what() and time.monotonic() < end_s:
        time.sleep(0.01)
    return what()


def test_halt_that_fails_is_tried_until_it_works(bad):
    effector, notes = bad
    tell(effector, notes, "stuck")
    effector.console.stop()
    assert eventually(lambda: "halt" in after(notes, "cue stuck"))
    assert after(notes, "cue stuck").count("stuck") == 5
    assert not any(line.startswith("value") for line in after(notes, "stuck"))


def test_halt_that_fails_when_the_guard_is_gone_is_tried_until_it_works(bad):
    effector, notes = bad
    tell(effector, notes, "stuck")
    os.kill(effector.pids["guard"], signal.SIGKILL)
    assert eventually(lambda: "halt" in after(notes, "cue stuck"))


def test_face_that_fails_ends_in_the_safe_state(bad):
    effector, notes = bad
    effector.show(Status(cue="break"))
    assert send_until(effector, lambda: effector.state == "safe")
    assert eventually(lambda: notes()[-1] == "close")
    assert "halt" in after(notes, "cue break")


def test_send_that_returns_after_the_halt_is_taken_back(bad):
    effector, notes = bad
    effector.show(Status(cue="block"))
    assert send_until(effector, lambda: "blocking" in notes())
    effector.console.stop()
    assert eventually(lambda: any(line.startswith("value") for line in after(notes, "blocking")))
    time.sleep(0.2)  # the halt that is repeated every second does not come yet
    late = after(notes, "blocking")
    value = next(k for k, line in enumerate(late) if line.startswith("value"))
    assert "halt" in late[:value]  # it was not waited for
    assert "halt" in late[value:]


def test_face_says_safe_while_the_guard_stands_still(bad):
    effector, notes = bad
    os.kill(effector.pids["guard"], signal.SIGSTOP)
    try:
        assert eventually(lambda: "show safe" in notes())
        assert eventually(lambda: effector.state == "fault")
        assert "silent" in effector.status.cause
    finally:
        os.kill(effector.pids["guard"], signal.SIGCONT)
    assert eventually(lambda: effector.state == "safe")


# ---------------------------------------------------------------- limits
@pytest.mark.parametrize(
    "limits",
    [
        Limits(fall_per_s=0.01),  # slower back to neutral is looser, too
        Limits(max_age_s=float("nan")),
        Limits(hazard=Hazard.BODY, max_age_s=float("nan")),
    ],
)
def test_limits_that_would_loosen_the_safe_state_are_refused(limits):
    effector = GuardedEffector("log", limits=limits)
    with pytest.raises(SafetyError, match="limits"):
        effector.self_test()


def test_signal_that_may_move_a_body_is_never_older_than_the_rule(tmp_path):
    """Whatever a plugin's own limits say."""
    effector = GuardedEffector("log", limits=Limits(hazard=Hazard.BODY), log_path=tmp_path / "log")
    effector.self_test()
    effector.close()
    assert "max_age_s=0.3" in (tmp_path / "log").read_text()
