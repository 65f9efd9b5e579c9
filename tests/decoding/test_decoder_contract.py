from __future__ import annotations

import numpy as np
import pytest

from bci.registry import BUILTIN, create
from bci.testing.contract import ContractError
from bci.testing.decoder import check_decoder, flicker_windows

FLICKER = {"frequencies": {"left": 10.0, "right": 12.0, "0": 10.0, "1": 12.0}}
QUICK = {
    "eegnet": {"max_epochs": 10, "learning_rate": 0.01, "device": "cpu"},
    **dict.fromkeys(("cca", "fbcca", "trca", "ecca"), FLICKER),
}
WINDOWS = dict.fromkeys(("cca", "fbcca", "trca", "ecca", "erp-lda", "xdawn-lda"), flicker_windows)


@pytest.mark.parametrize("name", sorted(BUILTIN["decoders"]))
def test_built_in_decoder_keeps_the_contract(name):
    check_decoder(lambda: create("decoders", name, **QUICK.get(name, {})), windows=WINDOWS.get(name))


class Guesser:
    def fit(self, X, y):
        self.classes_ = np.unique(y)
        return self

    def predict_proba(self, X):
        return np.full((len(X), len(self.classes_)), 0.5)


def test_decoder_that_only_guesses_is_found_out():
    with pytest.raises(ContractError, match=r"decodes 0\.8"):
        check_decoder(Guesser)


def test_decoder_that_takes_nan_is_found_out():
    class Careless:
        def fit(self, X, y):
            self.classes_ = np.unique(y)
            return self

        def predict_proba(self, X):
            power = np.nan_to_num(X).var(axis=2)
            left = power[:, 2] > power[:, 4]
            return np.stack([left, ~left], axis=1).astype(float)

    with pytest.raises(ContractError, match="NaN"):
        check_decoder(Careless)
