"""Check what a header claims against the size of its file, before a reader believes it."""

from __future__ import annotations

import mmap
import struct
from pathlib import Path
from typing import NoReturn

from bci.errors import FormatError


def check(path: Path) -> None:
    """Raise `FormatError` if the header of `path` claims what the file cannot hold.

    Only what makes MNE hang or ask for memory without end is looked at: the chain of tags of FIF, the numbers of
    channels, records and events of GDF, those of channels and samples of CNT.
    """
    if path.suffix.lower() not in (".fif", ".gdf", ".cnt") or not path.is_file():
        return
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        {".fif": _check_fif, ".gdf": _check_gdf, ".cnt": _check_cnt}[path.suffix.lower()](content, path)


def resembles(begin: bytes) -> str:
    """Say what a file that begins so may be; a folder, if it has no bytes."""
    known = {b"\x89PNG": "a picture", b"PK": "an archive", b"GDF": "a GDF file", b"0       ": "an EDF file",
             b"Brain Vi": "a BrainVision header", b"MATLAB 5": "an EEGLAB or MATLAB file",
             b"Version ": "a CNT file"}  # fmt: skip
    found = [what for start, what in known.items() if begin.startswith(start)]
    return found[0] if found else f"something that begins with {begin!r}" if begin else "a folder"


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
    size = len(content)
    if size < 256:
        _refuse(path, size, "a header of 256 bytes", f"{size} bytes")
    is_old = content[4:8] < b"1.90"
    n_header = struct.unpack_from("<q" if is_old else "<H", content, 184)[0] * (1 if is_old else 256)
    (n_records,) = struct.unpack_from("<q", content, 236)
    (n_channels,) = struct.unpack_from("<I" if is_old else "<H", content, 252)
    if n_header != 256 * (n_channels + 1) and (is_old or n_header < 256 * (n_channels + 1)):
        _refuse(path, 184, f"a header of {256 * (n_channels + 1)} bytes for {n_channels} channels", f"{n_header} bytes")
    if n_header > size or n_records > size:
        _refuse(path, 236, f"what {size} bytes can hold", f"{n_records} records of {n_channels} channels")


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
