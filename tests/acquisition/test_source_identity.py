"""Whoever was recorded: nothing of that comes through replay into what is written or sent."""

import json
from datetime import date
from xml.etree.ElementTree import SubElement

import mne
import numpy as np
import pytest
import scipy.io

from bci.acquisition.formats.neutral import format_word, neutral_name
from bci.acquisition.lsl_outlet import signal_head
from bci.acquisition.recorder import xdf_writer
from bci.acquisition.recorder.check_file import SUFFIX, read_check
from bci.acquisition.recording import load
from bci.acquisition.replay import Replay
from bci.apps.record import record_device
from bci.apps.recordings import export_recording
from bci.runtime.describe import describe
from benchmarks import damaged

WHAT = damaged.truth(2560, 2)
NAME, STEM = "Smith John 17-APR-1963", "smith_john_run1"
WORDS = (b"smith", b"john", b"17-apr", b"1963-04-17")


def _over(path, fields):
    """Write the name into fields of fixed width: (first byte, bytes)."""
    content = bytearray(path.read_bytes())
    for at, n in fields:
        content[at : at + n] = NAME.encode().ljust(n)[:n]
    path.write_bytes(content)


def _in_brainvision(path):
    header = path.read_text("utf-8").replace("[Common Infos]", f"; {NAME}\n[Common Infos]", 1)
    path.write_text(f"{header}\n[User Infos]\nProp1=string,Patient,{NAME}\n\n[Comment]\nPatient: {NAME}\n", "utf-8")


def _in_fif(path):
    raw = mne.io.read_raw_fif(path, preload=True, verbose="error")
    raw.info["subject_info"] = {
        "his_id": NAME,
        "first_name": "John",
        "last_name": "Smith",
        "birthday": date(1963, 4, 17),
    }
    raw.info["experimenter"], raw.info["description"] = "Smith", NAME
    raw.save(path, overwrite=True, verbose="error")


def _in_text(path):
    path.write_text(f"%OpenBCI Raw EXG Data of {NAME}\n" + path.read_text("utf-8"), "utf-8")


def _in_eeglab(path):
    save = scipy.io.loadmat(path, struct_as_record=True)["EEG"]
    eeg = {key: save[key][0, 0] for key in save.dtype.names}
    named = dict.fromkeys(("setname", "subject", "filename", "filepath", "comments", "session"), NAME)
    scipy.io.savemat(path, {"EEG": {**eeg, **named}}, appendmat=False, oned_as="row")


# Patient and recording of EDF and GDF; id, operator, doctor, referral, hospital and patient of CNT.
PLANTS = {
    "edf": lambda p: _over(p, [(8, 80), (88, 80)]), "edf+d": lambda p: _over(p, [(8, 80), (88, 80)]),
    "bdf": lambda p: _over(p, [(8, 80), (88, 80)]), "gdf": lambda p: _over(p, [(8, 80), (88, 80)]),
    "cnt": lambda p: _over(p, [(21 + 20 * k, 20) for k in range(6)]), "brainvision": _in_brainvision, "fif": _in_fif,
    "eeglab": _in_eeglab, "openbci": _in_text,
}  # fmt: skip


@pytest.fixture
def planted(tmp_path, monkeypatch):
    """Return what makes a recording of a format, with the name wherever its header has room for one."""

    def headed(make):
        def header(*args, **kwargs):
            root = make(*args, **kwargs)
            for key in ("hostname", "session_id", "created_by"):
                SubElement(root, key).text = NAME
            root.find("source_id").text = NAME
            SubElement(SubElement(root.find("desc"), "subject"), "name").text = NAME
            SubElement(SubElement(root.find("desc"), "meta"), "entry", {"key": "patient"}).text = NAME
            return root

        return header

    def make(name):
        folder = tmp_path / "clinic"
        folder.mkdir()
        with monkeypatch.context() as patch:
            if name == "xdf":
                for which in ("signal_header", "text_header"):
                    patch.setattr(xdf_writer, which, headed(getattr(xdf_writer, which)))
            path = damaged.MAKERS[name](folder / STEM, WHAT)
        PLANTS.get(name, lambda _: None)(path)
        assert STEM in path.name
        if name not in ("npy", "npz", "csv"):  # those have no field for it
            assert b"mith" in b"".join(p.read_bytes() for p in folder.iterdir())
        return path

    return make


def _told(path):
    """Return the bytes of a file; of a check file those it keeps, since a hash in base64 spells "john" now and then."""
    if path.suffix != SUFFIX:
        return path.read_bytes()
    ledger = read_check(path)
    kept = b"".join(line.content or b"" for line in ledger.lines)
    assert not ledger.faults and b"<info" in kept
    return kept


def _grep(folder):
    files = [p for p in folder.rglob("*") if p.is_file()]
    found = [(p.name, word) for p in files for word in WORDS if word in _told(p).lower() + p.name.encode()]
    assert files and not found


@pytest.mark.parametrize("name", list(damaged.MAKERS))
def test_no_name_comes_from_a_file_into_recordings_exports_or_streams(planted, tmp_path, name):
    path, out = planted(name), tmp_path / "out"
    out.mkdir()
    spec = ",".join([f"replay:{path}", *(f"{k}={v}" for k, v in damaged.SETTINGS.get(name, {}).items())])
    done = record_device(spec, out / "run.xdf")
    assert done["samples"] == len(WHAT.digital) and (out / "run.xdf.check").exists()
    for to in ("edf", "bdf", "fif"):
        export_recording(out / "run.xdf", to)
    _grep(out)
    device = Replay(path, **damaged.SETTINGS.get(name, {}))
    info = device.open()
    device.close()
    sent = signal_head(info, "replayed", f"bci-replayed-{info.source_id}").as_xml()
    for text in (repr(info), sent, json.dumps(describe(device))):
        assert not [word for word in WORDS if word in text.lower().encode()]


@pytest.mark.parametrize("name", ["edf", "fif"])
def test_no_name_comes_from_a_file_into_a_data_set(planted, tmp_path, name):
    export_recording(planted(name), "bids", tmp_path / "out", subject="01", task="rest")
    _grep(tmp_path / "out")


@pytest.mark.parametrize("to", ["edf", "fif"])
def test_no_name_comes_from_a_file_into_its_export(planted, tmp_path, to):
    (tmp_path / "out").mkdir()
    export_recording(planted("bdf"), to, tmp_path / "out" / f"run_raw.{to}")
    _grep(tmp_path / "out")


def test_the_neutral_name_tells_recordings_apart_and_stays(tmp_path):
    one = damaged.edf(tmp_path / "one", WHAT)
    two = damaged.edf(tmp_path / "two", damaged.truth(2560, 2, seed=1))
    moved = tmp_path / "moved.edf"
    moved.write_bytes(one.read_bytes())
    names = [load(path)[0].info.name for path in (one, two, moved)]
    assert names[0] == names[2] != names[1] and names[0].startswith("edf-")
    assert load(one)[0].info.source_id == names[0]


def test_the_neutral_name_of_a_long_recording_looks_at_all_of_it():
    data = np.zeros((1 << 20, 4))
    changed = data.copy()
    changed[1 << 19 :] = 1.0
    assert neutral_name("edf", data) != neutral_name("edf", changed)


def test_an_ending_that_may_be_a_name_is_not_taken(tmp_path):
    assert format_word(tmp_path / "run.smith", "edf") == "edf" and format_word(tmp_path / "a.gdf", "mne_files") == "gdf"
    assert format_word(tmp_path / "run.smith", "mne_files") == "recording"


def test_an_error_names_the_file(tmp_path):
    path = tmp_path / f"{STEM}.edf"
    path.write_bytes(b"0       " + bytes(500))
    with pytest.raises(ValueError, match=STEM):
        load(path)
