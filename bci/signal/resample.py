"""Change the sampling rate by any ratio of whole numbers, with anti-aliasing."""

from __future__ import annotations

from dataclasses import dataclass, replace
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from bci.errors import ConfigError
from bci.ports import Block
from bci.signal.fir import History, blocks
from bci.signal.program import Program
from bci.signal.stages import Array, Line, Mask, Runner, not_prepared
from bci.signal.thinned import Thinned
from bci.stream import Chunk, Kind, StreamInfo

_LARGEST = 10_000
_MOST = 1000


class Resample(Block):
    """Bring a stream to another rate, up or down, by a polyphase filter.

    Output sample n is the signal at n * sfreq / to_hz, in samples of the input since the stream began; so neither
    cuts nor gaps move the samples. It comes with the last input sample at or before that place.

    Parameters
    ----------
    to_hz : float
        The new rate, Hz; ``to_hz / sfreq`` is taken as the nearest ratio of whole numbers up to 10 000.
    passband : float, default=0.8
        Where the pass band ends, as a part of the lower of both Nyquist frequencies, 0.05 to 0.95. A smaller one is
        shorter, and so is its delay.
    attenuation_db : float, default=80
        How far down is what would fold into the pass band, dB, 21 to 160.

    Raises
    ------
    ConfigError
        If a setting is out of range; from `prepare`, if no such ratio comes near.

    Notes
    -----
    The filter is a linear-phase Kaiser window design in polyphase form [1]_, [2]_; between the passband and its
    mirror image at the lower Nyquist frequency it falls, by 6 dB in the middle, as `Decimate` does with less
    attenuation. Every phase of it has a gain of 1 at 0 Hz, so a constant stays one to the last digits. `delay_s` is
    half its length; for a ratio of 1 samples pass unchanged.

    A filter starts at the beginning and after every gap as if the first known value of each channel had been there
    for ever. A value is unknown (NaN) where the input sample that it came with is, or one since the value before: none
    is lost between two. A trigger channel takes the value
    of that input sample, undelayed; a code shorter than an output sample may be missed when the rate is lowered, so
    use events.

    References
    ----------
    .. [1] A. Oppenheim, R. Schafer. Discrete-Time Signal Processing, 3rd ed., sec. 4.6 and 4.7, 2010.
    .. [2] R. Crochiere, L. Rabiner. Multirate Digital Signal Processing, ch. 2 and 3, 1983.
    """

    def __init__(self, to_hz: float, passband: float = 0.8, attenuation_db: float = 80.0) -> None:
        if not (0 < to_hz < np.inf and 0.05 <= passband <= 0.95 and 21 <= attenuation_db <= 160):
            raise ConfigError(
                f"expected to_hz above 0 Hz, a passband from 0.05 to 0.95 and 21 to 160 dB, got {to_hz} Hz, {passband} "
                f"and {attenuation_db} dB; leave the defaults if unsure"
            )
        self.to_hz, self.passband, self.attenuation_db = to_hz, passband, attenuation_db
        self._program: Program | None = None
        self._waiting = Thinned(self._place)

    def prepare(self, info: StreamInfo) -> StreamInfo:
        """Design the filter for `info`; return it with the new rate."""
        self.up, self.down = _ratio(self.to_hz, info.sfreq)
        self.taps = polyphase_taps(self.up, self.down, self.passband, self.attenuation_db)
        self.delay_s = (len(self.taps) - 1) / 2 / (self.up * info.sfreq)
        physical = info.physical()
        self._out_info = replace(physical, sfreq=info.sfreq * self.up / self.down)
        triggers = np.array([c.kind is Kind.TRIG for c in info.channels])
        self._runner = _PolyphaseRunner(self.taps, self.up, self.down, triggers)
        self._program = Program([_Polyphase(self._runner)], info, physical)
        self._line = Line(info)
        self.reset()
        return self._out_info

    def process(self, chunk: Chunk) -> Chunk:
        """Return the samples that are complete; may be empty."""
        if self._program is None:
            raise not_prepared(self)
        flags, restart = self._line.follow(chunk)
        self._waiting.take(chunk.events, flags)
        first, stop = self._place(chunk.start), self._place(chunk.stop)
        if chunk.n_samples == 0:
            return Chunk.empty(self._out_info, first, flags, self._waiting.events(first))
        if restart:
            self._program.reset()
        self._runner.seek(chunk.start)
        values, unknown = self._program.run(chunk.data)
        place = np.arange(first, stop, dtype=np.int64) * self.down
        at, phase = place // self.up - chunk.start, place % self.up
        times = chunk.times[at] + phase / (self.up * chunk.info.sfreq)
        out_flags = self._waiting.flags(stop - first, unknown, flags)
        return Chunk(values, times, first, self._out_info, self._waiting.events(stop), out_flags)

    def response(self, freqs_hz: Array) -> NDArray[np.complex128]:
        """Return the response at `freqs_hz`, shape (n_freqs,), without the images of a higher rate; after `prepare`."""
        if self._program is None:
            raise not_prepared(self)
        from bci.signal.response import taps_response

        # The mean over all places of an output between two inputs.
        return taps_response(self.taps, freqs_hz, self.up * self._line.info.sfreq) / self.up

    def reset(self) -> None:
        """Forget all samples, keep the settings."""
        self._waiting.reset()
        if self._program is not None:
            self._program.reset()
            self._line.reset()

    def _place(self, number: int) -> int:
        """Return the first output sample at or after input sample `number`."""
        return -(-number * self.up // self.down)


def _ratio(to_hz: float, sfreq: float) -> tuple[int, int]:
    exact = to_hz / sfreq
    ratio = Fraction(exact).limit_denominator(max(1, int(_LARGEST / max(1.0, exact))))
    if not 1 / _MOST <= exact <= _MOST or abs(float(ratio) / exact - 1) > 1e-6:
        raise ConfigError(
            f"expected a ratio of whole numbers up to {_LARGEST}, {_MOST} times at most, got {to_hz:g} Hz from "
            f"{sfreq:g} Hz; choose a rate nearer to a simple ratio or resample in two steps"
        )
    return ratio.numerator, ratio.denominator


def polyphase_taps(up: int, down: int, passband: float, attenuation_db: float) -> Array:
    """Return the anti-aliasing filter at `up` times the rate that comes in: odd, symmetric, every phase of gain 1.

    Notes
    -----
    The taps of one phase are divided by their sum, and those of the mirrored phase by the same one, so the filter
    stays symmetric; the zeros that this puts at the multiples of the input rate lie deep in the stop band.
    """
    if up == down:
        return np.ones(1)
    from scipy.signal import firwin, kaiser_beta

    larger = max(up, down)
    width = 2 * (1 - passband) / larger  # of pi
    half = int(np.ceil((attenuation_db - 7.95) / (2.285 * np.pi * width) / 2))
    n_taps = 2 * max(half, up) + 1
    taps = np.asarray(firwin(n_taps, 1 / larger, window=("kaiser", kaiser_beta(attenuation_db))), dtype=np.float64)
    for phase in range(up):
        taps[phase::up] /= taps[phase::up].sum()
    return taps


@dataclass(frozen=True, eq=False)
class _Polyphase:
    """The stage of a block that has made its runner already."""

    made: _PolyphaseRunner

    def runner(self, n_channels: int) -> Runner:
        self.made.begin(n_channels)
        return self.made


class _PolyphaseRunner:
    """Filters and picks; it knows where in the stream it is."""

    def __init__(self, taps: Array, up: int, down: int, triggers: NDArray[np.bool_]) -> None:
        from bci.signal import kernels_fir

        kernels_fir.warm_up()
        self._filter = kernels_fir.fir_phases
        self._up, self._down = up, down
        n_phase = -(-len(taps) // up)
        padded = np.zeros(n_phase * up)
        padded[: len(taps)] = taps
        # Row p holds the taps p, p + up, p + 2 up ...: those that meet a sample when the place has phase p.
        self._taps = np.ascontiguousarray(padded.reshape(n_phase, up).T)
        self._pass = np.flatnonzero(triggers)
        self._number = 0

    def begin(self, n_channels: int) -> None:
        self.n_outputs = n_channels
        self._history = History(self._taps.shape[1] - 1, n_channels)
        self._waiting = np.zeros(n_channels, np.uint8)

    def seek(self, number: int) -> None:
        """Say which number the next sample has."""
        self._number = number

    def run(self, values: Array, bad: Mask | None) -> tuple[Array, Mask | None]:
        first, stop = (-(-n * self._up // self._down) for n in (self._number, self._number + len(values)))
        place = np.arange(first, stop, dtype=np.int64) * self._down
        source, phase = place // self._up - self._number, place % self._up
        out = np.empty((stop - first, values.shape[1]))
        for rows in blocks(len(values)):
            begin = self._history.push(values[rows], None if bad is None else bad[rows])
            inside = slice(*np.searchsorted(source, (rows.start, rows.stop)))
            self._filter(
                self._history.rows, source[inside] + (begin - rows.start), phase[inside], self._taps, out[inside]
            )
        if self._pass.size:
            out[:, self._pass] = values[np.ix_(source, self._pass)]
        return out, self._unknown(bad, source, len(values))

    def restart(self) -> None:
        self._history.restart()
        self._waiting[:] = 0

    def _unknown(self, bad: Mask | None, source: NDArray[np.int64], n_samples: int) -> Mask | None:
        """Return which values come with an unknown sample or follow one that nothing came with."""
        if bad is None and not self._waiting.any():
            return None
        marks = np.zeros((n_samples + 1, self.n_outputs), np.int64)
        marks[0] = self._waiting
        if bad is not None:
            marks[1:] = bad
        so_far = np.cumsum(marks, axis=0)
        before = np.vstack([np.zeros_like(so_far[:1]), so_far[source + 1]])
        self._waiting[:] = so_far[-1] > before[-1]
        return np.asarray((np.diff(before, axis=0) > 0) | (marks[source + 1] > 0), dtype=np.uint8)
