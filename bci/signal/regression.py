"""Regression of eyes and muscles: what reference channels tell about the EEG is taken out of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Self

import numpy as np
from numpy.typing import NDArray

from bci.errors import ConfigError, DataError
from bci.ports import Block
from bci.signal.asr_calibration import signal_of
from bci.signal.stages import Line, MatrixStage, Stage, StagedBlock, not_prepared
from bci.stream import Chunk, Flag, Kind, StreamInfo, listed

Array = NDArray[np.float64]


class Regress(StagedBlock):
    """Subtract from each EEG channel what EOG or EMG channels tell about it, with weights that were learned before.

    Parameters
    ----------
    references : str or sequence of str, default="eog"
        Names of the reference channels, or a kind: all channels of it.

    Raises
    ------
    ConfigError
        From `prepare`, if there are no references or EEG channels, or weights were learned for other ones.

    Notes
    -----
    `fit` finds the weights by least squares about the means, over signal in which a person moves the eyes and blinks
    [2]_; the weights of [1]_ come from trials less their average, so that the brain's response to a cue is no part of
    them. References pass unchanged, as do all other channels. Where a reference is unknown (NaN) the EEG is too. What
    was done stands in the stream's `meta` as "regressed".

    References
    ----------
    .. [1] G. Gratton, M. Coles, E. Donchin. A new method for off-line removal of ocular artifact. Electroencephalogr
       Clin Neurophysiol 55:468-484, 1983. doi:10.1016/0013-4694(83)90135-9
    .. [2] R. Croft, R. Barry. Removal of ocular artifact from the EEG: a review. Neurophysiol Clin 30:5-19, 2000.
       doi:10.1016/S0987-7053(00)00055-1
    """

    def __init__(self, references: str | Sequence[str] = "eog") -> None:
        self.references = (references,) if isinstance(references, str) else tuple(references)
        self.weights: Array | None = None
        """Weights of the references in each EEG channel, shape (n_eeg, n_references); known after `fit`."""
        self._names: tuple[list[str], list[str]] = ([], [])

    def fit(self, data: Array | Chunk, info: StreamInfo | None = None) -> Self:
        """Learn the weights from `data`, shape (n_samples, n_channels), or a chunk; unknown rows are left out.

        Raises
        ------
        DataError
            If there are fewer than 100 rows for each reference, or a reference stands still.
        """
        rows, info = signal_of(data, info)
        references, eeg = columns_of(self.references, info)
        rows = rows[np.isfinite(rows[:, [*references, *eeg]]).all(axis=1)]
        told = rows[:, references] - rows[:, references].mean(axis=0) if len(rows) else rows[:, references]
        if len(rows) < 100 * len(references) or np.linalg.matrix_rank(told) < len(references):
            raise DataError(
                f"regression needs 100 known samples for each of {len(references)} references, and none that stands "
                f"still or equals the others, got {len(rows)}; record a minute in which the eyes move"
            )
        self.weights = np.linalg.lstsq(told, rows[:, eeg] - rows[:, eeg].mean(axis=0))[0].T
        self._names = ([info.ch_names[i] for i in references], [info.ch_names[i] for i in eeg])
        return self

    def design(self, info: StreamInfo) -> tuple[list[Stage], StreamInfo, float]:
        """Return the matrix for `info`."""
        references, eeg = columns_of(self.references, info)
        names = [info.ch_names[i] for i in references], [info.ch_names[i] for i in eeg]
        if self.weights is None or names != self._names:
            raise ConfigError(
                f"expected weights for {listed(names[1])} from {listed(names[0])}, got "
                f"{'none' if self.weights is None else 'those of other channels'}; call fit(data, info) for this stream"
            )
        matrix = np.eye(info.n_channels)
        matrix[np.ix_(eeg, references)] = -self.weights
        return [MatrixStage(matrix)], _told(info, names[0]), 0.0


class AdaptiveRegress(Block):
    """Subtract from each EEG channel what EOG or EMG channels tell about it, learning all the time.

    A recursive least squares filter with a few taps for each reference: it needs no calibration, and follows a cap that
    moves.

    Parameters
    ----------
    references : str or sequence of str, default="eog"
        Names of the reference channels, or a kind: all channels of it.
    n_taps : int, default=3
        How many of the newest samples of a reference count, itself included; 3 in [1]_.
    memory_s : float, default=40
        Time constant of forgetting, s; the factor 0.9999 of [1]_ is 39 s at 256 Hz.

    Raises
    ------
    ConfigError
        If a setting is out of range; from `prepare`, if there are no references or EEG channels.

    Notes
    -----
    Put it after a high-pass: offsets would be learned too. The output is the error after the update with its own
    sample, as in [1]_. References pass unchanged, as do all other channels. While a reference is still, nothing more
    is forgotten than the filter began with, so it can learn again. Where a reference is unknown (NaN) among the taps,
    the EEG is too. A gap keeps what was learned. What is done stands in the stream's `meta` as "regressed".

    References
    ----------
    .. [1] P. He, G. Wilson, C. Russell. Removal of ocular artifacts from electro-encephalogram by adaptive filtering.
       Med Biol Eng Comput 42:407-412, 2004. doi:10.1007/BF02344717
    """

    def __init__(self, references: str | Sequence[str] = "eog", n_taps: int = 3, memory_s: float = 40.0) -> None:
        if not (1 <= n_taps <= 100 and memory_s > 0):
            raise ConfigError(
                f"adaptive regression needs 1 to 100 taps and memory_s > 0, got {n_taps} and {memory_s} s; "
                "leave the defaults if unsure"
            )
        self.references = (references,) if isinstance(references, str) else tuple(references)
        self.n_taps, self.memory_s = n_taps, memory_s
        self._line: Line | None = None

    def prepare(self, info: StreamInfo) -> StreamInfo:
        """Allocate for `info`; return it with what is taken out in its `meta`."""
        from bci.signal import kernels, kernels_artefacts

        physical = info.physical()
        references, eeg = columns_of(self.references, physical)
        self._references, self._eeg = np.array(references, np.int64), np.array(eeg, np.int64)
        kernels.warm_up()
        kernels_artefacts.warm_up()
        self._hold, self._adapt = kernels.hold, kernels_artefacts.adapt
        self._keep = float(np.exp(-1.0 / (self.memory_s * info.sfreq)))
        self._line = Line(info)
        self._out_info = _told(physical, [info.ch_names[i] for i in references])
        self.reset()
        return self._out_info

    def process(self, chunk: Chunk) -> Chunk:
        """Return the corrected chunk."""
        if self._line is None:
            raise not_prepared(self)
        flags, restart = self._line.follow(chunk)
        if chunk.n_samples == 0:
            return Chunk.empty(self._out_info, chunk.start, flags, chunk.events)
        values = np.array(chunk.physical().data, dtype=np.float64, order="C")
        bad = np.zeros(values.shape, np.uint8)
        if restart:
            self._known[:] = 0
        self._hold(values, bad, self._last, self._known)
        if restart:  # as if the first sample had been there for ever
            self._taps[:] = values[0, self._references][:, None]
            self._fresh[0] = self.n_taps
        self._adapt(
            values, bad, self._references, self._eeg, self._taps, self._fresh, self._inverse, self._weights,
            self._keep, self._most,
        )  # fmt: skip
        unknown = bool(bad.any())
        if unknown:
            values[bad.astype(bool)] = np.nan
        flags = flags & ~Flag.NAN | (Flag.NAN if unknown else Flag.OK)
        return Chunk(values, chunk.times, chunk.start, self._out_info, chunk.events, flags)

    def reset(self) -> None:
        """Forget all samples and what was learned from them."""
        if self._line is None:
            return
        n = len(self._references) * self.n_taps
        self._line.reset()
        self._last = np.zeros(self._out_info.n_channels)
        self._known = np.zeros(self._out_info.n_channels, np.uint8)
        self._taps = np.zeros((len(self._references), self.n_taps))
        self._fresh = np.zeros(1, np.int64)
        self._inverse = np.eye(n) * _BEGIN
        self._most = _BEGIN * n
        self._weights = np.zeros((len(self._eeg), n))

    @property
    def weights(self) -> Array:
        """What was learned: the weights in each EEG channel, shape (n_eeg, n_references, n_taps)."""
        if self._line is None:
            raise not_prepared(self)
        return self._weights.reshape(len(self._eeg), len(self._references), self.n_taps).copy()


_BEGIN = 100.0  # inverse of sigma = 0.01, with which the inverse correlation begins in He et al. 2004


def columns_of(references: Sequence[str], info: StreamInfo) -> tuple[list[int], list[int]]:
    """Return the columns of the references, named by name or kind, and those of the EEG channels that are none."""
    kinds = {k.value for k in Kind}
    if all(r in kinds and r not in info.ch_names for r in references):
        told = [i for i, c in enumerate(info.channels) if c.kind.value in references]
    else:
        told = [info.index(name) for name in references]
    eeg = [i for i, c in enumerate(info.channels) if c.kind is Kind.EEG and i not in told]
    if not told or not eeg:
        raise ConfigError(
            f"regression needs reference channels of kind or name {listed(references)} and EEG channels, stream "
            f"{info.name!r} has {len(told)} and {len(eeg)} among {listed(info.ch_names)}; name the references"
        )
    return told, eeg


def _told(info: StreamInfo, references: Sequence[str]) -> StreamInfo:
    return replace(info, meta={**info.meta, "regressed": " ".join(references)})
