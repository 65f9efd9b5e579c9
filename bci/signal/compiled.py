"""The compiler of the kernels: numba, or nothing where it is missing."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any, TypeVar

F = TypeVar("F", bound=Callable[..., Any])

numba: Any = None
with contextlib.suppress(ModuleNotFoundError):
    import numba

IS_COMPILED = numba is not None
"""Whether kernels are compiled; without numba they run as they are written, right and slowly."""


def njit(**options: Any) -> Callable[[F], F]:
    """Return numba's `njit` with `options`, or what leaves a function as it is."""
    if numba is None:
        return lambda function: function
    made: Callable[[F], F] = numba.njit(**options)
    return made
