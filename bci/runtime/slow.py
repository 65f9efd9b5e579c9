"""Name the stage that does not keep up with the samples: within a tenth of a second, also while it is at work."""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any

_log = logging.getLogger(__name__)

_SPAN_S = 0.04
"""Work is compared with signal over at least so much of both, s: a chunk of one sample may be late."""
_STUCK_S = 0.06
"""A stage that works for so long is named while it does, s ..."""
_LOOK_S = 0.03
"""... by a look at it each so often, s."""
_GOOD_FOR_S = 1.0
"""After so much signal that was kept up with it is said to be well again, s."""


class SlowWatch:
    """Compare the time that the stages of a loop take with the signal they take it for.

    Parameters
    ----------
    step_now : callable
        Returns the step of the chain that is at work, "" if none.

    Attributes
    ----------
    hint : str
        What is slow, for people to read; "" while the loop keeps up.
    """

    def __init__(self, step_now: Callable[[], str]) -> None:
        self._step_now = step_now
        self.hint = ""
        self._recent: deque[tuple[float, float]] = deque()
        self._slow: dict[str, dict[str, float]] = {}
        self._stage, self._since_s, self._signal_s = "", 0.0, 0.0
        self._good_s = 0.0
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def __enter__(self) -> SlowWatch:
        self._stop.clear()
        self._thread = threading.Thread(target=self._look, name="slow-watch", daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        if self._thread is not None:
            self._thread.join()
            self._thread = None
        self._stage = ""

    def begin(self, stage: str, signal_s: float = 0.0) -> None:
        """Say which stage begins ("": the loop waits), and for how much signal, s."""
        self._stage, self._signal_s, self._since_s = stage, signal_s, time.perf_counter()

    def turn(self, signal_s: float, spent: Mapping[str, float]) -> None:
        """Take what each stage needed for so much signal, s; stages by the names that people know them by."""
        if not signal_s > 0:
            return
        work_s = sum(spent.values())
        self._recent.append((signal_s, work_s))
        signal, work = (sum(column) for column in zip(*self._recent, strict=True))
        while max(signal - self._recent[0][0], work - self._recent[0][1]) >= _SPAN_S:
            first = self._recent.popleft()
            signal, work = signal - first[0], work - first[1]
        if max(signal, work) < _SPAN_S:
            return
        if work > signal:
            name = max(spent, key=spent.__getitem__)
            self._say(name, spent[name], signal_s, "takes")
        elif self.hint:
            self._good_s += signal_s
            if self._good_s >= _GOOD_FOR_S:
                _log.warning("the loop keeps up again: %s", self.hint)
                self.hint = ""

    def report(self) -> dict[str, Any]:
        """Return how often each slow stage was so (``n``), its longest ``time`` and the ``signal`` it was for, s."""
        return {name: dict(found) for name, found in self._slow.items()}

    # -------------------------------------------------------------- private
    def _say(self, name: str, spent_s: float, signal_s: float, takes: str) -> None:
        found = self._slow.setdefault(name, {"n": 0, "time": 0.0, "signal": 0.0})
        found["n"] += 1
        if spent_s > found["time"]:
            found.update(time=spent_s, signal=signal_s)
        self._good_s = 0.0
        new = f"{name} {takes} {1e3 * spent_s:.0f} ms per {1e3 * signal_s:.0f} ms chunk"
        if not self.hint.startswith(name):
            _log.warning("%s: the loop does not keep up; use a lighter one, or set overrun", new)
        self.hint = new

    def _look(self) -> None:
        """Name a stage that is at work for too long already; `turn` will know how long it took in the end."""
        named = 0.0
        while not self._stop.wait(_LOOK_S):
            stage, since_s, signal_s = self._stage, self._since_s, self._signal_s
            spent_s = time.perf_counter() - since_s
            if stage and since_s != named and spent_s > max(_STUCK_S, signal_s):
                named = since_s
                self._say(self._step_now() or stage, spent_s, signal_s, "is at work for")
