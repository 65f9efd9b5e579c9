"""The event log: nothing acknowledged is lost, nothing is changed unseen."""

import json
import os
import signal
import subprocess
import sys

import pytest

from bci.safety.eventlog import EventLog, LogWriter, verify


def fill(path, n=5):
    log = EventLog(path)
    for i in range(n):
        log.write(kind="state", number=i)
    log.close()


def test_log_that_is_whole_verifies(tmp_path):
    fill(tmp_path / "log")
    assert verify(tmp_path / "log") == 5


def test_log_is_continued_after_a_restart(tmp_path):
    fill(tmp_path / "log")
    fill(tmp_path / "log", 3)
    assert verify(tmp_path / "log") == 8


@pytest.mark.parametrize("line", [0, 2, 4])
def test_changed_record_is_named(tmp_path, line):
    fill(tmp_path / "log")
    lines = (tmp_path / "log").read_text().splitlines(keepends=True)
    lines[line] = lines[line].replace('"state"', '"stats"')
    (tmp_path / "log").write_text("".join(lines))
    with pytest.raises(ValueError, match=f"line {line + 1} is not as it was written"):
        verify(tmp_path / "log")


def test_removed_record_is_seen(tmp_path):
    fill(tmp_path / "log")
    lines = (tmp_path / "log").read_text().splitlines(keepends=True)
    (tmp_path / "log").write_text("".join(lines[:2] + lines[3:]))
    with pytest.raises(ValueError, match="line 3"):
        verify(tmp_path / "log")


def test_swapped_records_are_seen(tmp_path):
    fill(tmp_path / "log")
    lines = (tmp_path / "log").read_text().splitlines(keepends=True)
    (tmp_path / "log").write_text("".join([lines[1], lines[0], *lines[2:]]))
    with pytest.raises(ValueError, match="line 1"):
        verify(tmp_path / "log")


def test_half_a_line_at_the_end_is_cut_off(tmp_path):
    fill(tmp_path / "log")
    with (tmp_path / "log").open("ab") as file:
        file.write(b'{"hash": "12')
    fill(tmp_path / "log", 1)
    assert verify(tmp_path / "log") == 6


def test_file_of_another_kind_is_not_continued(tmp_path):
    (tmp_path / "log").write_text("a shopping list\n")
    with pytest.raises(ValueError, match="log to another"):
        EventLog(tmp_path / "log")
    assert (tmp_path / "log").read_text() == "a shopping list\n"


def test_log_is_for_its_owner_only(tmp_path):
    fill(tmp_path / "log")
    assert (tmp_path / "log").stat().st_mode & 0o077 == 0


def test_close_is_idempotent(tmp_path):
    log = EventLog(tmp_path / "log")
    log.close()
    log.close()


def test_writer_writes_what_is_queued_before_it_ends(tmp_path):
    writer = LogWriter(EventLog(tmp_path / "log"))
    for i in range(20):
        writer.put(number=i)
    writer.close(10.0)
    assert writer.n_records == verify(tmp_path / "log") == 20


def test_writer_says_that_it_cannot_write(tmp_path):
    log = EventLog(tmp_path / "log")
    os.close(log._fd)  # as a disk that is gone
    writer = LogWriter(log)
    writer.put(number=1)
    writer.close(10.0)
    assert "cannot be written" in writer.failure


def test_nothing_acknowledged_is_lost_when_killed(tmp_path):
    code = (
        "import sys; from bci.safety.eventlog import EventLog\n"
        "log = EventLog(sys.argv[1])\n"
        "while True: log.write(kind='state'); print(log.n_records, flush=True)"
    )
    said = 0
    for n_lines in (1, 7, 23, 50):
        child = subprocess.Popen([sys.executable, "-c", code, tmp_path / "log"], stdout=subprocess.PIPE)
        for _ in range(n_lines):
            said = int(child.stdout.readline())
        os.kill(child.pid, signal.SIGKILL)
        rest = child.communicate()[0].split(b"\n")[:-1]
        said = int(rest[-1]) if rest else said
        EventLog(tmp_path / "log").close()
        assert verify(tmp_path / "log") >= said


@pytest.mark.skipif(sys.platform == "win32", reason="a disk that fills up is made with setrlimit")
@pytest.mark.parametrize("room", [10, 150, 163])
def test_record_that_fits_only_in_part_is_not_acknowledged(tmp_path, room):
    fill(tmp_path / "log")
    code = (
        "import os, resource, sys; from bci.safety.eventlog import EventLog\n"
        "log = EventLog(sys.argv[1])\n"
        "limit = os.path.getsize(sys.argv[1]) + int(sys.argv[2])\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))\n"
        "try:\n"
        "    while True: log.write(kind='state', text='full ' * 5)\n"
        "except OSError: print('no room', log.n_records)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))\n"
        "log.write(kind='state'); print(log.n_records)"
    )
    done = subprocess.run([sys.executable, "-c", code, tmp_path / "log", str(room)], capture_output=True, text=True)
    assert "no room" in done.stdout
    assert verify(tmp_path / "log") == int(done.stdout.split()[-1])


@pytest.mark.skipif(sys.platform == "win32", reason="files are locked with flock")
def test_log_that_another_writes_is_refused(tmp_path):
    first = EventLog(tmp_path / "log")
    with pytest.raises(ValueError, match="another guard writes"):
        EventLog(tmp_path / "log")
    first.close()
    EventLog(tmp_path / "log").close()


def test_writer_says_that_it_stopped_for_whatever_reason(tmp_path):
    writer = LogWriter(EventLog(tmp_path / "log"))
    writer.put(text=object())  # JSON has no word for it
    writer.close(10.0)
    assert "cannot be written" in writer.failure


def test_records_are_plain_json(tmp_path):
    fill(tmp_path / "log", 1)
    assert json.loads((tmp_path / "log").read_text())["record"] == {"kind": "state", "number": 0}
