"""Check what a header claims against the size of its file, before a reader believes it."""

from __future__ import annotations

import mmap
import re
import struct
from pathlib import Path
from typing import NoReturn

from bci.acquisition.formats.mat_tree import check_mat
from bci.errors import FormatError

MOST = 8
"""Largest size of the samples, in sizes of the file: more comes of a damaged header or of rates that do not fit."""
_LONG, _GLIMPSE = 300, 16
"""Most characters of what a library says, and of what it quotes of a file that is no text."""
_FEW_ODD = 0.05
_ODD = re.compile(r"\\(x[0-9a-f]{2}|u[0-9a-f]{4}|U[0-9a-f]{8})")
_GDF_WIDTHS = {1: 1, 2: 1, 3: 2, 4: 2, 5: 4, 6: 4, 7: 8, 8: 8, 16: 4, 17: 8}
"""Bytes of the types of numbers: signed and unsigned ones of 8 to 64 bits, single and double precision."""


def check(path: Path) -> None:
    """Raise `FormatError` if the header of `path` claims what the file cannot hold.

    Only what makes MNE hang or ask for memory without end is looked at: the chain of tags of FIF, the numbers of
    channels, records, samples and events of GDF, those of channels and samples of CNT, the arrays of EEGLAB.
    """
    checks = {".fif": _check_fif, ".gdf": _check_gdf, ".cnt": _check_cnt, ".set": check_mat}
    if path.suffix.lower() not in checks or not path.is_file():
        return
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        checks[path.suffix.lower()](content, path)


def resembles(begin: bytes) -> str:
    """Say what a file that begins so may be; a folder, if it has no bytes."""
    known = {b"\x89PNG": "a picture", b"PK": "an archive", b"GDF": "a GDF file", b"0       ": "an EDF file",
             b"Brain Vi": "a BrainVision header", b"MATLAB 5": "an EEGLAB or MATLAB file",
             b"Version ": "a CNT file"}  # fmt: skip
    found = [what for start, what in known.items() if begin.startswith(start)]
    return found[0] if found else f"something that begins with {begin!r}" if begin else "a folder"


def in_short(error: Exception) -> str:
    """Return what a library says of a file; what it quotes of bytes that are no text is escaped, and cut soon."""
    text = " ".join(str(error).split()).rstrip(".") or type(error).__name__
    plain = text.encode("ascii", "backslashreplace").decode()
    begins = [odd.start() for odd in _ODD.finditer(plain)]
    if len(begins) <= _FEW_ODD * len(text):  # a name with an umlaut is text
        return "".join(c if c.isprintable() else "?" for c in text[:_LONG])
    return f"{plain[: min(_LONG, begins[0] + _GLIMPSE)]}..."


def _refuse(path: Path, at: int, expected: str, got: str, readable: str = "") -> NoReturn:
    raise FormatError(
        f"expected {expected} at byte {at} of {path}, got {got}; it is damaged: take another copy",
        where=f"byte {at}", readable=readable,
    )  # fmt: skip


def _check_fif(content: mmap.mmap, path: Path) -> None:
    """Follow the tags, each with kind, type, size and where the next is (0: right behind, -1: nowhere)."""
    at, size = 0, len(content)
    while at + 16 <= size:
        n, following = struct.unpack_from(">ii", content, at + 8)
        end = at + 16 + n
        if n < 0 or end > size:
            _refuse(
                path, at, f"a tag within the {size} bytes of the file", f"one of {n} bytes", f"{at} bytes before it"
            )
        if following < 0:
            return
        if 0 < following < end:  # a chain that comes back never ends
            _refuse(path, at, "a tag that is followed by one behind it", f"byte {following} as the next")
        at = following or end


def _check_gdf(content: mmap.mmap, path: Path) -> None:
    """Hold the header, the size of the records and the table of events against the size of the file.

    The layout is of A. Schlögl, GDF: a general dataformat for biosignals, arXiv:cs/0608052.
    """
    size = len(content)
    if size < 256:
        _refuse(path, size, "a header of 256 bytes", f"{size} bytes")
    is_old = content[4:8] < b"1.90"
    n_header = struct.unpack_from("<q" if is_old else "<H", content, 184)[0] * (1 if is_old else 256)
    (n_records,) = struct.unpack_from("<q", content, 236)
    (n_channels,) = struct.unpack_from("<I" if is_old else "<H", content, 252)
    if n_header != 256 * (n_channels + 1) and (is_old or n_header < 256 * (n_channels + 1)):
        _refuse(path, 184, f"a header of {256 * (n_channels + 1)} bytes for {n_channels} channels", f"{n_header} bytes")
    if n_header > size or not 0 < n_records <= size:
        _refuse(path, 236, f"what {size} bytes can hold", f"{n_records} records of {n_channels} channels")
    record_bytes = _gdf_record(content, path, n_records, n_channels)
    end = n_header + n_records * record_bytes
    if end > size:
        whole = (size - n_header) // record_bytes
        _refuse(path, 236, f"{n_records} records of {record_bytes} bytes", f"{whole} whole ones", f"{whole} records")
    if size - end >= 8:
        _check_gdf_events(content, path, end)


def _gdf_record(content: mmap.mmap, path: Path, n_records: int, n_channels: int) -> int:
    """Return the bytes of a record, once samples of all channels at the fastest rate are known to be few enough."""
    at = 256 + 216 * n_channels  # the same place in all versions
    counts = struct.unpack_from(f"<{n_channels}i", content, at)
    kinds = struct.unpack_from(f"<{n_channels}i", content, at + 4 * n_channels)
    for k, (count, kind) in enumerate(zip(counts, kinds, strict=True)):
        if count < 0:
            _refuse(path, at + 4 * k, "a number of samples in a record", str(count))
        if kind not in _GDF_WIDTHS:
            where = at + 4 * (n_channels + k)
            _refuse(path, where, f"a type of number that is read ({', '.join(map(str, _GDF_WIDTHS))})", str(kind))
    record_bytes = sum(count * _GDF_WIDTHS[kind] for count, kind in zip(counts, kinds, strict=True))
    if not record_bytes:
        _refuse(path, at, "samples in a record", "none")
    grown = 8 * n_records * max(counts) * n_channels
    if grown > MOST * max(len(content), 1 << 20):
        raise FormatError(
            f"expected channels of similar rates in {path}, got {min(counts)} to {max(counts)} samples in a record, "
            f"which would take {grown / 1e6:.0f} MB; the header is damaged, or split the file by rate",
            where=f"byte {at}",
        )
    return record_bytes


def _check_gdf_events(content: mmap.mmap, path: Path, at: int) -> None:
    mode = content[at]
    if content[4:8] < b"1.94":
        (n_events,) = struct.unpack_from("<I", content, at + 4)
    else:
        n_events = int.from_bytes(content[at + 1 : at + 4], "little")
    if n_events and mode not in (1, 3):  # MNE leaves them all out, or reads them as of mode 1
        _refuse(path, at, "a table of events in mode 1 or 3", f"mode {mode}", "the samples")
    n_bytes = n_events * (12 if mode == 3 else 6)  # sample and code; in mode 3 channel and duration too
    room = len(content) - at - 8
    if n_bytes > room:
        _refuse(path, at, f"events that fit into {room} bytes", f"{n_events} of them", "the samples")


def _check_cnt(content: mmap.mmap, path: Path) -> None:
    size = len(content)
    if size < 900:
        _refuse(path, size, "a header of 900 bytes", f"{size} bytes")
    (n_channels,) = struct.unpack_from("<H", content, 370)
    (n_samples,) = struct.unpack_from("<i", content, 864)
    if not 0 < n_channels <= (size - 900) // 75:
        _refuse(path, 370, "a number of channels that are described in the file", str(n_channels))
    if n_samples * n_channels * 2 > size:
        _refuse(path, 864, f"samples of {n_channels} channels that fit into {size} bytes", f"{n_samples} of them")
