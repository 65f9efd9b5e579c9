"""Where the recordings of a data set lie; they never come with the library."""

from __future__ import annotations

import os
from pathlib import Path

from bci.errors import DataError


def folder_of(name: str, root: str | Path | None, to_get: str) -> Path:
    """Return the folder of a data set.

    Parameters
    ----------
    name : str
        Its folder in ``$BCI_DATA``, which is ../shared/data from the project if not set.
    root : str or Path, optional
        The folder itself, wherever it is.
    to_get : str
        How one gets the recordings, in words.

    Raises
    ------
    DataError
        If there is no such folder.
    """
    base = Path(os.environ.get("BCI_DATA", Path(__file__).resolve().parents[1] / ".." / "shared" / "data"))
    folder = Path(root) if root is not None else base / name
    if not folder.is_dir():
        raise DataError(
            f"expected the recordings in {folder}, there is no such folder; {to_get} and set BCI_DATA to the folder "
            f"that holds {name}/"
        )
    return folder
