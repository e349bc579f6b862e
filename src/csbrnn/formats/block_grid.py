"""`BlockGrid`: which blocks of a matrix are stored, for formats that store blocks whole."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from csbrnn.formats.blocking import Blocking
from csbrnn.formats.index import Lines, choose_encoding, decode_axis
from csbrnn.formats.kernels import tiles

__all__ = ["BlockGrid"]


@dataclass(frozen=True, eq=False)
class BlockGrid:
    """A matrix cut into blocks, and the blocks kept: for each row of blocks, their columns.

    Attributes:
        blocking: Shape and block, its row group as high as the block.
        lines: The block columns that each row of blocks keeps; none if there are no blocks.
        index: Encoding of ``lines`` in the file; one of `ENCODINGS`.
    """

    blocking: Blocking
    lines: Lines
    index: str

    @classmethod
    def of(cls, nonzero: NDArray[np.bool_], block: tuple[int, int]) -> BlockGrid:
        """Keep the blocks with a weight other than zero, in the smallest encoding.

        Shape:
            nonzero: (rows, columns)

        Raises:
            ArgumentError: The block's sizes are out of range.
        """
        blocking = Blocking((nonzero.shape[0], nonzero.shape[1]), block, block[0])
        capacity = _capacity(blocking)
        keep = np.asarray(tiles(nonzero, blocking).any(axis=(2, 3)))
        lines = Lines.from_mask(capacity, keep[: capacity.size])
        index, _ = choose_encoding(lines)
        return cls(blocking, lines, index)

    @classmethod
    def decode(cls, blocking: Blocking, index: str, data: NDArray[np.uint8]) -> BlockGrid:
        """Read the kept blocks back, as a stranger stored them.

        Raises:
            FormatError: They are malformed.
        """
        return cls(blocking, decode_axis(data, index, _capacity(blocking)), index)

    @property
    def kept_blocks(self) -> int:
        """Blocks kept."""
        return self.lines.units.size

    @cached_property
    def places(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Row and column of each kept block in the grid, in stored order."""
        counts = self.lines.counts
        return np.repeat(np.arange(counts.size), counts), self.lines.units.astype(np.int64)

    @property
    def kept(self) -> int:
        """Weights of the matrix that lie in kept blocks."""
        (rows, cols), (height, width) = self.blocking.tile, self.blocking.shape
        down, across = self.places
        return int(
            (np.minimum(rows, height - down * rows) * np.minimum(cols, width - across * cols)).sum()
        )

    @property
    def nbytes(self) -> int:
        """Bytes of the encoded index."""
        return self.encoded.size

    @cached_property
    def encoded(self) -> NDArray[np.uint8]:
        """The kept blocks as stored."""
        return self.lines.encode(self.index)

    def mask(self) -> NDArray[np.bool_]:
        """Return which weights of `tiles` are kept; its True values are in stored order.

        Shape:
            returns: (down, across, block rows, block columns)
        """
        (down, across), (rows, cols) = self.blocking.grid, self.blocking.tile
        keep = np.zeros((down, across), np.bool_)
        keep[self.places] = True
        inside_rows = np.arange(down * rows).reshape(down, rows) < self.blocking.shape[0]
        inside_cols = np.arange(across * cols).reshape(across, cols) < self.blocking.shape[1]
        mask: NDArray[np.bool_] = (
            keep[..., None, None] & inside_rows[:, None, :, None] & inside_cols[None, :, None, :]
        )
        return mask


def _capacity(blocking: Blocking) -> NDArray[np.int64]:
    """Block columns of each row of blocks; of no rows if there are no columns."""
    down, across = blocking.grid
    return np.full(down if across else 0, across, np.int64)
