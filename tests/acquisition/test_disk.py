"""A disk that fills up: refused before, told in time, an alarm at once, and not one accepted sample lost."""

import contextlib
import logging
import os
import subprocess
import sys
import time

import numpy as np
import pytest
import pyxdf

from bci.acquisition.recorder.disk import DiskWatch, bytes_per_s, free_bytes
from bci.acquisition.recorder.quality import sample_numbers
from bci.acquisition.recorder.verify import examine
from bci.acquisition.recorder.xdf_recorder import XdfRecorder
from bci.errors import ConfigError, RecordingError
from bci.stream import Channel, Chunk, Event, StreamInfo

INFO = StreamInfo("amp", 1000.0, tuple(Channel(f"c{k}") for k in range(16)))


def chunk(start, n=40):
    number = start + np.arange(n)
    data = np.repeat(number[:, None], 16, axis=1).astype(np.float64)
    return Chunk(data, number / 1000, start, INFO, (Event(start, start / 1000, str(start)),))


def read(path):
    """Return sample numbers, samples and markers of a recording."""
    found = {
        s["info"]["name"][0]: s
        for s in pyxdf.load_xdf(str(path), synchronize_clocks=False, dejitter_timestamps=False)[0]
    }
    lines = [row[0] for row in found["amp-quality"]["time_series"]]
    rows = found["amp"]["time_series"][:, 0]
    return sample_numbers(lines, len(rows)), rows, [row[0] for row in found["Markers"]["time_series"]]


@pytest.fixture
def small(tmp_path):
    """Return a folder on a file system of 2 MB."""
    if not sys.platform.startswith("linux") or os.geteuid() != 0:
        pytest.skip("mounting a small file system takes Linux and root")
    folder = tmp_path / "small"
    folder.mkdir()
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(folder)], capture_output=True, text=True
    )
    if done.returncode:
        pytest.skip(f"a small file system could not be mounted: {done.stderr.strip()}")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def fill(recorder, n_chunks=1000):
    """Write until the recorder refuses; return (accepted samples, seconds that the refusal took, the error)."""
    stream = recorder.add_stream(INFO)
    for k in range(n_chunks):
        begin_s = time.monotonic()
        try:
            recorder.write(stream, chunk(40 * k))
        except RecordingError as error:
            return 40 * k, time.monotonic() - begin_s, error
    return 40 * n_chunks, 0.0, None


# ---------------------------------------------------------------------- full disk
def test_full_disk_is_an_alarm_at_once_and_keeps_every_accepted_sample(small):
    recorder = XdfRecorder(small / "run.xdf").open()
    accepted, alarm_s, error = fill(recorder)
    recorder.close()
    assert alarm_s < 1
    assert "No space left" in str(error)
    assert "kept" in str(error)
    assert "fallback=" in str(error)
    numbers, rows, markers = read(small / "run.xdf")
    np.testing.assert_array_equal(rows, np.arange(accepted))
    np.testing.assert_array_equal(numbers, rows)
    assert markers == [str(k) for k in range(0, accepted, 40)]
    assert examine(small / "run.xdf").damages == []


def test_recording_goes_on_in_the_fallback_without_losing_a_sample(small, tmp_path, caplog):
    spare = tmp_path / "spare"
    spare.mkdir()
    with XdfRecorder(small / "run.xdf", {"a": 1}, fallback=spare) as recorder:
        notes = recorder.add_text("Notes")
        accepted, _, error = fill(recorder)
        recorder.write_text(notes, 40.0, "after")
    assert error is None
    assert recorder.paths == (small / "run.xdf", spare / "run.xdf")
    assert "goes on in" in caplog.text
    first, second = (read(path) for path in recorder.paths)
    for part in range(2):
        joined = np.concatenate([first[part], second[part]])
        np.testing.assert_array_equal(joined, np.arange(accepted))
    assert first[2] + second[2] == [str(k) for k in range(0, accepted, 40)]
    assert all(examine(path).damages == [] for path in recorder.paths)


def test_text_that_does_not_fit_goes_on_in_the_fallback(small, tmp_path):
    with XdfRecorder(small / "run.xdf", fallback=tmp_path) as recorder:
        notes = recorder.add_text("Notes")
        for k in range(40):
            recorder.write_text(notes, float(k), f"{k}" + "x" * 100_000)
    assert len(recorder.paths) == 2
    texts = []
    for path in recorder.paths:
        found, _ = pyxdf.load_xdf(str(path))
        texts += [row[0].rstrip("x") for s in found if s["info"]["name"] == ["Notes"] for row in s["time_series"]]
    assert texts == [str(k) for k in range(40)]


def test_fallback_that_is_full_too_is_said(small):
    (small / "inner").mkdir()
    recorder = XdfRecorder(small / "run.xdf", fallback=small / "inner").open()
    _, alarm_s, error = fill(recorder)
    recorder.close()
    assert isinstance(error, RecordingError)
    assert "fallback failed too" in str(error)
    assert alarm_s < 1
    assert list((small / "inner").iterdir()) == []


def stuff(folder):
    """Leave no room in a folder."""
    with open(folder / "hog", "wb", buffering=0) as hog, contextlib.suppress(OSError):
        while hog.write(bytes(4096)):
            pass


def test_recording_on_a_disk_that_is_full_already_begins_in_the_fallback(small, tmp_path, caplog):
    stuff(small)
    with XdfRecorder(small / "run.xdf", {"a": 1}, fallback=tmp_path) as recorder:
        accepted, _, error = fill(recorder, 10)
    assert error is None
    assert recorder.paths == (tmp_path / "run.xdf",)
    assert "goes on in" in caplog.text
    np.testing.assert_array_equal(read(tmp_path / "run.xdf")[1], np.arange(accepted))
    assert examine(tmp_path / "run.xdf").damages == []
    assert [path.name for path in small.iterdir()] == ["hog"]


def test_full_disk_without_a_fallback_that_helps_leaves_nothing_behind(small):
    (small / "inner").mkdir()
    stuff(small)
    with pytest.raises(RecordingError, match=r"No space left.*--fallback"):
        XdfRecorder(small / "run.xdf").open()
    with pytest.raises(RecordingError, match="fallback failed too"):
        XdfRecorder(small / "run.xdf", fallback=small / "inner").open()
    assert sorted(path.name for path in small.rglob("*")) == ["hog", "inner"]


def test_recording_that_cannot_be_finished_for_want_of_room_is_sound(small):
    finished = set()
    for k in range(12):  # what is left of the last page of each file differs
        path = small / f"{k}.xdf"
        recorder = XdfRecorder(path).open()
        stream = recorder.add_stream(INFO)
        for row in range(k + 1):
            recorder.write(stream, chunk(7 * row, 7))
        stuff(small)
        recorder.close()
        (small / "hog").unlink()
        findings = examine(path)
        assert findings.damages == []
        np.testing.assert_array_equal(read(path)[1], np.arange(7 * (k + 1)))
        finished.add(findings.finished)
    assert False in finished  # some had no room, or this tests nothing


def test_fallback_must_be_a_folder_before_anything_is_recorded(tmp_path):
    with pytest.raises(ConfigError, match="fallback"):
        XdfRecorder(tmp_path / "run.xdf", fallback=tmp_path / "none").open()
    assert list(tmp_path.iterdir()) == []


# ------------------------------------------------------------------ planned session
def test_session_that_does_not_fit_is_refused_before_it_begins(tmp_path):
    too_long_s = 2 * free_bytes(tmp_path) / bytes_per_s(INFO)
    with XdfRecorder(tmp_path / "run.xdf", planned_s=too_long_s) as recorder, pytest.raises(ConfigError, match="plan"):
        recorder.add_stream(INFO)


def test_number_format_decides_with_the_first_samples(tmp_path):
    fits_as_float32_s = 0.9 * free_bytes(tmp_path) / bytes_per_s(INFO)
    with XdfRecorder(tmp_path / "run.xdf", planned_s=fits_as_float32_s) as recorder:
        stream = recorder.add_stream(INFO)
        with pytest.raises(ConfigError, match="free"):
            recorder.write(stream, chunk(0))


def test_session_that_fits_is_recorded(tmp_path):
    with XdfRecorder(tmp_path / "run.xdf", planned_s=1.0) as recorder:
        recorder.write(recorder.add_stream(INFO), chunk(0))
    assert len(read(tmp_path / "run.xdf")[1]) == 40


def test_session_of_single_samples_is_refused_as_soon_as_that_is_known(tmp_path):
    info = StreamInfo("amp", 1000.0, (Channel("c0"),))
    fits_in_chunks_s = 0.9 * free_bytes(tmp_path) / bytes_per_s(info, np.dtype("f8"))
    with XdfRecorder(tmp_path / "run.xdf", planned_s=fits_in_chunks_s) as recorder:
        stream = recorder.add_stream(info)
        with pytest.raises(ConfigError, match="free"):
            for k in range(10):
                recorder.write(stream, Chunk(np.zeros((1, 1)), np.array([k / 1000]), k, info))
    assert k == 9


@pytest.mark.parametrize("n", [1, 7, 32, 500])
@pytest.mark.parametrize(("n_channels", "sfreq", "dtype"), [(1, 250.0, "f4"), (8, 1000.0, "f4"), (64, 2000.0, "f8")])
def test_estimate_is_a_little_more_than_a_recording_takes(tmp_path, n, n_channels, sfreq, dtype):
    info = StreamInfo("amp", sfreq, tuple(Channel(f"c{k}") for k in range(n_channels)))
    with XdfRecorder(tmp_path / "run.xdf") as recorder:
        stream = recorder.add_stream(info)
        chunks = [Chunk(np.zeros((n, n_channels), dtype), (at + np.arange(n)) / sfreq, at, info)
                  for at in range(0, round(4 * sfreq) + 2 * n, n)]  # fmt: skip
        recorder.write(stream, chunks[0])  # with the headers, which come once
        before = taken(tmp_path)
        for later in chunks[1:]:
            recorder.write(stream, later)
        per_s = (taken(tmp_path) - before) / (n * (len(chunks) - 1) / sfreq)
    assert per_s <= bytes_per_s(info, np.dtype(dtype), n) <= 1.5 * per_s


def taken(folder):
    """Return the bytes of all files of a recording."""
    return sum(path.stat().st_size for path in folder.iterdir())


# --------------------------------------------------------------------- cautions
def watched(minutes):
    """Watch a disk of which 1 MB/s is used, with so many minutes left at the begin, for 13 minutes."""
    free = [minutes * 60e6]
    watch = DiskWatch("run.xdf", lambda _path: int(free[0]))
    for second in range(13 * 60):
        watch.check(float(second), int(second * 1e6))
        free[0] = max(0.0, free[0] - 1e6)
    return watch


def test_cautions_come_once_at_ten_and_once_at_two_minutes(caplog):
    with caplog.at_level(logging.WARNING):
        watched(12)
    left = [float(r.getMessage().split(" in ")[1].split(" s;")[0]) for r in caplog.records]
    assert left == [600, 120]


def test_disk_with_room_is_not_worth_a_word(caplog):
    watch = watched(60)
    assert caplog.records == []
    assert watch.left_s == pytest.approx(47 * 60, abs=2)


def test_begin_on_a_nearly_full_disk_gives_one_caution(caplog):
    watched(1.5)
    assert len(caplog.records) == 1
