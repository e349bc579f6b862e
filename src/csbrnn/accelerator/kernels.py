"""What of a matrix is stored: kernels, whatever its format."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from csbrnn.formats import BSRMatrix, CirculantMatrix, CSBMatrix, DenseMatrix, Matrix
from csbrnn.numerics import Ints

__all__ = ["Kernel", "as_blocks", "kernels_of"]


class Kernel(NamedTuple):
    """Rows and columns of a part of a matrix whose crossings are stored.

    Attributes:
        rows: Rows of the part, ascending.
        cols: Columns of it, ascending.
        window: First column of the block; kernels of other windows share no columns.
    """

    rows: Ints
    cols: Ints
    window: int = 0


def kernels_of(matrix: Matrix, rows: tuple[int, int], columns: tuple[int, int]) -> Iterator[Kernel]:
    """Yield the kernels of a part of a matrix, in the order in which they are stored.

    A dense or block-circulant matrix is one kernel; rows of other formats are kernels of their own.

    Args:
        matrix: As it is stored.
        rows: First row of the part, and the one after its last.
        columns: The same.
    """
    (first, stop), (left, right) = rows, columns
    blocks = as_blocks(matrix)
    if blocks is None:
        yield Kernel(np.arange(stop - first), np.arange(right - left))
        return
    all_rows, all_cols = blocks.rows.astype(np.int64), blocks.cols.astype(np.int64)
    row_offsets, col_offsets = blocks.row_offsets, blocks.col_offsets
    windows = blocks.blocking.first_col()
    for block in range(blocks.blocking.blocks):
        r = all_rows[row_offsets[block] : row_offsets[block + 1]]
        c = all_cols[col_offsets[block] : col_offsets[block + 1]]
        if first > 0 or stop < blocks.shape[0]:
            r = r[(r >= first) & (r < stop)] - first
        if left > 0 or right < blocks.shape[1]:
            c = c[(c >= left) & (c < right)] - left
        if len(r) and len(c):
            yield Kernel(r, c, int(windows[block]) - left)


def as_blocks(matrix: Matrix) -> CSBMatrix | None:
    """Return any pruned matrix as CSB; None for one that multiplies everything.

    Weights that are stored and zero are left out where the format is not CSB.
    """
    match matrix:
        case CSBMatrix():
            return matrix
        case DenseMatrix() | CirculantMatrix():
            return None
        case BSRMatrix():
            block = matrix.block
            return CSBMatrix.from_dense(matrix.to_dense(), block, block[0])
        case _:
            return CSBMatrix.from_dense(matrix.to_dense(), (1, max(matrix.shape[1], 1)))
