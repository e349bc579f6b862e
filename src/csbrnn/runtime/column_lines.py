"""`ColumnLines`: the numbers of the columns that four strips keep, as int8 kernels look them up."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from csbrnn.runtime.layout import LINE_COLUMNS, OPERAND_SLACK, padded

__all__ = ["ColumnLines"]

_WINDOW: Final = 64
"""Columns in a register of bytes."""


@dataclass(frozen=True)
class ColumnLines:
    """Lines of 64 columns, 16 of each strip of a quad.

    A line begins at a multiple of 64 and reaches ``windows`` times as far: 512 columns at most,
    in which four strips that keep one column in thirteen nearly always have 16 left. Where one has
    fewer, its place is padded: at that density, 3% with strips of 16 rows.

    Attributes:
        columns: Of each strip, -1 for padding. Shape: (lines, 4, 16)
        starts: Where each begins, in windows. Shape: (lines,)
        counts: Lines of each quad. Shape: (quads,)
        last: Most columns that a strip has in its quad's last line. Shape: (quads,)
        windows: 2, 4 or 8.
    """

    columns: NDArray[np.int64]
    starts: NDArray[np.int64]
    counts: NDArray[np.int64]
    last: NDArray[np.int64]
    windows: int

    @classmethod
    def of(cls, keep: NDArray[np.bool_], most_windows: int = 8) -> ColumnLines:
        """Cut what strips keep into lines.

        A line begins at the first column that any of the four still lacks, and takes of each the
        next 16 within reach.

        Args:
            keep: What each strip keeps.
            most_windows: Limits the reach: looking further takes longer.

        Shape:
            keep: (quads, 4, columns)
        """
        quads, _, width = keep.shape
        windows = min(next((w for w in (2, 4) if width <= w * _WINDOW), 8), most_windows)
        most_start = (padded(width, _WINDOW) + OPERAND_SLACK) // _WINDOW - windows
        kept = keep.sum(axis=2)
        end = np.iinfo(np.int64).max
        known = np.full((quads, 4, int(kept.max()) + LINE_COLUMNS), end, np.int64)
        quad, strip, column = np.nonzero(keep)
        first = np.cumsum(kept.reshape(-1)) - kept.reshape(-1)
        known[quad, strip, np.arange(quad.size) - first[4 * quad + strip]] = column
        at = np.zeros((quads, 4), np.int64)
        last = np.zeros(quads, np.int64)
        none = np.zeros(0, np.int64)  # stays alone if no quad keeps anything
        parts = [(none, np.zeros((0, 4, LINE_COLUMNS), np.int64), none)]
        active = np.arange(quads)
        while True:
            places = at[active][..., None] + np.arange(LINE_COLUMNS)
            taken = np.take_along_axis(known[active], places, axis=2)
            begin = taken[..., 0].min(axis=1)
            active, taken, begin = active[begin < end], taken[begin < end], begin[begin < end]
            if active.size == 0:
                break
            start = np.minimum(begin // _WINDOW, most_start)
            within = taken < ((start + windows) * _WINDOW)[:, None, None]
            count = within.sum(axis=2)
            at[active] += count
            last[active] = count.max(axis=1)
            parts.append((active, np.where(within, taken, -1), start))
        of, columns, starts = (np.concatenate(part) for part in zip(*parts, strict=True))
        order = np.argsort(of, kind="stable")
        return cls(columns[order], starts[order], np.bincount(of, minlength=quads), last, windows)

    def reordered(self, quads: NDArray[np.int64]) -> ColumnLines:
        """The lines of these quads, in this order."""
        stops = np.cumsum(self.counts)
        lines = np.concatenate([np.arange(stops[q] - self.counts[q], stops[q]) for q in quads])
        return ColumnLines(
            self.columns[lines],
            self.starts[lines],
            self.counts[quads],
            self.last[quads],
            self.windows,
        )

    def encode(self) -> NDArray[np.uint8]:
        """As docs/spec/program.md has them: numbers, ninth bits, starts."""
        relative = self.columns - _WINDOW * self.starts[:, None, None]
        numbers = np.where(self.columns < 0, 0, relative).reshape(-1, 4 * LINE_COLUMNS)
        parts = [(numbers & 255).astype(np.uint8)]
        if self.windows > 4:
            parts.append(np.packbits(numbers >> 8, axis=1, bitorder="little"))
        starts = self.starts.astype("<u2")
        return np.concatenate([part.reshape(-1) for part in (*parts, starts.view(np.uint8))])
