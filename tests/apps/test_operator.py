import json
import os
import pty
import re
import select
import signal
import subprocess
import sys
import time

import pytest

from bci.apps.operator import Operator
from bci.ports import Hazard, Limits
from bci.safety.link import GuardedEffector

PROGRAM = """
import sys, time
from bci.apps.operator import Operator
from bci.clock import MonotonicClock
from bci.decision import Command
from bci.ports import Hazard, Limits
from bci.safety.link import GuardedEffector
guarded = GuardedEffector("log", limits=Limits(hazard=Hazard.BODY, max_age_s=0.3), log_path=sys.argv[1])
guarded.self_test()
with Operator({"log": guarded.console}):
    print("ready", flush=True)
    last = ""
    while True:
        guarded.send(Command("intent", 0.5, time.monotonic(), 0.2, time.monotonic()))
        if guarded.state != last:
            last = guarded.state
            print("guard", last, flush=True)
        time.sleep(0.02)
"""


class Terminal:
    """A program in a terminal of its own."""

    def __init__(self, *arguments, program=PROGRAM):
        self.main, side = pty.openpty()
        self.process = subprocess.Popen(
            [sys.executable, "-c", program, *arguments], stdin=side, stdout=side, stderr=side, start_new_session=True
        )
        os.close(side)
        self.text = ""

    def wait(self, pattern, seconds=30.0):
        end_s = time.monotonic() + seconds
        while not (found := re.search(pattern, self.text)):
            assert time.monotonic() < end_s, f"no {pattern!r} in {self.text!r}"
            if select.select([self.main], [], [], 0.1)[0]:
                self.text += os.read(self.main, 4096).decode()
        self.text, self.seen = self.text[found.end() :], found.group()

    def press(self, keys):
        os.write(self.main, keys.encode())

    def close(self):
        self.process.kill()
        self.process.wait()
        os.close(self.main)


@pytest.fixture
def terminal(tmp_path):
    terminal = Terminal(str(tmp_path / "guard.jsonl"))
    terminal.wait("ready")
    yield terminal
    terminal.close()


def arm(terminal):
    terminal.press(" ")
    terminal.wait("guard stopped")
    terminal.press("r")
    terminal.wait("guard idle")
    terminal.press("a")
    terminal.wait("log: idle")
    time.sleep(0.3)  # the second step comes at least 0.2 s after the first
    terminal.press("\n")
    terminal.wait("guard active")


def test_keys_arm_only_after_the_stop_was_tried_and_space_stops(terminal):
    terminal.press("a")
    terminal.wait("the stop has not been tried")
    arm(terminal)
    terminal.press(" ")
    terminal.wait("guard stopped")


def test_every_act_of_the_keyboard_is_in_the_event_log(terminal, tmp_path):
    arm(terminal)
    records = [json.loads(line)["record"] for line in (tmp_path / "guard.jsonl").read_text().splitlines()]
    acts = [r["text"] for r in records if r["kind"] == "person"]
    assert acts == ["stop", "reset", "arm", "confirm"]


def test_a_stalled_operator_releases_the_deadman(terminal, tmp_path):
    arm(terminal)
    os.kill(terminal.process.pid, signal.SIGSTOP)  # console and loop stand still
    end_s = time.monotonic() + 5.0
    while "> safe" not in (tmp_path / "guard.jsonl").read_text():
        assert time.monotonic() < end_s
        time.sleep(0.02)


def test_a_terminal_that_goes_away_releases_the_deadman(terminal, tmp_path):
    arm(terminal)
    os.close(terminal.main)
    terminal.main = os.open(os.devnull, os.O_RDWR)
    end_s = time.monotonic() + 5.0
    while not re.search("> (hold|safe)", (tmp_path / "guard.jsonl").read_text()):
        assert time.monotonic() < end_s
        time.sleep(0.02)


TWO = """
import time
from bci.apps.operator import Operator
from bci.safety.link import GuardedEffector
both = {name: GuardedEffector("log") for name in ("first", "second")}
for guarded in both.values():
    guarded.self_test()
with Operator({name: guarded.console for name, guarded in both.items()}):
    print("guards", *(g.pids["guard"] for g in both.values()), "ready", flush=True)
    while both["second"].state != "stopped":
        time.sleep(0.01)
    print("second is stopped", flush=True)
    time.sleep(60)
"""


def test_stop_does_not_wait_for_a_guard_that_does_not_answer():
    terminal = Terminal(program=TWO)
    try:
        terminal.wait(r"guards \d+ \d+ ready")
        first = int(terminal.seen.split()[1])
        os.kill(first, signal.SIGSTOP)
        terminal.press("kk ")
        terminal.wait("second is stopped|should answer")
        os.kill(first, signal.SIGKILL)  # a process that stands still does not see that its session is gone
        assert "should answer" not in terminal.seen
    finally:
        terminal.close()


def test_without_a_terminal_nobody_arms_and_that_is_said(monkeypatch):
    said = []
    with open(os.devnull) as nothing:
        monkeypatch.setattr(sys, "stdin", nothing)
        refuse_to_arm(said)
    assert "standard input is no terminal" in said[0]


def refuse_to_arm(said):
    guarded = GuardedEffector("log", limits=Limits(hazard=Hazard.BODY, max_age_s=0.3))
    guarded.self_test()
    try:
        with Operator({"log": guarded.console}, said.append):
            assert guarded.console.status().state == "idle"
    finally:
        guarded.close()


def test_a_keyboard_that_may_not_arm_still_stops():
    said = []
    guarded = GuardedEffector("log", limits=Limits(hazard=Hazard.BODY, max_age_s=0.3))
    guarded.self_test()
    try:
        operator = Operator({"log": guarded.console}, said.append, may_arm=False)
        operator.handle("a")
        assert not said
        operator.handle(" ")
        assert guarded.wait_for("stopped")
    finally:
        guarded.close()


def test_the_stop_key_reaches_outputs_that_have_no_guard():
    stopped = []
    Operator({}, lambda _: None, stop=lambda: stopped.append(True)).handle(" ")
    assert stopped == [True]


def test_arming_says_the_limits_before_they_are_confirmed():
    said = []
    guarded = GuardedEffector("log")
    guarded.self_test()
    try:
        Operator({"log": guarded.console}, said.append, limits={"log": guarded.limits_in_words}).handle("a")
        assert "-1 to 1" in said[-1] and "ENTER confirms" in said[-1]
    finally:
        guarded.close()
