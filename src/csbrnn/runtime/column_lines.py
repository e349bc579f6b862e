"""`ColumnLines`: the numbers of the columns that strips keep, as int8 kernels look them up."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from csbrnn.runtime.layout import OPERAND_SLACK, padded

__all__ = ["ColumnLines", "cut_lines"]

_WINDOW: Final = 64
"""Columns in a register of bytes."""
_LINE: Final = 64
"""Numbers of columns in a line."""


@dataclass(frozen=True)
class ColumnLines:
    """Lines of 64 columns: 16 of each strip of a quad, or 4 of each of a bundle's sixteen.

    A line begins at a multiple of 64 and reaches ``windows`` times as far. Where a strip has fewer
    columns left there, its places are padded. With one column in thirteen kept that is 3% for quads
    in 512 columns and for bundles in 256, and 17% for either in half of that.

    Attributes:
        columns: Of each strip, -1 for padding. Shape: (lines, strips, 64 / strips)
        starts: Where each begins, in windows. Shape: (lines,)
        counts: Lines of each set of strips. Shape: (sets,)
        last: Most columns that a strip has in its set's last line. Shape: (sets,)
        windows: 2, 4 or 8.
    """

    columns: NDArray[np.int64]
    starts: NDArray[np.int64]
    counts: NDArray[np.int64]
    last: NDArray[np.int64]
    windows: int

    @classmethod
    def of(cls, keep: NDArray[np.bool_], most_windows: int = 8) -> ColumnLines:
        """Cut what strips keep into lines, as `cut_lines` does.

        Args:
            keep: What each strip keeps.
            most_windows: Limits the reach: looking further takes longer.

        Shape:
            keep: (sets, strips, columns)
        """
        sets, strips, width = keep.shape
        windows = min(next((w for w in (2, 4) if width <= w * _WINDOW), 8), most_windows)
        operand = padded(width, _WINDOW) + OPERAND_SLACK
        of, columns, starts = cut_lines(keep, _LINE // strips, windows * _WINDOW, operand, _WINDOW)
        last = np.zeros(sets, np.int64)
        last[of] = (columns >= 0).sum(axis=2).max(axis=1)  # a set's last line comes last
        return cls(columns, starts // _WINDOW, np.bincount(of, minlength=sets), last, windows)

    def reordered(self, sets: NDArray[np.int64]) -> ColumnLines:
        """The lines of these sets, in this order."""
        stops = np.cumsum(self.counts)
        lines = np.concatenate([np.arange(stops[q] - self.counts[q], stops[q]) for q in sets])
        return ColumnLines(
            self.columns[lines],
            self.starts[lines],
            self.counts[sets],
            self.last[sets],
            self.windows,
        )

    def encode(self) -> NDArray[np.uint8]:
        """As docs/spec/program.md has them: numbers, ninth bits, starts."""
        relative = self.columns - _WINDOW * self.starts[:, None, None]
        numbers = np.where(self.columns < 0, 0, relative).reshape(-1, _LINE)
        parts = [(numbers & 255).astype(np.uint8)]
        if self.windows > 4:
            parts.append(np.packbits(numbers >> 8, axis=1, bitorder="little"))
        starts = self.starts.astype("<u2")
        return np.concatenate([part.reshape(-1) for part in (*parts, starts.view(np.uint8))])


def cut_lines(
    keep: NDArray[np.bool_], share: int, reach: int, operand: int, unit: int
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Cut the columns that strips keep into lines, which look up neighbouring columns at once.

    A line begins at the first column that any strip of its set still lacks, and takes of each the
    next ones within reach.

    Args:
        keep: What each strip keeps.
        share: Columns of a strip in a line.
        reach: Columns that a line can look up.
        operand: Columns that there are to look up, at least ``reach``.
        unit: Lines begin at multiples of it; the last ones where there are just ``reach`` left.

    Returns:
        Of each line its set, the columns of each strip (-1 where it has no more in reach), and
        where it begins; set by set.

    Shape:
        keep: (sets, strips, columns)
        returns: (lines,), (lines, strips, share), (lines,)
    """
    sets, strips, _ = keep.shape
    kept = keep.sum(axis=2)
    end = np.iinfo(np.int64).max
    known = np.full((sets, strips, int(kept.max(initial=0)) + share), end, np.int64)
    set_, strip, column = np.nonzero(keep)
    first = np.cumsum(kept.reshape(-1)) - kept.reshape(-1)
    known[set_, strip, np.arange(set_.size) - first[strips * set_ + strip]] = column
    at = np.zeros((sets, strips), np.int64)
    none = np.zeros(0, np.int64)  # stays alone if no set keeps anything
    parts = [(none, np.zeros((0, strips, share), np.int64), none)]
    active = np.arange(sets)
    while True:
        places = at[active][..., None] + np.arange(share)
        taken = known[active[:, None, None], np.arange(strips)[:, None], places]
        begin = taken[..., 0].min(axis=1)
        active, taken, begin = active[begin < end], taken[begin < end], begin[begin < end]
        if active.size == 0:
            break
        start = np.minimum(begin // unit * unit, operand - reach)
        within = taken < (start + reach)[:, None, None]
        at[active] += within.sum(axis=2)
        parts.append((active, np.where(within, taken, -1), start))
    of, columns, starts = (np.concatenate(part) for part in zip(*parts, strict=True))
    order = np.argsort(of, kind="stable")
    return of[order], columns[order], starts[order]
