"""Log-variance, sample by sample."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from bci.errors import ConfigError
from bci.signal.running import Running, positive
from bci.stream import Chunk, StreamInfo

Array = NDArray[np.float64]


class LogPower(Running):
    """Decimal logarithm of the running mean square: the log-variance of a band-passed signal, sample by sample.

    Parameters
    ----------
    memory_s : float, default=1
        Time constant of the exponential mean, s.
    floor : float, default=1e-6
        Least power, in the square of the channel's unit, so that a dead channel has a logarithm too.

    Raises
    ------
    ConfigError
        If a setting is not above 0.

    Notes
    -----
    Put it after a band-pass or a spatial filter such as CSP [1]_. The mean is normalised by the weights there are, so
    the first value is the logarithm of the first square and not of a fraction of it. A gap starts it anew. An unknown
    value (NaN) stays unknown and is left out. Trigger channels pass unchanged. The unit is that of the decimal
    logarithm of the square, "lg(uV²)". `delay_s` is the mean age of what is averaged.

    References
    ----------
    .. [1] H. Ramoser, J. Müller-Gerking, G. Pfurtscheller. Optimal spatial filtering of single trial EEG during
       imagined hand movement. IEEE Trans Rehabil Eng 8:441-446, 2000. doi:10.1109/86.895946
    """

    def __init__(self, memory_s: float = 1.0, floor: float = 1e-6) -> None:
        if not 0 < floor < np.inf:
            raise ConfigError(f"the least power must be above 0, got {floor}; 1e-6 is below any amplifier")
        self.memory_s, self.floor = positive(memory_s), floor

    def _design(self, info: StreamInfo) -> None:
        from bci.signal.kernels_normalise import log_power

        self._kernel, self._keep = log_power, float(np.exp(-1.0 / (self.memory_s * info.sfreq)))
        self.delay_s = self._keep / (1.0 - self._keep) / info.sfreq if self._keep < 1.0 else np.inf

    def _forget(self) -> None:
        self._sums, self._weights = np.zeros(len(self._signals)), np.zeros(len(self._signals))

    def _restart(self) -> None:
        self._forget()

    def _change(self, values: Array, chunk: Chunk) -> None:
        self._kernel(values, self._signals, self._keep, self.floor, self._sums, self._weights)

    def _unit(self, unit: str) -> str:
        return f"lg({unit}²)"
