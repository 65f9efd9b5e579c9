"""A bank of band-pass filters: every channel in every band, as one block."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from bci.errors import ConfigError
from bci.signal.families import Family
from bci.signal.filters import Bandpass
from bci.signal.stages import Array, Mask, Runner, SosStage, Stage, StagedBlock, signal_columns, steady_state
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
    Every band is, to the bit, what `Bandpass` makes of it. Trigger channels pass unchanged and come last, once.
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


@dataclass(frozen=True, eq=False)
class BankStage:
    """Cascades of second-order sections, each on all of some columns.

    Parameters
    ----------
    sos : ndarray, shape (n_bands, n_sections, 6)
        Sections as `scipy.signal` writes them.
    columns : ndarray of bool, shape (n_channels,)
        Which channels are filtered; the others pass unchanged and come last.
    """

    sos: Array
    columns: NDArray[np.bool_]

    def runner(self, n_channels: int) -> Runner:
        """Return what filters `n_channels` columns."""
        return _BankRunner(self, n_channels)


class _BankRunner:
    """All bands, with their states."""

    def __init__(self, stage: BankStage, n_channels: int) -> None:
        from bci.signal import kernels_bank

        kernels_bank.warm_up()
        self._filter = kernels_bank.bank_filter
        sos = stage.sos / stage.sos[:, :, 3:4]
        self._sections = np.ascontiguousarray(sos[:, :, [0, 1, 2, 4, 5]])
        self._steady = np.stack([steady_state(s) for s in sos])
        self._signals, self._rest = np.flatnonzero(stage.columns), np.flatnonzero(~stage.columns)
        n_signals, n_bands = self._signals.size, len(sos)
        self.n_outputs = n_bands * n_signals + self._rest.size
        self._sources = np.concatenate([np.tile(self._signals, n_bands), self._rest])
        self._state = np.zeros((*self._steady.shape, n_signals))
        self._started = np.zeros(n_signals, bool)

    def run(self, values: Array, bad: Mask | None) -> tuple[Array, Mask | None]:
        out = np.empty((len(values), self.n_outputs))
        signals = np.ascontiguousarray(values[:, self._signals]) if self._rest.size else values
        if self._started.all():
            self._filter(signals, self._sections, self._state, out)
        else:
            self._start(signals, None if bad is None else bad[:, self._signals], out)
        out[:, self.n_outputs - self._rest.size :] = values[:, self._rest]
        return out, None if bad is None else np.ascontiguousarray(bad[:, self._sources])

    def restart(self) -> None:
        self._started[:] = False
        self._state[:] = 0.0

    def _start(self, signals: Array, bad: Mask | None, out: Array) -> None:
        """Filter, letting each channel begin at its first known sample; before it, it runs on zeros."""
        n_samples = len(signals)
        known = np.ones(signals.shape, bool) if bad is None else bad == 0
        first = np.where(known.any(axis=0), known.argmax(axis=0), n_samples)
        first[self._started] = n_samples
        for c in np.flatnonzero(~self._started):
            signals[: first[c], c] = 0.0
        cuts = sorted({0, *(int(t) for t in first if t < n_samples), n_samples})
        for start, stop in pairwise(cuts):
            new = first == start
            self._state[:, :, :, new] = self._steady[:, :, :, None] * signals[start, new]
            self._started |= new
            self._filter(signals[start:stop], self._sections, self._state, out[start:stop])


def _in_band(channel: Channel, band: tuple[float, float]) -> Channel:
    return replace(channel, name=f"{channel.name} {band[0]:g}-{band[1]:g} Hz")
