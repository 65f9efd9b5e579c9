"""Every format against what was written, and against independent readers."""

import os
import struct
from pathlib import Path

import mne
import numpy as np
import pytest
import pyxdf

from bci.acquisition.recording import load
from bci.acquisition.replay import Replay
from bci.errors import ConfigError, DeviceNotFound, FormatError
from bci.interop import from_raw
from bci.stream import Kind
from benchmarks import damaged

DATA = Path(os.environ.get("BCI_DATA", Path(__file__).parents[2].parent / "shared" / "data"))
WHAT = damaged.truth(2560, 5)
CODES = {"gdf": ("769", "770"), "brainvision": ("Stimulus/left", "Stimulus/right"), "cnt": ("1", "2"),
         "openbci": ("1", "2")}  # fmt: skip
EXAMPLES = sorted([*DATA.glob("xdf-examples/*.xdf"), *DATA.glob("bci-essentials-xdf/*.xdf")])
EDFS = sorted([*DATA.glob("formats/*.?df"), *DATA.glob("eegmmidb/S001/S001R04.edf")])
EDFS = [p for p in EDFS if p.suffix in (".edf", ".bdf")]


def made(folder, name):
    return damaged.MAKERS[name](folder / "x", WHAT), damaged.SETTINGS.get(name, {})


@pytest.mark.parametrize("name", [n for n in damaged.MAKERS if n != "openbci"])
def test_every_format_gives_its_samples_in_microvolts(tmp_path, name):
    path, settings = made(tmp_path, name)
    parts = load(path, **settings)
    # FIF and XDF hold single precision: a ten-millionth of 2 mV.
    np.testing.assert_allclose(np.concatenate([p.data for p in parts]), WHAT.uv, rtol=0, atol=2e-4)
    info = parts[0].info
    assert info.sfreq == damaged.SFREQ and {c.unit for c in info.channels} == {"uV"}
    assert {c.kind for c in info.channels} == {Kind.EEG} and info.name.startswith((info.source_id, "amp"))


@pytest.mark.parametrize("name", [n for n in damaged.MAKERS if n not in ("npy", "edf+d")])
def test_every_format_gives_its_events_at_their_samples(tmp_path, name):
    path, settings = made(tmp_path, name)
    found = [(e.sample, e.code) for p in load(path, **settings) for e in p.events if not e.code.startswith("New Seg")]
    # MNE places the events of CNT one sample before the byte that the file names; nothing written says who is right.
    early = 1 if name == "cnt" else 0
    codes = CODES.get(name, [code for _, code in damaged.MARKS])
    assert found == [(row - early, code) for (row, _), code in zip(damaged.MARKS, codes, strict=True)]


def test_openbci_text_gives_its_channels(tmp_path):
    (part,) = load(made(tmp_path, "openbci")[0])
    np.testing.assert_array_equal(part.data[:, :5], WHAT.uv)
    assert [c.kind for c in part.info.channels] == [Kind.EEG] * 8 + [Kind.ACCEL] * 3
    assert [c.unit for c in part.info.channels[7:9]] == ["uV", "g"]


@pytest.mark.parametrize("name", list(damaged.MAKERS))
def test_every_format_is_replayed(tmp_path, name):
    path, settings = made(tmp_path, name)
    with Replay(path, **settings, chunk_s=1.0) as device:
        while not device.at_end:
            device.read(1.0)
        assert device.n_delivered == len(WHAT.uv)


@pytest.mark.parametrize("path", EDFS, ids=lambda p: p.name)
def test_edf_reader_agrees_with_mne(path):
    (part,) = load(path)
    data, info, events = from_raw(mne.io.read_raw(path, preload=True, verbose="error"))
    held = np.array([np.mean(np.diff(column) == 0) > 0.5 for column in part.data.T])
    told = np.array([c.kind is Kind.TRIG for c in part.info.channels])  # MNE takes off the bits of the amplifier
    same = ~(held | told)  # MNE smooths channels of a lower rate, which are held here
    np.testing.assert_allclose(part.data[:, same], data[:, same], rtol=1e-9, atol=1e-6)
    assert part.info.sfreq == info.sfreq
    assert [(e.sample, e.code) for e in part.events] == [(e.sample, e.code) for e in events]


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda p: p.name)
def test_xdf_reader_agrees_with_pyxdf(path):
    streams, _ = pyxdf.load_xdf(path, dejitter_timestamps=False)
    for stream in streams:
        info = stream["info"]
        if (
            info["channel_format"][0] == "string"
            or float(info["nominal_srate"][0]) == 0
            or not len(stream["time_stamps"])
        ):
            continue
        parts = load(path, info["name"][0])
        np.testing.assert_array_equal(np.concatenate([p.data for p in parts]), stream["time_series"])


def with_skip(path, before, n_buffers):
    """Insert a tag "so many buffers were not recorded" before the buffer number `before` of a FIF file."""
    content, at, seen = path.read_bytes(), 0, 0
    content = content[:52] + struct.pack(">i", -1) + content[56:]  # the directory of tags is none any more
    while True:
        kind, _, size, _ = struct.unpack_from(">4i", content, at)
        seen += kind == 300
        if kind == 300 and seen == before + 1:
            skip = struct.pack(">5i", 301, 3, 4, 0, n_buffers)
            path.write_bytes(content[:at] + skip + content[at:])
            return
        at += 16 + size


def test_skips_of_a_fif_file_are_gaps(tmp_path):
    info = mne.create_info(["C3"], 100.0, "eeg", verbose="error")
    raw = mne.io.RawArray(np.arange(800.0)[None] * 1e-6, info, verbose="error")
    raw.set_annotations(mne.Annotations([1.0, 4.5, 8.0], [0, 0, 0], ["a", "within", "b"]))
    raw.save(tmp_path / "x_raw.fif", buffer_size_sec=1.0, verbose="error")
    with_skip(tmp_path / "x_raw.fif", 4, 2)
    parts = load(tmp_path / "x_raw.fif")
    assert [(p.offset, p.lost, len(p.data)) for p in parts] == [(0, 0, 400), (600, 200, 400)]
    np.testing.assert_allclose(np.concatenate([p.data[:, 0] for p in parts]), np.arange(800), rtol=1e-6)
    assert [(p.offset + e.sample, e.code) for p in parts for e in p.events] == [(100, "a"), (600, "within"), (800, "b")]


def test_boundary_of_an_eeglab_file_is_a_gap(tmp_path, monkeypatch):
    monkeypatch.setattr(damaged, "MARKS", ((300, "left"), (500, "boundary"), (1234, "right")))
    parts = load(damaged.eeglab(tmp_path / "x", WHAT))
    assert [(p.offset, p.lost, len(p.data)) for p in parts] == [(0, 0, 500), (501, 1, 2060)]
    assert parts[1].cause == "cut out of the recording"


def test_a_gdf_file_of_two_rates_is_read(tmp_path):
    path = damaged.gdf(tmp_path / "x", WHAT)
    content = bytearray(path.read_bytes())
    struct.pack_into("<i", content, 256 + 216 * 5 + 4 * 2, 128)  # the third channel has half the samples in a record
    begin = 256 * 6 + 512 * 5 * np.arange(10)[:, None] + np.arange(512 * 2 + 256, 512 * 3)
    path.write_bytes(np.delete(np.frombuffer(content, np.uint8), begin.ravel()).tobytes())
    (part,) = load(path)
    np.testing.assert_allclose(part.data[:, [0, 1, 3, 4]], WHAT.uv[:, [0, 1, 3, 4]], rtol=1e-12)


def test_a_new_segment_of_a_brainvision_file_is_a_gap(tmp_path):
    path = damaged.brainvision(tmp_path / "x", WHAT)
    with path.with_suffix(".vmrk").open("a", encoding="utf-8") as marks:
        marks.write("Mk4=New Segment,,501,1,0,20010101020405000000\n")
    parts = load(path)
    assert [(p.offset, p.lost, len(p.data)) for p in parts] == [(0, 0, 500), (501, 1, 2060)]
    assert parts[1].events[0].code == "New Segment/" and parts[1].cause == "the recording was paused"


@pytest.mark.parametrize("setting", [{"stream": "amp"}, {"sfreq": 100.0}, {"unit": "mV"}, {"ch_names": ["a"]}])
def test_a_setting_that_the_format_does_not_take_is_refused(tmp_path, setting):
    with pytest.raises(ConfigError, match="which says it itself"):
        load(made(tmp_path, "edf")[0], **setting)


def test_a_relative_path_is_found_wherever_the_program_stands(tmp_path, monkeypatch):
    for folder in ("one", "two"):
        (tmp_path / folder).mkdir()
        damaged.edf(tmp_path / folder / folder, WHAT)
        monkeypatch.chdir(tmp_path / folder)
        assert len(load(Path(f"{folder}.edf"))[0].data) == len(WHAT.uv)


def test_a_format_error_says_file_and_place(tmp_path):
    path, _ = made(tmp_path, "fif")
    path.write_bytes(path.read_bytes()[:-5000])
    with pytest.raises(FormatError, match="within the") as caught:
        load(path)
    assert caught.value.path == str(path) and caught.value.where.startswith("byte ") and caught.value.readable


def test_progress_of_a_file_is_told(tmp_path):
    told = []
    load(made(tmp_path, "edf")[0], progress=told.append)
    assert told == sorted(told) and 0.9 < told[-1] <= 1


def test_a_matlab_file_is_refused_with_what_to_do(tmp_path):
    (tmp_path / "x.mat").write_bytes(b"MATLAB 5.0 MAT-file" + bytes(200))
    with pytest.raises(FormatError, match="got a MATLAB file.*save them as .npz"):
        load(tmp_path / "x.mat")


def test_a_missing_file_is_not_a_damaged_one(tmp_path):
    with pytest.raises(DeviceNotFound):
        load(tmp_path / "none.csv")
