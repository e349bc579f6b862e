"""Filling up the last tile of a strip by sharing the last column's weight among copies of it."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

__all__ = ["SHARES", "share_last"]

SHARES: Final = np.array(
    [[1, 0, 0, 0], [1 / 2, 1 / 2, 0, 0], [1 / 2, 1 / 4, 1 / 4, 0], [1 / 4] * 4]
)
"""Row ``n - 1``: how n copies of a column share its weight. Powers of two: halving is exact."""


def share_last(
    strip: NDArray[np.int64], column: NDArray[np.int64], wide: int
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]:
    """Repeat each strip's last column until its columns are a multiple of ``wide``.

    Args:
        strip: Of each kept column, its strip; ascending.
        column: The columns.
        wide: Columns a tile, or of two tiles: 1, 2 or 4.

    Returns:
        Strips and columns with the copies, and the share of the weight that each one has.
    """
    if wide == 1 or strip.size == 0:
        return strip, column, np.ones(strip.size)
    last = np.append(np.flatnonzero(np.diff(strip)), strip.size - 1)
    counts = np.diff(np.concatenate([[-1], last]))
    copies = np.ones(strip.size, np.int64)
    copies[last] += -counts % wide
    begins = np.repeat(np.cumsum(copies) - copies, copies)
    number = np.arange(begins.size) - begins
    of = np.repeat(copies, copies)
    return np.repeat(strip, copies), np.repeat(column, copies), SHARES[of - 1, number]
