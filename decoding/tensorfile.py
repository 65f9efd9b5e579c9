"""Arrays and a manifest in one file that shows every damage: safetensors, written in one canonical way.

Safetensors itself has no checksum. Here the header carries a manifest with a
SHA-256 over manifest and arrays, and the bytes of the header must be exactly
those this module would write; so no bit of the file is left unchecked. The hash
protects against damage, not against someone who wants to deceive.

References
----------
.. [1] Safetensors format, https://github.com/huggingface/safetensors (header length, JSON header, data).
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bci.errors import DataError, FormatError

_CODES: dict[str, np.dtype[Any]] = {
    "F64": np.dtype("<f8"),
    "F32": np.dtype("<f4"),
    "I64": np.dtype("<i8"),
    "I32": np.dtype("<i4"),
    "U8": np.dtype("u1"),
    "BOOL": np.dtype("?"),
}
_MAX_HEADER = 16 * 2**20


def write_tensors(path: Path, manifest: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]) -> None:
    """Write `arrays` and `manifest`, whole or not at all.

    Parameters
    ----------
    path : Path
        File to write; an older one is replaced once the new one is complete on disk.
    manifest : mapping
        Plain JSON values; ``sha256`` is added.
    arrays : mapping of str to ndarray
        Floats of 32 or 64 bits, integers of 32 or 64 bits, bytes or booleans.

    Raises
    ------
    DataError
        If an array or the manifest cannot be written in this format.
    """
    tidy = {name: _tidy(name, np.asarray(arrays[name])) for name in sorted(arrays)}
    try:
        plain = json.loads(json.dumps(manifest, allow_nan=False))
    except (TypeError, ValueError) as error:
        raise DataError(f"a manifest needs plain, finite values, got one that is not ({error}); convert it") from error
    plain["sha256"] = _digest(plain, tidy)
    content = _header(plain, tidy) + b"".join(a.tobytes() for a in tidy.values())
    part = path.with_name(path.name + ".part")
    try:
        with part.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)


def read_tensors(path: Path) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
    """Return (manifest, arrays) of a file made by `write_tensors`.

    Raises
    ------
    FormatError
        If the file is of another format or has any damage.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise FormatError(
            f"expected a readable model file, got {path.name}: {error.strerror}; check the path"
        ) from error
    try:
        header, body = _split(content)
        manifest = json.loads(header["__metadata__"]["manifest"])
        arrays = {k: _array(v, body) for k, v in header.items() if k != "__metadata__"}
        digest = manifest["sha256"]
        intact = content == _header(manifest, arrays) + b"".join(arrays[k].tobytes() for k in sorted(arrays))
        intact = intact and digest == _digest(manifest, arrays)
    except (ValueError, KeyError, TypeError, AttributeError, IndexError, RecursionError, OverflowError) as error:
        raise (_foreign(path) if _looks_like_code(content) else _damaged(path)) from error
    if not intact:
        raise _damaged(path)
    return manifest, arrays


def _looks_like_code(content: bytes) -> bool:
    # A header's length may begin with the same byte as pickle (0x80) or zlib (0x78); its JSON tells it apart.
    return content[8:9] != b"{" and (content[:1] in (b"\x80", b"\x78") or content[:2] == b"PK")


def _foreign(path: Path) -> FormatError:
    return FormatError(
        f"expected a model in safetensors form, got {path.name}, which looks like pickle, joblib or torch; "
        "such files can run code and are never opened: save it with bci.decoding.passport.save"
    )


def _damaged(path: Path) -> FormatError:
    return FormatError(
        f"expected an undamaged model file, got {path.name}, whose content does not fit its hash or its format; "
        "take a good copy or train again"
    )


def _tidy(name: str, array: NDArray[Any]) -> NDArray[Any]:
    little = array.dtype.newbyteorder("<")
    if little not in _CODES.values() or name == "__metadata__":
        known = ", ".join(str(d) for d in _CODES.values())
        raise DataError(f"an array needs one of the types {known}, got {name!r} of {array.dtype}; convert it")
    return np.ascontiguousarray(array, dtype=little).reshape(array.shape)


def _digest(manifest: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]) -> str:
    digest = hashlib.sha256(_json({k: v for k, v in manifest.items() if k != "sha256"}))
    for name in sorted(arrays):
        digest.update(_json([name, arrays[name].dtype.str, list(arrays[name].shape)]))
        digest.update(arrays[name].tobytes())
    return digest.hexdigest()


def _header(manifest: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]) -> bytes:
    codes = {dtype: code for code, dtype in _CODES.items()}
    entries: dict[str, Any] = {"__metadata__": {"manifest": _json(manifest).decode()}}
    offset = 0
    for name in sorted(arrays):
        array = arrays[name]
        entries[name] = {
            "dtype": codes[array.dtype],
            "shape": list(array.shape),
            "data_offsets": [offset, offset + array.nbytes],
        }
        offset += array.nbytes
    text = json.dumps(entries, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text


def _split(content: bytes) -> tuple[dict[str, Any], bytes]:
    length = int.from_bytes(content[:8], "little")
    if not 2 <= length <= min(_MAX_HEADER, len(content) - 8):
        raise ValueError("the header is longer than the file")
    header: dict[str, Any] = json.loads(content[8 : 8 + length])
    return header, content[8 + length :]


def _array(entry: Mapping[str, Any], body: bytes) -> NDArray[Any]:
    begin, end = entry["data_offsets"]
    dtype: np.dtype[Any] = _CODES[entry["dtype"]]
    array: NDArray[Any] = np.frombuffer(body[begin:end], dtype).reshape(entry["shape"]).copy()
    if entry["dtype"] == "BOOL" and (array.view(np.uint8) > 1).any():
        raise ValueError("a boolean is 0 or 1")
    return array


def _json(value: Any) -> bytes:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False).encode()
