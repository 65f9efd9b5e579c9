"""Load a recording, whatever its format, as contiguous parts."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

from bci.acquisition.formats.found import Found, Settings
from bci.acquisition.formats.neutral import format_word, neutral_name
from bci.acquisition.formats.part import Part
from bci.acquisition.formats.plausible import resembles
from bci.acquisition.formats.sandbox import Request, shared_sandbox
from bci.errors import ConfigError, DeviceNotFound, FormatError
from bci.stream import Event

__all__ = ["Part", "load"]

_log = logging.getLogger(__name__)

_BEGINS = {
    b"XDF:": "xdf",
    b"0       ": "edf",
    b"\xffBIOSEMI": "edf",
    b"\x93NUMPY": "numpy_files",
    b"%OpenBCI": "openbci",
}
"""How files begin, whatever their names say."""
_ENDS = {
    ".xdf": "xdf", ".xdfz": "xdf", ".edf": "edf", ".bdf": "edf", ".npy": "numpy_files", ".npz": "numpy_files",
    ".csv": "csv_files", ".tsv": "csv_files",
}  # fmt: skip

_HEARD = {
    "stream": ("xdf",),
    "sfreq": ("csv_files", "numpy_files", "openbci"),
    "ch_names": ("csv_files", "numpy_files"),
    "unit": ("csv_files", "numpy_files"),
    "time_unit": ("csv_files", "numpy_files"),
}
"""Who takes a setting."""
_WORDS = {"xdf": "XDF", "csv_files": "CSV", "numpy_files": "NumPy", "openbci": "OpenBCI"}


def load(
    path: Path,
    stream: str | None = None,
    *,
    sfreq: float | None = None,
    ch_names: Sequence[str] | None = None,
    unit: str | None = None,
    time_unit: str | None = None,
    salvage: bool = False,
    progress: Callable[[float], None] = lambda _: None,
) -> list[Part]:
    """Return the parts of a recording, by time.

    Parameters
    ----------
    path : Path
        File (or folder, for formats that are one).
    stream : str, optional
        Name of the stream in an XDF file; the first with EEG by default.
    sfreq : float, optional
        Sampling rate of a CSV or NumPy file that does not say it, Hz.
    ch_names : sequence of str, optional
        Channel names of a NumPy file that does not say them; the columns to take of a CSV file.
    unit : str, optional
        Unit of the numbers of a CSV or NumPy file; µV by default.
    time_unit : {"s", "ms", "us", "ns"}, optional
        Unit of the times in a CSV or NumPy file, where the name of their column does not say it.
    salvage : bool, default=False
        Read what is whole of a damaged file (XDF, CSV, OpenBCI, EDF) instead of refusing it.
    progress : callable, optional
        Told how much is read, 0 to 1.

    Raises
    ------
    ConfigError
        If a setting is given that the format does not take.
    DeviceNotFound
        If there is no such file.
    FormatError
        If the file is damaged or of an unknown format, or has no such stream.

    Notes
    -----
    Files are read by a process of their own, which is kept for the next one: on Linux it may take 256 MB or ten
    times the size of the file, everywhere 4 s and 0.5 s for each MB above eight. A damaged file can make a reader
    hang, crash or ask for any amount of memory; here that is a `FormatError`.

    Neither the name of the file nor what its header says of a person becomes part of what is returned: a recording
    is called by its format and a hash of its samples, streams of XDF by their own names.
    """
    if not path.exists():
        raise DeviceNotFound(f"expected a recording at {path}, there is no such file; check the path")
    is_file = path.is_file()
    try:
        begin = path.open("rb").read(8) if is_file else b""
        size = _size(path)
    except OSError as error:
        raise FormatError(
            f"expected a recording at {path}, could not read it: {error.strerror}; check your rights to it",
            path=str(path),
        ) from error
    if is_file and not begin:
        raise FormatError(f"expected a recording at {path}, got an empty file; take another copy", path=str(path))
    names = None if ch_names is None else tuple(ch_names)
    settings = Settings(stream, sfreq, names, unit, time_unit, salvage)
    reader = _reader(path, begin)
    _check_settings(settings, reader, path)
    request = Request(path, reader, size, settings)
    return _parts(shared_sandbox().read(request, progress, _log.warning), format_word(path, reader))


def _reader(path: Path, begin: bytes) -> str:
    """Return the module that reads `path`."""
    ending = path.suffix.lower()
    for start, reader in _BEGINS.items():
        if begin.startswith(start):
            return reader
    if ending in (".xdf", ".xdfz", ".edf", ".bdf", ".npy") and not begin.startswith(b"\x1f\x8b"):
        raise FormatError(
            f"expected {ending[1:].upper()} in {path}, got {resembles(begin)}; "
            f"give it the name that fits, or take another copy",
            path=str(path), where="byte 0",
        )  # fmt: skip
    return _ENDS.get(ending, "mne_files")


def _check_settings(settings: Settings, reader: str, path: Path) -> None:
    """Refuse what the format says itself, rather than leave it unheard."""
    for name, readers in _HEARD.items():
        if getattr(settings, name) is not None and reader not in readers:
            raise ConfigError(
                f"{name} is for {' and '.join(_WORDS[r] for r in readers)} files, got {getattr(settings, name)!r} for "
                f"{path}, which says it itself; leave it out"
            )


def _size(path: Path) -> int:
    """Return the bytes of a recording, with the files beside it that belong to it."""
    if path.is_dir():
        return sum(p.stat().st_size for p in path.rglob("*") if p.is_file())
    # BrainVision, EEGLAB, Curry and split FIF files keep the samples in others that begin with the same name.
    stem = _escaped(path.stem)
    beside = [p for end in (".*", "-[0-9]*") for p in path.parent.glob(stem + end) if p.is_file()]
    return sum(p.stat().st_size for p in {path, *beside})


def _escaped(stem: str) -> str:
    return "".join(f"[{c}]" if c in "*?[" else c for c in stem)


def _parts(found: Found, word: str) -> list[Part]:
    name = neutral_name(word, found.data)
    info = replace(found.info, name=found.info.name or name, source_id=name)
    cuts = list(found.cuts)
    rows = [*(c.row for c in cuts), len(found.data)]
    parts = [
        Part(found.data[first:last], info, (), cut.offset, cut.lost, cut.flags, cut.cause)
        for (first, last), cut in zip(pairwise(rows), cuts, strict=True)
    ]
    which = 0
    for event in sorted(found.events, key=lambda e: e.sample):
        while which + 1 < len(cuts) and event.sample >= cuts[which + 1].row:
            which += 1
        parts[which].events.append(Event(event.sample - cuts[which].row, event.time, event.code, event.source))
    return parts
