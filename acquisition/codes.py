"""What the markers of LSL and XDF are called as events."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np


def event_code(row: Iterable[Any]) -> str:
    """Return the code of a marker with these values, one per channel: 7 and 7.0 are "7", several are "7|8"."""
    return "|".join(_word(value) for value in row)


def _word(value: Any) -> str:
    return str(int(value)) if isinstance(value, float | np.floating) and value.is_integer() else str(value)
