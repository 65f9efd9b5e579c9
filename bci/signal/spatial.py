"""Spatial steps: choose channels, re-reference, apply a fixed matrix."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import ArrayLike, NDArray

from bci.errors import ConfigError
from bci.signal.stages import AverageStage, MatrixStage, PickStage, Stage, StagedBlock
from bci.stream import Channel, Kind, StreamInfo


class Pick(StagedBlock):
    """Keep some channels, by name or by kind.

    Parameters
    ----------
    channels : str or sequence of str
        Names (kept in the given order), or kinds such as "eeg" (kept in stream order).

    Raises
    ------
    ConfigError
        From `prepare`, if a name is not in the stream or nothing is left.
    """

    def __init__(self, channels: str | Sequence[str]) -> None:
        self.channels = (channels,) if isinstance(channels, str) else tuple(channels)

    def design(self, info: StreamInfo) -> tuple[list[Stage], StreamInfo, float]:
        """Return the pick for `info`."""
        kinds = {k.value for k in Kind}
        if self.channels and all(c in kinds and c not in info.ch_names for c in self.channels):
            columns = [i for i, c in enumerate(info.channels) if c.kind.value in self.channels]
        else:
            columns = [info.index(name) for name in self.channels]
        if not columns:
            raise ConfigError(
                f"expected channels of kind or name {', '.join(self.channels) or '(none given)'}, stream {info.name!r} "
                f"has {', '.join(info.ch_names[:40])}; name channels that are there"
            )
        out = replace(info, channels=tuple(info.channels[i] for i in columns))
        return [PickStage(np.array(columns, dtype=np.int64))], out, 0.0


class Reference(StagedBlock):
    """Re-reference the EEG channels.

    Parameters
    ----------
    to : str or sequence of str, default="average"
        "average" of all EEG channels, one or more channel names (as in
        ``("M1", "M2")`` for linked mastoids), or "none".
    exclude : sequence of str
        Channels that do not enter the average; they are re-referenced all the same.

    Raises
    ------
    ConfigError
        From `prepare`, if a name is not in the stream or no channel is left to average.

    Notes
    -----
    A channel whose value is unknown (NaN) is left out of the mean and stays unknown alone.

    References
    ----------
    .. [1] P. Nunez, R. Srinivasan. Electric Fields of the Brain, 2nd ed., ch. 7, 2006.
    """

    def __init__(self, to: str | Sequence[str] = "average", exclude: Sequence[str] = ()) -> None:
        self.to = to if isinstance(to, str) else tuple(to)
        self.exclude = tuple(exclude)

    def design(self, info: StreamInfo) -> tuple[list[Stage], StreamInfo, float]:
        """Return the subtraction for `info`."""
        if self.to == "none":
            return [], info, 0.0
        eeg = [i for i, c in enumerate(info.channels) if c.kind is Kind.EEG]
        left_out = {info.index(name) for name in self.exclude}
        if self.to == "average":
            members = [i for i in eeg if i not in left_out]
        else:
            members = [info.index(n) for n in ((self.to,) if isinstance(self.to, str) else self.to)]
        if not members:
            raise ConfigError(
                f"a reference needs at least one channel, got none among {info.n_channels} channels of {info.name!r}; "
                "give EEG channels or names"
            )
        return [AverageStage(np.array(members, np.int64), np.array(eeg, np.int64))], info, 0.0


class SpatialFilter(StagedBlock):
    """Apply a fixed matrix (ICA, CSP, beamformer weights): each output is a weighted sum of channels.

    Parameters
    ----------
    matrix : array_like, shape (n_outputs, n_channels)
        Weights.
    names : sequence of str
        Names of the outputs.

    Raises
    ------
    ConfigError
        If names and matrix do not fit; from `prepare`, if the stream has another number of channels.
    """

    def __init__(self, matrix: ArrayLike, names: Sequence[str]) -> None:
        self.matrix: NDArray[np.float64] = np.array(matrix, dtype=np.float64)
        self.names = tuple(names)
        if self.matrix.ndim != 2 or len(self.names) != len(self.matrix) or not np.isfinite(self.matrix).all():
            raise ConfigError(
                f"a spatial filter needs a finite matrix with one row per name, got shape {self.matrix.shape} "
                f"and {len(self.names)} names"
            )

    def design(self, info: StreamInfo) -> tuple[list[Stage], StreamInfo, float]:
        """Return the matrix for `info`."""
        if self.matrix.shape[1] != info.n_channels:
            raise ConfigError(
                f"the matrix takes {self.matrix.shape[1]} channels, stream {info.name!r} has {info.n_channels}; "
                "pick the channels it was made for"
            )
        unit = info.channels[0].unit
        out = replace(info, channels=tuple(Channel(n, info.channels[0].kind, unit) for n in self.names))
        return [MatrixStage(self.matrix)], out, 0.0


class Laplacian(StagedBlock):
    """Local surface Laplacian: a channel less the mean of its neighbours.

    Parameters
    ----------
    neighbours : mapping of str to sequence of str
        Neighbours of each channel that is kept.

    References
    ----------
    .. [1] B. Hjorth. An on-line transformation of EEG scalp potentials into orthogonal source derivations.
       Electroencephalogr Clin Neurophysiol 39:526-530, 1975. doi:10.1016/0013-4694(75)90056-5
    """

    def __init__(self, neighbours: Mapping[str, Sequence[str]]) -> None:
        self.neighbours = {name: tuple(near) for name, near in neighbours.items()}
        if not self.neighbours or not all(self.neighbours.values()):
            raise ConfigError(f"a Laplacian needs neighbours for every channel, got {self.neighbours}; name them")

    def design(self, info: StreamInfo) -> tuple[list[Stage], StreamInfo, float]:
        """Return the matrix for `info`."""
        matrix = np.zeros((len(self.neighbours), info.n_channels))
        for row, (name, near) in enumerate(self.neighbours.items()):
            matrix[row, info.index(name)] = 1.0
            for neighbour in near:
                matrix[row, info.index(neighbour)] -= 1.0 / len(near)
        return [MatrixStage(matrix)], info.pick(self.neighbours), 0.0
