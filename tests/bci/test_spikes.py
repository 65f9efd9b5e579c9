from dataclasses import replace

import numpy as np
import pytest
from scipy.signal import butter, sosfilt

from bci.errors import ConfigError, DataError
from bci.signal.spikes import SpikeBandPower, SpikeCount, ThresholdCrossings
from bci.stream import Channel, Chunk, Event, Flag, Kind, StreamInfo
from bci.testing.block import check_block

INFO = StreamInfo("array", 5000.0, tuple(Channel(n) for n in ("e1", "e2", "e3")))
BLOCKS = {
    "count": lambda: SpikeCount(0.05, 1.5),
    "count by rms": lambda: SpikeCount(0.1, 1.0, "rms", "both", 0.0),
    "crossings": lambda: ThresholdCrossings(1.5, side="positive", calibrate_s=0.3),
    "fixed": lambda: ThresholdCrossings(thresholds_uv=(100.0, 110.0, 120.0), side="positive"),
    "spike-band": lambda: SpikeBandPower(0.02),
}


def chunk(data, start=0, flags=Flag.OK, events=(), info=INFO):
    return Chunk(data, (start + np.arange(len(data))) / info.sfreq, start, info, events, flags)


def noise(n=20_000, seed=0):
    return np.random.default_rng(seed).standard_normal((n, 3)) * [5.0, 10.0, 20.0]


def run(block, data, info=INFO):
    block.prepare(info)
    return block.process(chunk(data, info=info)).data


def crossings(data, thresholds, refractory):
    """The definition, slowly: beyond, not beyond just before, and none within the refractory time."""
    found, last = np.zeros(data.shape), np.full(data.shape[1], -(10**9))
    for t in range(1, len(data)):
        for c in range(data.shape[1]):
            begins = data[t, c] <= -thresholds[c] < data[t - 1, c]
            if begins and t - last[c] >= refractory:
                found[t, c], last[c] = 1, t
    return found


@pytest.mark.parametrize("name", ["count by rms", "crossings", "fixed", "spike-band"])
def test_law_holds(name):
    check_block(BLOCKS[name], INFO)


@pytest.mark.parametrize("name", BLOCKS)
def test_any_cut_gives_the_same_bits(name):
    data = noise()
    whole = run(BLOCKS[name](), data)
    block = BLOCKS[name]()
    block.prepare(INFO)
    parts = [block.process(chunk(data[a : a + 77], a)).data for a in range(0, len(data), 77)]
    assert (np.concatenate(parts) == whole).all()


@pytest.mark.parametrize("refractory", [0, 1, 20])
def test_crossings_are_those_of_the_definition(refractory):
    data, thresholds = noise(), (8.0, 15.0, 40.0)
    block = ThresholdCrossings(thresholds_uv=thresholds, refractory_s=refractory / 5000)
    got = run(block, data)
    expected = crossings(data, thresholds, refractory)
    assert expected.sum() > 1000 and (got == expected).all()


def test_count_is_the_sum_of_the_crossings_of_its_bin():
    data = noise()
    counts, raster = run(SpikeCount(0.1, 2.0), data), run(ThresholdCrossings(2.0), data)
    assert counts.sum() > 100 and (counts == raster.reshape(-1, 500, 3).sum(axis=1)).all()


@pytest.mark.parametrize("kind", ["median", "rms"])
def test_threshold_is_the_multiple_of_the_noise(kind):
    block = SpikeCount(0.1, 4.0, kind)
    run(block, noise(100_000))
    # The median of 256 magnitudes scatters by 1 / (2 f(m) m sqrt(256)) of itself, f(m) = 0.636 at m = 0.674: 7 %.
    np.testing.assert_allclose(block.limits, 4.0 * np.array([5, 10, 20]), rtol=0.2 if kind == "median" else 0.02)


def test_firing_moves_the_rms_but_hardly_the_median():
    quiet, limits = noise(100_000), {}
    firing = quiet.copy()
    at = np.random.default_rng(1).integers(0, 99_990, 2000)
    for k in range(4):
        firing[at + k] -= 100.0
    for kind in ("median", "rms"):
        for name, data in (("quiet", quiet), ("firing", firing)):
            block = SpikeCount(0.1, 4.0, kind)
            run(block, data)
            limits[kind, name] = block.limits[0]
    assert limits["rms", "firing"] / limits["rms", "quiet"] > 4
    assert limits["median", "firing"] / limits["median", "quiet"] < 1.3


def test_false_crossings_of_normal_noise_are_as_rare_as_theory_says():
    data = noise(400_000)
    counts = run(SpikeCount(1.0, thresholds_uv=(15.0, 30.0, 60.0), refractory_s=0.0), data).sum(axis=0)
    p = 0.00134990  # beyond three standard deviations on one side
    expected = 400_000 * p * (1 - p)
    assert (np.abs(counts - expected) < 5 * np.sqrt(expected)).all()


def test_calibration_leaves_the_thresholds_and_they_can_be_given_again():
    block, data = ThresholdCrossings(3.0, calibrate_s=1.0), noise()
    block.prepare(INFO)
    block.process(chunk(data[:6000]))
    learned = block.limits
    first = block.process(chunk(10 * data[6000:], 6000)).data
    assert (block.limits == learned).all()
    given = ThresholdCrossings(thresholds_uv=learned)
    given.prepare(INFO)
    given.process(chunk(data[5990:6000], 5990))
    second = given.process(chunk(10 * data[6000:], 6000)).data
    assert first.sum() > 100 and (first[10:] == second[10:]).all()


def test_thresholds_follow_the_noise():
    block = SpikeCount(0.1, 4.0, memory_s=1.0)
    run(block, np.concatenate([noise(20_000), 3 * noise(40_000, 1)]))
    np.testing.assert_allclose(block.limits, 12.0 * np.array([5, 10, 20]), rtol=0.2)


def test_nothing_counts_before_there_is_a_threshold():
    assert run(ThresholdCrossings(0.1), noise())[:500].sum() == 0


def test_bin_with_a_gap_inside_is_left_out_and_what_follows_beyond_the_threshold_is_no_crossing():
    block = SpikeCount(0.01, thresholds_uv=(10.0, 10.0, 10.0))
    block.prepare(INFO)
    block.process(chunk(np.zeros((75, 3))))
    after = block.process(chunk(np.full((100, 3), -50.0), 200, Flag.GAP))
    late = block.process(chunk(np.zeros((125, 3)), 325, Flag.GAP))
    assert (after.start, after.n_samples, after.data.sum()) == (4, 2, 0)
    assert (late.start, late.n_samples) == (7, 2) and Flag.GAP in late.flags


def test_nan_makes_its_bin_unknown_in_its_channel_alone():
    data = noise()
    data[1234, 1] = np.nan
    counts = run(SpikeCount(0.1, 2.0), data)
    assert np.isnan(counts[2, 1]) and np.isnan(counts).sum() == 1


def test_dead_channel_crosses_nothing():
    block = SpikeCount(0.1)
    assert run(block, np.zeros((20_000, 3))).sum() == 0 and np.isinf(block.limits).all()


def test_names_units_and_rate_say_what_comes_out():
    info = replace(INFO, channels=(Channel("e1", scale=0.25), Channel("STI", Kind.TRIG, "")))
    out = SpikeCount(0.02).prepare(info)
    assert (out.sfreq, [(c.name, c.unit) for c in out.channels]) == (50.0, [("e1 spikes", "1"), ("STI", "")])
    out = SpikeBandPower(0.02).prepare(info)
    assert out.ch_names == ["e1 300-1000 Hz magnitude", "STI"]


def test_integers_cross_as_their_microvolts_do():
    info = replace(INFO, channels=tuple(replace(c, scale=0.25) for c in INFO.channels))
    counts = np.round(noise() * 4).astype(np.int16)
    thresholds = (12.0, 25.0, 50.0)
    got = run(ThresholdCrossings(thresholds_uv=thresholds), counts, info)
    assert (got == run(ThresholdCrossings(thresholds_uv=thresholds), counts * 0.25)).all()


def test_trigger_channel_keeps_the_last_value_of_the_bin():
    info = replace(INFO, channels=(Channel("e1"), Channel("STI", Kind.TRIG, "")))
    data = np.column_stack([noise(1000)[:, 0], np.arange(1000)])
    assert run(SpikeCount(0.05), data, info)[:, 1].tolist() == [249, 499, 749, 999]


def test_event_comes_with_its_bin():
    block = SpikeCount(0.01)
    block.prepare(INFO)
    assert block.process(chunk(noise(30), events=(Event(3, 0.0006, "x"),))).events == ()
    assert block.process(chunk(noise(30), 30)).events[0].sample == 0


def test_spike_band_power_is_the_mean_magnitude_of_the_band():
    data = noise() + 1000
    out = run(SpikeBandPower(0.05), data)
    band = sosfilt(butter(2, [300, 1000], "bandpass", fs=5000, output="sos"), data - data[0], axis=0)
    np.testing.assert_allclose(out, np.abs(band).reshape(-1, 250, 3).mean(axis=1), rtol=1e-9)


@pytest.mark.parametrize(
    "settings",
    [
        {"bin_s": 0.0},
        {"multiple": 0.0},
        {"noise": "mad"},
        {"side": "up"},
        {"calibrate_s": -1.0},
        {"refractory_s": -1.0},
    ],
)
def test_settings_out_of_range_are_refused(settings):
    with pytest.raises(ConfigError, match="got"):
        SpikeCount(**{"bin_s": 0.1, **settings})


def test_thresholds_must_fit_the_channels():
    with pytest.raises(ConfigError, match="3 thresholds above 0"):
        SpikeCount(0.1, thresholds_uv=(1.0, 2.0)).prepare(INFO)
    with pytest.raises(ConfigError, match="at least one sample"):
        SpikeCount(1e-5).prepare(INFO)
    with pytest.raises(DataError, match="prepare"):
        SpikeBandPower().process(chunk(noise()))
