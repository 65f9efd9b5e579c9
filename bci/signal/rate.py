"""How often something happens: the rate of events, from blinks to heart beats."""

from __future__ import annotations

import numpy as np

from bci.errors import ConfigError
from bci.ports import Block
from bci.signal.feed import Grid
from bci.signal.stages import Line, not_prepared
from bci.stream import Channel, Chunk, Flag, Kind, StreamInfo


class EventRate(Block):
    """Events of one code per minute, in a window that ends now.

    Parameters
    ----------
    code : str
        Code of the events that count, as "blink".
    window_s : float, default=60
        Length of the window, s.
    step_s : float, default=1
        Time between outputs, s, rounded to whole samples.

    Raises
    ------
    ConfigError
        If a setting is out of range.

    Notes
    -----
    The output has one channel, "blink rate" in 1/min. Output sample n counts the events in the last `window_s` up to
    input sample n times the step, its own included, divided by the time observed: the window, or less (but at least
    `step_s`) since the beginning or a gap, at which counting starts anew. An event that arrives late counts at its own
    sample, from the next output on. Values of samples, NaN too, do not matter. `delay_s` is half a window.
    """

    _line: Line | None = None
    _begin: int
    _samples: list[int]

    def __init__(self, code: str, window_s: float = 60.0, step_s: float = 1.0) -> None:
        if not code or not 0 < step_s <= window_s < np.inf:
            raise ConfigError(
                f"expected a code and 0 < step_s <= window_s, got {code!r}, {step_s} s and {window_s} s; "
                "one minute is usual"
            )
        self.code, self.window_s, self.step_s = code, window_s, step_s

    def prepare(self, info: StreamInfo) -> StreamInfo:
        """Allocate for `info`; return the stream of the rate."""
        self._step = max(1, round(self.step_s * info.sfreq))
        self._window = max(self._step, round(self.window_s * info.sfreq))
        self._sfreq = info.sfreq
        channel = Channel(f"{self.code} rate", Kind.MISC, "1/min")
        self._out_info = StreamInfo(info.name, info.sfreq / self._step, (channel,), info.source_id, info.meta)
        self.delay_s = self._window / 2 / info.sfreq
        self._grid, self._line = Grid(self._step, self._out_info), Line(info)
        self.reset()
        return self._out_info

    def process(self, chunk: Chunk) -> Chunk:
        """Return the rates that fall on `chunk`; may be empty."""
        if self._line is None:
            raise not_prepared(self)
        flags, restart = self._line.follow(chunk)
        if restart:
            self._begin, self._samples = chunk.start, []
        self._samples += [e.sample for e in chunk.events if e.code == self.code and e.sample >= self._begin]
        sent = self._grid.rows(chunk)
        rates = np.array([self._rate(chunk.start + int(row)) for row in sent], np.float64)
        oldest = chunk.stop - self._window
        self._samples = [s for s in self._samples if s > oldest - self._step]
        return self._grid.send(chunk, rates.reshape(-1, 1), flags & ~Flag.NAN)

    def reset(self) -> None:
        """Forget all events."""
        self._begin, self._samples = 0, []
        if self._line is not None:
            self._line.reset()
            self._grid.reset()

    def _rate(self, number: int) -> float:
        count = sum(number - self._window < s <= number for s in self._samples)
        observed = max(self._step, min(self._window, number - self._begin + 1))
        return 60.0 * self._sfreq * count / observed
