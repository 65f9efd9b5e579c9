"""Draws column extremes into a picture: only new columns cost time, whatever the history, channels or screen."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

_BLOCK = 128  # columns drawn at once: the work then fits into the processor's cache


class Raster:
    """A ring of screen columns.

    Parameters
    ----------
    n_rows, n_columns : int
        Size in pixels.
    colors : sequence of (int, int, int)
        Red, green and blue (0 to 255) of each group of channels.
    background : (int, int, int)
        Colour where there is no line.

    Attributes
    ----------
    pixels : ndarray of uint32, shape (n_rows, n_columns)
        ``0xffRRGGBB``; column c of the stream stands in ``c % n_columns``.
    """

    def __init__(
        self,
        n_rows: int,
        n_columns: int,
        colors: Sequence[tuple[int, int, int]],
        background: tuple[int, int, int],
    ) -> None:
        self.n_rows, self.n_columns = n_rows, n_columns
        self._ground = np.array(background, dtype=np.float32)
        self._inks = np.array(colors, dtype=np.float32) - self._ground
        self.pixels = np.empty((n_rows, n_columns), dtype=np.uint32)
        self.pixels[:] = 0xFF000000 | background[0] << 16 | background[1] << 8 | background[2]

    def draw(
        self,
        first: int,
        top: NDArray[np.float64],
        bottom: NDArray[np.float64],
        groups: NDArray[np.int64],
    ) -> None:
        """Replace columns from number `first` on.

        Parameters
        ----------
        first : int
            Number of the first column in the stream.
        top, bottom : ndarray, shape (n_new, n_lines)
            Extent of each line in rows from the top, top <= bottom; NaN draws nothing. Parts of a row are
            drawn as bright as they are long, which smooths the line.
        groups : ndarray of int, shape (n_lines,)
            Which colour each line has.
        """
        skip = max(0, len(top) - self.n_columns)
        used = np.unique(groups)
        for begin in range(skip, len(top), _BLOCK):
            part = slice(begin, min(begin + _BLOCK, len(top)))
            where = (first + np.arange(part.start, part.stop)) % self.n_columns
            cover = np.stack(
                [_coverage(top[part][:, groups == g], bottom[part][:, groups == g], self.n_rows) for g in used]
            )
            self._paint(where, cover, self._inks[used])

    def _paint(self, where: NDArray[np.int64], cover: NDArray[np.float32], inks: NDArray[np.float32]) -> None:
        # Lines of several groups over one another are mixed by their shares, never brighter than one of them.
        if len(cover) > 1:
            cover /= np.maximum(cover.sum(axis=0), 1.0)
        word = np.full(cover.shape[1:], 0xFF, dtype=np.uint32)
        for ground, ink in zip(self._ground, inks.T, strict=True):
            color = ground + ink[0] * cover[0]
            for part, share in zip(ink[1:], cover[1:], strict=True):
                color += part * share
            word <<= np.uint32(8)
            word |= color.astype(np.uint32)
        self.pixels[:, where] = word.T


def _coverage(top: NDArray[np.float64], bottom: NDArray[np.float64], n_rows: int) -> NDArray[np.float32]:
    """Return how much of each pixel is covered, 0 to 1, shape (n_columns, n_rows).

    A bar from `top` to `bottom` is the difference of two ramps: two entries at each end and one
    running sum along the rows draw all bars of a column at once.
    """
    n_columns, stride = len(top), n_rows + 2
    known = np.isfinite(top) & np.isfinite(bottom)
    offset = np.broadcast_to(np.arange(n_columns)[:, None] * stride, top.shape)[known]
    marks = np.zeros(n_columns * stride)
    for edge, sign in ((top[known], 1.0), (bottom[known], -1.0)):
        edge = np.clip(edge, 0, n_rows)
        row = np.floor(edge).astype(np.int64)
        share = sign * (edge - row)
        cell = row + offset
        marks += np.bincount(cell, sign - share, marks.size)
        marks += np.bincount(cell + 1, share, marks.size)
    cover = marks.reshape(n_columns, stride)[:, :n_rows].cumsum(axis=1, dtype=np.float64)
    return np.clip(cover, 0.0, 1.0).astype(np.float32)
