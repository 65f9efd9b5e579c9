"""Find Lab Streaming Layer streams: what there is, the one that is meant, and one that has come back."""

from __future__ import annotations

import re
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from bci.acquisition.lsl_local import SCOPE, is_local, load_pylsl
from bci.errors import ConfigError, DeviceNotFound

if TYPE_CHECKING:
    import pylsl

KEYS = ("name", "type", "source_id", "hostname")
"""What a stream can be chosen by."""
_LOOK_S, _LOOK_HERE_S = 0.8, 0.3
"""How long to look for a second stream that fits, and for what goes into an error message, s; on this machine only."""
_STEP_S = 1.0
"""Longest time that Ctrl+C waits, s."""
_ASK_S = 1.0
"""How long to wait for a stream's description, s."""
_FORMATS = ("undefined", "float32", "double64", "string", "int32", "int16", "int8", "int64")
_AGAIN_S, _AGAIN_LONG_S, _LONG_EVERY = 0.1, 0.8, 6
"""How long one look for a stream that comes back lasts, s; LSL asks known peers late, hence a longer one at times."""
# pylsl makes an id of a hash that differs from process to process where the author of a sender gave none.
_MADE_UP = re.compile(r"-?\d{15,20}")


def streams(wait_s: float = 1.0, channels: bool = False) -> list[dict[str, Any]]:
    """Return the streams heard within `wait_s` s, ordered by name.

    Parameters
    ----------
    wait_s : float, default=1
        How long to listen, s.
    channels : bool, default=False
        Whether to ask each stream for the names and units of its channels (a few ms each).

    Returns
    -------
    list of dict
        ``name``, ``type``, ``channels`` (number), ``sfreq`` (Hz, 0: irregular), ``format``, ``source_id``, ``host``,
        ``problem`` (why it is not read without further settings; "" for nothing) and, if asked for, ``labels`` and
        ``units`` (lists of str, empty where the sender says nothing).
    """
    lsl = load_pylsl()
    found = sorted(_distinct(lsl.resolve_streams(wait_s)), key=lambda s: (s.name(), s.type(), s.uid()))
    listed = []
    for head in found:
        twins = [s for s in found if _identity(s) == _identity(head)]
        entry = {
            "name": head.name(), "type": head.type(), "channels": head.channel_count(), "sfreq": head.nominal_srate(),
            "format": _FORMATS[head.channel_format()], "source_id": head.source_id(), "host": head.hostname(),
            "problem": problem(head, len(twins)),
        }  # fmt: skip
        if channels:
            entry["labels"], entry["units"] = _labels(lsl, head)
        listed.append(entry)
    return listed


def problem(head: pylsl.StreamInfo, n_twins: int = 1) -> str:
    """Return why a stream cannot be told from others or found again; "" if it can."""
    if n_twins > 1:
        return (
            f"{n_twins} streams have its name, type and source_id {head.source_id()!r}: whose samples come, and who "
            "comes back after a restart, would be chance"
        )
    if not head.source_id():
        return "it has no source_id, so it cannot be found again when its sender was restarted"
    return ""


def find(query: Mapping[str, str], timeout_s: float, allow_unnamed: bool = False) -> pylsl.StreamInfo:
    """Return the one stream that fits.

    Parameters
    ----------
    query : mapping of str to str
        What it must have, by ``name``, ``type``, ``source_id`` or ``hostname``.
    timeout_s : float
        How long to look, s.
    allow_unnamed : bool, default=False
        Whether a stream without a source id is taken.

    Raises
    ------
    DeviceNotFound
        With what there is instead.
    ConfigError
        If several fit, or what fits cannot be told from another, or has no source id.
    """
    lsl = load_pylsl()
    asked = " and ".join(f"{key}={value!r}" for key, value in query.items())
    predicate = _predicate(query)
    look_s = _LOOK_HERE_S if is_local() else _LOOK_S
    found: Sequence[pylsl.StreamInfo] = []
    until_s = time.monotonic() + timeout_s
    while not found and (left_s := until_s - time.monotonic()) > 0:
        found = lsl.resolve_bypred(predicate, 1, min(_STEP_S, left_s))  # in steps: Ctrl+C is not heard meanwhile
    if not found:
        there = ", ".join(f"{s['name']} ({s['type']})" for s in streams(min(look_s, timeout_s)))
        reach = f"; only this machine is searched, {SCOPE}=network widens that" if is_local() else ""
        raise DeviceNotFound(
            f"expected an LSL stream with {asked} within {timeout_s:g} s, found {there or 'no stream at all'}; "
            f"start the sender, or check name and network{reach}"
        )
    # The first answer ends the search; look once more for a second stream that fits as well.
    found = _distinct([*found, *lsl.resolve_bypred(predicate, 2, min(look_s, timeout_s))])
    _refuse(found, asked, allow_unnamed)
    return found[0]


def find_again(head: pylsl.StreamInfo, turn: int = 0, but_not: str = "") -> pylsl.StreamInfo | None:
    """Look, for a tenth of a second, whether the source of `head` is there (again).

    Parameters
    ----------
    head : pylsl.StreamInfo
        What it was.
    turn : int, default=0
        How many looks there were before this one.
    but_not : str
        Uid of an instance that is known already.

    Notes
    -----
    It must have the same name, type, channels and source id. An id that pylsl made up changes when its sender is
    restarted: there the host has to be the same.
    """
    lsl = load_pylsl()
    query = {"name": head.name(), "type": head.type(), "channel_count": str(head.channel_count())}
    made_up = _MADE_UP.fullmatch(head.source_id())
    query |= {"hostname": head.hostname()} if made_up else {"source_id": head.source_id()}
    wait_s = _AGAIN_S if is_local() or (turn + 1) % _LONG_EVERY else _AGAIN_LONG_S
    # The first answer ends the search; it tells nothing where one instance is known to answer.
    found = lsl.resolve_bypred(_predicate(query), 2 if but_not else 1, wait_s)
    for stream in _distinct(found):
        same = stream.source_id() == head.source_id() or (made_up and _MADE_UP.fullmatch(stream.source_id()))
        if same and stream.uid() != but_not and stream.channel_format() == head.channel_format():
            return stream
    return None


def described_channels(full: pylsl.StreamInfo) -> list[tuple[str, str]]:
    """Return (name, unit) of each channel as the sender describes them, "" for what it does not say."""
    node = full.desc().child("channels").child("channel")
    named = []
    for _ in range(full.channel_count()):
        named.append((str(node.child_value("label")), str(node.child_value("unit"))))
        node = node.next_sibling("channel")
    return named


def _refuse(found: Sequence[pylsl.StreamInfo], asked: str, allow_unnamed: bool) -> None:
    if len({_identity(s) for s in found}) > 1:
        listed = "; ".join(f"{s.name()} (type {s.type()}, source_id {s.source_id()!r}, host {s.hostname()})"
                           for s in found)  # fmt: skip
        raise ConfigError(
            f"expected one LSL stream with {asked}, found {listed}; add source_id or type (or hostname) to choose one"
        )
    head = found[0]
    reason = problem(head, len(found))
    if reason and (len(found) > 1 or not allow_unnamed):
        hint = "close all senders but one" if len(found) > 1 else (
            "give the sender a source_id that stays (a serial number), or take it knowingly with allow_unnamed=True"
        )  # fmt: skip
        raise ConfigError(f"expected an LSL stream with {asked} that can be told from others, but {reason}; {hint}")


def _identity(head: pylsl.StreamInfo) -> tuple[str, ...]:
    return head.name(), head.type(), head.source_id(), "" if head.source_id() else head.uid()


def _distinct(found: Iterable[pylsl.StreamInfo]) -> list[pylsl.StreamInfo]:
    return list({s.uid(): s for s in found}.values())


def _predicate(query: Mapping[str, str]) -> str:
    quote = {value: '"' if "'" in value else "'" for value in query.values()}
    return " and ".join(f"{key}={quote[value]}{value}{quote[value]}" for key, value in query.items())


def _labels(lsl: Any, head: pylsl.StreamInfo) -> tuple[list[str], list[str]]:
    try:
        described = described_channels(lsl.StreamInlet(head, recover=False).info(_ASK_S))
    except (TimeoutError, lsl.util.TimeoutError, lsl.util.LostError):  # gone since, or hung: it was listed all the same
        return [], []
    return [label for label, _ in described if label], [unit for _, unit in described if unit]
