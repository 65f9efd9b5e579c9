"""A bank of band-pass filters: every channel in every band, as one block."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from bci.errors import ConfigError
from bci.signal.families import Family
from bci.signal.filters import Bandpass
from bci.signal.stages import BankStage, SosStage, Stage, StagedBlock, signal_columns
from bci.stream import Channel, StreamInfo


class FilterBank(StagedBlock):
    """Pass every signal channel through several band-pass filters at once.

    What comes out is ordered by band: all channels in the first band, then all in the second, ...; so it can be
    viewed as an array of shape (n_samples, n_bands, n_channels). Channels are called as in "C3 8-12 Hz".

    Parameters
    ----------
    bands : sequence of (float, float)
        Edges of each band, Hz; bands may overlap.
    order : int, default=4
        Order of the low-pass prototype; each filter has twice as many poles.
    family, ripple_db, attenuation_db
        As in `bci.signal.filters.Bandpass`.

    Raises
    ------
    ConfigError
        If no band is given; from `prepare`, if a band does not fit below half the sampling rate or is given twice.

    Notes
    -----
    Such banks stand before spatial patterns [1]_ and correlation with stimuli [2]_. Every band is, to the bit, what
    `Bandpass` makes of it. Trigger channels pass unchanged and come last, once.
    A channel that is unknown (NaN) is unknown in all its bands. `delay_s` is that of the slowest band at its centre.

    References
    ----------
    .. [1] K. K. Ang et al. Filter bank common spatial pattern algorithm on BCI competition IV datasets 2a and 2b.
       Front Neurosci 6:39, 2012. doi:10.3389/fnins.2012.00039
    .. [2] X. Chen, Y. Wang, S. Gao, T.-P. Jung, X. Gao. Filter bank canonical correlation analysis for implementing a
       high-speed SSVEP-based brain-computer interface. J Neural Eng 12:046008, 2015. doi:10.1088/1741-2560/12/4/046008
    """

    def __init__(
        self,
        bands: Sequence[tuple[float, float]],
        order: int = 4,
        family: Family = "butterworth",
        ripple_db: float = 0.5,
        attenuation_db: float = 40.0,
    ) -> None:
        self.bands = tuple((float(low), float(high)) for low, high in bands)
        if not self.bands:
            raise ConfigError("a bank needs at least one band, got none; give pairs of edges in Hz")
        self.order, self.family = order, family
        self.ripple_db, self.attenuation_db = ripple_db, attenuation_db

    def design(self, info: StreamInfo) -> tuple[list[Stage], StreamInfo, float]:
        """Return the bank for `info`."""
        cascades, delays = [], []
        for low, high in self.bands:
            block = Bandpass(low, high, self.order, self.family, self.ripple_db, self.attenuation_db)
            stages, _, delay_s = block.design(info)
            cascades += [stage.sos for stage in stages if isinstance(stage, SosStage)]
            delays.append(delay_s)
        columns = signal_columns(info)
        signals = [c for c, filtered in zip(info.channels, columns, strict=True) if filtered]
        rest = [c for c, filtered in zip(info.channels, columns, strict=True) if not filtered]
        made = [_in_band(channel, band) for band in self.bands for channel in signals]
        return [BankStage(np.stack(cascades), columns)], replace(info, channels=(*made, *rest)), max(delays)


def _in_band(channel: Channel, band: tuple[float, float]) -> Channel:
    return replace(channel, name=f"{channel.name} {band[0]:g}-{band[1]:g} Hz")
