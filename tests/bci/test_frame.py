"""Frames: nothing damaged, foreign, old or out of range is obeyed."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bci.safety.frame import COMMAND, OUTPUT, QUALITY, Frame, FrameError, pack, refuse, unpack

TOKEN = bytes(range(16))
GOOD = Frame(5, 100.0, 0.5, 0.1, QUALITY, "intent", "right")


def judge(frame, after=4, now_s=100.01):
    return refuse(frame, after, now_s, -1.0, 1.0, max_age_s=0.3, deadline_s=0.1)


def changed(**changes):
    return Frame(**{**{f: getattr(GOOD, f) for f in GOOD.__slots__}, **changes})


def test_frame_survives_the_way():
    assert unpack(pack(GOOD, COMMAND, TOKEN), COMMAND, TOKEN) == GOOD


def test_good_frame_is_obeyed():
    assert judge(GOOD) == ""


@given(st.integers(0, 10_000), st.integers(1, 255))
def test_every_changed_byte_is_seen(position, change):
    data = bytearray(pack(GOOD, COMMAND, TOKEN))
    data[position % len(data)] ^= change
    with pytest.raises(FrameError):
        unpack(bytes(data), COMMAND, TOKEN)


@given(st.binary(max_size=200))
def test_junk_is_no_frame(data):
    with pytest.raises(FrameError):
        unpack(data, COMMAND, TOKEN)


def test_frame_of_another_session_is_refused():
    with pytest.raises(FrameError, match="foreign session"):
        unpack(pack(GOOD, COMMAND, bytes(16)), COMMAND, TOKEN)


def test_output_of_the_guard_is_no_command():
    with pytest.raises(FrameError, match="not a frame"):
        unpack(pack(GOOD, OUTPUT, TOKEN), COMMAND, TOKEN)


def test_long_names_are_cut_not_refused():
    frame = unpack(pack(changed(name="é" * 40, label="x" * 40), COMMAND, TOKEN), COMMAND, TOKEN)
    assert frame.name == "é" * 8
    assert frame.label == "x" * 16


@pytest.mark.parametrize("field", ["value", "age_s", "sent_s"])
@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf])
def test_what_is_not_a_number_is_refused(field, number):
    assert judge(changed(**{field: number})) == "not a number"


@pytest.mark.parametrize("sequence", [0, 4, 5])
def test_repeated_and_old_sequence_is_refused(sequence):
    assert judge(changed(sequence=sequence), after=5) == "old sequence number"


def test_frame_that_waited_is_refused():
    assert judge(GOOD, now_s=100.11) == "late"


def test_frame_from_the_future_is_refused():
    assert judge(GOOD, now_s=99.9) == "late"


@pytest.mark.parametrize("value", [1.0001, -7.0])
def test_value_out_of_range_is_refused(value):
    assert judge(changed(value=value)) == "out of range"


def test_age_counts_the_way():
    assert judge(changed(age_s=0.25), now_s=100.04) == ""
    assert judge(changed(age_s=0.25), now_s=100.06) == "signal too old"


def test_bad_signal_may_be_old_because_it_asks_for_nothing():
    assert judge(changed(age_s=20.0, code=0)) == ""
