"""How a matrix's weights are cut into tiles of 16 floats: the order in which kernels read them.

Four kinds of section, chosen by counting what each would read:

- *dense*: strips of 16 rows with every column, no index;
- *strips*: runs of 16, 8 or 4 rows, each with the columns that any of its rows keeps. All blocks
  that a run of rows passes through merge into one long strip;
- *bundles*: the same of 8, 4, 2 or 1 rows, sixteen strips at a time;
- *blocks*: the kernels of CSB blocks with free rows, up to 32 rows and 64 apart, as a bit mask.

A tile is G rows by 16 / G columns; of bundles, one row of each strip.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from csbrnn.formats import CSBMatrix, Matrix
from csbrnn.runtime.blocks import BlockRows, cut_blocks, tile_blocks
from csbrnn.runtime.bundles import GROUPS, PAIR, REACHES, Bundles
from csbrnn.runtime.costs import Costs
from csbrnn.runtime.layout import STRIP, padded
from csbrnn.runtime.strips import Section, Strips

__all__ = ["MAX_COLUMNS", "balance", "tile_matrix"]

MAX_COLUMNS: Final = 65536
"""Columns that a 16-bit index tells apart; wider operands are split."""

_PANEL: Final = 4
"""Dense strips that are read as one stream."""


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
    costs: Costs,
    *,
    even: bool = False,
) -> list[list[Section]]:
    """Tile some rows of a matrix, share by share.

    Args:
        matrix: The matrix as stored.
        dense: `Matrix.to_dense` of it.
        rows: First and last + 1 of the rows to use.
        bounds: Rows, counted from the first, at which shares begin and end.
        costs: What tiles take.
        even: Whether strips of 16 rows are to have an even number of tiles, so that where two
            weights take four bytes each strip begins at a cache line.

    Returns:
        Each share's sections; rows counted from ``rows[0]``.
    """
    shares: list[list[Section]] = [[] for _ in bounds[:-1]]
    width = matrix.shape[1]
    for first in range(0, width, MAX_COLUMNS):
        columns = (first, min(first + MAX_COLUMNS, width))
        kept = dense[rows[0] : rows[1], columns[0] : columns[1]]
        cuts = {g: Strips.cut(kept != 0, rows[0], bounds, g) for g in (STRIP, *GROUPS)}
        ways = [
            _Way(
                costs.dense * kept.shape[1] * padded(kept.shape[0]) / STRIP,
                partial(_dense, kept, columns, bounds),
            ),
            *(
                _Way(
                    cost * cuts[group].tiles,
                    partial(cuts[group].tile, kept, columns, even=even and group == STRIP),
                )
                for group, cost in costs.tile.items()
            ),
        ]
        if isinstance(matrix, CSBMatrix) and width <= MAX_COLUMNS and matrix.row_group < STRIP:
            blocks = cut_blocks(matrix, rows, bounds)
            price = costs.block_tile * blocks.tiles + costs.block * blocks.count
            ways.append(_Way(price, partial(_blocks, matrix, blocks)))
        best = min(ways, key=lambda way: way.price)
        # Counting a bundle's lines takes longer than to see what they are at least.
        for bundles in _bundles(cuts):
            if _price(bundles, bundles.least_lines, costs) < best.price:
                price = _price(bundles, bundles.lines, costs)
                if price < best.price:
                    best = _Way(price, partial(bundles.tile, kept, columns))
        for share, sections in enumerate(shares):
            sections += best.tile(share)
    return shares


class _Way(NamedTuple):
    """A way to tile some columns of a matrix: what it costs, and how to tile a share."""

    price: float
    tile: Callable[[int], list[Section]]


def _bundles(cuts: Mapping[int, Strips]) -> Iterator[Bundles]:
    """Every way to tile strips as bundles."""
    for group in GROUPS:
        for reach in REACHES:
            if Bundles.fits(cuts[group], reach):
                yield Bundles(cuts[group], reach)


def _price(bundles: Bundles, lines: int, costs: Costs) -> float:
    """What bundles of so many lines cost."""
    return lines * (PAIR * bundles.cut.group * costs.bundle + costs.line[bundles.reach])


def _blocks(matrix: CSBMatrix, blocks: BlockRows, share: int) -> list[Section]:
    columns = (0, matrix.shape[1])
    return [
        Section("blocks", group, columns, values, heads.size, heads, indices, 0, windows)
        for group, windows, heads, indices, values in tile_blocks(matrix, blocks, share)
    ]


def _dense(
    kept: NDArray[np.float32], columns: tuple[int, int], bounds: NDArray[np.int64], share: int
) -> list[Section]:
    start, stop = (int(b) for b in bounds[share : share + 2])
    strips = padded(stop - start) // STRIP
    if strips == 0:
        return []
    rows = np.zeros((strips * STRIP, kept.shape[1]), np.float32)
    rows[: stop - start] = kept[start:stop]
    # Panels of four strips are interleaved; the strips left over follow alone.
    panels = strips // _PANEL * _PANEL
    parts = [
        _interleaved(part.reshape(-1, count, STRIP, kept.shape[1]))
        for part, count in ((rows[: panels * STRIP], _PANEL), (rows[panels * STRIP :], 1))
        if part.size
    ]
    values, paired = (np.concatenate(arrays) for arrays in zip(*parts, strict=True))
    return [Section("dense", 16, columns, values, strips, row=start, paired=paired)]


def _interleaved(panels: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Tile panels: two columns of one strip, of the next, ..; of an odd number the last one last.

    Shape:
        panels: (panels, strips, 16, columns)

    Returns:
        Tiles, and which of them lie two by two.
    """
    count, strips, _, columns = panels.shape
    even = columns // PAIR * PAIR
    tiles = panels.transpose(0, 3, 1, 2)
    pairs = tiles[:, :even].reshape(count, even // PAIR, PAIR, strips, STRIP).swapaxes(2, 3)
    pairs = pairs.reshape(count, even * strips, STRIP)
    values = np.concatenate([pairs, tiles[:, even:].reshape(count, -1, STRIP)], axis=1)
    paired = np.arange(values.shape[1]) < pairs.shape[1]
    return values.reshape(-1, STRIP), np.tile(paired, count)
