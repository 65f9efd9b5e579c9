import logging

import numpy as np
import pytest

from bci.acquisition.boards import board_names, board_presets, check_parameters, describe
from bci.errors import ConfigError
from bci.simulation.electrodes import HEAD_RADIUS_M
from bci.stream import Kind

pytest.importorskip("brainflow")


def test_every_board_and_preset_has_named_channels_at_a_rate():
    for name in set(board_names()) - {"playback_file", "streaming"}:
        for preset in board_presets(name):
            try:
                board = describe(name, preset)
            except ConfigError as error:
                assert "got none" in str(error)
                continue
            assert board.sfreq > 0 and len(board.rows) == len(board.channels) == len({c.name for c in board.channels})
            assert len(set(board.rows)) == len(board.rows)


def test_biosignals_come_first_named_and_placed():
    board = describe("cyton")
    assert [c.name for c in board.channels[:4]] == ["Fp1", "Fp2", "C3", "C4"]
    assert {(c.kind, c.unit) for c in board.channels[:8]} == {(Kind.EEG, "uV")}
    x, y, z = board.channels[3].position
    assert x > 0 and z > 0 and np.hypot(np.hypot(x, y), z) == pytest.approx(HEAD_RADIUS_M)


def test_presets_have_their_own_rate_and_kinds():
    assert board_presets("muse_2") == ["default", "auxiliary", "ancillary"]
    board = describe("muse_2", "auxiliary")
    assert board.sfreq == 52.0
    assert {(c.kind, c.unit) for c in board.channels} == {(Kind.ACCEL, "g"), (Kind.GYRO, "deg/s")}
    assert {c.kind for c in describe("muse_2", "ancillary").channels} == {Kind.PPG}


def test_all_kinds_of_the_synthetic_board_are_there():
    kinds = {c.kind for c in describe("synthetic").channels}
    assert kinds == {Kind.EEG, Kind.ACCEL, Kind.GYRO, Kind.PPG, Kind.GSR, Kind.TEMP, Kind.MISC}
    assert Kind.MAGN in {c.kind for c in describe("explore_8_chan", "auxiliary").channels}


def test_numbers_of_a_converter_are_not_called_microvolts():
    assert {c.unit for c in describe("gforce_pro").channels} == {""}


def test_playback_is_described_by_the_board_that_recorded():
    board = describe("playback_file", master="cyton")
    assert (board.name, board.master, board.sfreq) == ("playback_file", 0, 250.0)
    assert board.channels == describe("cyton").channels


def test_unknown_preset_names_those_there_are():
    with pytest.raises(ConfigError, match=r"has, default, got 'auxiliary'"):
        describe("cyton", "auxiliary")


@pytest.mark.parametrize(
    ("board", "given", "missing"),
    [
        ("cyton", {}, "serial_port=/dev/ttyUSB0"), ("cyton_wifi", {"ip_address": "192.168.4.1"}, "ip_port=6677"),
        ("playback_file", {"file": "x.csv"}, "master_board=cyton"), ("enophone", {}, "mac_address="),
        ("streaming", {"ip_address": "225.1.1.1"}, "ip_port=6677 .*, master_board=cyton"),
    ],
)  # fmt: skip
def test_missing_parameter_is_one_sentence(board, given, missing):
    with pytest.raises(ConfigError, match=missing) as caught:
        check_parameters(board, given, "linux")
    assert "\n" not in str(caught.value) and board in str(caught.value)


def test_paired_board_needs_its_address_on_linux_only():
    check_parameters("enophone", {}, "win32")


def test_superfluous_parameter_warns_and_what_is_optional_does_not(caplog):
    with caplog.at_level(logging.WARNING):
        check_parameters("ganglion", {"serial_port": "x", "mac_address": "y", "timeout": 3, "ip_port": 0}, "linux")
        check_parameters("ant_neuro_ee_410", {"serial_number": "7"}, "linux")
        check_parameters("shimmer3", {"serial_port": "not in the documentation"}, "linux")
        assert not caplog.records
        check_parameters("synthetic", {"serial_port": "x", "ip_port": 3}, "linux")
    assert "does not look at serial_port and ip_port; leave it out" in caplog.text


NAN = float("nan")


@pytest.mark.parametrize(
    ("parameters", "said"),
    [
        ({"serial_port": 3}, "serial_port of board 'cyton' takes a text, got 3; write it as in serial_port=/dev/tty"),
        ({"serial_port": None}, "takes a text, got None"), ({"serial_number": NAN}, "takes a text, got nan"),
        ({"timeout": "5"}, "timeout of board 'cyton' takes a whole number from 0 to 2147483647, got '5'; leave it out"),
        ({"timeout": -1}, "got -1"), ({"timeout": NAN}, "got nan"), ({"timeout": True}, "got True"),
        ({"timeout": 2.5}, "got 2.5"), ({"ip_port": 65536}, "from 0 to 65535, got 65536"),
        ({"ip_protocol": 3}, "from 0 to 2, got 3"), ({"ip_port_aux": "6677"}, "got '6677'"),
        ({"master_board": True}, "takes a board by name or number, got True; write it as in master_board=cyton"),
    ],
)  # fmt: skip
def test_parameter_of_another_type_or_range_is_one_sentence(parameters, said):
    with pytest.raises(ConfigError) as caught:
        check_parameters("cyton", {"serial_port": "/dev/ttyUSB0", **parameters}, "linux")
    assert said in str(caught.value)


@pytest.mark.parametrize("board", [True, 1.5, NAN, None, ["cyton"]])
def test_board_is_a_name_or_a_number(board):
    with pytest.raises(ConfigError, match=r"a board by its name or its number, got .*; `bci devices`"):
        describe(board)


def test_parameters_of_a_board_without_an_entry_are_checked_too():
    with pytest.raises(ConfigError, match="serial_port of board 'shimmer3' takes a text, got 3"):
        check_parameters("shimmer3", {"serial_port": 3}, "linux")
