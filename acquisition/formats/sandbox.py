"""Read a recording in a process of its own, with a deadline and a limit of memory."""

from __future__ import annotations

import atexit
import contextlib
import functools
import json
import mmap
import os
import shutil
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bci import errors
from bci.acquisition.formats.found import Cut, Found, Settings
from bci.errors import BciError, DeviceError, FormatError
from bci.stream import Channel, Event, Flag, Kind, StreamInfo

_START_S = 60.0
"""How long the process may take to start and import what it needs, s."""
_READ_S = 4.0
"""How long a file of up to 8 MB may take, s; 0.5 s are added for each further MB (a slow network drive)."""
_EASY_BYTES = 8_000_000
_BYTES_PER_S = 2_000_000
_MEMORY = 256 << 20
"""What every file may take, bytes; a large one ten times its size."""
_SHARED = Path("/dev/shm")


@dataclass(frozen=True, slots=True)
class Request:
    """A file to read.

    Parameters
    ----------
    path : Path
        The file.
    reader : str
        Module of `bci.acquisition.formats`.
    size : int
        Bytes of the file and those that belong to it.
    settings : Settings
        What the caller says of it.
    """

    path: Path
    reader: str
    size: int
    settings: Settings


class Sandbox:
    """A process that reads one recording after another; started when it is needed, and again when it broke."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[str] | None = None
        self._owner = 0
        self._lock = threading.Lock()

    def read(self, request: Request, progress: Callable[[float], None], warn: Callable[[str], None]) -> Found:
        """Read a file; `FormatError` if it is damaged, takes too long, too much memory, or breaks its reader."""
        with self._lock, _shared_file(request.size) as out:
            for attempt in (1, 2):
                fresh = self._start()
                try:
                    answer = self._ask(request, out, progress, warn)
                except BaseException:
                    self.close()  # an answer that nobody took would be the next one's
                    raise
                # One that ended before it began to read did not do so because of the file: it was idle for long.
                if answer.get("error") != "gone" or fresh or attempt == 2:
                    break
                self.close()
            if answer.get("error") in ("crash", "gone", "late", "MemoryError"):
                raise _broken(request, answer, self.close())
            return _found(answer, out) if "error" not in answer else _raise(answer, request)

    @property
    def pid(self) -> int | None:
        """Number of the process; None if there is none."""
        process = self._process
        return None if process is None or process.poll() is not None else process.pid

    def close(self) -> int | None:
        """End the process; return its exit code."""
        process, self._process = self._process, None
        if process is None or self._owner != os.getpid():  # a fork of the program must not touch its parent's
            return None
        for pipe in (process.stdin, process.stdout):
            with contextlib.suppress(BrokenPipeError):
                if pipe is not None:
                    pipe.close()
        if process.poll() is None:
            process.kill()
        return process.wait()

    # -------------------------------------------------------------- private
    def _start(self) -> bool:
        """Make sure that the process runs; return whether it is a new one."""
        process = self._process
        if process is not None and self._owner == os.getpid() and process.poll() is None:
            return False
        self.close()
        env = dict(os.environ, OPENBLAS_NUM_THREADS="1", OMP_NUM_THREADS="1")
        env["PYTHONPATH"] = os.pathsep.join(p or os.getcwd() for p in sys.path)
        try:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "bci.acquisition.formats.worker"], env=env, encoding="utf-8",
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
            )  # fmt: skip
        except OSError as error:
            raise DeviceError(
                f"recordings are read by a process of their own, it could not be started: {error.strerror}; "
                f"end other programs, or allow more processes"
            ) from error
        self._owner = os.getpid()
        return True

    def _ask(
        self, request: Request, out: Path, progress: Callable[[float], None], warn: Callable[[str], None]
    ) -> dict[str, Any]:
        """Return the answer, or what became of the process."""
        process = self._process
        assert process is not None and process.stdin is not None and process.stdout is not None
        asked = {"path": str(request.path), "reader": request.reader, "out": str(out), "folder": os.getcwd(),
                 "settings": asdict(request.settings), "memory": max(_MEMORY, 10 * request.size)}  # fmt: skip
        budget_s = _READ_S + max(0, request.size - _EASY_BYTES) / _BYTES_PER_S
        deadline, ended = _Deadline(process, _START_S), "gone"
        try:
            process.stdin.write(json.dumps(asked) + "\n")
            process.stdin.flush()
            for line in process.stdout:
                said = json.loads(line)
                if "begun" in said:
                    deadline.set(budget_s)
                    ended = "crash"
                elif "importing" in said:
                    deadline.set(_START_S)
                elif "progress" in said:
                    progress(said["progress"])
                elif "warning" in said:
                    warn(said["warning"])
                elif "ready" not in said:
                    return dict(said)
        except BrokenPipeError:
            pass
        finally:
            deadline.end()
        return {"error": "late" if deadline.passed else ended, "after_s": deadline.budget_s}


class _Deadline:
    """Kills a process that takes too long; a pipe has no time limit that works on every system."""

    def __init__(self, process: subprocess.Popen[str], budget_s: float) -> None:
        self._process, self.budget_s = process, budget_s
        self.passed = False
        self._timer = self._started()

    def set(self, budget_s: float) -> None:
        self._timer.cancel()
        self.budget_s = budget_s
        self._timer = self._started()

    def _started(self) -> threading.Timer:
        timer = threading.Timer(self.budget_s, self._kill)
        timer.daemon = True
        timer.start()
        return timer

    def end(self) -> None:
        self._timer.cancel()
        self._timer.join()

    def _kill(self) -> None:
        self.passed = True
        self._process.kill()


@functools.cache
def shared_sandbox() -> Sandbox:
    """Return the one of this program: starting it costs ten times what reading a usual file does."""
    sandbox = Sandbox()
    atexit.register(sandbox.close)
    return sandbox


@contextlib.contextmanager
def _shared_file(size: int) -> Iterator[Path]:
    # Text grows most: "0," becomes eight bytes, and there may be a second stream.
    roomy = _SHARED.is_dir() and os.access(_SHARED, os.W_OK) and shutil.disk_usage(_SHARED).free > 10 * size
    handle, name = tempfile.mkstemp(prefix="bci-recording-", dir=_SHARED if roomy else None)
    os.close(handle)
    try:
        yield Path(name)
    finally:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(name)


def _found(answer: dict[str, Any], out: Path) -> Found:
    channels = tuple(
        Channel(name, Kind(kind), unit, None if place is None else (place[0], place[1], place[2]), scale)
        for name, kind, unit, place, scale in answer["channels"]
    )
    return Found(
        _mapped(out, tuple(answer["shape"]), np.dtype(answer["dtype"])),
        StreamInfo(channels=channels, **answer["info"]),
        [Event(*event) for event in answer["events"]],
        [Cut(row, offset, lost, Flag(flags), cause) for row, offset, lost, flags, cause in answer["cuts"]],
    )


def _mapped(path: Path, shape: tuple[int, ...], dtype: np.dtype[Any]) -> NDArray[Any]:
    if not np.prod(shape):
        return np.empty(shape, dtype)
    if os.name != "posix":  # a file that is mapped cannot be deleted there
        return np.fromfile(path, dtype).reshape(shape)
    with path.open("rb") as file:
        return np.frombuffer(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ), dtype).reshape(shape)


def _raise(answer: dict[str, Any], request: Request) -> Found:
    kind, message = answer["error"], answer["message"]
    if kind == "FormatError":
        raise FormatError(
            message, path=str(request.path), where=answer.get("where", ""), readable=answer.get("readable", "")
        )
    found = getattr(errors, kind)
    assert issubclass(found, BciError)
    raise found(message)


def _broken(request: Request, answer: dict[str, Any], code: int | None) -> FormatError:
    size = f"its {request.size / 1e6:.1f} MB"
    if answer["error"] in ("crash", "gone"):
        what = f"its reader crashed (exit code {code})"
    elif answer["error"] == "late":
        what = f"reading {size} was not over after {answer['after_s']:.0f} s"
    else:
        what = f"{size} ask for more than {max(_MEMORY, 10 * request.size) / 1e6:.0f} MB of memory"
    return FormatError(
        f"expected a recording at {request.path} that can be read, but {what}; it is damaged: take another copy; "
        f"if you know it to be whole, convert it to FIF or EDF",
        path=str(request.path),
    )
