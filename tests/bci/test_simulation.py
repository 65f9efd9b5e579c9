"""The simulated person: physiology that can be checked, and nothing that leaks."""

import numpy as np
import pytest
from scipy.signal import butter, sosfiltfilt, welch

from bci.errors import ConfigError
from bci.simulation.electrodes import angles, names, positions
from bci.simulation.person import CHANNELS, Person

QUIET = {"alpha_uv": 0.0, "blinks_per_minute": 0.0, "line_uv": 0.0}


def band_power(data, low_hz, high_hz, sfreq=250.0):
    frequencies, density = welch(data, sfreq, nperseg=min(len(data), 500), axis=0)
    return density[(frequencies >= low_hz) & (frequencies <= high_hz)].mean(0)


def imagine(intent, *, seconds=60, **settings):
    """Return a person's signal while only `intent` is imagined, after the change has settled."""
    person = Person(seed=3, lapse=0.0, **QUIET, **settings)
    person.intend(intent)
    person.generate(500)
    return person.generate(int(seconds * 250))


def session(person, rng, n_trials=60):
    """Return windows of 2 s from 1 s after each cue, and the labels."""
    labels = rng.permutation(np.resize(["left", "right", "rest"], n_trials))
    onsets, parts = [], [person.generate(500)]
    for label in labels:
        onsets.append(person.sample)
        person.intend(label)
        parts.append(person.generate(1000))
        person.intend("")
        parts.append(person.generate(500))
    band = butter(4, [8, 30], "bandpass", fs=250, output="sos")
    signal = sosfiltfilt(band, np.concatenate(parts), axis=0)
    return np.array([signal[o + 250 : o + 750].T for o in onsets]), labels


def accuracy(seed, strength):
    """Return the cross-validated share of right windows for log power in two bands and a linear discriminant."""
    from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
    from sklearn.model_selection import StratifiedKFold, cross_val_score

    windows, labels = session(Person(seed=seed, strength=strength), np.random.default_rng(seed))
    frequencies, density = welch(windows, 250, nperseg=250)
    bands = [(frequencies >= low) & (frequencies <= high) for low, high in ((9, 13), (18, 24))]
    features = np.log(np.concatenate([density[..., band].mean(-1) for band in bands], axis=1))
    model = LinearDiscriminantAnalysis(solver="lsqr", shrinkage="auto")
    return cross_val_score(model, features, labels, cv=StratifiedKFold(5, shuffle=True, random_state=0)).mean()


@pytest.mark.parametrize("cut", [1, 7, 160, 1000])
def test_person_does_not_depend_on_how_it_is_read(cut):
    def act(size):
        person, parts = Person(seed=1), []
        person.intend("left", 333)
        person.intend("right", 1234)
        while person.sample < 2000:
            parts.append(person.generate(min(size, 2000 - person.sample)))
        return np.concatenate(parts)

    np.testing.assert_array_equal(act(cut), act(2000))


def test_generating_nothing_changes_nothing():
    one, two = Person(), Person()
    assert one.generate(0).shape == (0, len(CHANNELS))
    np.testing.assert_array_equal(one.generate(300), two.generate(300))


def test_seeds_give_different_people():
    assert not np.allclose(Person(seed=1).generate(100), Person(seed=2).generate(100))


def test_without_strength_the_signal_does_not_depend_on_the_intent():
    rest, left = imagine("rest", seconds=5, strength=0.0), imagine("left", seconds=5, strength=0.0)
    np.testing.assert_array_equal(rest, left)


@pytest.mark.parametrize(("intent", "quiet", "other"), [("right", "C3", "C4"), ("left", "C4", "C3")])
def test_imagery_quietens_the_opposite_hemisphere(intent, quiet, other):
    rest, acts = band_power(imagine("rest"), 9, 13), band_power(imagine(intent), 9, 13)
    change = dict(zip(CHANNELS, acts / rest, strict=True))
    assert change[quiet] < 0.75
    assert change[other] > 0.95


def test_change_begins_after_the_latency():
    settings = {"seed": 5, "lapse": 0.0, "latency_s": 0.4}
    acts, rests = Person(**settings), Person(**settings)
    acts.intend("left")
    difference = np.abs(acts.generate(500) - rests.generate(500)).max(1)
    assert not difference[:100].any()
    assert difference[250:].max() > 1.0


def test_truth_tells_what_was_intended_and_from_when():
    person = Person()
    person.generate(100)
    person.intend("left", 150)
    person.intend("a cross", 20)
    assert person.truth == [(150, "left"), (100, "rest")]


def test_noise_has_the_power_asked_for_and_falls_off_as_one_over_f():
    noise = Person(seed=2, noise_uv=10.0, mu_uv=0.0, **QUIET).generate(60000)
    frequencies, density = welch(noise, 250.0, nperseg=1000, axis=0)
    fit = (frequencies > 1) & (frequencies < 40)
    slope = np.polyfit(np.log(frequencies[fit]), np.log(density[fit].mean(1)), 1)[0]
    assert noise.std() == pytest.approx(10, rel=0.1)
    assert slope == pytest.approx(-1, abs=0.15)


def test_alpha_is_posterior_and_blinks_are_frontal():
    signal = Person(seed=4, mu_uv=0.0).generate(30000)
    alpha, slow = band_power(signal, 9, 11), band_power(signal, 1, 4)
    assert alpha[CHANNELS.index("O1")] > 3 * alpha[CHANNELS.index("Fp1")]
    assert slow[CHANNELS.index("Fp2")] > 2 * slow[CHANNELS.index("O2")]


def test_neighbours_are_more_alike_than_far_electrodes():
    related = np.corrcoef(Person(seed=2, mu_uv=0.0, **QUIET).generate(20000).T)
    c3, cp3, c4 = (CHANNELS.index(n) for n in ("C3", "CP3", "C4"))
    assert related[c3, cp3] > 0.5 > related[c3, c4] > 0


def test_imagery_is_decodable_but_not_trivial():
    assert 0.65 < np.mean([accuracy(seed, 1.0) for seed in range(3)]) < 0.97


def test_decoding_is_at_chance_without_strength():
    # 240 windows, chance 1/3: three standard errors are 0.09.
    assert abs(np.mean([accuracy(seed, 0.0) for seed in range(4)]) - 1 / 3) < 0.09


def test_electrodes_are_on_the_sphere_and_mirrored():
    places = positions(names())
    np.testing.assert_allclose(np.linalg.norm(places, axis=1), 1)
    left, right = positions(["Fp1", "F7", "FC3", "T7", "CP5", "O1"]), positions(["Fp2", "F8", "FC4", "T8", "CP6", "O2"])
    np.testing.assert_allclose(left * [-1, 1, 1], right, atol=1e-12)


def test_electrodes_stand_at_the_distances_of_the_standard():
    degrees = np.rad2deg(angles(positions(["Cz"]), positions(["C3", "Fz", "T7", "Oz"])))[0]
    np.testing.assert_allclose(degrees, [36, 36, 72, 72])


@pytest.mark.parametrize(
    ("settings", "word"),
    [
        ({"ch_names": ["C3", "C33"]}, "C33"),
        ({"sfreq": 50.0}, "100 Hz"),
        ({"noise_uv": -1.0}, "noise_uv"),
        ({"strength": float("nan")}, "strength"),
        ({"lapse": 2.0}, "lapse"),
    ],
)
def test_bad_settings_are_named(settings, word):
    with pytest.raises(ConfigError, match=word):
        Person(**settings)
