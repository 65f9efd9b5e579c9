"""Decoders among the tools of scikit-learn, and a start without it."""

import subprocess
import sys

import numpy as np
import pytest
from sklearn.base import clone, is_classifier
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer

from bci.decoding.csp import CspLda
from bci.decoding.riemann import TangentSpace
from bci.errors import ConfigError


def windows(n=40, seed=0):
    rng = np.random.default_rng(seed)
    y = np.repeat([0, 1], n // 2)
    X = rng.standard_normal((n, 4, 100))
    X[y == 1, 0] *= 2.0
    return X, y


def test_clone_search_pipeline_and_cross_validation_take_a_decoder():
    X, y = windows()
    copy = clone(TangentSpace(C=0.3))
    assert (copy.C, copy.shrinkage) == (0.3, 0.1)
    assert is_classifier(copy)
    search = GridSearchCV(TangentSpace(), {"C": [0.01, 1.0]}, cv=3).fit(X, y)
    assert search.best_params_["C"] in (0.01, 1.0)
    assert search.best_score_ > 0.8
    pipe = make_pipeline(FunctionTransformer(), CspLda())
    assert cross_val_score(pipe, X, y, cv=4).mean() > 0.8
    assert pipe.set_params(csplda__n_components=2).get_params()["csplda__n_components"] == 2


def test_an_unknown_setting_is_named_with_the_known_ones():
    with pytest.raises(ConfigError, match="unknown setting of TangentSpace 'c'; known are C, shrinkage"):
        TangentSpace().set_params(c=1.0)


def test_a_decoder_is_shown_as_the_call_that_makes_it():
    assert repr(TangentSpace()) == "TangentSpace()"
    assert repr(TangentSpace(C=2.0)) == "TangentSpace(C=2.0)"


def test_a_score_can_be_weighted():
    X, y = windows()
    decoder = TangentSpace().fit(X, y)
    wrong = decoder.predict(X) != y
    assert decoder.score(X, y) == pytest.approx(1 - wrong.mean())
    assert decoder.score(X, y, np.where(wrong, 0.0, 1.0)) == 1.0


def test_a_fitted_model_decides_without_scikit_learn():
    text = """
import sys
import numpy as np
from bci.decoding import csp, passport, riemann
rng = np.random.default_rng(0)
X = rng.standard_normal((1, 4, 100))
one = riemann.TangentSpace()
one.set_state({"shape": np.array([4, 100]), "whiten": np.eye(4), "linear.coef": np.zeros((1, 10)),
               "linear.intercept": np.zeros(1)}, ["a", "b"])
assert one.predict_proba(X).tolist() == [[0.5, 0.5]]
assert not any(name.partition(".")[0] in ("sklearn", "pandas", "torch") for name in sys.modules)
"""
    subprocess.run([sys.executable, "-c", text], check=True)
