"""What clean signal looks like to artefact subspace reconstruction: learned once, kept in a file."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bci.errors import ConfigError, DataError, FormatError
from bci.stream import Chunk, Kind, StreamInfo, listed

Array = NDArray[np.float64]

_MOST_BLOCKS = 1000  # of the geometric median
_LEAST_BLOCK = 10  # samples
_LEAST_WINDOWS = 20
_HOP = 1 / 3  # of a window, from one to the next
_BELOW = 0.1587  # quantile of a normal distribution one standard deviation below its middle
_RIDGE = 1e-9  # of the mean power: keeps the covariance of average-referenced channels invertible


@dataclass(frozen=True, slots=True, eq=False)
class AsrCalibration:
    """The clean signal: its covariance, and how strong its principal components are from window to window.

    Parameters
    ----------
    ch_names : tuple of str
        The channels, in order.
    sfreq : float
        Rate, Hz.
    window_s : float
        Length of the windows, s.
    covariance : ndarray, shape (n_channels, n_channels)
        Robust covariance, the unit of the channels squared.
    axes : ndarray, shape (n_channels, n_channels)
        Its eigenvectors, as columns.
    centre, spread : ndarray, shape (n_channels,)
        Middle and standard deviation of the root mean square of each component over windows.
    """

    ch_names: tuple[str, ...]
    sfreq: float
    window_s: float
    covariance: Array
    axes: Array
    centre: Array
    spread: Array

    def thresholds(self, cutoff: float) -> Array:
        """Return the matrix T, shape (n_channels, n_channels): a direction v may have the power of up to |T v|²."""
        limits = self.centre + cutoff * self.spread
        return np.asarray(np.maximum(limits, 1e-4 * limits.max())[:, None] * self.axes.T)

    def save(self, path: str | Path) -> None:
        """Write it to `path`, a NumPy archive (``.npz``)."""
        with Path(path).open("wb") as file:
            np.savez(
                file, ch_names=np.array(self.ch_names), sfreq=self.sfreq, window_s=self.window_s,
                covariance=self.covariance, axes=self.axes, centre=self.centre, spread=self.spread,
            )  # fmt: skip

    @classmethod
    def load(cls, path: str | Path) -> AsrCalibration:
        """Read what `save` wrote.

        Raises
        ------
        FormatError
            If `path` is no such file.
        """
        try:
            with np.load(path, allow_pickle=False) as found:
                names = tuple(str(n) for n in found["ch_names"])
                arrays = [np.array(found[k], dtype=np.float64) for k in ("covariance", "axes", "centre", "spread")]
                made = cls(names, float(found["sfreq"]), float(found["window_s"]), *arrays)
        except (OSError, KeyError, ValueError) as error:
            raise FormatError(
                f"expected a calibration that AsrCalibration.save wrote, got {path} ({error}); calibrate again"
            ) from error
        return made


def calibrate(clean: Array | Chunk, info: StreamInfo | None = None, window_s: float = 0.5) -> AsrCalibration:
    """Learn what clean signal looks like.

    Parameters
    ----------
    clean : ndarray, shape (n_samples, n_channels), or Chunk
        About a minute of signal without artefacts, filtered as it will be live; rows with unknown values are left
        out. Only the EEG channels count.
    info : StreamInfo, optional
        What an array is.
    window_s : float, default=0.5
        Length of the windows whose strength is looked at, s.

    Returns
    -------
    AsrCalibration
        Give it to `bci.signal.asr.Asr`.

    Raises
    ------
    DataError
        If there is too little signal, or an array comes without `info`.

    Notes
    -----
    The covariance is the geometric median of those of short blocks, so that a few artefacts do not move it, as
    in [1]_. Middle and spread of the windows' root mean square are the median and its distance from the quantile one
    standard deviation below, where no artefact is; [1]_ fits a truncated generalised normal distribution instead, for
    the same end.

    References
    ----------
    .. [1] T. Mullen et al. Real-time neuroimaging and cognitive monitoring using wearable dry EEG. IEEE Trans Biomed
       Eng 62:2553-2567, 2015. doi:10.1109/TBME.2015.2481482
    """
    data, info = signal_of(clean, info)
    columns = [i for i, c in enumerate(info.channels) if c.kind is Kind.EEG]
    rows = data[:, columns]
    rows = rows[np.isfinite(rows).all(axis=1)]
    length = round(window_s * info.sfreq)
    if not columns or length < 2 or len(rows) < _LEAST_WINDOWS * length:
        raise DataError(
            f"calibration needs EEG channels and {_LEAST_WINDOWS} windows of {window_s:g} s (2 samples at least), no "
            f"value unknown, got {len(columns)} channels and {len(rows) / info.sfreq:.1f} s; record a minute"
        )
    covariance = _robust_covariance(rows)
    covariance += _RIDGE * np.trace(covariance) / len(covariance) * np.eye(len(covariance))
    axes = np.linalg.eigh(covariance)[1]
    squares = np.concatenate([np.zeros((1, len(columns))), np.cumsum((rows @ axes) ** 2, axis=0)])
    begin = np.arange(0, len(rows) - length + 1, max(1, round(_HOP * length)))
    strength = np.sqrt((squares[begin + length] - squares[begin]) / length)
    centre = np.median(strength, axis=0)
    spread = centre - np.quantile(strength, _BELOW, axis=0)
    names = tuple(info.ch_names[i] for i in columns)
    return AsrCalibration(names, info.sfreq, window_s, covariance, axes, centre, spread)


def signal_of(data: Array | Chunk, info: StreamInfo | None) -> tuple[Array, StreamInfo]:
    """Return samples in the units of their channels, and what they are, from an array or a chunk."""
    if isinstance(data, Chunk):
        whole = data.physical()
        return np.asarray(whole.data, dtype=np.float64), whole.info
    rows = np.asarray(data, dtype=np.float64)
    if info is None or rows.ndim != 2 or rows.shape[1] != info.n_channels:
        expected = "(n_samples, n_channels)" if info is None else f"(n_samples, {info.n_channels})"
        raise DataError(
            f"expected samples of shape {expected} and their StreamInfo, got shape {rows.shape} and "
            f"{'no' if info is None else 'a'} StreamInfo; give both, rows are instants"
        )
    scales = info.scales
    return rows if scales is None else rows * scales, info.physical()


def check_fits(calibration: AsrCalibration, info: StreamInfo) -> None:
    """Raise `ConfigError` unless the EEG channels of `info`, their order and their rate are those of `calibration`."""
    names = tuple(c.name for c in info.channels if c.kind is Kind.EEG)
    if names != calibration.ch_names or info.sfreq != calibration.sfreq:
        raise ConfigError(
            f"expected the channels of the calibration, {listed(calibration.ch_names)} at {calibration.sfreq:g} Hz, "
            f"got {listed(names)} at {info.sfreq:g} Hz; calibrate for this stream"
        )


def _robust_covariance(rows: Array) -> Array:
    """Return the geometric median of the covariances of short blocks, shape (n_channels, n_channels).

    Weiszfeld's iteration: every block counts with the inverse of its distance from the median so far.
    """
    length = max(_LEAST_BLOCK, -(-len(rows) // _MOST_BLOCKS))
    n_blocks, n = len(rows) // length, rows.shape[1]
    blocks = rows[: n_blocks * length].reshape(n_blocks, length, n)
    flat = (np.matmul(blocks.transpose(0, 2, 1), blocks) / length).reshape(n_blocks, n * n)
    middle = np.median(flat, axis=0)
    for _ in range(200):
        distance = np.sqrt(((flat - middle) ** 2).sum(axis=1))
        weights = 1.0 / np.maximum(distance, 1e-12 * max(float(distance.max()), 1e-300))
        after = weights @ flat / weights.sum()
        moved = float(np.linalg.norm(after - middle))
        middle = after
        if moved <= 1e-7 * float(np.linalg.norm(middle)):
            break
    square = middle.reshape(n, n)
    return np.asarray((square + square.T) / 2)
