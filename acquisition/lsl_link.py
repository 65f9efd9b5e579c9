"""Receive one LSL stream: what arrives is kept, and a stream that broke is found again at once.

liblsl's own recovery waits before it searches and again before it connects, so that about 0.7 s are lost without a
word. Here an inlet without recovery says at once that its sender is gone, a search is begun at once, and the new
connection is handed on as such, so that what is missing can be counted. A reader that waits takes its samples from
liblsl itself; while it is away a thread does, since liblsl drops what was not taken when the sender goes.
"""

from __future__ import annotations

import contextlib
import ctypes
import logging
import math
import threading
import time
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from bci.acquisition.lsl_find import described_channels, find_again
from bci.acquisition.lsl_local import load_pylsl
from bci.acquisition.lsl_pull import Puller
from bci.errors import DeviceLost

if TYPE_CHECKING:
    import pylsl

_log = logging.getLogger(__name__)

_WAIT_S = 0.1
"""Longest wait on data before something else is looked after, s."""
_AWAY_S = 0.05
"""A reader that has not come back for so long is away, s."""
_LOOK_S = 0.2
"""How often is seen whether the reader is away, s; what it leaves that long is lost if the sender goes in between."""
_CONNECT_S = 2.0
_SUCCESSOR_S = 0.5
"""After so much silence a successor of a sender that hangs is looked for, this often, s."""
_OFFSET_EVERY_S = 2.0
"""How often the offset of the sender's clock is noted; liblsl measures it as often, s."""
_MOST_OFFSETS = 20_000
"""Offsets that are kept: eleven hours."""


@dataclass(frozen=True, slots=True)
class Offset:
    """One measurement of a sender's clock.

    Parameters
    ----------
    time_s : float
        When, s on LSL's clock here.
    offset_s : float
        What is added to a stamp of the sender to have the time here, s.
    uncertainty_s : float
        Round trip of the best probe, an upper limit of the error, s; NaN where liblsl does not tell.
    """

    time_s: float
    offset_s: float
    uncertainty_s: float


@dataclass(frozen=True, slots=True, eq=False)
class Piece:
    """Samples of one connection, in order.

    Parameters
    ----------
    data : ndarray, shape (n_samples, n_channels)
        As sent.
    stamps : ndarray, shape (n_samples,)
        The sender's time stamps, s.
    connection : int
        0 for the first, one more after each break.
    same_stream : bool
        Whether this connection leads to the same instance of the stream as the one before it.
    dropped : int
        Samples that were dropped just before, since the buffer was full.
    reason : str
        Why the connection before this one ended.
    """

    data: NDArray[Any]
    stamps: NDArray[np.float64]
    connection: int = 0
    same_stream: bool = True
    dropped: int = 0
    reason: str = ""


class LslLink:
    """The connection to one numeric stream at a regular rate, across restarts of its sender.

    Parameters
    ----------
    head : pylsl.StreamInfo
        What was found.
    buffer_s : float
        What is kept for a reader that is late, here and at the sender, s.
    """

    def __init__(self, head: pylsl.StreamInfo, buffer_s: float) -> None:
        self._lsl = load_pylsl()
        self._head, self._buffer_s = head, buffer_s
        self._sfreq = head.nominal_srate()
        self._most = max(64, round(self._sfreq / 4))
        self._limit = max(self._most, math.ceil(buffer_s * self._sfreq))
        self._inlet: pylsl.StreamInlet | None = None
        self._puller: Puller | None = None
        self._thread: threading.Thread | None = None
        self._changed = threading.Condition()
        # Of its own: a reader that pulls would wake the thread with every chunk otherwise.
        self._lost = threading.Event()
        self._pulling = threading.Lock()
        self._reader_in, self._switching = False, False
        # What the reader has just pulled for itself, without the detour over the queue.
        self._handed: Piece | None = None
        self.offsets: deque[Offset] = deque(maxlen=_MOST_OFFSETS)
        self._n_waiting = self._dropped = self._connection = self._looks = 0
        self._reset()

    # ------------------------------------------------------------ lifecycle
    def open(self, timeout_s: float) -> pylsl.StreamInfo:
        """Connect; return the full description, or raise `DeviceLost` if the sender does not answer."""
        self._inlet = connect(self._head, self._buffer_s)
        with answering(self._head):
            full = self._inlet.info(timeout_s)
        self._uid, self._channels = full.uid(), described_channels(full)
        return full

    def start(self, timeout_s: float) -> None:
        """Begin to receive; `DeviceLost` if the sender does not answer."""
        self._reset()
        if self._inlet is None:  # a second time: liblsl's own inlets do not start again
            self._head = (self._head.source_id() and find_again(self._head)) or self._head
            self._inlet = connect(self._head, self._buffer_s)
        with answering(self._head):
            self._inlet.open_stream(timeout_s)
        self._heard_s = self._asked_s = time.monotonic()
        self._thread = threading.Thread(target=self._run, name=f"lsl-{self._head.name()[:20]}", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Stop receiving, and disconnect; what was not taken is dropped."""
        self._stopping = True
        self._lost.set()
        if self._thread is not None:
            self._thread.join()
            self._thread = None
        self._inlet = self._puller = None  # liblsl disconnects when the last reference goes

    # ----------------------------------------------------------------- take
    def take(self, timeout_s: float) -> Piece | None:
        """Return what has arrived over one connection, waiting up to `timeout_s` for it."""
        until_s = time.monotonic() + timeout_s
        self._reader_in = True
        try:
            while True:
                handed, self._handed = self._handed, None
                piece = handed or self._next()
                left_s = until_s - time.monotonic()
                if piece is not None or self.is_gone:
                    return piece
                if not self._pull_here(max(0.0, min(left_s, _WAIT_S)), is_reader=True):
                    with self._changed:
                        self._changed.wait_for(lambda: self._pieces or self._may_pull or self.is_gone, max(0.0, left_s))
                if left_s <= 0 and self._handed is None:
                    return self._next()
        finally:
            self._left_s = time.monotonic()
            self._reader_in = False

    def measure(self, timeout_s: float) -> Offset | None:
        """Return (and keep) the offset of the sender's clock as it was measured last; None if there is none yet."""
        inlet = self._inlet
        if inlet is None:
            return None
        offset = measured_offset(self._lsl, inlet, timeout_s)
        newest = self.newest_offset
        if offset is not None and (newest is None or offset.offset_s != newest.offset_s):  # else not measured anew
            self.offsets.append(offset)
        return offset

    @property
    def newest_offset(self) -> Offset | None:
        """The newest measurement of the sender's clock; None if there is none yet."""
        return self.offsets[-1] if self.offsets else None

    @property
    def is_gone(self) -> bool:
        """Whether the sender is gone and cannot come back."""
        return self._gone != ""

    @property
    def why_gone(self) -> str:
        """Why it cannot come back; "" if it is there."""
        return self._gone

    # ----------------------------------------------------------------- pull
    @property
    def _may_pull(self) -> bool:
        return self._inlet is not None and not self._switching and not self._pulling.locked()

    def _next(self) -> Piece | None:
        if not self._pieces:  # nearly always, where the reader pulls itself; only it takes the last piece away
            return None
        with self._changed:
            first = self._pieces.popleft()
            taken, n = [first], len(first.stamps)
            while self._pieces and self._pieces[0].connection == first.connection and n < self._most:
                taken.append(self._pieces.popleft())
                n += len(taken[-1].stamps)
            self._n_waiting -= n
            dropped, self._dropped = self._dropped, 0
        if len(taken) == 1 and not dropped:
            return first
        data, stamps = np.concatenate([p.data for p in taken]), np.concatenate([p.stamps for p in taken])
        return replace(first, data=data, stamps=stamps, dropped=dropped)

    def _pull_here(self, wait_s: float, is_reader: bool = False) -> bool:
        """Pull, unless another thread does; return whether that was possible."""
        if self._switching or not self._pulling.acquire(blocking=False):
            return False
        try:
            inlet = self._inlet
            if inlet is None:
                return False
            self._pull(inlet, wait_s, is_reader)
            return True
        finally:
            self._pulling.release()

    def _pull(self, inlet: pylsl.StreamInlet, wait_s: float, is_reader: bool) -> None:
        """Take what is there. In two steps: what was pulled before the sender is known to be gone must not be lost."""
        puller = self._puller
        if puller is None or puller.inlet is not inlet:
            puller = self._puller = Puller(inlet, self._lsl, self._most)
        n = 0
        try:
            n = puller.wait(wait_s)
            if n:
                n += puller.rest()
        except self._lsl.util.LostError:
            self._lose("the sender ended the connection")
        if n:
            self._heard_s = time.monotonic()
            piece = Piece(*puller.take(n), self._connection, self._same_stream, 0, self._reason)
            if is_reader and not self._pieces and not self._dropped:
                self._handed = piece  # nothing is before it, and who pulls alone may add something
            else:
                self._put(piece)

    def _put(self, piece: Piece) -> None:
        with self._changed:
            self._pieces.append(piece)
            self._n_waiting += len(piece.stamps)
            while self._n_waiting > self._limit and len(self._pieces) > 1:
                dropped = len(self._pieces.popleft().stamps)
                self._n_waiting -= dropped
                self._dropped += dropped
            self._changed.notify_all()

    def _lose(self, reason: str) -> None:
        if not self._head.source_id():
            self._give_up("it has no source_id to be found by")
        else:
            _log.warning("LSL stream %r: %s; looking for it", self._head.name(), reason)
        with self._changed:
            self._inlet, self._puller, self._reason = None, None, reason
            self._changed.notify_all()
        self._lost.set()

    def _give_up(self, why: str) -> None:
        with self._changed:
            self._gone = why
            self._changed.notify_all()
        self._lost.set()

    # --------------------------------------------------------------- thread
    def _reset(self) -> None:
        self._pieces: deque[Piece] = deque()
        self._handed = None
        self._n_waiting = self._dropped = self._connection = self._looks = 0
        self._same_stream, self._stopping, self._gone, self._reason = True, False, "", ""
        self._heard_s = self._asked_s = self._measured_s = self._left_s = 0.0

    def _run(self) -> None:
        while not (self._stopping or self.is_gone):
            self._lost.clear()
            if self._inlet is None:
                self._come_back()
            elif self._reader_in or time.monotonic() - self._left_s < _AWAY_S:
                if not (self._inlet is None or self._stopping):  # lost between the look above and the clear before it
                    self._lost.wait(_LOOK_S)
            else:
                self._pull_here(_WAIT_S)
                with self._changed:
                    self._changed.notify_all()  # a reader that came meanwhile may pull now
            self._look_after(time.monotonic())

    def _look_after(self, now_s: float) -> None:
        if self._inlet is None or self.is_gone:
            return
        if now_s - max(self._heard_s, self._asked_s) > _SUCCESSOR_S:
            self._look_for_successor(now_s)
        if now_s - self._measured_s > _OFFSET_EVERY_S:
            # The first one takes liblsl half a second.
            self._measured_s = now_s if self.measure(0.001) else now_s - 0.75 * _OFFSET_EVERY_S

    def _come_back(self) -> None:
        found = find_again(self._head, self._looks)
        self._looks += 1
        if found is not None:
            self._switch(found)

    def _look_for_successor(self, now_s: float) -> None:
        """A sender that hangs keeps its connection; another one under its id takes its place."""
        self._asked_s = now_s
        found = find_again(self._head, self._looks, self._uid) if self._head.source_id() else None
        if found is not None:
            self._switch(found, "the sender hung")

    def _switch(self, found: pylsl.StreamInfo, reason: str = "") -> None:
        try:
            inlet = connect(found, self._buffer_s)
            with answering(found):
                inlet.open_stream(_CONNECT_S)
                full = inlet.info(_CONNECT_S)
        except DeviceLost:
            return  # gone again; the search goes on
        channels = described_channels(full)
        if channels != self._channels:
            self._give_up(f"it came back with other channels: {channels} instead of {self._channels}")
            return
        self._switching = True  # keeps a reader from pulling again before this thread does what follows
        with self._pulling, self._changed:
            self._same_stream, self._uid = found.uid() == self._uid, found.uid()
            self._connection += 1
            self._reason = reason or self._reason
            self._head, self._inlet, self._heard_s = found, inlet, time.monotonic()
        self._switching = False
        with self._changed:
            self._changed.notify_all()
        _log.warning("LSL stream %r is back%s", self._head.name(), "" if self._same_stream else " (restarted)")


def connect(head: pylsl.StreamInfo, buffer_s: float) -> pylsl.StreamInlet:
    """Return an inlet that says it when its sender is gone; it connects with the first call."""
    # LSL buffers whole seconds.
    return load_pylsl().StreamInlet(head, max_buflen=max(1, round(buffer_s)), recover=False)


@contextlib.contextmanager
def answering(head: pylsl.StreamInfo) -> Iterator[None]:
    """Raise `DeviceLost` where liblsl says that the sender is gone or does not answer."""
    errors = load_pylsl().util
    try:
        yield
    except (errors.LostError, errors.TimeoutError) as error:
        raise DeviceLost(
            f"expected the sender of the LSL stream {head.name()!r} on {head.hostname()} to answer, got: {error}; "
            "see whether it hangs, start it again"
        ) from error


def measured_offset(lsl: Any, inlet: pylsl.StreamInlet, timeout_s: float) -> Offset | None:
    """Return how the sender's clock stands to ours; None if that is not known within `timeout_s`, s."""
    try:
        extended = getattr(lsl.lib.lib, "lsl_time_correction_ex", None)
        if extended is None:
            return Offset(lsl.local_clock(), float(inlet.time_correction(timeout_s)), math.nan)
        extended.restype = ctypes.c_double
        remote, uncertainty, code = ctypes.c_double(), ctypes.c_double(), ctypes.c_int()
        offset_s = extended(inlet.obj, ctypes.byref(remote), ctypes.byref(uncertainty), ctypes.c_double(timeout_s),
                            ctypes.byref(code))  # fmt: skip
        lsl.util.handle_error(code)
        return Offset(lsl.local_clock(), float(offset_s), float(uncertainty.value))
    except (lsl.util.TimeoutError, lsl.util.LostError):
        return None
