"""What a person does: arm, confirm, hold the deadman, stop. A path of its own to the guard. Standard library only."""

from __future__ import annotations

import json
import socket
import threading
import time
from dataclasses import dataclass, fields

from bci.errors import SafetyError

HOLD_EVERY_S = 0.04
"""How often a held deadman says so; the guard waits 0.2 s for it."""
_RETRY_S = 0.05
_PATIENCE_S = 2.0
"""How long an answer is waited for, s; it is asked for again all the while."""


@dataclass(frozen=True, slots=True)
class GuardStatus:
    """What the guard says of itself.

    Parameters
    ----------
    state, cause : str
        Its state (`bci.safety.machine.State`) and what led there.
    value : float
        What it puts out.
    refused : str
        Why the last act was refused; empty if it was not.
    ready : bool
        Whether the deadman is held and good, fresh commands come.
    stop_tried, strict : bool
        Whether the stop was tried in this session, and whether it must be before arming.
    records : int
        Records of the event log that are on the disk.
    stops : int
        How often it was stopped.
    """

    state: str = "off"
    cause: str = ""
    value: float = 0.0
    refused: str = ""
    ready: bool = False
    stop_tried: bool = False
    strict: bool = False
    records: int = 0
    stops: int = 0

    @classmethod
    def read(cls, data: bytes) -> GuardStatus:
        """Return the status that a datagram of the guard holds."""
        said = json.loads(data)
        return cls(**{f.name: said[f.name] for f in fields(cls) if f.name in said})


class ConsoleClient:
    """Tell the guard what a person did, from any process and thread.

    Parameters
    ----------
    address : tuple of (str, int)
        Where the guard listens for people.
    token : bytes
        Of the console, 16 bytes.
    simulated : bool, default=False
        The effector moves and touches nothing real.
    """

    def __init__(self, address: tuple[str, int], token: bytes, simulated: bool = False) -> None:
        self.simulated = simulated
        self.address, self.token = (str(address[0]), int(address[1])), token
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._lock = threading.Lock()

    def arm(self) -> GuardStatus:
        """First step of arming. Every act raises `SafetyError` if the guard refuses it or does not answer."""
        return self._ask("arm")

    def confirm(self) -> GuardStatus:
        """Second step of arming, 0.2 s to 10 s after the first: a person has seen the limits and wants them."""
        return self._ask("confirm")

    def acknowledge(self) -> GuardStatus:
        """A person has understood why the guard is safe."""
        return self._ask("acknowledge")

    def reset(self) -> GuardStatus:
        """Leave STOPPED through a new self test."""
        return self._ask("reset")

    def status(self) -> GuardStatus:
        """Return what the guard says now."""
        return self._ask("status")

    def press(self) -> None:
        """The deadman was pressed; say `keepalive` at least every 0.1 s from now on."""
        self._say("press")

    def keepalive(self) -> None:
        """The deadman is still held."""
        self._say("keepalive")

    def release(self) -> None:
        """The deadman was let go."""
        self._say("release", 3)

    def stop(self) -> None:
        """Emergency stop: at once, from anywhere, never raises."""
        self._say("stop", 3)

    def close(self) -> None:
        """Release the socket; any number of times."""
        self._socket.close()

    def __enter__(self) -> ConsoleClient:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _say(self, verb: str, times: int = 1) -> None:
        data = self._pack(verb, time.monotonic_ns())
        try:
            for _ in range(times):  # the guard does the same act once, but a datagram may be lost
                self._socket.sendto(data, self.address)
        except OSError:
            return  # the guard is gone; its silence is safe

    def _pack(self, verb: str, number: int) -> bytes:
        return self.token + f"{number} {verb}".encode()

    def _ask(self, verb: str, timeout_s: float = _PATIENCE_S) -> GuardStatus:
        number, end_s = time.monotonic_ns(), time.monotonic() + timeout_s
        with self._lock:
            while time.monotonic() < end_s:
                status = self._ask_once(verb, number)
                if status is None:
                    continue
                if status.refused:
                    raise SafetyError(f"the guard refused to {verb}: {status.refused}; it is {status.state}")
                return status
        raise SafetyError(f"the guard should answer within {timeout_s:g} s, nothing came; start the session again")

    def _ask_once(self, verb: str, number: int) -> GuardStatus | None:
        try:
            self._socket.sendto(self._pack(verb, number), self.address)
            until_s = time.monotonic() + _RETRY_S
            while (left_s := until_s - time.monotonic()) > 0:  # not for as long as others are answered
                self._socket.settimeout(left_s)
                data = self._socket.recv(4096)
                if json.loads(data).get("number") == number:
                    return GuardStatus.read(data)
            return None
        except (OSError, ValueError):
            time.sleep(0.001)
            return None


class ScriptedOperator:
    """A stand-in for the person, for demos and tests with simulated effectors only.

    It holds the deadman from a thread of its own until `close`.

    Parameters
    ----------
    console : ConsoleClient
        Its way to the guard.
    persistent : bool, default=False
        Arm again whenever the guard is idle or safe, which no real installation may do.
    """

    def __init__(self, console: ConsoleClient, *, persistent: bool = False) -> None:
        self._console, self._persistent = console, persistent
        self._done = threading.Event()
        self._threads = [threading.Thread(target=self._hold, name="scripted deadman", daemon=True)]
        if persistent:
            self._threads.append(threading.Thread(target=self._rearm, name="scripted operator", daemon=True))
        for thread in self._threads:
            thread.start()

    def arm(self) -> None:
        """Acknowledge or reset whatever was, try the stop if that is asked for, and arm in two steps.

        Raises
        ------
        SafetyError
            If the effector can touch or move a person and is not simulated.
        """
        status = self._console.status()
        if status.strict and not self._console.simulated:
            raise SafetyError(
                "a person arms what can touch or move somebody, a scripted operator was to do it; let a person arm "
                "it, or say simulated=True of an effector that moves and touches nothing real"
            )
        if status.strict and not status.stop_tried:
            self._console.stop()
            status = self._wait("stopped")
        if status.state == "stopped":
            self._console.reset()
            status = self._wait("idle")
        if status.state == "safe":
            status = self._console.acknowledge()
        if status.state == "idle":
            self._console.arm()
            self._done.wait(0.25)
            self._console.confirm()

    def close(self) -> None:
        """Let go of the deadman."""
        self._done.set()
        for thread in self._threads:
            thread.join()
        self._console.release()

    def _wait(self, state: str, timeout_s: float = 10.0) -> GuardStatus:
        end_s = time.monotonic() + timeout_s
        while (status := self._console.status()).state != state:
            if time.monotonic() > end_s or self._done.wait(0.01):
                raise SafetyError(
                    f"the guard should be {state}, it is {status.state} ({status.cause}); look at its log"
                )
        return status

    def _hold(self) -> None:
        while not self._done.is_set():
            self._console.press()
            self._done.wait(HOLD_EVERY_S)

    def _rearm(self) -> None:
        while not self._done.wait(0.2):
            try:
                if self._console.status().state in ("idle", "safe"):
                    self.arm()
            except SafetyError:
                continue  # the guard is busy with its self test, or gone
