"""Probabilities that mean what they say."""

import numpy as np
import pytest

from bci.acquisition.participant import Participant
from bci.decoding import passport
from bci.decoding.csp import CspLda
from bci.decoding.tensorfile import read_tensors, write_tensors
from bci.paradigms.motor_imagery import MotorImagery
from bci.runtime.score import trial_answers
from bci.runtime.session import Session
from bci.runtime.temperature import HOTTEST, fit_temperature, tempered
from bci.stream import Channel, StreamInfo
from bci.trial import Slide

CLASSES = np.array(["left", "rest", "right"])


def softmax(logits):
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)


def answers(n=6000, exaggerated=1.0, seed=0):
    """Classes drawn from known probabilities, and what a decoder says that exaggerates their logits."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(0, 1.5, (n, 3))
    drawn = (softmax(logits).cumsum(axis=1) > rng.uniform(size=(n, 1))).argmax(axis=1)
    return softmax(exaggerated * logits), CLASSES[drawn], np.arange(n)


@pytest.mark.parametrize("exaggerated", [2.0, 10.0])
def test_exaggeration_is_found(exaggerated):
    said, y, groups = answers(exaggerated=exaggerated)
    assert fit_temperature(said, CLASSES, y, groups) == pytest.approx(exaggerated, rel=0.1)


def test_decoder_that_knows_nothing_ends_near_equal_probabilities():
    said, y, groups = answers(600, exaggerated=10.0)
    temperature = fit_temperature(said, CLASSES, np.random.default_rng(1).permutation(y), groups)
    assert temperature > 50
    assert tempered(said, temperature).max() < 0.7
    assert temperature <= HOTTEST


def test_decoder_that_is_too_modest_is_not_made_surer():
    said, y, groups = answers(exaggerated=0.3)
    assert fit_temperature(said, CLASSES, y, groups) == 1.0
    assert tempered(said, 1.0) is said


def test_trials_weigh_the_same_however_many_windows_they_have():
    said, y, groups = answers(300, exaggerated=4.0)
    often = np.repeat(np.arange(300), np.where(np.arange(300) % 2, 1, 7))
    once = fit_temperature(said, CLASSES, y, groups)
    assert fit_temperature(said[often], CLASSES, y[often], groups[often]) == pytest.approx(once, rel=1e-3)


@pytest.mark.parametrize("temperature", [1.7, 30.0, HOTTEST])
def test_most_probable_class_and_answers_of_trials_stay(temperature):
    rng = np.random.default_rng(2)
    said = softmax(rng.normal(0, rng.uniform(0.01, 200, (2000, 1)), (2000, 3)))
    scaled = tempered(said, temperature)
    assert (scaled.argmax(axis=1) == said.argmax(axis=1)).all()
    assert np.allclose(scaled.sum(axis=1), 1.0)
    groups = np.arange(2000) // 4
    mild = softmax(rng.normal(0, 3, (2000, 3)))
    assert trial_answers(mild, CLASSES, groups) == trial_answers(tempered(mild, temperature), CLASSES, groups)


def drive(strength, seconds):
    with Session(Participant(seed=0, strength=strength), MotorImagery(n_trials=8), "csp-lda") as session:
        session.calibrate()
        session.fit()
        return session.drive(seconds, cues=False), session.decoder


def test_person_whose_brain_says_nothing_never_opens_the_gate():
    run, decoder = drive(strength=0.0, seconds=60.0)
    assert "open" not in run.gate
    assert decoder.temperature_ > 10


def fitted():
    rng = np.random.default_rng(0)
    X, y = rng.standard_normal((20, 3, 100)), np.array(["left", "right"] * 10)
    return CspLda(2).fit(X, y), X, StreamInfo("eeg", 100.0, tuple(Channel(n) for n in ("C3", "Cz", "C4")))


def test_temperature_travels_with_the_model(tmp_path):
    decoder, X, info = fitted()
    decoder.temperature_ = 3.0
    loaded = passport.load(passport.save(tmp_path / "m.bci", decoder, info, blocks=[], window=Slide(1.0, 0.1))).decoder
    assert loaded.temperature_ == 3.0
    assert (loaded.predict_proba(X) == decoder.predict_proba(X)).all()


def test_model_from_before_temperatures_is_taken_as_it_is(tmp_path):
    decoder, X, info = fitted()
    path = passport.save(tmp_path / "m.bci", decoder, info, blocks=[], window=Slide(1.0, 0.1))
    manifest, arrays = read_tensors(path)
    write_tensors(path, manifest, {k: v for k, v in arrays.items() if k != "temperature"})
    assert (passport.load(path).decoder.predict_proba(X) == decoder.predict_proba(X)).all()


def test_fit_begins_without_a_temperature():
    decoder, X, _ = fitted()
    decoder.temperature_ = 3.0
    assert decoder.fit(X, np.array(["left", "right"] * 10)).temperature_ == 1.0
