import numpy as np
import pytest
from scipy import signal

from bci.errors import ConfigError
from bci.signal.chain import Chain
from bci.signal.filters import Bandpass, Bandstop, Highpass, Lowpass, Notch
from bci.stream import Channel, Chunk, StreamInfo
from bci.testing.block import check_block

INFO = StreamInfo("amp", 250.0, (Channel("C3"), Channel("C4")))
FAMILIES = ("butterworth", "chebyshev1", "chebyshev2", "elliptic", "bessel")
SCIPY = {
    "butterworth": lambda kind, hz: signal.butter(4, hz, kind, fs=250, output="sos"),
    "chebyshev1": lambda kind, hz: signal.cheby1(4, 0.5, hz, kind, fs=250, output="sos"),
    "chebyshev2": lambda kind, hz: signal.cheby2(4, 40, hz, kind, fs=250, output="sos"),
    "elliptic": lambda kind, hz: signal.ellip(4, 0.5, 40, hz, kind, fs=250, output="sos"),
    "bessel": lambda kind, hz: signal.bessel(4, hz, kind, fs=250, output="sos", norm="mag"),
}


def gain(block, hz):
    """Return the gain at `hz` after the onset, measured through the stream (whole periods in 1000 samples)."""
    t = np.arange(5000) / 250.0
    y = Chain([block]).run(np.repeat(np.sin(2 * np.pi * hz * t)[:, None], 2, axis=1), INFO)[4000:, 0]
    return 2 * abs(np.mean(y * np.exp(-2j * np.pi * hz * t[4000:])))


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("hz", [4.0, 10.0, 20.0, 45.0])
def test_gain_through_the_stream_is_that_of_theory(family, hz):
    _, expected = signal.sosfreqz(SCIPY[family]("bandpass", [8, 30]), [hz], fs=250)
    assert gain(Bandpass(8, 30, family=family), hz) == pytest.approx(abs(expected[0]), abs=1e-6)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize(
    ("make", "kind", "hz"),
    [
        (lambda f: Bandpass(8, 30, family=f), "bandpass", [8, 30]),
        (lambda f: Bandstop(45, 55, family=f), "bandstop", [45, 55]),
        (lambda f: Highpass(1.0, family=f), "highpass", 1.0),
        (lambda f: Lowpass(40.0, family=f), "lowpass", 40.0),
    ],
)
def test_output_equals_scipy_from_the_first_sample(family, make, kind, hz):
    x = np.random.default_rng(0).standard_normal((1000, 2)) + 5.0
    sos = SCIPY[family](kind, hz)
    expected, _ = signal.sosfilt(sos, x, axis=0, zi=signal.sosfilt_zi(sos)[:, :, None] * x[0])
    assert Chain([make(family)]).run(x, INFO) == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("family", FAMILIES[1:])
def test_families_keep_the_law(family):
    check_block(lambda: Bandpass(8, 30, family=family), INFO)


def test_families_fuse_into_one_cascade():
    chain = Chain([Notch(50), Bandpass(1, 40, family="elliptic"), Lowpass(30, family="bessel")])
    chain.prepare(INFO)
    (program,) = chain._steps
    assert len(program.stages) == 1


def test_delay_of_a_bessel_is_that_of_scipy():
    block = Lowpass(20.0, family="bessel")
    block.prepare(INFO)
    _, expected = signal.group_delay(signal.bessel(4, 20, fs=250, norm="mag"), [1e-3], fs=250)
    assert block.delay_s == pytest.approx(expected[0] / 250, rel=1e-3)


@pytest.mark.parametrize(
    "settings",
    [
        {"family": "cauer"},
        {"family": "elliptic", "order": 13},
        {"family": "chebyshev1", "ripple_db": 0.0},
        {"family": "elliptic", "ripple_db": 50.0},
        {"family": "chebyshev2", "attenuation_db": 300.0},
        {"order": 0},
        {"order": 2.5},
    ],
)
def test_settings_out_of_range_are_refused(settings):
    with pytest.raises(ConfigError, match="got"):
        Bandpass(8, 30, **settings).prepare(INFO)


def test_a_filter_that_double_precision_cannot_hold_is_refused():
    fast = StreamInfo("spikes", 30000.0, (Channel("C3"),))
    with pytest.raises(ConfigError, match="unit circle"):
        Highpass(1e-5, order=8).prepare(fast)


def test_an_offset_passes_a_band_stop_from_the_first_sample():
    block = Bandstop(45, 55)
    block.prepare(INFO)
    whole = block.process(Chunk(np.full((50, 2), 7.0), np.arange(50) / 250, 0, INFO)).data
    assert whole == pytest.approx(np.full((50, 2), 7.0), abs=1e-9)
