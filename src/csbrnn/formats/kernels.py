"""The kernel matrices of a blocked matrix: where they lie, how large they are, reading them.

Whole-matrix NumPy throughout: no loop over blocks.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from csbrnn.errors import FormatError
from csbrnn.formats.blocking import Blocking
from csbrnn.formats.fields import located
from csbrnn.formats.index import Lines, check_nbytes, decode_counts, decode_units

__all__ = ["KernelStats", "decode_lines", "kept_lines", "kernel_mask", "row_counts", "tiles"]


@dataclass(frozen=True)
class KernelStats:
    """How evenly the kept weights are spread over the blocks.

    Attributes:
        blocks: Number of blocks.
        empty: Blocks that keep nothing.
        smallest: Weights of the smallest kernel.
        median: Weights of the median kernel.
        mean: Weights kept / blocks.
        largest: Weights of the largest kernel.
        balance: mean / largest: the utilization of processors that get one block each and wait
            for the slowest. 1 is perfect; 1 also where nothing is kept.
    """

    blocks: int
    empty: int
    smallest: int
    median: float
    mean: float
    largest: int
    balance: float

    @classmethod
    def of(cls, sizes: NDArray[np.int64]) -> KernelStats:
        """Return the statistics of kernels of the given sizes. Shape: (blocks,)."""
        if sizes.size == 0:
            return cls(0, 0, 0, 0.0, 0.0, 0, 1.0)
        largest, mean = int(sizes.max()), float(sizes.mean())
        return cls(
            blocks=sizes.size,
            empty=int((sizes == 0).sum()),
            smallest=int(sizes.min()),
            median=float(np.median(sizes)),
            mean=mean,
            largest=largest,
            balance=mean / largest if largest else 1.0,
        )


def tiles(array: NDArray[Any], blocking: Blocking) -> NDArray[Any]:
    """Return the blocks of ``array``, zero beyond its edges. Shape: (down, across, rows, cols)."""
    (down, across), (rows, cols) = blocking.grid, blocking.tile
    if array.shape != (down * rows, across * cols):
        padded = np.zeros((down * rows, across * cols), array.dtype)
        padded[: array.shape[0], : array.shape[1]] = array
        array = padded
    return array.reshape(down, rows, across, cols).transpose(0, 2, 1, 3)


def join_tiles(blocks: NDArray[Any], blocking: Blocking) -> NDArray[Any]:
    """Return the matrix whose `tiles` are given, what is beyond its edges left out."""
    (down, across), (rows, cols) = blocking.grid, blocking.tile
    whole = blocks.transpose(0, 2, 1, 3).reshape(down * rows, across * cols)
    height, width = blocking.shape
    return np.ascontiguousarray(whole[:height, :width])


def kept_lines(nonzero: NDArray[np.bool_], blocking: Blocking) -> tuple[Lines, Lines]:
    """Return the row groups and the columns that hold anything, block by block.

    Shape:
        nonzero: (rows, columns)
    """
    blocks = tiles(nonzero, blocking)
    groups, cols = blocking.capacity
    keep_rows = np.any(
        np.any(blocks, axis=3).reshape(blocking.blocks, groups, blocking.group), axis=2
    )
    keep_cols = np.any(blocks, axis=2).reshape(blocking.blocks, cols)
    row_capacity, col_capacity = blocking.capacities()
    return Lines.from_mask(row_capacity, keep_rows), Lines.from_mask(col_capacity, keep_cols)


def kernel_mask(row_groups: Lines, columns: Lines, blocking: Blocking) -> NDArray[np.bool_]:
    """Return which weights of `tiles` lie in kernels; its True values are in stored order."""
    (down, across), (rows, cols) = blocking.grid, blocking.tile
    keep_rows = np.repeat(row_groups.mask(), blocking.group, axis=1).reshape(down, across, rows)
    # The rows that a short last group lacks.
    keep_rows[down - 1 :, :, blocking.shape[0] - (down - 1) * rows :] = False
    keep_cols = columns.mask().reshape(down, across, cols)
    mask: NDArray[np.bool_] = keep_rows[..., None] & keep_cols[:, :, None, :]
    return mask


def row_counts(row_groups: Lines, blocking: Blocking) -> NDArray[np.int64]:
    """Return the rows that each block keeps. Shape: (blocks,)."""
    counts = row_groups.counts * blocking.group
    missing = blocking.groups * blocking.group - blocking.shape[0]
    if missing and row_groups.units.size:
        bottom = slice(blocking.blocks - blocking.grid[1], None)
        last_unit = row_groups.units[row_groups.offsets[1:][bottom] - 1]
        short = (counts[bottom] > 0) & (last_unit == row_groups.capacity[bottom] - 1)
        counts[bottom] -= missing * short
    return counts


def decode_lines(
    blocking: Blocking, encodings: tuple[str, ...], axes: list[NDArray[Any]], kept: int
) -> tuple[Lines, Lines]:
    """Decode both axes as a stranger stored them.

    Args:
        blocking: Shape, block and row group.
        encodings: Of the row groups and of the columns.
        axes: The encoded row groups and columns, uint8.
        kept: Number of values there are; the kernels must hold as many.

    Raises:
        FormatError: An axis is malformed, or the kernels don't hold ``kept`` weights. Nothing is
            allocated beyond a multiple of ``kept`` and of the sizes of ``axes``.
    """
    names = ("rows", "cols")
    if encodings == ("all", "all") and kept != blocking.shape[0] * blocking.shape[1]:
        raise FormatError(f"rows and cols that are both 'all' must keep every weight, not {kept}")
    for axis, name in enumerate(names):
        with located(name):
            check_nbytes(
                axes[axis],
                encodings[axis],
                blocking.blocks,
                blocking.units[axis],
                blocking.capacity[axis],
            )
    capacities = blocking.capacities()
    known: list[NDArray[np.int64] | None] = []
    for axis, name in enumerate(names):
        with located(name):
            # Each line that is kept holds a value.
            known.append(decode_counts(axes[axis], encodings[axis], capacities[axis], kept))
    # What "all" keeps: everything in the blocks where the other axis keeps something.
    counts = [
        (capacity if other is None else np.where(other > 0, capacity, 0)) if own is None else own
        for own, other, capacity in zip(known, known[::-1], capacities, strict=True)
    ]
    if ((counts[0] > 0) != (counts[1] > 0)).any():
        block = int(np.argmax((counts[0] > 0) != (counts[1] > 0)))
        raise FormatError(f"block {block} keeps lines of one axis but none of the other")
    # A kernel has at least as many rows as row groups: this bounds what `decode_units` allocates.
    if int((counts[0] * counts[1]).sum()) > kept:
        raise FormatError(f"the kernels hold more than the {kept} values there are")
    lines: list[Lines] = []
    for axis, name in enumerate(names):
        with located(name):
            lines.append(decode_units(axes[axis], encodings[axis], capacities[axis], counts[axis]))
    row_groups, columns = lines
    expected = int((row_counts(row_groups, blocking) * columns.counts).sum())
    if expected != kept:
        raise FormatError(f"the kernels hold {expected} weights, but there are {kept} values")
    return row_groups, columns
