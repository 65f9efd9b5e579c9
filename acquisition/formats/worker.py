"""The process that reads recordings: whatever a damaged file does to it, it does not do to the program.

One line of JSON comes in for each file; lines with progress and warnings and one with the result go out.
The samples go into a file that the other side has made.
"""

from __future__ import annotations

import contextlib
import ctypes
import importlib
import json
import math
import mmap
import os
import select
import signal
import sys
from pathlib import Path
from typing import Any, TextIO

import numpy as np
from numpy.typing import DTypeLike, NDArray

from bci.acquisition.formats.found import Found, Settings
from bci.acquisition.formats.plausible import in_short
from bci.errors import BciError, DeviceError, FormatError

IDLE_S = 120.0
"""A reader that nobody needs for so long ends; the next recording starts another, s."""


class _Room:
    """The array for the samples, in a file that both processes map."""

    def __init__(self, path: str, most: int, say: TextIO) -> None:
        self._path, self._most, self._say = path, most, say
        self._said = 0.0

    def array(self, shape: tuple[int, int], dtype: DTypeLike = np.float64) -> NDArray[Any]:
        dtype = np.dtype(dtype)
        size = math.prod(shape) * dtype.itemsize
        if not size:
            return np.empty(shape, dtype)
        with contextlib.suppress(
            AttributeError, OSError, TypeError
        ):  # what the reader gave back, where the C library is glibc
            ctypes.CDLL(None).malloc_trim(0)
        if size > self._most:  # the file that takes them would grow without a limit
            raise MemoryError
        with open(self._path, "r+b") as file:
            try:
                # Writing to a mapped file on a full disk kills the process: take the room before.
                if hasattr(os, "posix_fallocate"):
                    os.posix_fallocate(file.fileno(), 0, size)
                else:
                    file.truncate(size)
            except OSError as error:
                raise DeviceError(
                    f"a recording needs {size / 1e6:.0f} MB of room to be read into, at {self._path} there is less: "
                    f"{error.strerror}; free some, or set TMPDIR to a place with more"
                ) from error
            return np.frombuffer(mmap.mmap(file.fileno(), size), dtype).reshape(shape)

    def progress(self, done: float) -> None:
        if done >= self._said + 0.02:
            self._said = done
            _send(self._say, {"progress": done})

    def warn(self, text: str) -> None:
        _send(self._say, {"warning": text})

    def library(self, name: str) -> None:
        if name not in sys.modules:
            _send(self._say, {"importing": name})
            _limit(None)
            importlib.import_module(name)
            _limit(self._most)
            _send(self._say, {"begun": True})


def main() -> None:
    """Read what is asked for until the other side closes."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl+C is for the program, which ends this by closing
    if os.name == "posix":
        import resource

        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # a crash is expected, and an image of it takes seconds
    say = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # what libraries print must not stand among the answers
    _send(say, {"ready": True})
    with contextlib.suppress(BrokenPipeError):
        while line := _next_line():
            _send(say, _answer(json.loads(line), say))


def _next_line() -> str:
    if os.name == "posix" and not select.select([sys.stdin], [], [], IDLE_S)[0]:
        return ""
    return sys.stdin.readline()


def _answer(asked: dict[str, Any], say: TextIO) -> dict[str, Any]:
    room = _Room(asked["out"], asked["memory"], say)
    settings = dict(asked["settings"])
    settings["ch_names"] = None if settings["ch_names"] is None else tuple(settings["ch_names"])
    path = Path(asked["path"])
    try:
        os.chdir(asked["folder"])  # where a relative path begins
        reader = importlib.import_module(f"bci.acquisition.formats.{asked['reader']}")
        if hasattr(reader, "prepare"):
            reader.prepare()
        _limit(asked["memory"])
        _send(say, {"begun": True})
        return _described(reader.read(path, Settings(**settings), room))
    except FormatError as error:
        return {"error": "FormatError", "message": str(error), "where": error.where, "readable": error.readable}
    except BciError as error:
        return {"error": type(error).__name__, "message": str(error)}
    except MemoryError:
        return {"error": "MemoryError"}
    except Exception as error:  # noqa: BLE001 - a reader that met what its author did not think of
        got = f"{type(error).__name__} ({in_short(error)}) from its reader"
        return {
            "error": "FormatError",
            "message": f"expected a recording at {path} that can be read, got {got}; take another copy, or convert it",
        }
    finally:
        _limit(None)


def _limit(more: int | None) -> None:
    """Let this process grow by `more` bytes; None: as much as it likes. Where /proc is, that is, on Linux."""
    statm = Path("/proc/self/statm")
    if not statm.exists():
        return
    import resource

    hard = resource.getrlimit(resource.RLIMIT_AS)[1]
    held = int(statm.read_text(encoding="ascii").split()[0]) * resource.getpagesize()
    soft = hard if more is None else held + more
    resource.setrlimit(resource.RLIMIT_AS, (soft if hard == resource.RLIM_INFINITY else min(soft, hard), hard))


def _described(found: Found) -> dict[str, Any]:
    info = found.info
    return {
        "shape": found.data.shape,
        "dtype": found.data.dtype.str,
        "info": {"name": info.name, "sfreq": info.sfreq, "source_id": info.source_id, "meta": dict(info.meta)},
        "channels": [[c.name, c.kind.value, c.unit, c.position, c.scale] for c in info.channels],
        "events": [[int(e.sample), float(e.time), e.code, e.source] for e in found.events],
        "cuts": [[c.row, c.offset, c.lost, int(c.flags), c.cause] for c in found.cuts],
    }


def _send(say: TextIO, message: dict[str, Any]) -> None:
    say.write(json.dumps(message) + "\n")
    say.flush()


if __name__ == "__main__":
    main()
