from __future__ import annotations

import copy

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from bci.decoding.nets import EEGNet  # noqa: E402  # after the skip
from bci.errors import ConfigError, DataError  # noqa: E402
from bci.testing.decoder import imagery_windows  # noqa: E402

QUICK = {"sfreq": 128.0, "max_epochs": 3, "device": "cpu"}


def test_layers_have_the_sizes_of_the_paper():
    X, y, groups = imagery_windows(20, 128.0, 256, 0)
    net = EEGNet(**QUICK).fit(X, y, groups)._net
    assert net.temporal[1].weight.shape == (8, 1, 1, 64)
    assert net.spatial.weight.shape == (16, 1, 8, 1)
    assert net.answer.in_features == 16 * (256 // 32)


def test_norms_stay_within_the_limits_of_the_paper():
    X, y, groups = imagery_windows(20, 128.0, 256, 0)
    net = EEGNet(**{**QUICK, "learning_rate": 0.1}).fit(X, y, groups)._net
    assert net.spatial.weight.flatten(1).norm(dim=1).max() <= 1.0 + 1e-5
    assert net.answer.weight.norm(dim=1).max() <= 0.25 + 1e-5


def test_same_seed_gives_the_same_weights_and_another_seed_others():
    X, y, groups = imagery_windows(20, 128.0, 256, 0)
    p = [EEGNet(**QUICK, seed=s).fit(X, y, groups).predict_proba(X) for s in (1, 1, 2)]
    assert (p[0] == p[1]).all()
    assert not (p[0] == p[2]).all()


def test_fit_leaves_the_random_state_of_torch_alone():
    X, y, groups = imagery_windows(20, 128.0, 256, 0)
    before = torch.get_rng_state()
    EEGNet(**QUICK).fit(X, y, groups)
    assert (torch.get_rng_state() == before).all()


def test_held_out_windows_share_no_trial_with_training():
    _, y, groups = imagery_windows(40, 128.0, 16, 0)
    codes = (y == "right").astype(np.int64)
    train, test = EEGNet(**QUICK)._split(codes, groups)
    assert len(train) + len(test) == len(y)
    assert not set(groups[train]) & set(groups[test])
    assert set(codes[test]) == {0, 1}


def test_training_stops_early_and_keeps_the_best(monkeypatch):
    X, y, groups = imagery_windows(20, 128.0, 256, 0)
    losses = iter([3.0, 1.0, 2.0, 2.0, 2.0, 0.0])
    seen = []

    def loss(self, *_):
        seen.append(copy.deepcopy(self._net.state_dict()))
        return next(losses)

    monkeypatch.setattr(EEGNet, "_loss", loss)
    decoder = EEGNet(**{**QUICK, "max_epochs": 50, "patience": 3}).fit(X, y, groups)
    assert len(seen) == 5
    kept = decoder._net.state_dict()
    assert all((kept[k] == seen[1][k]).all() for k in kept)


def test_one_trial_per_class_is_fitted_without_validation():
    X, y, _ = imagery_windows(20, 128.0, 256, 0)
    one = [int(np.flatnonzero(y == c)[0]) for c in ("left", "right")]
    assert EEGNet(**QUICK).fit(X[one], y[one]).predict_proba(X).shape == (20, 2)


def test_windows_too_short_for_the_pooling_are_refused():
    X, y, groups = imagery_windows(20, 128.0, 24, 0)
    with pytest.raises(DataError, match=r"windows of 0\.25 s or more, got 0\.1875 s"):
        EEGNet(**QUICK).fit(X, y, groups)


def test_rate_is_needed():
    X, y, groups = imagery_windows(20, 128.0, 64, 0)
    with pytest.raises(ConfigError, match="sfreq"):
        EEGNet().fit(X, y, groups)


@pytest.mark.parametrize("settings", [{"dropout": 1.0}, {"max_epochs": 0}, {"device": "tpu"}])
def test_settings_out_of_range_are_refused(settings):
    X, y, groups = imagery_windows(20, 128.0, 64, 0)
    with pytest.raises(ConfigError):
        EEGNet(**{**QUICK, **settings}).fit(X, y, groups)


def test_weights_of_another_network_are_refused():
    X, y, groups = imagery_windows(20, 128.0, 64, 0)
    decoder = EEGNet(**QUICK).fit(X, y, groups)
    with pytest.raises(DataError, match="weights of this network"):
        EEGNet(sfreq=128.0, n_filters=4, device="cpu").set_state(decoder.get_state(), ["left", "right"])
