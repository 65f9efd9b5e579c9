import math
import os
import subprocess
import sys
import threading
import time

import numpy as np
import pytest

pytest.importorskip("PySide6", reason="needs Qt: pip install 'bci[apps]'")
os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")

from PySide6.QtCore import QEvent, Qt
from PySide6.QtGui import QImage, QKeyEvent
from PySide6.QtWidgets import QApplication

from bci.apps.rehab.hand import HandWindow
from bci.apps.rehab.hand_view import bones
from bci.decision import Command
from bci.errors import ConfigError, SafetyError
from bci.ports import Effector, HasStop, OwnsLoop, ReportsEvents, ShowsStatus, Status
from bci.registry import load
from bci.safety.link import GuardedEffector
from bci.testing.effector import check_effector


@pytest.fixture
def hand():
    window = HandWindow()
    window.self_test()
    yield window
    window.close()


def intent(value, valid_s=60.0):
    return Command("intent", value, time.monotonic(), valid_s)


def settle(hand, n_frames=100):
    for _ in range(n_frames):
        hand.frame()
    return hand.panel.hand.pose


def pixels(widget):
    image = widget.grab().toImage().convertToFormat(QImage.Format.Format_RGB888)
    rows = np.frombuffer(image.constBits(), np.uint8).reshape(image.height(), image.bytesPerLine())
    return rows[:, : 3 * image.width()].reshape(image.height(), image.width(), 3).copy()


def press(hand, key):
    QApplication.sendEvent(hand.panel, QKeyEvent(QEvent.Type.KeyPress, key, Qt.KeyboardModifier.NoModifier))


def test_hand_has_the_protocols_the_host_asks_for():
    for protocol in (Effector, ShowsStatus, ReportsEvents, HasStop, OwnsLoop):
        assert isinstance(HandWindow(), protocol)
    assert load("effectors", "hand") is HandWindow


def test_hand_keeps_the_contract_of_effectors():
    check_effector(HandWindow)


def test_an_intent_above_zero_closes_and_below_zero_opens(hand):
    hand.send(intent(1.0))
    assert settle(hand) == 1.0
    hand.send(intent(-1.0))
    assert settle(hand) == -1.0
    hand.send(intent(0.0))
    assert settle(hand) == 0.0


def test_fingertips_come_down_as_the_hand_closes():
    def highest(closure):
        return max(max(b.begin[1], b.end[1]) for b in bones(closure))

    assert highest(0.0) > highest(0.5) > highest(1.0)
    assert len(bones(0.3)) == 4 * 3 + 3


def test_open_and_closed_hand_look_different_and_neither_is_blank(hand):
    hand.show(Status("active", 1.0, "right"))
    hand.send(intent(1.0))
    settle(hand)
    closed = pixels(hand.panel)
    hand.send(intent(-1.0))
    settle(hand)
    opened = pixels(hand.panel)
    assert closed.std() > 20
    assert (closed != opened).any(axis=2).mean() > 0.02


def test_halt_from_another_thread_relaxes_the_hand_with_the_next_frame(hand):
    hand.send(intent(1.0))
    settle(hand)
    thread = threading.Thread(target=hand.halt)
    thread.start()
    thread.join()
    hand.frame()
    assert hand.panel.hand.pose == 0.0
    assert hand.panel.bar.value == 0.0


def test_a_command_runs_out(hand):
    hand.send(intent(1.0, valid_s=0.0))
    time.sleep(0.002)
    assert settle(hand) == 0.0


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_value_that_is_no_number_moves_nothing(hand, value):
    hand.send(intent(value))
    assert settle(hand) == 0.0


def test_a_value_out_of_range_is_clipped(hand):
    hand.send(intent(-7.0))
    assert settle(hand) == -1.0


def test_another_command_than_an_intent_moves_nothing(hand):
    hand.send(Command("speed", 1.0, time.monotonic(), 60.0))
    assert settle(hand) == 0.0


def test_the_stop_button_calls_the_stop_when_it_is_pressed_not_when_it_is_released(hand):
    stops = []
    hand.attach_stop(lambda: stops.append(1))
    hand.send(intent(1.0))
    settle(hand)
    hand.panel.stop_button.pressed.emit()
    assert stops == [1]
    assert hand.panel.hand.pose == 0.0
    assert "stop" in [code for _, code in hand.take_events()]


@pytest.mark.parametrize("key", [Qt.Key.Key_Space, Qt.Key.Key_Escape])
def test_a_key_calls_the_stop(hand, key):
    stops = []
    hand.attach_stop(lambda: stops.append(1))
    press(hand, key)
    assert stops == [1]


def test_closing_the_window_stops_and_ends_the_loop(hand):
    stops, polls = [], []
    hand.attach_stop(lambda: stops.append(1))

    def poll():
        polls.append(1)
        if len(polls) == 3:
            hand.panel.close()
        return len(polls) < 1000

    hand.run(poll)
    assert stops == [1]
    assert len(polls) < 10


def test_the_loop_raises_what_its_poll_raises(hand):
    def poll():
        raise ConfigError("planted")

    with pytest.raises(ConfigError, match="planted"):
        hand.run(poll)


def test_state_and_cue_are_shown_in_words(hand):
    hand.show(Status("ACTIVE", 0.3, "right", "well done"))
    hand.frame()
    shown = hand.panel
    assert (shown.state.text, shown.cue.text, shown.message.text) == ("Active", "Imagine your RIGHT hand", "well done")
    assert shown.bar.value == 0.3
    assert shown.hand.lively


@pytest.mark.parametrize("state", ["", "idle", "armed", "safe", "stopped", "fault"])
def test_the_hand_is_grey_where_nothing_may_drive_it(hand, state):
    hand.show(Status(state))
    hand.frame()
    assert not hand.panel.hand.lively


def test_chinese_words_are_there_or_the_window_speaks_english():
    window = HandWindow(lang="zh")
    window.self_test()
    assert window.panel.stop_button.text() == ("停止" if window.panel.lang == "zh" else "STOP")
    window.close()


def test_events_name_what_was_first_shown(hand):
    hand.take_events()
    hand.send(intent(1.0))
    settle(hand)
    hand.halt()
    hand.frame()
    assert [code for _, code in hand.take_events()] == ["hand/close", "hand/relax"]


def test_an_unknown_language_is_refused():
    with pytest.raises(ConfigError, match="'en' or 'zh'"):
        HandWindow(lang="fr")


def test_snapshot_writes_a_picture(tmp_path):
    path = tmp_path / "hand.png"
    subprocess.run([sys.executable, "-m", "bci.apps.rehab.snapshot", str(path), "0.8"], check=True, timeout=60)
    assert QImage(str(path)).width() == 1280


def test_a_window_that_ends_its_process_is_said_at_once(monkeypatch):
    monkeypatch.setenv("QT_QPA_PLATFORM", "no-such-platform")  # Qt aborts, as it does where a library is missing
    guarded = GuardedEffector("hand")
    with pytest.raises(SafetyError, match="its process ended with -6"):
        guarded.self_test()
    assert not guarded.pids
