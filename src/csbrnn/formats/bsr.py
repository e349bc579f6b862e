"""`BSRMatrix`: block sparse rows. Some blocks are stored whole, the others not at all."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from csbrnn.formats.block_grid import BlockGrid
from csbrnn.formats.blocking import Blocking
from csbrnn.formats.fields import Fields, located
from csbrnn.formats.format import (
    MAX_DIMENSION,
    Float32Array,
    Matrix,
    check_weight,
    number_nbytes,
    read_only,
    read_values,
    stored_dtypes,
    take_vectors,
)
from csbrnn.formats.index import ENCODINGS
from csbrnn.formats.kernels import KernelStats, join_tiles, tiles
from csbrnn.numerics import FP32, Precision, Quantized

__all__ = ["BSRMatrix", "bsr_nbytes"]


@dataclass(frozen=True, eq=False, repr=False)
class BSRMatrix(Matrix):
    """A matrix stored as those of its blocks that are not zero, row by row of blocks.

    Make one with `from_dense`; the constructor trusts its arguments.

    Attributes:
        grid: Shape, block, and which blocks are kept.
        values: (kept,) in the precision's storage dtype: the blocks one after another, row by row
            within a block. Blocks at the edges have the weights that lie in the matrix.
        precision: Number format of the values.
        scales: (rows,) fp32, if the precision is scaled.

    Reference:
        Narang et al., "Block-Sparse Recurrent Neural Networks" (2017); the index: ours.
    """

    FORMAT: ClassVar[str] = "bsr"
    grid: BlockGrid
    values: NDArray[Any]
    precision: Precision = FP32
    scales: Float32Array | None = None

    @classmethod
    def from_dense(cls, weight: NDArray[Any], block: tuple[int, int]) -> BSRMatrix:
        """Store any matrix without loss: a block is kept where it has a weight other than zero.

        Zeros in kept blocks are stored; those outside lose their sign.

        Args:
            weight: (rows, columns), fp32 and finite.
            block: (block_rows, block_cols); may exceed the matrix.

        Raises:
            ArgumentError: The weight can't be stored, or the block's sizes are out of range.
        """
        weight = check_weight(weight)
        grid = BlockGrid.of(weight != 0, block)
        return cls(grid, read_only(tiles(weight, grid.blocking)[grid.mask()]))

    @property
    def shape(self) -> tuple[int, int]:  # type: ignore[override]
        """(rows, columns) of the dense matrix."""
        return self.grid.blocking.shape

    @property
    def block(self) -> tuple[int, int]:
        """(block_rows, block_cols)."""
        return self.grid.blocking.block

    @property
    def layout(self) -> str:
        """See `Matrix.layout`."""
        return f"bsr {self.block[0]}x{self.block[1]}"

    def kernel_stats(self) -> KernelStats:
        """Return how evenly the kept weights are spread over the blocks."""
        return KernelStats.of(self.grid.mask().sum(axis=(2, 3), dtype=np.int64).reshape(-1))

    def to_quantized(self) -> Quantized:
        """Return the dense matrix as stored, pruned weights zero."""
        blocking = self.grid.blocking
        blocks = np.zeros((*blocking.grid, *blocking.tile), self.values.dtype)
        blocks[self.grid.mask()] = self.values
        return Quantized(join_tiles(blocks, blocking), self.scales)

    def _gather(self, dense: NDArray[Any]) -> NDArray[Any]:
        return tiles(dense, self.grid.blocking)[self.grid.mask()]

    def parameters(self) -> dict[str, Any]:
        """Return block and the encoding of the index."""
        return {
            "block": list(self.block),
            "index": self.grid.index,
        }

    @property
    def _encoded(self) -> dict[str, NDArray[np.uint8]]:
        return {"blocks": read_only(self.grid.encoded)}

    @classmethod
    def _read(
        cls,
        fields: Fields,
        shape: tuple[int, int],
        precision: Precision,
        arrays: Mapping[str, NDArray[Any]],
        where: str,
    ) -> BSRMatrix:
        rows, cols = fields.integers("block", 2, 1, MAX_DIMENSION)
        index = fields.choice("index", ENCODINGS)
        fields.done()
        with located(where):
            blocking = Blocking(shape, (rows, cols), rows)
        dtypes = stored_dtypes(precision) | {"blocks": np.dtype(np.uint8)}
        taken = take_vectors(arrays, dtypes, where)
        stored, blocks = taken["values"], taken["blocks"]
        with located(f"{where}: blocks"):
            grid = BlockGrid.decode(blocking, index, blocks)
        values, scales = read_values(
            precision, stored, taken.get("scales"), (grid.kept,), shape[0], where
        )
        return cls(grid, values, precision, scales)


def bsr_nbytes(
    nonzero: NDArray[np.bool_], block: tuple[int, int], precision: Precision = FP32
) -> int:
    """Return the `nbytes` that `BSRMatrix.from_dense` would take.

    Shape:
        nonzero: (rows, columns)
    """
    grid = BlockGrid.of(nonzero, block)
    return number_nbytes(precision, grid.kept, nonzero.shape[0]) + grid.nbytes
