"""Features of the waveform in a sliding window: its variance and its length."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from bci.errors import ConfigError
from bci.signal.stages import Array
from bci.signal.windowed import Feature, WindowedBlock, each
from bci.stream import StreamInfo

LEAST_VARIANCE = 1e-12
"""Stands for no variance at all in a logarithm: (1e-6 uV)², below any amplifier."""


class LogVariance(WindowedBlock):
    """Natural logarithm of the variance of every channel: "C3 log-variance". Put it after the band-pass.

    Parameters
    ----------
    window_s : float, default=1
        Length of the window, s.
    step_s : float, default=0.1
        Time from one row to the next, s.

    Raises
    ------
    ConfigError
        If a length is not above 0; from `prepare`, if it is shorter than a sample.

    Notes
    -----
    The mean of the window is removed and the sum divided by the number of samples. `delay_s` is half a window.

    References
    ----------
    .. [1] H. Ramoser et al. Optimal spatial filtering of single trial EEG during imagined hand movement. IEEE Trans
       Rehabil Eng 8:441-446, 2000, eq. 8. doi:10.1109/86.895946
    """

    def __init__(self, window_s: float = 1.0, step_s: float = 0.1) -> None:
        super().__init__(window_s, step_s)

    def design(self, info: StreamInfo) -> list[Feature]:
        """Return "NAME log-variance" for every channel."""
        from bci.signal import kernels_windowed

        self._moments = kernels_windowed.moments
        return each(info, "log-variance", [f"ln({c.unit}²)" for c in info.channels])

    def compute(self, window: Array, known: NDArray[np.bool_]) -> Array:
        """Return the logarithms."""
        mean, variance = np.empty(window.shape[1]), np.empty(window.shape[1])
        self._moments(window, mean, variance)
        return np.log(np.maximum(variance, LEAST_VARIANCE))


class LineLength(WindowedBlock):
    """Length of the line that the signal draws, per second: "C3 line length" in uV/s.

    Parameters
    ----------
    window_s : float, default=1
        Length of the window, s; at least two samples.
    step_s : float, default=0.1
        Time from one row to the next, s.

    Raises
    ------
    ConfigError
        If a length is not above 0; from `prepare`, if the window has fewer than two samples.

    Notes
    -----
    The sum of |x(t) - x(t - 1)| of [1]_ (eq. 1), over the time between the first and the last sample, so that windows
    of different length compare. Noise above the band of interest makes it longer: low-pass before. `delay_s` is half
    a window.

    References
    ----------
    .. [1] R. Esteller et al. Line length: an efficient feature for seizure onset detection. Proc 23rd Annual
       International Conference of the IEEE EMBS, 1707-1710, 2001. doi:10.1109/IEMBS.2001.1020545
    """

    def __init__(self, window_s: float = 1.0, step_s: float = 0.1) -> None:
        super().__init__(window_s, step_s)

    def design(self, info: StreamInfo) -> list[Feature]:
        """Return "NAME line length" for every channel."""
        from bci.signal import kernels_windowed

        self._line_length = kernels_windowed.line_length
        if self.length < 2:
            raise ConfigError(f"a line needs at least two samples, got a window of {self.length}; lengthen it")
        self._per_s = info.sfreq / (self.length - 1)
        return each(info, "line length", [f"{c.unit}/s" for c in info.channels])

    def compute(self, window: Array, known: NDArray[np.bool_]) -> Array:
        """Return the lengths."""
        total = np.empty(window.shape[1])
        self._line_length(window, total)
        return total * self._per_s
