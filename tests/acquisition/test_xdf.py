import gzip
import struct

import numpy as np
import pytest

from bci.acquisition.formats.xdf_chunks import survey
from bci.acquisition.recorder.xdf_writer import XdfWriter
from bci.acquisition.recording import load
from bci.acquisition.replay import Replay
from bci.errors import FormatError
from bci.stream import Channel, StreamInfo
from benchmarks import damaged

WHAT = damaged.truth(2560, 2)


@pytest.fixture
def path(tmp_path):
    return damaged.xdf(tmp_path / "x", WHAT)


def chunks(content):
    """Return (first byte, tag, stream or None) of every chunk."""
    at, found = 4, []
    while at < len(content):
        n = content[at]
        length = int.from_bytes(content[at + 1 : at + 1 + n], "little")
        tag, stream = struct.unpack_from("<HI", content, at + 1 + n)
        found.append((at, tag, stream))
        at += 1 + n + length
    return found


def samples_of(content, stream=1):
    return [at for at, tag, number in chunks(content) if tag == 3 and number == stream]


def test_the_stream_is_chosen_by_name(path):
    (gaze,) = load(path, "eyes")
    assert gaze.info.sfreq == 60 and gaze.info.channels[0].unit == "px" and len(gaze.data) == 600


def test_two_streams_of_one_name_are_told_apart(tmp_path, caplog):
    with XdfWriter(tmp_path / "x.xdf") as writer:
        for value in (1.0, 2.0):
            stream = writer.add_numeric(StreamInfo("amp", 10, (Channel("C3"),)), np.dtype("f8"))
            writer.write(stream, np.full((20, 1), value), np.arange(20) / 10)
    assert load(tmp_path / "x.xdf")[0].data[0, 0] == 1.0
    assert "holds several streams, amp#1, amp#2; amp#1 is taken" in caplog.text
    assert load(tmp_path / "x.xdf", "amp#2")[0].data[0, 0] == 2.0
    with pytest.raises(FormatError, match="known are amp#1, amp#2"):
        load(tmp_path / "x.xdf", "amp")


def test_a_compressed_file_is_read(path, tmp_path):
    (tmp_path / "y.xdfz").write_bytes(gzip.compress(path.read_bytes()))
    np.testing.assert_array_equal(load(tmp_path / "y.xdfz")[0].data, load(path)[0].data)


def test_a_whole_file_has_no_damage(path):
    content = path.read_bytes()
    found = survey(content)
    assert found.spans == [(0, len(content))] and not found.damage and found.n_samples == 2560 + 600 + 2


@pytest.mark.parametrize("cut", [1, 5, 9, 11, 12, 13, 14, 20, 50, 300])
def test_a_file_cut_off_gives_its_whole_chunks(path, cut, caplog):
    content = path.read_bytes()
    at = samples_of(content)[30]
    path.write_bytes(content[: at + cut])
    (part,) = load(path)
    assert len(part.data) == 30 * 64 and f"its last {cut} bytes are left out" in caplog.text


def test_damage_in_the_middle_is_refused_with_its_place(path):
    content = bytearray(path.read_bytes())
    at = samples_of(content)[30]
    content[at + 10 : at + 14] = b"\xff" * 4  # how many samples there are
    path.write_bytes(content)
    with pytest.raises(FormatError, match="salvage=True") as caught:
        load(path)
    assert caught.value.where == f"byte {at}" and "samples" in caught.value.readable


@pytest.mark.parametrize(
    ("first", "n"),
    [
        (8, 2),  # within a chunk
        (0, 6),  # its length: the next is found by what it must hold
    ],
)
def test_salvage_loses_only_the_damaged_chunk_and_counts_it(path, first, n):
    content = bytearray(path.read_bytes())
    at = samples_of(content)[10] + first
    content[at : at + n] = b"\xee" * n
    path.write_bytes(content)
    got = []
    with Replay(path, salvage=True, chunk_s=1.0) as device:
        while not device.at_end:
            got.append(device.read(1.0))
    data = np.concatenate([c.data for c in got if c.n_samples])
    np.testing.assert_array_equal(data, np.concatenate([WHAT.uv[: 10 * 64], WHAT.uv[11 * 64 :]]))
    assert device.n_lost == 64


def test_impossible_times_are_refused_or_left_out(path):
    content = bytearray(path.read_bytes())
    at = samples_of(content)[10]
    begin = content.index(b"\x08", at + 12)
    struct.pack_into("<d", content, begin + 1, 1e300)
    path.write_bytes(content)
    with pytest.raises(FormatError, match="1e\\+300 s for sample 640"):
        load(path)
    parts = load(path, salvage=True)
    assert sum(len(p.data) for p in parts) == 2559 and [p.lost for p in parts] == [0, 1]
