"""Check the elements of a MATLAB 5 file against one another, before a reader believes them."""

from __future__ import annotations

import math
import mmap
import struct
from pathlib import Path
from typing import NoReturn

from bci.errors import FormatError

_WIDTHS = {1: 1, 2: 1, 3: 2, 4: 2, 5: 4, 6: 4, 7: 4, 9: 8, 12: 8, 13: 8, 14: 1, 15: 1, 16: 1, 17: 2, 18: 4}
"""Bytes of a value of each type of element."""
_MATRIX, _COMPRESSED = 14, 15
_CELL, _STRUCT, _OBJECT, _CHAR, _SPARSE, _FUNCTION, _OPAQUE = 1, 2, 3, 4, 5, 16, 17
_NUMBERS = range(6, 16)
_WHOLE = (5, 6)
"""Signed, as the format has it, and unsigned, as some programs write it."""
_DEEPEST = 20
"""How many arrays may lie in one another."""


def check_mat(content: mmap.mmap, path: Path) -> None:
    """Raise `FormatError` where an element does not fit into the one around it, or an array says what it has not.

    SciPy, which MNE reads EEGLAB files with, takes lengths as they are and crashes on some. What is compressed is not
    looked at: it carries a checksum. Files of MATLAB 4 and 7.3 have none of this.

    References
    ----------
    .. [1] The MathWorks. MAT-File Format, "Level 5 MAT-File Format".
    """
    order = content[126:128]
    if order not in (b"IM", b"MI"):
        if content[:10] == b"MATLAB 5.0":
            raise _refused(path, 126, "the order of bytes, IM or MI", repr(order))
        return
    if content[125 if order == b"IM" else 124] != 1 or 0 in content[:4]:
        return
    tree = _Tree(content, path, "<" if order == b"IM" else ">")
    at = 128
    while at + 8 <= len(content):
        kind, first, n, following = tree.element(at, len(content))
        if kind == _MATRIX:
            tree.matrix(first, first + n, 1)
        at = first + n if kind == _COMPRESSED else following


class _Tree:
    """The elements of a file: each has a type, a length and that many bytes, filled up to eight."""

    def __init__(self, content: mmap.mmap, path: Path, order: str) -> None:
        self._content, self._path = content, path
        self._long, self._tag = struct.Struct(f"{order}I"), struct.Struct(f"{order}II")
        self._order = order

    def element(self, at: int, end: int) -> tuple[int, int, int, int]:
        """Return type, first byte of the values, number of their bytes, and where the next element is."""
        if at + 8 > end:
            self._refuse(at, "an element of 8 bytes or more", f"{end - at} bytes up to the end of the one around it")
        kind, n = self._tag.unpack_from(self._content, at)
        if kind >> 16:  # up to four bytes stand in the tag itself
            kind, n, first, following = kind & 0xFFFF, kind >> 16, at + 4, at + 8
            most = 4
        else:
            first, following, most = at + 8, at + 8 + -(-n // 8) * 8, end - at - 8
        if kind not in _WIDTHS:
            self._refuse(at, "a type of element", str(kind))
        if n > most or n % _WIDTHS[kind]:
            self._refuse(at, f"an element of up to {most} bytes, of {_WIDTHS[kind]} each", f"one of {n} bytes")
        return kind, first, n, following

    def matrix(self, at: int, end: int, depth: int) -> None:
        """Check an array: flags, dimensions, name, then values or other arrays."""
        if at == end:  # an empty one may be nothing at all
            return
        if depth > _DEEPEST:
            self._refuse(at, f"up to {_DEEPEST} arrays in one another", "more")
        begin = at
        kind, first, n, at = self.element(at, end)
        if kind != 6 or n != 8:
            self._refuse(begin, "the flags of an array", f"{n} bytes of type {kind}")
        (flags,) = self._long.unpack_from(self._content, first)
        what = flags & 0xFF
        if what == _OPAQUE:  # objects of MATLAB's own, whose layout is not published
            return
        n_values, at = self._n_values(at, end)
        *_, at = self.element(at, end)  # the name
        if what in (_CELL, _STRUCT, _OBJECT):
            self._arrays(what, n_values, at, end, depth)
        elif what in _NUMBERS:
            self._numbers(n_values, 2 if flags & 0x800 else 1, at, end)
        elif what in (_CHAR, _SPARSE, _FUNCTION):
            while at < end:
                *_, at = self.element(at, end)
        else:
            self._refuse(begin, "a class of arrays", str(what))

    def _n_values(self, at: int, end: int) -> tuple[int, int]:
        """Return the product of the dimensions, and where the next element is."""
        kind, first, n, following = self.element(at, end)
        if kind not in _WHOLE or n < 8:
            self._refuse(at, "the dimensions of an array", f"{n} bytes of type {kind}")
        shape = struct.unpack_from(f"{self._order}{n // 4}i", self._content, first)
        if min(shape) < 0:
            self._refuse(at, "dimensions of an array", str(shape))
        return math.prod(shape), following

    def _arrays(self, what: int, n_values: int, at: int, end: int, depth: int) -> None:
        """Check the arrays of a cell, of a structure or an object: as many as its dimensions say."""
        n_fields = 1
        if what == _OBJECT:
            *_, at = self.element(at, end)  # the name of its class
        if what != _CELL:
            begin = at
            kind, first, n, at = self.element(at, end)
            if kind not in _WHOLE or n != 4:
                self._refuse(begin, "the length of field names", f"{n} bytes of type {kind}")
            (longest,) = self._long.unpack_from(self._content, first)
            if not 0 < longest <= 4096:
                self._refuse(begin, "a length of field names", str(longest))
            begin = at
            kind, _, n, at = self.element(at, end)
            if kind != 1 or n % longest:
                self._refuse(begin, f"names of fields of {longest} bytes each", f"{n} bytes of type {kind}")
            n_fields = n // longest
        if n_values * n_fields * 8 > end - at:
            self._refuse(at, f"{n_values} times {n_fields} arrays", f"{end - at} bytes")
        for _ in range(n_values * n_fields):
            begin = at
            kind, first, n, at = self.element(at, end)
            if kind != _MATRIX:
                self._refuse(begin, "an array", f"an element of type {kind}")
            self.matrix(first, first + n, depth + 1)

    def _numbers(self, n_values: int, n_parts: int, at: int, end: int) -> None:
        """Check the values of an array, and the imaginary ones of complex numbers."""
        for _ in range(n_parts):
            begin = at
            kind, _, n, at = self.element(at, end)
            if n // _WIDTHS[kind] != n_values:
                self._refuse(begin, f"{n_values} values of an array", f"{n // _WIDTHS[kind]}")

    def _refuse(self, at: int, expected: str, got: str) -> NoReturn:
        raise _refused(self._path, at, expected, got)


def _refused(path: Path, at: int, expected: str, got: str) -> FormatError:
    return FormatError(
        f"expected {expected} at byte {at} of {path}, got {got}; it is damaged: take another copy", where=f"byte {at}"
    )
