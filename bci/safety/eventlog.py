"""An append-only log with a hash chain, synced record by record. Standard library only."""

from __future__ import annotations

import hashlib
import json
import os
import queue
import sys
import threading
from pathlib import Path

if sys.platform != "win32":
    import fcntl

_BEGIN = "0" * 64


class EventLog:
    """Append records to a file of JSON lines; each carries the hash of the one before.

    Parameters
    ----------
    path : str or Path
        Continued if it exists; half a line at its end, left by a crash, is cut off.

    Raises
    ------
    ValueError
        If the file exists and is not such a log, or another guard writes to it.
    """

    def __init__(self, path: str | Path) -> None:
        self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
        try:
            _take(self._fd, str(path))
            content = Path(path).read_bytes()
            whole = content.rfind(b"\n") + 1
            self.n_records, self._last = _check(str(path), content[:whole])
            os.ftruncate(self._fd, whole)
        except BaseException:
            self.close()
            raise

    def write(self, **record: object) -> None:
        """Append `record`; it is on the disk when this returns, or nothing of it and `OSError` is raised."""
        last = _chain(self._last, json.dumps(record, sort_keys=True))
        line = json.dumps({"hash": last, "record": record}, sort_keys=True).encode() + b"\n"
        before = os.fstat(self._fd).st_size
        if os.write(self._fd, line) < len(line):
            os.ftruncate(self._fd, before)
            raise OSError("only a part of a record fits on the disk")
        os.fsync(self._fd)
        self._last, self.n_records = last, self.n_records + 1

    def close(self) -> None:
        """Close the file; any number of times."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


class LogWriter:
    """Write a log from a thread of its own: a slow disk must not delay the safe state.

    `n_records` counts what is on the disk; `failure` says why nothing more will be.
    """

    def __init__(self, log: EventLog) -> None:
        self._log, self.failure = log, ""
        self._queue: queue.SimpleQueue[dict[str, object] | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._write, name="event log", daemon=True)
        self._thread.start()

    @property
    def n_records(self) -> int:
        """Number of records on the disk."""
        return self._log.n_records

    def put(self, **record: object) -> None:
        """Queue `record`."""
        self._queue.put(record)

    def close(self, timeout_s: float) -> None:
        """Write what is queued, for at most `timeout_s`."""
        self._queue.put(None)
        self._thread.join(timeout_s)

    def _write(self) -> None:
        try:
            while (record := self._queue.get()) is not None:
                self._log.write(**record)
        except Exception as error:  # noqa: BLE001  # whatever it is, nothing more will be logged
            self.failure = f"the event log cannot be written: {error}"
            return
        self._log.close()


def verify(path: str | Path) -> int:
    """Return the number of records; `ValueError` naming the first line that is not as it was written."""
    return _check(str(path), Path(path).read_bytes())[0]


def _take(fd: int, path: str) -> None:
    if sys.platform != "win32":
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise ValueError(f"{path}: another guard writes to this log; give each guard a log of its own") from None


def _check(path: str, content: bytes) -> tuple[int, str]:
    last = _BEGIN
    lines = content.decode("utf-8", "replace").splitlines()
    for number, line in enumerate(lines, 1):
        try:
            entry = json.loads(line)
            last = _chain(last, json.dumps(entry["record"], sort_keys=True))
            whole = entry["hash"] == last
        except (json.JSONDecodeError, KeyError, TypeError):
            whole = False
        if not whole:
            raise ValueError(
                f"{path}: expected an unbroken chain of records, line {number} is not as it was written; "
                "keep the file as evidence and log to another"
            )
    return len(lines), last


def _chain(last: str, text: str) -> str:
    return hashlib.sha256((last + text).encode()).hexdigest()
