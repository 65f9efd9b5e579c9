"""What all outputs share: the address they are given and the message they send."""

from __future__ import annotations

import json
import time

from bci.decision import Command
from bci.errors import ConfigError


def parse_address(address: str, default_port: int) -> tuple[str, int]:
    """Return (host, port) of ``"host:port"``, ``"host"``, ``":port"`` or ``"port"``.

    Raises
    ------
    ConfigError
        If the port is not a number from 1 to 65535.
    """
    host, _, port = address.rpartition(":") if ":" in address or address.isdigit() else (address, "", "")
    number = int(port) if port.isdigit() else default_port if not port else 0
    if not 1 <= number <= 65535:
        raise ConfigError(f"an address is host:port with a port from 1 to 65535, got {address!r}; correct it")
    return host.strip("[]") or "127.0.0.1", number


def to_json(command: Command | None) -> str:
    """Return a command as one JSON object; None is the safe state.

    ``{"name", "value", "label", "valid_s", "safe", "time_s"}``; `time_s` is the monotonic time of sending.
    """
    safe = command is None
    c = command or Command("intent", 0.0, 0.0, 0.0)
    message = {"name": c.name, "value": c.value, "label": c.label, "valid_s": c.valid_s, "safe": safe}
    return json.dumps({**message, "time_s": time.monotonic()})
