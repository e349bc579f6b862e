"""`Layout`: which weights a matrix keeps together, as the command line and results write it."""

from __future__ import annotations

import re
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from csbrnn.bench.random_csb import random_csb
from csbrnn.errors import ArgumentError
from csbrnn.formats import CSBMatrix

__all__ = ["DENSE", "Layout", "layout_of", "parse_layout"]

DENSE: Final = "dense"
"""The text of the layout that prunes nothing."""

_WHOLE: Final = "all-or-nothing"
_TEXT: Final = re.compile(rf"block=(\d+)x(\d+)(?:\s+row_group=(\d+))?(?:\s+({_WHOLE}))?")
_WIDE: Final = 64
"""Columns within which whole blocks are spread evenly at random; as wide as stripes' blocks."""


class Layout(NamedTuple):
    """A way to prune a matrix: `str` gives what `parse_layout` reads.

    Attributes:
        block: (block_rows, block_cols).
        row_group: Rows kept or dropped together.
        whole: Whether blocks are kept whole or dropped: block sparsity, as RNNoise's 8x4.
    """

    block: tuple[int, int]
    row_group: int = 1
    whole: bool = False

    def __str__(self) -> str:
        rows, cols = self.block
        return f"block={rows}x{cols} row_group={self.row_group}" + f" {_WHOLE}" * self.whole

    def random_mask(
        self, shape: tuple[int, int], density: float, rng: np.random.Generator
    ) -> NDArray[np.bool_]:
        """Draws which weights stay; see `random_csb`."""
        if not self.whole:
            return random_csb(shape, self.block, self.row_group, density, rng)
        rows, cols = self.block
        grid = (-(-shape[0] // rows), -(-shape[1] // cols))
        kept = random_csb(grid, (1, max(_WIDE // cols, 1)), 1, density, rng)
        mask = kept.repeat(rows, axis=0).repeat(cols, axis=1)
        return mask[: shape[0], : shape[1]]


def parse_layout(text: str) -> Layout | None:
    """Reads ``"block=16x64 row_group=16"`` or ``"... all-or-nothing"``; None for ``"dense"``.

    Raises:
        ArgumentError: The text reads otherwise, or the row group does not divide the block.
    """
    if text.strip() == DENSE:
        return None
    match = _TEXT.fullmatch(text.strip())
    if match is None:
        raise ArgumentError(
            f"a layout must read 'dense' or 'block=16x64 row_group=16', not {text!r}"
        )
    rows, cols, row_group = (int(size) for size in match.groups(default="1")[:3])
    if not rows or not cols or not row_group or rows % row_group:
        raise ArgumentError(
            "a layout's sizes must be positive, and its row_group must divide its block's rows, "
            f"which does not hold for {text!r}"
        )
    return Layout((rows, cols), row_group, match[4] is not None)


def layout_of(matrix: CSBMatrix) -> Layout:
    """The layout that a matrix is stored in; whether its blocks are whole is not looked at."""
    return Layout(matrix.block, matrix.row_group)
