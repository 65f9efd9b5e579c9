"""The process that reads: limits of time and memory, crashes, reuse."""

import os
import signal
import struct
import threading
import time
import zlib

import numpy as np
import pytest

from bci.acquisition.formats import sandbox
from bci.acquisition.formats.found import Settings
from bci.acquisition.formats.sandbox import Request, Sandbox
from bci.errors import DeviceError, FormatError
from benchmarks import damaged

WHAT = damaged.truth(512, 2)


@pytest.fixture
def box():
    box = Sandbox()
    yield box
    box.close()


def read(box, path, reader="edf", size=10_000):
    return box.read(Request(path, reader, size, Settings()), lambda _: None, lambda _: None)


@pytest.fixture
def never(tmp_path):
    """A file whose reading never ends."""
    os.mkfifo(tmp_path / "never.csv")
    return tmp_path / "never.csv"


def test_one_process_reads_many_files(box, tmp_path):
    path = damaged.edf(tmp_path / "x", WHAT)
    first = read(box, path)
    pid = box.pid
    np.testing.assert_array_equal(read(box, path).data, first.data)
    assert box.pid == pid and not first.data.flags.writeable


def test_samples_outlive_the_process_and_leave_no_file(box, tmp_path, monkeypatch):
    monkeypatch.setattr(sandbox, "_SHARED", tmp_path)
    data = read(box, damaged.edf(tmp_path / "x", WHAT)).data
    box.close()
    np.testing.assert_array_equal(data, WHAT.uv)
    assert not list(tmp_path.glob("bci-recording-*"))


def test_a_file_that_takes_too_long_is_refused_and_the_next_is_read(box, never, tmp_path, monkeypatch):
    monkeypatch.setattr(sandbox, "_READ_S", 0.3)
    with pytest.raises(FormatError, match="was not over after"):
        read(box, never, "csv_files")
    monkeypatch.undo()
    assert len(read(box, damaged.edf(tmp_path / "x", WHAT)).data) == 512


def test_a_crash_of_the_reader_is_a_format_error(box, never, tmp_path):
    def kill():
        while box.pid is None:
            time.sleep(0.01)
        os.kill(box.pid, signal.SIGSEGV)

    killer = threading.Timer(0.2, kill)
    killer.start()
    with pytest.raises(FormatError, match="crashed"):
        read(box, never, "csv_files")
    killer.join()
    assert len(read(box, damaged.edf(tmp_path / "x", WHAT)).data) == 512


def test_a_process_that_ended_while_idle_is_replaced(box, tmp_path):
    path = damaged.edf(tmp_path / "x", WHAT)
    read(box, path)
    os.kill(box.pid, signal.SIGKILL)
    assert len(read(box, path).data) == 512


@pytest.mark.skipif(not os.path.exists("/proc/self/statm"), reason="memory is limited on Linux only")
def test_a_header_that_asks_for_gigabytes_is_refused(box, tmp_path):
    path = damaged.eeglab(tmp_path / "x", WHAT)
    content = bytearray(path.read_bytes())
    at = content.index(struct.pack("<II", 9, 8))  # of a double, where no check before the reader sees it
    struct.pack_into("<I", content, at + 4, 0xFFFFFFF0)
    packed = zlib.compress(bytes(content[128:]))
    path.write_bytes(content[:128] + struct.pack("<II", 15, len(packed)) + packed)
    with pytest.raises(FormatError, match="of memory"):
        read(box, path, "mne_files")


def test_a_progress_that_raises_leaves_a_sandbox_that_works(box, tmp_path):
    path = damaged.edf(tmp_path / "x", WHAT)

    def stop(_):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        box.read(Request(path, "edf", 10_000, Settings()), stop, lambda _: None)
    assert len(read(box, path).data) == 512


def test_other_errors_keep_their_kind(box, tmp_path, monkeypatch):
    path = damaged.edf(tmp_path / "x", WHAT)
    monkeypatch.setattr(sandbox.subprocess, "Popen", _refuse)
    with pytest.raises(DeviceError, match="could not be started"):
        read(box, path)


def _refuse(*_, **__):
    raise OSError(11, "Resource temporarily unavailable")


def test_threads_share_one_process(box, tmp_path):
    path = damaged.edf(tmp_path / "x", WHAT)
    got = []
    threads = [threading.Thread(target=lambda: got.append(read(box, path).data)) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(got) == 3 and all(np.array_equal(data, WHAT.uv) for data in got)
