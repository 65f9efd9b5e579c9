"""Filters, chain and decimation on hard input: unknown values, gaps, other kinds, events."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bci.errors import ConfigError, DataError
from bci.signal.chain import Chain
from bci.signal.decimate import Decimate
from bci.signal.filters import Bandpass, Highpass, Lowpass, Notch
from bci.signal.program import Program
from bci.signal.spatial import Laplacian, Pick, Reference, SpatialFilter
from bci.signal.stages import AverageStage, MatrixStage, SosStage
from bci.stream import Channel, Chunk, Event, Flag, Kind, StreamInfo

INFO = StreamInfo("amp", 250.0, tuple(Channel(n) for n in ("C3", "Cz", "C4", "Pz")))
MIXED = StreamInfo("amp", 250.0, (Channel("C3"), Channel("C4"), Channel("trig", Kind.TRIG, "")))


def noise(n=1000, seed=0):
    return np.random.default_rng(seed).standard_normal((n, 4)) * 10 + 100


def outputs(block, data, cuts=(), start=0, info=INFO, flags=Flag.OK):
    """Process the pieces of `data`; the first carries `flags`."""
    edges = [0, *sorted(cuts), len(data)]
    return [
        block.process(Chunk(data[a:b], np.arange(a, b) / info.sfreq, start + a, info, (), flags if k == 0 else Flag.OK))
        for k, (a, b) in enumerate(pairwise(edges))
    ]


def prepared(block, info=INFO):
    block.prepare(info)
    return block


def joined(chunks):
    return np.concatenate([c.data for c in chunks])


# ------------------------------------------------------------------ frequency responses
@pytest.mark.parametrize("block", [Bandpass(8, 30), Highpass(5), Lowpass(40), Notch(50, False), Bandpass(1, 4, 2)])
@pytest.mark.parametrize("hz", [3.0, 8.0, 17.0, 30.0, 50.0, 90.0])
def test_a_sine_comes_out_as_the_theory_of_the_filter_says(block, hz):
    from scipy.signal import sosfreqz

    info = INFO.pick(["C3"])
    y = Chain([block]).run(np.sin(2 * np.pi * hz * np.arange(10000) / 250.0)[:, None], info)[5000:, 0]
    (stage,) = prepared(block, info).stages()
    _, (response,) = sosfreqz(stage.sos, [hz], fs=250.0)
    # 5000 samples are whole periods of every frequency used: a projection is exact.
    phasor = 2 * np.mean(y * np.exp(-2j * np.pi * hz * np.arange(5000, 10000) / 250.0)) * 1j
    assert abs(phasor - response) < 1e-5


@pytest.mark.parametrize("block", [Bandpass(8, 30), Lowpass(40), Notch(50)])
def test_group_delay_equals_the_slope_of_the_phase(block):
    from scipy.signal import sosfreqz

    (stage,) = prepared(block).stages()
    hz = {"Bandpass": np.sqrt(240.0), "Lowpass": 0.0, "Notch": 25.0}[type(block).__name__]
    _, h = sosfreqz(stage.sos, [hz - 1e-3, hz + 1e-3], fs=250.0)
    assert block.delay_s == pytest.approx(-np.angle(h[1] / h[0]) / (2 * np.pi * 2e-3), abs=1e-6)


@pytest.mark.parametrize("factor", [2, 5, 10, 50])
def test_decimation_passes_what_fits_and_stops_what_does_not(factor):
    info = StreamInfo("amp", 1000.0, (Channel("C3"),))
    nyquist = 500.0 / factor
    t = np.arange(factor * 4000) / 1000.0
    for ratio, low, high in ((0.5, 0.99, 1.01), (1.05, 0.0, 1e-2), (1.2, 0.0, 1.1e-4), (1.5, 0.0, 1.1e-4)):
        hz = ratio * nyquist
        if hz < 500:
            y = Chain([Decimate(factor)]).run(np.sin(2 * np.pi * hz * t)[:, None], info)[1000:]
            assert low <= np.sqrt(2) * y.std() <= high


# ------------------------------------------------------------------ unknown values
@settings(deadline=None, max_examples=40)
@given(st.lists(st.tuples(st.integers(0, 299), st.integers(0, 3)), max_size=60), st.lists(st.integers(0, 300)))
def test_output_is_unknown_exactly_where_its_input_is(holes, cuts):
    data = noise(300)
    for t, c in holes:
        data[t, c] = np.nan
    out = joined(outputs(prepared(Chain([Notch(50), Reference(), Bandpass(8, 30)])), data, cuts))
    assert np.array_equal(np.isnan(out), np.isnan(data))
    whole = joined(outputs(prepared(Chain([Notch(50), Reference(), Bandpass(8, 30)])), data))
    assert np.array_equal(out, whole, equal_nan=True)


@pytest.mark.parametrize("strange", [np.inf, -np.inf, 1e300, np.nan])
def test_what_no_signal_can_be_counts_as_unknown(strange):
    data = noise()
    data[100, 1] = strange
    (out,) = outputs(prepared(Bandpass(8, 30)), data)
    assert np.isnan(out.data[100, 1]) and Flag.NAN in out.flags
    assert np.isfinite(np.delete(out.data, 100, axis=0)).all()


def test_a_filter_goes_on_from_the_last_known_value():
    data, held = noise(), noise()
    data[200:220, 2] = np.nan
    held[200:220, 2] = held[199, 2]
    got = joined(outputs(prepared(Bandpass(8, 30)), data))
    expected = joined(outputs(prepared(Bandpass(8, 30)), held))
    known = ~np.isnan(data)
    assert np.array_equal(got[known], expected[known])


def test_a_channel_that_is_known_late_starts_without_transient():
    data = np.full((500, 4), 1e4)
    data[:77, 1] = np.nan
    for cuts in ((), (50,), (77,), (78, 100)):
        out = joined(outputs(prepared(Bandpass(8, 30)), data, cuts))
        assert np.nanmax(np.abs(out)) < 1e-6


def test_the_flag_of_unknown_values_goes_when_their_channel_is_picked_away():
    data = noise(10)
    data[3, 0] = np.nan
    (out,) = outputs(prepared(Pick(("C4",))), data, flags=Flag.NAN)
    assert out.flags == Flag.OK


def test_a_matrix_output_is_unknown_only_where_an_input_it_uses_is():
    data = np.ones((5, 4))
    data[2, 0] = np.nan
    (out,) = outputs(prepared(SpatialFilter([[1.0, 1, 0, 0], [0, 1, 1, 0]], ("a", "b"))), data)
    assert np.isnan(out.data).tolist() == [[t == 2, False] for t in range(5)]


# ------------------------------------------------------------------ gaps, kinds, types
@pytest.mark.parametrize("flags", [Flag.OK, Flag.GAP])
def test_after_a_gap_the_chain_is_as_new_if_it_shall(flags):
    make = lambda: prepared(Chain([Bandpass(8, 30), Reference(), Lowpass(20)], gap="reset"))  # noqa: E731
    chain, after = make(), noise(seed=1) + 5000
    outputs(chain, noise())
    (out,) = outputs(chain, after, start=1000 if flags else 1010, flags=flags)
    assert Flag.GAP in out.flags
    assert np.array_equal(out.data, joined(outputs(make(), after)))


def test_a_gap_on_an_empty_chunk_counts_at_the_next_sample():
    block = prepared(Bandpass(8, 30))
    outputs(block, noise())
    block.process(Chunk.empty(INFO, 1000, Flag.GAP))
    (out,) = outputs(block, np.full((10, 4), 1e6), start=1000)
    assert np.abs(out.data).max() < 1e-4


def test_triggers_pass_filters_and_decimation_unchanged():
    data = np.column_stack([noise(100)[:, :2], np.arange(100) % 7])
    (out,) = outputs(prepared(Chain([Notch(50), Bandpass(8, 30), Decimate(5)]), MIXED), data, info=MIXED)
    assert (out.data[:, 2] == data[::5, 2]).all()


@pytest.mark.parametrize("dtype", [np.int16, np.int32, np.float32])
def test_devices_may_deliver_other_number_types(dtype):
    data = noise().astype(dtype)
    got = outputs(prepared(Bandpass(8, 30)), data)[0].data
    assert got.dtype == np.float64
    assert np.array_equal(got, outputs(prepared(Bandpass(8, 30)), data.astype(np.float64))[0].data)


def test_another_rate_or_other_channels_are_refused():
    block = prepared(Chain([Bandpass(8, 30)]))
    for other in (StreamInfo("amp", 500.0, INFO.channels), INFO.pick(["Cz", "C3", "C4", "Pz"])):
        with pytest.raises(DataError, match="prepare"):
            block.process(Chunk(noise(5), np.zeros(5), 0, other))


# ------------------------------------------------------------------ fusing
def test_neighbouring_cascades_and_matrices_become_one_stage():
    blocks = [
        Notch(50),
        Bandpass(8, 30),
        Reference(),
        SpatialFilter(np.eye(4), "abcd"),
        SpatialFilter(np.eye(4), "wxyz"),
    ]
    chain = Chain(blocks)
    chain.prepare(INFO)
    stages = Program([s for b in blocks for s in b.stages()], INFO, INFO).stages
    assert [type(s) for s in stages] == [SosStage, AverageStage, MatrixStage]


def test_a_fused_chain_equals_its_blocks_one_by_one():
    make = lambda: [  # noqa: E731
        Notch(50),
        Bandpass(8, 30),
        Reference(("Cz",), ()),
        Lowpass(25),
        Decimate(2),
        Laplacian({"C3": ("Cz", "Pz"), "C4": ("Cz",)}),
        SpatialFilter([[1.0, -1.0]], ("lateral",)),
    ]
    chunks, info = outputs(prepared(Chain([])), noise()), INFO
    for block in make():
        info = block.prepare(info)
        chunks = [block.process(c) for c in chunks]
    assert Chain(make()).run(noise(), INFO) == pytest.approx(joined(chunks), abs=1e-9)


def test_delay_of_a_chain_is_the_sum():
    blocks = [Bandpass(8, 30), Decimate(2), Lowpass(20)]
    chain = prepared(Chain(blocks))
    assert chain.delay_s == pytest.approx(sum(b.delay_s for b in blocks)) and chain.delay_s > 0


def test_running_an_array_leaves_the_live_state_alone():
    chain, data = prepared(Chain([Bandpass(8, 30)])), noise()
    first = outputs(chain, data[:500])
    chain.run(noise(seed=3), INFO)
    rest = outputs(chain, data[500:], start=500)
    assert np.array_equal(joined(first + rest), chain.run(data, INFO))


def test_a_chain_of_nothing_passes_samples_and_events():
    chain = prepared(Chain([]))
    event = Event(3, 0.012, "go")
    out = chain.process(Chunk(noise(5), np.arange(5.0), 0, INFO, (event,)))
    assert np.array_equal(out.data, noise(5)) and out.events == (event,)


def test_what_is_no_block_is_refused():
    with pytest.raises(ConfigError, match="made of blocks"):
        Chain(["bandpass"])


# ------------------------------------------------------------------ decimation: numbers and events
@settings(deadline=None, max_examples=60)
@given(
    st.integers(1, 9),
    st.integers(0, 20),
    st.lists(st.integers(0, 100), max_size=20),
    st.lists(st.integers(0, 99), max_size=20, unique=True),
)
def test_decimation_keeps_every_number_and_event_in_any_cutting(factor, start, cuts, samples):
    block = prepared(Decimate(factor))
    edges = [0, *sorted(cuts), 100]
    numbers, events = [], []
    for a, b in pairwise(edges):
        inside = tuple(Event(start + s, 0.0, str(start + s)) for s in samples if a <= s < b)
        out = block.process(Chunk(noise(b - a), np.arange(a, b) + float(start), start + a, INFO, inside))
        numbers += list(range(out.start, out.stop))
        assert (out.times == factor * np.arange(out.start, out.stop)).all()
        assert all(e.sample < out.stop for e in out.events)
        events += out.events
    assert numbers == [s // factor for s in range(start, start + 100) if s % factor == 0]
    last = numbers[-1] if numbers else -1
    expected = {str(start + s): -(-(start + s) // factor) for s in samples if -(-(start + s) // factor) <= last}
    assert {e.code: e.sample for e in events} == expected
    assert len(events) == len(expected)


def test_a_gap_between_two_kept_samples_is_still_told():
    block = prepared(Decimate(10))
    outputs(block, noise(15))
    (out,) = outputs(block, noise(15), start=17, flags=Flag.GAP)
    assert (out.start, out.flags) == (2, Flag.GAP)


def test_a_gap_before_a_chunk_without_kept_samples_is_told_with_the_next_one():
    block = prepared(Decimate(10))
    outputs(block, noise(15))
    outputs(block, noise(2), start=17, flags=Flag.GAP)
    (out,) = outputs(block, noise(5), start=19)
    assert (out.start, out.flags) == (2, Flag.GAP)


def test_silence_that_is_over_does_not_stick_to_decimated_samples():
    info = StreamInfo("amp", 100.0, (Channel("C3"),))
    block = Decimate(2)
    block.prepare(info)
    assert block.process(Chunk.empty(info, 0, Flag.SILENT)).flags == Flag.SILENT
    assert block.process(Chunk(np.ones((10, 1)), np.arange(10) / 100, 0, info)).flags == Flag.OK
