"""The zero-phase twin of a chain: for pictures and papers, never for a decoder that is to run live."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bci.errors import ConfigError, DataError
from bci.ports import Block
from bci.signal.fractional import FractionalDelay
from bci.signal.pieces import fresh, is_raw
from bci.signal.resample import Resample
from bci.signal.runners import one_by_one
from bci.signal.stages import (
    AverageStage,
    BankStage,
    DecimateStage,
    FirStage,
    HasStages,
    MatrixStage,
    PickStage,
    SosStage,
    Stage,
    signal_columns,
)
from bci.stream import StreamInfo

Array = NDArray[np.float64]


class Offline:
    """Filters without delay over a whole recording; made by `to_offline`.

    Parameters
    ----------
    blocks : iterable of Block
        What it is the twin of.
    """

    def __init__(self, blocks: Iterable[Block]) -> None:
        self.blocks = [fresh(block) for block in blocks]

    def apply(self, data: Any, info: StreamInfo | None = None) -> Any:
        """Filter a recording.

        Parameters
        ----------
        data : array_like, shape (n_samples, n_channels), or mne.io.BaseRaw
            Samples in the units of their channels, or a recording of MNE.
        info : StreamInfo, optional
            What an array is.

        Returns
        -------
        ndarray, shape (n_samples_out, n_channels_out), or mne.io.RawArray
            Of the kind that came, with annotations.

        Raises
        ------
        ConfigError
            If a block has no zero-phase twin, or does not fit.
        DataError
            If an array comes without `info`, or a value is unknown (NaN) in some channels only.

        Notes
        -----
        Rows that are unknown in all channels are a gap: both sides of it are filtered by themselves.
        """
        if is_raw(data):
            from bci.interop import from_raw, like_raw

            samples, about, _ = from_raw(data)
            done, out_info = self._filtered(samples, about)
            return like_raw(done, out_info, data)
        if info is None:
            raise DataError("an array needs its StreamInfo, got none; call apply(data, info)")
        samples = np.array(data, dtype=np.float64)
        if samples.ndim != 2 or samples.shape[1] != info.n_channels:
            raise DataError(
                f"expected an array of shape (n_samples, {info.n_channels}), got {samples.shape}; rows are samples"
            )
        if info.scales is not None:
            samples *= info.scales
        return self._filtered(samples, info.physical())[0]

    def _filtered(self, values: Array, info: StreamInfo) -> tuple[Array, StreamInfo]:
        for block in self.blocks:
            out_info = block.prepare(info)
            if isinstance(block, Resample):
                values = _resampled(values, block, info)
            for stage in block.stages() if isinstance(block, HasStages) else []:
                if not isinstance(stage, _WITH_TWIN):
                    raise _no_twin(block)
                values = _applied(stage, values)
            info = out_info
        return values, info


_WITH_TWIN = (SosStage, BankStage, FirStage, AverageStage, PickStage, MatrixStage, DecimateStage)


def to_offline(chain: Block | Iterable[Block]) -> Offline:
    """Return the zero-phase twin of a chain.

    Parameters
    ----------
    chain : Block or iterable of Block
        Filters over time, spatial steps and changes of rate.

    Returns
    -------
    Offline
        With `apply`; the chain stays as it is.

    Raises
    ------
    ConfigError
        Naming a block that has no twin: one that adapts, delays on purpose, or makes features.

    Notes
    -----
    The twin is *another* filter. Recursive ones, and those without feedback that are not symmetric, go over the
    recording forwards and backwards (`scipy.signal.sosfiltfilt` [1]_): the gain applies twice, so that a cut-off is
    -6 dB and not -3 dB. Symmetric ones of odd length are applied once and moved by half their length. All look into the
    future, which a live chain cannot: train and test decoders with `Chain.run`.

    References
    ----------
    .. [1] F. Gustafsson. Determining the initial states in forward-backward filtering. IEEE Trans Signal Process
       44:988-992, 1996. doi:10.1109/78.492552
    """
    from bci.signal.chain import Chain

    blocks: list[Block] = []
    for block in [chain] if isinstance(chain, Block) else chain:
        if isinstance(block, Chain):
            blocks += to_offline(block.blocks).blocks
        elif isinstance(block, HasStages | Resample) and not isinstance(block, FractionalDelay):
            blocks.append(block)
        else:
            raise _no_twin(block)
    return Offline(blocks)


def _no_twin(block: Block) -> ConfigError:
    return ConfigError(
        f"expected filters, spatial steps and changes of rate, got {type(block).__name__}, which has no zero-phase "
        "twin; leave it out, or run the chain as it runs live: chain.run(data)"
    )


def _applied(stage: Stage, values: Array) -> Array:
    if isinstance(stage, SosStage):
        return _over_time(values, stage.columns, _both_ways(stage.sos))
    if isinstance(stage, FirStage):
        return _over_time(values, stage.columns, _without_delay(stage.taps))
    if isinstance(stage, BankStage):
        bands = [_over_time(values, stage.columns, _both_ways(sos))[:, stage.columns] for sos in stage.sos]
        return np.concatenate([*bands, values[:, ~stage.columns]], axis=1)
    if isinstance(stage, DecimateStage):
        return values[:: stage.factor]
    return _point_by_point(stage, values)


def _point_by_point(stage: Stage, values: Array) -> Array:
    """Return what a step that looks at one row at a time makes, as it does live."""
    unknown = np.isnan(values)
    bad = unknown.astype(np.uint8) if unknown.any() else None
    (step,) = one_by_one([stage], values.shape[1])
    made, bad, _ = step.run(np.where(unknown, 0.0, values), bad, 0)
    if bad is not None:
        made[bad.astype(bool)] = np.nan
    return made


def _over_time(values: Array, columns: NDArray[np.bool_], way: Callable[[Array], Array]) -> Array:
    """Take the columns through a filter, each stretch between gaps by itself."""
    unknown = np.isnan(values[:, columns])
    gap = unknown.all(axis=1)
    if not columns.any() or not len(values):
        return values
    if (unknown.any(axis=1) != gap).any():
        raise DataError(
            f"expected values that are known, or a gap in all channels, got {int(unknown.sum())} unknown ones (NaN); "
            "interpolate or leave out the channel, or make a gap of it: a filter without delay would spread them"
        )
    made = values.copy()
    edges = np.flatnonzero(np.diff(np.concatenate([[True], gap, [True]]).astype(np.int8)))
    for begin, stop in zip(edges[::2], edges[1::2], strict=True):
        made[begin:stop, columns] = way(values[begin:stop, columns])
    return made


def _both_ways(sos: Array) -> Callable[[Array], Array]:
    from scipy.signal import sosfiltfilt

    def way(rows: Array) -> Array:
        n_before = 3 * (2 * len(sos) + 1 - min((sos[:, 2] == 0).sum(), (sos[:, 5] == 0).sum()))  # as scipy has it
        return np.asarray(sosfiltfilt(sos, rows, axis=0, padlen=int(min(n_before, len(rows) - 1))))

    return way


def _without_delay(taps: Array) -> Callable[[Array], Array]:
    from scipy.signal import filtfilt, oaconvolve

    half = len(taps) // 2

    def moved(rows: Array) -> Array:
        around = np.pad(rows, ((half, half), (0, 0)), mode="reflect", reflect_type="odd")
        return np.asarray(oaconvolve(around, taps[:, None], mode="valid", axes=0))

    def both(rows: Array) -> Array:
        made: Array = filtfilt(taps, np.ones(1), rows, axis=0, padlen=min(3 * len(taps), len(rows) - 1))
        return made

    is_symmetric = np.allclose(taps, taps[::-1], rtol=0, atol=1e-12 * np.abs(taps).max())
    return moved if len(taps) % 2 and is_symmetric else both


def _resampled(values: Array, block: Resample, info: StreamInfo) -> Array:
    """Return the values at the new rate, each at its own place."""
    from scipy.signal import upfirdn

    if np.isnan(values).any():
        raise DataError("expected values that are known, got NaN before Resample; cut the recording at its gaps")
    half = len(block.taps) // 2
    n_out = -(-len(values) * block.up // block.down)
    signals = signal_columns(info)
    pad = -(-half // block.up) + 1
    around = np.pad(values[:, signals], ((pad, pad), (0, 0)), mode="reflect", reflect_type="odd")
    # A zero before the taps for every place by which the padding and half the filter are no multiple of the step.
    first = half + pad * block.up
    taps = np.concatenate([np.zeros(-first % block.down), block.taps])
    begin = -(-first // block.down)
    made = np.empty((n_out, values.shape[1]))
    made[:, signals] = upfirdn(taps, around, block.up, block.down, axis=0)[begin : begin + n_out]
    made[:, ~signals] = values[np.arange(n_out) * block.down // block.up][:, ~signals]
    return made
