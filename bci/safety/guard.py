"""The guard: a small process that alone commands the effector. Standard library only.

``python -m bci.safety.guard`` reads its settings as one JSON line from standard input and answers with its
ports. It trusts nobody: every command expires, and starting, a crash and silence all mean the safe state.
When its session is gone or it is asked to end it says the safe value and ends.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import select
import signal
import socket
import sys
import threading
import time
from typing import Any

from bci.safety.envelope import Envelope
from bci.safety.eventlog import EventLog, LogWriter
from bci.safety.frame import COMMAND, OUTPUT, Frame, FrameError, pack, unpack
from bci.safety.machine import ASKED, HOST, PERSON, STATES, Act, Event, Fault, Junk, Machine, Rules, State, Tick, step

TICK_S = 0.005
_REPEAT_S = 0.02
_MOST_PER_TURN = 64
_NAP_S = 1.0


class Guard:
    """State machine, sockets and log, from the settings that `bci.safety.link` sends."""

    def __init__(self, settings: dict[str, Any]) -> None:
        self._tokens = {k: bytes.fromhex(v) for k, v in settings["tokens"].items()}
        self._rules, self._envelope = Rules(**settings["rules"]), Envelope(**settings["envelope"])
        self._log = LogWriter(EventLog(settings["log"]))
        self._host, self._session = (("127.0.0.1", int(settings[k])) for k in ("host", "session"))
        self._commands, self._console, self._out = (socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(3))
        for s in (self._commands, self._console):
            s.bind(("127.0.0.1", 0))
        for s in (self._commands, self._console, self._out):
            s.setblocking(False)
        self._commands.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 16384)  # a flood must not queue up
        self.ports = {"commands": self._commands.getsockname()[1], "console": self._console.getsockname()[1]}
        self._machine, self._parent, self._ending = Machine(), os.getppid(), ""
        self._sequence, self._sent_s, self._said = 0, 0.0, ("", 0.0)
        self._refused_s, self._slept_s, self._stops = 0.0, _slept_s(), 0
        self._acts: dict[str, tuple[int, str]] = {}  # number of the last of each kind, and why it was refused

    def run(self) -> None:
        """Guard until the session is gone or `end` is called."""
        self._log.put(kind="start", time_s=time.monotonic(), unix_s=time.time(), envelope=repr(self._envelope),
                      rules=repr(self._rules))  # fmt: skip
        self._happen(Act("start"))
        tick_s = 0.0
        while not self._ending:
            wait_s = max(0.0, tick_s - time.monotonic())
            ready, _, _ = select.select([self._console, self._commands], [], [], wait_s)
            if self._console in ready:
                self._hear(self._console, self._hear_console)
            if self._commands in ready and self._hear(self._commands, self._hear_command) == _MOST_PER_TURN:
                time.sleep(0.001)  # flooded: the rest of the machine, and the deadline, come first
            if time.monotonic() >= tick_s:
                tick_s = time.monotonic() + TICK_S
                trouble = self._log.failure or self._woke()
                self._happen(Fault(trouble) if trouble else Tick())
                if os.getppid() != self._parent:
                    self._ending = "the session is gone"
        self._happen(Fault(self._ending))
        for _ in range(5):
            self._send(time.monotonic())
            time.sleep(0.005)
        self._log.close(1.0)

    def end(self, why: str) -> None:
        """Go to the safe state and end; from any thread or signal handler."""
        self._ending = self._ending or why

    def _happen(self, event: Event) -> None:
        before, now_s = self._machine, time.monotonic()
        self._machine, notes = step(before, event, now_s, self._rules, self._envelope)
        after = self._machine
        self._stops += after.state == State.STOPPED != before.state
        moved = (after.state, after.output.value) != (before.state, before.output.value)
        if moved or now_s - self._sent_s >= _REPEAT_S:
            self._send(now_s)
        for kind, text in notes:
            if kind != "refused" or now_s - self._refused_s >= 1.0:
                self._refused_s = now_s if kind == "refused" else self._refused_s
                self._log.put(kind=kind, time_s=now_s, text=text, value=after.output.value)

    def _woke(self) -> str:
        before, self._slept_s = self._slept_s, _slept_s()
        return "the machine was asleep" if self._slept_s - before > _NAP_S else ""

    def _send(self, now_s: float) -> None:
        m = self._machine  # as it was at `now_s`: if this process stands still in between, the frame is old
        self._sequence, self._sent_s = self._sequence + 1, now_s
        c = m.command
        frame = Frame(self._sequence, now_s, m.output.value, c.age_s, STATES.index(m.state), c.name, c.label)
        self._post(pack(frame, OUTPUT, self._tokens["output"]), self._host)
        if m.state != self._said[0] or now_s - self._said[1] >= 0.05:
            self._said = (m.state, now_s)
            self._post(b"BCG1" + self._tokens["command"] + json.dumps(self._status()).encode(), self._session)

    def _status(self) -> dict[str, Any]:
        m = self._machine
        return {
            "state": m.state, "cause": m.cause, "value": m.output.value, "refused": m.refusal, "ready": m.is_ready,
            "stop_tried": m.stop_tried, "strict": self._rules.strict, "records": self._log.n_records,
            "stops": self._stops,
        }  # fmt: skip

    def _post(self, data: bytes, address: tuple[str, int]) -> None:
        with contextlib.suppress(OSError):  # a receiver that is gone has its own timeout
            self._out.sendto(data, address)

    def _hear(self, receiver: socket.socket, handle: Any) -> int:
        for n in range(_MOST_PER_TURN):
            try:
                data, sender = receiver.recvfrom(512)
            except OSError:
                return n
            handle(data, sender)
        return _MOST_PER_TURN

    def _hear_command(self, data: bytes, _: tuple[str, int]) -> None:
        try:
            self._happen(unpack(data, COMMAND, self._tokens["command"]))
        except FrameError as error:
            self._happen(Junk(str(error)))

    def _hear_console(self, data: bytes, sender: tuple[str, int]) -> None:
        token, (number, _, rest) = data[:16], data[16:].decode("utf-8", "replace").partition(" ")
        verb, _, text = rest.partition(" ")
        if token == self._tokens["output"]:  # the effector's host
            self._happen(
                Fault(f"the effector failed: {text}") if verb == "failed" else Act(verb if verb in HOST else "")
            )
        elif token == self._tokens["console"] and number.isdecimal():
            if verb in PERSON and int(number) != self._acts.get(verb, (0, ""))[0]:  # else its answer was lost
                self._happen(Act(verb))
                self._acts[verb] = (int(number), self._machine.refusal)
            if verb in ASKED:
                refused = self._acts[verb][1] if verb in PERSON else ""
                self._post(json.dumps({**self._status(), "number": int(number), "refused": refused}).encode(), sender)


def _slept_s() -> float:
    """Return for how long this machine was asleep, s; monotonic time, and every age in it, stands still then."""
    return time.clock_gettime(time.CLOCK_BOOTTIME) - time.monotonic() if sys.platform == "linux" else 0.0


def main() -> None:
    """Run the guard as a process."""
    # Busy cores and scarce memory must not delay the safe state; needs rights, and is not needed for correctness.
    with contextlib.suppress(OSError, AttributeError, TypeError):
        ctypes.CDLL(None).mlockall(3)  # MCL_CURRENT | MCL_FUTURE: no page of the guard is ever swapped out
        os.nice(-10)
        os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(1))
    try:
        guard = Guard(json.loads(sys.stdin.readline()))
    except (OSError, ValueError, TypeError, KeyError) as error:
        print(json.dumps({"error": str(error)}), flush=True)  # noqa: T201  # the protocol with the session
        sys.exit(2)
    signal.signal(signal.SIGTERM, lambda *_: guard.end("terminated"))
    threading.Thread(target=_watch_input, args=(guard,), daemon=True).start()
    print(json.dumps(guard.ports), flush=True)  # noqa: T201  # the protocol with the session
    guard.run()


def _watch_input(guard: Guard) -> None:
    while os.read(0, 4096):
        continue
    guard.end("the session is gone")


if __name__ == "__main__":
    main()
