"""Tiling of CSB blocks whose rows are kept freely.

A block's kernel is stored whole, up to 32 rows at a time: strips of 16 rows, then the remainder as
one strip of 8 and one of 4. Blocks of a share are sorted by class (rows rounded up to 4) and then
by their number of columns, so that a kernel's loops seldom change their trip counts.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from csbrnn.formats import CSBMatrix
from csbrnn.runtime.layout import BLOCK_HEAD, STRIP, padded
from csbrnn.runtime.sharing import SHARES

__all__ = ["BlockRows", "cut_blocks", "padded_rows", "tile_blocks"]

MAX_ROWS: Final = 32
"""Rows of a block that a kernel keeps in registers (two of AVX-512) before it scatters them."""
WINDOW: Final = 64
"""Rows that a block's mask of 64 bits covers."""

BlockTiles = tuple[int, int, NDArray[Any], NDArray[np.uint16], NDArray[np.float32]]


@dataclass(frozen=True)
class BlockRows:
    """Blocks cut into pieces: at most 32 rows, within 64, within one share.

    Shape (all): (count,)

    Attributes:
        block: Number of the CSB block.
        first: Position of the piece's first row in `CSBMatrix.rows`.
        rows: Its rows.
        columns: The block's columns.
        base: Row that bit 0 of the mask stands for.
        mask: Its rows, as bits.
        windows: Runs of 16 rows from ``base`` that the block covers.
        share: The share that it belongs to.
    """

    block: NDArray[np.int64]
    first: NDArray[np.int64]
    rows: NDArray[np.int64]
    columns: NDArray[np.int64]
    base: NDArray[np.int64]
    mask: NDArray[np.uint64]
    windows: NDArray[np.int64]
    share: NDArray[np.int64]

    @property
    def count(self) -> int:
        """Pieces."""
        return self.block.size

    @property
    def tiles(self) -> int:
        """Tiles that they take."""
        return int(_tiles(padded_rows(self.rows), self.columns).sum())


def padded_rows(rows: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the class of each number of rows: a multiple of 4."""
    return -(-rows // 4) * 4


def _tiles(group: NDArray[np.int64], columns: NDArray[np.int64]) -> NDArray[np.int64]:
    tiles = group // STRIP * columns
    tiles = tiles + np.where(group & 8, -(-columns // 2), 0)
    return tiles + np.where(group & 4, -(-columns // 4), 0)


def cut_blocks(matrix: CSBMatrix, rows: tuple[int, int], bounds: NDArray[np.int64]) -> BlockRows:
    """Cut the blocks of rows ``rows[0]:rows[1]`` into pieces."""
    blocking = matrix.blocking
    block = np.repeat(np.arange(blocking.blocks), np.diff(matrix.row_offsets))
    row = matrix.rows.astype(np.int64) - rows[0]
    # Rows of the range, of blocks that keep any column.
    position = np.flatnonzero(
        (row >= 0) & (row < rows[1] - rows[0]) & (matrix.columns.counts[block] > 0)
    )
    block, row = block[position], row[position]
    share = np.searchsorted(bounds, row, side="right") - 1
    key = np.stack([block, row // WINDOW, share])
    begins = np.flatnonzero(np.append(True, (np.diff(key) != 0).any(axis=0))) if row.size else row
    run = np.diff(np.append(begins, row.size))
    pieces = -(-run // MAX_ROWS)
    number = np.arange(int(pieces.sum())) - np.repeat(np.cumsum(pieces) - pieces, pieces)
    first = np.repeat(begins, pieces) + MAX_ROWS * number
    count = np.minimum(np.repeat(run, pieces) - MAX_ROWS * number, MAX_ROWS)

    block_height = blocking.tile[0]
    across = max(blocking.grid[1], 1)
    top = block[first] // across * block_height - rows[0]
    window = row[first] // WINDOW * WINDOW
    start, stop = bounds[share[first]], bounds[share[first] + 1]
    base = np.maximum(np.maximum(top, window), start) // STRIP * STRIP
    end = np.minimum(np.minimum(top + block_height, window + WINDOW), stop)
    bits = np.uint64(1) << (row - np.repeat(base, count)).astype(np.uint64)
    mask = np.bitwise_or.reduceat(bits, first) if row.size else bits
    return BlockRows(
        block=block[first],
        first=position[first] if row.size else first,
        rows=count,
        columns=matrix.columns.counts[block[first]].astype(np.int64),
        base=base,
        mask=mask,
        windows=-(-(end - base) // STRIP),
        share=share[first],
    )


def tile_blocks(matrix: CSBMatrix, pieces: BlockRows, share: int) -> Iterator[BlockTiles]:
    """Tile one share, class by class.

    Yields:
        Most rows, windows, heads, indices and values of the pieces of one class.
    """
    group = padded_rows(pieces.rows)
    order = np.lexsort((pieces.columns, group, pieces.windows))
    order = order[pieces.share[order] == share]
    key = np.stack([group[order], pieces.windows[order]])
    for part in np.split(order, np.flatnonzero((np.diff(key) != 0).any(axis=0)) + 1):
        if part.size == 0:
            continue
        heads = np.zeros(part.size, BLOCK_HEAD)
        heads["mask"], heads["row"] = pieces.mask[part], pieces.base[part]
        heads["columns"] = pieces.columns[part]
        rows = int(group[part[0]])
        cuts = np.flatnonzero(np.diff(pieces.columns[part])) + 1
        tiled = [_tile(matrix, pieces, same, rows) for same in np.split(part, cuts)]
        indices = np.concatenate([t[0] for t in tiled])
        values = np.concatenate([t[1] for t in tiled])
        yield rows, int(pieces.windows[part[0]]), heads, indices, values


def _tile(
    matrix: CSBMatrix, pieces: BlockRows, part: NDArray[np.int64], group: int
) -> tuple[NDArray[np.uint16], NDArray[np.float32]]:
    """Tile pieces of one class that have one number of columns."""
    count, n = part.size, int(pieces.columns[part[0]])
    block = pieces.block[part]
    # Where the piece's rows begin among its block's.
    above = pieces.first[part] - matrix.row_offsets[block]
    at = matrix.value_offsets[block] + above * n
    number = np.arange(group)[None, :, None]
    there = number < pieces.rows[part][:, None, None]
    where = at[:, None, None] + number * n + np.arange(n)
    weights = np.where(there, matrix.values[np.where(there, where, 0)], np.float32(0))
    full = group // STRIP * STRIP
    columns = matrix.cols[(matrix.col_offsets[block])[:, None] + np.arange(n)]
    strips = [weights[:, :full].transpose(0, 2, 1).reshape(count, -1)]
    done = full
    for height in (8, 4):
        if group & height:
            strips.append(_remainder(weights[:, done : done + height], STRIP // height))
            done += height
    repeated = np.minimum(np.arange(padded(n, 4)), n - 1)
    indices = columns[:, repeated].astype(np.uint16).reshape(-1)
    return indices, np.concatenate(strips, axis=1).reshape(-1, STRIP)


def _remainder(weights: NDArray[np.float32], wide: int) -> NDArray[np.float32]:
    """Tile the last 8 or 4 rows of pieces. Shape: (count, rows, n) -> (count, tiles * 16)."""
    count, _, n = weights.shape
    copies = -n % wide + 1
    repeated = np.minimum(np.arange(padded(n, wide)), n - 1)
    shared = np.ones(repeated.size, np.float32)
    shared[n - 1 :] = SHARES[copies - 1, :copies]
    return (weights[:, :, repeated] * shared).transpose(0, 2, 1).reshape(count, -1)
