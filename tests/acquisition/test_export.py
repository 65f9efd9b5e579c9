"""Exports: what is written is read back, by another reader too, and compared; losses are annotated, never invented."""

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import mne
import numpy as np
import pytest

from bci.acquisition.export.bids import write_bids
from bci.acquisition.export.edf import write_edf
from bci.acquisition.export.fif import write_fif
from bci.acquisition.export.proof import compared, sample_hash
from bci.acquisition.export.signal import Signal, read_signal
from bci.acquisition.recorder.xdf_recorder import XdfRecorder
from bci.errors import ConfigError, DataError
from bci.stream import Channel, Chunk, Event, Flag, Kind, StreamInfo

INFO = StreamInfo(
    "amp", 250.0,
    (Channel("C3", position=(-0.05, 0.0, 0.08)), Channel("C4", position=(0.05, 0.0, 0.08)),
     Channel("arm", Kind.EMG), Channel("acc", Kind.ACCEL, "m/s^2")),
)  # fmt: skip
WANTED = [(0.4, 0.0, "left"), (4.012, 0.388, "BAD_gap"), (4.44, 0.04, "BAD_unknown"), (4.8, 0.0, "right, now")]


@pytest.fixture(scope="module")
def signal(tmp_path_factory):
    """Return a recording of 1003 samples, a loss of 97, and 500 samples of which 10 are unknown in one channel."""
    path, rng = tmp_path_factory.mktemp("export") / "run.xdf", np.random.default_rng(0)
    with XdfRecorder(path) as recorder:
        stream = recorder.add_stream(INFO)
        first, second = rng.normal(0, 50, (1003, 4)), rng.normal(0, 50, (500, 4))
        second[10:20, 1] = np.nan
        times = np.arange(1600) / 250
        recorder.write(stream, Chunk(first, times[:1003], 0, INFO, (Event(100, 0.4, "left"),)))
        recorder.write(stream, Chunk(second, times[1100:], 1100, INFO, (Event(1200, 4.8, "right, now"),), Flag.GAP))
    return read_signal(path)


def marks(raw):
    found = [(float(a["onset"]), float(a["duration"]), str(a["description"])) for a in raw.annotations]
    return sorted((round(o, 6), round(d, 6), t) for o, d, t in found)


def in_units(raw):
    """Return samples as MNE reads them, in µV and m/s^2."""
    return raw.get_data().T * np.where([k in ("eeg", "emg") for k in raw.get_channel_types()], 1e6, 1.0)


def test_signal_holds_samples_losses_and_unknown_values(signal):
    assert signal.data.shape == (1600, 4)
    assert signal.gaps == ((1003, 97),)
    assert signal.annotations() == WANTED
    assert np.isnan(signal.data[1003:1100]).all()


@pytest.mark.parametrize(("ending", "bits"), [("edf", 16), ("bdf", 24)])
def test_mne_reads_edf_and_bdf_within_half_a_step(signal, tmp_path, ending, bits):
    path = tmp_path / f"a.{ending}"
    proof = write_edf(signal, path)
    read = mne.io.read_raw_edf if ending == "edf" else mne.io.read_raw_bdf
    raw = read(path, preload=True, verbose="error")
    raw.set_channel_types({"arm": "emg", "acc": "misc"}, on_unit_change="ignore", verbose="error")
    known = np.isfinite(signal.data)
    difference = np.abs(in_units(raw)[:1600] - signal.data)[known]
    assert difference.max() == pytest.approx(proof.largest_error, abs=1e-9)
    assert proof.largest_error <= 0.501 * proof.resolution
    assert proof.resolution == pytest.approx(np.ptp(signal.data[known]) / 2**bits, rel=0.3)
    extra = [m for m in marks(raw) if m not in WANTED]
    assert [m[2] for m in extra] == ["BAD_padding"]  # 1600 samples do not fill seven seconds


def test_edf_names_no_date_and_no_person(signal, tmp_path):
    write_edf(signal, tmp_path / "a.edf")
    head = (tmp_path / "a.edf").read_bytes()[:184]
    assert head[8:11] == b"X X"
    assert head[88:98] == b"Startdate "
    assert head[98:100] == b"X "
    assert head[168:176] == b"01.01.85"


def test_fif_holds_every_bit_that_volts_leave(signal, tmp_path):
    proof = write_fif(signal, tmp_path / "a_raw.fif")
    raw = mne.io.read_raw_fif(tmp_path / "a_raw.fif", verbose="error")
    np.testing.assert_allclose(in_units(raw)[:, :3], signal.data[:, :3], rtol=1e-15)
    np.testing.assert_array_equal(in_units(raw)[:, 3], signal.data[:, 3])
    assert marks(raw) == WANTED
    assert proof.largest_error < 1e-12
    np.testing.assert_allclose(raw.info["chs"][0]["loc"][:3], INFO.channels[0].position, atol=1e-6)


def test_bids_comes_back_through_mne_bids(signal, tmp_path):
    import mne_bids

    for run in (1, 2):
        proof = write_bids(signal, tmp_path / "study", subject="07", task="imagery", run=run, line_hz=50.0)
    place = mne_bids.BIDSPath(subject="07", task="imagery", run=2, root=tmp_path / "study", datatype="eeg")
    raw = mne_bids.read_raw_bids(place, verbose="error").load_data(verbose="error")
    known = np.isfinite(signal.data)
    assert np.abs(in_units(raw)[:1600] - signal.data)[known].max() <= proof.largest_error + 1e-9
    assert [m for m in marks(raw) if m[2] != "BAD_padding"] == WANTED
    assert raw.info["line_freq"] == 50
    assert raw.get_channel_types() == ["eeg", "eeg", "emg", "misc"]
    with pytest.raises(ConfigError, match="already"):
        write_bids(signal, tmp_path / "study", subject="07", task="imagery", run=2)


@pytest.mark.parametrize(("meta", "told"), [({}, "n/a"), ({"manufacturer": "Plausible"}, "Plausible")])
def test_bids_names_no_maker_that_the_recording_does_not(signal, tmp_path, meta, told):
    made = replace(signal, info=replace(signal.info, meta=meta))
    place = write_bids(made, tmp_path / "study", subject="07", task="imagery").path
    assert json.loads(place.with_suffix(".json").read_text())["Manufacturer"] == told


def test_bids_is_valid_by_the_official_validator(signal, tmp_path):
    validator = Path(sys.executable).with_name("bids-validator-deno")
    if not validator.exists():
        pytest.skip("bids-validator-deno is not installed")
    write_bids(signal, tmp_path / "study", subject="07", session="1", task="imagery", line_hz=50.0)
    done = subprocess.run([validator, "--json", tmp_path / "study"], capture_output=True, text=True)
    issues = json.loads(done.stdout)["issues"]["issues"]
    assert [issue for issue in issues if issue["severity"] == "error"] == []
    assert json.loads(done.stdout)["summary"]["modalities"] == ["EEG"]
    assert done.returncode == 0


# ------------------------------------------------------------------ odd signals
@pytest.mark.parametrize(
    "data",
    [
        np.zeros((500, 2)),
        np.full((500, 2), 7.25),
        np.full((500, 2), np.nan),
        np.linspace(-99999.0, 1e6, 1000).reshape(500, 2),
        np.random.default_rng(1).normal(0, 1e-5, (500, 2)),
        np.array([[162.86, -162.8601]] * 500) * np.linspace(-1, 1, 500)[:, None],
    ],
    ids=["zero", "constant", "unknown", "large", "tiny", "range that is no binary fraction"],
)
@pytest.mark.parametrize("ending", ["edf", "bdf"])
def test_odd_signals_stay_within_half_a_step(tmp_path, data, ending):
    info = StreamInfo("odd", 250.0, (Channel("a"), Channel("b")))
    proof = write_edf(Signal(data, info), tmp_path / f"a.{ending}")
    assert proof.largest_error <= 0.501 * proof.resolution


def test_names_that_edf_cannot_hold_become_numbers(tmp_path):
    names = ("a channel with a long name 1", "a channel with a long name 2", "Größe")
    info = StreamInfo("odd", 250.0, tuple(Channel(n, unit="µV") for n in names))
    write_edf(Signal(np.zeros((250, 3)), info), tmp_path / "a.edf")
    raw = mne.io.read_raw_edf(tmp_path / "a.edf", verbose="error")
    assert raw.ch_names == ["a channel with a", "channel 2", "Gr??e"]


def test_rate_without_whole_records_is_refused(tmp_path):
    info = StreamInfo("odd", 250.0 + 1 / 7000, (Channel("a"),))
    with pytest.raises(DataError, match="FIF"):
        write_edf(Signal(np.zeros((250, 1)), info), tmp_path / "a.edf")
    assert not (tmp_path / "a.edf").exists()


def test_taken_and_unfit_names_are_refused(signal, tmp_path):
    for write, name in ((write_edf, "a.edf"), (write_fif, "a_raw.fif")):
        (tmp_path / name).write_bytes(b"precious")
        with pytest.raises(ConfigError, match="exists"):
            write(signal, tmp_path / name)
        with pytest.raises(ConfigError, match=r"edf|_raw\.fif"):
            write(signal, tmp_path / "a.txt")
    with pytest.raises(ConfigError, match="letters"):
        write_bids(signal, tmp_path / "study", subject="Anna M.")


def test_comparison_finds_one_changed_bit_and_a_missing_event(tmp_path):
    codes, data = np.arange(20, dtype=np.int16).reshape(10, 2), np.arange(20.0).reshape(10, 2)
    changed = codes.copy()
    changed[4, 1] ^= 1
    assert sample_hash(codes) != sample_hash(changed)
    with pytest.raises(DataError, match="differ"):
        compared(tmp_path, codes, changed, data, data, 1.0, [], [])
    with pytest.raises(DataError, match="differ"):  # the numbers agree, what they stand for does not
        compared(tmp_path, codes, codes, data, data + 0.6, 1.0, [], [])
    with pytest.raises(DataError, match="events"):
        compared(tmp_path, codes, codes, data, data, 1.0, [(0.0, 0.0, "a")], [])
