"""How a matrix in int8 is cut into tiles of 64 weights, for kernels that sum in int32.

Three kinds of section, as in fp32 (`csbrnn.runtime.tiling`), chosen by counting:

- *dense*: strips of 16 rows with every column; four columns a tile;
- *strips*: runs of 16, 8 or 4 rows, each with the columns that any of its rows keeps. Four strips
  form a quad: their tiles alternate, and so do the numbers of their columns, 16 of each strip in a
  line, so that one permutation of 128 bytes gathers operands for all four;
- *blocks*: the kernels of CSB blocks with free rows (`csbrnn.runtime.blocks_int8`).

A tile is G rows, one after another, of 64 / G columns each. Padding is zero weights: whatever they
meet, the sums are exact. A last section of kind *scale* says how sums become floats.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import NDArray

from csbrnn.formats import CSBMatrix, Matrix
from csbrnn.runtime.blocks_int8 import Int8Blocks, cut_int8_blocks, tile_int8_blocks
from csbrnn.runtime.layout import COLUMN_LINE, QUAD_HEAD, STRIP, padded
from csbrnn.runtime.tiling import Strips

__all__ = ["GATHER", "Int8Section", "scale_section", "tile_int8_matrix"]

GATHER: Final = 1024
"""Columns of a strip that kernels gather at a time, padding included: strips that keep more are
split."""
_REACH: Final = 128
"""Columns that one line of numbers reaches: two registers of bytes."""
_LINE: Final = 16
"""Columns of a strip in a line."""
_ALIGNED: Final = 64
"""Where lines begin: at whole cache lines of the operand (5% of a step with strips of 4 rows)."""
_TILE: Final = 64
_GROUPS: Final = (16, 8, 4)
_LINE_COST: Final = 2.0
"""Time of gathering one line, relative to one tile."""
_BLOCK_COST: Final = 7.0
"""Fixed cost of a block, in tiles: its scatter and loop ends."""
_STRIP_COST: Final = {16: 0.5, 8: 0.5, 4: 0.5}
"""Fixed cost of a strip, in tiles: the end of its sums."""

Int8Array = NDArray[np.int8]


@dataclass(frozen=True)
class Int8Section:
    """Tiles of one kind, as arrays ready to be written.

    Attributes:
        kind: ``"dense"``, ``"strips"``, ``"blocks"`` or ``"scale"``.
        group: Rows of a strip; most rows of a block; 16.
        columns: (first, stop) of the matrix's columns that form the operand.
        values: Tiles, int8, shape (tiles, 64); of ``scale``, the rows' scales, fp32.
        count: Dense strips, quads, blocks or rows.
        heads: A record for each quad or block; of ``scale``, 128 times each row's sum of weights.
        indices: Of strips, lines of column numbers followed by a record for each.
        lines: Lines of column numbers.
        row: Of a dense section, the first, counted from the share's first.
        windows: Of blocks, the runs of 16 rows that masks cover.
    """

    kind: Literal["dense", "strips", "blocks", "scale"]
    group: int
    columns: tuple[int, int]
    values: NDArray[Any]
    count: int
    heads: NDArray[Any] | None = None
    indices: NDArray[np.uint8] | None = None
    lines: int = 0
    row: int = 0
    windows: int = 0


def tile_int8_matrix(
    matrix: Matrix, dense: Int8Array, rows: tuple[int, int], bounds: NDArray[np.int64]
) -> list[list[Int8Section]]:
    """Tile some rows of a matrix, share by share.

    Args:
        matrix: The matrix as stored, in int8.
        dense: The values of `Matrix.to_quantized`.
        rows: First and last + 1 of the rows to use.
        bounds: Rows, counted from the first, at which shares begin and end.

    Returns:
        Each share's sections; rows counted from the share's first.
    """
    assert matrix.scales is not None
    shares: list[list[Int8Section]] = [[] for _ in bounds[:-1]]
    width = matrix.shape[1]
    kept = dense[rows[0] : rows[1]]
    candidates: dict[str | int, list[_Strips]] = {}
    costs: dict[str | int, float] = {"dense": padded(width, 4) * padded(len(kept)) / _TILE}
    for group in _GROUPS:
        candidates[group] = _strips(kept, rows[0], bounds, group)
        costs[group] = sum(s.cost for s in candidates[group])
    blocks: Int8Blocks | None = None
    if isinstance(matrix, CSBMatrix) and matrix.row_group < STRIP:
        blocks = cut_int8_blocks(matrix, rows, bounds)
        costs["blocks"] = blocks.tiles + _BLOCK_COST * blocks.count
    best = min(costs, key=lambda choice: costs[choice])
    for share, sections in enumerate(shares):
        start, stop = int(bounds[share]), int(bounds[share + 1])
        if best == "dense":
            sections += _dense(kept[start:stop])
        elif best == "blocks":
            assert blocks is not None
            for part in tile_int8_blocks(blocks, dense, rows[0], share, start):
                sections.append(
                    Int8Section("blocks", part.group, (0, width), part.values, part.heads.size,
                                part.heads, windows=part.windows)
                )  # fmt: skip
        else:
            for strips in candidates[int(best)]:
                sections += strips.tile(share, start)
        if stop > start:
            scales = matrix.scales[rows[0] + start : rows[0] + stop]
            sections.append(scale_section(kept[start:stop], scales))
    return shares


def scale_section(kept: Int8Array, scales: NDArray[np.float32]) -> Int8Section:
    """Return how a share's sums become floats.

    Shape:
        kept: (rows, columns)
        scales: (rows,)
    """
    rows, columns = kept.shape
    offsets = np.zeros(padded(rows), np.int32)
    offsets[:rows] = (128 * kept.sum(axis=1, dtype=np.int64)).astype(np.uint32).view(np.int32)
    padded_scales = np.zeros(padded(rows), np.float32)
    padded_scales[:rows] = scales
    return Int8Section("scale", STRIP, (0, columns), padded_scales, rows, offsets)


def _dense(kept: Int8Array) -> list[Int8Section]:
    rows, columns = kept.shape
    strips, tiles = padded(rows) // STRIP, padded(columns, 4) // 4
    if rows == 0 or columns == 0:
        return []
    whole = np.zeros((strips, STRIP, tiles, 4), np.int8)
    whole.reshape(strips * STRIP, tiles * 4)[:rows, :columns] = kept
    panels = strips // 4 * 4
    values = np.concatenate(
        [
            whole[:panels].reshape(-1, 4, STRIP, tiles, 4).transpose(0, 3, 1, 2, 4).reshape(-1),
            whole[panels:].transpose(0, 2, 1, 3).reshape(-1),
        ]
    )
    return [Int8Section("dense", STRIP, (0, columns), values.reshape(-1, _TILE), strips)]


class _Strips:
    """Runs of up to ``group`` rows over one range of columns, cut but not yet tiled."""

    def __init__(
        self,
        kept: Int8Array,
        row_start: int,
        bounds: NDArray[np.int64],
        group: int,
        columns: tuple[int, int],
    ) -> None:
        self._group, self._columns, self._wide = group, columns, _TILE // group
        self._kept = kept[:, columns[0] : columns[1]]
        self._cut = Strips.cut(self._kept != 0, row_start, bounds, group)
        self._tiles = -(-self._cut.keep.sum(axis=1) // self._wide)

    @property
    def longest(self) -> int:
        """Most columns that a strip takes, padding included."""
        return int(self._tiles.max(initial=0)) * self._wide

    @property
    def cost(self) -> float:
        """Time, in tiles."""
        keep = self._cut.keep
        # Each line of four strips reaches about 128 columns, or fewer if they keep many.
        reach = min(_REACH, _LINE * keep.shape[1] / max(keep.sum(axis=1).mean(), 1.0))
        lines = len(keep) / 4 * keep.shape[1] / reach
        fixed = _STRIP_COST[self._group] * len(keep)
        return float(self._tiles.sum() + _LINE_COST * lines + fixed)

    def tile(self, share: int, start: int) -> list[Int8Section]:
        """Tile one share, whose first row is ``start``."""
        cut, group, wide = self._cut, self._group, self._wide
        mine = slice(int(cut.shares[share]), int(cut.shares[share + 1]))
        tiles = self._tiles[mine]
        # By length: a loop that always ends after the same count is predicted.
        order = np.argsort(tiles, kind="stable")
        order = order[tiles[order] > 0]
        if order.size == 0:
            return []
        keep, starts, stops = (a[mine][order] for a in (cut.keep, cut.starts, cut.stops))
        tiles, heights = tiles[order], stops - starts
        quads = padded(order.size, 4) // 4
        columns = np.full((4 * quads, int(tiles.max()) * wide), -1, np.int64)
        counts = keep.sum(axis=1)
        strip, column = np.nonzero(keep)
        number = np.arange(strip.size) - np.repeat(np.cumsum(counts) - counts, counts)
        columns[strip, number] = column
        quad_tiles = np.zeros(4 * quads, np.int64)
        quad_tiles[: order.size] = tiles
        quad_tiles = quad_tiles.reshape(quads, 4).max(axis=1)
        # Rows that a short strip lacks, columns that padding lacks: zero.
        first, height = np.zeros((2, 4 * quads), np.int64)
        first[: order.size], height[: order.size] = starts, heights
        # Then by lines: another such loop.
        by_lines = np.lexsort((_lines(columns.reshape(quads, 4, -1))[0], quad_tiles))
        quad_tiles = quad_tiles[by_lines]
        four = (4 * by_lines[:, None] + np.arange(4)).reshape(-1)
        columns, first, height = columns[four], first[four], height[four]
        line_counts, numbers, records = _lines(columns.reshape(quads, 4, -1))

        heads = np.zeros(quads, QUAD_HEAD)
        heads["row"] = np.where(height > 0, first - start, 0).reshape(quads, 4)
        heads["tiles"], heads["lines"] = quad_tiles, line_counts
        values = []
        for size in np.unique(quad_tiles):
            which = np.flatnonzero(quad_tiles == size)
            strips = (4 * which[:, None] + np.arange(4)).reshape(-1)
            of = columns[strips, : size * wide][:, None, :]
            within = np.arange(group)[None, :, None]
            there = (of >= 0) & (within < height[strips][:, None, None])
            at = np.minimum(first[strips][:, None, None] + within, len(self._kept) - 1)
            weights = np.where(there, self._kept[at, np.maximum(of, 0)], 0).astype(np.int8)
            shape = (which.size, 4, group, int(size), wide)
            values.append(weights.reshape(shape).transpose(0, 3, 1, 2, 4).reshape(-1, _TILE))
        # `unique` ascends, as quads do.
        return [
            Int8Section(
                "strips",
                group,
                self._columns,
                np.concatenate(values),
                quads,
                heads,
                np.concatenate([numbers.reshape(-1), records.view(np.uint8)]),
                lines=records.size,
            )
        ]


def _strips(
    kept: Int8Array, row_start: int, bounds: NDArray[np.int64], group: int
) -> list[_Strips]:
    """Cut rows into strips; over ranges of columns if any strip keeps too many."""
    width = kept.shape[1]
    whole = _Strips(kept, row_start, bounds, group, (0, width))
    if whole.longest <= GATHER:
        return [whole]
    return [
        _Strips(kept, row_start, bounds, group, (first, min(first + GATHER, width)))
        for first in range(0, width, GATHER)
    ]


def _lines(
    columns: NDArray[np.int64],
) -> tuple[NDArray[np.int64], NDArray[np.uint8], NDArray[Any]]:
    """Cut the columns of quads into lines.

    A line begins at the first column that any of the four strips still lacks, rounded down, and
    takes of each the next 16 columns within reach.

    Args:
        columns: Of each strip, ascending, -1 behind the last.

    Shape:
        columns: (quads, 4, longest)
        returns: lines of each quad (quads,); numbers (lines, 64); records (lines,)
    """
    quads, _, longest = columns.shape
    end = np.iinfo(np.int64).max
    known = np.full((quads, 4, longest + _LINE), end, np.int64)
    known[..., :longest] = np.where(columns < 0, end, columns)
    at = np.zeros((quads, 4), np.int64)
    lines_of: list[tuple[NDArray[np.int64], NDArray[np.uint8], NDArray[Any]]] = []
    active = np.arange(quads)
    while True:
        next_columns = np.take_along_axis(known[active], at[active][..., None], axis=2)[..., 0]
        begin = next_columns.min(axis=1)
        active, begin = active[begin < end], begin[begin < end] // _ALIGNED * _ALIGNED
        if active.size == 0:
            break
        places = at[active][..., None] + np.arange(_LINE)
        taken = np.take_along_axis(known[active], places, axis=2)
        within = taken < begin[:, None, None] + _REACH
        numbers = np.where(within, taken - begin[:, None, None], 0).astype(np.uint8)
        records = np.zeros(active.size, COLUMN_LINE)
        records["start"], records["count"] = begin, within.sum(axis=2)
        at[active] += within.sum(axis=2)
        lines_of.append((active, numbers.reshape(-1, 4 * _LINE), records))
    if not lines_of:
        return np.zeros(quads, np.int64), np.zeros((0, 64), np.uint8), np.zeros(0, COLUMN_LINE)
    quad, numbers, records = (np.concatenate(parts) for parts in zip(*lines_of, strict=True))
    order = np.argsort(quad, kind="stable")
    return np.bincount(quad, minlength=quads), numbers[order], records[order]
