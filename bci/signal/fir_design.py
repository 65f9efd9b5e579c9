"""Design of filters without feedback: by a Kaiser window or equiripple, linear or minimum phase."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from bci.errors import ConfigError
from bci.signal.families import Shape

Array: TypeAlias = NDArray[np.float64]
Method: TypeAlias = Literal["window", "remez"]

MOST_TAPS = 20001


def pass_kind(low_hz: float | None, high_hz: float | None, stop: bool) -> tuple[Shape, list[float]]:
    """Return the name of a filter in `scipy.signal` and its edges in Hz, from the two cut-offs (None where open)."""
    if low_hz is not None and high_hz is not None:
        return ("bandstop" if stop else "bandpass"), [low_hz, high_hz]
    if stop or (low_hz is None and high_hz is None):
        raise ConfigError(
            f"expected low_hz, high_hz or both, and both to stop a band, got {low_hz} and {high_hz} Hz; "
            "give low_hz for a high-pass, high_hz for a low-pass, or own taps"
        )
    return ("highpass", [low_hz]) if low_hz is not None else ("lowpass", [float(high_hz or 0.0)])


def check_edges(edges_hz: Sequence[float], sfreq: float) -> None:
    """Raise `ConfigError` unless the edges rise between 0 and half the sampling rate."""
    inside = [0.0, *edges_hz, sfreq / 2]
    if not all(a < b for a, b in zip(inside[:-1], inside[1:], strict=True)):
        raise ConfigError(
            f"edges must rise between 0 and {sfreq / 2:g} Hz (half the sampling rate), got "
            f"{' and '.join(f'{e:g}' for e in edges_hz)} Hz; move them or raise the device's sampling rate"
        )


def usual_transition(kind: str, edges_hz: Sequence[float], sfreq: float) -> float:
    """Return a width for the edges, Hz: half of the edge, 2 Hz at least, as far as there is room."""
    nyquist = sfreq / 2
    upper = edges_hz[0] if kind == "highpass" else edges_hz[-1]
    widths = [min(max(e / 2, 2.0), 2 * e, 2 * (nyquist - upper)) for e in edges_hz]
    return min([*widths, *np.diff(edges_hz)])


def taps_for(transition_hz: float, attenuation_db: float, sfreq: float, method: Method) -> int:
    """Return the odd number of taps that a transition needs.

    Notes
    -----
    With A the attenuation and w the transition in rad: (A - 7.95) / (2.285 w) + 1 for a Kaiser window and
    (A - 13) / (2.324 w) + 1 for equal ripples [1]_, sec. 7.5.3 and 7.7.

    References
    ----------
    .. [1] A. Oppenheim, R. Schafer. Discrete-Time Signal Processing, 3rd ed., 2010.
    """
    width = 2 * np.pi * transition_hz / sfreq
    n = (attenuation_db - 7.95) / (2.285 * width) if method == "window" else (attenuation_db - 13) / (2.324 * width)
    n_taps = int(np.ceil(n)) + 1 | 1
    if n_taps > MOST_TAPS:
        raise ConfigError(
            f"expected at most {MOST_TAPS} taps, got {n_taps} for a transition of {transition_hz:g} Hz at "
            f"{sfreq:g} Hz; widen transition_hz, decimate first, or take a recursive filter (Bandpass, Highpass)"
        )
    return max(n_taps, 3)


def windowed(kind: Shape, edges_hz: Sequence[float], n_taps: int, attenuation_db: float, sfreq: float) -> Array:
    """Return the taps of an ideal filter under a Kaiser window; the edges are -6 dB, the gain is 1 mid-band."""
    from scipy.signal import firwin, kaiser_beta

    window = ("kaiser", kaiser_beta(attenuation_db))
    return np.asarray(firwin(n_taps, edges_hz, window=window, pass_zero=kind, fs=sfreq), dtype=np.float64)


def equiripple(kind: str, edges_hz: Sequence[float], n_taps: int, transition_hz: float, sfreq: float) -> Array:
    """Return the taps whose largest error is least (Parks-McClellan); the transitions lie around the edges."""
    from scipy.signal import remez

    half = transition_hz / 2
    bands = [0.0, *(e + side for e in edges_hz for side in (-half, half)), sfreq / 2]
    if not all(a < b for a, b in zip(bands[:-1], bands[1:], strict=True)):
        raise ConfigError(
            f"expected transitions between 0 and {sfreq / 2:g} Hz that do not meet, got {transition_hz:g} Hz around "
            f"{' and '.join(f'{e:g}' for e in edges_hz)} Hz; narrow transition_hz or give more n_taps"
        )
    first = kind in ("lowpass", "bandstop")
    gains = [float(first if k % 2 == 0 else not first) for k in range(len(bands) // 2)]
    try:
        taps = remez(n_taps, bands, gains, fs=sfreq)
    except ValueError as error:
        raise ConfigError(
            f"expected an equiripple filter of {n_taps} taps, the exchange algorithm found none ({error}); "
            "widen transition_hz or take method='window'"
        ) from error
    return np.asarray(taps, dtype=np.float64)


def minimum_phase(taps: Array) -> Array:
    """Return as many taps with the gain of the symmetric `taps` and the least delay that allows.

    Notes
    -----
    The root of the squared gain through the cepstrum [1]_, ch. 13; deep in the stop band the gain is that of
    `taps` up to what a discrete cepstrum resolves.

    References
    ----------
    .. [1] A. Oppenheim, R. Schafer. Discrete-Time Signal Processing, 3rd ed., 2010.
    """
    from scipy import signal

    return np.asarray(signal.minimum_phase(np.convolve(taps, taps), "homomorphic"), dtype=np.float64)


def taps_delay(taps: Array, at_hz: float, sfreq: float) -> float:
    """Return the group delay of `taps` at one frequency, s (see `bci.signal.filters.group_delay`)."""
    if np.allclose(taps, taps[::-1], rtol=0, atol=1e-12 * np.abs(taps).max()):
        return (len(taps) - 1) / 2 / sfreq
    k = np.arange(len(taps))
    turned = taps * np.exp(-2j * np.pi * at_hz / sfreq * k)
    return float(((turned * k).sum() / turned.sum()).real / sfreq)


def loudest_hz(taps: Array, sfreq: float) -> float:
    """Return the frequency in Hz at which the gain of `taps` is largest."""
    n = 2 * max(4096, len(taps))
    return float(np.argmax(np.abs(np.fft.rfft(taps, n))) * sfreq / n)
