from __future__ import annotations

import json
import pickle
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from safetensors import safe_open

from bci.decoding import passport
from bci.decoding.csp import CspLda
from bci.decoding.riemann import TangentSpace
from bci.decoding.tensorfile import read_tensors, write_tensors
from bci.errors import ConfigError, DataError, FormatError
from bci.registry import create
from bci.signal.filters import Bandpass, Notch
from bci.signal.spatial import Reference
from bci.stream import Channel, StreamInfo
from bci.testing.decoder import prepared
from bci.trial import Locked, Slide

INFO = StreamInfo("eeg", 100.0, tuple(Channel(n) for n in ("C3", "Cz", "C4")))


def windows(n: int = 40) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    X = rng.standard_normal((n, 3, 120))
    y = np.array(["left", "right"] * (n // 2))
    X[y == "left", 0] *= 2
    return X, y


def saved(tmp_path: Path, **changes) -> Path:
    X, y = windows()
    settings = {"blocks": [Reference(), Bandpass(8.0, 30.0)], "window": Locked(0.5, 1.7, ("left", "right")), **changes}
    return passport.save(tmp_path / "model.bci", TangentSpace().fit(X, y), INFO, **settings)


def test_predictions_are_bit_equal_after_load(tmp_path):
    X, y = windows()
    before = TangentSpace().fit(X, y).predict_proba(X)
    assert (passport.load(saved(tmp_path)).decoder.predict_proba(X) == before).all()


@pytest.mark.parametrize("name", ["csp-lda", "fbcsp", "imagery", "eegnet"])
def test_every_decoder_comes_back_bit_equal_from_its_file(tmp_path, name):
    X, y = windows()
    quick = {"eegnet": {"max_epochs": 2, "device": "cpu"}}.get(name, {})
    decoder = prepared(create("decoders", name, **quick), 100.0, INFO.ch_names).fit(X, y)
    path = passport.save(tmp_path / "m.bci", decoder, INFO, blocks=[], window=Slide(1.2, 0.1))
    loaded = passport.load(path).decoder
    assert (loaded.predict_proba(X) == decoder.predict_proba(X)).all()
    assert (loaded.predict(X) == decoder.predict(X)).all()


def test_manifest_says_what_the_model_was_made_for(tmp_path):
    path = saved(tmp_path, raw_info=replace(INFO, sfreq=200.0), provenance={"n_trials": 40, "seed": 3})
    manifest = passport.load(path, INFO).manifest
    assert manifest["decoder"] == "tangent"
    assert manifest["classes"] == ["left", "right"]
    assert manifest["input"]["channels"][0] == {"name": "C3", "kind": "eeg", "unit": "uV"}
    assert (manifest["input"]["sfreq"], manifest["source"]["sfreq"]) == (100.0, 200.0)
    assert manifest["blocks"][1]["low_hz"] == 8.0
    assert manifest["provenance"]["n_trials"] == 40
    assert manifest["provenance"]["saved_utc"].endswith("+00:00")
    assert "numpy" in manifest["provenance"]["versions"]


def test_neither_source_id_nor_meta_of_the_stream_is_saved(tmp_path):
    X, y = windows()
    info = replace(INFO, source_id="SERIAL-123", meta={"room": "ward-7"})
    path = passport.save(tmp_path / "m.bci", CspLda(2).fit(X, y), info, blocks=[], window=Slide(1.2, 0.1))
    content = path.read_bytes()
    assert b"SERIAL-123" not in content and b"ward-7" not in content


def test_window_comes_back(tmp_path):
    assert passport.load(saved(tmp_path)).window == Locked(0.5, 1.7, ("left", "right"))
    assert passport.load(saved(tmp_path, window=Slide(1.2, 0.1))).window == Slide(1.2, 0.1)


def test_file_is_plain_safetensors(tmp_path):
    with safe_open(saved(tmp_path), framework="numpy") as file:
        assert json.loads(file.metadata()["manifest"])["format"] == "bci-model"
        assert file.get_tensor("whiten").shape == (3, 3)


def test_missing_and_unknown_channels_are_named(tmp_path):
    other = StreamInfo("eeg", 100.0, tuple(Channel(n) for n in ("C3", "Cz", "P4")))
    with pytest.raises(ConfigError, match=r"missing C4.*not known to it P4"):
        passport.load(saved(tmp_path), other)


def test_other_order_of_channels_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="another order: C4, Cz, C3"):
        passport.load(saved(tmp_path), INFO.pick(["C4", "Cz", "C3"]))


def test_other_rate_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="expects 100 Hz, got 128 Hz"):
        passport.load(saved(tmp_path), replace(INFO, sfreq=128.0))


def test_other_unit_is_refused(tmp_path):
    volts = replace(INFO, channels=tuple(replace(c, unit="V") for c in INFO.channels))
    with pytest.raises(ConfigError, match="eeg in uV, got eeg in V"):
        passport.load(saved(tmp_path), volts)


def test_other_chain_is_refused(tmp_path):
    path = saved(tmp_path)
    passport.load(path, blocks=[Reference(), Bandpass(8.0, 30.0)])
    with pytest.raises(ConfigError, match=r"Bandpass\(.*high_hz=30.0, low_hz=8.0.*got Notch"):
        passport.load(path, blocks=[Notch(50.0), Bandpass(8.0, 30.0)])


def test_preparing_the_chain_does_not_change_its_identity(tmp_path):
    prepared = [Reference(), Bandpass(8.0, 30.0)]
    for block in prepared:
        block.prepare(INFO)
    passport.load(saved(tmp_path), blocks=prepared)


def test_other_window_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="use its window"):
        passport.load(saved(tmp_path), window=Locked(0.0, 1.2))


def test_every_flipped_bit_is_seen(tmp_path):
    path = saved(tmp_path)
    content = path.read_bytes()
    rng = np.random.default_rng(0)
    header = 8 + int.from_bytes(content[:8], "little")
    offsets = {*range(0, header, 3), *rng.integers(header, len(content), 300).tolist(), len(content) - 1}
    for offset in sorted(offsets):
        damaged = bytearray(content)
        damaged[offset] ^= 1 << int(rng.integers(8))
        path.write_bytes(damaged)
        with pytest.raises(FormatError):
            passport.load(path)


@pytest.mark.parametrize("keep", [0, 1, 7, 8, 9, 100, -1])
def test_cut_file_is_refused(tmp_path, keep):
    path = saved(tmp_path)
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(FormatError):
        passport.load(path)


def test_longer_file_is_refused(tmp_path):
    path = saved(tmp_path)
    path.write_bytes(path.read_bytes() + b"\0")
    with pytest.raises(FormatError):
        passport.load(path)


class Bomb:
    def __reduce__(self):
        return (pytest.fail, ("pickle was opened",))


def test_pickle_is_never_opened(tmp_path):
    path = tmp_path / "model.bci"
    path.write_bytes(pickle.dumps(Bomb()))
    with pytest.raises(FormatError, match="never opened"):
        passport.load(path)


def test_torch_file_is_refused(tmp_path):
    torch = pytest.importorskip("torch")
    torch.save({"a": torch.zeros(3)}, tmp_path / "model.pt")
    with pytest.raises(FormatError, match="safetensors"):
        passport.load(tmp_path / "model.pt")


def test_missing_file_is_a_format_error_with_its_name(tmp_path):
    with pytest.raises(FormatError, match=r"nothing\.bci"):
        passport.load(tmp_path / "nothing.bci")


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [("version", 99, "version 99"), ("format", "other", "other"), ("decoder", "os:system", "registered decoder")],
)
def test_unknown_version_format_and_decoder_are_refused(tmp_path, key, value, words):
    path = saved(tmp_path)
    manifest, arrays = read_tensors(path)
    write_tensors(path, {**manifest, key: value}, arrays)
    with pytest.raises(FormatError, match=words):
        passport.load(path)


def test_state_that_does_not_fit_the_decoder_is_refused(tmp_path):
    path = saved(tmp_path)
    manifest, arrays = read_tensors(path)
    arrays.pop("whiten")
    write_tensors(path, manifest, arrays)
    with pytest.raises(FormatError, match="train again"):
        passport.load(path)


def test_unregistered_decoder_is_not_saved(tmp_path):
    class Own(TangentSpace):
        pass

    X, y = windows()
    with pytest.raises(ConfigError, match="registered decoder"):
        passport.save(tmp_path / "m.bci", Own().fit(X, y), INFO, blocks=[], window=Slide(1.2, 0.1))


def test_unfitted_decoder_is_not_saved(tmp_path):
    with pytest.raises(ConfigError, match="not fitted"):
        passport.save(tmp_path / "m.bci", TangentSpace(), INFO, blocks=[], window=Slide(1.2, 0.1))


def test_info_of_another_channel_count_is_not_saved(tmp_path):
    X, y = windows()
    with pytest.raises(DataError, match="3 channels"):
        passport.save(
            tmp_path / "m.bci", TangentSpace().fit(X, y), INFO.pick(["C3"]), blocks=[], window=Slide(1.2, 0.1)
        )


def test_failed_save_keeps_the_older_file(tmp_path):
    path = saved(tmp_path)
    before = path.read_bytes()
    with pytest.raises(DataError):
        write_tensors(path, {"x": float("nan")}, {})
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("first", [0x78, 0x80])
def test_a_header_whose_length_begins_like_pickle_or_zlib_is_read(tmp_path, first):
    for n in range(400):
        path = saved(tmp_path, provenance={"note": "x" * n})
        if path.read_bytes()[0] == first:
            break
    assert path.read_bytes()[0] == first
    assert passport.load(path).manifest["provenance"]["note"] == "x" * n


def test_a_chain_with_another_matrix_or_other_neighbours_is_refused(tmp_path):
    from bci.signal.spatial import Laplacian, SpatialFilter

    pairs = [
        (SpatialFilter(np.eye(3), "abc"), SpatialFilter(np.fliplr(np.eye(3)), "abc")),
        (Laplacian({"C3": ["Cz"]}), Laplacian({"C3": ["C4"]})),
    ]
    for number, (one, other) in enumerate(pairs):
        decoder = CspLda(2).fit(*windows())
        path = passport.save(tmp_path / f"{number}.bci", decoder, INFO, blocks=[one], window=Slide(1.0, 0.5))
        passport.load(path, blocks=[one])
        with pytest.raises(ConfigError, match="was trained on the chain"):
            passport.load(path, blocks=[other])
