"""Detectors of what a person does beside thinking: blinks and a clenched jaw, as events."""

from __future__ import annotations

from abc import abstractmethod
from collections import deque
from collections.abc import Sequence
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from bci.errors import ConfigError
from bci.ports import Block
from bci.signal.chain import Chain
from bci.signal.filters import Bandpass, Highpass, Lowpass
from bci.signal.spatial import Pick
from bci.signal.stages import Line, not_prepared
from bci.stream import Channel, Chunk, Event, Kind, StreamInfo, listed

Array = NDArray[np.float64]

_LEARN_S = 30.0
"""The threshold rests on so much of the past, s."""
_RENEW_S = 1.0
"""It is renewed so often, s."""
_SETTLE_S = 3.0
"""Nothing is detected before so much was seen, s."""
_LOOKS_HZ = 50.0
_RATE_S = 60.0
_MOST_TOLD = 1000  # no eye blinks faster in a minute
_TO_SIGMA = 1.4826  # a median absolute deviation of a normal distribution, in standard deviations


class PulseDetector(Block):
    """Pass the stream unchanged and add an event wherever one trace made of some channels rises out of its noise.

    A subclass says which trace. The threshold is the median of the last 30 s and `n_sigma` robust standard deviations
    (of the median absolute deviation), renewed every second at fixed sample numbers; a pulse ends below half of that.
    Nothing is detected in the first 3 s; a gap ends a pulse and keeps what was learned.

    Attributes
    ----------
    event_delay_s : float
        How long after its sample an event is told at the latest, s; known after `prepare`. The event has the number of
        the sample where it was, so it may lie before the chunk that carries it.
    """

    code: ClassVar[str]
    _at_end: ClassVar[bool]
    """Whether a pulse is told when it is over, at its highest sample; else at its first, once it has lasted."""
    _square: ClassVar[bool]
    """Whether the trace is made of the power of the channels."""

    def __init__(self, channels: str | Sequence[str] | None, n_sigma: float, least_s: float, most_s: float) -> None:
        if not (n_sigma > 0 and 0 < least_s < most_s):
            raise ConfigError(
                f"a detector needs n_sigma > 0 and 0 < shortest < longest, got {n_sigma}, {least_s} s and {most_s} s; "
                "leave the defaults if unsure"
            )
        self.channels = (channels,) if isinstance(channels, str) else None if channels is None else tuple(channels)
        self.n_sigma, self.least_s, self.most_s = n_sigma, least_s, most_s
        self._sign, self._floor = 1.0, 0.0
        self._number, self._n_total = 0, 0
        self._line: Line | None = None

    @abstractmethod
    def _default(self, info: StreamInfo) -> list[str]:
        """Return the channels that are looked at where none were named."""

    @abstractmethod
    def _filters(self, info: StreamInfo) -> tuple[list[Block], list[Block]]:
        """Return the blocks before and after the channels become one trace."""

    def prepare(self, info: StreamInfo) -> StreamInfo:
        """Design and allocate for `info`; the stream stays what it is."""
        from bci.signal import kernels_artefacts as kernels

        kernels.warm_up()
        self._across, self._find = kernels.across, kernels.find_pulses
        names = list(self.channels or self._default(info.physical()))
        if not names:
            raise ConfigError(
                f"{type(self).__name__} needs channels that show it, got {listed(info.ch_names)}; name them: channels="
            )
        before, after = self._filters(info)
        self._front, self._back = Chain([Pick(names), *before]), Chain(after)
        self._front.prepare(info)
        self._trace_info = StreamInfo("trace", info.sfreq, (Channel("trace", Kind.MISC, ""),))
        self._back.prepare(self._trace_info)
        self._late = self._shift(info)
        waits_s = self.most_s if self._at_end else self.least_s
        self.event_delay_s = waits_s + self._late / info.sfreq
        self._least, self._most = (max(1, round(s * info.sfreq)) for s in (self.least_s, self.most_s))
        self._every = max(1, round(info.sfreq / _LOOKS_HZ))
        self._n_renew = max(1, round(_RENEW_S * info.sfreq))
        self._out_info = info.physical()
        self._line = Line(info)
        self.reset()
        return self._out_info

    def process(self, chunk: Chunk) -> Chunk:
        """Return the chunk with the events that are found by its end."""
        if self._line is None:
            raise not_prepared(self)
        flags, restart = self._line.follow(chunk)
        out = chunk.physical().replace(flags=flags)
        if out.data.dtype != np.float64:
            out = out.replace(data=out.data.astype(np.float64))
        if chunk.n_samples == 0:
            return out
        if restart:
            self._state[:] = 0
            self._begin = chunk.start
            if chunk.start < self._number:
                self._told.clear()  # the numbers began again
        trace = self._trace(chunk)
        found: list[tuple[int, Event]] = []
        begin = 0
        while begin < len(trace):
            end = min(len(trace), begin + self._n_renew - (chunk.start + begin) % self._n_renew)
            found += self._look(trace[begin:end], chunk.start + begin, chunk)
            if (chunk.start + end) % self._n_renew == 0:
                self._renew()
            begin = end
        self._number, self._n_total = chunk.stop, self._n_total + chunk.n_samples
        return out.replace(events=_merged(chunk, found)) if found else out

    def reset(self) -> None:
        """Forget all samples and what was learned from them."""
        if self._line is None:
            return
        self._line.reset()
        self._front.reset()
        self._back.reset()
        self._seen = np.empty(round(_LEARN_S * self._out_info.sfreq / self._every))
        self._n_seen = 0
        self._high = self._low = np.inf
        self._state, self._peak = np.zeros(4, np.int64), np.zeros(1)
        self._begin = 0
        self._number, self._n_total = 0, 0
        self._told: deque[int] = deque(maxlen=_MOST_TOLD)

    @property
    def threshold(self) -> float:
        """What the trace has to rise above now; inf while there was too little to learn from."""
        return float(self._high)

    @property
    def per_minute(self) -> float:
        """Events per minute, over the last 60 s of the stream or what there was; NaN before the first 3 s."""
        if self._line is None or self._n_total < _SETTLE_S * self._out_info.sfreq:
            return float("nan")
        seen_s = min(_RATE_S, self._n_total / self._out_info.sfreq)
        first = self._number - seen_s * self._out_info.sfreq
        return 60.0 * sum(first <= sample < self._number for sample in self._told) / seen_s

    # -------------------------------------------------------------- private
    def _shift(self, info: StreamInfo) -> int:
        """Return how many samples later the trace shows what the channels have."""
        return round((self._front.delay_s + self._back.delay_s) * info.sfreq)

    def _trace(self, chunk: Chunk) -> Array:
        front = self._front.process(chunk)
        one = np.empty(front.n_samples)
        self._across(np.ascontiguousarray(front.data), self._square, self._sign, one)
        back = self._back.process(Chunk(one[:, None], chunk.times, chunk.start, self._trace_info, (), front.flags))
        trace = back.data[:, 0]
        return np.sqrt(np.maximum(trace, 0.0)) if self._square else np.ascontiguousarray(trace)

    def _look(self, trace: Array, number: int, chunk: Chunk) -> list[tuple[int, Event]]:
        """Return what is found in a piece of the trace, and at which sample it is told; keep looks to learn from."""
        looks = trace[-number % self._every :: self._every]
        looks = looks[np.isfinite(looks)]
        for look in looks:
            self._seen[self._n_seen % len(self._seen)] = look
            self._n_seen += 1
        told = np.empty((len(trace) // (self._least + 1) + 1, 2), np.int64)
        n = self._find(
            trace, self._high, self._low, self._least, self._most, self._at_end, number, self._state, self._peak, told
        )
        sfreq = chunk.info.sfreq
        found = []
        for sample, at in told[:n].tolist():
            true = max(self._begin, sample - self._late)
            time_s = float(chunk.times[at - chunk.start]) - (at - true) / sfreq
            self._told.append(true)
            found.append((at, Event(true, time_s, self.code, type(self).__name__)))
        return found

    def _renew(self) -> None:
        """Learn the threshold from the last 30 s."""
        seen = self._seen[: min(self._n_seen, len(self._seen))]
        if len(seen) < _SETTLE_S * self._out_info.sfreq / self._every:
            return
        middle = float(np.median(seen))
        rise = max(self.n_sigma * _TO_SIGMA * float(np.median(np.abs(seen - middle))), self._floor - middle)
        self._high, self._low = middle + rise, middle + rise / 2


class BlinkDetector(PulseDetector):
    """Tell blinks: event "blink" at the peak of each.

    Parameters
    ----------
    channels : str or sequence of str, optional
        Where blinks are seen, positive; by default Fp1, Fpz, Fp2, AF7, AF8 as far as they are there, else the EOG
        channels.
    n_sigma : float, default=5
        How far the peak has to rise out of the noise, in robust standard deviations.
    least_uv : float, default=40
        Smallest peak from 1 to 8 Hz, µV.
    negative : bool, default=False
        True where the channels show a blink as a negative peak.

    Raises
    ------
    ConfigError
        If a setting is not above 0; from `prepare`, if there are no such channels.

    Notes
    -----
    The mean of the channels is filtered from 1 to 8 Hz, where blinks have their power; a pulse of 0.04 to 0.5 s is a
    blink. It is told when the trace has fallen below half of the threshold. The stream itself passes unchanged.
    `per_minute` is the blink rate.
    """

    code = "blink"
    _at_end, _square = True, False

    def __init__(
        self,
        channels: str | Sequence[str] | None = None,
        n_sigma: float = 5.0,
        least_uv: float = 40.0,
        negative: bool = False,
    ) -> None:
        super().__init__(channels, n_sigma, 0.04, 0.5)
        if not least_uv > 0:
            raise ConfigError(f"the smallest peak must be above 0 uV, got {least_uv} uV; 40 suits most caps")
        self.least_uv, self.negative = least_uv, negative
        self._sign, self._floor = -1.0 if negative else 1.0, least_uv

    def _default(self, info: StreamInfo) -> list[str]:
        return _present(info, ("Fp1", "Fpz", "Fp2", "AF7", "AF8"), Kind.EOG)

    def _filters(self, info: StreamInfo) -> tuple[list[Block], list[Block]]:
        return [], [Bandpass(1.0, 8.0, 2)]

    def _shift(self, info: StreamInfo) -> int:
        """Measure it on a blink of 0.3 s: no one frequency tells where a filter puts the peak of a pulse."""
        rise = round(0.15 * info.sfreq)
        blink = np.zeros((8 * rise, 1))
        blink[rise : 3 * rise + 1, 0] = 1 + np.cos(np.pi * np.arange(-rise, rise + 1) / rise)
        return int(self._back.run(blink, self._trace_info)[:, 0].argmax()) - 2 * rise


class JawDetector(PulseDetector):
    """Tell a clenched jaw: event "jaw" where it begins.

    Parameters
    ----------
    channels : str or sequence of str, optional
        Where the temporal muscles are seen; by default T7, T8, FT7, FT8, TP7, TP8, F7, F8 as far as they are there,
        else all EEG channels.
    n_sigma : float, default=8
        How far the strength of the muscles has to rise, in robust standard deviations.
    low_hz : float, default=30
        Only what is faster is looked at, Hz; put it after a notch, or mains hide weak muscles.
    least_uv : float, default=10
        Smallest strength above `low_hz`, µV (root mean square).

    Raises
    ------
    ConfigError
        If a setting is not above 0; from `prepare`, if there are no such channels or the rate is too low.

    Notes
    -----
    The strength is the root mean square over the channels, smoothed by a low-pass of 4 Hz; one that lasts 0.15 s is
    told. Muscle has most of its power from 20 to 300 Hz [1]_, the brain below 30 Hz. The stream itself passes
    unchanged.

    References
    ----------
    .. [1] I. Goncharova et al. EMG contamination of EEG: spectral and topographical characteristics. Clin Neurophysiol
       114:1580-1593, 2003. doi:10.1016/S1388-2457(03)00093-2
    """

    code = "jaw"
    _at_end, _square = False, True

    def __init__(
        self,
        channels: str | Sequence[str] | None = None,
        n_sigma: float = 8.0,
        low_hz: float = 30.0,
        least_uv: float = 10.0,
    ) -> None:
        super().__init__(channels, n_sigma, 0.15, 3600.0)
        if not least_uv > 0:
            raise ConfigError(f"the smallest strength must be above 0 uV, got {least_uv} uV; 10 suits most caps")
        self.low_hz, self.least_uv = low_hz, least_uv
        self._floor = least_uv

    def _default(self, info: StreamInfo) -> list[str]:
        return _present(info, ("T7", "T8", "FT7", "FT8", "TP7", "TP8", "F7", "F8"), Kind.EEG)

    def _filters(self, info: StreamInfo) -> tuple[list[Block], list[Block]]:
        return [Highpass(self.low_hz, 4)], [Lowpass(4.0, 1)]


def _present(info: StreamInfo, names: Sequence[str], kind: Kind) -> list[str]:
    """Return the channels called so, in whatever case; all of a kind where there are none."""
    wanted = {name.lower() for name in names}
    return [n for n in info.ch_names if n.lower() in wanted] or [c.name for c in info.channels if c.kind is kind]


def _merged(chunk: Chunk, found: list[tuple[int, Event]]) -> tuple[Event, ...]:
    """Return all events in the order in which samples tell them, which does not depend on how the stream was cut."""
    passing = [(max(e.sample, chunk.start), e) for e in chunk.events]
    return tuple(e for _, e in sorted([*passing, *found], key=lambda told: told[0]))
