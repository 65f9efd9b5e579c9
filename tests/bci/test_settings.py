from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import pytest

from bci.acquisition.participant import Participant
from bci.errors import ConfigError
from bci.registry import create
from bci.settings import check_settings, fits, split_spec


@pytest.mark.parametrize(
    ("value", "hint", "expected"),
    [
        (1, float, True), (1.0, int, False), (True, int, False), (True, float, False), (True, bool, True),
        ("1", int, False), (1, str, False), (None, float | None, True), (None, float, False), (2.0, float | None, True),
        ("max", float | Literal["max"], True), ("fast", float | Literal["max"], False),
        (["C3"], Sequence[str], True), ("C3", Sequence[str], False), ([3], Sequence[str], False),
        ([], Sequence[str], True),
        ([1, 2], tuple[float, float], True), ([1, 2, 3], tuple[float, float], False),
        ([1, 2, 3], tuple[int, ...], True),
        ({"a": "b"}, Mapping[str, str], True), ([], Mapping[str, str], False), ("x", str | Path, True),
        ("x", Path, False),
        (Path("x"), int, True), (["x"], Any, True),
    ],
)  # fmt: skip
def test_a_plain_value_fits_its_annotation_or_not(value, hint, expected):
    assert fits(value, hint) is expected


def test_settings_follow_the_argument_of_a_spec():
    assert split_spec("brainflow:cyton,serial_port=/dev/ttyUSB0,timeout=3") == (
        "brainflow:cyton", {"serial_port": "/dev/ttyUSB0", "timeout": "3"},
    )  # fmt: skip
    assert split_spec("replay:a, b,c.edf") == ("replay:a, b,c.edf", {})


def test_list_or_table_in_a_spec_may_hold_specs():
    streams = '{"eeg": "brainflow:muse_2", "imu": "brainflow:muse_2,preset=auxiliary"}'
    assert split_spec(f"rig,streams={streams},main=eeg") == ("rig", {"streams": streams, "main": "eeg"})
    assert split_spec('participant,channels=["C3"],seed=1') == ("participant", {"channels": '["C3"]', "seed": "1"})
    assert split_spec("replay:a.edf,note=[b,speed=1") == ("replay:a.edf", {"note": "[b", "speed": "1"})


def test_settings_in_a_spec_take_the_type_that_is_needed():
    board = create("devices", "brainflow:cyton,serial_port=3,timeout=3")
    assert (board.parameters["serial_port"], board.parameters["timeout"]) == ("3", 3)
    person = create("devices", 'participant,sfreq=500,channels=["C3","C4"],speed=max')
    assert (person.sfreq, person.channels) == (500, ("C3", "C4"))


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"strength": "high"}, "strength of device 'participant' takes a number, got 'high'"),
        ({"strenght": 1.0}, "did you mean strength"),
        ({"speed": "fast"}, "takes a number or 'max'"),
        ({"channels": "C3"}, "takes a list, each entry a text"),
    ],
)
def test_a_setting_that_does_not_fit_is_named_with_what_it_takes(settings, says):
    with pytest.raises(ConfigError, match=says):
        check_settings(Participant, "device 'participant'", (), settings)


def test_a_missing_argument_is_named():
    with pytest.raises(ConfigError, match="device 'replay' needs path"):
        create("devices", "replay:")


def test_a_constructor_without_annotations_takes_what_it_takes():
    check_settings(lambda a, **more: None, "plugin", (), {"a": "x", "b": 1})
