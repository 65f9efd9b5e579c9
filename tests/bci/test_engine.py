"""The compiled engine against independent implementations, and its law: bits do not depend on cuts or neighbours."""

import copy
import pickle
import subprocess
import sys
import warnings
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import signal

from bci.signal import kernels, plain
from bci.signal.assembly import Assembly, passes
from bci.signal.chain import Chain
from bci.signal.decimate import Decimate
from bci.signal.filters import Bandpass, Notch
from bci.signal.program import Program
from bci.signal.spatial import Reference
from bci.signal.stages import (
    AverageStage,
    BankStage,
    DecimateStage,
    FirStage,
    MatrixStage,
    PickStage,
    SosStage,
    steady_state,
)
from bci.stream import Channel, Chunk, Flag, StreamInfo, read_only

DESIGNS = {
    "band-pass": signal.butter(4, [0.1, 0.3], "bandpass", output="sos"),
    "odd order": signal.butter(5, 0.2, output="sos"),
    "odd band": signal.butter(3, [0.1, 0.3], "bandpass", output="sos"),
    "elliptic": signal.ellip(8, 0.05, 80, 0.2, output="sos"),
    "bessel": signal.bessel(6, 0.2, output="sos"),
    "shelf": np.array([[1.2, -1.9, 0.8, 1.0, -1.8, 0.9]]),
    "not normalised": np.array([[2.0, 1.0, 2.0, 4.0, -1.0, 0.5]]),
    "seven sections": signal.butter(14, 0.5, output="sos"),
    "thirteen sections": signal.butter(13, [0.2, 0.5], "bandpass", output="sos"),
}


def run_once(stages, data):
    """Return the output of the fused code from states of zero."""
    tape = Assembly(stages, data.shape[1])
    rows = len(data)
    for stage in stages:
        rows = -(-rows // stage.factor) if isinstance(stage, DecimateStage) else rows
    out = np.full((rows, tape.n_outputs), np.nan)
    assert kernels.run(read_only(np.ascontiguousarray(data)), out, tape.code, tape.memory) == len(data)
    return out


def _width(stages, n_channels):
    for stage in stages:
        if isinstance(stage, MatrixStage):
            n_channels = len(stage.matrix)
        elif isinstance(stage, PickStage):
            n_channels = len(stage.columns)
        elif isinstance(stage, BankStage):
            n_channels = len(stage.source())
    return n_channels


def noise(n, n_channels, seed=0):
    return np.random.default_rng(seed).standard_normal((n, n_channels)) * 20


# ------------------------------------------------------------------ known answers
@pytest.mark.parametrize("name", DESIGNS)
@pytest.mark.parametrize("n_channels", [1, 3, 8, 21, 64])
def test_a_cascade_is_that_of_scipy(name, n_channels):
    data = noise(700, n_channels)
    out = run_once([SosStage(DESIGNS[name], np.ones(n_channels, bool))], data)
    sos = DESIGNS[name] / DESIGNS[name][:, 3:4]
    expected = signal.sosfilt(sos, data, axis=0)
    assert np.abs(out - expected).max() <= 1e-11 * np.abs(expected).max()


def test_sections_with_zeros_on_the_circle_need_three_products():
    unit = {name for name, sos in DESIGNS.items() if all(part.is_unit for part in passes(sos))}
    assert unit == {"band-pass", "elliptic", "bessel", "not normalised", "seven sections"}


@pytest.mark.parametrize("n_channels", [1, 5, 16, 30])
@pytest.mark.parametrize("n_taps", [1, 2, 33, 400])
def test_taps_are_those_of_scipy(n_channels, n_taps):
    data, taps = noise(600, n_channels), np.random.default_rng(1).standard_normal(n_taps)
    out = run_once([FirStage(taps, np.ones(n_channels, bool))], data)
    assert np.allclose(out, signal.lfilter(taps, 1.0, data, axis=0), rtol=0, atol=1e-10)


def test_channels_that_are_not_filtered_pass_unchanged():
    data, columns = noise(300, 9), np.array([0, 1, 1, 0, 0, 1, 1, 1, 0], bool)
    for stage in (SosStage(DESIGNS["elliptic"], columns), FirStage(np.ones(7), columns)):
        out = run_once([stage], data)
        assert np.array_equal(out[:, ~columns], data[:, ~columns])
        whole = run_once([replace(stage, columns=np.ones(9, bool))], data)
        assert np.array_equal(out[:, columns], whole[:, columns])


def test_a_bank_is_its_cascades_side_by_side():
    columns = np.array([1, 1, 0, 1, 1, 1, 1, 1, 0, 1], bool)
    data, bands = noise(400, 10), [DESIGNS["band-pass"], DESIGNS["elliptic"]]
    out = run_once([BankStage(np.stack(bands), columns)], data)
    for k, sos in enumerate(bands):
        expected = run_once([SosStage(sos, np.ones(8, bool))], data[:, columns])
        assert out[:, 8 * k : 8 * k + 8].tobytes() == expected.tobytes()
    assert np.array_equal(out[:, 16:], data[:, ~columns])


@pytest.mark.parametrize(("n_in", "n_out"), [(1, 1), (4, 2), (7, 29), (64, 64)])
def test_a_matrix_is_that_of_numpy(n_in, n_out):
    data, matrix = noise(100, n_in), np.random.default_rng(1).standard_normal((n_out, n_in))
    assert np.allclose(run_once([MatrixStage(matrix)], data), data @ matrix.T, rtol=0, atol=1e-10)


@pytest.mark.parametrize("members", [[0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10], [2, 3, 4], [5, 1, 9], [10]])
@pytest.mark.parametrize("targets", [list(range(11)), [1, 2, 3], [0, 4, 8]])
@pytest.mark.parametrize("after_filter", [False, True])
def test_an_average_is_subtracted_from_its_targets(members, targets, after_filter):
    data = noise(50, 11)
    columns = np.isin(np.arange(11), members)
    stages = [SosStage(DESIGNS["shelf"], columns)] if after_filter else []
    expected = data.copy()
    if after_filter:
        expected[:, columns] = signal.sosfilt(DESIGNS["shelf"], data[:, columns], axis=0)
    expected[:, targets] -= expected[:, members].mean(axis=1, keepdims=True)
    out = run_once([*stages, AverageStage(np.array(members), np.array(targets))], data)
    assert np.allclose(out, expected, rtol=0, atol=1e-11)


def test_rows_are_kept_by_number():
    data = np.arange(40.0)[:, None] * np.ones(3)
    assert run_once([DecimateStage(7)], data)[:, 0].tolist() == [0, 7, 14, 21, 28, 35]
    assert run_once([DecimateStage(2), DecimateStage(3)], data)[:, 1].tolist() == [0, 6, 12, 18, 24, 30, 36]


def test_stages_of_all_kinds_one_after_the_other():
    data = noise(500, 12)
    matrix = np.random.default_rng(2).standard_normal((5, 8))
    pick = np.array([11, 3, 4, 0, 8, 2, 1, 7])
    stages = [
        SosStage(DESIGNS["elliptic"], np.ones(12, bool)), PickStage(pick), AverageStage(np.arange(8), np.arange(8)),
        MatrixStage(matrix), FirStage(np.hanning(21), np.ones(5, bool)), DecimateStage(4),
        SosStage(DESIGNS["bessel"], np.ones(5, bool)), AverageStage(np.array([0, 3]), np.arange(5)),
    ]  # fmt: skip
    x = signal.sosfilt(DESIGNS["elliptic"], data, axis=0)[:, pick]
    x = (x - x.mean(axis=1, keepdims=True)) @ matrix.T
    x = signal.lfilter(np.hanning(21), 1.0, x, axis=0)[::4]
    x = signal.sosfilt(DESIGNS["bessel"], x, axis=0)
    x = x - x[:, [0, 3]].mean(axis=1, keepdims=True)
    assert np.allclose(run_once(stages, data), x, rtol=0, atol=1e-9)


# ------------------------------------------------------------------ the law
def program_of(stages, n_channels, factor=1):
    info = StreamInfo("amp", 1000.0, tuple(Channel(f"c{i}") for i in range(n_channels)))
    out_info = StreamInfo("amp", 1000.0 / factor, tuple(Channel(f"o{i}") for i in range(_width(stages, n_channels))))
    return Program(stages, info, out_info)


def streamed(program, data, cuts=(), start=0):
    edges = [0, *sorted(cuts), len(data)]
    return [
        program.process(Chunk(data[a:b], np.arange(a, b) / 1000.0, start + a, program.info)) for a, b in pairwise(edges)
    ]


STAGES = st.sampled_from(["sos", "long sos", "fir", "average", "some average", "pick", "matrix", "decimate", "bank"])


@st.composite
def programs(draw):
    """Return (stages, channels, factor)."""
    n = n_channels = draw(st.sampled_from([1, 2, 5, 8, 19, 33]))
    rng = np.random.default_rng(draw(st.integers(0, 1000)))
    stages, factor = [], 1
    for kind in draw(st.lists(STAGES, max_size=5)):
        columns = rng.random(n) < 0.8
        if kind == "sos":
            stages.append(SosStage(DESIGNS[str(rng.choice(["band-pass", "shelf", "odd order"]))], columns))
        elif kind == "long sos":
            stages.append(SosStage(DESIGNS["thirteen sections"], columns))
        elif kind == "fir":
            stages.append(FirStage(rng.standard_normal(rng.integers(1, 40)), columns))
        elif kind == "average":
            stages.append(AverageStage(np.arange(n), np.arange(n)))
        elif kind == "some average":
            stages.append(AverageStage(rng.permutation(n)[: rng.integers(1, n + 1)], np.flatnonzero(columns)))
        elif kind == "pick":
            stages.append(PickStage(rng.permutation(n)[: rng.integers(1, n + 1)]))
            n = len(stages[-1].columns)
        elif kind == "matrix":
            n_out = int(rng.integers(1, 20))
            stages.append(MatrixStage(rng.standard_normal((n_out, n)) * (rng.random((n_out, n)) < 0.5)))
            n = n_out
        elif kind == "bank":
            stages.append(BankStage(np.stack([DESIGNS["band-pass"], DESIGNS["elliptic"]]), columns))
            n = len(stages[-1].source())
        elif factor < 20:
            stages.append(DecimateStage(int(rng.integers(2, 5))))
            factor *= stages[-1].factor
    return stages, n_channels, factor


@settings(deadline=None, max_examples=100)
@given(
    programs(),
    st.lists(st.integers(0, 900), max_size=12),
    st.integers(0, 50),
    st.lists(st.integers(0, 30000), max_size=6),
)
def test_every_bit_is_the_same_however_the_stream_is_cut(program, cuts, start, holes):
    stages, n_channels, factor = program
    data = noise(900, n_channels)
    for hole in holes:
        data.flat[hole % data.size] = np.nan
    one = streamed(program_of(stages, n_channels, factor), data, start=start)
    two = streamed(program_of(stages, n_channels, factor), data, cuts, start)
    joined = [np.concatenate([c.data for c in part]) for part in (one, two)]
    assert joined[0].tobytes() == joined[1].tobytes()
    assert np.array_equal(np.concatenate([c.times for c in one]), np.concatenate([c.times for c in two]))
    numbers = [[k for c in part for k in range(c.start, c.stop)] for part in (one, two)]
    assert numbers[0] == numbers[1] == list(range(-(-start // factor), -(-(start + 900) // factor)))


@settings(deadline=None, max_examples=25)
@given(st.integers(1, 40), st.integers(0, 39), st.sampled_from(sorted(DESIGNS)))
def test_the_bits_of_a_channel_do_not_depend_on_its_neighbours(n_channels, k, name):
    data, k = noise(60, n_channels), k % n_channels
    stage = lambda n: SosStage(DESIGNS[name], np.ones(n, bool))  # noqa: E731
    alone = run_once([stage(1)], data[:, k : k + 1])
    assert run_once([stage(n_channels)], data)[:, k].tobytes() == alone[:, 0].tobytes()


@pytest.mark.parametrize("name", DESIGNS)
def test_a_filter_begins_where_it_would_rest(name):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        program = program_of([SosStage(DESIGNS[name], np.ones(3, bool))], 3)
    (out,) = streamed(program, np.full((50, 3), 1234.5))
    sos = DESIGNS[name]
    gain = np.prod(sos[:, :3].sum(axis=1) / sos[:, 3:].sum(axis=1))
    assert np.abs(out.data - gain * 1234.5).max() < 1e-6
    assert steady_state(sos / sos[:, 3:4], 2.0)[0, 1] == pytest.approx(2 * steady_state(sos / sos[:, 3:4])[0, 1])


@pytest.mark.parametrize("number", [np.float32, np.int16, np.int32, np.uint8, np.float64])
def test_numbers_of_every_type_are_taken_with_their_scale(number):
    numbers = np.random.default_rng(0).integers(0, 200, (300, 5)).astype(number)
    scales = np.array([1.0, 0.5, 0.022, -3.0, 1e-3])
    info = StreamInfo("amp", 250.0, tuple(Channel(f"c{i}", scale=s) for i, s in enumerate(scales)))
    stages = [SosStage(DESIGNS["band-pass"], np.ones(5, bool))]
    out = Program(stages, info, info.physical()).process(Chunk(numbers, np.arange(300) / 250, 0, info)).data
    plain = Program(stages, info.physical(), info.physical())
    expected = plain.process(Chunk(numbers * scales, np.arange(300) / 250, 0, info.physical())).data
    assert out.tobytes() == expected.tobytes()


def test_rows_that_can_be_written_to_give_the_same_as_rows_that_cannot():
    """Two types for the compiler: code from its cache and code made now must not be mixed up."""
    stages, data = [SosStage(DESIGNS["band-pass"], np.ones(20, bool)), MatrixStage(np.eye(20))], noise(90, 20)
    out = []
    for rows in (data, read_only(data)):
        tape = Assembly(stages, 20)
        out.append(np.empty((90, 20)))
        kernels.run(rows, out[-1], tape.code, tape.memory)
    assert out[0].tobytes() == out[1].tobytes()
    assert np.allclose(out[0], signal.sosfilt(DESIGNS["band-pass"], data, axis=0), rtol=0, atol=1e-11)


@pytest.mark.parametrize("duplicate", [copy.deepcopy, lambda program: pickle.loads(pickle.dumps(program))])
def test_a_copy_goes_its_own_way(duplicate):
    stages = [SosStage(DESIGNS["band-pass"], np.ones(4, bool)), FirStage(np.ones(9), np.ones(4, bool))]
    data = noise(300, 4)
    whole = np.concatenate([c.data for c in streamed(program_of(stages, 4), data, [100])])
    first = program_of(stages, 4)
    streamed(first, data[:100])
    second = duplicate(first)
    streamed(first, noise(50, 4, seed=9), start=100)
    (rest,) = streamed(second, data[100:], start=100)
    assert rest.data.tobytes() == whole[100:].tobytes()


@pytest.mark.parametrize("hole", [4000, 600, 255, 256, 257])
def test_an_unknown_value_behind_whole_blocks_of_rows_is_replaced_by_the_value_before_it(hole):
    stages, data = [SosStage(DESIGNS["band-pass"], np.ones(4, bool))], noise(5000, 4)
    data[hole : hole + 3, 2] = np.nan
    whole = np.concatenate([c.data for c in streamed(program_of(stages, 4), data)])
    for cuts in ([10], [10, hole - 1], [10, hole], [10, hole + 1]):
        parts = streamed(program_of(stages, 4), data, cuts)
        assert Flag.NAN in parts[-1].flags or hole < cuts[-1]
        assert np.concatenate([c.data for c in parts]).tobytes() == whole.tobytes()
    assert np.argwhere(np.isnan(whole)).tolist() == [[hole + k, 2] for k in range(3)]


def test_a_filter_behind_a_lower_rate_waits_for_its_first_row():
    """The first sample, which is unknown, is not kept: the filter gets a mask and no row."""
    stages, data = [DecimateStage(3), SosStage(DESIGNS["band-pass"], np.ones(2, bool))], noise(60, 2)
    data[0, 1] = np.nan
    one = streamed(program_of(stages, 2, 3), data, start=1)
    two = streamed(program_of(stages, 2, 3), data, [1], start=1)
    assert np.concatenate([c.data for c in one]).tobytes() == np.concatenate([c.data for c in two]).tobytes()


# ------------------------------------------------------------------ without a compiler
@settings(deadline=None, max_examples=60)
@given(programs(), st.lists(st.integers(0, 400), max_size=6))
def test_without_a_compiler_the_numbers_are_the_same_up_to_rounding(program, cuts):
    stages, n_channels, factor = program
    data, made = noise(400, n_channels), program_of(stages, n_channels, factor)
    compiled = np.concatenate([c.data for c in streamed(made, data)])
    made = program_of(stages, n_channels, factor)
    made._run = plain.run
    for runner in made._runners:
        runner._run = plain.run
    slow = np.concatenate([c.data for c in streamed(made, data, cuts)])
    assert np.abs(slow - compiled).max(initial=0.0) <= 1e-9 * max(1.0, np.abs(compiled).max(initial=0.0))


def test_a_chain_works_where_numba_is_missing(tmp_path):
    text = """
import sys
sys.modules["numba"] = sys.modules["llvmlite"] = None
import numpy as np
from bci.signal.chain import Chain
from bci.signal.decimate import Decimate
from bci.signal.filters import Bandpass, Notch
from bci.signal.spatial import Reference
from bci.stream import Channel, StreamInfo
info = StreamInfo("amp", 250.0, tuple(Channel(f"c{i}") for i in range(5)))
data = np.random.default_rng(0).standard_normal((2000, 5)) + 50
data[700:720, 2] = np.nan
np.save(sys.argv[1], Chain([Notch(50), Bandpass(8, 30), Reference(), Decimate(2)]).run(data, info))
"""
    out = tmp_path / "out.npy"
    subprocess.run([sys.executable, "-c", text, str(out)], check=True)
    slow = np.load(out)
    info = StreamInfo("amp", 250.0, tuple(Channel(f"c{i}") for i in range(5)))
    data = np.random.default_rng(0).standard_normal((2000, 5)) + 50
    data[700:720, 2] = np.nan
    fast = Chain([Notch(50), Bandpass(8, 30), Reference(), Decimate(2)]).run(data, info)
    assert np.array_equal(np.isnan(slow), np.isnan(fast))
    assert np.nanmax(np.abs(slow - fast)) < 1e-9
