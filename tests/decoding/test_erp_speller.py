"""The ERP decoders and dynamic stopping on a recorded speller: train run to test run, one flash at a time."""

from __future__ import annotations

import functools

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from bci.datasets.guger import CH_NAMES, LETTERS, Guger, letters_of
from bci.decoding.erp import ErpLda, XdawnLda
from bci.decoding.evidence import Evidence, log_likelihood_ratios
from bci.errors import DataError
from bci.signal.chain import Chain
from bci.signal.filters import Bandpass
from bci.stream import Channel, StreamInfo

PEOPLE = ("s6", "s8", "s10")


@functools.cache
def decided(decoder: type, subject: str):
    """Return the test run and its log-likelihood ratios, after a causal 1 to 10 Hz, with windows of 0 to 0.8 s."""
    try:
        data = Guger()
        train, test = data.load(subject, "train"), data.load(subject, "test")
    except DataError as error:
        pytest.skip(str(error))
    info = StreamInfo("guger", train.sfreq, tuple(Channel(name) for name in CH_NAMES))
    X, new = (run.windows(Chain([Bandpass(1.0, 10.0, order=2)]).run(run.samples, info)) for run in (train, test))
    fitted = decoder(train.sfreq).fit(X, train.is_target.astype(int), groups=train.letter)
    return test, log_likelihood_ratios(fitted.predict_proba(new)[:, 1])


def spelled(run, ratios, stop: bool):
    """Return how many of the five letters are right, and the mean of repetitions."""
    right, repetitions = 0, []
    for k, letter in enumerate(run.word):
        evidence = Evidence(LETTERS, 12, error_rate=0.05)
        for i in np.flatnonzero(run.letter == k):
            evidence.add(ratios[i], letters_of(int(run.flashed[i])))
            if stop and evidence.is_done:
                break
        right += evidence.best == letter
        repetitions.append(evidence.repetitions)
    return right, np.mean(repetitions)


@pytest.mark.parametrize(
    ("decoder", "subject", "least"),
    # 150 targets of 900 flashes, chance 0.5; the standard error of these areas is 0.025, 0.017, 0.018.
    [
        (ErpLda, "s6", 0.65),
        (ErpLda, "s8", 0.905),
        (ErpLda, "s10", 0.895),
        (XdawnLda, "s6", 0.63),
        (XdawnLda, "s8", 0.915),
        (XdawnLda, "s10", 0.895),
    ],
)
def test_area_under_the_curve_of_single_flashes(decoder, subject, least):
    run, ratios = decided(decoder, subject)
    assert roc_auc_score(run.is_target, ratios) >= least


@pytest.mark.parametrize("decoder", [ErpLda, XdawnLda])
def test_dynamic_stopping_spells_as_well_as_all_repetitions_in_less_than_half(decoder):
    early = [spelled(*decided(decoder, subject), stop=True) for subject in PEOPLE]
    late = [spelled(*decided(decoder, subject), stop=False) for subject in PEOPLE]
    assert sum(right for right, _ in early) >= sum(right for right, _ in late) >= 12
    assert np.mean([n for _, n in early]) < 7.5
