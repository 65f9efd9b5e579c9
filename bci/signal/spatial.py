"""Spatial steps: choose channels, re-reference, apply a fixed matrix."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import ArrayLike, NDArray

from bci.errors import ConfigError
from bci.signal.places import directions
from bci.signal.stages import AverageStage, MatrixStage, PickStage, Stage, StagedBlock
from bci.stream import Channel, Kind, StreamInfo, listed


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
        "average" of all EEG channels; one or more channel names; "mastoids", the mean of M1 and M2, or of A1 and A2,
        or of TP9 and TP10, whichever come first in the stream's names; "infinity" (REST [2]_), which needs the places
        of the electrodes; or "none".
    exclude : sequence of str
        Channels that do not enter the average; they are re-referenced all the same. Not for "infinity".

    Raises
    ------
    ConfigError
        From `prepare`, if a name is not in the stream, no channel is left to average, there are no mastoids, or places
        are not known.

    Notes
    -----
    A channel whose value is unknown (NaN) is left out of the mean and stays unknown alone. For "infinity" all EEG
    channels enter the estimate, so where one is unknown all are: interpolate or leave out a bad one first.

    References
    ----------
    .. [1] P. Nunez, R. Srinivasan. Electric Fields of the Brain, 2nd ed., ch. 7, 2006.
    .. [2] D. Yao. A method to standardize a reference of scalp EEG recordings to a point at infinity. Physiol Meas
       22:693-711, 2001. doi:10.1088/0967-3334/22/4/305
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
        if self.to == "infinity":
            return [_infinity(info)], info, 0.0
        if self.to == "average":
            members = [i for i in eeg if i not in left_out]
        elif self.to == "mastoids":
            members = _mastoids(info)
        else:
            members = [info.index(n) for n in ((self.to,) if isinstance(self.to, str) else self.to)]
        if not members:
            raise ConfigError(
                f"a reference needs at least one channel, got none among {info.n_channels} channels of {info.name!r}; "
                "give EEG channels or names"
            )
        return [AverageStage(np.array(members, np.int64), np.array(eeg, np.int64))], info, 0.0


class Bipolar(StagedBlock):
    """Differences of two channels each, as clinics derive them.

    Parameters
    ----------
    pairs : sequence of (str, str)
        The channel, and the one that is taken from it; the output is called "C3-P3".

    Raises
    ------
    ConfigError
        If there are no pairs; from `prepare`, if a name is not in the stream or the units of a pair differ.

    Notes
    -----
    Channels that are in no pair are left out, trigger channels too. A difference is unknown (NaN) where one of its
    channels is.
    """

    def __init__(self, pairs: Sequence[tuple[str, str]]) -> None:
        self.pairs = tuple((str(one), str(other)) for one, other in pairs)
        if not self.pairs:
            raise ConfigError("bipolar derivations need pairs of channels, got none; give (('C3', 'P3'), ...)")

    def design(self, info: StreamInfo) -> tuple[list[Stage], StreamInfo, float]:
        """Return the matrix for `info`."""
        matrix = np.zeros((len(self.pairs), info.n_channels))
        channels = []
        for row, (name, reference) in enumerate(self.pairs):
            one, other = info.index(name), info.index(reference)
            units = info.channels[one].unit, info.channels[other].unit
            if units[0] != units[1]:
                raise ConfigError(f"{name}-{reference} needs one unit, got {units[0]} and {units[1]}; pair others")
            matrix[row, one] += 1.0
            matrix[row, other] -= 1.0
            channels.append(replace(info.channels[one], name=f"{name}-{reference}", position=None))
        return [MatrixStage(matrix)], replace(info, channels=tuple(channels)), 0.0


class SpatialFilter(StagedBlock):
    """Apply a fixed matrix (ICA, CSP, xDAWN, beamformer weights): each output is a weighted sum of channels.

    Parameters
    ----------
    matrix : array_like, shape (n_outputs, n_channels)
        Weights.
    names : sequence of str
        Names of the outputs.
    channels : sequence of str, optional
        The channels the matrix takes, in its order; by default all of the stream, which must be as many.
    unit : str, optional
        Unit of the outputs; by default that of the first channel.

    Raises
    ------
    ConfigError
        If names, channels and matrix do not fit; from `prepare`, if the stream has another number of channels or lacks
        one of `channels`.

    Notes
    -----
    What is not an output is left out, trigger channels too. An output is unknown (NaN) where a channel with a weight
    in it is. `bci.interop.from_ica` makes one from an ICA of MNE.
    """

    def __init__(
        self, matrix: ArrayLike, names: Sequence[str], channels: Sequence[str] | None = None, unit: str | None = None
    ) -> None:
        self.matrix: NDArray[np.float64] = np.array(matrix, dtype=np.float64)
        self.names, self.unit = tuple(names), unit
        self.channels = None if channels is None else tuple(channels)
        if self.matrix.ndim != 2 or len(self.names) != len(self.matrix) or not np.isfinite(self.matrix).all():
            raise ConfigError(
                f"a spatial filter needs a finite matrix with one row per name, got shape {self.matrix.shape} "
                f"and {len(self.names)} names; give one name for each row"
            )
        if self.channels is not None and len(self.channels) != self.matrix.shape[1]:
            raise ConfigError(
                f"a spatial filter needs one channel per column, got {len(self.channels)} names for shape "
                f"{self.matrix.shape}; name the channels it was made for"
            )

    def design(self, info: StreamInfo) -> tuple[list[Stage], StreamInfo, float]:
        """Return the matrix for `info`."""
        columns = range(info.n_channels) if self.channels is None else [info.index(name) for name in self.channels]
        if self.matrix.shape[1] != len(columns):
            raise ConfigError(
                f"the matrix takes {self.matrix.shape[1]} channels, stream {info.name!r} has {info.n_channels}; "
                "pick the channels it was made for, or name them: channels="
            )
        matrix = np.zeros((len(self.matrix), info.n_channels))
        matrix[:, columns] = self.matrix
        like = info.channels[columns[0]]
        out = replace(info, channels=tuple(Channel(n, like.kind, self.unit or like.unit) for n in self.names))
        return [MatrixStage(matrix)], out, 0.0


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


_MASTOIDS = (("M1", "M2"), ("A1", "A2"), ("TP9", "TP10"))


def _mastoids(info: StreamInfo) -> list[int]:
    folded = {name.lower(): i for i, name in enumerate(info.ch_names)}
    for pair in _MASTOIDS:
        if all(name.lower() in folded for name in pair):
            return [folded[name.lower()] for name in pair]
    raise ConfigError(
        f"expected mastoids called {', or '.join(' and '.join(pair) for pair in _MASTOIDS)}, got "
        f"{listed(info.ch_names)}; name the channels to refer to"
    )


def _infinity(info: StreamInfo) -> MatrixStage:
    from bci.signal.infinity import to_infinity
    from bci.signal.surface import eeg_columns

    eeg = eeg_columns(info, 4)
    where, _ = directions([info.channels[i] for i in eeg])
    matrix = np.eye(info.n_channels)
    matrix[np.ix_(eeg, eeg)] = to_infinity(where)
    return MatrixStage(matrix)
