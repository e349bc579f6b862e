"""Bundles: strips of up to 8 rows, sixteen at a time, for weights that lie scattered.

A *line* has the next two columns of each strip, all within a *reach* of 64 or 128 neighbouring
ones, so that a processor with wide permutations finds sixteen operands at once. The weights of
these columns follow row by row, of one row of every strip: 8, 4 or 2 rows share what a line costs,
single weights have one of their own. Where a strip has no column within reach its place is padded
by number 0, with weights 0.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from csbrnn.runtime.column_lines import cut_lines
from csbrnn.runtime.layout import BUNDLE_HEAD, NONE, STRIP
from csbrnn.runtime.strips import Section, Strips

__all__ = ["GROUPS", "PAIR", "REACHES", "Bundles"]

GROUPS: Final = (8, 4, 2, 1)
REACHES: Final = (64, 128)
"""Columns that a line can look up: by two or four permutations of 32 floats."""
PAIR: Final = 2
"""Columns of a strip in a line: they share the loads of what is looked up in."""


@dataclass(frozen=True)
class Bundles:
    """Strips that are to be tiled so.

    Attributes:
        cut: The strips: of equal height, but for the last.
        reach: Columns that a line can look up.
    """

    cut: Strips
    reach: int

    @classmethod
    def fits(cls, cut: Strips, reach: int) -> bool:
        """Whether strips can be tiled so.

        Kernels add whole strips: behind the last one lies padding, behind others another part.
        """
        heights = (cut.stops - cut.starts)[:-1]
        return cut.keep.shape[1] >= reach and bool((heights == cut.group).all())

    @property
    def least_lines(self) -> int:
        """Lines that they take if none is padded."""
        columns = np.sort(self.cut.keep.sum(axis=1))
        return int((-(-_sets(columns).max(axis=1) // PAIR)).sum())

    @property
    def lines(self) -> int:
        """Lines that they take, if they are not cut into shares."""
        keep = self.cut.keep
        return len(self._lines(keep[np.argsort(keep.sum(axis=1), kind="stable")])[0])

    def tile(
        self, kept: NDArray[np.float32], columns: tuple[int, int], share: int
    ) -> list[Section]:
        """Tile one share.

        Args:
            kept: The rows' weights.
            columns: (first, stop) of the matrix's columns that they are.
            share: Its number.
        """
        # By length: a bundle takes as many lines as its longest strip, and more if they differ.
        mine = self.cut.of_share(share)
        if mine.size == 0:
            return []
        first = self.cut.starts[mine]
        of, column, start = self._lines(self.cut.keep[mine])
        rows = _sets(first, NONE)
        heads = np.zeros(len(rows), BUNDLE_HEAD)
        heads["row"], heads["lines"] = rows, np.bincount(of, minlength=len(rows))

        numbers = np.where(column < 0, 0, column - start[:, None, None]).astype(np.uint8)
        starts = start.astype("<u2").view(np.uint8)
        # A line's weights: row by row, column by column, strip by strip.
        column = column.transpose(0, 2, 1)[:, None]
        row = (_sets(first)[of][:, None] + np.arange(self.cut.group)[:, None])[:, :, None]
        there = (column >= 0) & (row < len(kept))  # the last strip may lack rows
        values = np.where(there, kept[np.minimum(row, len(kept) - 1), np.maximum(column, 0)], 0)
        values = values.astype(np.float32).reshape(-1, STRIP)
        return [
            Section(
                "bundles",
                self.cut.group,
                columns,
                values,
                len(rows),
                heads,
                np.concatenate([numbers.reshape(-1), starts]),
                windows=self.reach // STRIP,
                lines=len(of),
                paired=np.full(len(values), True),
            )
        ]

    def _lines(
        self, keep: NDArray[np.bool_]
    ) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
        return cut_lines(_sets(keep), PAIR, self.reach, keep.shape[1], STRIP)


def _sets(strips: NDArray[Any], lacking: Any = 0) -> NDArray[Any]:
    """Sixteen strips each; the last set is filled up."""
    fill = [(0, -len(strips) % STRIP)] + [(0, 0)] * (strips.ndim - 1)
    return np.pad(strips, fill, constant_values=lacking).reshape(-1, STRIP, *strips.shape[1:])
