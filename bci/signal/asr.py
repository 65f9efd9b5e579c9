"""Artefact subspace reconstruction: what is far stronger than in clean signal is estimated from the rest."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from bci.errors import ConfigError
from bci.ports import Block
from bci.signal.asr_calibration import AsrCalibration, calibrate, check_fits
from bci.signal.delay_line import DelayLine
from bci.signal.marks import Marks
from bci.signal.stages import Line, not_prepared, signal_columns
from bci.stream import Chunk, Flag, Kind, StreamInfo

Array = NDArray[np.float64]
Mask = NDArray[np.uint8]


class Asr(Block):
    """Artefact subspace reconstruction, causal, with every repaired sample flagged.

    Every `step_s` the covariance of the last `window_s` is looked at. Directions in which the signal is stronger than
    `cutoff` standard deviations above its strength in clean signal are taken out and estimated from what the other
    directions tell about them. Where there is no such direction the samples pass bit for bit.

    Parameters
    ----------
    calibration : AsrCalibration or str or Path, optional
        What clean signal looks like, or a file that has it; else call `fit` before `prepare`.
    cutoff : float, default=20
        How strong is too strong, in standard deviations; 20 to 30 is best in [2]_, lower takes brain signal too.
    window_s : float, default=0.5
        Length of the window, s, when `fit` learns; a given calibration has its own.
    step_s : float, default=0.125
        From one look to the next, s; a window is rounded to whole steps.
    look_ahead_s : float, default=0.25
        How long samples wait before they are repaired, s: the delay. With 0 they do not, and the first 0.1 to 0.3 s of
        an artefact come through. Two steps are enough to catch its onset.
    most : float, default=0.66
        Largest share of the directions that are taken out at a time.

    Raises
    ------
    ConfigError
        If a setting is out of range; from `prepare`, if there is no calibration or it is one of another stream.

    Notes
    -----
    Looks fall on the sample numbers divisible by the step, so the output does not depend on how the stream is cut.
    Put it after a high-pass: power is taken about zero. After a start or a gap nothing is repaired until half a window
    is there. Only EEG channels are repaired. Other signals are delayed as they are; trigger channels and events are
    not, as with any filter. An unknown value (NaN) stays unknown; for its neighbours it counts as the last known
    one. What is still waiting at a gap is not delivered.

    With the covariance U of clean signal, and K the eigenvectors of the window's covariance that are kept, the signal
    becomes ``U K (K' U K)^-1 K' x``: the least squares estimate from the directions kept. That is the formula of [1]_,
    ``M (K' M)^+ K' x`` with M the root of U, without a singular value decomposition. From one look to the next
    the matrices are blended by a raised cosine.

    ``T'T - C`` positive definite, with T the thresholds and C the covariance of the window, means that no direction is
    too strong; a Cholesky decomposition tells that, and eigenvectors are needed only where something is wrong.

    References
    ----------
    .. [1] T. Mullen et al. Real-time neuroimaging and cognitive monitoring using wearable dry EEG. IEEE Trans Biomed
       Eng 62:2553-2567, 2015. doi:10.1109/TBME.2015.2481482
    .. [2] C. Chang et al. Evaluation of artifact subspace reconstruction for automatic artifact components removal in
       multi-channel EEG recordings. IEEE Trans Biomed Eng 67:1114-1121, 2020. doi:10.1109/TBME.2019.2930186
    """

    def __init__(
        self,
        calibration: AsrCalibration | str | Path | None = None,
        cutoff: float = 20.0,
        window_s: float = 0.5,
        step_s: float = 0.125,
        look_ahead_s: float = 0.25,
        most: float = 0.66,
    ) -> None:
        if not (cutoff > 0 and 0 < step_s <= window_s and 0 <= look_ahead_s <= window_s and 0 < most < 1):
            raise ConfigError(
                "reconstruction needs cutoff > 0, 0 < step_s <= window_s, 0 <= look_ahead_s <= window_s, 0 < most < 1, "
                f"got {cutoff}, {step_s} s, {window_s} s, {look_ahead_s} s, {most}; leave the defaults if unsure"
            )
        self.cutoff, self.window_s, self.step_s = cutoff, window_s, step_s
        self.look_ahead_s, self.most = look_ahead_s, most
        self.calibration = AsrCalibration.load(calibration) if isinstance(calibration, str | Path) else calibration
        self._line: Line | None = None

    def fit(self, clean: Array | Chunk, info: StreamInfo | None = None) -> Self:
        """Learn from clean signal, shape (n_samples, n_channels); see `calibrate`."""
        self.calibration = calibrate(clean, info, self.window_s)
        return self

    def prepare(self, info: StreamInfo) -> StreamInfo:
        """Allocate for `info`; the stream stays what it is."""
        if self.calibration is None:
            raise ConfigError(
                "reconstruction has to know clean signal, got no calibration; call fit(clean, info), or give the file "
                "of an AsrCalibration"
            )
        from bci.signal import kernels, kernels_artefacts

        check_fits(self.calibration, info)
        kernels.warm_up()
        kernels_artefacts.warm_up()
        self._hold, self._blend = kernels.hold, kernels_artefacts.blend
        self._signals = np.flatnonzero(signal_columns(info))
        kinds = [info.channels[i].kind for i in self._signals]
        self._eeg = np.flatnonzero([k is Kind.EEG for k in kinds])
        self._n_step = max(1, round(self.step_s * info.sfreq))
        self._n_window = max(1, round(self.calibration.window_s * info.sfreq / self._n_step))  # steps
        # Never 0 nor 1: every sample of a step that begins or ends a repair is changed, and marked.
        self._weights = (1 - np.cos(np.pi * (np.arange(self._n_step) + 0.5) / self._n_step)) / 2
        limits = self.calibration.thresholds(self.cutoff)
        self._limits, self._limits_squared, self._clean = limits, limits.T @ limits, self.calibration.covariance
        self._delay = DelayLine(round(self.look_ahead_s * info.sfreq), len(self._signals))
        self.delay_s = self._delay.delay / info.sfreq
        self._line, self._out_info = Line(info), info.physical()
        self._last = np.zeros(len(self._signals))
        self._known = np.zeros(len(self._signals), np.uint8)
        self._step = np.zeros((self._n_step, len(self._eeg)))
        self._marks = Marks(info.sfreq)
        self.reset()
        return self._out_info

    def process(self, chunk: Chunk) -> Chunk:
        """Return the repaired chunk; its flags have REPAIRED if a sample in it was."""
        if self._line is None:
            raise not_prepared(self)
        flags, restart = self._line.follow(chunk)
        if chunk.n_samples == 0:
            return Chunk.empty(self._out_info, chunk.start, flags, chunk.events)
        if restart:
            self._restart(chunk.start)
        values = np.array(chunk.physical().data, dtype=np.float64, order="C")
        rows = np.ascontiguousarray(values[:, self._signals])
        bad = np.zeros(rows.shape, np.uint8)
        self._hold(rows, bad, self._last, self._known)
        late, late_bad = self._delay.push(rows, bad)
        late = late.copy()
        repaired = self._run(rows, late)
        unknown = bool(late_bad.any())
        if unknown:
            late[late_bad.astype(bool)] = np.nan
        values[:, self._signals] = late
        flags = flags & ~Flag.NAN | (Flag.REPAIRED if repaired else Flag.OK) | (Flag.NAN if unknown else Flag.OK)
        return Chunk(values, chunk.times, chunk.start, self._out_info, chunk.events, flags)

    def reset(self) -> None:
        """Forget all samples, keep calibration and settings."""
        if self._line is None:
            return
        self._line.reset()
        self._number = 0
        self._marks.clear()
        self._n_seen = self._n_repaired = 0
        self._removed = np.zeros((2, len(self._eeg)))  # power that was there, power that was taken
        self._restart(0)

    def marked(self, begin_s: float, end_s: float) -> Flag:
        """Return REPAIRED if an output sample from `begin_s` to before `end_s`, s since the stream began, was."""
        return Flag.REPAIRED if self._line is not None and self._marks.touches(begin_s, end_s) else Flag.OK

    @property
    def spans(self) -> list[tuple[int, int]]:
        """What was repaired in the last 10 minutes: first output sample and the one after the last."""
        return [] if self._line is None else self._marks.spans

    def report(self) -> dict[str, Any]:
        """Return what was done since `reset`: seconds seen and repaired, and the share of power taken per channel.

        The share is that of the repaired samples.
        """
        if self._line is None:
            raise not_prepared(self)
        sfreq = self._out_info.sfreq
        shares = self._removed[1] / np.maximum(self._removed[0], 1e-300)
        names = [self._out_info.ch_names[self._signals[k]] for k in self._eeg]
        return {
            "seen_s": self._n_seen / sfreq,
            "repaired_s": self._n_repaired / sfreq,
            "removed": dict(zip(names, shares.tolist(), strict=True)),
        }

    # -------------------------------------------------------------- private
    def _restart(self, number: int) -> None:
        """Forget all samples; the next has this number."""
        if number < self._number:
            self._marks.clear()  # the numbers began again
        self._number = number
        self._delay.reset()
        self._known[:] = 0
        self._from = number % self._n_step  # the first row of a step that is not whole
        self._steps: list[tuple[int, Array]] = []
        self._before: Array | None = None  # None: nothing to repair
        self._after: Array | None = None

    def _run(self, rows: Array, late: Array) -> bool:
        """Look at `rows`, repair `late` in place, step by step; return whether anything was repaired."""
        repaired, begin = False, 0
        while begin < len(rows):
            place = self._number % self._n_step
            end = min(len(rows), begin + self._n_step - place)
            self._step[place : place + end - begin] = rows[begin:end, self._eeg]
            if self._before is not None or self._after is not None:
                self._repair(late[begin:end], self._weights[place : place + end - begin])
                self._marks.add(self._number, self._number + end - begin)
                repaired = True
            self._number += end - begin
            self._n_seen += end - begin
            begin = end
            if self._number % self._n_step == 0:
                self._look()
        return repaired

    def _repair(self, late: Array, weights: Array) -> None:
        signals = np.ascontiguousarray(late[:, self._eeg])
        one = np.eye(len(self._eeg))
        before, after = (one if matrix is None else matrix for matrix in (self._before, self._after))
        mixed = np.empty_like(signals)
        self._blend(signals, before, after, weights, mixed)
        late[:, self._eeg] = mixed
        self._n_repaired += len(late)
        self._removed[0] += (signals**2).sum(axis=0)
        self._removed[1] += ((signals - mixed) ** 2).sum(axis=0)

    def _look(self) -> None:
        """Choose the next matrix from the window that ends here."""
        rows = np.ascontiguousarray(self._step[self._from :])
        self._steps.append((len(rows), rows.T @ rows))
        del self._steps[: -self._n_window]
        self._from = 0
        self._before, self._after = self._after, None
        n = sum(count for count, _ in self._steps)
        if n >= self._n_window * self._n_step / 2:
            self._after = self._matrix(np.sum([products for _, products in self._steps], axis=0) / n)

    def _matrix(self, covariance: Array) -> Array | None:
        """Return what rows are multiplied with from the right, None where no direction is too strong."""
        try:
            np.linalg.cholesky(self._limits_squared - covariance)
        except np.linalg.LinAlgError:
            return reconstruction(covariance, self._limits, self._clean, self.most)
        return None


def reconstruction(covariance: Array, limits: Array, clean: Array, most: float) -> Array | None:
    """Return the matrix, shape (n_channels, n_channels), that rows are multiplied with from the right.

    Parameters
    ----------
    covariance, clean : ndarray, shape (n_channels, n_channels)
        Of the window, and of clean signal.
    limits : ndarray, shape (n_channels, n_channels)
        T: a direction v may have the power |T v|².
    most : float
        Largest share of the directions that are taken out; the strongest are.

    Returns
    -------
    ndarray or None
        None where no direction is too strong.
    """
    powers, directions = np.linalg.eigh(covariance)
    n = len(powers)
    keep = powers < ((limits @ directions) ** 2).sum(axis=0)
    keep[: n - int(most * n)] = True
    if keep.all():
        return None
    kept = directions[:, keep]
    spread = clean @ kept
    return np.ascontiguousarray(kept @ np.linalg.solve(kept.T @ spread, spread.T))
