"""NumPy arrays as recordings.

``.npy`` holds an array of shape (n_samples, n_channels); rate, names and unit are given by the caller.
``.npz`` holds ``data`` of that shape and may hold ``sfreq`` (Hz), ``ch_names``, ``unit``, ``times`` (s, one for each
sample) and ``event_samples`` with ``event_codes``.
"""

from __future__ import annotations

import io
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from bci.acquisition.formats.columns import checked_rate, described, timed
from bci.acquisition.formats.found import Cut, Found, Room, Settings, copy_rows
from bci.acquisition.formats.time_units import in_seconds
from bci.errors import FormatError
from bci.stream import Event

_KEYS = ("data", "sfreq", "ch_names", "unit", "times", "event_samples", "event_codes")


def read(path: Path, settings: Settings, room: Room) -> Found:
    """Read an array, or an archive of arrays.

    Raises
    ------
    FormatError
        If the file is damaged, holds no table of numbers, or its rate is not known.
    """
    if zipfile.is_zipfile(path):
        return _found(_archive(path), path, settings, room)
    with path.open("rb") as file:
        shape, dtype, in_columns = _header(file, path.stat().st_size, str(path))
        start = file.tell()
    data = np.memmap(path, dtype, "r", start, shape, "F" if in_columns else "C")
    return _found({"data": data}, path, settings, room)


def _header(file: BinaryIO, size: int, where: str) -> tuple[tuple[int, ...], np.dtype[Any], bool]:
    """Read how the array is stored; `FormatError` if the rest of the file is of another size."""
    try:
        version = np.lib.format.read_magic(file)
        readers = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
        if version not in readers:
            raise ValueError(f"version {version}")
        shape, in_columns, dtype = readers[version](file)
    except (ValueError, EOFError, SyntaxError, TypeError, UnicodeDecodeError, RecursionError) as error:
        why = " ".join(str(error).split())[:200]
        raise FormatError(
            f"expected a NumPy array in {where}, got a header that is none ({why}); take another copy", where="byte 0"
        ) from error
    expected = dtype.itemsize * int(np.prod([int(n) for n in shape], dtype=object)) if shape else dtype.itemsize
    if dtype.hasobject or expected != size - file.tell():
        what = "Python objects" if dtype.hasobject else f"{expected} bytes for shape {shape} of {dtype}"
        raise FormatError(
            f"expected the array in {where} to be what its header says, {what}, got {size - file.tell()} bytes; "
            f"take another copy, or save numbers",
            where=f"byte {file.tell()}", readable=f"{(size - file.tell()) // max(1, dtype.itemsize)} numbers",
        )  # fmt: skip
    return shape, dtype, in_columns


def _archive(path: Path) -> dict[str, NDArray[Any]]:
    """Return the arrays of an .npz file; each has a checksum there."""
    found = {}
    try:
        with zipfile.ZipFile(path) as archive:
            names = {n.removesuffix(".npy"): n for n in archive.namelist()}
            for key in _KEYS:
                if key not in names:
                    continue
                content = archive.read(names[key])
                file = io.BytesIO(content)
                shape, dtype, in_columns = _header(file, len(content), f"{key!r} of {path}")
                found[key] = np.frombuffer(content, dtype, offset=file.tell()).reshape(
                    shape, order="F" if in_columns else "C"
                )
    except FormatError:  # a ValueError that says what is wrong already
        raise
    except (zipfile.BadZipFile, zlib.error, EOFError, OSError, NotImplementedError, RuntimeError, ValueError) as error:
        raise FormatError(
            f"expected an archive of NumPy arrays at {path}, got a damaged one ({error}); take another copy",
            readable=", ".join(found),
        ) from error
    if "data" not in found:
        raise FormatError(f"expected an array 'data' in {path}, got {', '.join(sorted(names)) or 'none'}; save it so")
    return found


def _found(arrays: Mapping[str, NDArray[Any]], path: Path, settings: Settings, room: Room) -> Found:
    data = arrays["data"]
    data = data[:, None] if data.ndim == 1 else data
    if data.ndim != 2 or not data.size or data.dtype.kind not in "iufb":
        raise FormatError(
            f"expected numbers of shape (n_samples, n_channels) in {path}, got {data.dtype} of shape {data.shape}; "
            f"samples are rows"
        )
    names = settings.ch_names or _texts(arrays.get("ch_names")) or [f"ch{k + 1}" for k in range(data.shape[1])]
    if len(names) != data.shape[1]:
        raise FormatError(
            f"expected a name for each of the {data.shape[1]} columns of {path}, got {len(names)} names; samples are "
            f"rows, channels are columns"
        )
    sfreq, cuts = _rate(arrays, len(data), path, settings, room)
    unit = "".join(_texts(arrays.get("unit")) or [])
    scale, info = described(list(names), sfreq, settings, unit, path)
    target = room.array(data.shape)
    copy_rows(target, len(data), lambda first, last: data[first:last] * scale, room)
    return Found(target, info, _events(arrays, len(data), path), cuts)


def _rate(
    arrays: Mapping[str, NDArray[Any]], n: int, path: Path, settings: Settings, room: Room
) -> tuple[float, list[Cut]]:
    said = settings.sfreq if settings.sfreq is not None else _number(arrays.get("sfreq"))
    times = arrays.get("times")
    if times is not None and times.shape == (n,) and times.dtype.kind in "iuf":
        seconds = in_seconds(times.astype(np.float64), "times", replace(settings, sfreq=said), path, room.warn)
        return timed(seconds, said, path, room.warn)
    if times is not None:
        raise FormatError(f"expected {n} times in {path}, one for each sample, got shape {times.shape}; save them so")
    if said is None:
        raise FormatError(f"expected the sampling rate of {path}, it does not say one; give it as sfreq=HZ")
    return checked_rate(said, path), [Cut(0, 0)]


def _number(array: NDArray[Any] | None) -> float | None:
    return float(array.item()) if array is not None and array.size == 1 and array.dtype.kind in "iuf" else None


def _texts(array: NDArray[Any] | None) -> list[str] | None:
    return [str(t) for t in np.atleast_1d(array)] if array is not None and array.dtype.kind == "U" else None


def _events(arrays: Mapping[str, NDArray[Any]], n: int, path: Path) -> list[Event]:
    rows = arrays.get("event_samples")
    if rows is None:
        return []
    codes = arrays.get("event_codes")
    codes = np.full(len(rows), "event") if codes is None and rows.ndim == 1 else codes
    if codes is None or rows.ndim != 1 or codes.shape != rows.shape or rows.dtype.kind not in "iu":
        raise FormatError(f"expected as many whole event_samples as event_codes in {path}; save them as two lists")
    outside = [int(row) for row in rows if not 0 <= row < n]
    if outside:
        raise FormatError(
            f"expected event_samples from 0 to {n - 1} in {path}, got {outside[0]}; they are rows of data",
            where=f"sample {outside[0]}",
        )
    return [Event(int(row), 0.0, str(code), "event_codes") for row, code in zip(rows, codes, strict=True)]
