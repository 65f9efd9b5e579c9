"""The session's end of the guard: start it, feed it, watch it."""

from __future__ import annotations

import json
import os
import secrets
import select
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, cast

from bci.decision import Command
from bci.errors import SafetyError
from bci.ports import Effector, Hazard, Limits, OwnsLoop, Status
from bci.registry import create
from bci.safety.console import ConsoleClient, GuardStatus, ScriptedOperator
from bci.safety.frame import COMMAND, HALT, QUALITY, TOKEN_BYTES, Frame, pack
from bci.safety.machine import State

_START_S = 60.0
_LOOPBACK = "127.0.0.1"
_ENVELOPE = ("low", "high", "neutral", "rise_per_s", "fall_per_s", "max_on_s", "min_off_s")
_SILENT_S = 1.0
"""A guard says something every 50 ms; one that says nothing for so long is not working."""
_OLDEST_S, _OLDEST_ON_BODY_S = 1.0, 0.3
_LEAST_GAP_S = 0.004
"""A session faster than real time repeats itself at most so often."""


class GuardedEffector:
    """An effector behind the guard: a guard process alone commands the process that holds it.

    Parameters
    ----------
    spec : str
        The effector, as for `bci.registry.create`.
    limits : Limits, optional
        Its envelope, equal to or tighter than the effector's own, which is the default.
    settings : dict, optional
        Further settings of the effector.
    log_path : str or Path, optional
        Event log of the guard, continued if it exists; a new temporary file if not given.
    auto_operator : bool, default=False
        Let a `ScriptedOperator` arm and hold the deadman: demos and tests only.
    simulated : bool, default=False
        The effector moves and touches nothing real, so a scripted operator may stand in.

    Raises
    ------
    SafetyError
        If a scripted operator is asked to arm something that can touch or move a person.

    Notes
    -----
    `send` must be called by the loop itself at each turn, about every 20 ms: a frozen loop falls
    silent, and silence means the safe state within 0.15 s. No thread may do it instead.
    """

    def __init__(
        self,
        spec: str,
        *,
        limits: Limits | None = None,
        settings: dict[str, Any] | None = None,
        log_path: str | Path | None = None,
        auto_operator: bool = False,
        simulated: bool = False,
    ) -> None:
        self.spec, self.settings = spec, settings or {}
        self.auto_operator, self.simulated = auto_operator, simulated
        self.log_path = log_path
        self.limits_in_words = ""
        """What its guard allows, for a person to confirm; known after `self_test`."""
        self._limits = limits
        self._tokens = {name: secrets.token_bytes(TOKEN_BYTES) for name in ("command", "output", "console")}
        self._guard: subprocess.Popen[bytes] | None = None
        self._host: subprocess.Popen[bytes] | None = None
        self._socket: socket.socket | None = None
        self._console: ConsoleClient | None = None
        self._operator: ScriptedOperator | None = None
        self._to_guard = self._to_host = (_LOOPBACK, 0)
        self._last = Frame(0, 0.0, 0.0)
        self._heard, self._heard_s = GuardStatus(), 0.0
        self._events: list[tuple[float, str]] = []
        self._shown = Status()

    # ------------------------------------------------------------ the effector port
    @property
    def limits(self) -> Limits:
        """The envelope that the guard holds."""
        if self._limits is None:
            self._limits = create("effectors", self.spec, **self.settings).limits
        return self._limits

    def self_test(self) -> None:
        """Start host and guard; `SafetyError` unless both answer and the effector passes its own self test."""
        if self._guard is not None:
            return
        try:
            self._start()
        except BaseException:
            self.close()
            raise

    def send(self, command: Command, *, age_s: float = 0.0, quality_ok: bool = True) -> None:
        """Ask for `command`, which rests on a signal of age `age_s`, s; never blocks.

        A bad signal (`quality_ok=False`) asks for nothing but says that the session lives.
        """
        code = QUALITY if quality_ok else 0
        now_s, last = time.monotonic(), self._last
        if now_s - last.sent_s < _LEAST_GAP_S and (last.value, last.code, last.name) == (
            command.value, code, command.name,
        ):  # fmt: skip
            return
        self._ask_for(Frame(0, now_s, float(command.value), max(0.0, age_s), code, command.name, command.label))
        self._listen()

    def halt(self) -> None:
        """Go to the safe state; a person must acknowledge and arm again. Idempotent, never raises."""
        for _ in range(3):
            self._ask_for(Frame(0, time.monotonic(), self._last.value, 0.0, HALT))

    def close(self) -> None:
        """Halt, end both processes; any number of times."""
        self.halt()
        if self._operator is not None:
            self._operator.close()
        for process in (self._guard, self._host):
            if process is not None:
                _end(process)
        for s in (self._socket, self._console):
            if s is not None:
                s.close()
        self._guard = self._host = self._socket = self._console = self._operator = None
        self._heard = GuardStatus()

    def stop_with(self, others: Sequence[GuardedEffector]) -> None:
        """Let the stop in this effector's window stop `others` too, on a path of its own to each guard."""
        assert self._host is not None
        theirs = [(o.console.address[1], o.console.token.hex()) for o in others if o is not self]
        _tell(self._host, {"console": self.console.address[1], "others": theirs})

    # ------------------------------------------------------------ what is seen
    @property
    def console(self) -> ConsoleClient:
        """The way for people; `SafetyError` before `self_test`."""
        if self._console is None:
            raise SafetyError("the guard is not running; call self_test() first")
        return self._console

    @property
    def command_address(self) -> tuple[tuple[str, int], bytes]:
        """Where the guard takes commands, and the token they need: for another process that stands in."""
        return self._to_guard, self._tokens["command"]

    @property
    def pids(self) -> dict[str, int]:
        """Process ids of guard and host, while they run."""
        both = {"guard": self._guard, "host": self._host}
        return {name: process.pid for name, process in both.items() if process is not None}

    @property
    def status(self) -> GuardStatus:
        """What the guard last said; state "fault" if it ran and has fallen silent."""
        self._listen()
        if self._guard is None or time.monotonic() - self._heard_s <= _SILENT_S:
            return self._heard
        gone = self._guard.poll() is not None
        return replace(self._heard, state=State.FAULT, cause=f"the guard process is {'gone' if gone else 'silent'}")

    @property
    def is_lost(self) -> bool:
        """Whether one of its processes ended by itself: whatever a person could stop there, nobody can any more."""
        return any(process is not None and process.poll() is not None for process in (self._guard, self._host))

    @property
    def state(self) -> str:
        """State of the guard, as last heard."""
        return str(self.status.state)

    @property
    def output(self) -> float:
        """Value that the guard lets through, as last heard."""
        return self.status.value

    def wait_for(self, *states: str, timeout_s: float = 5.0) -> bool:
        """Return whether the guard reaches one of `states` within `timeout_s`."""
        end_s = time.monotonic() + timeout_s
        while self.state not in states:
            if time.monotonic() > end_s or self._socket is None:
                return False
            select.select([self._socket], [], [], 0.05)
        return True

    def show(self, status: Status) -> None:
        """Show `status` beside the effector, if it has a face; never blocks."""
        if status != self._shown:
            self._shown = status
            self._post(b"BCS1" + self._tokens["output"] + json.dumps(asdict(status)).encode(), self._to_host)

    def take_events(self) -> list[tuple[float, str]]:
        """Return what the effector reported since the last call."""
        self._listen()
        events, self._events = self._events, []
        return events

    # ------------------------------------------------------------ inside
    def _start(self) -> None:
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind((_LOOPBACK, 0))
        self._socket.setblocking(False)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)  # events while nobody asks for them
        session = self._socket.getsockname()[1]
        tokens = {name: token.hex() for name, token in self._tokens.items()}
        self._host = _spawn("-m", "bci.apps.outputs.host", self.spec, path=sys.path)
        answer = _ask(self._host, {"settings": self.settings, "tokens": tokens, "session": session}, "effector's host")
        self._to_host = (_LOOPBACK, answer["port"])
        own = Limits(**{**answer["limits"], "hazard": Hazard(answer["limits"]["hazard"])})
        self._limits = _tightened(own, self._limits or own)
        self.limits_in_words = answer["words"] if self._limits == own else self._limits.in_words()
        simulated = self.simulated or answer["simulated"]
        if self.auto_operator and self._limits.hazard >= Hazard.BODY and not simulated:
            raise SafetyError(
                f"a person arms an effector of hazard {self._limits.hazard.name}, auto_operator=True was asked for; "
                "let a person arm it, or say simulated=True if it moves and touches nothing real"
            )
        if self.log_path is None:
            self.log_path = Path(tempfile.mkdtemp(prefix="bci-guard-")) / "guard.jsonl"
        # Without site-packages: the guard cannot load anything beside the standard library.
        self._guard = _spawn("-S", "-m", "bci.safety.guard", path=[str(Path(__file__).parents[2])])
        answer = _ask(self._guard, self._guard_settings(tokens, session), "guard")
        self._heard_s = time.monotonic()
        self._to_guard = (_LOOPBACK, answer["commands"])
        self._console = ConsoleClient((_LOOPBACK, answer["console"]), self._tokens["console"], simulated)
        _tell(self._host, {"console": answer["console"]})
        end_s = time.monotonic() + _START_S
        while not self.wait_for(State.IDLE, State.FAULT, State.SAFE, timeout_s=0.2):
            if self._host.poll() is not None or time.monotonic() > end_s:
                break
        if self.state != State.IDLE:
            cause = self._heard.cause.removeprefix("the effector failed: ")
            if self._host.poll() is not None:
                cause = f"its process ended with {self._host.poll()}; see its message above"
            raise SafetyError(f"effector {self.spec!r} did not pass its self test: {cause}")
        if self.auto_operator:
            self._operator = ScriptedOperator(self._console, persistent=True)

    def _guard_settings(self, tokens: dict[str, str], session: int) -> dict[str, Any]:
        rules = {"max_age_s": oldest_signal_s(self.limits), "strict": self.limits.hazard >= Hazard.BODY}
        envelope = {name: getattr(self.limits, name) for name in _ENVELOPE}
        return {
            "tokens": tokens, "rules": rules, "envelope": envelope, "host": self._to_host[1], "session": session,
            "log": str(self.log_path),
        }  # fmt: skip

    def _ask_for(self, frame: Frame) -> None:
        # Numbered by the monotonic clock: another process that stands in later goes on where this one stopped.
        self._last = replace(frame, sequence=max(self._last.sequence + 1, time.monotonic_ns()))
        self._post(pack(self._last, COMMAND, self._tokens["command"]), self._to_guard)

    def _post(self, data: bytes, address: tuple[str, int]) -> None:
        try:
            if self._socket is not None and address[1]:
                self._socket.sendto(data, address)
        except OSError:
            return  # a guard that is gone is seen by its silence

    def _listen(self) -> None:
        while self._socket is not None:
            try:
                data = self._socket.recv(65536)
            except OSError:
                return
            if data[:20] == b"BCG1" + self._tokens["command"]:
                self._heard, self._heard_s = GuardStatus.read(data[20:]), time.monotonic()
            elif data[:20] == b"BCE1" + self._tokens["output"]:
                self._events += [(float(t), str(code)) for t, code in json.loads(data[20:])]


def guarded(spec: str, **settings: Any) -> Effector:
    """Return the effector `spec`, behind the guard if it can touch or move a person, or if it has a window.

    Parameters
    ----------
    spec : str
        The effector, as for `bci.registry.create`.
    **settings
        Its further settings.
    """
    made = create("effectors", spec, **settings)
    if made.limits.hazard > Hazard.SCREEN or isinstance(made, OwnsLoop):
        return GuardedEffector(spec, limits=made.limits, settings=settings)
    return cast("Effector", made)


def require_guard(effector: Effector) -> None:
    """Raise `SafetyError` if an effector that can touch or move a person is used without the guard."""
    if effector.limits.hazard >= Hazard.BODY and not isinstance(effector, GuardedEffector):
        raise SafetyError(
            f"an effector of hazard {effector.limits.hazard.name} works only behind the guard, got a bare "
            f"{type(effector).__name__}; give its name, or bci.safety.link.guarded(NAME, setting=...)"
        )


def oldest_signal_s(limits: Limits) -> float:
    """Return the age of the oldest signal that may move an effector, s: 0.3 where it touches or moves, else 1."""
    return min(limits.max_age_s, _OLDEST_ON_BODY_S if limits.hazard >= Hazard.BODY else _OLDEST_S)


def _tightened(own: Limits, wanted: Limits) -> Limits:
    """Return `wanted`; `SafetyError` naming what is looser than the effector's `own`."""
    at_most, at_least = ("high", "rise_per_s", "max_on_s", "max_age_s"), ("low", "fall_per_s", "min_off_s", "hazard")
    # "not": a limit that is not a number is no limit.
    looser = [name for name in at_most if not getattr(wanted, name) <= getattr(own, name)]
    looser += [name for name in at_least if not getattr(wanted, name) >= getattr(own, name)]
    if wanted.neutral != own.neutral:
        looser.append("neutral")
    if looser:
        pairs = ", ".join(f"{name} {getattr(wanted, name)} instead of {getattr(own, name)}" for name in looser)
        raise SafetyError(f"limits may only be tightened, got {pairs}; keep the effector's own")
    return wanted


def _spawn(*arguments: str, path: list[str]) -> subprocess.Popen[bytes]:
    env = dict(os.environ, OPENBLAS_NUM_THREADS="1", OMP_NUM_THREADS="1")
    env["PYTHONPATH"] = os.pathsep.join(p or os.getcwd() for p in path)
    # A session of its own: Ctrl-C ends the loop, and the guard must outlive that to say the safe value.
    return subprocess.Popen(
        [sys.executable, *arguments], stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=env, start_new_session=True
    )


def _end(process: subprocess.Popen[bytes]) -> None:
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            pipe.close()  # both end by themselves, in their safe state
    try:
        process.wait(5.0)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _tell(process: subprocess.Popen[bytes], message: dict[str, Any]) -> None:
    assert process.stdin is not None
    process.stdin.write(json.dumps(message).encode() + b"\n")
    process.stdin.flush()


def _ask(process: subprocess.Popen[bytes], settings: dict[str, Any], what: str) -> dict[str, Any]:
    """Give a new process its settings and return its answer; `SafetyError` if it has none."""
    assert process.stdout is not None
    answer: dict[str, Any] = {"error": f"no answer within {_START_S:g} s"}
    try:
        _tell(process, settings)
        if select.select([process.stdout], [], [], _START_S)[0]:
            line = process.stdout.readline()
            answer = json.loads(line) if line else {"error": f"it ended with {process.wait()}; see its message above"}
    except BrokenPipeError:
        answer = {"error": f"it ended with {process.wait()}; see its message above"}
    if "error" in answer:
        raise SafetyError(f"the {what} did not start: {answer['error']}")
    return answer
