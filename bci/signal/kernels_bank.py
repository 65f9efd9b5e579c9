"""Compiled loops of a bank of filters over time-major samples, shape (n_samples, n_channels)."""

from __future__ import annotations

import functools

import numpy as np
from numba import njit
from numpy.typing import NDArray

Array = NDArray[np.float64]


@njit(cache=True, nogil=True)
def bank_filter(values: Array, sections: Array, state: Array, out: Array) -> None:
    """Write to column ``b * n_channels + c`` of `out` the channel c filtered by the cascade b.

    `sections` has shape (n_bands, n_sections, 5): b0, b1, b2, a1, a2, transposed direct form II. `state` has shape
    (n_bands, n_sections, 2, n_channels) and is updated.
    """
    n_samples, n_channels = values.shape
    for b in range(sections.shape[0]):
        begin, end = b * n_channels, (b + 1) * n_channels
        for s in range(sections.shape[1]):
            b0, b1, b2 = sections[b, s, 0], sections[b, s, 1], sections[b, s, 2]
            a1, a2 = sections[b, s, 3], sections[b, s, 4]
            first, second = state[b, s, 0], state[b, s, 1]
            for t in range(n_samples):
                target = out[t, begin:end]
                source = values[t] if s == 0 else target
                for c in range(n_channels):
                    x = source[c]
                    y = b0 * x + first[c]
                    first[c] = b1 * x - a1 * y + second[c]
                    second[c] = b2 * x - a2 * y
                    target[c] = y


@functools.cache
def warm_up() -> None:
    """Compile every kernel (or load it from the cache on disk), so that no sample waits for a compiler."""
    bank_filter(np.ones((2, 2)), np.zeros((1, 1, 5)), np.zeros((1, 1, 2, 2)), np.empty((2, 3)))
