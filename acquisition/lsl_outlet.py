"""Offer LSL streams, described in full; what nobody has received yet is kept for the receiver that comes back."""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from bci.acquisition.lsl_local import Doorbell, load_pylsl
from bci.errors import DeviceError
from bci.stream import Channel, StreamInfo

if TYPE_CHECKING:
    import pylsl

_log = logging.getLogger(__name__)

KEEP_S = 60.0
"""For how long what nobody has received is kept, s."""
REWIND_S = 1.0
"""What was handed to liblsl so shortly before a receiver was seen to be gone may not have reached it, s."""


class LslOutlet:
    """One stream that is offered to other programs.

    While nobody receives, what is pushed is kept and given to the receiver that comes. When the last receiver is
    gone, what was pushed within the last second is given to the next one again, since it may have been on its way
    (our own inlet drops what it has already). What waits longer than `keep_s` is dropped, which is said once and
    counted in `n_dropped`.

    Parameters
    ----------
    head : pylsl.StreamInfo
        Description, with a source id that stays across restarts.
    keep_s : float, default=60
        For how long to keep, s; 0 for not at all.
    say : bool, default=True
        Whether to log that something was dropped; markers that nobody ever asked for are no news.

    Notes
    -----
    What lies unread in a receiver when it dies, is gone with it.
    """

    def __init__(self, head: pylsl.StreamInfo, keep_s: float = KEEP_S, say: bool = True) -> None:
        try:
            self._outlet: pylsl.StreamOutlet | None = load_pylsl().StreamOutlet(head)
        except RuntimeError as error:
            raise DeviceError(
                f"expected to open the LSL stream {head.name()!r}, LSL says: {error}; check the network"
            ) from error
        self._name, self.keep_s, self._say = head.name(), keep_s, say
        self._doorbell = Doorbell()
        self._doorbell.open()
        self._had_receiver = False
        self._kept: deque[tuple[float, Any, Any]] = deque()
        self._pushed: deque[tuple[float, Any, Any]] = deque()
        self.n_dropped = 0

    def push(self, samples: NDArray[Any] | Sequence[Any], stamps: NDArray[np.float64] | Sequence[float]) -> None:
        """Send samples, shape (n_samples, n_channels), with their LSL time stamps, s; or keep them."""
        if not len(samples):
            return
        now_s = time.monotonic()
        self._kept.append((now_s, samples, stamps))
        self.pass_on(now_s)

    def pass_on(self, now_s: float | None = None) -> bool:
        """Give what was kept to whoever receives now; return whether somebody does. To be called now and then."""
        if self._outlet is None:
            return False
        now_s = time.monotonic() if now_s is None else now_s
        has_receiver = self._outlet.have_consumers()
        if self._had_receiver and not has_receiver:
            self._kept.extendleft(reversed(self._pushed))
            self._pushed.clear()
        self._had_receiver = has_receiver
        while self._pushed and now_s - self._pushed[0][0] > REWIND_S:
            self._pushed.popleft()
        if has_receiver:
            while self._kept:
                kept = self._kept.popleft()
                self._outlet.push_chunk(kept[1], kept[2])
                if self.keep_s:
                    self._pushed.append((now_s, kept[1], kept[2]))
        else:
            self._forget(now_s)
        return has_receiver

    def wait(self, timeout_s: float) -> bool:
        """Wait for a receiver; return whether there is one."""
        return self._outlet is not None and bool(self._outlet.wait_for_consumers(timeout_s))

    def close(self) -> None:
        """Take the stream away; any number of times."""
        self._doorbell.close()
        self._outlet = None  # liblsl takes it away when the last reference goes

    @property
    def n_kept(self) -> int:
        """Samples that wait for a receiver."""
        return sum(len(kept[1]) for kept in self._kept)

    def _forget(self, now_s: float) -> None:
        while self._kept and now_s - self._kept[0][0] >= self.keep_s:
            if not self.n_dropped and self._say:
                _log.warning("LSL stream %r: nobody has received it for %g s; the oldest samples are dropped",
                             self._name, self.keep_s)  # fmt: skip
            self.n_dropped += len(self._kept.popleft()[1])


def signal_head(info: StreamInfo, name: str, source_id: str) -> pylsl.StreamInfo:
    """Return the description of a stream of double precision samples, in the units of its channels.

    Parameters
    ----------
    info : StreamInfo
        What the device says.
    name, source_id : str
        Of the LSL stream.

    Notes
    -----
    The words for channels are those of [1]_.

    References
    ----------
    .. [1] XDF meta-data, "EEG Meta-Data", https://github.com/sccn/xdf/wiki/EEG-Meta-Data
    """
    lsl = load_pylsl()
    kinds = {c.kind.value.upper() for c in info.channels}
    content = kinds.pop() if len(kinds) == 1 else "EEG"
    head = lsl.StreamInfo(name, content, info.n_channels, info.sfreq, lsl.cf_double64, source_id)
    desc = head.desc()
    if info.meta:
        meta = desc.append_child("meta")
        for key, value in info.meta.items():
            entry = meta.append_child("entry")
            entry.append_child_value("key", key)
            entry.append_child_value("value", value)
    describe_channels(desc, info.channels)
    return head


def describe_channels(desc: Any, channels: Sequence[Channel]) -> None:
    """Write names, kinds, units and places into a description; integers are sent multiplied, and the scale is told."""
    node = desc.append_child("channels")
    for channel in channels:
        entry = node.append_child("channel")
        entry.append_child_value("label", channel.name)
        entry.append_child_value("type", channel.kind.value.upper())
        entry.append_child_value("unit", "microvolts" if channel.unit == "uV" else channel.unit)
        if channel.scale != 1.0:
            entry.append_child_value("scale_applied", repr(channel.scale))
        if channel.position is not None:
            in_mm, in_m = entry.append_child("location"), entry.append_child("position_m")
            for axis, value in zip("XYZ", channel.position, strict=True):
                in_mm.append_child_value(axis, f"{1e3 * value:.3f}")
                in_m.append_child_value(axis, repr(value))


def text_head(name: str, source_id: str, content: str = "Markers") -> pylsl.StreamInfo:
    """Return the description of a stream of texts at irregular times."""
    lsl = load_pylsl()
    return lsl.StreamInfo(name, content, 1, lsl.IRREGULAR_RATE, lsl.cf_string, source_id)


def column_head(name: str, content: str, labels: Sequence[str], units: Sequence[str], source_id: str) -> Any:
    """Return the description of a stream of double precision columns at irregular times."""
    lsl = load_pylsl()
    head = lsl.StreamInfo(name, content, len(labels), lsl.IRREGULAR_RATE, lsl.cf_double64, source_id)
    node = head.desc().append_child("channels")
    for label, unit in zip(labels, units, strict=True):
        entry = node.append_child("channel")
        entry.append_child_value("label", label)
        entry.append_child_value("type", content)
        entry.append_child_value("unit", unit)
    return head
