"""The recorder: everything comes back bit for bit, and nothing that was accepted is ever lost."""

import json
import multiprocessing
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import pyxdf
from hypothesis import given, settings
from hypothesis import strategies as st

from bci.acquisition import recording
from bci.acquisition.recorder.quality import row_flags, sample_numbers
from bci.acquisition.recorder.recover import complete_length, open_complete
from bci.acquisition.recorder.repair import repair
from bci.acquisition.recorder.xdf_recorder import XdfRecorder
from bci.errors import ConfigError, DataError, FormatError, RecordingError
from bci.stream import Channel, Chunk, Event, Flag, Kind, StreamInfo

INFO = StreamInfo(
    "amp",
    250.0,
    (Channel("C3", position=(-0.05, 0.0, 0.08)), Channel("Größe <&>", Kind.MISC, "V"), Channel("C4")),
    "serial-1",
    {"gain": "24"},
)


def chunk(n, start, dtype=np.float64, info=INFO, **more):
    """Return a chunk whose channel 0 is the sample number."""
    data = np.zeros((n, info.n_channels), dtype)
    data[:, 0] = start + np.arange(n)
    data[:, 1:] = 0.5
    return Chunk(data, 100 + (start + np.arange(n)) / 250, start, info, **more)


def load(source):
    streams, header = pyxdf.load_xdf(source, synchronize_clocks=False, dejitter_timestamps=False)
    return {s["info"]["name"][0]: s for s in streams}, header


def texts(stream):
    return [row[0] for row in stream["time_series"]]


@pytest.fixture
def path(tmp_path):
    return tmp_path / "run.xdf"


@pytest.mark.parametrize("dtype", ["float64", "float32", "int16", "int32", "int64", "int8"])
def test_samples_and_times_come_back_bit_for_bit(path, dtype):
    rng = np.random.default_rng(0)
    data, times = (rng.standard_normal((500, 3)) * 50).astype(dtype), 1e5 + np.sort(rng.random(500))
    with XdfRecorder(path) as recorder:
        stream = recorder.add_stream(INFO)
        for part in (slice(0, 1), slice(1, 1), slice(1, 300), slice(300, 500)):
            recorder.write(stream, Chunk(data[part], times[part], part.start, INFO))
    found = load(str(path))[0]["amp"]
    assert found["time_series"].dtype == data.dtype
    np.testing.assert_array_equal(found["time_series"], data)
    np.testing.assert_array_equal(found["time_stamps"], times)


@pytest.mark.parametrize("dtype", ["float32", "int16"])
def test_a_silence_is_of_no_number_format(path, dtype):
    with XdfRecorder(path) as recorder:
        stream = recorder.add_stream(INFO)
        for part in (chunk(5, 0, dtype), Chunk.empty(INFO, 5, Flag.SILENT), chunk(5, 5, dtype)):
            recorder.write(stream, part)
    found, _ = load(str(path))
    np.testing.assert_array_equal(found["amp"]["time_series"][:, 0], np.arange(10))
    assert [json.loads(t)["flags"] for t in texts(found["amp-quality"])] == [[], ["SILENT"], []]


def test_nan_and_infinity_come_back(path):
    data = np.array([[np.nan, np.inf, -np.inf]])
    with XdfRecorder(path) as recorder:
        recorder.write(recorder.add_stream(INFO), Chunk(data, np.zeros(1), 0, INFO))
    np.testing.assert_array_equal(load(str(path))[0]["amp"]["time_series"], data)


def test_unsigned_numbers_are_kept_in_a_wider_type(path):
    data = np.full((2, 3), 65535, np.uint16)
    with XdfRecorder(path) as recorder:
        recorder.write(recorder.add_stream(INFO), Chunk(data, np.arange(2.0), 0, INFO))
    np.testing.assert_array_equal(load(str(path))[0]["amp"]["time_series"], data)


def test_reader_that_corrects_clocks_moves_nothing(path):
    with XdfRecorder(path) as recorder:
        stream = recorder.add_stream(INFO)
        for start in range(0, 10000, 100):  # 40 s: several clock offsets
            recorder.write(stream, chunk(100, start))
    streams, _ = pyxdf.load_xdf(str(path), synchronize_clocks=True, dejitter_timestamps=True)
    amp = next(s for s in streams if s["info"]["name"] == ["amp"])
    assert amp["info"]["effective_srate"] == pytest.approx(250, rel=1e-9)
    assert len(amp["clock_times"]) == 4
    np.testing.assert_allclose(amp["time_stamps"], 100 + np.arange(10000) / 250, atol=1e-6)


def test_channels_come_back_with_names_units_types_and_places(path):
    with XdfRecorder(path) as recorder:
        recorder.write(recorder.add_stream(INFO), chunk(1, 0))
    info = load(str(path))[0]["amp"]["info"]
    channels = info["desc"][0]["channels"][0]["channel"]
    assert [c["label"][0] for c in channels] == INFO.ch_names
    assert [c["unit"][0] for c in channels] == ["microvolts", "V", "microvolts"]
    assert [c["type"][0] for c in channels] == ["EEG", "MISC", "EEG"]
    assert float(channels[0]["location"][0]["X"][0]) == pytest.approx(-50)
    assert (info["nominal_srate"], info["source_id"]) == (["250.0"], ["serial-1"])


def test_stream_without_samples_keeps_its_header(path):
    with XdfRecorder(path) as recorder:
        recorder.add_stream(INFO)
    assert load(str(path))[0]["amp"]["info"]["channel_count"] == ["3"]


def test_configuration_stands_in_header_and_stream(path):
    config = {"paradigm": {"name": "<motor> & imagery \x00"}, "versions": {"numpy": np.__version__}}
    with XdfRecorder(path, config):
        pass
    streams, header = load(str(path))
    assert json.loads(texts(streams["Config"])[0]) == config
    assert json.loads(header["info"]["config"][0]) == config


def test_texts_come_back_in_order_with_their_times(path):
    with XdfRecorder(path) as recorder:
        decisions = recorder.add_text("Decisions")
        for k in range(300):
            recorder.write_text(decisions, k / 7, f"ü{k}" * k)
    found = load(str(path))[0]["Decisions"]
    assert texts(found) == [f"ü{k}" * k for k in range(300)]
    np.testing.assert_array_equal(found["time_stamps"], np.arange(300) / 7)


def test_text_stream_of_a_name_is_made_once(path):
    with XdfRecorder(path) as recorder:
        assert recorder.add_text("Session") == recorder.add_text("Session")


def test_events_become_markers_and_keep_their_sample(path):
    with XdfRecorder(path) as recorder:
        stream = recorder.add_stream(INFO)
        recorder.write(stream, chunk(10, 0, events=(Event(3, 100.012, "left", "paradigm"),)))
        recorder.write(stream, chunk(0, 10, events=(Event(9, 100.0361, "late"),)))
    streams = load(str(path))[0]
    assert texts(streams["Markers"]) == ["left", "late"]
    assert list(streams["Markers"]["time_stamps"]) == [100.012, 100.0361]
    lines = [json.loads(t) for t in texts(streams["amp-quality"])]
    assert {"event": "left", "sample": 3, "source": "paradigm"} in lines


def test_sample_numbers_and_flags_come_back_from_the_quality_lines(path):
    parts = [
        chunk(10, 5),
        chunk(0, 15, flags=Flag.SILENT),
        chunk(7, 40, flags=Flag.GAP),
        chunk(3, 47, flags=Flag.LEAD_OFF | Flag.FLAT),
        chunk(3, 50, flags=Flag.LEAD_OFF | Flag.FLAT),
        chunk(4, 60, flags=Flag.GAP),
    ]
    with XdfRecorder(path) as recorder:
        stream = recorder.add_stream(INFO)
        for part in parts:
            recorder.write(stream, part)
    lines = texts(load(str(path))[0]["amp-quality"])
    numbers = np.concatenate([p.start + np.arange(p.n_samples) for p in parts])
    np.testing.assert_array_equal(sample_numbers(lines, len(numbers)), numbers)
    bad = int(Flag.LEAD_OFF | Flag.FLAT)
    expected = [0] * 10 + [int(Flag.GAP)] + [0] * 6 + [bad] * 6 + [int(Flag.GAP)] + [0] * 3
    np.testing.assert_array_equal(row_flags(lines, len(numbers)), expected)
    assert sum(json.loads(line)["lost"] for line in lines) == 25 + 7


def test_damaged_quality_line_is_a_format_error():
    for line in ("{", "[]", '{"row": 0}'):
        with pytest.raises(FormatError):
            sample_numbers([line], 3)


def test_each_chunk_is_one_write_to_the_system(path, monkeypatch):
    calls = []
    with XdfRecorder(path) as recorder:
        stream = recorder.add_stream(INFO)
        recorder.write(stream, chunk(40, 0))
        data_fd = os.open(path, os.O_RDONLY)
        inode = os.fstat(data_fd).st_ino
        for name in ("write", "writev"):
            real = getattr(os, name)

            def count(fd, data, real=real):
                calls.append(os.fstat(fd).st_ino == inode)
                return real(fd, data)

            monkeypatch.setattr(os, name, count)
        recorder.write(stream, chunk(40, 60, flags=Flag.GAP, events=(Event(61, 101.0, "left"),)))
        monkeypatch.undo()
        os.close(data_fd)
    assert sorted(calls) == [False, True]  # the check file's, and one with loss, samples and marker


def test_recording_opens_in_mne(path):
    import mne

    with XdfRecorder(path) as recorder:
        stream = recorder.add_stream(INFO)
        recorder.write(stream, chunk(500, 0, events=(Event(250, 101.0, "left"),)))
    streams = load(str(path))[0]
    amp, markers = streams["amp"], streams["Markers"]
    names = [c["label"][0] for c in amp["info"]["desc"][0]["channels"][0]["channel"]]
    raw = mne.io.RawArray(amp["time_series"].T * 1e-6, mne.create_info(names, 250.0, "eeg"), verbose="error")
    raw.set_annotations(mne.Annotations(markers["time_stamps"] - amp["time_stamps"][0], 0, texts(markers)))
    events, codes = mne.events_from_annotations(raw, verbose="error")
    assert (events[0, 0], list(codes)) == (250, ["left"])


def test_streams_of_different_rates_and_formats_come_back_side_by_side(path):
    rng = np.random.default_rng(0)
    imu = StreamInfo("imu", 52.0, tuple(Channel(n, Kind.ACCEL, "m/s^2") for n in "xyz"))
    emg = StreamInfo("emg", 2000.0, (Channel("m1", Kind.EMG, scale=0.25),))
    kept = {info: np.zeros((0, info.n_channels)) for info in (INFO, imu, emg)}
    with XdfRecorder(path) as recorder:
        handles, gaze = {info: recorder.add_stream(info) for info in kept}, recorder.add_text("Fixations")
        types = {INFO: np.float64, imu: np.float32, emg: np.int16}
        for tick in range(50):  # 20 ms each
            for info, handle in handles.items():
                start, stop = (int(t * 0.02 * info.sfreq) for t in (tick, tick + 1))
                data = (rng.standard_normal((stop - start, info.n_channels)) * 100).astype(types[info])
                event = (Event(start, start / info.sfreq, f"{info.name} {tick}"),)
                recorder.write(handle, Chunk(data, np.arange(start, stop) / info.sfreq, start, info, event))
                kept[info] = np.concatenate([kept[info], data])
            recorder.write_text(gaze, tick * 0.02, f"fixation {tick}")
    found = load(str(path))[0]
    for info, data in kept.items():
        np.testing.assert_array_equal(found[info.name]["time_series"], data)
        np.testing.assert_array_equal(found[info.name]["time_stamps"], np.arange(len(data)) / info.sfreq)
        lines = [json.loads(t) for t in texts(found[f"{info.name}-quality"])]
        assert [line["event"] for line in lines if "event" in line] == [f"{info.name} {k}" for k in range(50)]
    assert texts(found["Fixations"]) == [f"fixation {k}" for k in range(50)]
    assert len(found["Markers"]["time_series"]) == 150


def test_every_stream_has_a_clock_offset_from_its_first_samples_on(path):
    imu = StreamInfo("imu", 50.0, (Channel("x", Kind.ACCEL, "m/s^2"),))
    with XdfRecorder(path) as recorder:
        amp, late = recorder.add_stream(INFO), recorder.add_stream(imu)
        recorder.write(amp, chunk(100, 0))
        recorder.write(late, Chunk(np.zeros((5, 1)), 100 + np.arange(5) / 50, 0, imu))
    found = load(str(path))[0]
    assert [len(found[name]["clock_times"]) for name in ("amp", "imu")] == [1, 1]


def test_a_stream_of_texts_begun_late_has_a_clock_offset_too(path, caplog):
    with XdfRecorder(path) as recorder:
        recorder.write(recorder.add_stream(INFO), chunk(10, 0))
        recorder.write_text(recorder.add_text("Device"), 0.04, "{}")
    streams, _ = pyxdf.load_xdf(path)
    late = next(s for s in streams if s["info"]["name"] == ["Device"])
    assert late["info"]["clock_segments"] == late["info"]["segments"] == [(0, 0)]
    assert not [r for r in caplog.records if "differ" in r.getMessage()]


def test_chunk_that_is_refused_leaves_no_line_behind(path):
    with XdfRecorder(path) as recorder:
        stream = recorder.add_stream(INFO)
        recorder.write(stream, chunk(1, 0, np.int16))
        with pytest.raises(DataError):
            recorder.write(stream, chunk(1, 9, events=(Event(9, 0.0, "no"),)))
        recorder.write(stream, chunk(1, 1, np.int16))
    found = load(str(path))[0]
    assert "Markers" not in found or texts(found["Markers"]) == []
    assert len(texts(found["amp-quality"])) == 1


# ------------------------------------------------------------------ refusals
def test_name_of_a_stream_is_used_once(path):
    with XdfRecorder(path) as recorder:
        recorder.add_stream(INFO)
        with pytest.raises(ConfigError, match="twice"):
            recorder.add_stream(INFO)


def test_check_file_of_another_recording_is_never_touched(path):
    path.with_name("run.xdf.check").write_bytes(b"precious")
    with pytest.raises(ConfigError, match="check"):
        XdfRecorder(path).open()
    assert not path.exists()
    assert path.with_name("run.xdf.check").read_bytes() == b"precious"


def test_a_name_with_n_takes_the_first_free_number_and_makes_its_folder(tmp_path):
    names = []
    for _ in range(3):
        with XdfRecorder(tmp_path / "out" / "run-{n}.xdf") as recorder:
            names.append(recorder.path.name)
    assert names == ["run-1.xdf", "run-2.xdf", "run-3.xdf"]


def test_existing_recording_is_never_touched(path):
    path.write_bytes(b"precious")
    recorder = XdfRecorder(path)
    with pytest.raises(ConfigError, match="exists"):
        recorder.open()
    recorder.close()
    assert path.read_bytes() == b"precious"


def test_missing_folder_and_wrong_ending_are_named(tmp_path):
    with pytest.raises(ConfigError, match="folder"):
        XdfRecorder(tmp_path / "nowhere" / "run.xdf").open()
    with pytest.raises(ConfigError, match=r"\.xdf"):
        XdfRecorder(tmp_path / "run.edf").open()


def test_closed_recorder_takes_nothing_and_closes_twice(path):
    recorder = XdfRecorder(path)
    with pytest.raises(DataError, match="open"):
        recorder.add_stream(INFO)
    recorder.open()
    recorder.close()
    recorder.close()


def test_other_channels_or_number_format_are_refused(path):
    with XdfRecorder(path) as recorder:
        stream = recorder.add_stream(INFO)
        recorder.write(stream, chunk(1, 0, np.int16))
        with pytest.raises(DataError, match="new stream"):
            recorder.write(stream, chunk(1, 1, np.float64))
        with pytest.raises(DataError, match="new stream"):
            recorder.write(stream, chunk(1, 1, info=INFO.pick(["C4", "C3"])))
    assert len(load(str(path))[0]["amp"]["time_series"]) == 1


def test_complex_samples_are_refused(path):
    with XdfRecorder(path) as recorder, pytest.raises(DataError, match="complex"):
        recorder.write(recorder.add_stream(INFO), chunk(1, 0, np.complex128))


def _fill(path, limit, pipe):
    import resource

    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    recorder = XdfRecorder(path).open()
    stream, accepted = recorder.add_stream(INFO), 0
    try:
        while True:
            recorder.write(stream, chunk(50, accepted))
            accepted += 50
    except RecordingError as error:
        pipe.send((accepted, str(error)))
    recorder.close()


@pytest.mark.skipif(sys.platform == "win32", reason="needs RLIMIT_FSIZE")
@pytest.mark.parametrize("limit", [20_000, 20_001, 20_777])
def test_full_disk_is_an_alarm_and_keeps_what_was_accepted(path, limit):
    ours, theirs = multiprocessing.get_context("fork").Pipe()
    child = multiprocessing.get_context("fork").Process(target=_fill, args=(path, limit, theirs))
    child.start()
    accepted, message = ours.recv()
    child.join()
    assert "kept" in message
    assert complete_length(path) == path.stat().st_size
    numbers = load(str(path))[0]["amp"]["time_series"][:, 0]
    np.testing.assert_array_equal(numbers, np.arange(accepted))
    assert accepted >= 100


# ------------------------------------------------------------------ cut files
@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    path = tmp_path_factory.mktemp("cut") / "whole.xdf"
    with XdfRecorder(path, {"a": 1}) as recorder:
        stream = recorder.add_stream(INFO)
        for start in range(0, 60, 20):
            recorder.write(stream, chunk(20, start, events=(Event(start, 100 + start / 250, "x" * 300),)))
    return path.read_bytes()


def _ends(data):
    """Return where each chunk ends, found by reading the format anew."""
    found, at = [4], 4
    while at < len(data):
        n = data[at]
        at += 1 + n + int.from_bytes(data[at + 1 : at + 1 + n], "little")
        found.append(at)
    return found


def test_complete_length_is_the_last_chunk_end_at_every_cut(whole, tmp_path):
    ends, path = _ends(whole), tmp_path / "cut.xdf"
    assert ends[-1] == len(whole)
    path.write_bytes(whole)
    for cut in range(len(whole), 3, -1):
        os.truncate(path, cut)
        assert complete_length(path) == max(e for e in ends if e <= cut)


@settings(max_examples=60, deadline=None)
@given(share=st.floats(0, 1))
def test_cut_file_opens_with_every_whole_chunk(whole, tmp_path_factory, share):
    header_end = _ends(whole)[1]
    cut = header_end + round(share * (len(whole) - header_end))
    path = tmp_path_factory.mktemp("cut") / "cut.xdf"
    path.write_bytes(whole[:cut])
    with open_complete(path) as file:
        streams = load(file)[0]
    if "amp" in streams:
        numbers = streams["amp"]["time_series"][:, 0]
        assert len(numbers) % 20 == 0
        np.testing.assert_array_equal(numbers, np.arange(len(numbers)))


def test_tail_of_zeros_after_a_power_cut_is_left_out(whole, tmp_path):
    path = tmp_path / "zeros.xdf"
    path.write_bytes(whole + bytes(4096))
    assert complete_length(path) == len(whole)


def test_repair_copies_the_whole_chunks_and_leaves_the_original(whole, tmp_path):
    path = tmp_path / "run.xdf"
    path.write_bytes(whole + b"\x04")
    done = repair(path)
    fixed = done.path
    assert (fixed.name, fixed.read_bytes()) == ("run-repaired.xdf", whole)
    assert path.read_bytes() == whole + b"\x04"
    assert (done.findings.cut, done.findings.damages) == (1, [])
    with pytest.raises(ConfigError, match="exists"):
        repair(path)


def test_repair_of_a_whole_file_is_the_file(whole, tmp_path):
    path = tmp_path / "run.xdf"
    path.write_bytes(whole)
    assert repair(path).path == path


@pytest.mark.parametrize("content", [b"", b"XD", b"EDF+C and more"])
def test_other_formats_are_refused(tmp_path, content):
    path = tmp_path / "other.xdf"
    path.write_bytes(content)
    with pytest.raises(FormatError, match="XDF"):
        complete_length(path)


# -------------------------------------------------------------------- killed
CHILD = """
import os, sys, time
import numpy as np
from bci.acquisition.recorder.xdf_recorder import XdfRecorder
from bci.stream import Channel, Chunk, StreamInfo
info = StreamInfo("amp", 1000.0, tuple(Channel(f"c{k}") for k in range(8)))
recorder = XdfRecorder(sys.argv[1]).open()
stream, decisions, start = recorder.add_stream(info), recorder.add_text("Decisions"), 0
rng = np.random.default_rng(0)
while True:
    number = start + np.arange(rng.integers(1, 60))
    data = np.repeat(number[:, None], 8, axis=1).astype(float)
    recorder.write(stream, Chunk(data, number / 1000, start, info))
    start += len(number)
    os.write(1, start.to_bytes(8, "little"))
    recorder.write_text(decisions, start / 1000, str(start))
    time.sleep(0.0005)
"""


def killed(path, wait_s):
    """Record in a child, kill it, and return (samples acknowledged, samples found)."""
    child = subprocess.Popen([sys.executable, "-c", CHILD, str(path)], stdout=subprocess.PIPE)
    acknowledged = child.stdout.read(8)
    time.sleep(wait_s)
    child.kill()
    rest = child.stdout.read()
    child.wait()
    acknowledged = int.from_bytes((acknowledged + rest)[: 8 + len(rest) // 8 * 8][-8:], "little")
    with open_complete(path) as file:
        streams = load(file)[0]
    numbers = streams["amp"]["time_series"]
    np.testing.assert_array_equal(numbers, np.repeat(np.arange(len(numbers))[:, None], 8, axis=1))
    return acknowledged, len(numbers)


@pytest.mark.parametrize("wait_s", [0.0, 0.05, 0.2])
def test_killed_recording_holds_every_accepted_sample(path, wait_s):
    acknowledged, found = killed(path, wait_s)
    assert found >= acknowledged > 0


@pytest.mark.slow
def test_twenty_kills_lose_nothing(tmp_path):
    for k, wait_s in enumerate(np.random.default_rng(7).uniform(0, 1.5, 20)):
        acknowledged, found = killed(tmp_path / f"{k}.xdf", wait_s)
        assert found >= acknowledged > 0


def test_an_event_never_comes_back_without_its_sample_wherever_a_kill_cuts_the_write(tmp_path):
    info = StreamInfo("amp", 100.0, (Channel("C3"), Channel("C4")))
    with XdfRecorder(tmp_path / "whole.xdf", check=False) as recorder:
        stream = recorder.add_stream(info)
        sizes = []
        for start in (0, 20):
            times = np.arange(start, start + 20) / 100
            event = Event(start + 15, (start + 15) / 100, str(start))
            recorder.write(stream, Chunk(np.ones((20, 2)), times, start, info, (event,)))
            sizes.append(recorder.path.stat().st_size)
    content = (tmp_path / "whole.xdf").read_bytes()
    for size in range(sizes[0], sizes[1] + 1, 29):
        cut = tmp_path / f"{size}.xdf"
        cut.write_bytes(content[:size])
        (part,) = recording.load(cut)
        assert [(e.sample, e.code) for e in part.events] in ([(15, "0")], [(15, "0"), (35, "20")])
        assert all(e.sample < len(part.data) for e in part.events)
