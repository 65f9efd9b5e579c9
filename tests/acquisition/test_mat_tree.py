"""The elements of MATLAB files: whole ones pass, lengths that do not fit are found."""

import glob
import mmap
import os
import struct

import numpy as np
import pytest
import scipy.io
import scipy.sparse

from bci.acquisition.formats.mat_tree import check_mat
from bci.acquisition.recording import load
from bci.errors import FormatError
from benchmarks import damaged

NUMBER = struct.pack("<II", 9, 8)
"""The tag of a single double."""
EXAMPLES = sorted(glob.glob(os.path.join(os.path.dirname(scipy.io.matlab.__file__), "tests", "data", "*.mat")))
BROKEN = ("bad_miuint32", "malformed1")
"""What SciPy keeps to test that it refuses them, and has lengths that do not fit."""


def check(path):
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        check_mat(content, path)


@pytest.fixture
def whole(tmp_path):
    return damaged.eeglab(tmp_path / "x", damaged.truth(256, 2))


def hurt(path, at, form, value):
    content = bytearray(path.read_bytes())
    struct.pack_into(form, content, at, value)
    path.write_bytes(content)


@pytest.mark.parametrize("compressed", [False, True])
def test_every_kind_of_array_passes(tmp_path, compressed):
    cell = np.array([[1.0, "text"], [np.arange(3), {"a": {"b": 1j}}]], dtype=object)
    values = {"cell": cell, "empty": np.empty((0, 3)), "flag": np.array([True]), "small": np.int8([1, 2, 3])}
    values |= {"sparse": scipy.sparse.csc_matrix(np.eye(3)), "complex": np.ones((2, 3, 4)) * 1j, "text": "µV"}
    scipy.io.savemat(tmp_path / "x.set", values, do_compression=compressed)
    check(tmp_path / "x.set")


@pytest.mark.skipif(not EXAMPLES, reason="this SciPy comes without its test files")
def test_files_of_every_version_of_matlab_pass(tmp_path):
    path = tmp_path / "x.mat"
    for example in EXAMPLES:
        with open(example, "rb") as file:
            path.write_bytes(file.read())
        if os.path.basename(example).startswith(BROKEN):
            with pytest.raises(FormatError, match="it is damaged"):
                check(path)
        else:
            check(path)


def test_an_element_longer_than_the_one_around_it_is_refused(whole):
    at = whole.read_bytes().index(NUMBER)
    hurt(whole, at + 4, "<I", 0x7FFFFFF8)
    with pytest.raises(FormatError, match="of up to 8 bytes") as caught:
        load(whole)
    assert caught.value.where == f"byte {at}"


def test_fewer_values_than_the_dimensions_say_are_refused(whole):
    at = whole.read_bytes().index(struct.pack("<4I", 5, 8, 2, 256))
    hurt(whole, at + 12, "<I", 0x00FFFFFF)
    with pytest.raises(FormatError, match="33554430 values of an array.* got 512"):
        load(whole)


def test_more_structures_than_there_is_room_for_are_refused(whole):
    hurt(whole, 128 + 8 + 16 + 8, "<I", 0x0FFFFFFF)  # tag, flags, tag of the dimensions
    with pytest.raises(FormatError, match="268435455 times"):
        load(whole)


def test_arrays_in_one_another_without_end_are_refused(tmp_path):
    inner = np.ones((1, 1))
    for _ in range(30):
        outer = np.empty((1, 1), object)
        outer[0, 0], inner = inner, outer
    scipy.io.savemat(tmp_path / "x.set", {"x": inner}, appendmat=False)
    with pytest.raises(FormatError, match="20 arrays in one another"):
        check(tmp_path / "x.set")


def test_an_order_of_bytes_that_is_none_is_refused(whole):
    hurt(whole, 126, "<H", 0)
    with pytest.raises(FormatError, match="the order of bytes"):
        load(whole)
