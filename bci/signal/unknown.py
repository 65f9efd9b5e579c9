"""Whether samples hold unknown values: asked for every chunk, so the question has to be cheap."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

_MOST = 8192
"""Up to so many values BLAS is quick and takes no second thread."""


def has_unknown(data: NDArray[Any]) -> bool:
    """Return whether an array holds NaN; whole numbers are never unknown."""
    if data.dtype.kind != "f":
        return False
    if data.size <= _MOST:
        values = data.reshape(-1)
        # A sum of squares is NaN only if a value is: infinite ones stay infinite.
        return math.isnan(values.dot(values))
    # A plain sum may be NaN without one, where infinite values meet.
    return math.isnan(float(data.sum())) and bool(np.isnan(data).any())
