"""Bytes to samples, as tables."""

import numpy as np
import pytest
from bci_amp8.frames import N_CHANNELS, SCALE_UV, SIZE, SYNC, Parser, pack

ONE, TWO, THREE = (pack(k, [k + 1] * N_CHANNELS) for k in range(3))
SPOILT = TWO[:10] + bytes([TWO[10] ^ 4]) + TWO[11:]


@pytest.mark.parametrize(
    ("code", "value"),
    [  # ADS1299 datasheet, table "Ideal Output Code versus Input Signal"
        ("7fffff", 2**23 - 1),
        ("000001", 1),
        ("000000", 0),
        ("ffffff", -1),
        ("800000", -(2**23)),
    ],
)
def test_sample_is_24_bit_twos_complement(code, value):
    frame = pack(0, [value] * N_CHANNELS)
    assert frame[4:7] == bytes.fromhex(code)
    assert Parser().feed(frame).data.tolist() == [[value] * N_CHANNELS]


def test_full_scale_is_vref_over_gain():
    assert pytest.approx(4.5e6 / 24) == 2**23 * SCALE_UV


@pytest.mark.parametrize(
    ("parts", "counters", "bad"),
    [
        ([ONE + TWO], [0, 1], 0),
        ([ONE[:7], ONE[7:] + TWO], [0, 1], 0),  # cut in a frame
        ([ONE[:1], ONE[1:]], [0], 0),  # cut in the mark
        ([b"\x00garbage" + ONE], [0], 0),
        ([SYNC + b"not a frame" + ONE + TWO], [0, 1], 1),  # a mark that begins nothing
        ([ONE[10:] + TWO], [1], 0),  # began in the middle of a frame
        ([ONE + SPOILT + THREE], [0, 2], 1),
        ([SYNC * 40 + ONE], [0], None),
        ([b""], [], 0),
    ],
)
def test_frames_are_found_in_bytes(parts, counters, bad):
    parser = Parser()
    assert [c for part in parts for c in parser.feed(part).counters] == counters
    assert bad is None or parser.n_bad == bad


def test_bytes_one_by_one_give_the_same_frames():
    parser, stream = Parser(), ONE + b"\xa5" + TWO + b"\xa5\x5a" + THREE + b"\x00" * SIZE
    assert [c for k in range(len(stream)) for c in parser.feed(stream[k : k + 1]).counters] == [0, 1, 2]


def test_random_garbage_never_hides_a_frame():
    rng = np.random.default_rng(0)
    for _ in range(200):
        parser = Parser()
        garbage = rng.integers(0, 256, rng.integers(0, 100), dtype=np.uint8).tobytes()
        assert 1 in parser.feed(garbage + TWO + b"\x00" * SIZE).counters


def test_battery_is_that_of_the_last_frame():
    assert Parser().feed(pack(0, [0] * N_CHANNELS, 50) + pack(1, [0] * N_CHANNELS, 49)).battery == 0.49
