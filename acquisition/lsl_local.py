"""Load liblsl with a configuration of ours: streams stay on this machine unless somebody widens that knowingly."""

from __future__ import annotations

import contextlib
import logging
import os
import select
import socket
import threading
from pathlib import Path
from typing import Any

from bci.errors import ConfigError, PluginError

_log = logging.getLogger(__name__)

SCOPE = "BCI_LSL"
"""Environment variable: "local" (the default) or "network", for LSL's own defaults."""
BASE_PORT, N_PORTS = 16572, 128
"""Ports that streams listen on. LSL's own range is 32 long; ours begins with it, so both find each other."""
_ASK_PORT = 16571
"""Where LSL asks the whole machine for streams."""
_LOCAL = f"""
[log]
level = -3
[ports]
IPv6 = disable
PortRange = {N_PORTS}
[multicast]
ResolveScope = machine
MachineAddresses = {{}}
[lab]
KnownPeers = {{127.0.0.1}}
[tuning]
MulticastMinRTT = 0.02
MulticastMaxRTT = 0.3
UnicastMinRTT = 0.08
UnicastMaxRTT = 0.3
ContinuousResolveInterval = 0.1
"""
_QUIET = "[log]\nlevel = -3\n"  # liblsl greets on standard error; what breaks is said by our own log


def load_pylsl() -> Any:
    """Return the package pylsl, configured.

    The configuration is read once by liblsl, when it is first used. One that the user gives (``LSLAPICFG``,
    ``./lsl_api.cfg``, ``~/lsl_api/lsl_api.cfg``, ``/etc/lsl_api/lsl_api.cfg``) always wins.

    Raises
    ------
    PluginError
        If pylsl or its library is not here.
    ConfigError
        If the environment variable ``BCI_LSL`` is neither "local" nor "network".
    """
    try:
        import pylsl
    except (ImportError, RuntimeError) as error:
        raise PluginError(f"LSL needs the package pylsl and liblsl, got: {error}; pip install pylsl") from error
    scope = _scope()
    if users_file() is None and hasattr(pylsl, "set_config_content"):
        pylsl.set_config_content(_LOCAL if scope == "local" else _QUIET)
    return pylsl


def users_file() -> str | None:
    """Return the configuration that the user gives liblsl; None if there is none."""
    given = os.environ.get("LSLAPICFG")
    places = [Path(given)] if given else []
    places += [Path("lsl_api.cfg"), Path.home() / "lsl_api" / "lsl_api.cfg", Path("/etc/lsl_api/lsl_api.cfg")]
    return next((str(p) for p in places if p.is_file()), None)


def is_local() -> bool:
    """Return whether our own machine-local configuration is the one that liblsl gets."""
    return users_file() is None and _scope() == "local"


class Doorbell:
    """Let programs with LSL's defaults find the streams of this machine that listen on loopback only.

    Such a program asks 127.0.0.1 at LSL's common port, where of several sockets only one is heard. A thread takes
    these questions and passes them on to every stream's own port; the streams answer the asker themselves.
    Does nothing where LSL runs with another configuration than ours.
    """

    def __init__(self) -> None:
        self._stop: socket.socket | None = None

    def open(self) -> None:
        """Begin to pass questions on; no effect if it does already."""
        if self._stop is not None or not is_local():
            return
        door = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        door.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            door.bind(("127.0.0.1", _ASK_PORT))
        except OSError as error:
            door.close()
            _log.warning("programs with LSL's defaults may not find these streams: port %d: %s", _ASK_PORT, error)
            return
        self._stop, stopped = socket.socketpair()
        threading.Thread(target=_pass_on, args=(door, stopped), name="lsl-doorbell", daemon=True).start()

    def close(self) -> None:
        """Stop; any number of times."""
        stop, self._stop = self._stop, None
        if stop is not None:
            stop.close()


def _pass_on(door: socket.socket, stopped: socket.socket) -> None:
    with door, stopped:
        while True:
            heard, _, _ = select.select([door, stopped], [], [])
            if stopped in heard:
                return
            question, asker = door.recvfrom(65536)
            # Answers go to the address that the question comes from: only this machine may be answered.
            if not question.startswith(b"LSL:shortinfo") or asker[0] != "127.0.0.1":
                continue
            for port in range(BASE_PORT, BASE_PORT + N_PORTS):
                with contextlib.suppress(OSError):
                    door.sendto(question, ("127.0.0.1", port))


def _scope() -> str:
    scope = os.environ.get(SCOPE, "local")
    if scope not in ("local", "network"):
        raise ConfigError(f'{SCOPE} must be "local" or "network", got {scope!r}; correct the environment variable')
    return scope
