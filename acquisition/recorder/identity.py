"""Keep people and machines out of the headers of a recording."""

from __future__ import annotations

import contextlib
import getpass
import re
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Any

_HOMES = re.compile(r"(?:/home/|/Users/|[A-Za-z]:\\+Users\\+)[^/\\\s\"']+")
_HOST_KEYS = frozenset({"host", "hostname", "user", "username", "login"})
_COMMON = frozenset({"root", "user", "admin", "localhost", "host"})
"""Names that name nobody."""


def without_identity(value: Any) -> Any:
    """Return plain values (mappings, lists, texts) without home folders, and names of the user and of machines.

    Home folders become ``~``, the user's and the host's name ``-`` wherever they stand as a word; entries
    called host, hostname, user, username or login are left out. Numbers and keys stay as they are.
    """
    return _cleaned(value, _names())


def _cleaned(value: Any, names: re.Pattern[str] | None) -> Any:
    if isinstance(value, Mapping):
        return {k: _cleaned(v, names) for k, v in value.items() if str(k).lower() not in _HOST_KEYS}
    if isinstance(value, list | tuple | set | frozenset):
        return [_cleaned(v, names) for v in value]
    if isinstance(value, Path):
        return value.name  # folders may carry a person's name
    if not isinstance(value, str):
        return value
    home = str(Path.home())
    if len(home) > 1:
        value = value.replace(home, "~")
    value = _HOMES.sub("~", value)
    return names.sub("-", value) if names is not None else value


def _names() -> re.Pattern[str] | None:
    """Return what finds the names of this user and this machine; None if both say nothing."""
    found = {socket.gethostname(), socket.gethostname().split(".")[0]}
    with contextlib.suppress(OSError, KeyError, ImportError):  # a user without a name
        found.add(getpass.getuser())
    words = [re.escape(name) for name in sorted(found, key=len, reverse=True)
             if len(name) > 2 and name.lower() not in _COMMON]  # fmt: skip
    return re.compile(rf"(?<!\w)(?:{'|'.join(words)})(?!\w)", re.IGNORECASE) if words else None
