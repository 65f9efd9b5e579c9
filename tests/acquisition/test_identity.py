"""No person and no machine can be read out of a recording."""

import getpass
import json
import socket
from pathlib import Path

import numpy as np
import pytest
import pyxdf

from bci.acquisition.recorder.check_file import check_path
from bci.acquisition.recorder.identity import without_identity
from bci.acquisition.recorder.xdf_recorder import XdfRecorder
from bci.stream import Channel, Chunk, StreamInfo


@pytest.fixture(autouse=True)
def somebody(monkeypatch):
    monkeypatch.setattr(getpass, "getuser", lambda: "mmuster")
    monkeypatch.setattr(socket, "gethostname", lambda: "lab-pc-17.clinic.example")
    monkeypatch.setattr(Path, "home", lambda: Path("/srv/people/mmuster"))


def test_headers_hold_no_home_folder_user_or_host(tmp_path):
    info = StreamInfo(
        "amp", 250.0, (Channel("C3"),), "LiveAmp@lab-pc-17", {"host": "lab-pc-17", "file": "/srv/people/mmuster/a.cfg"}
    )
    config = {
        "path": "/srv/people/mmuster/run.toml",
        "folder": Path("/data/mmuster/model.bci"),
        "other": ["/home/anna/x", r"C:\Users\anna\x", "by MMuster"],
        "hostname": "lab-pc-17.clinic.example",
    }
    path = tmp_path / "run.xdf"
    with XdfRecorder(path, config) as recorder:
        recorder.write(recorder.add_stream(info), Chunk(np.zeros((5, 1)), np.arange(5.0), 0, info))
    for data in (path.read_bytes(), check_path(path).read_bytes()):
        for word in (b"mmuster", b"anna", b"lab-pc", b"clinic", b"/srv/people", str(tmp_path).encode()):
            assert word not in data.lower()
    streams, header = pyxdf.load_xdf(str(path))
    assert json.loads(header["info"]["config"][0])["folder"] == "model.bci"
    assert {s["info"]["source_id"][0] for s in streams} == {None, "LiveAmp@-"}


def test_what_names_nobody_stays(monkeypatch):
    monkeypatch.setattr(getpass, "getuser", lambda: "root")
    monkeypatch.setattr(socket, "gethostname", lambda: "localhost")
    values = {"root": 1, "text": "root of localhost", "n": [1.5, None, True], "paths": ("out/run.xdf", "/dev/ttyUSB0")}
    assert without_identity(values) == {**values, "paths": ["out/run.xdf", "/dev/ttyUSB0"]}
