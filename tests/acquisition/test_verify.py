"""Check file, verify and repair: every change is found, every whole block comes back, nothing is invented."""

import json

import numpy as np
import pytest
import pyxdf

from bci.acquisition.recorder.check_file import check_path, read_check
from bci.acquisition.recorder.quality import row_flags, sample_numbers
from bci.acquisition.recorder.repair import repair
from bci.acquisition.recorder.verify import examine
from bci.acquisition.recorder.xdf_blocks import SAMPLES, STREAM_FOOTER, STREAM_HEADER, walk
from bci.acquisition.recorder.xdf_recorder import XdfRecorder
from bci.errors import ConfigError, DeviceNotFound, FormatError
from bci.stream import Channel, Chunk, Event, Flag, Kind, StreamInfo

EEG = StreamInfo("eeg", 250.0, tuple(Channel(n) for n in ("Fz", "Cz", "Pz")))
IMU = StreamInfo("imu", 50.0, (Channel("x", Kind.ACCEL, "m/s^2"), Channel("y", Kind.ACCEL, "m/s^2")))


def chunk(info, start, n, **more):
    number = start + np.arange(n)
    data = np.repeat(number[:, None], info.n_channels, axis=1).astype(np.float32)
    return Chunk(data, 50 + number / info.sfreq, start, info, **more)


def record(path, finish=True):
    """Record EEG, with a loss of 5 after 200 samples, and IMU, with a marker every 100 samples."""
    recorder = XdfRecorder(path, {"what": "test"}).open()
    eeg, imu, notes = recorder.add_stream(EEG), recorder.add_stream(IMU), recorder.add_text("Notes")
    for k in range(40):
        start = 10 * k + (5 if k >= 20 else 0)
        events = (Event(start, 50 + start / 250, f"m{k}"),) if k % 10 == 0 else ()
        recorder.write(eeg, chunk(EEG, start, 10, events=events, flags=Flag.GAP if k == 20 else Flag.OK))
        recorder.write(imu, chunk(IMU, 2 * k, 2))
        recorder.write_text(notes, 50 + start / 250, f"note {k}")
    if finish:
        recorder.close()
    return recorder


@pytest.fixture(scope="module")
def original(tmp_path_factory):
    path = tmp_path_factory.mktemp("original") / "run.xdf"
    record(path)
    return path.read_bytes(), check_path(path).read_bytes()


@pytest.fixture
def damaged(original, tmp_path):
    """Return a function that stores a changed recording and returns its path."""

    def store(data=None, check=None):
        path = tmp_path / "run.xdf"
        path.write_bytes(original[0] if data is None else data)
        check_path(path).write_bytes(original[1] if check is None else check)
        return path

    return store


def blocks(data, tag=None, stream=None):
    return [b for b in walk(data) if tag in (None, b.tag) and stream in (None, b.stream)]


def eeg_stream(data):
    """Return the number that EEG samples have in the file."""
    headers = [b for b in blocks(data, STREAM_HEADER) if b"<name>eeg</name>" in data[b.offset : b.stop]]
    return headers[0].stream


def flipped(data, at, bit=3):
    changed = bytearray(data)
    changed[at] ^= 1 << bit
    return bytes(changed)


def streams(path):
    found, _ = pyxdf.load_xdf(str(path), synchronize_clocks=False, dejitter_timestamps=False)
    return {s["info"]["name"][0]: s for s in found}


def numbers(found, name="eeg"):
    lines = [row[0] for row in found[f"{name}-quality"]["time_series"]]
    return sample_numbers(lines, len(found[name]["time_stamps"])), lines


# ------------------------------------------------------------------- sound files
def test_finished_recording_is_sound_and_every_byte_is_covered(damaged):
    findings = examine(damaged())
    assert (findings.damages, findings.finished, findings.unchecked) == ([], True, 0)
    assert sum(k.block.length for k in findings.kept) == findings.size
    assert all(k.is_checked for k in findings.kept)


def test_check_file_has_a_line_for_each_block(original, damaged):
    ledger = read_check(check_path(damaged()))
    assert [(line.offset, line.stop) for line in ledger.lines] == [(b.offset, b.stop) for b in blocks(original[0])]


def test_recording_that_is_still_open_is_sound(tmp_path):
    recorder = record(tmp_path / "run.xdf", finish=False)
    findings = examine(tmp_path / "run.xdf")
    recorder.close()
    assert (findings.damages, findings.finished, findings.unchecked) == ([], False, 0)


def test_half_block_after_a_kill_is_no_damage(original, damaged):
    last = blocks(original[0], SAMPLES)[-1]
    lines = original[1].split(b"\n")
    upto = next(k for k, row in enumerate(lines) if row.startswith(b"%d " % last.offset))
    path = damaged(original[0][: last.stop - 4], b"\n".join(lines[:upto]) + b"\n")
    findings = examine(path)
    assert (findings.damages, findings.finished, findings.cut) == ([], False, last.length - 4)


def test_check_file_that_is_behind_leaves_whole_blocks_unchecked(original, damaged):
    footer = next(b for b in blocks(original[0]) if b.tag == STREAM_FOOTER)
    few = b"".join(original[1].splitlines(keepends=True)[:30])
    findings = examine(damaged(original[0][: footer.offset], few))  # as a kill leaves it
    assert (findings.damages, findings.finished) == ([], False)
    assert 0 < findings.unchecked < findings.size
    assert len(findings.kept) == len([b for b in blocks(original[0]) if b.offset < footer.offset])


def test_check_file_of_a_finished_recording_that_was_cut_off_is_a_damage(original, damaged, tmp_path):
    path = damaged(check=b"".join(original[1].splitlines(keepends=True)[:30]))
    assert ["cut off" in d.what for d in examine(path).damages] == [True]
    assert repair(path, tmp_path / "fixed.xdf").path.read_bytes() == original[0]


# ----------------------------------------------------------------------- damages
def test_any_flipped_bit_is_found(original, damaged):
    rng = np.random.default_rng(0)
    for at in rng.integers(0, len(original[0]), 60):
        assert not examine(damaged(flipped(original[0], at))).is_sound


def test_any_flipped_bit_in_the_check_file_is_found(original, damaged):
    rng = np.random.default_rng(1)
    for at in [*rng.integers(0, len(original[1]), 60), len(original[1]) - 1]:
        findings = examine(damaged(check=flipped(original[1], at)))
        assert not (findings.is_sound and findings.finished)


def test_removed_and_swapped_lines_of_the_check_file_break_the_chain(original, damaged):
    rows = original[1].splitlines(keepends=True)
    swapped = [*rows[:5], rows[6], rows[5], *rows[7:]]
    for changed in ([*rows[:5], *rows[6:]], swapped, [*rows[:5], rows[4], *rows[5:]]):
        assert any("continue" in d.what for d in examine(damaged(check=b"".join(changed))).damages)


def test_damaged_samples_are_named_by_stream_and_row(original, damaged):
    stream = eeg_stream(original[0])
    block = blocks(original[0], SAMPLES, stream)[12]
    (damage,) = examine(damaged(flipped(original[0], block.stop - 3))).damages
    assert (damage.stream, damage.row, damage.samples) == ("eeg", 120, 10)
    assert (damage.offset, damage.length) == (block.offset, block.length)
    assert "samples 120 to 129 of stream 'eeg'" in damage.what


def test_bytes_put_in_or_cut_out_cost_only_the_blocks_they_hit(original, damaged):
    data, at = original[0], blocks(original[0])[30].offset + 5
    for changed in (data[:at] + b"intruder" + data[at:], data[:at] + data[at + 3 :]):
        findings = examine(damaged(changed))
        assert len(findings.missing) == 1
        assert len(findings.kept) == len(blocks(data)) - 1


def test_blocks_that_changed_places_are_found_and_put_back(original, damaged, tmp_path):
    data = original[0]
    a, b = blocks(data)[30], blocks(data)[31]
    path = damaged(data[: a.offset] + data[b.offset : b.stop] + data[a.offset : a.stop] + data[b.stop :])
    assert [d.what for d in examine(path).damages] == ["2 whole blocks stand at other places than they were written to"]
    assert repair(path, tmp_path / "fixed.xdf").path.read_bytes() == data


def test_bytes_after_the_end_do_not_belong(original, damaged, tmp_path):
    path = damaged(original[0] + bytes(100))
    assert [(d.offset, d.length) for d in examine(path).damages] == [(len(original[0]), 100)]
    assert repair(path, tmp_path / "fixed.xdf").path.read_bytes() == original[0]


def test_cut_recording_misses_what_the_check_file_knows(original, damaged):
    cut = blocks(original[0])[-20].offset + 3
    findings = examine(damaged(original[0][:cut]))
    assert len(findings.missing) == 20
    assert all(line.stop > cut for line, _ in findings.missing)


# ------------------------------------------------------------------------ repair
def test_damaged_headers_markers_and_losses_are_put_back(original, damaged, tmp_path):
    data, kept = original[0], [line for line in read_check(check_path(damaged())).lines if line.content]
    changed = bytearray(data)
    for line in kept:
        changed[line.stop - 2] ^= 0xFF
    done = repair(damaged(bytes(changed)), tmp_path / "fixed.xdf")
    assert done.path.read_bytes() == data
    assert (done.restored, done.lost) == (len(kept), [])


def test_lost_samples_become_a_gap_and_all_others_keep_number_and_time(original, damaged, tmp_path):
    stream = eeg_stream(original[0])
    changed = bytearray(original[0])
    hit = [0, 7, 19, 20, 39]
    for k in hit:
        changed[blocks(original[0], SAMPLES, stream)[k].stop - 1] ^= 1
    done = repair(damaged(bytes(changed)), tmp_path / "fixed.xdf")
    assert done.lost_samples == {"eeg": 50}
    found = streams(done.path)
    true = np.concatenate([10 * k + (5 if k >= 20 else 0) + np.arange(10) for k in range(40) if k not in hit])
    got, lines = numbers(found)
    np.testing.assert_array_equal(got, true)
    np.testing.assert_array_equal(found["eeg"]["time_series"][:, 0], true)
    np.testing.assert_array_equal(found["eeg"]["time_stamps"], 50 + true / 250)
    gaps = np.flatnonzero(row_flags(lines, len(true)) & int(Flag.GAP))
    np.testing.assert_array_equal(gaps, [0, *(np.flatnonzero(np.diff(true) > 1) + 1)])
    assert sum(json.loads(line).get("lost", 0) for line in lines) == 40 + 5  # the last ten have nothing after them
    assert [row[0] for row in found["Markers"]["time_series"]] == ["m0", "m10", "m20", "m30"]


def test_other_streams_are_not_touched_by_a_repair(original, damaged, tmp_path):
    block = blocks(original[0], SAMPLES, eeg_stream(original[0]))[5]
    fixed = repair(damaged(flipped(original[0], block.stop - 1)), tmp_path / "fixed.xdf").path
    found = streams(fixed)
    np.testing.assert_array_equal(found["imu"]["time_series"][:, 0], np.arange(80))
    assert [row[0] for row in found["Notes"]["time_series"]] == [f"note {k}" for k in range(40)]


def test_repaired_copy_is_sound_and_has_its_own_check_file(original, damaged, tmp_path):
    block = blocks(original[0], SAMPLES, eeg_stream(original[0]))[5]
    path = damaged(flipped(original[0], block.stop - 1))
    findings = examine(repair(path).path)
    assert (findings.path.name, findings.damages, findings.finished) == ("run-repaired.xdf", [], True)
    with pytest.raises(ConfigError, match="exists"):
        repair(path)


def test_footer_of_a_repaired_copy_counts_what_is_there(original, damaged, tmp_path):
    block = blocks(original[0], SAMPLES, eeg_stream(original[0]))[5]
    fixed = repair(damaged(flipped(original[0], block.stop - 1)), tmp_path / "fixed.xdf").path
    assert streams(fixed)["eeg"]["footer"]["info"]["sample_count"] == ["390"]


def test_damaged_line_of_the_check_file_costs_no_block(original, damaged, tmp_path):
    rows = original[1].splitlines(keepends=True)
    rows[20] = flipped(rows[20], 3)
    done = repair(damaged(check=b"".join(rows)), tmp_path / "fixed.xdf")
    assert done.lost == []
    assert done.path.read_bytes() == original[0]


def test_without_a_check_file_only_the_structure_is_looked_at(original, damaged):
    path = damaged()
    check_path(path).unlink()
    findings = examine(path)
    assert (findings.has_check, findings.damages, findings.unchecked) == (False, [], findings.size)


def test_no_file_and_no_recording_are_told_apart(tmp_path):
    with pytest.raises(DeviceNotFound):
        examine(tmp_path / "none.xdf")
    (tmp_path / "other.xdf").write_bytes(b"EDF")
    with pytest.raises(FormatError):
        examine(tmp_path / "other.xdf")
    (tmp_path / "other.xdf").write_bytes(b"")
    with pytest.raises(FormatError):
        examine(tmp_path / "other.xdf")
