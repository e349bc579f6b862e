"""`CSBMatrix`: compressed structured blocks.

The matrix is cut into blocks. Each block keeps some of its row groups and some of its columns; the
weights at their crossings are its *kernel matrix*, stored dense. All kernels follow one another,
block by block, row by row within a kernel. See docs/spec/format.md for the bytes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

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
from csbrnn.formats.index import ENCODINGS, Lines, choose_encodings, offsets
from csbrnn.formats.kernels import (
    KernelStats,
    decode_lines,
    join_tiles,
    kept_lines,
    kernel_mask,
    row_counts,
    tiles,
)
from csbrnn.numerics import FP32, Precision, Quantized

__all__ = ["CSBMatrix", "stored_nbytes"]


@dataclass(frozen=True, eq=False, repr=False)
class CSBMatrix(Matrix):
    """A matrix stored as the kernel matrices of its blocks.

    Make one with `from_dense`; the constructor trusts its arguments.

    Attributes:
        blocking: Shape, block and row group.
        row_groups: The row groups that each block keeps, numbered within the block.
        columns: The columns that each block keeps, numbered within the block.
        values: (kept,) in the precision's storage dtype: the kernels one after another, row by row
            within a kernel.
        row_index: Encoding of ``row_groups`` in the file; one of `ENCODINGS`.
        col_index: Encoding of ``columns`` in the file.
        precision: Number format of the values.
        scales: (rows,) fp32, one for each row of the *matrix*, if the precision is scaled.

    Reference:
        Shi et al., "CSB-RNN", ICS 2020, section 3; the encodings of the index: ours.
    """

    FORMAT: ClassVar[str] = "csb"
    blocking: Blocking
    row_groups: Lines
    columns: Lines
    values: NDArray[Any]
    row_index: str
    col_index: str
    precision: Precision = FP32
    scales: Float32Array | None = None

    @classmethod
    def from_dense(
        cls, weight: NDArray[Any], block: tuple[int, int], row_group: int = 1
    ) -> CSBMatrix:
        """Store any matrix without loss: a line is kept where it has a weight other than zero.

        Zeros at a crossing of kept lines are stored, so a pattern that is not CSB of these blocks
        costs more, but is still exact. Zeros outside the kernels lose their sign.

        Args:
            weight: (rows, columns), fp32 and finite.
            block: (block_rows, block_cols).
            row_group: Rows kept or dropped together; a group is kept if any of its rows is.

        Raises:
            ArgumentError: The weight can't be stored, or the sizes don't fit together.
        """
        weight = check_weight(weight)
        blocking = Blocking((weight.shape[0], weight.shape[1]), block, row_group)
        row_groups, columns = kept_lines(weight != 0, blocking)
        values = tiles(weight, blocking)[kernel_mask(row_groups, columns, blocking)]
        row_index, col_index, _ = choose_encodings(row_groups, columns)
        return cls(blocking, row_groups, columns, read_only(values), row_index, col_index)

    @property
    def shape(self) -> tuple[int, int]:  # type: ignore[override]
        """(rows, columns) of the dense matrix."""
        return self.blocking.shape

    @property
    def block(self) -> tuple[int, int]:
        """(block_rows, block_cols)."""
        return self.blocking.block

    @property
    def row_group(self) -> int:
        """Rows kept or dropped together."""
        return self.blocking.row_group

    @property
    def layout(self) -> str:
        """See `Matrix.layout`."""
        return f"csb {self.block[0]}x{self.block[1]} row_group={self.row_group}"

    @cached_property
    def row_offsets(self) -> NDArray[np.int64]:
        """Block ``b`` keeps ``rows[row_offsets[b]:row_offsets[b + 1]]``. Shape: (blocks + 1,)."""
        return offsets(row_counts(self.row_groups, self.blocking))

    @cached_property
    def rows(self) -> NDArray[np.int32]:
        """Kept rows of all blocks, as rows of the *matrix*, ascending within a block.

        Shape:
            returns: (row_offsets[-1],)
        """
        lines, group = self.row_groups, self.blocking.group
        first = np.repeat(self.blocking.first_row(), lines.counts) + group * lines.units
        # A group at the bottom edge may be short.
        height = np.minimum(group, self.shape[0] - first)
        within = np.arange(int(height.sum())) - np.repeat(offsets(height)[:-1], height)
        return (np.repeat(first, height) + within).astype(np.int32)

    @property
    def col_offsets(self) -> NDArray[np.int64]:
        """Block ``b`` keeps ``cols[col_offsets[b]:col_offsets[b + 1]]``. Shape: (blocks + 1,)."""
        return self.columns.offsets

    @cached_property
    def cols(self) -> NDArray[np.int32]:
        """Kept columns of all blocks, as columns of the *matrix*, ascending within a block.

        Shape:
            returns: (col_offsets[-1],)
        """
        first = np.repeat(self.blocking.first_col(), self.columns.counts)
        return (first + self.columns.units).astype(np.int32)

    @cached_property
    def value_offsets(self) -> NDArray[np.int64]:
        """Block ``b``'s kernel is ``values[value_offsets[b]:value_offsets[b + 1]]``, row by row.

        Shape:
            returns: (blocks + 1,)
        """
        return offsets(np.diff(self.row_offsets) * self.columns.counts)

    def kernel_stats(self) -> KernelStats:
        """Return how evenly the kept weights are spread over the blocks."""
        return KernelStats.of(np.diff(self.value_offsets))

    def to_quantized(self) -> Quantized:
        """Return the dense matrix as stored, pruned weights zero."""
        blocking = self.blocking
        blocks = np.zeros((*blocking.grid, *blocking.tile), self.values.dtype)
        blocks[kernel_mask(self.row_groups, self.columns, blocking)] = self.values
        return Quantized(join_tiles(blocks, blocking), self.scales)

    def _gather(self, dense: NDArray[Any]) -> NDArray[Any]:
        return tiles(dense, self.blocking)[
            kernel_mask(self.row_groups, self.columns, self.blocking)
        ]

    def parameters(self) -> dict[str, Any]:
        """Return block, row group and the encodings of the index."""
        return {
            "block": list(self.block),
            "row_group": self.row_group,
            "row_index": self.row_index,
            "col_index": self.col_index,
        }

    @cached_property
    def _encoded(self) -> dict[str, NDArray[np.uint8]]:
        rows = self.row_groups.encode(self.row_index)
        cols = self.columns.encode(self.col_index)
        return {"rows": read_only(rows), "cols": read_only(cols)}

    @classmethod
    def _read(
        cls,
        fields: Fields,
        shape: tuple[int, int],
        precision: Precision,
        arrays: Mapping[str, NDArray[Any]],
        where: str,
    ) -> CSBMatrix:
        # Refused as well, so that equal matrices have equal kernels: a block that keeps row groups
        # but no columns or columns but no row groups.
        block_rows, block_cols = fields.integers("block", 2, 1, MAX_DIMENSION)
        row_group = fields.integer("row_group", 1, MAX_DIMENSION)
        row_index, col_index = (fields.choice(k, ENCODINGS) for k in ("row_index", "col_index"))
        fields.done()
        with located(where):
            blocking = Blocking(shape, (block_rows, block_cols), row_group)
        dtypes = stored_dtypes(precision) | dict.fromkeys(("rows", "cols"), np.dtype(np.uint8))
        taken = take_vectors(arrays, dtypes, where)
        stored, axes = taken["values"], [taken["rows"], taken["cols"]]
        with located(where):
            row_groups, columns = decode_lines(blocking, (row_index, col_index), axes, stored.size)
        values, scales = read_values(
            precision, stored, taken.get("scales"), stored.shape, shape[0], where
        )
        return cls(blocking, row_groups, columns, values, row_index, col_index, precision, scales)


def stored_nbytes(
    nonzero: NDArray[np.bool_], blocking: Blocking, precision: Precision = FP32
) -> int:
    """Return the `nbytes` that `CSBMatrix.from_dense` would take, at a fraction of its time.

    Shape:
        nonzero: (rows, columns)
    """
    row_groups, columns = kept_lines(nonzero, blocking)
    *_, index_nbytes = choose_encodings(row_groups, columns)
    kept = int((row_counts(row_groups, blocking) * columns.counts).sum())
    return number_nbytes(precision, kept, nonzero.shape[0]) + index_nbytes
