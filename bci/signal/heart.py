"""Heart beats from an electrocardiogram: an event at every R peak, and the heart rate."""

from __future__ import annotations

from collections import deque

import numpy as np
from numpy.typing import NDArray

from bci.errors import ConfigError
from bci.ports import Block
from bci.signal.feed import Feed, Grid
from bci.signal.filters import Bandpass
from bci.signal.program import Program
from bci.signal.stages import Line, not_prepared
from bci.stream import Channel, Chunk, Event, Flag, Kind, StreamInfo

CODE = "r-peak"


class BeatFinder:
    """Finds the R peaks of one channel.

    Parameters
    ----------
    info : StreamInfo
        The stream it is prepared for.
    channel : str or None
        The channel; None for the first of kind ECG.

    Raises
    ------
    ConfigError
        If there is no such channel, or the rate is below 60 Hz.
    """

    def __init__(self, info: StreamInfo, channel: str | None) -> None:
        from bci.signal import kernels_body

        kernels_body.warm_up()
        kinds = [c.kind for c in info.channels]
        if channel is None and Kind.ECG not in kinds:
            raise ConfigError(
                f"expected a channel of kind ecg, got {', '.join(info.ch_names[:20])}; name the channel with the ECG"
            )
        if info.sfreq < 60:
            raise ConfigError(f"R peaks need 60 Hz or more, got {info.sfreq:g} Hz; raise the device's sampling rate")
        self.name = info.ch_names[kinds.index(Kind.ECG)] if channel is None else channel
        self._column = info.index(self.name)
        self._find, self._none = kernels_body.beats, kernels_body.NONE
        self._sizes = kernels_body.N_LEVELS, kernels_body.N_PLACES
        self._learned, self._last_r = kernels_body.LEARNED, kernels_body.LAST_R
        self._band = Bandpass(5.0, 15.0, 1)
        self._feed = Feed(self._band.prepare(info.pick([self.name])))
        self._line, self._info, self._sfreq = Line(info), info.pick([self.name]), info.sfreq
        self._delay = _peak_delay(info.sfreq)
        self._window = max(1, round(0.15 * info.sfreq))
        self._past = np.zeros(4 * self._window + 8 * max(1, round(info.sfreq / 200)) + 2)
        self._squares = np.zeros_like(self._past)
        self.reset()

    def find(self, chunk: Chunk) -> tuple[list[tuple[int, int]], bool]:
        """Return (sample that tells, sample of the R peak) of each beat, and whether the stream starts anew."""
        self._line.follow(chunk)  # refuses another stream
        column = np.ascontiguousarray(chunk.data[:, self._column : self._column + 1])
        one = Chunk(column, chunk.times, chunk.start, self._info, (), chunk.flags)
        rows = self._feed.take(self._band.process(one))
        if rows.restart:
            self._restart()
        # A beat needs 0.2 s, one that was searched back may come with it.
        found = np.zeros((2 + 2 * int(chunk.n_samples / (0.2 * self._sfreq) + 1), 2), np.int64)
        n = self._find(
            np.ascontiguousarray(rows.values[:, 0]), chunk.start, self._sfreq, self._delay, self._window, self._levels,
            self._places, self._intervals, self._regular, self._past, self._squares, found,
        )  # fmt: skip
        return [(int(told), int(at)) for told, at in found[:n]], rows.restart

    def reset(self) -> None:
        """Forget everything."""
        for part in (self._line, self._band, self._feed):
            part.reset()
        self._levels = np.zeros(self._sizes[0])
        self._places: NDArray[np.int64] = np.zeros(self._sizes[1], np.int64)
        self._restart()

    def _restart(self) -> None:
        """Go on behind a gap: the thresholds are kept once learned, no interval spans it."""
        learned = self._places[self._learned]
        self._places[:] = 0
        self._places[self._learned] = learned
        self._places[self._last_r] = self._none
        self._levels[5:13] = 0.0
        self._intervals, self._regular = np.zeros(8), np.zeros(8)


class RPeaks(Block):
    """Adds an event "r-peak" at every R peak of an electrocardiogram; the samples pass unchanged.

    Parameters
    ----------
    channel : str, optional
        Channel with the ECG; the first of kind ECG by default.

    Raises
    ------
    ConfigError
        From `prepare`, if there is no such channel or the rate is below 60 Hz.

    Notes
    -----
    The detector of Pan and Tompkins [1]_: band-pass 5 to 15 Hz (here a causal Butterworth of order 1, at any rate),
    five-point slope, square, mean over 150 ms; a peak of that is a beat if it and the band exceed thresholds that
    follow the levels of beats and of what lies between, comes 200 ms after the last or later, and is no T wave (within
    360 ms with less than half of the slope). Where a beat is missing after 1.66 mean intervals, the best of what was
    refused is taken if above half of the threshold. It learns for 2 s and finds nothing meanwhile.

    A beat is known 0.1 to 0.3 s after its R peak, or later where it was searched back: the event then comes late, with
    the number of the sample of the R peak, within 0.02 s. Which chunk it comes with does not depend on cuts but for
    their edges. Behind a gap the thresholds are kept and no interval spans it. An unknown value (NaN) counts as the
    last known one. `delay_s` is 0: samples are not held back.

    References
    ----------
    .. [1] J. Pan, W. Tompkins. A real-time QRS detection algorithm. IEEE Trans Biomed Eng 32:230-236, 1985.
       doi:10.1109/TBME.1985.325532
    """

    _finder: BeatFinder | None = None

    def __init__(self, channel: str | None = None) -> None:
        self.channel = channel

    def prepare(self, info: StreamInfo) -> StreamInfo:
        """Design for `info`; return it in the units of its channels."""
        self._finder = BeatFinder(info, self.channel)
        self._sfreq = info.sfreq
        self._program = Program([], info, info.physical())
        return info.physical()

    def process(self, chunk: Chunk) -> Chunk:
        """Return the chunk with the events of the beats found in it."""
        if self._finder is None:
            raise not_prepared(self)
        passed = self._program.process(chunk)
        found, _ = self._finder.find(chunk)
        told = [(number, peak_event(at, chunk, self._sfreq, self._finder.name)) for number, at in found]
        own = [(max(e.sample, chunk.start), e) for e in passed.events]
        ordered = sorted([*own, *told], key=lambda pair: pair[0])  # as they would come from the smallest chunks
        return passed.replace(events=tuple(e for _, e in ordered))

    def reset(self) -> None:
        """Forget all samples and what was learned from them."""
        if self._finder is not None:
            self._finder.reset()
            self._program.reset()


class HeartRate(Block):
    """Heart rate from an electrocardiogram, a few times a second, with an event "r-peak" at every beat.

    Parameters
    ----------
    channel : str, optional
        Channel with the ECG; the first of kind ECG by default.
    n_beats : int, default=4
        How many intervals are averaged, the newest; at first those there are.
    step_s : float, default=0.25
        Time between outputs, s, rounded to whole samples.
    silent_s : float, default=5
        So long after the last R peak the rate is unknown (NaN), s.

    Raises
    ------
    ConfigError
        If a setting is out of range; from `prepare`, if there is no such channel or the rate is below 60 Hz.

    Notes
    -----
    The beats are those of `RPeaks`. The output has one channel, "ECG heart rate" in 1/min. It begins with the first
    interval: there are no samples before, nor behind a gap until there is one again (marked GAP). The value holds the
    beats found up to its sample. `delay_s` is the half of `n_beats` intervals at 60/min: so long ago is what it tells.
    """

    _finder: BeatFinder | None = None

    def __init__(
        self, channel: str | None = None, n_beats: int = 4, step_s: float = 0.25, silent_s: float = 5.0
    ) -> None:
        if not (n_beats == int(n_beats) and n_beats >= 1 and step_s > 0 and silent_s > 0):
            raise ConfigError(
                f"expected n_beats of 1 or more, step_s and silent_s above 0 s, got {n_beats}, {step_s} and "
                f"{silent_s}; leave the defaults if unsure"
            )
        self.channel, self.n_beats, self.step_s, self.silent_s = channel, int(n_beats), step_s, silent_s

    def prepare(self, info: StreamInfo) -> StreamInfo:
        """Design for `info`; return the stream of the heart rate."""
        self._finder = BeatFinder(info, self.channel)
        self._sfreq = info.sfreq
        factor = max(1, round(self.step_s * info.sfreq))
        channel = Channel(f"{self._finder.name} heart rate", Kind.MISC, "1/min")
        self._out_info = StreamInfo(info.name, info.sfreq / factor, (channel,), info.source_id, info.meta)
        self._grid = Grid(factor, self._out_info)
        self.delay_s = self.n_beats / 2
        self._peaks: deque[int] = deque(maxlen=self.n_beats + 1)
        return self._out_info

    def process(self, chunk: Chunk) -> Chunk:
        """Return the rates that fall on `chunk`; may be empty."""
        if self._finder is None:
            raise not_prepared(self)
        found, restart = self._finder.find(chunk)
        if restart:
            self._peaks.clear()
        told = [(number, peak_event(at, chunk, self._sfreq, self._finder.name)) for number, at in found]
        sent, rates = self._grid.rows(chunk), []
        for row in sent:
            while found and found[0][0] <= chunk.start + row:
                self._peaks.append(found.pop(0)[1])
            if len(self._peaks) > 1:
                rates.append(self._rate(chunk.start + int(row)))
        self._peaks.extend(at for _, at in found)
        flags = chunk.flags | (Flag.GAP if restart and chunk.start else Flag.OK)
        data = np.array(rates, np.float64).reshape(-1, 1)
        return self._grid.send(chunk, data, flags, told, len(sent) - len(rates))

    def reset(self) -> None:
        """Forget all samples and what was learned from them."""
        if self._finder is not None:
            self._finder.reset()
            self._grid.reset()
            self._peaks.clear()

    def _rate(self, number: int) -> float:
        if number - self._peaks[-1] > self.silent_s * self._sfreq:
            return np.nan
        return 60.0 * self._sfreq * (len(self._peaks) - 1) / (self._peaks[-1] - self._peaks[0])


def peak_event(at: int, chunk: Chunk, sfreq: float, source: str) -> Event:
    """Return the event of an R peak at sample `at`, told by `chunk`."""
    time = float(chunk.times[-1]) + (at - (chunk.stop - 1)) / sfreq
    return Event(at, time, CODE, source)


def _peak_delay(sfreq: float) -> int:
    """Return by how many samples the band moves the peak of an R wave, a Gaussian of 10 ms."""
    from scipy.signal import butter, sosfilt

    times = np.arange(-round(0.1 * sfreq), round(0.2 * sfreq)) / sfreq
    moved = sosfilt(butter(1, [5.0, 15.0], "bandpass", fs=sfreq, output="sos"), np.exp(-0.5 * (times / 0.01) ** 2))
    return int(np.argmax(moved)) - round(0.1 * sfreq)
