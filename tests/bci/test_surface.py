"""Splines, bipolar derivations, mastoids and the reference at infinity: against MNE, theory and a simulated head."""

from dataclasses import replace

import numpy as np
import pytest

from bci.errors import ConfigError
from bci.interop import from_ica, from_raw, to_raw
from bci.signal.chain import Chain
from bci.signal.filters import Highpass
from bci.signal.infinity import lead_field, sunflower, to_infinity
from bci.signal.places import directions
from bci.signal.spatial import Bipolar, Pick, Reference, SpatialFilter
from bci.signal.surface import Interpolate, SplineLaplacian
from bci.simulation.electrodes import names, positions
from bci.stream import Channel, Chunk, Kind, StreamInfo

mne = pytest.importorskip("mne")

RINGS = ("Fp1", "Fp2", "F7", "F8", "T7", "T8", "P7", "P8", "O1", "O2")
NAMES = (*RINGS, "F3", "Fz", "F4", "C3", "Cz", "C4", "P3", "Pz", "P4")
PLACES = [tuple(0.095 * place + (0, 0.01, 0.04)) for place in positions(NAMES)]
PLACED = StreamInfo("amp", 250.0, tuple(Channel(n, position=p) for n, p in zip(NAMES, PLACES, strict=True)))
SPHERE = (0.0, 0.01, 0.04, 0.095)
DATA = 20 * np.random.default_rng(0).standard_normal((500, 19)).cumsum(axis=1)


def run(block, data=DATA, info=PLACED):
    return Chain([block]).run(data, info)


@pytest.mark.parametrize(("stiffness", "smoothing"), [(4, 1e-5), (3, 1e-3)])
def test_spline_laplacian_equals_mne(stiffness, smoothing):
    raw = to_raw(DATA, PLACED)
    csd = mne.preprocessing.compute_current_source_density(raw, SPHERE, smoothing, stiffness, verbose="error")
    block = SplineLaplacian(stiffness, smoothing, sphere_m=SPHERE)
    np.testing.assert_allclose(run(block), csd.get_data().T * 1e6, rtol=1e-9, atol=1e-9 * np.abs(DATA).max() / 0.095**2)
    assert {c.unit for c in block.prepare(PLACED).channels} == {"uV/m²"}


def test_spline_laplacian_of_a_harmonic_is_known():
    """On a sphere of radius r the Laplacian of a harmonic of degree n is -n (n + 1) / r² times the harmonic."""
    where = positions(names())
    places, first = np.unique(where.round(9), axis=0, return_index=True)
    info = StreamInfo("dense", 250.0, tuple(Channel(f"e{k}", position=tuple(0.09 * where[k])) for k in first))
    z = where[first, 2]
    out = run(SplineLaplacian(smoothing=0.0, sphere_m=(0, 0, 0, 0.09)), np.stack([z, z]), info)[0]
    inner = z > 0.6  # the cap leaves the lower half open
    np.testing.assert_allclose(out[inner], 2 * z[inner] / 0.09**2, rtol=0.02)
    assert len(places) == len(first)


def test_spline_laplacian_does_not_depend_on_the_reference():
    np.testing.assert_allclose(run(SplineLaplacian()), run(SplineLaplacian(), DATA - DATA[:, :1]), atol=1e-6)


def test_interpolation_equals_mne_and_is_named():
    raw = to_raw(DATA, PLACED)
    raw.info["bads"] = ["C3", "O2"]
    expected = raw.interpolate_bads(reset_bads=False, origin=SPHERE[:3], verbose="error").get_data().T * 1e6
    block = Interpolate(("C3", "O2"), sphere_m=SPHERE)
    np.testing.assert_allclose(run(block), expected, rtol=0, atol=1e-9 * np.abs(DATA).max())
    again = Interpolate("Cz").prepare(block.prepare(PLACED))
    assert again.meta["interpolated"] == "C3 O2 Cz"


def test_interpolation_fills_a_channel_that_is_never_known():
    data = DATA.copy()
    data[:, 13] = np.nan
    data[100, 3] = np.nan
    out = run(Interpolate("C3"), data)
    assert np.argwhere(np.isnan(out)).tolist() == [[100, 3], [100, 13]]
    assert np.array_equal(np.delete(out, 13, 1), np.delete(data, 13, 1), equal_nan=True)


def test_sphere_is_fitted_to_positions_and_names_have_places():
    where, radius = directions(PLACED.channels)
    np.testing.assert_allclose(where, positions(NAMES), atol=1e-9)
    assert radius == pytest.approx(0.095)
    by_name, radius = directions([Channel(n) for n in NAMES])
    np.testing.assert_allclose(by_name, positions(NAMES))
    assert radius == 0.095


def test_bipolar_mastoids_and_matrices_by_name():
    info = StreamInfo("amp", 250.0, (*PLACED.channels, Channel("a1"), Channel("A2"), Channel("STI", Kind.TRIG, "1")))
    data = np.column_stack([DATA, DATA[:, :2] * 3, np.ones(500)])
    pairs = Bipolar((("C3", "P3"), ("C4", "P4")))
    assert pairs.prepare(info).ch_names == ["C3-P3", "C4-P4"]
    np.testing.assert_allclose(run(pairs, data, info)[:, 1], data[:, 15] - data[:, 18])
    mastoids = run(Reference("mastoids"), data, info)
    np.testing.assert_allclose(mastoids[:, :19], data[:, :19] - data[:, [19, 20]].mean(axis=1, keepdims=True))
    assert (mastoids[:, 21] == 1).all()
    picked = run(SpatialFilter([[1.0, -2.0]], ["it"], ["Cz", "C3"]), data, info)
    np.testing.assert_allclose(picked[:, 0], data[:, 14] - 2 * data[:, 13])


def test_lead_field_of_one_conductivity_is_that_of_a_sphere(monkeypatch):
    """Radial dipole at radius b in a homogeneous sphere: sum of (2n + 1) b^(n-1) P_n, in closed form."""
    from bci.signal import infinity

    monkeypatch.setattr(infinity, "_CONDUCTIVITIES", (1.0, 1.0, 1.0))
    where, b = positions(NAMES), 0.5
    field = lead_field(where, b * np.array([[0.0, 0.0, 1.0]]))[:, 0]
    x = where[:, 2]
    distance = np.sqrt(1 - 2 * b * x + b * b)
    closed = (2 * (x - b) / distance**3) + (1 / distance - 1) / b  # derivatives of the generating function
    np.testing.assert_allclose(field, closed, rtol=1e-9)


def test_infinity_reference_is_nearer_to_the_truth_than_the_average():
    rng = np.random.default_rng(3)
    where = positions(sorted(set(names()) - {"T3", "T4", "T5", "T6"}))
    sources = sunflower(400) * rng.uniform(0.3, 0.8, 400)[:, None]
    sources = sources[sources[:, 2] > -0.2]
    truth = rng.standard_normal((300, len(sources))) @ lead_field(where, sources).T
    measured = truth - truth[:, :1] + 0.005 * truth.std() * rng.standard_normal(truth.shape)
    average = measured - measured.mean(axis=1, keepdims=True)
    estimate = measured @ to_infinity(where).T
    error = [((x - truth) ** 2).sum() / (truth**2).sum() for x in (measured, average, estimate)]
    assert error[2] < 0.3 * error[1] < error[0]
    np.testing.assert_allclose(estimate - estimate.mean(axis=1, keepdims=True), average, atol=0.02 * average.std())


def test_infinity_reference_takes_eeg_alone_and_forgets_the_old_reference():
    info = replace(PLACED, channels=(*PLACED.channels, Channel("VEOG", Kind.EOG)))
    data = np.column_stack([DATA, DATA[:, 0]])
    out = run(Reference("infinity"), data, info)
    moved = data - np.where(np.arange(20) < 19, data[:, [4]], 0.0)
    np.testing.assert_allclose(out, run(Reference("infinity"), moved, info), atol=1e-9 * np.abs(DATA).max())
    assert np.array_equal(out[:, 19], data[:, 19])


def test_all_of_them_fuse():
    blocks = [Interpolate("C3"), Reference("infinity"), SplineLaplacian(), Pick("eeg"), Bipolar((("Cz", "Pz"),))]
    chain = Chain([Highpass(1.0), *blocks])
    chain.prepare(PLACED)
    assert len(chain._steps) == 1


@pytest.mark.parametrize(
    "block", [SplineLaplacian(), Interpolate("C3"), Reference("infinity"), Bipolar((("C3", "P3"),))]
)
def test_output_is_bit_equal_however_the_stream_is_cut(block):
    whole = run(block)
    block.prepare(PLACED)
    parts = [
        block.process(Chunk(DATA[a : a + 7], np.arange(len(DATA[a : a + 7])) / 250, a, PLACED))
        for a in range(0, 500, 7)
    ]
    assert np.array_equal(np.concatenate([p.data for p in parts]), whole)


def test_ica_of_mne_becomes_a_block():
    rng = np.random.default_rng(0)
    info = PLACED.pick(NAMES[:6])
    raw = to_raw(rng.laplace(size=(4000, 6)) @ rng.standard_normal((6, 6)) * 20, info)
    ica = mne.preprocessing.ICA(5, random_state=0, max_iter=200, verbose="error").fit(raw, verbose="error")
    data, info, _ = from_raw(raw)
    sources = run(from_ica(ica), data, info)
    expected = ica.get_sources(raw).get_data().T
    np.testing.assert_allclose(sources - sources.mean(axis=0), expected - expected.mean(axis=0), atol=1e-9)
    cleaned = run(from_ica(ica, [0, 2]), data, info)
    # MNE keeps all principal components on the way back, unless it is told otherwise.
    mnes = ica.apply(raw.copy(), exclude=[0, 2], verbose="error").get_data().T * 1e6
    np.testing.assert_allclose(cleaned - cleaned.mean(axis=0), mnes - mnes.mean(axis=0), atol=1e-6)


def test_what_cannot_work_is_an_error():
    grid = StreamInfo("grid", 250.0, tuple(Channel(f"ch{k}") for k in range(8)))
    with pytest.raises(ConfigError, match=r"no place for ch0.*Channel\(position"):
        SplineLaplacian().prepare(grid)
    with pytest.raises(ConfigError, match="one for a and b"):
        twins = replace(PLACED.channels[0], name="a"), replace(PLACED.channels[0], name="b")
        SplineLaplacian().prepare(replace(PLACED, channels=(*twins, *PLACED.channels[3:])))
    with pytest.raises(ConfigError, match="4 EEG channels or more"):
        Interpolate("Fp1").prepare(PLACED.pick(NAMES[:3]))
    with pytest.raises(ConfigError, match="name the channels to refer to"):
        Reference("mastoids").prepare(PLACED)
    with pytest.raises(ConfigError, match="one channel per column"):
        SpatialFilter(np.eye(2), "ab", ["Cz"])
    with pytest.raises(ConfigError, match="only those can be"):
        Interpolate("VEOG").prepare(replace(PLACED, channels=(*PLACED.channels, Channel("VEOG", Kind.EOG))))
