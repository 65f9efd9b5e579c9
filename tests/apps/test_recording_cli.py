"""`bci recording`: plain words, JSON, exit codes."""

import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from bci.acquisition.counting import Counting
from bci.acquisition.recorder.check_file import check_path
from bci.acquisition.recorder.verify import examine
from bci.acquisition.recorder.xdf_recorder import XdfRecorder
from bci.apps import record
from bci.apps.cli import main
from bci.clock import ManualClock, MonotonicClock
from bci.stream import Channel, Chunk, Event, Flag, StreamInfo

INFO = StreamInfo("amp", 250.0, (Channel("C3"), Channel("C4")))


@pytest.fixture
def path(tmp_path):
    """Return a recording of twice 250 samples, 10 lost between them."""
    data, times = np.random.default_rng(0).normal(size=(250, 2)), np.arange(510) / 250
    with XdfRecorder(tmp_path / "run.xdf") as recorder:
        stream = recorder.add_stream(INFO)
        recorder.write(stream, Chunk(data, times[:250], 0, INFO, (Event(9, 0.036, "left"),)))
        recorder.write(stream, Chunk(data, times[260:], 260, INFO, (), Flag.GAP))
    return tmp_path / "run.xdf"


def bci(*arguments):
    result = CliRunner().invoke(main, ["recording", *map(str, arguments)])
    return result.exit_code, result.stdout, result.stderr


def damage(path):
    data = bytearray(path.read_bytes())
    data[data.rindex(b"<sample_count>") // 2] ^= 1
    path.write_bytes(bytes(data))


def test_info_says_streams_samples_and_losses(path):
    code, out, _ = bci("info", path)
    assert code == 0
    assert "amp (EEG): 2 channels of double64 at 250 Hz, 500 samples, 2.0 s, 10 lost in 1 gaps" in out
    assert "Markers (Markers): 1 texts" in out
    streams = {s["name"]: s for s in json.loads(bci("info", path, "--json")[1])["streams"]}
    assert (streams["amp"]["first_s"], streams["amp"]["last_s"]) == (0.0, 509 / 250)
    assert streams["amp"]["channels"] == ["C3", "C4"]


def test_verify_of_a_sound_recording_is_0_and_of_a_damaged_one_1(path):
    assert bci("verify", path)[0] == 0
    damage(path)
    code, out, _ = bci("verify", path)
    assert code == 1
    assert "of stream 'amp' damaged" in out
    assert "bci recording repair" in out
    found = json.loads(bci("verify", path, "--json")[1])
    assert (found["sound"], found["damages"][0]["stream"], found["damages"][0]["samples"]) == (False, "amp", 250)


def test_repair_writes_a_sound_copy_and_tells_what_is_lost(path):
    assert "is whole" in bci("repair", path)[1]
    damage(path)
    code, out, _ = bci("repair", path)
    assert code == 0
    assert "amp: 250 lost in all" in out
    assert bci("verify", path.with_name("run-repaired.xdf"))[0] == 0


@pytest.mark.parametrize("content", [b"XDF:", b"XDF:\x01\xff\x01\x00<?xml", b"XDF:" + bytes(range(200))])
def test_recording_that_holds_nothing_is_not_called_whole(tmp_path, content):
    path = tmp_path / "just.xdf"
    path.write_bytes(content)
    code, out, _ = bci("verify", path)
    assert code == 1
    assert "holds nothing" in out
    assert "whole:" not in out
    assert "bci recording repair" not in out
    code, _, err = bci("repair", path)
    assert code == 2
    assert "holds nothing" in err
    assert [p.name for p in tmp_path.iterdir()] == ["just.xdf"]


@pytest.mark.parametrize("to", ["edf", "bdf", "fif", "bids"])
def test_export_tells_the_largest_difference(path, to):
    code, out, _ = bci("export", path, "--to", to, "--json")
    found = json.loads(out)
    assert code == 0
    assert (found["samples"], found["lost"], found["gaps"]) == (510, 10, 1)
    assert found["largest_error"] < 1e-3
    assert path.parent in Path(found["path"]).parents


def test_errors_are_one_sentence_and_exit_code_2(path, tmp_path):
    (tmp_path / "text.xdf").write_text("hello")
    for arguments in (
        ("info", tmp_path / "none.xdf"),
        ("verify", tmp_path / "none.xdf"),
        ("repair", tmp_path / "text.xdf"),
        ("info", tmp_path / "text.xdf"),
        ("export", path, "--to", "edf", "--stream", "none"),
        ("export", path, "--to", "bids", "--subject", "no one"),
    ):
        code, out, err = bci(*arguments)
        assert (code, out) == (2, "")
        assert err.startswith("Error: ")
        assert "Traceback" not in err


def test_recording_without_check_file_is_said_to_be_unchecked(path):
    check_path(path).unlink()
    code, out, _ = bci("verify", path)
    assert code == 0
    assert "only its structure" in out


@pytest.mark.parametrize("verb", ["info", "verify", "repair", "export"])
def test_help_has_an_example(verb):
    assert f"bci recording {verb} run.xdf" in bci(verb, "--help")[1]


def test_streams_complete(path):
    from bci.apps.recording_cli import export

    context = export.make_context("export", [str(path), "--to", "edf"])
    option = next(p for p in export.params if p.name == "stream")
    assert [item.value for item in option.shell_complete(context, "a")] == ["amp"]


# ------------------------------------------------------------------- recording
def test_record_refuses_what_does_not_fit_and_leaves_no_file(tmp_path):
    arguments = ["record", str(tmp_path / "long.xdf"), "--device", "participant", "--seconds", "1e12"]
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 2
    assert "MB are free" in result.stderr
    assert list(tmp_path.iterdir()) == []


def test_record_names_the_files_it_wrote(tmp_path):
    arguments = ["record", str(tmp_path / "a.xdf"), "--device", "participant", "--seconds", "1", "--json"]
    result = CliRunner().invoke(main, [*arguments, "--fallback", str(tmp_path)])
    assert json.loads(result.stdout)["paths"] == [str(tmp_path / "a.xdf")]
    assert check_path(tmp_path / "a.xdf").exists()


class _FallsSilent(Counting):
    """A source that delivers half a second and nothing more, and does not say that it is gone."""

    def _read(self, timeout_s):
        if self._number < 0.5 * self.sfreq:
            return super()._read(timeout_s)
        self._clock.sleep_until(self._clock.now() + timeout_s)
        return None


@pytest.mark.parametrize("clock", [ManualClock(), MonotonicClock()])
def test_record_of_so_many_seconds_ends_though_the_source_is_silent(tmp_path, monkeypatch, clock):
    monkeypatch.setattr(record, "_GRACE_S", 0.3)
    begin_s = clock.now()
    done = record.record_device(_FallsSilent(clock=clock), tmp_path / "a.xdf", 1.0)
    assert 1.3 <= clock.now() - begin_s < 10
    assert done["code"] == 2
    assert 125 <= done["samples"] < 250
    assert f"incomplete, {done['samples'] / 250:.1f} of 1 s came" in done["text"]
    assert examine(tmp_path / "a.xdf").finished


def test_record_says_the_length_of_the_signal(tmp_path):
    done = record.record_device(Counting(), tmp_path / "a.xdf", 3.0)
    assert done["code"] == 0
    assert "finished: 3.0 s of 4 channels at 250 Hz" in done["text"]
    assert done["text"].endswith("a.xdf, 750 samples, 0 lost")
