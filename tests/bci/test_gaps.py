"""Where samples are missing: filters go across short gaps, begin anew after long ones, and nothing rings."""

import copy
import pickle
from dataclasses import replace

import numpy as np
import pytest
from scipy import signal

from bci.config import SessionConfig
from bci.errors import ConfigError, DataError
from bci.signal.chain import Chain
from bci.signal.decimate import Decimate
from bci.signal.detrend import Detrend
from bci.signal.filters import Bandpass, Highpass, Lowpass, Notch
from bci.signal.fir import Fir
from bci.signal.pipeline import Pipeline
from bci.signal.spatial import Pick, Reference, SpatialFilter
from bci.stream import Channel, Chunk, Flag, Kind, StreamInfo
from bci.testing import check_block
from bci.trial import Slide

SFREQ = 250.0
INFO = StreamInfo("gaps", SFREQ, tuple(Channel(n) for n in ("C3", "Cz", "C4", "Pz")))
N, GONE = 6000, range(4000, 4100)  # 0.4 s

CHAINS = {
    "band": lambda: [Bandpass(8, 30)],
    "notch, band, average": lambda: [Notch(), Bandpass(8, 30), Reference()],
    "broad": lambda: [Bandpass(1, 40), Reference()],
    "slow": lambda: [Highpass(0.1)],
    "drift": lambda: [Highpass(0.5), Lowpass(40)],
    "taps": lambda: [Fir(8.0, 30.0)],
    "slower rate": lambda: [Bandpass(1, 30), Decimate(4), Highpass(2)],
    "mixed": lambda: [Highpass(0.5), SpatialFilter(np.eye(4)[:2] - 0.25, ("a", "b")), Lowpass(30), Pick(("b", "a"))],
}


def eeg(seed=0, mains_uv=0.0):
    """Return a rhythm with noise on an offset of mV that drifts by 200 uV per second."""
    rng, t = np.random.default_rng(seed), np.arange(N)[:, None] / SFREQ
    rhythm = 10 * np.sin(2 * np.pi * 10 * t + rng.uniform(0, 6, 4)) + 2 * rng.standard_normal((N, 4))
    mains = mains_uv * np.sin(2 * np.pi * 50 * t)
    return rhythm + mains + rng.standard_normal(4) * 2000 + t * rng.standard_normal(4) * 200


def stream(block, data, cuts=(), missing=range(0), info=INFO, flag=Flag.OK):
    """Return the numbers and the rows that come out, and the flags of each chunk."""
    block.prepare(info)
    edges = sorted({0, len(data), missing.start, missing.stop, *cuts})
    outs = [
        block.process(
            Chunk(data[a:b].copy(), np.arange(a, b) / SFREQ, a, info, (), flag if a == missing.stop else Flag.OK)
        )
        for a, b in zip(edges[:-1], edges[1:], strict=True)
        if a not in missing
    ]
    numbers = np.concatenate([np.arange(o.start, o.stop) for o in outs])
    return numbers, np.concatenate([o.data for o in outs]), [o.flags for o in outs]


def error_and_signal(make, data, missing, **settings):
    """Return the largest difference that a gap makes after it, and the largest value without one."""
    numbers, whole, _ = stream(Chain(make(), **settings), data)
    rest, cut, _ = stream(Chain(make(), **settings), data, missing=missing)
    kept = np.isin(numbers, rest)
    return np.abs(cut - whole[kept]).max(), np.abs(whole[len(whole) // 2 :]).max()


def transient(make, data, missing, **settings):
    """Return the largest difference that a gap makes after it, over the largest value without one."""
    error, largest = error_and_signal(make, data, missing, **settings)
    return error / largest


# ------------------------------------------------------------------ across a gap
@pytest.mark.parametrize("name", CHAINS)
def test_a_bridged_gap_of_a_drifting_signal_makes_less_than_the_signal(name):
    assert transient(CHAINS[name], eeg(), GONE) <= 1.3


@pytest.mark.parametrize("name", ["band", "notch, band, average"])
def test_a_band_that_begins_anew_makes_no_more_than_the_signal(name):
    assert transient(CHAINS[name], eeg(), GONE, gap="reset") <= 1.3


def test_slow_filters_remember_the_drift_only_across_a_bridge():
    bridged, anew = (transient(CHAINS["slow"], eeg(), GONE, gap=g) for g in ("bridge", "reset"))
    assert bridged < 0.3 and anew > 2


def test_a_bridge_of_a_straight_signal_changes_nothing():
    data = np.linspace(0, 3000, N)[:, None] * [1.0, -1, 2, 0.5] + 7
    for name, make in CHAINS.items():
        error, _ = error_and_signal(make, data, GONE)
        assert error < (0.05 if "notch" in name else 1e-7)  # uV; a notch takes it for a level, without its lag


@pytest.mark.parametrize("name", CHAINS)
def test_what_comes_after_a_gap_does_not_depend_on_cuts(name):
    data = eeg()
    data[GONE.stop : GONE.stop + 3, 1] = np.nan
    data[:20, 2] = np.nan
    once = stream(Chain(CHAINS[name]()), data, missing=GONE)
    for cuts in (range(0, N, 7), range(0, N, 32), (3999, 4101, 4102)):
        again = stream(Chain(CHAINS[name]()), data, cuts, GONE)
        assert np.array_equal(once[0], again[0])
        assert once[1].tobytes() == again[1].tobytes()


def test_nothing_is_delivered_for_the_missing_samples_and_the_flag_stays():
    numbers, out, flags = stream(Chain(CHAINS["band"]()), eeg(), missing=GONE)
    assert np.array_equal(numbers, [*range(GONE.start), *range(GONE.stop, N)])
    assert flags == [Flag.OK, Flag.GAP] and np.isfinite(out).all()


def test_the_mains_in_a_notch_goes_on_across_a_gap():
    _, cut, _ = stream(Chain([Notch(50, harmonics=False)]), eeg(mains_uv=200) - eeg(), missing=GONE)
    # What is left is the line's: it begins at the mains of the last sample and ends at that of the first.
    assert np.abs(cut[3000:]).max() < 10
    _, cut, _ = stream(Chain([Notch(50, harmonics=False)], gap="reset"), eeg(mains_uv=200) - eeg(), missing=GONE)
    assert np.abs(cut[4000:4010]).max() > 100


def test_a_gap_longer_than_the_bridge_or_of_unknown_length_begins_anew():
    data = eeg()
    for missing, flag, bridge_s in ((GONE, Flag.OK, 0.39), (range(4000, 4000), Flag.GAP, 1.0)):
        _, out, flags = stream(Chain([Highpass(0.5)], bridge_s=bridge_s), data, [4000], missing, flag=flag)
        zi = signal.sosfilt_zi(signal.butter(4, 0.5, "high", fs=SFREQ, output="sos"))
        after = data[missing.stop :]
        expected, _ = signal.sosfilt(
            signal.butter(4, 0.5, "high", fs=SFREQ, output="sos"), after, axis=0, zi=zi[:, :, None] * after[0]
        )
        assert np.allclose(out[4000:], expected, rtol=0, atol=1e-6)
        assert Flag.GAP in flags[1]


def test_a_step_behind_a_stage_with_its_own_runner_is_bridged_too():
    assert transient(lambda: [Detrend(), Lowpass(30)], eeg(), GONE) < 1.3


@pytest.mark.parametrize("n_missing", [1, 100])
@pytest.mark.parametrize("name", ["band", "slow", "taps", "slower rate", "mixed"])
def test_a_level_that_jumped_over_a_gap_or_an_unknown_sample_is_no_step(name, n_missing):
    data, gone = np.full((N, 4), 500.0), slice(4000, 4000 + n_missing)
    data[gone.stop :] += [3000.0, 0.0, -9000.0, 1000.0]
    _, out, _ = stream(Chain(CHAINS[name]()), data, missing=range(gone.start, gone.stop))
    assert np.ptp(out[-len(out) // 4 :], axis=0).max() < 1e-5
    data[gone] = np.nan
    _, out, _ = stream(Chain(CHAINS[name]()), data)
    assert np.ptp(out[-len(out) // 4 :], axis=0).max() < 1e-5


def test_a_jump_behind_a_stage_with_its_own_runner_begins_anew():
    data = np.full((N, 4), 500.0)
    data[GONE.stop :, 2] += 5000
    _, out, _ = stream(Chain([Detrend()]), data, missing=GONE)
    assert np.abs(out[GONE.start :]).max() < 1e-6


def test_integers_are_bridged_in_their_units():
    info = replace(INFO, channels=tuple(replace(c, scale=0.5) for c in INFO.channels))
    counts = np.round(eeg()).astype(np.int32)
    _, scaled, _ = stream(Chain(CHAINS["drift"]()), counts, missing=GONE, info=info)
    _, plain, _ = stream(Chain(CHAINS["drift"]()), counts * 0.5, missing=GONE)
    assert np.allclose(scaled, plain, rtol=0, atol=1e-9)


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda c: pickle.loads(pickle.dumps(c))])
def test_a_copied_chain_bridges_as_the_first(copied):
    data, chain = eeg(), Chain(CHAINS["drift"]())
    chain.prepare(INFO)
    chain.process(Chunk(data[:4000], np.arange(4000) / SFREQ, 0, INFO))
    other = copied(chain)
    rest = Chunk(data[4100:], np.arange(4100, N) / SFREQ, 4100, INFO)
    assert other.process(rest).data.tobytes() == chain.process(rest).data.tobytes()


@pytest.mark.parametrize("name", CHAINS)
def test_a_chain_that_bridges_keeps_the_contract_of_blocks(name):
    check_block(lambda: Chain(CHAINS[name](), bridge_s=0.3), INFO)


# ------------------------------------------------------------------ a channel that was unknown
@pytest.mark.parametrize(
    ("name", "n_gone"),
    [
        *((n, k) for n in ("band", "notch, band, average", "broad", "taps") for k in (1, 125, 250, 251, 500)),
        *(("drift", 1), ("drift", 250), ("slow", 250)),
    ],
)
def test_a_channel_that_is_known_again_does_not_ring(name, n_gone):
    data = eeg()
    _, whole, _ = stream(Chain(CHAINS[name]()), data)
    data[4000 : 4000 + n_gone, 0] = np.nan
    _, out, _ = stream(Chain(CHAINS[name]()), data)
    later = 4000 + n_gone
    assert np.abs(out - whole)[later:].max() <= 2 * np.abs(whole[3000:]).max()
    assert np.isfinite(out[later + 250 :]).all()


@pytest.mark.parametrize("name", ["band", "slow", "taps", "slower rate", "mixed"])
def test_a_level_that_changed_while_a_channel_was_unknown_for_long_is_no_step(name):
    data = np.full((N, 4), 500.0)
    data[4000:4300, 0] = np.nan
    data[4300:, 0] += 3000
    _, out, _ = stream(Chain(CHAINS[name]()), data)
    later = out[-len(out) // 4 :]
    assert np.ptp(later, axis=0).max() < 1e-5 and np.isfinite(later).all()


def test_a_line_stands_for_a_channel_that_was_unknown_for_a_while():
    data = np.linspace(0, 3000, N)[:, None] * [1.0, -1, 2, 0.5]
    for make in (CHAINS["slow"], CHAINS["taps"], CHAINS["slower rate"]):
        _, whole, _ = stream(Chain(make()), data)
        gone = data.copy()
        gone[4000:4100, 0] = np.nan
        _, out, _ = stream(Chain(make()), gone)
        known = np.isfinite(out)
        assert np.allclose(out[known], whole[known], rtol=0, atol=1e-7)
        assert known[:, 1:].all() and not known[:, 0].all()


def test_channels_that_come_and_go_do_not_depend_on_cuts():
    rng, data = np.random.default_rng(3), eeg()
    for begin in rng.integers(0, N - 300, 12):
        data[begin : begin + rng.integers(1, 300), rng.integers(4)] = np.nan
    for name in ("notch, band, average", "slower rate", "mixed", "taps"):
        once = stream(Chain(CHAINS[name]()), data, missing=GONE)
        for cuts in (range(0, N, 1), range(0, N, 32), rng.integers(0, N, 40)):
            again = stream(Chain(CHAINS[name]()), data, [int(c) for c in cuts], GONE)
            assert once[1].tobytes() == again[1].tobytes()


# ------------------------------------------------------------------ settings and changed streams
@pytest.mark.parametrize("settings", [{"gap": "guess"}, {"bridge_s": 0.0}, {"bridge_s": -1.0}, {"bridge_s": np.nan}])
def test_a_policy_that_does_not_exist_is_refused(settings):
    with pytest.raises(ConfigError, match="reset"):
        Chain([], **settings)


def test_a_file_says_the_policy_of_a_session():
    made = SessionConfig.from_mapping({"gap": "reset", "bridge_s": 0.2}).session()
    assert (made.pipeline.chain.gap, made.pipeline.chain.bridge_s) == ("reset", 0.2)
    assert made.resolved["gap"] == "reset"
    with pytest.raises(ConfigError, match="gap must be"):
        SessionConfig.from_mapping({"gap": 1})


OTHERS = {
    "missing Pz; not known to it POz": replace(INFO, channels=(*INFO.channels[:3], Channel("POz"))),
    "another order: Pz": replace(INFO, channels=INFO.channels[::-1]),
    "250 Hz, got 500 Hz": replace(INFO, sfreq=500.0),
    "C3 as eeg in uV, got eog in uV": replace(INFO, channels=(Channel("C3", Kind.EOG), *INFO.channels[1:])),
    "C3 with scale 1.0, got scale 0.5": replace(INFO, channels=(Channel("C3", scale=0.5), *INFO.channels[1:])),
}


@pytest.mark.parametrize("what", OTHERS)
@pytest.mark.parametrize("make", [lambda: Chain([Bandpass(8, 30)]), lambda: Pipeline([], Slide(1.0, 0.5))])
def test_a_changed_stream_is_refused_and_what_changed_is_said(make, what):
    one, other = make(), OTHERS[what]
    one.prepare(INFO)
    take = one.push if isinstance(one, Pipeline) else one.process
    with pytest.raises(DataError, match=rf"{what}.*; call prepare again"):
        take(Chunk(np.zeros((5, 4)), np.zeros(5), 0, other))
