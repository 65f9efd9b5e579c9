import mne
import numpy as np
import pytest
from edfio import Edf, EdfAnnotation, EdfSignal

from bci.acquisition.recording import load
from bci.acquisition.replay import Replay
from bci.errors import FormatError
from bci.stream import Flag, Kind
from benchmarks import damaged

WHAT = damaged.truth(2560, 3)
RECORD = 2 * 3 * 256 + 120
HEAD = 256 * 5


def written(path, *signals, notes=(), record_s=1.0):
    """Write with another library."""
    Edf(list(signals), annotations=[EdfAnnotation(*n) for n in notes] or None, data_record_duration=record_s).write(
        path
    )
    return path


def ramp(label, unit="uV", sfreq=100, n_s=4):
    return EdfSignal(np.linspace(-100, 100, sfreq * n_s), sfreq, label=label, physical_dimension=unit)


def test_units_come_as_microvolts_and_others_as_they_are(tmp_path):
    path = written(tmp_path / "x.edf", ramp("C3"), ramp("C4", "mV"), ramp("Cz", "V"), ramp("SaO2 x", "%"))
    (part,) = load(path)
    truth = np.linspace(-100, 100, 400)
    for column, scale in enumerate([1, 1e3, 1e6, 1]):
        np.testing.assert_allclose(part.data[:, column], scale * truth, atol=scale * 200 / 65535)
    assert [c.unit for c in part.info.channels] == ["uV", "uV", "uV", "%"]


def test_labels_say_the_kind(tmp_path):
    path = written(tmp_path / "x.edf", ramp("EEG C3"), ramp("EOG left"), ramp("EMG chin"), ramp("ECG"), ramp("Fz"))
    (part,) = load(path)
    assert [c.kind for c in part.info.channels] == [Kind.EEG, Kind.EOG, Kind.EMG, Kind.ECG, Kind.EEG]
    assert part.info.ch_names == ["C3", "left", "chin", "ECG", "Fz"]
    assert part.info.channels[0].position is not None and part.info.channels[1].position is None


def test_places_are_those_of_mne(tmp_path):
    path = written(tmp_path / "x.edf", ramp("C3"), ramp("Oz"))
    raw = mne.io.read_raw(path, verbose="error")
    raw.set_montage("standard_1005" if "standard_1005" in mne.channels.get_builtin_montages() else "colin27_1005")
    for channel, entry in zip(load(path)[0].info.channels, raw.info["chs"], strict=True):
        np.testing.assert_allclose(channel.position, entry["loc"][:3])


def test_a_slower_channel_holds_its_values(tmp_path):
    (part,) = load(written(tmp_path / "x.edf", ramp("C3"), ramp("Temp skin", "degC", 25)))
    np.testing.assert_array_equal(part.data[::4, 1], part.data[3::4, 1])
    np.testing.assert_allclose(part.data[::4, 1], np.linspace(-100, 100, 100), atol=200 / 65535)


def test_annotations_of_another_library_come_at_their_samples(tmp_path):
    notes = [(0.0, None, "begin"), (1.015, 2.0, "größer"), (2.0, None, "T1")]
    (part,) = load(written(tmp_path / "x.edf", ramp("C3"), notes=notes))
    assert [(e.sample, e.code) for e in part.events] == [(0, "begin"), (102, "größer"), (200, "T1")]


def test_pauses_are_gaps_of_the_right_length(tmp_path):
    device = Replay(damaged.edf_d(tmp_path / "x", WHAT), chunk_s=1.0)
    with device:
        chunks = []
        while not device.at_end:
            chunks.append(device.read(1.0))
    chunks = [c for c in chunks if c.n_samples]
    assert [g["lost"] for g in device.report()["gaps"]] == [3 * 256, 128]
    assert [c.start for c in chunks if Flag.GAP in c.flags] == [5 * 256, 8 * 256 + 128]
    np.testing.assert_array_equal(np.concatenate([c.data for c in chunks]), WHAT.uv)
    # 1234 is in record 4, which the first pause makes three seconds later.
    assert [(e.sample, e.code) for c in chunks for e in c.events] == [(300, "left"), (1234 + 768, "right")]


def test_a_file_cut_off_gives_its_whole_records_and_says_so(tmp_path, caplog):
    path = damaged.edf(tmp_path / "x", WHAT)
    path.write_bytes(path.read_bytes()[: HEAD + 4 * RECORD + 100])
    (part,) = load(path)
    assert len(part.data) == 4 * 256 and "incomplete: its header says 10 records, there are 4" in caplog.text


def test_a_file_that_was_never_finished_is_read_whole(tmp_path, caplog):
    path = damaged.edf(tmp_path / "x", WHAT)
    content = path.read_bytes()
    path.write_bytes(content[:236] + b"-1      " + content[244:])
    assert len(load(path)[0].data) == 2560 and not caplog.text


@pytest.mark.parametrize(
    ("at", "field", "where"),
    [
        (184, b"9999    ", "byte 184"),
        (236, b"many    ", "byte 236"),
        (244, b"0       ", "byte 244"),
        (252, b"-4  ", "byte 252"),
        (HEAD - 4 * 40, b"1e6     ", f"byte {HEAD - 4 * 40}"),
    ],
)
def test_a_damaged_header_is_refused_with_its_place(tmp_path, at, field, where):
    path = damaged.edf(tmp_path / "x", WHAT)
    content = bytearray(path.read_bytes())
    content[at : at + len(field)] = field
    path.write_bytes(content)
    with pytest.raises(FormatError) as caught:
        load(path)
    assert caught.value.where == where and where in str(caught.value)


@pytest.mark.parametrize(("pause_s", "lost"), [(1 / 256, 1), (0.0004, 0), (100.0, 25600)])
def test_a_pause_of_one_sample_is_seen_and_a_rounded_time_is_none(tmp_path, pause_s, lost):
    parts = load(damaged.edf(tmp_path / "x", WHAT, interrupted=((4, pause_s),)))
    assert sum(p.lost for p in parts) == lost and len(parts) == (2 if lost else 1)


def test_a_lost_time_of_a_record_is_refused_or_salvaged(tmp_path):
    path = damaged.edf_d(tmp_path / "x", WHAT)
    content = bytearray(path.read_bytes())
    at = HEAD + 3 * RECORD + RECORD - 120
    content[at : at + 3] = b"+??"
    path.write_bytes(content)
    with pytest.raises(FormatError, match="time of record 3"):
        load(path)
    parts = load(path, salvage=True)
    assert [(p.offset, len(p.data)) for p in parts] == [(0, 512), (1280, 768), (2176, 1280)]


def test_triggers_of_a_status_channel_are_events(tmp_path):
    codes = np.zeros(2560, int)
    codes[300:310], codes[700:720] = 5, 1 << 16 | 9
    what = damaged.Truth(np.column_stack([WHAT.digital[:, 0], codes]))
    path = damaged.bdf(tmp_path / "x", what)
    path.write_bytes(path.read_bytes().replace(b"c1".ljust(16), b"Status".ljust(16), 1))
    (part,) = load(path)
    assert part.info.channels[1].kind is Kind.TRIG
    assert (300, "5") in [(e.sample, e.code) for e in part.events]
    assert (700, "9") in [(e.sample, e.code) for e in part.events]
