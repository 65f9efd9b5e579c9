from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import median_abs_deviation

from bci.errors import ConfigError, DataError
from bci.signal.chain import Chain
from bci.signal.log_power import LogPower
from bci.signal.normalise import Baseline, RobustStandardize, Standardize
from bci.stream import Channel, Chunk, Event, Flag, Kind, StreamInfo
from bci.testing.block import check_block

INFO = StreamInfo("eeg", 100.0, tuple(Channel(n) for n in ("C3", "Cz", "C4")))
TRIGGERED = StreamInfo("eeg", 100.0, (Channel("C3", scale=0.5), Channel("STI", Kind.TRIG, "")))
BLOCKS = {
    "running": Standardize,
    "forgets": lambda: Standardize(2.0),
    "for ever": lambda: Standardize(np.inf),
    "robust": lambda: RobustStandardize(5.0, 200),
    "robust for ever": lambda: RobustStandardize(np.inf),
    "rest": lambda: Baseline("e0"),
    "rest until": lambda: Baseline("e7", "e1000", "percent", 2.0),
    "log-power": lambda: LogPower(0.3),
}


def samples(n=3000, seed=0):
    return 1000 + np.random.default_rng(seed).standard_normal((n, 3)) * [1, 20, 5]


def chunk(data, start=0, events=(), flags=Flag.OK, info=INFO):
    return Chunk(data, (start + np.arange(len(data))) / info.sfreq, start, info, events, flags)


def run(block, data, *events):
    block.prepare(INFO)
    return block.process(chunk(data, events=events)).data


@pytest.mark.parametrize("name", ["for ever", "robust for ever", "rest until"])  # the others: test_signal.py
def test_law_holds(name):
    check_block(BLOCKS[name], INFO)


@pytest.mark.parametrize("name", BLOCKS)
def test_any_cut_gives_the_same_bits(name):
    data, (one, two) = samples(), (BLOCKS[name](), BLOCKS[name]())
    whole = run(one, data)
    two.prepare(INFO)
    parts = [two.process(chunk(data[a : a + 13], a)).data for a in range(0, 3000, 13)]
    assert (np.concatenate(parts) == whole).all()


@pytest.mark.parametrize("memory_s", [3.0, np.inf])
def test_mean_and_deviation_are_the_weighted_ones_of_the_samples_so_far(memory_s):
    data = samples(800)
    out = run(Standardize(memory_s), data)
    for t in (1, 2, 50, 799):
        weights = np.exp(-np.arange(t, -1, -1) / (memory_s * 100))
        mean = np.average(data[: t + 1], axis=0, weights=weights)
        sd = np.sqrt(np.average((data[: t + 1] - mean) ** 2, axis=0, weights=weights))
        np.testing.assert_allclose(out[t], (data[t] - mean) / sd, rtol=1e-9)


def test_an_offset_of_a_million_costs_no_digits():
    data = samples(1000)
    np.testing.assert_allclose(run(Standardize(), data + 2.0**20), run(Standardize(), data), atol=1e-6)


def test_first_sample_is_zero_and_the_nth_is_at_most_root_of_n_less_one():
    data = samples(100)
    data[1:, 0] = 1e6 * np.arange(1, 100) ** 3
    out = run(Standardize(), data)
    assert (out[0] == 0).all()
    assert (np.abs(out) <= np.sqrt(np.arange(100))[:, None] + 1e-9).all()


def test_flat_channel_is_zero():
    for block in (Standardize(), RobustStandardize()):
        assert (run(block, np.full((500, 3), 7.0)) == 0).all()


def test_gap_starts_the_mean_anew_and_keeps_the_deviation():
    block, data = Standardize(), samples()
    run(block, data)
    after = block.process(chunk(data[:200] + 500, 4000, flags=Flag.GAP)).data
    assert (after[0] == 0).all() and np.abs(after).max() < 4.5
    assert 0.8 < after.std() < 1.2


def test_median_and_mad_are_exact_while_all_samples_are_kept():
    data = samples(1000)
    out = run(RobustStandardize(np.inf, 1000, warm_s=0.1), data)
    for t in (9, 55, 500, 995):  # 50 ms after the start of a reading at most
        seen = data[: t // 5 * 5 + 1] if t >= 10 else data[: t + 1]
        middle, spread = np.median(seen, axis=0), median_abs_deviation(seen, axis=0, scale="normal")
        if t == 9:
            np.testing.assert_allclose(out[8], ((data[8] - data[:9].mean(0)) / data[:9].std(0)), rtol=1e-9)
        else:
            np.testing.assert_allclose(out[t], (data[t] - middle) / spread, rtol=1e-9)


def test_reservoir_forgets_with_its_time_constant():
    step = np.r_[np.zeros(20_000), np.ones(2000)][:, None] + np.linspace(0, 0.01, 22_000)[:, None]
    block = RobustStandardize(10.0, 1000)
    block.prepare(replace(INFO, channels=INFO.channels[:1]))
    block.process(Chunk(step, np.arange(22_000) / 100, 0, replace(INFO, channels=INFO.channels[:1])))
    kept = np.mean(block._rows < 0.5)  # 2000 samples after the step: exp(-2) of the old are left
    assert abs(kept - np.exp(-2)) < 4 * np.sqrt(0.135 * 0.865 / 1000)


def test_artefacts_of_a_tenth_of_the_time_hardly_move_the_robust_spread():
    data = samples(6000)
    dirty = data.copy()
    dirty[np.random.default_rng(1).random(6000) < 0.1] += 1e5
    clean = np.random.default_rng(1).random(6000) >= 0.1
    robust, plain = (run(b, dirty)[3000:][clean[3000:]].std() for b in (RobustStandardize(), Standardize()))
    assert 0.8 < robust < 1.05 and plain < 0.01


def test_only_rest_is_the_reference():
    data = samples(3000)
    data[1000:2000] *= 3
    events = (Event(500, 5.0, "rest"), Event(900, 9.0, "left"), Event(2500, 25.0, "rest"), Event(2600, 26.0, "left"))
    out = run(Baseline(), data, *events)
    rest = data[500:900]
    np.testing.assert_allclose(out[1500], (data[1500] - rest.mean(0)) / rest.std(0), rtol=1e-9)
    rest = np.concatenate([rest, data[2500:2600]])
    np.testing.assert_allclose(out[2999], (data[2999] - rest.mean(0)) / rest.std(0), rtol=1e-9)


def test_percentage_is_the_event_related_desynchronisation():
    power = np.full((500, 3), 8.0)
    power[300:] = 6.0
    out = run(Baseline(until_code="go", measure="percent"), power, Event(0, 0.0, "rest"), Event(300, 3.0, "go"))
    assert np.allclose(out[:300], 0) and np.allclose(out[300:], -25)
    assert Baseline(measure="percent").prepare(INFO).channels[0].unit == "%"


def test_gap_ends_a_rest_and_keeps_its_reference():
    block, data = Baseline(), samples(1000)
    run(block, data, Event(0, 0.0, "rest"))
    assert block.is_resting
    after = block.process(chunk(data * 9, 2000, flags=Flag.GAP)).data
    assert not block.is_resting
    np.testing.assert_allclose(after, (data * 9 - data.mean(0)) / data.std(0), rtol=1e-9)


def test_until_there_was_rest_all_samples_stand_in():
    data = samples(500)
    np.testing.assert_allclose(run(Baseline(), data), run(Standardize(np.inf), data), rtol=1e-9)


def test_log_power_is_the_logarithm_of_the_weighted_mean_square():
    data = samples(300) - 1000
    out = run(LogPower(0.5), data)
    weights = np.exp(-np.arange(299, -1, -1) / 50)
    np.testing.assert_allclose(out[0], 2 * np.log10(np.abs(data[0])), rtol=1e-9)
    np.testing.assert_allclose(out[299], np.log10(np.average(data**2, axis=0, weights=weights)), rtol=1e-9)
    assert LogPower().prepare(INFO).channels[0].unit == "lg(uV²)"
    assert (run(LogPower(), np.zeros((5, 3))) == -6).all()


@pytest.mark.parametrize("name", BLOCKS)
def test_nan_is_not_learned_and_stays_where_it_is(name):
    data = samples(1000)
    data[400:420, 1] = np.nan
    broken = run(BLOCKS[name](), data)
    assert np.isnan(broken[400:420, 1]).all() and np.isnan(broken).sum() == 20
    if "robust" not in name:
        without = run(BLOCKS[name](), np.delete(data, slice(400, 420), axis=0))
        np.testing.assert_allclose(broken[420:, 1], without[400:, 1], rtol=1e-12)


@pytest.mark.parametrize("name", BLOCKS)
def test_trigger_passes_and_integers_are_brought_to_their_unit(name):
    block = BLOCKS[name]()
    out_info = block.prepare(TRIGGERED)
    data = np.column_stack([np.random.default_rng(0).integers(-500, 500, 400), np.arange(400)]).astype(np.int16)
    out = block.process(chunk(data, info=TRIGGERED))
    alone = BLOCKS[name]()
    alone.prepare(StreamInfo("eeg", 100.0, (Channel("C3"),)))
    physical = chunk(data[:, :1] * 0.5, info=StreamInfo("eeg", 100.0, (Channel("C3"),)))
    assert (out.data[:, 1] == data[:, 1]).all() and out_info.channels[1] == TRIGGERED.channels[1]
    assert (out.data[:, 0] == alone.process(physical).data[:, 0]).all()


def test_normalised_offline_is_normalised_online():
    data = samples()
    assert (Chain([Standardize()]).run(data, INFO) == run(Standardize(), data)).all()


@pytest.mark.parametrize(
    "make",
    [lambda: Standardize(0.0), lambda: RobustStandardize(30.0, 10), lambda: RobustStandardize(warm_s=-1.0),
     lambda: Baseline("a", "a"), lambda: Baseline(measure="ratio"), lambda: LogPower(-1.0),
     lambda: LogPower(floor=0.0)],
)  # fmt: skip
def test_settings_out_of_range_are_refused(make):
    with pytest.raises(ConfigError, match="got"):
        make()


def test_process_before_prepare_is_refused():
    with pytest.raises(DataError, match="prepare"):
        Standardize().process(chunk(samples()))
