"""How a matrix in int8 is cut into tiles of 64 weights, for kernels that sum in int32.

Four kinds of section, chosen by counting:

- *dense*: strips of 16 rows with every column; four columns a tile;
- *strips*: runs of 16 or 8 rows, each with the columns that any of its rows keeps. Four strips form
  a quad, whose tiles alternate; a tile has G rows, one after another, of 64 / G columns each;
- *bundles*: the same of 16, 8, 4, 2 or 1 rows, sixteen strips at a time; a tile has one row of
  each, of 4 columns. So scattered weights cost a look-up a tile, stripes of 16 rows a sixteenth of
  one. Fewer columns are padded in quads, operands need no permutation in bundles;
- *blocks*: the kernels of CSB blocks with free rows (`csbrnn.runtime.blocks_int8`).

Numbers of strips' columns come in lines of 64 (`csbrnn.runtime.column_lines`), which are looked up
in up to 512 neighbouring columns at once. Padding is zero weights: whatever they meet, the sums are
exact. A last section of kind *scale* says how sums become floats.

A row lies in one strip but in many blocks. So strips store their sums, all rows of them, and blocks
add to sums that must be zero before.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from csbrnn.formats import CSBMatrix, Matrix
from csbrnn.runtime.blocks_int8 import Int8Blocks, cut_int8_blocks, tile_int8_blocks
from csbrnn.runtime.column_lines import ColumnLines
from csbrnn.runtime.layout import BUNDLE_HEAD, QUAD_HEAD, STRIP, padded
from csbrnn.runtime.strips import Strips

__all__ = [
    "DEFAULT_COSTS",
    "INT8_COSTS",
    "Int8Costs",
    "Int8Section",
    "scale_section",
    "tile_int8_matrix",
]

_TILE: Final = 64
_StripKind = Literal["strips", "bundles"]
_GROUPS: Final[Mapping[_StripKind, tuple[int, ...]]] = {
    "strips": (16, 8),
    "bundles": (16, 8, 4, 2, 1),
}
_STRIP_COST: Final = 0.4
"""Fixed cost of a strip, in tiles: the end of its sums."""

Int8Array = NDArray[np.int8]


class Int8Costs(NamedTuple):
    """What is not proportional to tiles, relative to the time of one tile, on some machine.

    Attributes:
        line: Looking one line of columns up, for each number of windows that it may reach.
        block: A block's operand, its scatter and the ends of its loops.
    """

    line: Mapping[int, float]
    block: float


INT8_COSTS: Final = {"avx512_vnni": Int8Costs(line={2: 1.5, 4: 2.0, 8: 3.3}, block=5.5)}
"""By instruction set. Measured on Zen 4, fitted to 45 matrices of 1 to 9 million weights, pruned
4x to 32x, each in up to 15 ways: half of the times are met to 5%, 90% to 11%, and what is chosen
takes 1% longer than the best. A tile takes 0.6 ns."""
DEFAULT_COSTS: Final = Int8Costs(line={2: 8.0, 4: 12.0}, block=7.0)
"""Where 16 bytes are looked up at a time. Measured with AVX2: 13 ns a line, and 1.1 a tile."""


@dataclass(frozen=True)
class Int8Section:
    """Tiles of one kind, as arrays ready to be written.

    Attributes:
        kind: ``"dense"``, ``"strips"``, ``"bundles"``, ``"blocks"`` or ``"scale"``.
        group: Rows of a strip; most rows of a block; 16.
        columns: (first, stop) of the matrix's columns that form the operand.
        values: Tiles, int8, shape (tiles, 64); of ``scale``, the rows' scales, fp32.
        count: Dense strips, quads, bundles, blocks or rows.
        heads: A record for each quad, bundle or block; of ``scale``, 128 times each row's sum of
            weights.
        indices: Of strips and bundles, `ColumnLines` as they encode.
        lines: Lines of column numbers that they use.
        row: Of a dense section, the first, counted from the share's first.
        windows: Of blocks, the runs of 16 rows that masks cover; of strips and bundles, the runs of
            64 columns that a line reaches; of ``scale``, 1 if it must leave zeros, for blocks to
            add to.
    """

    kind: Literal["dense", "strips", "bundles", "blocks", "scale"]
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
    matrix: Matrix,
    dense: Int8Array,
    rows: tuple[int, int],
    bounds: NDArray[np.int64],
    parts: int,
    fixed: Int8Costs = DEFAULT_COSTS,
) -> list[list[Int8Section]]:
    """Tile some rows of a matrix, part by part.

    Rows are cut into runs, which are dealt in turns: part p gets runs p, p + ``parts``, ... A part
    numbers its rows one after another, across its runs.

    Args:
        matrix: The matrix as stored, in int8.
        dense: The values of `Matrix.to_quantized`.
        rows: First and last + 1 of the rows to use.
        bounds: Rows, counted from the first, at which runs begin and end.
        parts: Parts.
        fixed: What lines and blocks take where this will run.

    Returns:
        Each part's sections.
    """
    assert matrix.scales is not None
    width = matrix.shape[1]
    kept = dense[rows[0] : rows[1]]
    costs: dict[str | _Strips, float] = {"dense": padded(width, 4) * padded(len(kept)) / _TILE}
    blocks: Int8Blocks | None = None
    whole_strips = not (bounds[:-1] % STRIP).any()
    if isinstance(matrix, CSBMatrix) and matrix.row_group < STRIP and whole_strips:
        blocks = cut_int8_blocks(matrix, rows, bounds)
        costs["blocks"] = blocks.tiles + fixed.block * blocks.count
    for least, strips in sorted(_candidates(kept, rows[0], bounds, fixed), key=lambda c: c[0]):
        if least < min(costs.values()):
            costs[strips] = strips.cost(fixed)
    best = min(costs, key=lambda choice: costs[choice])
    tiled: list[list[Int8Section]] = []
    for part in range(parts):
        sections: list[Int8Section] = []
        runs = _Run.of(bounds, part, parts)
        if best == "dense":
            for run in runs:
                sections += _dense(kept[run.start : run.stop], run.place)
        elif best == "blocks":
            assert blocks is not None
            for run in runs:
                for piece in tile_int8_blocks(
                    blocks, dense, rows[0], run.number, run.start - run.place
                ):
                    sections.append(
                        Int8Section("blocks", piece.group, (0, width), piece.values,
                                    piece.heads.size, piece.heads, windows=piece.windows)
                    )  # fmt: skip
        elif isinstance(best, _Strips):
            sections += best.tile(runs)
        mine = np.concatenate([np.arange(run.start, run.stop) for run in runs])
        if mine.size:
            scales = matrix.scales[rows[0] : rows[1]][mine]
            sections.append(scale_section(kept[mine], scales, clear=best == "blocks"))
        tiled.append(sections)
    return tiled


def scale_section(
    kept: Int8Array, scales: NDArray[np.float32], *, clear: bool = False
) -> Int8Section:
    """Return how a part's sums become floats.

    Args:
        kept: The part's rows.
        scales: Of each.
        clear: Whether it must leave zeros.

    Shape:
        kept: (rows, columns)
        scales: (rows,)
    """
    rows, columns = kept.shape
    offsets = np.zeros(padded(rows), np.int32)
    offsets[:rows] = (128 * kept.sum(axis=1, dtype=np.int64)).astype(np.uint32).view(np.int32)
    padded_scales = np.zeros(padded(rows), np.float32)
    padded_scales[:rows] = scales
    return Int8Section(
        "scale", STRIP, (0, columns), padded_scales, rows, offsets, windows=int(clear)
    )


def _dense(kept: Int8Array, place: int) -> list[Int8Section]:
    """Tile a run whose first row is a part's row ``place``."""
    rows, columns = kept.shape
    strips, tiles = padded(rows) // STRIP, padded(columns, 4) // 4
    if rows == 0:
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
    values = values.reshape(-1, _TILE)
    return [Int8Section("dense", STRIP, (0, columns), values, strips, row=place)]


def _candidates(
    kept: Int8Array, row_start: int, bounds: NDArray[np.int64], fixed: Int8Costs
) -> Iterator[tuple[float, _Strips]]:
    """Ways to cut rows into strips, and what each costs at least."""
    nonzero = kept != 0
    for kind, groups in _GROUPS.items():
        for group in groups:
            cut = Strips.cut(nonzero, row_start, bounds, group)
            for windows in fixed.line:
                strips = _Strips(kind, cut, kept, windows)
                yield strips.cost(fixed, exact=False), strips


class _Run(NamedTuple):
    """Rows of a part that follow one another.

    Attributes:
        number: Of the run, among those of all parts.
        start: Its first row.
        stop: Its last row + 1.
        place: What its first row is to the part.
    """

    number: int
    start: int
    stop: int
    place: int

    @classmethod
    def of(cls, bounds: NDArray[np.int64], part: int, parts: int) -> list[_Run]:
        """The runs of a part."""
        runs, place = [], 0
        for number in range(part, len(bounds) - 1, parts):
            start, stop = int(bounds[number]), int(bounds[number + 1])
            runs.append(cls(number, start, stop, place))
            place += stop - start
        return runs


class _Strips:
    """Runs of up to ``group`` rows, cut but not yet tiled.

    Args:
        kind: How they are tiled.
        cut: The runs.
        kept: The rows' weights.
        windows: Most windows of 64 columns in which a line looks them up.
    """

    def __init__(self, kind: _StripKind, cut: Strips, kept: Int8Array, windows: int) -> None:
        self.kind, self._cut, self._kept, self._windows = kind, cut, kept, windows
        self.group = group = cut.group
        self._strips = 4 if kind == "strips" else 16  # of a quad, or of a bundle
        self._share = _TILE // self._strips  # columns of a strip in a line,
        self._wide = min(_TILE // group, self._share)  # and in a tile
        self._tiles = -(-cut.keep.sum(axis=1) // self._wide)

    def cost(self, fixed: Int8Costs, *, exact: bool = True) -> float:
        """Time, in tiles; at least, if lines reached all columns, or as it is."""
        order = np.argsort(self._tiles, kind="stable")
        lacking = -len(order) % self._strips
        if exact:
            keep = np.pad(self._cut.keep[order], ((0, lacking), (0, 0)))
            lines = ColumnLines.of(keep.reshape(-1, self._strips, keep.shape[1]), self._windows)
            length, found = self._length(lines), len(lines.starts)
        else:
            tiles = np.pad(self._tiles[order], (0, lacking))
            length = tiles.reshape(-1, self._strips).max(axis=1, initial=0)
            found = int((-(-length * self._wide // self._share)).sum())
        tiles_of_all = self._strips * int(length.sum()) * self.group * self._wide / _TILE
        return tiles_of_all + fixed.line[self._windows] * found + _STRIP_COST * len(self._tiles)

    def tile(self, runs: Sequence[_Run]) -> list[Int8Section]:
        """Tile a part's runs.

        Kernels store a whole strip's rows. So a short strip, whose rows are followed by another's,
        comes before that one: short ones first and in order, then the others by length.
        """
        cut, group, strips = self._cut, self.group, self._strips
        numbers = [np.arange(*cut.shares[run.number : run.number + 2]) for run in runs]
        mine = np.concatenate(numbers)
        if mine.size == 0:
            return []
        moved = np.repeat([run.place - run.start for run in runs], [*map(len, numbers)])
        row, short = cut.starts[mine] + moved, cut.stops[mine] - cut.starts[mine] < group
        order = np.lexsort((np.where(short, row, self._tiles[mine]), ~short))
        mine, row = mine[order], row[order]
        # Strips that the last set lacks keep nothing, and store it behind all rows.
        lacking = -mine.size % strips
        behind = padded(runs[-1].place + runs[-1].stop - runs[-1].start)
        first, height = cut.starts[mine], cut.stops[mine] - cut.starts[mine]
        keep = np.pad(cut.keep[mine], ((0, lacking), (0, 0)))
        keep = keep.reshape(-1, strips, cut.keep.shape[1])
        first, height = (np.pad(a, (0, lacking)).reshape(-1, strips) for a in (first, height))
        row = np.pad(row, (0, lacking), constant_values=behind).reshape(-1, strips)

        lines = ColumnLines.of(keep, self._windows)
        tiles = self._length(lines)
        # By length again: a loop that always ends after the same count is predicted.
        begun = -(-int(short.sum()) // strips)
        order = np.append(np.arange(begun), begun + np.argsort(tiles[begun:], kind="stable"))
        tiles, lines = tiles[order], lines.reordered(order)
        first, height, row = first[order], height[order], row[order]

        if self.kind == "strips":
            heads = np.zeros(tiles.size, QUAD_HEAD)
            heads["row"], heads["tiles"] = row, tiles
        else:
            heads = np.zeros(tiles.size, BUNDLE_HEAD)
            heads["row"], heads["lines"] = row, tiles
        values, line_stops = [], np.cumsum(lines.counts)
        for same in np.split(np.arange(tiles.size), np.flatnonzero(np.diff(tiles)) + 1):
            stop = int(line_stops[same[-1]])
            columns = lines.columns[stop - int(lines.counts[same].sum()) : stop]
            values.append(self._values(columns, first[same], height[same], int(tiles[same[0]])))
        return [
            Int8Section(
                self.kind,
                group,
                (0, self._kept.shape[1]),
                np.concatenate(values),
                tiles.size,
                heads,
                lines.encode(),
                lines=len(lines.starts),
                windows=lines.windows,
            )
        ]

    def _length(self, lines: ColumnLines) -> NDArray[np.int64]:
        """Tiles of each set's strips: of its last line only those that are needed."""
        each = self._share // self._wide
        length: NDArray[np.int64] = (lines.counts - 1) * each + -(-lines.last // self._wide)
        return np.maximum(length, 0)

    def _values(
        self,
        columns: NDArray[np.int64],
        first: NDArray[np.int64],
        height: NDArray[np.int64],
        tiles: int,
    ) -> Int8Array:
        """Tiles of sets that take as many each.

        Args:
            columns: Of their lines.
            first: Rows of strips.
            height: Their number of rows.
            tiles: Of a strip.

        Shape:
            columns: (lines, strips, 16)
            first, height: (sets, strips)
            returns: (tiles of all, 64)
        """
        group, wide, (sets, strips) = self.group, self._wide, first.shape
        if tiles == 0:
            return np.zeros((0, _TILE), np.int8)
        columns = columns.reshape(sets, -1, strips, self._share).transpose(0, 2, 1, 3)
        columns = columns.reshape(sets, strips, 1, -1)[..., : tiles * wide]
        within = np.arange(group)[:, None]
        there = (columns >= 0) & (within < height[..., None, None])
        at = np.minimum(first[..., None, None] + within, len(self._kept) - 1)
        weights = np.where(there, self._kept[at, np.maximum(columns, 0)], 0).astype(np.int8)
        weights = weights.reshape(sets, strips, group, tiles, wide)
        # A tile has all rows of one strip, or one row of all.
        order = (0, 3, 1, 2, 4) if self.kind == "strips" else (0, 3, 2, 1, 4)
        return weights.transpose(order).reshape(-1, _TILE)
