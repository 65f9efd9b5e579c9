"""Annotations of EDF+ and BDF+ files, and the time of each record."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import isfinite

import numpy as np
from numpy.typing import NDArray

from bci.acquisition.formats.edf_header import Header


@dataclass(frozen=True, slots=True)
class Note:
    """An annotation.

    Parameters
    ----------
    onset_s : float
        Since the start of the file, s.
    text : str
        What happened.
    """

    onset_s: float
    text: str


@dataclass(slots=True)
class Notes:
    """All annotations.

    Parameters
    ----------
    notes : list of Note
        In the order of the file.
    begins_s : ndarray, shape (n_records,)
        When each record begins, s since the start of the file; NaN where it does not say.
    n_unread : int
        Entries that could not be read.
    """

    notes: list[Note]
    begins_s: NDArray[np.float64]
    n_unread: int = 0


def read_notes(records: NDArray[np.uint8], header: Header) -> Notes:
    """Return what stands in the annotation signals of `records`, shape (n_records, record_bytes)."""
    found = Notes([], np.full(len(records), np.nan))
    for which, (at, n) in enumerate(header.notes):
        for number, raw in enumerate(records[:, at : at + n]):
            for place, entry in enumerate(bytes(raw).split(b"\0")):
                if not entry:
                    continue
                read = _entry(entry)
                if read is None:
                    found.n_unread += 1
                    continue
                onset_s, texts = read
                # The first entry of a record has an empty first text and says when the record begins.
                if which == place == 0 and not texts[0]:
                    found.begins_s[number] = onset_s
                found.notes += [Note(onset_s, text) for text in texts if text]
    return found


def _entry(entry: bytes) -> tuple[float, list[str]] | None:
    """Read one time-stamped list of annotations: onset, perhaps a duration, texts."""
    head, *texts = entry.split(b"\x14")
    onset = head.split(b"\x15")[0]
    try:
        onset_s = float(onset)
    except ValueError:
        return None
    if not texts or not isfinite(onset_s) or onset[:1] not in b"+-" or texts[-1]:
        return None
    return onset_s, list(_decoded(texts[:-1]))


def _decoded(texts: list[bytes]) -> Iterator[str]:
    for text in texts:
        try:
            yield text.decode().strip()
        except UnicodeDecodeError:  # the standard asks for UTF-8, many programs write Latin-1
            yield text.decode("latin-1").strip()
