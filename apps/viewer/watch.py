"""Watch a running session: its raw samples, in a window of another process."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping

from bci.runtime.loop import Turn
from bci.runtime.tap import Tap


class Watch:
    """Shows what a session reads; give it to `Session(on_turn=...)`.

    Parameters
    ----------
    window : bool, default=True
        Open a window at the first samples; else only serve `address`, for
        ``bci view --device tap:ADDRESS``.

    Attributes
    ----------
    address : str
        Where the tap listens; empty until the first turn.

    Notes
    -----
    The session never waits for the window: what is not read in time is dropped, and the window says so. A
    session that runs faster than real time shows only parts of itself. Contacts that the session measures are told.

    Examples
    --------
    >>> from bci.runtime.session import Session
    >>> with Session("brainflow:synthetic", on_turn=Watch()) as session:  # doctest: +SKIP
    ...     session.calibrate()
    """

    def __init__(self, window: bool = True) -> None:
        self.address = ""
        self._window = window
        self._tap = Tap()
        self._told: Mapping[str, float] = {}

    def __call__(self, turn: Turn) -> None:
        """Offer the samples of a turn to whoever watches; never blocks."""
        if not self.address:
            self.address = self._tap.serve(turn.chunk.info)
            if self._window:
                # Left to itself: it ends when a person closes it, whatever becomes of the session.
                command = [sys.executable, "-m", "bci.apps.cli", "view", "--device", f"tap:{self.address}"]
                subprocess.Popen(command, stdin=subprocess.DEVNULL, start_new_session=True)
        kohm = self._told if turn.quality is None else turn.quality.contact_kohm
        if kohm and kohm is not self._told:
            self._told = kohm
            self._tap.tell_contacts(self._told)
        self._tap.offer(turn.chunk)

    def close(self) -> None:
        """Let all windows go; any number of times."""
        self._tap.close()
