"""Tiling of CSB blocks with free rows, in int8.

Pieces of at most 32 rows and 64 columns, each with two masks of 64 bits: its rows from a multiple
of 16 on, and its columns. Tiles hold 16 rows of 4 columns; what is left of the rows is one strip of
8 rows (8 columns a tile) and one of 4 (16 columns). Pieces are sorted by class (rows rounded up to
4) and by their number of columns, so that a kernel's loops seldom change their trip counts.

Rows come in the order in which sums are scattered most cheaply: those that are 16 apart follow one
another. Then byte w of 16 numbers of 32 bits says which of a piece's sums go to the w-th 16 rows.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from csbrnn.formats import CSBMatrix
from csbrnn.runtime.blocks import BlockRows, cut_blocks, padded_rows
from csbrnn.runtime.layout import INT8_BLOCK, STRIP, padded

__all__ = ["Int8BlockTiles", "Int8Blocks", "cut_int8_blocks", "tile_int8_blocks"]

_WINDOW: Final = 64
"""Columns that a block's mask of 64 bits covers."""
_PLACES: Final = np.arange(64) % STRIP * 4 + np.arange(64) // STRIP
"""Bit of the mask, and so place among a piece's rows, of each row of the 64."""


@dataclass(frozen=True)
class Int8Blocks:
    """Pieces of blocks: rows as `BlockRows` has them, columns within 64.

    Shape (all but matrix and rows): (count,)

    Attributes:
        matrix: The matrix.
        rows: The rows of pieces, before their columns were cut.
        piece: The number of each one's rows in ``rows``.
        first: Position of its first column in `CSBMatrix.cols`.
        columns: Its columns.
        base: The column that bit 0 stands for.
        mask: Its columns, as bits.
    """

    matrix: CSBMatrix
    rows: BlockRows
    piece: NDArray[np.int64]
    first: NDArray[np.int64]
    columns: NDArray[np.int64]
    base: NDArray[np.int64]
    mask: NDArray[np.uint64]

    @property
    def count(self) -> int:
        """Pieces."""
        return self.piece.size

    @property
    def group(self) -> NDArray[np.int64]:
        """Their classes: rows, rounded up to 4."""
        return padded_rows(self.rows.rows[self.piece])

    @property
    def tiles(self) -> int:
        """Tiles that they take."""
        group, n = self.group, self.columns
        tiles = group // STRIP * -(-n // 4)
        tiles = tiles + np.where(group & 8, -(-n // 8), 0) + np.where(group & 4, -(-n // 16), 0)
        return int(tiles.sum())


@dataclass(frozen=True)
class Int8BlockTiles:
    """Pieces of one class, tiled."""

    group: int
    windows: int
    heads: NDArray[Any]
    values: NDArray[np.int8]


def cut_int8_blocks(
    matrix: CSBMatrix, rows: tuple[int, int], bounds: NDArray[np.int64]
) -> Int8Blocks:
    """Cut the blocks of rows ``rows[0]:rows[1]`` into pieces."""
    pieces = cut_blocks(matrix, rows, bounds)
    # Runs of columns of one block and one window of 64, counted from the block's first column.
    counts = matrix.columns.counts.astype(np.int64)
    block = np.repeat(np.arange(counts.size), counts)
    left = matrix.blocking.first_col().astype(np.int64)[block]
    column = matrix.cols.astype(np.int64)
    base = left + (column - left) // _WINDOW * _WINDOW
    if column.size == 0:
        none = np.zeros(0, np.int64)
        return Int8Blocks(matrix, pieces, none, none, none, none, none.astype(np.uint64))
    changes = (np.diff(block) != 0) | (np.diff(base) != 0)
    begins = np.flatnonzero(np.append(True, changes))
    bits = np.uint64(1) << (column - base).astype(np.uint64)
    mask = np.bitwise_or.reduceat(bits, begins)
    lengths = np.diff(np.append(begins, column.size))
    runs = np.bincount(block[begins], minlength=counts.size)
    first_run = np.cumsum(runs) - runs
    # Each piece of rows with each of its block's runs.
    times = runs[pieces.block]
    piece = np.repeat(np.arange(pieces.count), times)
    within = np.arange(piece.size) - np.repeat(np.cumsum(times) - times, times)
    run = first_run[pieces.block[piece]] + within
    return Int8Blocks(
        matrix=matrix,
        rows=pieces,
        piece=piece,
        first=begins[run],
        columns=lengths[run],
        base=base[begins[run]],
        mask=mask[run],
    )


def tile_int8_blocks(
    blocks: Int8Blocks, dense: NDArray[np.int8], row_start: int, share: int, start: int
) -> Iterator[Int8BlockTiles]:
    """Tile one share, class by class.

    Args:
        blocks: All pieces.
        dense: The whole matrix's values.
        row_start: Row of the matrix from which the pieces' rows are counted.
        share: The share.
        start: Its first row, from which heads count.
    """
    pieces, group = blocks.rows, blocks.group
    windows = pieces.windows[blocks.piece]
    order = np.lexsort((blocks.columns, group, windows))
    order = order[pieces.share[blocks.piece[order]] == share]
    key = np.stack([group[order], windows[order]])
    for part in np.split(order, np.flatnonzero((np.diff(key) != 0).any(axis=0)) + 1):
        if part.size == 0:
            continue
        of = blocks.piece[part]
        heads = np.zeros(part.size, INT8_BLOCK)
        heads["rows"], heads["columns"] = _in_places(pieces.mask[of]), blocks.mask[part]
        heads["row"], heads["column"] = pieces.base[of] - start, blocks.base[part]
        height = int(group[part[0]])
        cuts = np.flatnonzero(np.diff(blocks.columns[part])) + 1
        tiled = [_tile(blocks, dense, row_start, same, height) for same in np.split(part, cuts)]
        values = np.concatenate([t.reshape(-1, 64) for t in tiled])
        yield Int8BlockTiles(height, int(pieces.windows[of[0]]), heads, values)


def _in_places(rows: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Masks with the bit of each row where `_PLACES` has it."""
    placed = np.zeros_like(rows)
    for row, place in enumerate(_PLACES):
        placed |= (rows >> np.uint64(row) & np.uint64(1)) << np.uint64(place)
    return placed


def _tile(
    blocks: Int8Blocks,
    dense: NDArray[np.int8],
    row_start: int,
    part: NDArray[np.int64],
    height: int,
) -> NDArray[np.int8]:
    """Tile pieces of one class that have one number of columns. Shape: (pieces, bytes)."""
    matrix, pieces, of = blocks.matrix, blocks.rows, blocks.piece[part]
    n = int(blocks.columns[part[0]])
    number = np.arange(height)
    there = number < pieces.rows[of][:, None]
    row = matrix.rows[np.where(there, pieces.first[of][:, None] + number, 0)].astype(np.int64)
    within = np.where(there, row - row_start - pieces.base[of][:, None], 0)
    order = np.argsort(np.where(there, _PLACES[within], _WINDOW), axis=1, kind="stable")
    row = np.take_along_axis(row, order, axis=1)
    column = matrix.cols[blocks.first[part][:, None] + np.arange(n)]
    weights = np.zeros((part.size, height, padded(n)), np.int8)
    found = dense[row[:, :, None], column[:, None, :]]
    weights[:, :, :n] = np.where(there[:, :, None], found, 0)
    strips, done = [], height // STRIP * STRIP
    if done:
        wide = padded(n, 4)
        full = weights[:, :done, :wide].reshape(part.size, done // STRIP, STRIP, wide // 4, 4)
        strips.append(full.transpose(0, 3, 1, 2, 4).reshape(part.size, -1))
    for group in (8, 4):
        if height & group:
            each = 64 // group
            wide = padded(n, each)
            rest = weights[:, done : done + group, :wide]
            rest = rest.reshape(part.size, group, wide // each, each)
            strips.append(rest.transpose(0, 2, 1, 3).reshape(part.size, -1))
            done += group
    return np.concatenate(strips, axis=1)
