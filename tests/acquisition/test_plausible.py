"""Headers of GDF files that claim what the file cannot hold, and what is said of files that cannot be read."""

import struct

import numpy as np
import pytest

from bci.acquisition.formats.plausible import in_short
from bci.acquisition.recording import load
from bci.errors import FormatError
from benchmarks import damaged

WHAT = damaged.truth(2560, 5)
COUNTS = 256 + 216 * 5
"""Byte where the samples in a record of each channel stand."""
END = 256 * 6 + WHAT.digital.size * 2
"""Byte where the table of events begins."""


def hurt(folder, *changes):
    path = damaged.gdf(folder / "x", WHAT)
    content = bytearray(path.read_bytes())
    for at, form, *values in changes:
        struct.pack_into(form, content, at, *values)
    path.write_bytes(content)
    return path


@pytest.mark.parametrize(
    ("change", "where", "match"),
    [
        ((236, "<q", 11), 236, "got 10 whole ones"),
        ((236, "<q", -1), 236, "-1 records"),
        ((COUNTS + 4, "<i", -256), COUNTS + 4, "got -256"),
        ((COUNTS + 4, "<i", 2560), 236, "got 3 whole ones"),
        ((COUNTS + 28, "<i", 0), COUNTS + 28, "a type of number"),
        ((COUNTS, "<5i", 0, 0, 0, 0, 0), COUNTS, "got none"),
        ((END + 4, "<I", 0xFFFFFFF0), END, "events that fit into 12 bytes"),
        ((END, "<B", 7), END, "in mode 1 or 3"),
    ],
)
def test_a_header_that_the_file_belies_is_refused(tmp_path, change, where, match):
    with pytest.raises(FormatError, match=match) as caught:
        load(hurt(tmp_path, change))
    assert caught.value.where == f"byte {where}"


def test_what_is_whole_of_a_gdf_file_cut_off_is_told(tmp_path):
    path = hurt(tmp_path)
    path.write_bytes(path.read_bytes()[: END - 3000])
    with pytest.raises(FormatError) as caught:
        load(path)
    assert caught.value.readable == "8 records"


def test_rates_that_would_fill_the_memory_are_refused(tmp_path):
    # One record, 12 800 samples of one channel: the others would grow to as many.
    path = hurt(tmp_path, (236, "<q", 1), (COUNTS, "<5i", 1, 1, 1, 1, 12796))
    content = path.read_bytes()
    path.write_bytes(content[:END] + bytes(1 << 17) + content[END:])
    assert load(path)[0].data.shape == (12796, 5)  # small enough
    many = damaged.gdf(tmp_path / "many", damaged.truth(2560, 40))
    content = bytearray(many.read_bytes())
    struct.pack_into("<q", content, 236, 1)
    struct.pack_into("<40i", content, 256 + 216 * 40, *[1] * 39, 90000)
    many.write_bytes(content)
    with pytest.raises(FormatError, match="similar rates"):
        load(many)


def test_channels_of_a_lower_rate_are_smoothed_as_by_mne(tmp_path):
    import mne

    path = hurt(tmp_path, (COUNTS, "<5i", 64, 128, 192, 128, 128), (236, "<q", 20))
    (part,) = load(path)
    raw = mne.io.read_raw_gdf(path, preload=True, verbose="error")
    np.testing.assert_allclose(part.data, raw.get_data().T * 1e6, rtol=0, atol=1e-9)


@pytest.mark.parametrize("head", [b"", b"Brain Vision Data Exchange Header File Version 1.0\n[Common Infos]\n"])
@pytest.mark.parametrize("seed", range(4))
def test_random_bytes_are_not_printed_in_what_is_said_of_a_file(tmp_path, head, seed):
    path = tmp_path / "noise.vhdr"
    path.write_bytes(head + np.random.default_rng(seed).bytes(3000))
    with pytest.raises(FormatError, match="MNE reads") as caught:
        load(path)
    assert str(caught.value).isascii() and str(caught.value).isprintable()
    assert len(str(caught.value)) - len(str(path)) < 320


@pytest.mark.parametrize(
    "said", ["no file at /home/jos\u00e9/M\u00fcller/recordings/S01.eeg of the header", "KeyError: 'DataFile'"]
)
def test_what_a_library_says_in_words_is_kept(said):
    assert in_short(ValueError(f"{said}.")) == said
