import numpy as np
import pytest
from scipy import signal

from bci.errors import ConfigError
from bci.signal.chain import Chain
from bci.signal.fractional import FractionalDelay, interpolation
from bci.stream import Channel, Kind, StreamInfo
from bci.testing.block import check_block

INFO = StreamInfo("amp", 250.0, (Channel("C3"), Channel("Cz"), Channel("C4")))
SKEW = (0.0, 0.001, 0.0023)


@pytest.mark.parametrize("make", [lambda: FractionalDelay(0.0013), lambda: FractionalDelay(SKEW, "sinc")])
def test_fractional_delay_keeps_the_law(make):
    check_block(make, INFO)


@pytest.mark.parametrize(("method", "hz", "error"), [("lagrange", 10.0, 1e-6), ("lagrange", 30.0, 2e-3),
                                                      ("sinc", 10.0, 1e-3), ("sinc", 95.0, 1e-3)])  # fmt: skip
@pytest.mark.parametrize("shift", [0.0, 0.0004, 0.002, 0.0039, -0.003, 0.0205])
def test_a_sine_is_later_by_the_common_delay_and_the_shift(method, hz, error, shift):
    block = FractionalDelay(shift, method)
    t = np.arange(1000) / 250.0
    y = Chain([block]).run(np.repeat(np.sin(2 * np.pi * hz * t)[:, None], 3, axis=1), INFO)
    block.prepare(INFO)
    late = np.sin(2 * np.pi * hz * (t - block.delay_s - shift))
    assert y[100:, 0] == pytest.approx(late[100:], abs=error)


def test_channels_sampled_one_after_the_other_come_to_one_instant():
    t = np.arange(1000) / 250.0
    x = np.column_stack([np.sin(2 * np.pi * 20 * (t + skew)) for skew in SKEW])
    block = FractionalDelay(SKEW)
    y = Chain([block]).run(x, INFO)
    block.prepare(INFO)
    assert np.ptp(x[20:], axis=1).max() > 0.2
    assert np.ptp(y[20:], axis=1).max() < 4e-4
    assert y[20:, 0] == pytest.approx(np.sin(2 * np.pi * 20 * (t - block.delay_s))[20:], abs=4e-4)


def test_output_equals_scipy_from_the_first_sample():
    x = np.random.default_rng(0).standard_normal((500, 3)) + 9.0
    block = FractionalDelay(SKEW)
    y = Chain([block]).run(x, INFO)
    block.prepare(INFO)
    (stage,) = block.stages()
    for c in range(3):
        h = stage.taps[:, c]
        expected, _ = signal.lfilter(h, [1.0], x[:, c], zi=np.cumsum(h[:0:-1])[::-1] * x[0, c])
        assert y[:, c] == pytest.approx(expected, abs=1e-12)


def test_lagrange_is_exact_for_polynomials_of_its_order():
    taps = interpolation(3.3, 8, "lagrange")
    n = np.arange(8.0)
    assert [taps @ n**p for p in range(8)] == pytest.approx([3.3**p for p in range(8)], rel=1e-12)


def test_two_taps_are_linear_interpolation():
    assert interpolation(0.25, 2, "lagrange") == pytest.approx([0.75, 0.25], abs=1e-15)


def test_whole_samples_are_a_plain_delay():
    x = np.random.default_rng(0).standard_normal((300, 3))
    block = FractionalDelay(2 / 250.0)
    y = Chain([block]).run(x, INFO)
    block.prepare(INFO)
    late = round(block.delay_s * 250) + 2
    assert y[late:] == pytest.approx(x[:-late], abs=1e-14)


def test_shifts_by_name_leave_the_others_and_triggers_pass():
    info = StreamInfo("amp", 250.0, (Channel("C3"), Channel("C4"), Channel("trig", Kind.TRIG, "")))
    x = np.random.default_rng(0).standard_normal((300, 3))
    block = FractionalDelay({"C4": 0.001})
    y = Chain([block]).run(x, info)
    block.prepare(info)
    late = round(block.delay_s * 250)
    assert y[late:, 0] == pytest.approx(x[:-late, 0], abs=1e-14)
    assert np.array_equal(y[:, 2], x[:, 2])


@pytest.mark.parametrize(
    "make",
    [
        lambda: FractionalDelay(0.0, "cubic"),
        lambda: FractionalDelay(0.0, "lagrange", 17),
        lambda: FractionalDelay((0.0, 0.1)).prepare(INFO),
        lambda: FractionalDelay(1.5).prepare(INFO),
        lambda: FractionalDelay({"Fz": 0.1}).prepare(INFO),
    ],
)
def test_what_does_not_fit_is_refused(make):
    with pytest.raises(ConfigError):
        make()
