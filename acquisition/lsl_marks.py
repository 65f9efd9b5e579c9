"""Receive an LSL stream of markers, texts or numbers, across restarts of its sender."""

from __future__ import annotations

import logging
import threading
import time
from typing import TYPE_CHECKING, Any

from bci.acquisition.codes import event_code
from bci.acquisition.lsl_find import find_again
from bci.acquisition.lsl_link import answering, connect, measured_offset
from bci.acquisition.lsl_local import load_pylsl
from bci.errors import DeviceLost

if TYPE_CHECKING:
    import pylsl

_log = logging.getLogger(__name__)

_BUFFER_S = 360.0
"""What LSL keeps of a stream without a rate: a hundred samples for each of these."""
_CONNECT_S = 2.0
_OFFSET_EVERY_S = 2.0
_SUCCESSOR_LOOKS = 20


class LslMarks:
    """The connection to one marker stream. What arrives is taken by the caller's thread, right after the signal.

    Parameters
    ----------
    head : pylsl.StreamInfo
        What was found.
    """

    def __init__(self, head: pylsl.StreamInfo) -> None:
        self._lsl = load_pylsl()
        self._head = head
        self._inlet: pylsl.StreamInlet | None = None
        self._search: threading.Thread | None = None
        # The thread that searches and the one that takes change the inlet, the search and the breaks together.
        self._changing = threading.Lock()
        self._stopping = self._has_run = False
        self.offset_s = 0.0
        self._measured_s = float("-inf")
        self.breaks: list[dict[str, Any]] = []

    def start(self, timeout_s: float) -> None:
        """Begin to receive; `DeviceLost` if the sender does not answer."""
        self._stopping = False
        if self._has_run and self._head.source_id():
            self._head = find_again(self._head) or self._head
        self._has_run = True
        self._inlet = connect(self._head, _BUFFER_S)
        with answering(self._head):
            self._inlet.open_stream(timeout_s)

    def stop(self) -> None:
        """Stop receiving, and disconnect."""
        self._stopping = True
        search = self._search
        if search is not None:
            search.join()
        self._inlet = self._search = None

    def take(self, timeout_s: float = 0.0) -> list[tuple[str, float]]:
        """Return (code, the sender's stamp in s) of what has arrived, waiting up to `timeout_s` for the first."""
        taken: list[tuple[str, float]] = []
        inlet, search = self._inlet, self._search
        if inlet is None and search is not None and timeout_s > 0:
            search.join(timeout_s)
            inlet = self._inlet
        try:
            if inlet is not None and timeout_s > 0:
                row, stamp = inlet.pull_sample(timeout_s)
                taken += [] if row is None else [(event_code(row), stamp)]
            while inlet is not None and inlet.samples_available():
                rows, stamps = inlet.pull_chunk(0.0, 16)
                taken += [(event_code(row), stamp) for row, stamp in zip(rows, stamps, strict=True)]
        except self._lsl.util.LostError:
            self._lose(inlet)
        return taken

    def look_for_successor(self) -> None:
        """The sender of the signal was replaced: its markers may come from another one now, too."""
        with self._changing:
            if self._inlet is not None:
                self._begin_search()

    def follow_clock(self, timeout_s: float) -> float:
        """Return what is added to the sender's stamps to have the time here, s; measured now and then."""
        now_s = time.monotonic()
        if self._inlet is not None and now_s - self._measured_s > _OFFSET_EVERY_S:
            first = self._measured_s == float("-inf")
            self._measured_s = now_s
            offset = measured_offset(self._lsl, self._inlet, timeout_s if first else 0.001)
            self.offset_s = offset.offset_s if offset is not None else self.offset_s
        return self.offset_s

    def _lose(self, inlet: pylsl.StreamInlet | None) -> None:
        with self._changing:
            if self._inlet is not inlet:
                return  # a successor has taken its place meanwhile
            self._inlet = None
            self.breaks.append({"time": self._lsl.local_clock(), "back": None, "stream": self._head.name()})
            _log.warning("LSL marker stream %r: the sender ended the connection", self._head.name())
            self._begin_search()

    def _begin_search(self) -> None:
        if self._search is None and self._head.source_id():
            self._search = threading.Thread(target=self._find, name="lsl-marks", daemon=True)
            self._search.start()

    def _find(self) -> None:
        looks = 0
        while not self._stopping:
            # While the old sender is there, only another one is a successor.
            found = find_again(self._head, looks, self._head.uid() if self._inlet is not None else "")
            looks += 1
            if found is not None and self._return(found):
                return
            with self._changing:
                # One that hangs is waited for only as long as its successor takes to show.
                if self._inlet is not None and looks >= _SUCCESSOR_LOOKS:
                    self._search = None
                    return

    def _return(self, found: pylsl.StreamInfo) -> bool:
        try:
            inlet = connect(found, _BUFFER_S)
            with answering(found):
                inlet.open_stream(_CONNECT_S)
        except DeviceLost:
            return False  # gone again; the search goes on
        with self._changing:
            now_s = self._lsl.local_clock()
            if self._inlet is not None:  # it was replaced before its end was noticed
                self.breaks.append({"time": now_s, "back": now_s, "stream": found.name()})
            else:
                self.breaks[-1]["back"] = now_s
            self._head, self._inlet = found, inlet  # what comes from now on waits in liblsl until it is taken
            self._search = None
        _log.warning("LSL marker stream %r is back", found.name())
        return True
