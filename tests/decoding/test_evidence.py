from __future__ import annotations

import numpy as np
import pytest

from bci.decoding.evidence import Evidence, log_likelihood_ratios
from bci.errors import ConfigError, DataError


def normal(x, mean):
    return np.exp(-((x - mean) ** 2) / 2) / np.sqrt(2 * np.pi)


def test_posterior_is_that_of_bayes_by_hand():
    # Targets give N(1, 1), others N(0, 1); "a" and "b" flash together, then "b" and "c".
    prior = {"a": 0.5, "b": 0.2, "c": 0.3}
    x, rows = (1.7, -0.4), ("ab", "bc")
    evidence = Evidence("abc", 2, prior)
    for value, row in zip(x, rows, strict=True):
        evidence.add(np.log(normal(value, 1) / normal(value, 0)), row)
    joint = [prior[i] * np.prod([normal(v, float(i in r)) for v, r in zip(x, rows, strict=True)]) for i in "abc"]
    np.testing.assert_allclose(evidence.posterior, np.array(joint) / sum(joint), rtol=1e-12)
    assert evidence.best == "a"


def test_items_are_equal_before_the_first_flash():
    evidence = Evidence(range(4), 4)
    np.testing.assert_allclose(evidence.posterior, 0.25)
    assert not evidence.is_done and evidence.repetitions == 0


def test_item_without_prior_cannot_win():
    evidence = Evidence("abc", 3, {"a": 1.0, "b": 1.0})
    evidence.add(50.0, "c")
    np.testing.assert_allclose(evidence.posterior, [0.5, 0.5, 0.0])


def test_nothing_is_decided_before_the_least_repetitions():
    evidence = Evidence("ab", 2, least=2)
    for item in "aba":
        evidence.add(50.0 if item == "a" else -50.0, item)
        assert not evidence.is_done
    evidence.add(-50.0, "b")
    assert evidence.is_sure and evidence.is_done and evidence.best == "a"


def test_the_most_repetitions_end_it_without_being_sure():
    evidence = Evidence("ab", 2, most=3)
    for _ in range(6):
        assert not evidence.is_done
        evidence.add(0.0, "a")
    assert evidence.is_done and not evidence.is_sure


def test_huge_ratios_do_not_overflow():
    evidence = Evidence("ab", 2)
    evidence.add(1e6, "a")
    evidence.add(-1e6, "b")
    np.testing.assert_array_equal(evidence.posterior, [1.0, 0.0])


def test_reset_forgets_flashes_and_takes_the_next_prior():
    evidence = Evidence("ab", 2)
    evidence.add(3.0, "a")
    evidence.reset({"a": 0.1, "b": 0.9})
    np.testing.assert_allclose(evidence.posterior, [0.1, 0.9])
    evidence.add(3.0, "a")
    evidence.reset()
    np.testing.assert_allclose(evidence.posterior, [0.1, 0.9])


@pytest.mark.parametrize("error_rate", [0.2, 0.05])
def test_simulated_letters_keep_the_chosen_error_rate(error_rate):
    """Rows and columns of 6 x 6, ratios of N(0, 1) against N(1, 1): of 400 letters, no more are wrong than chosen."""
    rng = np.random.default_rng(0)
    codes = [tuple(range(k, 36, 6)) for k in range(6)] + [tuple(range(6 * k, 6 * k + 6)) for k in range(6)]
    wrong, repetitions, promised = [], [], []
    for _ in range(400):
        target = int(rng.integers(36))
        evidence = Evidence(range(36), 12, error_rate=error_rate, most=40)
        while not evidence.is_done:
            for k in rng.permutation(12):
                if not evidence.is_done:
                    evidence.add(rng.standard_normal() + (target in codes[k]) - 0.5, codes[k])
        wrong.append(evidence.best != target)
        repetitions.append(evidence.repetitions)
        promised.append(1 - evidence.posterior.max())
    assert np.mean(wrong) <= error_rate
    spread = np.sqrt(np.mean(promised) / 400)
    assert abs(np.mean(wrong) - np.mean(promised)) < 3 * spread  # the promise is kept, not just outdone
    assert np.mean(repetitions) < 12


def test_ratios_take_the_share_of_targets_out():
    np.testing.assert_allclose(log_likelihood_ratios([0.5, 0.8]), [0.0, np.log(4)])
    np.testing.assert_allclose(log_likelihood_ratios([1 / 6], prior=1 / 6), [0.0], atol=1e-12)
    assert np.isfinite(log_likelihood_ratios([0.0, 1.0])).all()


@pytest.mark.parametrize(
    "settings",
    [
        {"items": "aa"},
        {"items": "a"},
        {"error_rate": 0.0},
        {"error_rate": 1.0},
        {"least": 0},
        {"least": 4, "most": 3},
        {"flashes_per_repetition": 0},
        {"prior": {"z": 1.0}},
        {"prior": {"a": -1.0, "b": 2.0}},
        {"prior": {"a": 0.0}},
    ],
)
def test_settings_out_of_range_are_refused(settings):
    with pytest.raises(ConfigError):
        Evidence(**{"items": "ab", "flashes_per_repetition": 2, **settings})


@pytest.mark.parametrize(("ratio", "items"), [(np.nan, "a"), (np.inf, "a"), (1.0, "z")])
def test_flash_that_cannot_be_is_refused_and_changes_nothing(ratio, items):
    evidence = Evidence("ab", 2)
    with pytest.raises(DataError, match="expected a finite ratio"):
        evidence.add(ratio, items)
    np.testing.assert_array_equal(evidence.posterior, [0.5, 0.5])


@pytest.mark.parametrize("probabilities", [[1.1], [np.nan], [[0.5, 0.5]]])
def test_ratios_of_what_is_no_probability_are_refused(probabilities):
    with pytest.raises(DataError, match="pick a column"):
        log_likelihood_ratios(probabilities)
