import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import signal

from bci.errors import ConfigError
from bci.signal.chain import Chain
from bci.signal.filters import Notch
from bci.signal.line import LineCanceller
from bci.stream import Channel, Chunk, Flag, Kind, StreamInfo
from bci.testing.block import check_block

RATE = 250.0
INFO = StreamInfo("amp", RATE, tuple(Channel(f"E{k}") for k in range(8)))
T = np.arange(15000) / RATE


@pytest.fixture(scope="module")
def brain():
    """Return one minute of 8 channels of coloured noise, and nothing at the mains but that."""
    rng = np.random.default_rng(0)
    b, a = signal.butter(1, 5, fs=RATE)
    return signal.lfilter(b, a, 60 * rng.standard_normal((15000, 8)), axis=0) + 2 * rng.standard_normal((15000, 8))


def mains(hz, amplitude):
    """Return the mains with a frequency and an amplitude per sample, at another size and phase in each channel."""
    phase = 2 * np.pi * np.cumsum(np.broadcast_to(hz, T.shape)) / RATE
    size = np.broadcast_to(amplitude, T.shape)[:, None] * np.linspace(0.5, 2.0, 8)
    return size * np.sin(phase[:, None] + np.arange(8))


def rms(x, begin_s, end_s):
    return float(np.sqrt(np.mean(x[round(begin_s * RATE) : round(end_s * RATE)] ** 2)))


def stream(block, data, cuts=(), info=INFO):
    block.prepare(info)
    edges = [0, *sorted(cuts), len(data)]
    return np.concatenate([
        block.process(Chunk(data[a:b], np.arange(a, b) / info.sfreq, a, info)).data
        for a, b in zip(edges[:-1], edges[1:], strict=True)
    ])  # fmt: skip


@pytest.mark.parametrize("make", [LineCanceller, lambda: LineCanceller(60.0, 1, 1.0)])
def test_canceller_keeps_the_law(make):
    check_block(make, StreamInfo("amp", RATE, INFO.channels[:3]))


@settings(deadline=None, max_examples=10)
@given(st.lists(st.integers(0, 900), max_size=30), st.integers(0, 100))
def test_output_is_bit_equal_under_any_cutting(cuts, seed):
    data = 20 * np.random.default_rng(seed).standard_normal((900, 8)) + mains(50.1, 30.0)[:900]
    data[:70, 1] = np.nan
    data[400:420, 2] = np.nan
    assert np.array_equal(stream(LineCanceller(), data, cuts), stream(LineCanceller(), data), equal_nan=True)


@pytest.mark.parametrize(
    "hz", [50.0, 49.8, 50.2, 50 + 0.2 * np.sin(2 * np.pi * T / 60)], ids=["50", "49.8", "50.2", "drift"]
)
def test_the_mains_is_gone_wherever_it_wanders(brain, hz):
    line = mains(hz, 40.0)
    left = stream(LineCanceller(), brain + line) - brain
    # The 0.4 Hz of brain that lie under the line go with it: 0.4 of 38 uV here.
    assert rms(left, 5, 60) < (0.02 if np.ndim(hz) == 0 else 0.04) * rms(line, 5, 60)


def test_the_frequency_is_known_to_a_twentieth_of_a_hertz(brain):
    hz = 50 + 0.2 * np.sin(2 * np.pi * T / 60)
    block = LineCanceller()
    block.prepare(INFO)
    x = brain + mains(hz, 40.0)
    for a in range(0, 15000, 250):
        block.process(Chunk(x[a : a + 250], T[a : a + 250], a, INFO))
        assert a < 500 or block.frequency_hz == pytest.approx(hz[a + 249], abs=0.05)


@pytest.mark.parametrize("hz", [50.0, 50.2])
def test_it_recovers_from_a_step_sooner_than_a_notch(brain, hz):
    line = mains(hz, np.where(T > 35, 60.0, 20.0))
    left = stream(LineCanceller(), brain + line) - brain
    ringing = stream(Notch(50.0, False), brain + line) - stream(Notch(50.0, False), brain)
    assert rms(left, 35.0, 35.2) < 0.8 * rms(ringing, 35.0, 35.2)
    assert rms(left, 35.2, 35.5) < 0.3 * rms(ringing, 35.2, 35.5)
    assert rms(left, 36, 60) < 0.02 * rms(line, 36, 60)


@pytest.mark.parametrize(
    "artefact", [np.where(T > 30, 5000.0, 0.0), np.where(T == 30.0, 20000.0, 0.0)], ids=["jump", "spike"]
)
def test_a_jump_or_a_spike_rings_far_less_than_behind_a_notch(brain, artefact):
    x = brain + artefact[:, None]
    rang = stream(Notch(50.0, 3), x + mains(50.0, 20.0)) - x
    left = stream(LineCanceller(), x + mains(50.0, 20.0)) - x
    assert rms(left, 30.0, 30.1) < 0.1 * rms(rang, 30.0, 30.1)
    assert rms(left, 30.6, 35.0) < 1.0


@pytest.mark.parametrize(("away_hz", "least"), [(1.0, 0.95), (-1.0, 0.95), (2.0, 0.98), (5.0, 0.996), (-10.0, 0.998)])
def test_neighbours_stay(brain, away_hz, least):
    tone = 10 * np.sin(2 * np.pi * (50 + away_hz) * T)[:, None]
    x = brain + mains(50.05, 40.0)
    # What a tone beside the line becomes, the rest being the same.
    came = (stream(LineCanceller(), x + tone) - stream(LineCanceller(), x))[2500:]
    turning = np.exp(-2j * np.pi * (50 + away_hz) * T[2500:])
    gain = np.abs(2 * np.mean(came * turning[:, None], axis=0)) / 10
    assert gain.min() > least
    assert gain.max() < 2 - least


def test_harmonics_go_too(brain):
    phase = 2 * np.pi * 50.1 * T
    line = (20 * np.sin(phase) + 10 * np.sin(2 * phase + 1))[:, None] * np.ones(8)
    left = stream(LineCanceller(), brain + line) - brain
    assert rms(left, 5, 60) < 0.04 * rms(line, 5, 60)


def test_a_stream_without_mains_is_left_alone(brain):
    taken = rms(stream(LineCanceller(), brain) - brain, 2, 60)
    assert taken < 0.03 * rms(brain, 2, 60)
    assert taken < 0.6 * rms(stream(Notch(50.0, 3), brain) - brain, 2, 60)


def test_an_offset_and_a_drift_of_100_uv_a_second_pass():
    x = np.repeat((1e5 + 100 * T[:2500])[:, None], 8, axis=1)
    assert stream(LineCanceller(), x) == pytest.approx(x, abs=0.2)


def test_a_short_gap_is_bridged_in_phase(brain):
    x = brain + mains(50.13, 40.0)
    block = LineCanceller()
    block.prepare(INFO)
    block.process(Chunk(x[:5000], T[:5000], 0, INFO))
    after = block.process(Chunk(x[5100:6000], T[5100:6000], 5100, INFO))
    assert Flag.GAP in after.flags
    assert rms(after.data - brain[5100:6000], 0.0, 0.3) < 0.1 * rms(x - brain, 0, 60)


def test_a_long_gap_starts_anew(brain):
    x = brain + mains(50.13, 40.0)
    block = LineCanceller()
    block.prepare(INFO)
    block.process(Chunk(x[:5000], T[:5000], 0, INFO))
    after = block.process(Chunk(x[6000:7000], T[6000:7000], 6000, INFO))
    assert np.array_equal(after.data, stream(LineCanceller(), x[6000:7000]))


def test_unknown_values_stay_where_they_are_and_disturb_no_one(brain):
    x = brain + mains(50.0, 40.0)
    broken = x.copy()
    broken[5000:5100, 1] = np.nan
    y, whole = stream(LineCanceller(), broken), stream(LineCanceller(), x)
    assert np.array_equal(np.isnan(y), np.isnan(broken))
    assert rms((y - brain)[5100:, 1:2], 0, 1) < 0.05 * 40
    others = [0, *range(2, 8)]
    assert y[:, others] == pytest.approx(whole[:, others], abs=2.0)  # of 40 uV; they share the frequency alone


def test_triggers_pass_unchanged():
    info = StreamInfo("amp", RATE, (Channel("C3"), Channel("trig", Kind.TRIG, "")))
    x = np.random.default_rng(0).standard_normal((500, 2))
    x[:, 1] = np.arange(500) % 3
    assert np.array_equal(Chain([LineCanceller()]).run(x, info)[:, 1], x[:, 1])


@pytest.mark.parametrize(
    "make",
    [
        lambda: LineCanceller(5.0),
        lambda: LineCanceller(width_hz=0.0),
        lambda: LineCanceller(range_hz=9.0),
        lambda: LineCanceller(harmonics=-1),
        lambda: LineCanceller(124.5).prepare(INFO),
    ],
)
def test_what_does_not_fit_is_refused(make):
    with pytest.raises(ConfigError, match="got"):
        make()
