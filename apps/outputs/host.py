"""The process that holds an effector: it obeys the guard alone, and nobody when the guard is silent.

``python -m bci.apps.outputs.host SPEC`` reads its settings as one JSON line from standard input, answers
with its port and the effector's limits, and reads where the guard listens. When its input closes it halts and ends.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import select
import socket
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import asdict, replace
from typing import Any

from bci.apps.display import has_display
from bci.decision import Command
from bci.errors import BciError
from bci.ports import Effector, ExplainsLimits, HasStop, OwnsLoop, ReportsEvents, ShowsStatus, Status
from bci.registry import create
from bci.safety.console import ConsoleClient
from bci.safety.frame import OUTPUT, Frame, FrameError, unpack
from bci.safety.machine import DRIVING, STATES, State

TIMEOUT_S = 0.15
"""Silence of the guard for so long means the safe state (bar: 0.2 s)."""
STALL_S = 1.0
"""An effector whose loop stands still for so long is halted."""
_ALIVE_EVERY_S = 0.05
_HALT_EVERY_S = 1.0
_HALT_AGAIN_S = 0.02
_EVENTS_EVERY_S = 0.05
_log = logging.getLogger(__name__)


class Host:
    """An effector, the socket on which the guard commands it, and a watch that halts it.

    The watch has its own thread, so the safe state is reached while the effector's own loop (a window)
    is blocked. After a halt on its own account nothing resumes before the guard itself was in a safe state.

    Parameters
    ----------
    effector : Effector
        What is held.
    tokens : dict of str to bytes
        ``output`` for the guard's frames, ``console`` for the stop of the effector's window.
    session_port : int
        Where the effector's own events are sent.
    """

    def __init__(self, effector: Effector, tokens: dict[str, bytes], session_port: int) -> None:
        self._effector, self._tokens = effector, tokens
        self._session, self._guard = ("127.0.0.1", session_port), ("127.0.0.1", 0)
        self._others: list[tuple[tuple[str, int], bytes]] = []
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind(("127.0.0.1", 0))
        self._socket.setblocking(False)
        self._lock = threading.RLock()  # held while the effector is sent to, which may last against its contract
        self._flip = threading.Lock()  # held while it is decided whether it lives, which lasts no time
        self._ended, self._news = threading.Event(), threading.Event()
        self._sequence, self._state = 0, State.OFF
        self._heard_s = self._polled_s = time.monotonic()
        self._alive_s = self._events_s = 0.0
        self._halted_s = float("inf")  # until the self test there is nothing to halt
        self._frame: Frame | None = None
        self._live = self._latched = self._test_due = self._tested = False
        self._status, self._shown = Status(), Status()

    @property
    def port(self) -> int:
        """Where the guard sends its output."""
        return int(self._socket.getsockname()[1])

    def run(self, lines: Callable[[], str]) -> None:
        """Serve until `lines` (standard input) ends."""
        threading.Thread(target=self._read_input, args=(lines,), name="host input", daemon=True).start()
        threading.Thread(target=self._watch, name="host watch", daemon=True).start()
        try:
            while not self._tested and self.poll():
                self._wait()
            if self._tested and isinstance(self._effector, OwnsLoop):
                self._effector.run(self.poll)
                if not self._ended.is_set():
                    self._fail("its window was closed")
            else:
                while self.poll():
                    self._wait()
        except Exception as error:  # whatever a driver raises, it must end in the safe state
            self._fail(str(error))
            raise
        finally:
            self._ended.set()
            self._go_safe()
            self._effector.close()

    def poll(self) -> bool:
        """Do what is due on the effector's own thread; return False when it is over."""
        self._polled_s = time.monotonic()
        if self._test_due and self._guard[1]:  # else nobody would hear the answer
            self._self_test()
        with self._lock:
            with self._flip:
                frame, self._frame, live = self._frame, None, self._live
            # A frame that waited while this process stood still is as good as silence.
            if frame is not None and live and time.monotonic() - frame.sent_s <= TIMEOUT_S:
                self._act(frame)
                self._take_back()
        self._show()
        self._report()
        return not self._ended.is_set()

    # ------------------------------------------------------------ on the effector's thread
    def _wait(self) -> None:
        self._news.wait(0.02)
        self._news.clear()

    def _self_test(self) -> None:
        self._test_due = False
        try:
            self._effector.self_test()
            self._effector.halt()
        except Exception as error:  # noqa: BLE001  # whatever a driver raises, it has not passed
            level = logging.INFO if isinstance(error, BciError) else logging.WARNING  # its sentence goes to the guard
            _log.log(level, "self test failed", exc_info=not isinstance(error, BciError))
            self._say(f"failed {error}")
            return
        if not self._tested and isinstance(self._effector, HasStop):
            self._effector.attach_stop(self.stop)
        self._tested, self._halted_s = True, time.monotonic()
        self._say("passed")

    def _act(self, frame: Frame) -> None:
        now_s = time.monotonic()
        command = Command(frame.name, frame.value, now_s, TIMEOUT_S, now_s - frame.age_s, frame.label)
        try:
            self._effector.send(command)
        except Exception as error:  # noqa: BLE001  # whatever a driver raises, it must end in the safe state
            _log.exception("the effector failed")
            self._fail(str(error))

    def _take_back(self) -> None:
        if not self._live:  # it was halted while the send blocked, against its contract
            self._go_safe()

    def _show(self) -> None:
        state = State.SAFE if self._latched else self._state  # what holds here, not what a guard last said
        status = self._status if self._status.state == state else replace(self._status, state=state)
        if self._tested and status != self._shown and isinstance(self._effector, ShowsStatus):
            self._shown = status
            self._effector.show(status)

    def _report(self) -> None:
        now_s = time.monotonic()
        if now_s - self._events_s < _EVENTS_EVERY_S or not isinstance(self._effector, ReportsEvents):
            return
        self._events_s = now_s
        events = self._effector.take_events()
        for begin in range(0, len(events), 100):
            data = b"BCE1" + self._tokens["output"] + json.dumps(events[begin : begin + 100]).encode()
            self._post(data, self._session)

    # ------------------------------------------------------------ from any thread
    def stop(self) -> None:
        """A person wants everything to stop: tell every guard of the session, and halt at once without waiting."""
        for address, token in ((self._guard, self._tokens["console"]), *self._others):
            if address[1]:
                with ConsoleClient(address, token) as console:
                    console.stop()
        self._latched = True
        self._go_safe()

    def _go_safe(self) -> None:
        with self._flip:
            self._live, self._frame = False, None
        # A send that blocks, against its contract, must not keep the safe state waiting.
        locked = self._lock.acquire(timeout=0.02)
        try:
            self._halted_s = time.monotonic()
            self._effector.halt()
        except Exception:  # noqa: BLE001  # against its contract too: try again soon, for as long as it takes
            self._halted_s = time.monotonic() - _HALT_EVERY_S + _HALT_AGAIN_S
            _log.exception("the effector did not halt")
            self._say("failed it did not halt")
        finally:
            if locked:
                self._lock.release()

    def _fail(self, why: str) -> None:
        self._latched = True
        self._say(f"failed {why}")
        self._go_safe()

    def _say(self, text: str) -> None:
        if self._guard[1]:
            self._post(self._tokens["output"] + f"0 {text}".encode()[:400], self._guard)

    def _post(self, data: bytes, address: tuple[str, int]) -> None:
        with contextlib.suppress(OSError):  # whoever is gone has a timeout of its own
            self._socket.sendto(data, address)

    # ------------------------------------------------------------ the watch
    def _watch(self) -> None:
        with contextlib.suppress(OSError, AttributeError):  # this thread alone: an effector may be greedy
            os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(1))
        while not self._ended.is_set():
            select.select([self._socket], [], [], 0.01)
            try:
                self._look()
            except Exception as error:  # noqa: BLE001  # whatever it is, without this watch nothing would be halted
                _log.exception("the watch failed")
                self._fail(f"its watch failed: {error}")

    def _look(self) -> None:
        self._receive()
        now_s = time.monotonic()
        if self._live and now_s - self._heard_s > TIMEOUT_S:
            self._fail(f"it heard nothing of the guard for {TIMEOUT_S:g} s")
        elif self._live and now_s - self._polled_s > STALL_S:
            self._fail(f"its loop stands still for {STALL_S:g} s")
        elif not self._live and now_s - self._halted_s > _HALT_EVERY_S:
            self._go_safe()  # again: over a network the first may have been lost
        if now_s - self._alive_s >= _ALIVE_EVERY_S:
            self._alive_s = now_s
            self._say("alive")

    def _receive(self) -> None:
        while True:
            try:
                data = self._socket.recv(65536)
            except OSError:
                return
            if data[:20] == b"BCS1" + self._tokens["output"]:
                self._status = replace(Status(**json.loads(data[20:])), state=self._state)
                continue
            try:
                frame = unpack(data, OUTPUT, self._tokens["output"])
            except FrameError:
                continue
            # A frame that waited in a queue is as good as silence.
            if frame.sequence > self._sequence and time.monotonic() - frame.sent_s <= TIMEOUT_S:
                self._sequence = frame.sequence
                self._obey(frame)

    def _obey(self, frame: Frame) -> None:
        before, self._state = self._state, STATES[frame.code]
        self._heard_s = time.monotonic()
        if self._state not in DRIVING:
            self._latched = False
            self._test_due = self._test_due or (self._state is State.SELF_TEST and before is not State.SELF_TEST)
            if self._live:
                self._go_safe()
        else:
            with self._flip:
                if not self._latched:
                    self._polled_s = self._polled_s if self._live else time.monotonic()
                    self._frame, self._live = frame, True
        if self._live or self._state is not before:
            self._news.set()

    def _read_input(self, lines: Callable[[], str]) -> None:
        while line := lines():
            told = json.loads(line)
            self._others = [(("127.0.0.1", int(port)), bytes.fromhex(token)) for port, token in told.get("others", [])]
            self._guard = ("127.0.0.1", int(told["console"]))
        self._ended.set()
        self._news.set()
        self._go_safe()


def main() -> None:
    """Run the host as a process."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what an effector prints must not mix with the answers
    with contextlib.suppress(OSError, AttributeError):
        os.nice(-5)  # busy cores must not delay the safe state; needs rights, and is not needed for correctness
    if not has_display():
        os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")
        os.environ.setdefault("SDL_VIDEODRIVER", "dummy")
    lines = _line_reader(0)
    settings: dict[str, Any] = json.loads(lines())
    try:
        effector = create("effectors", sys.argv[1], **settings["settings"])
    except BciError as error:
        print(json.dumps({"error": str(error)}), file=answers, flush=True)
        sys.exit(2)
    host = Host(effector, {k: bytes.fromhex(v) for k, v in settings["tokens"].items()}, settings["session"])
    simulated = bool(getattr(effector, "simulated", False))
    words = effector.limits_in_words() if isinstance(effector, ExplainsLimits) else effector.limits.in_words()
    answer = {"port": host.port, "limits": asdict(effector.limits), "simulated": simulated, "words": words}
    try:
        print(json.dumps(answer), file=answers, flush=True)
    except BrokenPipeError:  # the session was stopped while this process began
        os._exit(2)  # a flush at exit would complain once more; nothing was opened yet
    host.run(lines)


def _line_reader(fd: int) -> Callable[[], str]:
    """Read lines without a lock of the interpreter, which a thread that waits would hold at exit."""
    rest = b""

    def line() -> str:
        nonlocal rest
        while b"\n" not in rest:
            data = os.read(fd, 65536)
            if not data:
                return ""
            rest += data
        first, _, rest = rest.partition(b"\n")
        return first.decode()

    return line


if __name__ == "__main__":
    main()
