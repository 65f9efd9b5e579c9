"""A brain-computer interface library: one closed loop from amplifier to effector.

Public names are resolved when first used, so that ``import bci`` costs next to
nothing and the guard process runs on the standard library alone.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

_HOMES = {
    "Channel": "bci.stream",
    "Chunk": "bci.stream",
    "Command": "bci.decision",
    "Decision": "bci.decision",
    "Event": "bci.stream",
    "Flag": "bci.stream",
    "Kind": "bci.stream",
    "ManualClock": "bci.clock",
    "MonotonicClock": "bci.clock",
    "Session": "bci.runtime.session",
    "StreamInfo": "bci.stream",
    "create": "bci.registry",
    "from_raw": "bci.interop",
    "to_raw": "bci.interop",
}

__all__ = [
    "Channel",
    "Chunk",
    "Command",
    "Decision",
    "Event",
    "Flag",
    "Kind",
    "ManualClock",
    "MonotonicClock",
    "Session",
    "StreamInfo",
    "__version__",
    "create",
    "from_raw",
    "to_raw",
]

if TYPE_CHECKING:
    from bci.clock import ManualClock, MonotonicClock
    from bci.decision import Command, Decision
    from bci.interop import from_raw, to_raw
    from bci.registry import create
    from bci.runtime.session import Session
    from bci.stream import Channel, Chunk, Event, Flag, Kind, StreamInfo


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'bci' has no name {name!r}; it has {', '.join(sorted(_HOMES))}")
    value = getattr(importlib.import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES})
