"""`Strips`: runs of rows, each with the columns that any of them keeps, as tiles of 16 floats.

Where a strip's columns don't fill its last tile, the last column is repeated and its weight shared
among the copies (a half and a half, or a half and two quarters): exact, and unlike zeros harmless
when that input is infinite.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from csbrnn.runtime.layout import STRIP, STRIP_HEAD
from csbrnn.runtime.sharing import share_last

__all__ = ["Section", "Strips"]


@dataclass(frozen=True)
class Section:
    """Tiles of one kind for one operand, as arrays ready to be written.

    Attributes:
        kind: ``"dense"``, ``"strips"``, ``"bundles"`` or ``"blocks"``.
        group: Rows of a strip; most rows of a block.
        columns: (first, stop) of the matrix's columns that form the operand.
        values: (tiles, 16), fp32.
        count: Strips, bundles or blocks.
        heads: One record a strip, bundle or block.
        indices: Columns, from the operand's first, uint16; of bundles as docs/spec/program.md says.
        row: Of a dense section, the first.
        windows: Of blocks, the runs of 16 rows that masks cover; of bundles, those of 16 columns
            that a line reaches.
        lines: Of bundles.
        paired: Which tiles are read two by two, where two of their weights fit four bytes. Shape:
            (tiles,). None are if left out.
    """

    kind: Literal["dense", "strips", "bundles", "blocks"]
    group: int
    columns: tuple[int, int]
    values: NDArray[np.float32]
    count: int
    heads: NDArray[Any] | None = None
    indices: NDArray[np.uint16] | NDArray[np.uint8] | None = None
    row: int = 0
    windows: int = 0
    lines: int = 0
    paired: NDArray[np.bool_] | None = None


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

    def of_share(self, share: int) -> NDArray[np.int64]:
        """Numbers of a share's strips that keep anything, by length.

        A loop that always ends after the same count is predicted (4 ns a strip).
        """
        first, stop = self.shares[share : share + 2]
        length = self.keep[first:stop].sum(axis=1)
        order = np.argsort(length, kind="stable")
        numbers: NDArray[np.int64] = first + order[length[order] > 0]
        return numbers

    def tile(
        self,
        kept: NDArray[np.float32],
        columns: tuple[int, int],
        share: int,
        *,
        even: bool = False,
    ) -> list[Section]:
        """Tile one share.

        Args:
            kept: The rows' weights.
            columns: (first, stop) of the matrix's columns that they are.
            share: Its number.
            even: Whether each strip is to have an even number of tiles. Of 16 rows they have one
                column each, and two are read at once.
        """
        mine = self.of_share(share)
        if mine.size == 0:
            return []
        keep, starts = self.keep[mine], self.starts[mine]
        heights = self.stops[mine] - starts
        wide = STRIP // self.group
        strip, column = np.nonzero(keep)
        strip, column, shared = share_last(strip, column, 2 * wide if even else wide)
        # Row `rows` of `kept` does not exist: it stands for the rows that a short strip lacks.
        row = starts[strip][:, None] + np.arange(self.group)
        there = np.arange(self.group) < heights[strip][:, None]
        values = np.where(there, kept[np.minimum(row, kept.shape[0] - 1), column[:, None]], 0)
        values = (values * shared[:, None]).astype(np.float32).reshape(-1, STRIP)
        heads = np.zeros(starts.size, STRIP_HEAD)
        heads["row"], heads["rows"] = starts, heights
        heads["tiles"] = np.bincount(strip, minlength=starts.size) // wide
        indices = column.astype(np.uint16)
        paired = np.full(len(values), True) if even else None
        return [
            Section(
                "strips",
                self.group,
                columns,
                values,
                starts.size,
                heads,
                indices,
                paired=paired,
            )
        ]
