"""A progress bar that follows the signal."""

from __future__ import annotations

from typing import Any, Self

from tqdm import tqdm

from bci.runtime.loop import Turn


class FollowSignal:
    """Seconds of signal that went through the loop, where there is a terminal; for a session's `on_turn`."""

    def __init__(self) -> None:
        self._bar: Any = tqdm(desc="signal", disable=None, bar_format="{desc}: {n:.0f} s [{elapsed}]", delay=0.2)

    def __call__(self, turn: Turn) -> None:
        """Follow one turn."""
        self._bar.update(turn.chunk.n_samples / turn.chunk.info.sfreq)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.close()
