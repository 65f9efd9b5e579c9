"""The frames between session, guard and effector host. Standard library only."""

from __future__ import annotations

import math
import struct
import zlib
from dataclasses import dataclass

TOKEN_BYTES = 16
_FUTURE_S = 0.005  # both ends read one monotonic clock; this is its reading error, with room
_BODY = struct.Struct("!4s16sBQddd16s16s")
_CRC = struct.Struct("!I")
COMMAND, OUTPUT = b"BCC1", b"BCO1"
"""What a frame begins with: a session asks, the guard commands."""
QUALITY = 1
"""Bit of a command's `code`: the signal it rests on is good."""
HALT = 2
"""Bit of a command's `code`: the session asks for the safe state."""


@dataclass(frozen=True, slots=True)
class Frame:
    """One command, or one output of the guard.

    Parameters
    ----------
    sequence : int
        Grows from frame to frame of one sender.
    sent_s : float
        Monotonic time of sending, s.
    value : float
        What is asked for, or put out.
    age_s : float
        Age of the newest sample it rests on when it was sent, s.
    code : int
        `QUALITY` and `HALT` bits of a command; number of the guard's state of an output.
    name, label : str
        Name of the command and the decided class, at most 16 bytes each.
    """

    sequence: int
    sent_s: float
    value: float
    age_s: float = 0.0
    code: int = QUALITY
    name: str = "intent"
    label: str = ""


class FrameError(Exception):
    """Bytes that are no frame of this session; the text says why."""


def pack(frame: Frame, kind: bytes, token: bytes) -> bytes:
    """Return the bytes to send."""
    f = frame
    names = f.name.encode()[:16], f.label.encode()[:16]
    body = _BODY.pack(kind, token, f.code, f.sequence, f.sent_s, f.value, f.age_s, *names)
    return body + _CRC.pack(zlib.crc32(body))


def unpack(data: bytes, kind: bytes, token: bytes) -> Frame:
    """Return the frame; `FrameError` if it is damaged, foreign or of another kind."""
    if len(data) != _BODY.size + _CRC.size or data[:4] != kind:
        raise FrameError("not a frame")
    body = data[: _BODY.size]
    if _CRC.unpack(data[_BODY.size :])[0] != zlib.crc32(body):
        raise FrameError("bad checksum")
    _, sender, code, sequence, sent_s, value, age_s, name, label = _BODY.unpack(body)
    if sender != token:
        raise FrameError("foreign session")
    return Frame(sequence, sent_s, value, age_s, code, _text(name), _text(label))


def refuse(frame: Frame, after: int, now_s: float, low: float, high: float, max_age_s: float, deadline_s: float) -> str:
    """Return why a command must not be obeyed at `now_s`; empty if it may.

    `after` is the last sequence number obeyed. The age counts from the sample, on the way too;
    a command that says its signal is bad carries no wish, so its age does not matter.
    """
    f = frame
    if not (math.isfinite(f.value) and math.isfinite(f.age_s) and math.isfinite(f.sent_s)):
        return "not a number"
    if f.sequence <= after:
        return "old sequence number"
    way_s = now_s - f.sent_s
    if not -_FUTURE_S <= way_s <= deadline_s:
        return "late"
    if not low <= f.value <= high:
        return "out of range"
    if f.age_s < 0 or (f.code & QUALITY and f.age_s + way_s > max_age_s):
        return "signal too old"
    return ""


def _text(raw: bytes) -> str:
    return raw.rstrip(b"\0").decode("utf-8", "ignore")
