"""The contract of `Decoder`, as a checker."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bci.errors import BciError
from bci.ports import Decoder
from bci.runtime.score import fit_decoder
from bci.testing.contract import require

Array = NDArray[np.float64]
Windows = tuple[Array, NDArray[np.str_], NDArray[np.int64]]
CHANNELS = ("FC3", "FC4", "C3", "Cz", "C4", "CP3", "CP4", "Pz")
"""Names of the channels of the windows that are shown to a decoder."""


def check_decoder(
    make_decoder: Callable[[], Any],
    sfreq: float = 128.0,
    n_times: int = 256,
    seed: int = 0,
    windows: Callable[[int, float, int, int], Windows] | None = None,
) -> None:
    """Check that a decoder learns, is deterministic, refuses bad input and changes nothing it was given.

    Parameters
    ----------
    make_decoder : callable
        Returns a new, unfitted decoder each time.
    sfreq : float, default=128
        Rate of the windows it is shown, Hz.
    n_times : int, default=256
        Length of the windows it is shown, samples.
    seed : int, default=0
        Seed of the windows.
    windows : callable, optional
        Returns (X, y, groups) for (n, sfreq, n_times, seed): n windows of 8 channels of "left" and "right" that any
        decoder of the family tells apart; `imagery_windows` by default, `flicker_windows` for flickers.

    Raises
    ------
    ContractError
        Naming the first rule that is broken.

    Notes
    -----
    The windows are 10 Hz oscillations in noise, weaker over the hemisphere
    opposite to the class ("left", "right"): any imagery decoder finds that.
    Parameters called ``sfreq`` and ``ch_names`` that are None are set first, as the session does.
    """
    windows = windows or imagery_windows
    X, y, groups = windows(60, sfreq, n_times, seed)
    new, y_new, _ = windows(40, sfreq, n_times, seed + 1)

    def fitted(labels: NDArray[Any] = y) -> Any:
        return fit_decoder(prepared(make_decoder(), sfreq), X.copy(), labels.copy(), groups.copy())

    decoder = _check_learning(fitted, new, y_new)
    _check_purity(fitted, decoder, X, y, new, groups)
    _check_copies(make_decoder, decoder, sfreq, X, y, groups, new)
    _check_refusals(make_decoder, decoder, sfreq, X, y, groups, new)
    if hasattr(decoder, "get_state"):
        _check_state(make_decoder, decoder, sfreq, new)


def imagery_windows(n: int, sfreq: float, n_times: int, seed: int) -> Windows:
    """Return (X, y, groups) of simulated imagery with two windows per trial; channels as in `CHANNELS`."""
    rng = np.random.default_rng(seed)
    y = np.repeat(np.array(["left", "right"])[rng.permutation(n // 2) % 2], 2)
    phase = rng.uniform(0, 2 * np.pi, (len(y), len(CHANNELS), 1))
    wave = np.sin(2 * np.pi * 10 * np.arange(n_times) / sfreq + phase)
    left = np.array([c[-1] in "135" for c in CHANNELS])
    right = np.array([c[-1] in "246" for c in CHANNELS])
    # The rhythm is weaker over the hemisphere opposite to the hand.
    weaker = np.where((y == "left")[:, None], right[None], left[None])
    X = rng.standard_normal((len(y), len(CHANNELS), n_times)) + np.where(weaker, 0.3, 2.0)[:, :, None] * wave
    return 5.0 * X, y, np.arange(len(y)) // 2


def flicker_windows(n: int, sfreq: float, n_times: int, seed: int) -> Windows:
    """Return (X, y, groups) of simulated responses to a flicker of 10 Hz ("left") or 12 Hz ("right"), in phase."""
    rng = np.random.default_rng(seed)
    y = np.array(["left", "right"])[rng.permutation(n) % 2]
    angle = 2 * np.pi * np.where(y == "left", 10.0, 12.0)[:, None] * np.arange(n_times) / sfreq
    response = np.sin(angle) + 0.5 * np.sin(2 * angle + 1)
    gains = np.linspace(0.0, 1.0, len(CHANNELS))
    X = rng.standard_normal((n, len(CHANNELS), n_times)) + gains[:, None] * response[:, None, :]
    return 5.0 * X, y, np.arange(n)


def prepared(decoder: Any, sfreq: float, ch_names: Sequence[str] = CHANNELS) -> Any:
    """Return `decoder`, told the rate and the channels if it leaves them open."""
    if hasattr(decoder, "get_params"):
        settings = decoder.get_params()
        known = {"sfreq": sfreq, "ch_names": tuple(ch_names)}
        decoder.set_params(**{k: v for k, v in known.items() if settings.get(k, 0) is None})
    return decoder


def _check_learning(fitted: Callable[..., Any], new: Array, y_new: NDArray[Any]) -> Any:
    decoder = fitted()
    require(isinstance(decoder, Decoder), "has classes_, fit and predict_proba, and fit returns the decoder", decoder)
    require(list(decoder.classes_) == ["left", "right"], "classes_ are the classes of y, sorted", decoder.classes_)
    p = decoder.predict_proba(new)
    _check_probabilities(p, len(new))
    right = float((decoder.classes_[p.argmax(axis=1)] == y_new).mean())
    require(right >= 0.8, "decodes 0.8 or more of clear new imagery", right)
    return decoder


def _check_probabilities(p: Any, n: int) -> None:
    require(isinstance(p, np.ndarray) and p.shape == (n, 2), "predict_proba returns (n_epochs, n_classes)", p)
    require(bool(np.isfinite(p).all() and (p >= 0).all()), "probabilities are finite and not negative", p)
    require(bool(np.allclose(p.sum(axis=1), 1, atol=1e-9)), "probabilities of a window sum to 1", p.sum(axis=1))


def _check_purity(
    fitted: Callable[..., Any], decoder: Any, X: Array, y: NDArray[Any], new: Array, groups: NDArray[np.int64]
) -> None:
    p = decoder.predict_proba(new)
    require(bool((decoder.predict_proba(new) == p).all()), "deciding twice gives the same", None)
    alone = np.concatenate([decoder.predict_proba(new[k : k + 1]) for k in range(4)])
    require(bool(np.allclose(alone, p[:4], atol=1e-6)), "a window is decided the same alone and among others", alone)
    require(bool((fitted().predict_proba(new) == p).all()), "fitting twice on the same data gives the same", None)
    numbers = fitted((y == "right").astype(np.int64))
    require(list(numbers.classes_) == [0, 1], "classes may be numbers", numbers.classes_)
    X, new = X.copy(), new.copy()
    for array in (X, y, new, groups):
        array.flags.writeable = False
    try:
        decoder.predict_proba(new)
        fit_decoder(copy.deepcopy(decoder), X, y, groups)
    except ValueError as error:
        require("read-only" not in str(error), "never writes to an array it was given", error)
        raise


def _check_copies(
    make: Callable[[], Any],
    decoder: Any,
    sfreq: float,
    X: Array,
    y: NDArray[Any],
    groups: NDArray[np.int64],
    new: Array,
) -> None:
    p = decoder.predict_proba(new)
    twin = fit_decoder(copy.deepcopy(prepared(make(), sfreq)), X, y, groups)
    require(bool((twin.predict_proba(new) == p).all()), "a deep copy of an unfitted decoder fits the same", None)
    require(bool((copy.deepcopy(decoder).predict_proba(new) == p).all()), "a deep copy decides the same", None)
    if hasattr(decoder, "get_params"):
        again = type(decoder)(**decoder.get_params())
        require(not hasattr(again, "classes_"), "a decoder made from its parameters is not fitted", None)
        same = fit_decoder(again, X, y, groups).predict_proba(new)
        require(bool((same == p).all()), "its parameters are all its settings", None)


def _check_refusals(
    make: Callable[[], Any],
    decoder: Any,
    sfreq: float,
    X: Array,
    y: NDArray[Any],
    groups: NDArray[np.int64],
    new: Array,
) -> None:
    unknown = new.copy()
    unknown[0, 1, 2] = np.nan
    _refuses(lambda: decoder.predict_proba(unknown), "refuses to decide on NaN with a DataError")
    _refuses(lambda: decoder.predict_proba(new[:, :-1]), "refuses another number of channels")
    _refuses(lambda: decoder.predict_proba(new[0]), "refuses a window without the axis of epochs")
    _refuses(lambda: prepared(make(), sfreq).predict_proba(new), "refuses to decide before fit")
    bad = X.copy()
    bad[3, 0, 0] = np.inf
    one = np.full_like(y, "left")
    _refuses(lambda: fit_decoder(prepared(make(), sfreq), bad, y, groups), "refuses to fit infinite samples")
    _refuses(lambda: fit_decoder(prepared(make(), sfreq), X, one, groups), "refuses to fit a single class")
    _refuses(lambda: fit_decoder(prepared(make(), sfreq), X, y[:-2], groups), "refuses X and y of other lengths")


def _refuses(act: Callable[[], Any], rule: str) -> None:
    try:
        act()
    except BciError as error:
        require(len(str(error)) > 10, "an error says what was expected, what came, what to do", str(error))
        return
    except Exception as error:  # noqa: BLE001  # whatever it raises instead is the finding
        require(False, rule + " (a BciError)", repr(error))
    require(False, rule, "no error")


def _check_state(make: Callable[[], Any], decoder: Any, sfreq: float, new: Array) -> None:
    state = decoder.get_state()
    plain = all(isinstance(v, np.ndarray) and v.dtype.kind in "fiub" for v in state.values())
    require(plain, "get_state returns arrays of numbers", {k: getattr(v, "dtype", v) for k, v in state.items()})
    copied = {k: v.copy() for k, v in state.items()}
    twin = prepared(make(), sfreq).set_state(copied, decoder.classes_.tolist())
    same = bool((twin.predict_proba(new) == decoder.predict_proba(new)).all())
    require(same, "a decoder with the state of another decides bit for bit the same", None)
