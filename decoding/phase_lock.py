"""Whether flickers begin at the same phase in every trial, without which templates cannot work."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bci.decoding.base import Array
from bci.errors import DataError


@dataclass(frozen=True, slots=True)
class PhaseLock:
    """How alike the phases of one class's trials are.

    Parameters
    ----------
    coherence : float
        Inter-trial coherence at the flicker's frequency, 0 to 1, of the channel with the highest.
    limit : float
        What it exceeds by chance, if phases are random, with probability alpha at most.
    n_trials : int
        Trials of the class.
    """

    coherence: float
    limit: float
    n_trials: int

    @property
    def is_locked(self) -> bool:
        """Whether templates have something to learn; if not, use `bci.decoding.ssvep.FilterBankCca`."""
        return self.coherence > self.limit


def phase_lock(
    X: Array, y: NDArray[Any], sfreq: float, frequencies: Mapping[str, float], alpha: float = 0.01
) -> dict[str, PhaseLock]:
    """Return the phase lock of each class that has a frequency.

    Parameters
    ----------
    X : ndarray, shape (n_epochs, n_channels, n_times)
        One window per trial, cut at the same time after the cue.
    y : ndarray, shape (n_epochs,)
        Class of each window.
    sfreq : float
        Rate, Hz.
    frequencies : mapping of str to float
        Frequency of each class, Hz; classes without one (rest) are left out.
    alpha : float, default=0.01
        Chance of being above the limit without any lock, over all channels of a class.

    Raises
    ------
    DataError
        If a class has fewer than four windows.

    Notes
    -----
    The phase is that of the Fourier coefficient at the frequency, over a Hann window without its mean. The limit
    inverts the approximation of Rayleigh's test in [2]_, with alpha divided by the number of channels.

    References
    ----------
    .. [1] C. Tallon-Baudry et al. Stimulus specificity of phase-locked and non-phase-locked 40 Hz visual responses
       in human. J Neurosci 16:4240-4249, 1996. doi:10.1523/JNEUROSCI.16-13-04240.1996
    .. [2] J. H. Zar. Biostatistical Analysis, 5th ed., eq. 27.4, 2010.
    """
    X, names = np.asarray(X, dtype=np.float64), np.asarray(y).astype(str)
    centred = (X - X.mean(axis=2, keepdims=True)) * np.hanning(X.shape[2] + 2)[1:-1]
    found = {}
    for name, hz in frequencies.items():
        windows = centred[names == str(name)]
        n = len(windows)
        if n < 4:
            raise DataError(f"expected four windows or more of {name!r}, got {n}; collect more trials")
        spectrum = windows @ np.exp(-2j * np.pi * hz * np.arange(X.shape[2]) / sfreq)
        phases = np.divide(spectrum, np.abs(spectrum), out=np.zeros_like(spectrum), where=np.abs(spectrum) > 0)
        coherence = np.abs(phases.mean(axis=0)).max()
        found[str(name)] = PhaseLock(float(coherence), _limit(n, alpha / X.shape[1]), n)
    return found


def _limit(n: int, alpha: float) -> float:
    """Return the coherence that `n` random phases exceed with probability `alpha`."""
    rest = max(1 + 2 * n + float(np.log(alpha)), 0.0)
    return min(float(np.sqrt((1 + 2 * n) ** 2 - rest**2)) / (2 * n), 1.0)
