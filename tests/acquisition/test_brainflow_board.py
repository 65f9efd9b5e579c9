import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from bci.acquisition.brainflow_board import BrainFlowBoard, board_names
from bci.clock import ManualClock
from bci.errors import ConfigError, DeviceError, DeviceLost, DeviceNotFound
from bci.ports import ReportsBattery, TakesCommands
from bci.runtime.describe import describe
from bci.stream import Flag, Kind
from bci.testing.device import check_device

pytest.importorskip("brainflow")


def read(board, seconds):
    chunks, end_s = [], time.monotonic() + seconds
    while time.monotonic() < end_s:
        chunk = board.read(0.1)
        if chunk.n_samples or chunk.events:
            chunks.append(chunk)
    return chunks


def test_synthetic_board_keeps_the_contract_of_a_device():
    check_device(BrainFlowBoard, seconds=0.5)


@pytest.fixture(scope="module")
def seen():
    """A second and a half of the synthetic board with a burst of 50 markers, read once for several tests."""
    with BrainFlowBoard() as board:
        chunks = read(board, 0.7)
        marks = []
        for k in range(50):
            marks.append(time.monotonic())
            board.mark(f"m{k}", marks[-1])
            time.sleep(0.0005)
        newest_s = time.monotonic()
        chunks += read(board, 0.8)
        return board.info, chunks, marks, newest_s, board.report(), board.battery(), time.monotonic()


def test_samples_come_at_rising_times_without_loss(seen):
    info, chunks, *_ = seen
    times = np.concatenate([c.times for c in chunks])
    assert [c.start for c in chunks[1:]] == [c.stop for c in chunks[:-1]]
    assert (np.diff(times) > 0).all() and len(times) > 200
    assert info.ch_names[:3] == ["Fz", "C3", "Cz"] and info.channels[0].position is not None
    assert info.meta == {"board": "synthetic", "preset": "default"}


def test_samples_are_stamped_when_they_were_taken(seen):
    chunks, end_s = seen[1], seen[6]
    assert -0.005 < end_s - chunks[-1].times[-1] < 0.5


def test_burst_of_50_markers_keeps_50_times_each_within_a_sample(seen):
    info, chunks, marks, *_ = seen
    events = [e for c in chunks for e in c.events]
    times = np.concatenate([c.times for c in chunks])
    first = chunks[0].start
    assert [e.code for e in sorted(events, key=lambda e: e.time)] == [f"m{k}" for k in range(50)]
    assert sorted(e.time for e in events) == marks
    for event in events:
        after_s = times[event.sample - first] - event.time
        assert -1e-4 < after_s < 1.5 / info.sfreq


def test_measured_rate_and_battery_are_reported(seen):
    report, battery = seen[4], seen[5]
    assert report["lost"] == 0 and report["sfreq"] == pytest.approx(250.0, rel=0.05) and report["sfreq_error"] > 0
    assert 0 < battery <= 1
    assert isinstance(BrainFlowBoard(), ReportsBattery) and isinstance(BrainFlowBoard(), TakesCommands)
    assert np.isnan(BrainFlowBoard().battery())


def test_auxiliary_preset_is_a_stream_of_its_own():
    with BrainFlowBoard(preset="auxiliary") as board:
        chunk = next(c for c in iter(lambda: board.read(0.5), None) if c.n_samples)
        assert board.info.name == "SyntheticAux" and Kind.EEG not in {c.kind for c in board.info.channels}
        assert chunk.data.shape[1] == board.info.n_channels


def test_slow_stream_is_not_silent_between_its_samples():
    slow = BrainFlowBoard("explore_8_chan", preset="ancillary", mac_address="F4:0E:11:75:76:78")
    assert slow.silence_s == 4.0 and BrainFlowBoard().silence_s < 0.25


def test_session_clock_may_be_any():
    clock = ManualClock(5000.0)
    with BrainFlowBoard(clock=clock) as board:
        chunk = next(c for c in iter(lambda: board.read(0.5), None) if c.n_samples)
    assert abs(chunk.times[0] - 5000.0) < 2.0


def test_unknown_board_names_the_nearest():
    with pytest.raises(ConfigError, match="did you mean synthetic"):
        BrainFlowBoard("synthetik")


def test_unknown_number_is_refused():
    with pytest.raises(ConfigError, match="number of a BrainFlow board"):
        BrainFlowBoard(99999)


def test_board_names_can_be_opened_by_name():
    names = board_names()
    assert {"synthetic", "cyton"} <= set(names) and names == [n.lower() for n in names]
    BrainFlowBoard("Synthetic_Board")


def test_needed_parameter_is_asked_for_before_anything_is_opened():
    with pytest.raises(ConfigError, match="found by its serial_port, got no parameters; add serial_port="):
        BrainFlowBoard("cyton")


@pytest.mark.parametrize(
    ("settings", "said"),
    [({"serial_port": 3}, "takes a text, got 3"), ({"timeout": "5"}, "takes a whole number"), ({"board": True}, "True"),
     ({"ring_s": float("nan")}, "ring_s must be a number of seconds above 0, got nan"), ({"ring_s": "5"}, "got '5'"),
     ({"ring_s": float("inf")}, "got inf")],
)  # fmt: skip
def test_settings_are_checked_before_anything_is_opened(settings, said):
    with pytest.raises(ConfigError, match=said):
        BrainFlowBoard(**settings)


def test_board_that_does_not_answer_is_not_found():
    board = BrainFlowBoard("cyton", serial_port="/dev/there-is-no-such-port")
    with pytest.raises(DeviceNotFound, match="there-is-no-such-port"):
        board.open()
    board.close()


def test_process_that_dies_is_a_lost_device_and_one_that_stands_still_is_silent():
    with BrainFlowBoard() as board:
        read(board, 0.3)
        process = board._process
        os.kill(process.pid, signal.SIGSTOP)
        flags = Flag.OK
        for _ in range(20):
            flags |= board.read(0.1).flags
        assert Flag.SILENT in flags
        os.kill(process.pid, signal.SIGKILL)
        with pytest.raises(DeviceLost, match="ended with -9; close the device and open it again"):
            read(board, 2.0)


def test_command_needs_an_open_board_and_is_answered():
    board = BrainFlowBoard()
    with pytest.raises(DeviceError, match=r"open\(\) it first"):
        board.configure("x")
    board.open()
    assert isinstance(board.configure("x"), str)
    board.close()


def record(folder, n):
    """Write `n` samples of a recorded synthetic board; channel Fz holds the number of the sample."""
    numbers = np.arange(n)
    rows = np.zeros((n, 32))
    rows[:, 0], rows[:, 1], rows[:, 30] = numbers % 256, numbers, 1.7e9 + numbers / 250
    path = folder / "recorded.csv"
    np.savetxt(path, rows, fmt="%.6f", delimiter="\t")
    return str(path)


@pytest.fixture
def recording(tmp_path):
    return record(tmp_path, 500)


def test_playback_names_nobody_whom_the_name_of_its_file_may_name(recording, tmp_path):
    path = tmp_path / "smith_john.csv"
    path.write_bytes(Path(recording).read_bytes())
    with BrainFlowBoard("playback_file", file=str(path), master_board="synthetic") as board:
        told = f"{describe(board)} {board.info}"
        assert "smith" not in told and "playback_file-" in board.info.source_id


def test_playback_delivers_what_was_recorded(recording):
    with BrainFlowBoard("playback_file", file=recording, master_board="synthetic") as board:
        assert board.configure("loopback_true") is not None
        data = np.concatenate([c.data[:, 0] for c in read(board, 1.0)])
    assert (np.diff(data) == 1).all() and len(data) > 100


def test_ring_that_runs_over_is_counted_exactly(recording):
    with BrainFlowBoard("playback_file", file=recording, master_board="synthetic", ring_s=0.2) as board:
        chunks = read(board, 0.4)
        time.sleep(0.7)
        chunks += read(board, 0.3)
        given = np.concatenate([np.arange(c.start, c.stop) for c in chunks])
        truth = np.concatenate([c.data[:, 0] for c in chunks])
        assert np.array_equal(given - given[0], truth - truth[0]) and board.n_lost > 80
        late = next(c for c in chunks if Flag.GAP in c.flags)
        assert Flag.OVERFLOW in late.flags and "ring of 0.2 s" in board.report()["gaps"][0]["cause"]


def test_recording_that_is_not_there_is_said():
    with pytest.raises(DeviceNotFound, match="no such file"):
        BrainFlowBoard("playback_file", file="none.csv", master_board="synthetic").open()


@pytest.mark.slow
def test_streaming_board_delivers_what_another_board_sends():
    from bci.acquisition.boards import brainflow

    BoardShim, BrainFlowInputParams = brainflow("BoardShim", "BrainFlowInputParams")
    master = BoardShim(-1, BrainFlowInputParams())
    master.prepare_session()
    master.add_streamer("streaming_board://225.1.1.8:6698")
    master.start_stream(4500)
    try:
        with BrainFlowBoard("streaming", ip_address="225.1.1.8", ip_port=6698, master_board="synthetic") as board:
            ours = np.concatenate([c.data[:, 0] for c in read(board, 1.0)])
        theirs = master.get_board_data()[1]
    finally:
        master.release_session()
    begin = int(np.flatnonzero(theirs == ours[0])[0])
    assert np.array_equal(theirs[begin : begin + len(ours)], ours) and len(ours) > 100


@pytest.mark.skipif(not os.path.isdir("/proc/self"), reason="processes are looked up in /proc")
def test_board_is_let_go_when_its_session_is_killed():
    text = (
        "import time\nfrom bci.acquisition.brainflow_board import BrainFlowBoard\n"
        "board = BrainFlowBoard()\nboard.open()\nboard.start()\n"
        "print(board._process.pid, flush=True)\ntime.sleep(60)"
    )
    session = subprocess.Popen([sys.executable, "-c", text], stdout=subprocess.PIPE)
    pid = int(session.stdout.readline())
    session.kill()
    session.wait()
    session.stdout.close()
    end_s = time.monotonic() + 6.0
    while (runs := os.path.exists(f"/proc/{pid}/exe")) and time.monotonic() < end_s:
        time.sleep(0.05)
    assert not runs


@pytest.mark.skipif(os.name != "posix", reason="there are no process groups")
@pytest.mark.parametrize("name", ["SIGTERM", "SIGINT", "SIGHUP"])
def test_board_is_stopped_in_order_when_its_whole_group_is_terminated(name):
    number = getattr(signal, name)
    text = (
        "import signal, sys, time\nfrom bci.acquisition.brainflow_board import BrainFlowBoard\n"
        f"signal.signal({int(number)}, lambda *_: sys.exit(3))\n"
        "with BrainFlowBoard() as board:\n"
        "    print(board._process.pid, flush=True)\n    time.sleep(60)"
    )
    session = subprocess.Popen(
        [sys.executable, "-c", text], stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True
    )
    pid = int(session.stdout.readline())
    os.killpg(session.pid, number)
    _, said = session.communicate(timeout=20)
    assert (session.returncode, said) == (3, b"")
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


STANDS_STILL = """
import sys, time
import numpy as np
from bci.acquisition.brainflow_board import BrainFlowBoard

with BrainFlowBoard("playback_file", file=sys.argv[1], master_board="synthetic", ring_s=0.3) as board:
    chunks = []
    for seconds in (1.5, 6.0):
        end_s = time.monotonic() + seconds
        while time.monotonic() < end_s:
            chunk = board.read(0.1)
            if chunk.n_samples:
                chunks.append(chunk)
        print(seconds, flush=True)
    given = np.concatenate([np.arange(c.start, c.stop) for c in chunks])
    truth = np.concatenate([c.data[:, 0] for c in chunks])
    assert np.array_equal(given - given[0], truth - truth[0]), board.report()
    print(board.n_lost)
"""


@pytest.mark.slow
def test_session_that_stands_still_for_seconds_knows_exactly_what_it_lost(tmp_path):
    path = record(tmp_path, 5000)
    session = subprocess.Popen([sys.executable, "-c", STANDS_STILL, path], stdout=subprocess.PIPE, text=True)
    session.stdout.readline()
    time.sleep(0.5)
    session.send_signal(signal.SIGSTOP)
    time.sleep(3.5)  # more than a turn of the counter, the pipe and both rings hold
    session.send_signal(signal.SIGCONT)
    said, _ = session.communicate(timeout=30)
    assert session.returncode == 0 and int(said.splitlines()[-1]) > 256
