"""Damage without a check file: every whole block is kept, what is gone is counted, repair and load agree."""

import mne
import numpy as np
import pytest
import pyxdf
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from bci.acquisition.formats.xdf_chunks import survey
from bci.acquisition.recorder.quality import sample_numbers
from bci.acquisition.recorder.repair import repair
from bci.acquisition.recorder.verify import examine
from bci.acquisition.recorder.xdf_blocks import BOUNDARY, FILE_HEADER, SAMPLES, STREAM_HEADER, walk
from bci.acquisition.recorder.xdf_recorder import XdfRecorder
from bci.acquisition.recording import load
from bci.stream import Channel, Chunk, Event, Flag, Kind, StreamInfo

EEG = StreamInfo("eeg", 250.0, tuple(Channel(n) for n in ("Fz", "Cz", "Pz")))
IMU = StreamInfo("imu", 50.0, (Channel("x", Kind.ACCEL, "m/s^2"),))
N_CHUNKS, LOST, BEGIN = 60, 7, 1000


class Recording(bytes):
    """The bytes of a recording, which nobody wants to see printed."""

    def __repr__(self):
        return "Recording()"


def true_number(k):
    """Return the number of the first EEG sample of chunk `k`: the device loses 7 before chunk 30."""
    return BEGIN + 10 * k + (LOST if k >= 30 else 0)


def chunk(info, start, n, **more):
    number = start + np.arange(n)
    data = np.repeat(number[:, None], info.n_channels, axis=1).astype(np.float32)
    return Chunk(data, 50 + number / info.sfreq, start, info, **more)


@pytest.fixture(scope="module")
def original(tmp_path_factory):
    path = tmp_path_factory.mktemp("original") / "run.xdf"
    with XdfRecorder(path, check=False) as recorder:
        eeg, imu = recorder.add_stream(EEG), recorder.add_stream(IMU)
        for k in range(N_CHUNKS):
            start = true_number(k)
            events = (Event(start, 50 + start / 250, f"m{k}"),) if k % 10 == 0 else ()
            recorder.write(eeg, chunk(EEG, start, 10, events=events, flags=Flag.GAP if k == 30 else Flag.OK))
            recorder.write(imu, chunk(IMU, 2 * k, 2))
    return Recording(path.read_bytes())


def eeg_blocks(data):
    """Return the blocks of EEG samples."""
    header = next(b for b in walk(data) if b.tag == STREAM_HEADER and b"<name>eeg</name>" in data[b.offset : b.stop])
    return [b for b in walk(data) if b.tag == SAMPLES and b.stream == header.stream]


def streams(path):
    found, _ = pyxdf.load_xdf(str(path), synchronize_clocks=False, dejitter_timestamps=False)
    return {s["info"]["name"][0]: s for s in found}


def mended(data, folder):
    """Repair; return (what was done, EEG values of the copy, their true numbers by the copy)."""
    path = folder / "run.xdf"
    path.write_bytes(data)
    (folder / "fixed.xdf").unlink(missing_ok=True)
    (folder / "fixed.xdf.check").unlink(missing_ok=True)
    done = repair(path, folder / "fixed.xdf")
    found = streams(done.path)
    values = np.asarray(found["eeg"]["time_series"])[:, 0]
    lines = [row[0] for row in found["eeg-quality"]["time_series"]]
    return done, values, sample_numbers(lines, len(values))


def salvaged(path):
    """Return (EEG values, the number of each, counted from the first) as `load` has them."""
    values, numbers, at = [], [], 0
    for part in load(path, "eeg", salvage=True):
        at += part.lost
        values.append(part.data[:, 0])
        numbers.append(at + np.arange(len(part.data)))
        at += len(part.data)
    return np.concatenate(values), np.concatenate(numbers)


def flipped_length(data, k=20):
    at = eeg_blocks(data)[k].offset + 1
    return data[:at] + bytes([data[at] ^ 0x10]) + data[at + 1 :]


def zeroed(data, k=20, n=5):
    first, last = eeg_blocks(data)[k].offset + 6, eeg_blocks(data)[k + n - 1].stop - 6
    return data[:first] + bytes(last - first) + data[last:]


def doubled(data, k=20, n=5):
    first, last = eeg_blocks(data)[k].offset + 30, eeg_blocks(data)[k + n].offset + 50
    return data[:last] + data[first:]


DAMAGES = {
    "length": (flipped_length, [20]),
    "zeros": (zeroed, range(20, 25)),
    "zeros over the loss of the device": (lambda data: zeroed(data, 28, 5), range(28, 33)),
    "doubled": (doubled, []),
}


@pytest.mark.parametrize("name", DAMAGES)
def test_every_whole_block_around_the_damage_is_kept_with_its_number(original, tmp_path, name):
    change, gone = DAMAGES[name]
    done, values, numbers = mended(change(original), tmp_path)
    true = np.concatenate([true_number(k) + np.arange(10) for k in range(N_CHUNKS) if k not in gone])
    np.testing.assert_array_equal(values, true)
    np.testing.assert_array_equal(numbers, true)
    assert done.findings.damages[0].length > 0 and "in the middle" in done.findings.damages[0].what
    assert done.findings.cut == 0 and done.findings.finished
    device = LOST if 30 in gone else 0
    assert done.lost_samples.get("eeg", 0) == 10 * len(gone) + device


@pytest.mark.parametrize("name", DAMAGES)
def test_load_salvages_what_a_repair_keeps_and_the_copy_loads(original, tmp_path, name):
    done, values, numbers = mended(DAMAGES[name][0](original), tmp_path)
    for path in (tmp_path / "run.xdf", done.path):
        got, counted = salvaged(path)
        np.testing.assert_array_equal(got, values)
        np.testing.assert_array_equal(counted - counted[0], numbers - numbers[0])
    assert examine(done.path).is_sound


def test_repaired_copy_opens_in_mne(original, tmp_path):
    done, values, _ = mended(zeroed(original), tmp_path)
    eeg = streams(done.path)["eeg"]
    raw = mne.io.RawArray(eeg["time_series"].T.astype(float), mne.create_info(3, 250.0, "eeg"), verbose="error")
    np.testing.assert_array_equal(raw.get_data()[0], values)
    assert eeg["footer"]["info"]["sample_count"] == [str(len(values))]


def test_file_cut_at_its_end_is_no_damage_in_the_middle(original, tmp_path):
    block = eeg_blocks(original)[40]
    done, values, _ = mended(original[: block.offset + 70], tmp_path)
    assert done.findings.damages == [] and done.findings.cut == 70 and not done.findings.finished
    assert done.path.read_bytes() == original[: block.offset]
    assert len(values) == 400


def test_lost_samples_without_a_later_quality_line_are_told_by_time(original, tmp_path):
    _, values, numbers = mended(zeroed(original, 40, 5), tmp_path)
    np.testing.assert_array_equal(numbers, values)


def test_two_damages_are_two_gaps(original, tmp_path):
    done, values, numbers = mended(zeroed(flipped_length(original, 50), 10, 3), tmp_path)
    np.testing.assert_array_equal(numbers, values)
    assert [(d.row, d.samples) for d in done.lost if d.stream == "eeg"] == [(1100, 30), (1507, 10)]


def test_lost_markers_are_counted_by_the_footer(original, tmp_path):
    done, _, _ = mended(zeroed(original, 18, 5), tmp_path)
    assert done.lost_samples["Markers"] == 1


def test_damaged_first_header_costs_nothing_else(original, tmp_path):
    data = bytearray(original)
    data[4:8] = b"\xff" * 4
    done, values, numbers = mended(bytes(data), tmp_path)
    assert len(values) == 10 * N_CHUNKS
    np.testing.assert_array_equal(numbers, values)
    assert next(walk(done.path.read_bytes())).tag == FILE_HEADER


def test_boundaries_come_each_second(original):
    at = [b.offset for b in walk(original) if b.tag == BOUNDARY]
    eeg = [sum(b.offset < end for b in eeg_blocks(original)) for end in at]
    assert max(np.diff([0, *eeg, N_CHUNKS])) * 10 <= 250 + 10


def test_chunks_in_noise_are_not_made_up(original):
    rng = np.random.default_rng(0)
    first, last = eeg_blocks(original)[20].offset + 3, eeg_blocks(original)[25].offset
    noise = rng.integers(0, 9, last - first + 200_000, np.uint8).tobytes()  # small numbers, as chunks begin with
    found = survey(original[:first] + noise + original[last:])
    assert [(h.at, h.length) for h in found.damage] == [(first - 3, len(noise) + 3)]


@settings(max_examples=100, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(at=st.integers(4, 40_000), n=st.integers(1, 2000), put=st.sampled_from(("nothing", "zeros", "noise", "double")))
def test_whole_blocks_outside_any_damage_keep_their_place(original, tmp_path, at, n, put):
    at = min(at, len(original) - n)
    # Without the header of a stream nothing of it can be read.
    assume(not any(b.tag == STREAM_HEADER and b.stop > at and b.offset < at + n for b in walk(original)))
    noise = np.random.default_rng(n).bytes(n)
    instead = {"nothing": b"", "zeros": bytes(n), "noise": noise, "double": 2 * original[at : at + n]}[put]
    done, values, numbers = mended(original[:at] + instead + original[at + n :], tmp_path)
    assume(done.findings.damages or done.findings.cut)  # whole blocks that were cut out show no damage
    whole = [true_number(k) + np.arange(10) for k, b in enumerate(eeg_blocks(original))
             if b.stop <= at or b.offset >= at + n]  # fmt: skip
    kept = np.isin(values, np.concatenate(whole))  # the others are numbers that were overwritten within a block
    np.testing.assert_array_equal(values[kept], np.concatenate(whole))
    # Two halves that were joined and fit look like a block; its rows then count though they are none.
    assume(kept.all() or put in ("zeros", "noise"))
    np.testing.assert_array_equal(numbers[kept], values[kept])
    assert examine(done.path).is_sound
