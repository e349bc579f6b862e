"""Block sparsity: whole blocks stay or go."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import ClassVar, NamedTuple, final

import torch
from torch import Tensor
from torch.nn.functional import pad

from csbrnn.patterns.base import MaskPattern, budget
from csbrnn.patterns.selection import choose_units
from csbrnn.patterns.sizes import parse_block

__all__ = ["Block", "Tiling"]


@final
@dataclasses.dataclass(frozen=True)
class Block(MaskPattern):
    """The blocks with the largest norms stay whole; the others go.

    The projection is exact, but for the last few weights where blocks at ragged edges are smaller
    (a knapsack: the best per weight first). Equal blocks go by index. The density is met to one
    block. Blocks without energy are not kept to fill the budget.

    Args:
        block: Rows and columns of a block; ``None`` or "all" for the whole dimension. Blocks at
            the right and lower edge of a matrix are cut off; a block larger than it is clipped.

    Raises:
        ArgumentError: A size is not a positive integer.

    Reference:
        Narang et al., "Block-Sparse Recurrent Neural Networks" (2017). They compare blocks
        by their largest weight; by the norm, it is the nearest matrix that is found.
    """

    name: ClassVar[str] = "block"
    hardware_friendly: ClassVar[bool] = True

    block: tuple[int | None, int | None] = (4, 4)

    def __post_init__(self) -> None:
        object.__setattr__(self, "block", parse_block(self.block))

    def unit(self, shape: Sequence[int]) -> int:
        """Returns the weights of a block."""
        self.validate(shape)
        tiling = Tiling.of(shape, self.block)
        return max(1, min(tiling.rows, shape[0]) * min(tiling.cols, shape[1]))

    def groups(self, shape: Sequence[int]) -> tuple[Tensor, ...]:
        """Returns the blocks, numbered row by row."""
        self.validate(shape)
        tiling = Tiling.of(shape, self.block)
        row, col = torch.arange(shape[0])[:, None], torch.arange(shape[1])[None, :]
        return (row // tiling.rows * tiling.grid[1] + col // tiling.cols,)

    def _masks(self, energies: list[Tensor], density: float) -> list[Tensor]:
        limit = budget(sum(energy.numel() for energy in energies), density)
        return keep_blocks(energies, self.block, limit)


class Tiling(NamedTuple):
    """How a matrix is cut into blocks; those at the right and lower edges may be smaller."""

    shape: tuple[int, int]
    rows: int
    cols: int

    @classmethod
    def of(cls, shape: Sequence[int], block: tuple[int | None, int | None]) -> Tiling:
        """Cuts a matrix of ``shape``; a block is no larger than the matrix."""
        height, width = shape
        sizes = (min(b or n, n) or 1 for b, n in zip(block, (height, width), strict=True))
        return cls((height, width), *sizes)

    @property
    def grid(self) -> tuple[int, int]:
        """Blocks down and across."""
        return -(-self.shape[0] // self.rows), -(-self.shape[1] // self.cols)

    def tiles(self, matrix: Tensor) -> Tensor:
        """Returns a view or copy of shape ``(down, rows, across, cols)``, zero-padded."""
        down, across = self.grid
        below, right = down * self.rows - self.shape[0], across * self.cols - self.shape[1]
        if below or right:
            matrix = pad(matrix, (0, right, 0, below))
        return matrix.reshape(down, self.rows, across, self.cols)

    def sums(self, energy: Tensor) -> Tensor:
        """Returns each block's energy. Shape: ``(down, across)``."""
        # Rows first: they are read in the order in which they lie.
        return self.tiles(energy).sum(1).sum(2)

    def sizes(self, device: torch.device) -> Tensor:
        """Returns each block's number of weights. Shape: ``(down, across)``, int64."""
        down, across = self.grid
        heights = (self.shape[0] - self.rows * torch.arange(down, device=device)).clamp(
            max=self.rows
        )
        widths = (self.shape[1] - self.cols * torch.arange(across, device=device)).clamp(
            max=self.cols
        )
        return heights[:, None] * widths

    def expand(self, blocks: Tensor) -> Tensor:
        """Gives every weight the value of its block. Shape: that of the matrix."""
        height, width = self.shape
        wide = blocks.repeat_interleave(self.cols, 1)[:, :width]
        return wide.repeat_interleave(self.rows, 0)[:height]


def keep_blocks(
    energies: list[Tensor], block: tuple[int | None, int | None], limit: int
) -> list[Tensor]:
    """Keeps the blocks with the most energy a weight, ``limit`` weights at most; as masks."""
    if limit == sum(energy.numel() for energy in energies):
        return [torch.ones_like(energy, dtype=torch.bool) for energy in energies]
    tilings = [Tiling.of(energy.shape, block) for energy in energies]
    sums = [tiling.sums(e) for tiling, e in zip(tilings, energies, strict=True)]
    sizes = [tiling.sizes(e.device) for tiling, e in zip(tilings, energies, strict=True)]
    keep = choose_units(
        torch.cat([part.reshape(-1) for part in sums]),
        torch.cat([part.reshape(-1) for part in sizes]),
        limit,
    )
    parts = torch.split(keep, [part.numel() for part in sums])
    return [
        tiling.expand(part.view(tiling.grid)) for tiling, part in zip(tilings, parts, strict=True)
    ]
