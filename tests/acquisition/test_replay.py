import os
from pathlib import Path

import mne
import numpy as np
import pytest

from bci.acquisition.recorder.xdf_recorder import XdfRecorder
from bci.acquisition.recorder.xdf_writer import XdfWriter
from bci.acquisition.replay import Replay
from bci.clock import ManualClock, MonotonicClock
from bci.errors import ConfigError, DataError, DeviceNotFound, FormatError
from bci.ports import HasEnd, HasOwnTime
from bci.stream import Channel, Chunk, Event, Flag, Kind, StreamInfo
from benchmarks import damaged

SFREQ, N = 100.0, 250
DATA = Path(os.environ.get("BCI_DATA", Path(__file__).parents[2].parent / "shared" / "data"))
EDF = DATA / "eegmmidb" / "S001" / "S001R04.edf"
RESETS = DATA / "xdf-examples" / "clock_resets.xdf"
INFO = StreamInfo("amp", SFREQ, (Channel("C3"), Channel("C4")), "serial-1")


def fif(folder, name="one", names=("C3", "C4"), sfreq=SFREQ):
    data = 1e-6 * np.vstack([np.arange(N), np.full(N, 7.0)])[: len(names)]
    raw = mne.io.RawArray(data, mne.create_info(list(names), sfreq, "eeg"), verbose="error")
    raw.set_annotations(mne.Annotations([0.5, 1.23], [0.0, 0.0], ["T1", "T2"]))
    path = folder / f"{name}_raw.fif"
    raw.save(path, verbose="error")
    return path


def rows(start, stop):
    return np.column_stack([np.arange(start, stop), np.full(stop - start, 7.0)]).astype(np.float64)


@pytest.fixture
def one(tmp_path):
    return fif(tmp_path)


def play(device):
    chunks = []
    with device:
        while not device.at_end:
            chunks.append(device.read(1.0))
    return [c for c in chunks if c.n_samples]


def joined(chunks):
    return np.concatenate([c.data for c in chunks])


def events(chunks):
    return [(e.sample, e.code) for c in chunks for e in c.events]


def test_replay_has_an_end_and_its_own_time(one):
    assert isinstance(Replay(one), HasEnd) and isinstance(Replay(one), HasOwnTime)
    assert isinstance(Replay(one).clock, ManualClock) and isinstance(Replay(one, speed=1).clock, MonotonicClock)


def test_all_samples_come_once_in_microvolt_with_their_events(one):
    chunks = play(Replay(one))
    assert [c.start for c in chunks[1:]] == [c.stop for c in chunks[:-1]]
    np.testing.assert_allclose(joined(chunks), rows(0, N), rtol=1e-5)
    assert events(chunks) == [(50, "T1"), (123, "T2")]


@pytest.mark.parametrize("n", [1, 7, 1000])
def test_samples_times_and_events_do_not_depend_on_the_chunk(one, n):
    usual, other = play(Replay(one, clock=ManualClock())), play(Replay(one, chunk_samples=n, clock=ManualClock()))
    np.testing.assert_array_equal(joined(usual), joined(other))
    np.testing.assert_allclose(
        np.concatenate([c.times for c in usual]), np.concatenate([c.times for c in other]), rtol=0, atol=1e-12
    )
    assert events(usual) == events(other)


def test_samples_do_not_depend_on_the_speed(one):
    np.testing.assert_array_equal(joined(play(Replay(one))), joined(play(Replay(one, speed=50.0))))


def test_clock_stands_at_the_newest_sample(one):
    with Replay(one) as device:
        for _ in range(5):
            assert device.read(1.0).times[-1] == device.clock.now()


def test_real_time_waits_no_longer_than_asked(one):
    with Replay(one, speed=1, chunk_s=1.0) as device:
        assert device.read(0.01).n_samples == 0 and not device.at_end


def test_replay_is_never_silent(one):
    with Replay(one, speed=0.01, chunk_s=1.0) as device:
        assert device.read(0.3).flags == Flag.OK


def test_after_the_end_nothing_comes(one):
    device = Replay(one)
    play(device)
    with device:
        assert not device.at_end
        while not device.at_end:
            device.read(0.1)
        assert device.read(0.1).n_samples == 0


def test_events_are_chosen_and_named(one):
    assert events(play(Replay(one, events={"T1": "left"}))) == [(50, "left")]


def test_rename_keeps_the_other_events(one):
    assert events(play(Replay(one, rename={"T1": "left"}))) == [(50, "left"), (123, "T2")]


def test_opened_replay_tells_its_length_and_events(one):
    device = Replay(one, events={"T2": "right"})
    device.open()
    assert device.duration_s == N / SFREQ and device.has_event("right") and not device.has_event("T1")


def test_two_recordings_are_parted_by_a_gap_of_one_sample(tmp_path):
    chunks = play(Replay([fif(tmp_path, "a"), fif(tmp_path, "b")]))
    second = next(c for c in chunks if c.start > N - 1)
    assert second.start == N + 1 and Flag.GAP in second.flags
    assert events(chunks)[2:] == [(N + 1 + 50, "T1"), (N + 1 + 123, "T2")]


def test_three_recordings_lose_one_sample_each(tmp_path):
    device = Replay([fif(tmp_path, name) for name in "abc"])
    chunks = play(device)
    assert device.report()["lost"] == 2 and chunks[-1].stop == 3 * N + 2
    assert (np.diff(np.concatenate([c.times for c in chunks])) > 0).all()


def test_a_loop_goes_on_with_a_gap_of_stated_cause_between_rounds(one):
    device = Replay(one, loop=True, chunk_samples=100)
    with device:
        chunks = [device.read(1.0) for _ in range(9)]  # three rounds of three
    assert [c.start for c in chunks[::3]] == [0, N + 1, 2 * (N + 1)] and not device.at_end
    assert [Flag.GAP in c.flags for c in chunks] == [False] * 3 + [True, False, False] * 2
    assert {g["cause"] for g in device.report()["gaps"]} == {"the recording begins again"} and device.n_lost == 2
    assert (np.diff(np.concatenate([c.times for c in chunks])) > 0).all()
    assert events(chunks)[2:4] == [(N + 1 + 50, "T1"), (N + 1 + 123, "T2")]


def test_a_loop_keeps_the_gaps_within_a_round(tmp_path):
    path = own(tmp_path / "own.xdf", (7, 50, Flag.GAP), (60, 90, Flag.GAP))
    with Replay(path, loop=True, chunk_samples=1000) as device:
        chunks = [device.read(1.0) for _ in range(4)]
    assert [(c.start, c.stop) for c in chunks] == [(7, 50), (60, 90), (91, 134), (144, 174)]
    assert [g["lost"] for g in device.report()["gaps"]] == [7, 10, 1, 10]


def test_progress_covers_all_files(tmp_path):
    told = []
    Replay([fif(tmp_path, name) for name in "ab"], progress=told.append).open()
    assert told == sorted(told) and told[-1] <= 1


@pytest.mark.parametrize("other", [{"names": ("C3",)}, {"sfreq": 200.0}])
def test_recordings_of_other_channels_or_rate_are_refused(tmp_path, other):
    with pytest.raises(DataError, match="same channels and rate"):
        Replay([fif(tmp_path, "a"), fif(tmp_path, "b", **other)]).open()


@pytest.mark.parametrize("ending", ["fif", "xdf", "edf"])
def test_missing_and_damaged_files_are_told_apart(tmp_path, ending):
    with pytest.raises(DeviceNotFound, match="no such file"):
        Replay(tmp_path / f"none.{ending}").open()
    (tmp_path / f"bad_raw.{ending}").write_bytes(b"this is no recording" * 20)
    with pytest.raises(FormatError):
        Replay(tmp_path / f"bad_raw.{ending}").open()


@pytest.mark.parametrize("setting", [{"speed": 0}, {"speed": -1.0}, {"chunk_s": 0.0}, {"chunk_samples": 0}])
def test_settings_out_of_range_are_refused(setting):
    with pytest.raises(ConfigError, match="speed above 0"):
        Replay("x.edf", **setting)


def test_no_file_is_refused():
    with pytest.raises(ConfigError, match="needs a file"):
        Replay([])


def test_own_time_needs_a_clock_that_can_be_moved():
    with pytest.raises(ConfigError, match="ManualClock"):
        Replay("x.edf", clock=MonotonicClock())


def test_own_recording_gives_numbers_gaps_and_events_back(tmp_path):
    path = tmp_path / "own.xdf"
    with XdfRecorder(path) as recorder:
        stream = recorder.add_stream(INFO)
        for start, stop, flags, found in [
            (0, 100, Flag.OK, (Event(20, 5.2, "left", "paradigm"),)),
            (130, 200, Flag.GAP, (Event(90, 5.9, "late", "paradigm"), Event(150, 6.5, "right", "paradigm"))),
        ]:
            times = 5.0 + np.arange(start, stop) / SFREQ
            recorder.write(stream, Chunk(rows(start, stop), times, start, INFO, found, flags))
    device = Replay(path)
    chunks = play(device)
    np.testing.assert_array_equal(joined(chunks), np.concatenate([rows(0, 100), rows(130, 200)]))
    assert device.report()["gaps"][0]["sample"] == 130 and device.n_lost == 30
    assert sorted(events(chunks)) == [(20, "left"), (90, "late"), (150, "right")]


def own(path, *pieces, info=INFO):
    """Record (start, stop, flags) as the session does."""
    with XdfRecorder(path) as recorder:
        stream = recorder.add_stream(info)
        for start, stop, flags in pieces:
            times = 5.0 + np.arange(start, stop) / SFREQ
            recorder.write(stream, Chunk(rows(start, stop), times, start, info, (), flags))
    return path


def test_own_recording_that_lost_its_first_samples_keeps_the_numbers(tmp_path):
    device = Replay(own(tmp_path / "own.xdf", (13, 100, Flag.GAP)))
    chunks = play(device)
    assert (chunks[0].start, chunks[0].flags, device.n_lost) == (13, Flag.GAP, 13)


def test_own_recording_keeps_what_was_known_of_its_samples(tmp_path):
    path = own(tmp_path / "own.xdf", (0, 50, Flag.OK), (50, 60, Flag.STALE), (60, 90, Flag.OK), (90, 99, Flag.GAP))
    device = Replay(path, chunk_samples=1000)
    assert [(c.start, c.n_samples, c.flags) for c in play(device)] == [
        (0, 50, Flag.OK),
        (50, 10, Flag.STALE),
        (60, 30, Flag.OK),
        (90, 9, Flag.GAP),
    ]
    assert device.n_lost == 0


def test_own_recording_keeps_kinds_units_and_places(tmp_path):
    channels = (Channel("C3", position=(-0.0543, 0.1 / 3, 0.0871)), Channel("wrist", Kind.ACCEL, "g"))
    device = Replay(own(tmp_path / "own.xdf", (0, 9, Flag.OK), info=StreamInfo("amp", SFREQ, channels, "serial-1")))
    assert device.open().channels == channels
    device.close()


def test_two_own_recordings_are_parted_by_one_sample_wherever_they_begin(tmp_path):
    one, two = own(tmp_path / "a.xdf", (7, 100, Flag.GAP)), own(tmp_path / "b.xdf", (30, 60, Flag.GAP))
    chunks = play(Replay([one, two], chunk_samples=1000))
    assert [(c.start, c.stop) for c in chunks] == [(7, 100), (101, 131)]


def test_in_real_time_a_gap_lasts_as_long_as_it_did(tmp_path):
    path = own(tmp_path / "own.xdf", (0, 5, Flag.OK), (25, 30, Flag.GAP))
    device = Replay(path, speed=1, chunk_samples=5)
    for chunk in play(device):
        assert chunk.times[-1] <= device.clock.now()


def foreign(path, stamps, info=INFO, marks=(), markers=("cues", "Markers")):
    with XdfWriter(path) as writer:
        stream = writer.add_numeric(info, np.dtype(np.float64))
        texts = writer.add_text(*markers)
        writer.write(stream, rows(0, len(stamps)), np.asarray(stamps))
        writer.write_text(texts, list(marks))
    return path


def test_markers_of_a_foreign_recording_go_to_the_first_sample_at_or_after_them(tmp_path):
    stamps = 50.0 + np.arange(300) / SFREQ
    path = foreign(tmp_path / "f.xdf", stamps, marks=[(50.5, "on"), (51.001, "between")])
    assert events(play(Replay(path))) == [(50, "on"), (101, "between")]


def test_loss_in_a_foreign_recording_is_told_from_its_stamps(tmp_path):
    numbers = np.concatenate([np.arange(150), np.arange(190, 400)])
    device = Replay(foreign(tmp_path / "f.xdf", 50.0 + numbers / SFREQ))
    assert play(device)[-1].stop == 400 and device.n_lost == 40


def test_losses_close_together_in_a_foreign_recording_are_counted_once(tmp_path):
    numbers = np.concatenate([np.arange(150), np.arange(190, 200), np.arange(230, 600)])
    device = Replay(foreign(tmp_path / "f.xdf", 50.0 + numbers / SFREQ))
    assert play(device)[-1].stop == 600 and [g["lost"] for g in device.report()["gaps"]] == [40, 30]


def test_a_sender_slower_than_its_nominal_rate_loses_nothing(tmp_path):
    rng = np.random.default_rng(0)
    stamps = 50.0 + 1.09 * np.arange(1000) / SFREQ + rng.uniform(0, 0.002, 1000)
    stamps[500:] += 2.0
    device = Replay(foreign(tmp_path / "f.xdf", np.sort(stamps)))
    play(device)
    assert [g["sample"] - g["lost"] for g in device.report()["gaps"]] == [500]
    assert device.n_lost == pytest.approx(200, abs=1)


def test_a_stall_of_a_sender_in_bursts_is_no_loss(tmp_path):
    arrival = np.arange(1000) // 10 * 10 / SFREQ  # ten samples at a time
    arrival[500:540] = arrival[539]
    device = Replay(foreign(tmp_path / "f.xdf", 50.0 + arrival + np.arange(1000) * 1e-6))
    play(device)
    assert device.n_lost == 0


def test_stamps_that_step_back_are_another_clock(tmp_path):
    stamps = np.concatenate([900.0 + np.arange(200) / SFREQ, 3.0 + np.arange(200) / SFREQ])
    device = Replay(foreign(tmp_path / "f.xdf", stamps))
    play(device)
    assert [(g["sample"], g["lost"]) for g in device.report()["gaps"]] == [(201, 1)]


@pytest.mark.parametrize("markers", [("Unity", "LSL_Marker_Strings"), ("Keyboard", ""), ("game", "state")])
def test_text_at_irregular_times_is_markers_whatever_it_is_called(tmp_path, markers):
    path = foreign(tmp_path / "f.xdf", 50.0 + np.arange(300) / SFREQ, marks=[(50.5, "on")], markers=markers)
    chunks = play(Replay(path))
    assert [(e.sample, e.code, e.source) for c in chunks for e in c.events] == [(50, "on", markers[0])]


@pytest.mark.parametrize(("name", "kind"), [("StimCodes", ""), ("box", "Triggers"), ("mouse", "Position")])
def test_numbers_at_irregular_times_are_markers_or_named(tmp_path, name, kind, caplog):
    with XdfWriter(tmp_path / "f.xdf") as writer:
        amp = writer.add_numeric(INFO, np.dtype(np.float64))
        other = writer.add_numeric(StreamInfo(name, 1, (Channel("x", Kind.MISC, ""),)), np.dtype(np.int32), kind or "?")
        writer.write(amp, rows(0, 300), 50.0 + np.arange(300) / SFREQ)
        writer.write(other, np.array([[7]], np.int32), np.array([51.0]))
    content = (tmp_path / "f.xdf").read_bytes()
    (tmp_path / "f.xdf").write_bytes(content.replace(b"<nominal_srate>1.0<", b"<nominal_srate>0.0<"))
    found = [(e.code, e.source) for c in play(Replay(tmp_path / "f.xdf")) for e in c.events]
    assert found == ([] if name == "mouse" else [("7", name)])
    assert ("mouse (type Position) holds 1 numbers at irregular times" in caplog.text) is (name == "mouse")


def test_what_the_recorder_notes_is_no_marker(tmp_path):
    path = tmp_path / "own.xdf"
    with XdfRecorder(path) as recorder:
        stream = recorder.add_stream(INFO)
        times = np.arange(100) / SFREQ
        recorder.write(stream, Chunk(rows(0, 100), times, 0, INFO, (Event(20, 0.2, "go", "task"),)))
        recorder.write_text(recorder.add_text("Session"), 0.3, "{}")
    # As if the stream came from elsewhere: its quality lines are gone.
    path.write_bytes(path.read_bytes().replace(b"amp-quality", b"bmp-quality"))
    assert events(play(Replay(path))) == [(20, "go")]


@pytest.mark.parametrize("ending", ["fif", "edf"])
def test_events_keep_the_source_they_have_in_the_file(tmp_path, ending):
    path = fif(tmp_path) if ending == "fif" else damaged.edf(tmp_path / "x", damaged.truth(2560, 2))
    assert {e.source for c in play(Replay(path)) for e in c.events} == {"annotations"}


def test_events_keep_their_source_through_recording_and_replay(tmp_path, one):
    path = foreign(tmp_path / "f.xdf", 50.0 + np.arange(300) / SFREQ, marks=[(50.5, "on")])
    for number in range(2):
        device = Replay(path)
        path = tmp_path / f"{number}.xdf"
        with XdfRecorder(path) as recorder, device:
            stream = recorder.add_stream(device.info)
            while not device.at_end:
                recorder.write(stream, device.read(1.0))
    assert [(e.sample, e.source) for c in play(Replay(path)) for e in c.events] == [(50, "cues")]


@pytest.mark.skipif(not RESETS.exists(), reason=f"needs the recording {RESETS.name} (BCI_DATA)")
def test_a_reset_of_a_senders_clock_is_one_long_gap():
    device = Replay(RESETS)
    play(device)
    # 273 s lie between the two segments of this file; its sender runs 9 % slower than the 100 Hz it names.
    assert max(g["lost"] for g in device.report()["gaps"]) == pytest.approx(27355, abs=2)
    assert device.n_lost == pytest.approx(27355, abs=30)


def test_jitter_and_late_bursts_of_a_foreign_recording_are_no_loss(tmp_path):
    rng = np.random.default_rng(0)
    stamps = 50.0 + np.arange(400) / SFREQ + rng.uniform(0, 0.004, 400)
    stamps[200:205] += 0.05
    device = Replay(foreign(tmp_path / "f.xdf", np.sort(stamps)))
    play(device)
    assert device.n_lost == 0


def test_volts_of_an_xdf_come_as_microvolts(tmp_path):
    info = StreamInfo("amp", SFREQ, (Channel("C3", unit="V"), Channel("C4", unit="mV")))
    device = Replay(foreign(tmp_path / "f.xdf", np.arange(300) / SFREQ, info))
    np.testing.assert_allclose(joined(play(device)), rows(0, 300) * [1e6, 1e3])
    assert [c.unit for c in device.info.channels] == ["uV", "uV"]


def test_unknown_stream_of_an_xdf_names_those_there_are(tmp_path):
    path = foreign(tmp_path / "f.xdf", np.arange(300) / SFREQ)
    with pytest.raises(FormatError, match="known are amp"):
        Replay(path, stream="amq").open()


def test_xdf_without_samples_is_refused(tmp_path):
    with XdfWriter(tmp_path / "t.xdf") as writer:
        writer.write_text(writer.add_text("cues", "Markers"), [(1.0, "a")])
    with pytest.raises(FormatError, match="stream of samples"):
        Replay(tmp_path / "t.xdf").open()


@pytest.mark.skipif(not EDF.exists(), reason=f"needs the recording {EDF.name} (BCI_DATA)")
def test_real_recording_has_standard_names_places_and_its_cues():
    device = Replay(EDF, events={"T1": "left", "T2": "right"}, chunk_s=1.0)
    chunks = play(device)
    assert device.info.n_channels == 64 and device.info.sfreq == 160
    assert "C3" in device.info.ch_names and device.info.channels[device.info.index("C3")].position is not None
    assert len(events(chunks)) == 15 and {c for _, c in events(chunks)} == {"left", "right"}
