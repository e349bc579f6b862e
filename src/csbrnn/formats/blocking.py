"""`Blocking`: how a matrix is cut into blocks, and blocks into row groups."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from csbrnn.errors import ArgumentError
from csbrnn.formats.format import MAX_BLOCKS, MAX_DIMENSION, check_shape

__all__ = ["Blocking"]


@dataclass(frozen=True)
class Blocking:
    """A grid of blocks over a matrix, numbered row by row; blocks at the edges may be smaller.

    Args:
        shape: (rows, columns) of the matrix.
        block: (block_rows, block_cols) of a block; may exceed the matrix.
        row_group: Rows kept or dropped together; divides ``block_rows``. A group at the bottom
            edge of the matrix may be shorter.

    Raises:
        ArgumentError: A size is out of range, ``row_group`` does not divide ``block_rows``, or
            there are too many blocks.

    Reference:
        Shi et al., "CSB-RNN", ICS 2020, section 3; row groups: ours.
    """

    shape: tuple[int, int]
    block: tuple[int, int]
    row_group: int = 1

    def __post_init__(self) -> None:
        check_shape(self.shape)
        if not all(1 <= size <= MAX_DIMENSION for size in (*self.block, self.row_group)):
            raise ArgumentError(
                f"block and row_group must lie in 1..{MAX_DIMENSION},"
                f" not {self.block} and {self.row_group}"
            )
        if self.block[0] % self.row_group:
            raise ArgumentError(
                f"row_group must divide the block's rows; {self.row_group} does not"
                f" divide {self.block[0]}"
            )
        if self.blocks > MAX_BLOCKS:
            raise ArgumentError(
                f"a matrix must have at most {MAX_BLOCKS} blocks; blocks of {self.block} make"
                f" {self.blocks} of shape {self.shape}"
            )

    @property
    def group(self) -> int:
        """``row_group``, no larger than the matrix."""
        return min(self.row_group, max(self.shape[0], 1))

    @property
    def tile(self) -> tuple[int, int]:
        """The block, no larger than the matrix needs: rows a multiple of ``group``."""
        g = self.group
        rows = min(self.block[0], max(-(-self.shape[0] // g), 1) * g)
        return rows, min(self.block[1], max(self.shape[1], 1))

    @property
    def grid(self) -> tuple[int, int]:
        """Blocks down and across."""
        tile = self.tile
        return -(-self.shape[0] // tile[0]), -(-self.shape[1] // tile[1])

    @property
    def blocks(self) -> int:
        """Number of blocks."""
        return self.grid[0] * self.grid[1]

    @property
    def groups(self) -> int:
        """Row groups of the matrix, a short last one included."""
        return -(-self.shape[0] // self.group)

    @property
    def units(self) -> tuple[int, int]:
        """(row groups, columns) summed over all blocks: the bits of their bitmaps."""
        return self.groups * self.grid[1], self.shape[1] * self.grid[0]

    @property
    def capacity(self) -> tuple[int, int]:
        """(row groups, columns) of the largest block: the n of an index's ceil(log2(n)) bits."""
        rows, columns = self.tile
        return rows // self.group, columns

    def capacities(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return row groups and columns of every block.

        Shape:
            returns: (blocks,) each
        """
        down, across = self.grid
        group_count, columns = self.capacity
        row_capacity = np.full(down, group_count, np.int64)
        col_capacity = np.full(across, columns, np.int64)
        if self.blocks:
            row_capacity[-1] = self.groups - (down - 1) * group_count
            col_capacity[-1] = self.shape[1] - (across - 1) * columns
        return np.repeat(row_capacity, across), np.tile(col_capacity, down)

    def first_row(self) -> NDArray[np.int64]:
        """Return each block's first row in the matrix. Shape: (blocks,)."""
        return np.repeat(np.arange(self.grid[0]) * self.tile[0], self.grid[1])

    def first_col(self) -> NDArray[np.int64]:
        """Return each block's first column in the matrix. Shape: (blocks,)."""
        return np.tile(np.arange(self.grid[1]) * self.tile[1], self.grid[0])
