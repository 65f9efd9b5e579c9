"""Lower the sampling rate by a whole factor, with anti-aliasing."""

from __future__ import annotations

from dataclasses import replace

from bci.errors import ConfigError
from bci.signal.filters import group_delay
from bci.signal.stages import DecimateStage, SosStage, Stage, StagedBlock, signal_columns
from bci.stream import StreamInfo


class Decimate(StagedBlock):
    """Keep every `factor`-th sample of a low-passed stream.

    Output sample n is input sample n times `factor`, counted since the stream
    began; so neither cuts nor gaps move the samples that are kept.

    Parameters
    ----------
    factor : int
        How many times lower the rate becomes, 1 to 1000.

    Raises
    ------
    ConfigError
        If `factor` is not such a number.

    Notes
    -----
    The anti-aliasing filter is a causal elliptic low-pass of order 8 (0.05 dB
    ripple, 80 dB stop band) that passes up to 0.8 of the new Nyquist frequency.
    What would fold into that band is 80 dB down, what folds above it at least 35 dB.
    `delay_s` is its group delay at 0 Hz.

    References
    ----------
    .. [1] A. Oppenheim, R. Schafer. Discrete-Time Signal Processing, 3rd ed., sec. 4.6, 2010.
    """

    def __init__(self, factor: int) -> None:
        if factor != int(factor) or not 1 <= factor <= 1000:
            raise ConfigError(f"a factor is a whole number from 1 to 1000, got {factor}; resample by stages beyond")
        self.factor = int(factor)

    def design(self, info: StreamInfo) -> tuple[list[Stage], StreamInfo, float]:
        """Return the anti-aliasing filter and the choice of samples for `info`."""
        if self.factor == 1:
            return [], info, 0.0
        from scipy.signal import ellip

        sos = ellip(8, 0.05, 80.0, 0.8 / self.factor, output="sos")
        stages: list[Stage] = [SosStage(sos, signal_columns(info)), DecimateStage(self.factor)]
        return stages, replace(info, sfreq=info.sfreq / self.factor), group_delay(sos, 0.0, info.sfreq)
