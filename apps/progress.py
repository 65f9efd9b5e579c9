"""Progress bars that follow the signal, and the reading of a file."""

from __future__ import annotations

from typing import Any, Self

from tqdm import tqdm

from bci.runtime.loop import Turn


class FollowSignal:
    """Seconds of signal that went through the loop, where there is a terminal; for a session's `on_turn`."""

    def __init__(self) -> None:
        self._bar: Any = tqdm(
            desc="signal", disable=None, bar_format="{desc}: {n:.0f} s [{elapsed}]{postfix}", delay=0.2
        )
        self._hint = ""

    def __call__(self, turn: Turn) -> None:
        """Follow one turn; what is too slow stands behind the bar."""
        if turn.hint != self._hint:
            self._hint = turn.hint
            self._bar.set_postfix_str(turn.hint, refresh=False)
        self._bar.update(turn.chunk.n_samples / turn.chunk.info.sfreq)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.close()


class FollowLoading:
    """How much of a recording is read, where there is a terminal and it takes over a second."""

    def __init__(self, name: str) -> None:
        self._bar: Any = tqdm(
            desc=f"reading {name}", total=100, disable=None, delay=1.0, leave=False, bar_format="{l_bar}{bar}"
        )

    def __call__(self, done: float) -> None:
        """Follow to `done`, 0 to 1."""
        self._bar.update(100 * done - self._bar.n)
        if done >= 1:
            self._bar.close()
