import numpy as np
import pytest
from scipy import signal, special

from bci.errors import ConfigError
from bci.signal.connectivity import Connectivity
from bci.stream import Channel, Chunk, StreamInfo
from bci.testing.block import check_block

SFREQ = 200.0
INFO = StreamInfo("amp", SFREQ, tuple(Channel(n) for n in ("a", "b", "c")))
MEASURES = ("coherence", "imaginary", "plv")
RNG = np.random.default_rng(0)


def rows(block, data):
    info = INFO.pick(INFO.ch_names[: data.shape[1]])
    block.prepare(info)
    return block.process(Chunk(data, np.arange(len(data)) / SFREQ, 0, info)).data


@pytest.mark.parametrize("measure", ["coherence", "plv"])
def test_connectivity_keeps_the_law(measure):
    check_block(lambda: Connectivity([(8, 12), (20, 30)], measure, window_s=1.0), INFO)


def test_names_of_all_and_of_chosen_pairs():
    every = Connectivity({"mu": (8, 12)}, "plv").prepare(INFO).ch_names
    chosen = Connectivity([(8, 12), (13, 30)], "coherence", [("c", "a")]).prepare(INFO).ch_names
    assert every == ["a × b mu phase locking", "a × c mu phase locking", "b × c mu phase locking"]
    assert chosen == ["c × a 8-12 Hz coherence", "c × a 13-30 Hz coherence"]


def test_coherence_of_a_shared_signal_is_that_of_theory():
    # x + noise and x + noise of powers 1 + q: coherence 1 / ((1 + q1) (1 + q2)), at once in both: no imaginary part.
    shared = RNG.standard_normal(40_000)
    data = np.column_stack([shared, shared]) + RNG.standard_normal((40_000, 2)) * np.sqrt([0.5, 2.0])
    truth = 1 / (1.5 * 3.0)
    found = rows(Connectivity([(20, 60)], "coherence", window_s=10.0, step_s=10.0), data)
    # Of 400 independent values a window; 20 windows: bias (1 - C)² / 400, standard error below 0.01.
    assert abs(found.mean() - truth) < 0.03
    imaginary = rows(Connectivity([(20, 60)], "imaginary", window_s=10.0, step_s=10.0), data)
    assert abs(imaginary.mean()) < 0.03


def test_coherence_is_that_of_the_cross_spectra_of_scipy():
    x = RNG.standard_normal(100_000)
    y = signal.lfilter([1.0], [1.0, -1.6, 0.9], x) + 4 * RNG.standard_normal(100_000)
    bands = [(10, 15), (17, 20), (60, 80)]
    found = rows(Connectivity(bands, "coherence", window_s=100.0, step_s=100.0), np.column_stack([x, y]))[-1]
    f, cross = signal.csd(x, y, SFREQ, nperseg=2000)
    one, other = (signal.welch(z, SFREQ, nperseg=2000)[1] for z in (x, y))
    for value, (low, high) in zip(found, bands, strict=True):
        k = (f >= low) & (f <= high)
        assert abs(value - abs(cross[k].sum()) ** 2 / (one[k].sum() * other[k].sum())) < 0.05


@pytest.mark.parametrize("quarter", [1, -1])
def test_imaginary_coherence_tells_who_is_ahead(quarter):
    t = np.arange(4000) / SFREQ
    ahead = np.sin(2 * np.pi * 10 * t + quarter * np.pi / 2)
    data = np.column_stack([ahead, np.sin(2 * np.pi * 10 * t)]) + 0.01 * RNG.standard_normal((4000, 2))
    assert np.allclose(rows(Connectivity([(8, 12)]), data), quarter, atol=1e-3)


@pytest.mark.parametrize("depth", [0.0, 0.7, 1.5])
def test_phase_locking_of_a_swinging_phase_is_a_bessel_function(depth):
    # The mean of exp(i d sin) over whole periods is J0(d). 4 s, of which the middle 3 s count: three swings.
    t = np.arange(8000) / SFREQ
    a = 3 * np.sin(2 * np.pi * 20.3 * t)
    b = (1 + 0.5 * np.sin(2 * np.pi * 0.4 * t)) * np.sin(2 * np.pi * 20.3 * t + depth * np.sin(2 * np.pi * t) + 1.0)
    found = rows(Connectivity([(12, 29)], "plv", window_s=4.0, step_s=1.0), np.column_stack([a, b]))
    assert np.allclose(found, abs(special.j0(depth)), atol=0.01)


def test_independent_signals_have_the_floor_that_the_notes_say():
    data = RNG.standard_normal((100_000, 2))
    coherence = rows(Connectivity([(8, 12)], "coherence", step_s=2.0), data).mean()
    locking = rows(Connectivity([(8, 12)], "plv", step_s=2.0), data).mean()
    n = 2.0 * 4.0
    assert 0.7 < coherence * n < 1.5 and 0.8 < locking * np.sqrt(n) / 0.9 < 1.25


def test_many_pairs_are_what_each_pair_alone_is():
    data = RNG.standard_normal((800, 3))
    for measure in MEASURES:
        block = Connectivity([(8, 12), (12, 20)], measure)
        every = rows(block, data)
        alone = rows(Connectivity([(8, 12), (12, 20)], measure, [("b", "c"), ("b", "a")]), data)
        assert np.allclose(alone[:, [0, 2]], every[:, [2, 5]])
        assert np.allclose(alone[:, 1], -every[:, 0] if measure == "imaginary" else every[:, 0])


def test_unknown_channel_is_unknown_in_its_pairs_only():
    data = RNG.standard_normal((400, 3))
    data[100, 2] = np.nan
    found = rows(Connectivity([(8, 12)]), data)
    assert np.isnan(found).tolist() == [[False, True, True]]


def test_connectivity_says_what_it_needs():
    with pytest.raises(ConfigError, match="measure"):
        Connectivity([(8, 12)], "coupling")
    with pytest.raises(ConfigError, match="two channels"):
        Connectivity([(8, 12)], pairs=[("a", "a")])
    with pytest.raises(ConfigError, match="one signal"):
        Connectivity([(8, 12)]).prepare(INFO.pick(["a"]))
    with pytest.raises(ConfigError, match="unknown channel"):
        Connectivity([(8, 12)], pairs=[("a", "x")]).prepare(INFO)
