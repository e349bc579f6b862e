"""How a matrix's weights are cut into tiles of 16 floats: the order in which kernels read them.

Three kinds of section, chosen by counting what each would read:

- *dense*: strips of 16 rows with every column, no index;
- *strips*: runs of 16, 8 or 4 rows, each with the columns that any of its rows keeps. All blocks
  that a run of rows passes through merge into one long strip;
- *blocks*: the kernels of CSB blocks with free rows, up to 32 rows and 64 apart, as a bit mask.

A tile is G rows by 16 / G columns. Where a strip's columns don't fill its last tile, the last
column is repeated and its weight shared among the copies (a half and a half, or a half and two
quarters): exact, and unlike zeros harmless when that input is infinite.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import NDArray

from csbrnn.formats import CSBMatrix, Matrix
from csbrnn.runtime.blocks import BlockRows, cut_blocks, tile_blocks
from csbrnn.runtime.layout import STRIP, STRIP_HEAD, padded
from csbrnn.runtime.sharing import share_last

__all__ = ["MAX_COLUMNS", "Section", "Strips", "balance", "tile_matrix"]

MAX_COLUMNS: Final = 65536
"""Columns that a 16-bit index tells apart; wider operands are split."""

_GROUPS: Final = (16, 8, 4)
_TILE_COST: Final = {16: 1.0, 8: 1.2, 4: 1.6}
"""Time of one tile of an indexed strip, that of 16 rows being 1. Measured on Zen 5 with AVX-512:
1.45 and 2.35 where weights come from the L2 cache, 1.06 and 1.35 from the L3; between the two."""
_DENSE_COST: Final = 0.9
"""A dense tile has no index to read: 0.8 from the L3, 1.1 from the L2."""
_PANEL: Final = 4
"""Dense strips that are read as one stream."""
_BLOCK_COST: Final = 9.0
"""Fixed cost of a block, in tiles: its scatter and loop ends. Measured: 6 from the L3 cache, 14
from the L2 (4 to 5 ns either way)."""


@dataclass(frozen=True)
class Section:
    """Tiles of one kind for one operand, as arrays ready to be written.

    Attributes:
        kind: ``"dense"``, ``"strips"`` or ``"blocks"``.
        group: Rows of a strip; most rows of a block.
        columns: (first, stop) of the matrix's columns that form the operand.
        values: (tiles, 16), fp32.
        heads: One record a strip or block.
        indices: Columns, from the operand's first, uint16.
        count: Strips or blocks.
        row: Of a dense section, the first.
        windows: Of blocks, the runs of 16 rows that masks cover.
    """

    kind: Literal["dense", "strips", "blocks"]
    group: int
    columns: tuple[int, int]
    values: NDArray[np.float32]
    count: int
    heads: NDArray[Any] | None = None
    indices: NDArray[np.uint16] | None = None
    row: int = 0
    windows: int = 0


def balance(loads: Sequence[NDArray[np.float64]], parts: int) -> NDArray[np.int64]:
    """Return the rows at which a sum of products is cut: multiples of 16, about equal loads.

    Args:
        loads: Of each product, the work of each row (kept weights).
        parts: Shares.

    Shape:
        loads: (rows,) each
        returns: (parts + 1,), from 0 to rows
    """
    rows = loads[0].size
    # Every row also costs its share of bias and gates: about as much as 8 weights.
    load = np.zeros(padded(rows))
    load[:rows] = 8.0 + np.sum(loads, axis=0)
    reached = np.concatenate([[0.0], np.cumsum(load.reshape(-1, STRIP).sum(axis=1))])
    targets = reached[-1] * np.arange(1, parts) / parts
    # The boundary nearest to each target.
    above = np.searchsorted(reached, targets)
    nearer = np.abs(reached[above - 1] - targets) < np.abs(reached[above] - targets)
    cuts = (above - nearer) * STRIP
    return np.concatenate([[0], np.minimum(cuts, rows), [rows]]).astype(np.int64)


def tile_matrix(
    matrix: Matrix,
    dense: NDArray[np.float32],
    rows: tuple[int, int],
    bounds: NDArray[np.int64],
) -> list[list[Section]]:
    """Tile some rows of a matrix, share by share.

    Args:
        matrix: The matrix as stored.
        dense: `Matrix.to_dense` of it.
        rows: First and last + 1 of the rows to use.
        bounds: Rows, counted from the first, at which shares begin and end.

    Returns:
        Each share's sections; rows counted from ``rows[0]``.
    """
    shares: list[list[Section]] = [[] for _ in bounds[:-1]]
    width = matrix.shape[1]
    for first in range(0, width, MAX_COLUMNS):
        columns = (first, min(first + MAX_COLUMNS, width))
        kept = dense[rows[0] : rows[1], columns[0] : columns[1]]
        cuts = {g: Strips.cut(kept != 0, rows[0], bounds, g) for g in _GROUPS}
        costs: dict[str | int, float] = {g: _TILE_COST[g] * s.tiles for g, s in cuts.items()}
        costs["dense"] = _DENSE_COST * kept.shape[1] * padded(kept.shape[0]) / STRIP
        blocks: BlockRows | None = None
        if isinstance(matrix, CSBMatrix) and width <= MAX_COLUMNS and matrix.row_group < 16:
            blocks = cut_blocks(matrix, rows, bounds)
            costs["blocks"] = blocks.tiles + _BLOCK_COST * blocks.count
        best = min(costs, key=lambda choice: costs[choice])
        for share, sections in enumerate(shares):
            if best == "dense":
                sections += _dense(kept, columns, bounds[share : share + 2])
            elif best == "blocks":
                assert blocks is not None
                assert isinstance(matrix, CSBMatrix)
                for group, windows, heads, indices, values in tile_blocks(matrix, blocks, share):
                    count = heads.size
                    sections.append(
                        Section("blocks", group, columns, values, count, heads, indices, 0, windows)
                    )
            else:
                sections += cuts[int(best)].tile(kept, columns, share)
    return shares


def _dense(
    kept: NDArray[np.float32], columns: tuple[int, int], bounds: NDArray[np.int64]
) -> list[Section]:
    start, stop = (int(b) for b in bounds)
    strips = padded(stop - start) // STRIP
    if strips == 0:
        return []
    rows = np.zeros((strips * STRIP, kept.shape[1]), np.float32)
    rows[: stop - start] = kept[start:stop]
    # Panels of four strips are interleaved column by column; the strips left over follow alone.
    panels = strips // _PANEL * _PANEL * STRIP
    values = np.concatenate(
        [
            part.reshape(-1, height, kept.shape[1]).transpose(0, 2, 1).reshape(-1, STRIP)
            for part, height in ((rows[:panels], _PANEL * STRIP), (rows[panels:], STRIP))
        ]
    )
    return [Section("dense", 16, columns, values, strips, row=start)]


@dataclass(frozen=True)
class Strips:
    """Runs of up to ``group`` rows, none across a boundary of shares.

    Attributes:
        group: Most rows.
        starts: First row of each. Shape: (strips,)
        stops: Last row of each, plus 1. Shape: (strips,)
        keep: Whether any of its rows keeps a column. Shape: (strips, columns)
        shares: First strip of each share, and the end. Shape: (shares + 1,)
    """

    group: int
    starts: NDArray[np.int64]
    stops: NDArray[np.int64]
    keep: NDArray[np.bool_]
    shares: NDArray[np.int64]

    @classmethod
    def cut(
        cls, nonzero: NDArray[np.bool_], row_start: int, bounds: NDArray[np.int64], group: int
    ) -> Strips:
        """Cut rows into strips, aligned to the matrix's and to the shares' first rows."""
        # Aligned to the whole matrix, as row groups are, also if the range begins elsewhere.
        rows = nonzero.shape[0]
        aligned = np.arange(-(row_start % group), rows, group)
        starts = np.unique(np.concatenate([np.maximum(aligned, 0), bounds[:-1]]))
        starts = starts[starts < rows]
        keep = np.logical_or.reduceat(nonzero, starts, axis=0)
        stops = np.append(starts[1:], rows)
        return cls(group, starts, stops, keep, np.searchsorted(starts, bounds))

    @property
    def tiles(self) -> int:
        """Tiles that they take."""
        wide = STRIP // self.group
        return int((-(-self.keep.sum(axis=1) // wide)).sum())

    def tile(
        self, kept: NDArray[np.float32], columns: tuple[int, int], share: int
    ) -> list[Section]:
        """Tile one share."""
        mine = slice(int(self.shares[share]), int(self.shares[share + 1]))
        keep = self.keep[mine]
        used = keep.any(axis=1)
        keep, starts = keep[used], self.starts[mine][used]
        heights = self.stops[mine][used] - starts
        if starts.size == 0:
            return []
        wide = STRIP // self.group
        # By length: a loop that always ends after the same count is predicted (4 ns a strip).
        order = np.argsort(keep.sum(axis=1), kind="stable")
        keep, starts, heights = keep[order], starts[order], heights[order]
        strip, column = np.nonzero(keep)
        strip, column, shared = share_last(strip, column, wide)
        # Row `rows` of `kept` does not exist: it stands for the rows that a short strip lacks.
        row = starts[strip][:, None] + np.arange(self.group)
        there = np.arange(self.group) < heights[strip][:, None]
        values = np.where(there, kept[np.minimum(row, kept.shape[0] - 1), column[:, None]], 0)
        values = (values * shared[:, None]).astype(np.float32).reshape(-1, STRIP)
        heads = np.zeros(starts.size, STRIP_HEAD)
        heads["row"], heads["rows"] = starts, heights
        heads["tiles"] = np.bincount(strip, minlength=starts.size) // wide
        indices = column.astype(np.uint16)
        return [Section("strips", self.group, columns, values, starts.size, heads, indices)]
