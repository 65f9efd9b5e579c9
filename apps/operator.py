"""The operator's keyboard: arm and stop every guard of a session from the terminal it was started in."""

from __future__ import annotations

import contextlib
import logging
import queue
import sys
import threading
from collections.abc import Callable, Mapping
from types import MappingProxyType, TracebackType
from typing import Self

from bci.apps.key import keys, raw_terminal
from bci.errors import SafetyError
from bci.safety.console import HOLD_EVERY_S, ConsoleClient

log = logging.getLogger(__name__)

HELP = "Keys: SPACE or ESC stop everything, A arm, ENTER confirm, K acknowledge, R reset, ? state."
STOP_HELP = "Keys: SPACE or ESC stop everything."
_STOP_KEYS = frozenset(" \x1b\x7f\x08")
_POLL_S = 0.05


class Operator:
    """A person at the keyboard: the stop works from any moment, whatever the loop does.

    Keys are read by a thread of their own, and the stop goes from it straight to every guard. The console that is
    alive is the deadman: when this process dies, stalls or is closed, the guards hold and then go to the safe state.

    Parameters
    ----------
    consoles : mapping of str to ConsoleClient
        The guards' consoles by the name of their effector.
    say : callable
        Takes each line of text.
    may_arm : bool, default=True
        Whether the keyboard arms and holds, or only stops.
    stop : callable, optional
        Called after the guards were told to stop, for outputs that have none (`bci.runtime.outputs.Outputs.stop`).
    limits : mapping of str to str
        What each guard will allow, in words: said before a person confirms it.

    Notes
    -----
    `handle` takes one key; `with` reads them from the terminal. Where standard input is no terminal nothing is
    read, nothing is armed, and the effectors stay in their safe state.
    """

    def __init__(
        self,
        consoles: Mapping[str, ConsoleClient],
        say: Callable[[str], None] = print,
        may_arm: bool = True,
        *,
        stop: Callable[[], None] | None = None,
        limits: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        self._consoles, self._say, self._may_arm = dict(consoles), say, may_arm
        self._stop, self._limits = stop, dict(limits)
        self._done = threading.Event()
        self._threads: list[threading.Thread] = []
        self._waiting: queue.SimpleQueue[str] = queue.SimpleQueue()
        self._restore: Callable[[], None] | None = None

    def __enter__(self) -> Self:
        if not self._consoles:
            return self
        if not sys.stdin.isatty():
            if self._may_arm:
                self._say(
                    f"Nobody can arm {', '.join(self._consoles)}: standard input is no terminal. "
                    "They stay in their safe state; start the program in a terminal to drive them."
                )
            return self
        self._restore = raw_terminal()
        self._say(HELP if self._may_arm else STOP_HELP)
        for work in (self._read, self._work, *((self._hold,) if self._may_arm else ())):
            self._threads.append(threading.Thread(target=work, name=f"operator {work.__name__}", daemon=True))
            self._threads[-1].start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._done.set()
        for thread in self._threads:
            thread.join()
        for console in self._consoles.values():
            if self._may_arm:
                console.release()
        if self._restore is not None:
            self._restore()

    def handle(self, key: str) -> None:
        """Do what `key` means; every guard answers for itself."""
        if key in _STOP_KEYS:
            for console in self._consoles.values():
                console.stop()
            if self._stop is not None:
                self._stop()
            self._say("STOPPED. R resets." if self._may_arm else "STOPPED.")
        elif self._may_arm and key in _ACTS:
            for name, console in self._consoles.items():
                self._do(name, console, _ACTS[key])
        elif self._may_arm:
            self._say(HELP)

    def _do(self, name: str, console: ConsoleClient, verb: str) -> None:
        try:
            status = getattr(console, verb)()
            self._say(f"{name}: {status.state}" + (f" ({status.cause})" if status.cause else ""))
            if verb == "arm" and name in self._limits:
                self._say(f"{name}: {self._limits[name]}. ENTER confirms that you want this.")
        except SafetyError as error:
            self._say(f"{name}: {error}")

    def _read(self) -> None:
        while not self._done.is_set():
            try:
                found = keys(_POLL_S)
            except OSError:
                log.warning("the operator's terminal is gone: the deadman is released")
                self._done.set()  # nobody could stop it any more
                return
            for key in found:
                if key in _STOP_KEYS:
                    self._forget()
                    self.handle(key)
                else:
                    self._waiting.put(key)

    def _work(self) -> None:
        # A guard that does not answer keeps who asks it waiting for seconds; the stop must not wait behind that.
        while not self._done.is_set():
            with contextlib.suppress(queue.Empty):
                self.handle(self._waiting.get(timeout=_POLL_S))

    def _forget(self) -> None:
        """Drop what was asked for before a stop."""
        with contextlib.suppress(queue.Empty):
            while True:
                self._waiting.get_nowait()

    def _hold(self) -> None:
        while not self._done.wait(HOLD_EVERY_S):
            for console in self._consoles.values():
                console.press()


_ACTS = {"a": "arm", "A": "arm", "\r": "confirm", "\n": "confirm", "k": "acknowledge", "K": "acknowledge",
         "r": "reset", "R": "reset", "?": "status"}  # fmt: skip
