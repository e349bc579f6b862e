"""Compressed structured blocks: in each block, whole rows and whole columns survive."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import ClassVar, NamedTuple, final

import torch
from torch import Tensor
from torch.nn.functional import pad

from csbrnn.checks import make_plain
from csbrnn.errors import ArgumentError
from csbrnn.patterns.base import MaskPattern, budget
from csbrnn.patterns.peeling import Peeling, peel
from csbrnn.patterns.peeling_block import peel_each
from csbrnn.patterns.selection import choose_units, share_budget
from csbrnn.patterns.sizes import check_size, parse_block

__all__ = ["CSB", "Support"]

_FEW_BLOCKS = 32
"""Up to so many, peeling one block after the other is faster. Measured with blocks of 64 x 64 and
256 x 256: 4 times at 16 blocks, equal at about 60."""


class Support(NamedTuple):
    """Which lines of each block survive; a weight survives where its row and column both do.

    Attributes:
        rows: ``(block_rows, block_cols, rows of a block)``, bool. Rows beyond the matrix: False.
        cols: ``(block_rows, block_cols, columns of a block)``, bool. Likewise.
    """

    rows: Tensor
    cols: Tensor


@final
@dataclasses.dataclass(frozen=True)
class CSB(MaskPattern):
    """In each block, whole row groups and whole columns go; the cross points of the others stay.

    A family: ``block=(32, 32)`` is the paper's pattern; ``block=(16, 64), row_group=16`` drops
    columns of 16-row stripes; ``block=(None, None)`` drops rows and columns of the whole matrix.

    The projection is a heuristic (the best kernel of even one block is NP-hard): batched peeling,
    then one Lagrange multiplier over all blocks. Where a block has a single row group (stripes)
    it is exact but for ragged edges: the columns of all stripes are simply sorted.

    The density is met to one unit: never exceeded, and missed by less than one line of a block,
    provided enough lines have energy. Lines of zeros are not kept to fill the budget.

    Args:
        block: Rows and columns of a block; ``None`` or "all" for the whole dimension. Blocks at
            the right and lower edge of a matrix are cut off; a block larger than it is clipped.
        row_group: Rows that stay or go together, in runs aligned to the block.

    Raises:
        ArgumentError: A size is not a positive integer, or ``row_group`` does not divide the
            rows of a block.

    Reference:
        CSB-RNN (Shi et al., 2020), section 3; row groups and the projection are ours.
    """

    name: ClassVar[str] = "csb"
    hardware_friendly: ClassVar[bool] = True

    block: tuple[int | None, int | None] = (32, 32)
    row_group: int = 1

    def __post_init__(self) -> None:
        make_plain(self)
        object.__setattr__(self, "block", parse_block(self.block))
        check_size("row_group", self.row_group)
        rows = self.block[0]
        if rows is not None and rows % self.row_group:
            raise ArgumentError(
                f"row_group must divide the rows of a block, but {self.row_group} does not divide"
                f" {rows}; take block=({-(-rows // self.row_group) * self.row_group}, ...)"
            )

    def unit(self, shape: Sequence[int]) -> int:
        """Returns the weights of the longest line of a block."""
        self.validate(shape)
        grid = _Grid.of(self, shape)
        rows, cols = min(grid.rows, shape[0]), grid.cols
        row_line = min(grid.group, rows) * cols
        return max(1, row_line if grid.row_groups > 1 else 0, rows)

    def groups(self, shape: Sequence[int]) -> tuple[Tensor, ...]:
        """Returns the row groups of every block, then the columns of every block."""
        self.validate(shape)
        grid = _Grid.of(self, shape)
        row, col = torch.arange(shape[0])[:, None], torch.arange(shape[1])[None, :]
        row_group = row // grid.rows * grid.row_groups + row % grid.rows // grid.group
        by_row = row_group * grid.grid_cols + col // grid.cols
        by_col = row // grid.rows * shape[1] + col
        return by_row, by_col

    def support(self, weight: Tensor) -> Support:
        """Returns the rows and columns of each block that hold a nonzero weight.

        Rows are marked by row group: one nonzero weight keeps its whole group.

        Shape:
            weight: ``(outputs, inputs)``.

        Raises:
            ArgumentError: ``weight`` is not a matrix.
        """
        self.validate(weight.shape)
        grid = _Grid.of(self, weight.shape)
        present = grid.blocks((weight.detach() != 0).to(torch.float32)) > 0
        shape = (grid.grid_rows, grid.grid_cols, -1)
        heights, _ = grid.sizes(weight.device)
        inside = torch.arange(grid.group, device=weight.device) < heights[..., None]
        rows = (present.any(2)[..., None] & inside).view(*shape[:2], grid.rows)
        return Support(rows, present.any(1).view(*shape[:2], grid.cols))

    def _masks(self, energies: list[Tensor], density: float) -> list[Tensor]:
        total = sum(energy.numel() for energy in energies)
        limit = budget(total, density)
        if limit == total:
            return [torch.ones_like(energy, dtype=torch.bool) for energy in energies]
        # Matrices without weights have no blocks.
        masks = [torch.zeros_like(energy, dtype=torch.bool) for energy in energies]
        filled = [number for number, energy in enumerate(energies) if energy.numel()]
        grids = [_Grid.of(self, energies[number].shape) for number in filled]
        blocks = [grid.blocks(energies[number]) for number, grid in zip(filled, grids, strict=True)]
        choose = _choose_stripes if all(g.row_groups == 1 for g in grids) else _choose_lines
        for number, grid, (rows, cols) in zip(
            filled, grids, choose(grids, blocks, limit), strict=True
        ):
            masks[number] = grid.expand(rows, cols)
        return masks


class _Grid(NamedTuple):
    """How a matrix of a given shape is cut into blocks; sizes are those of a full block."""

    shape: tuple[int, int]
    rows: int
    cols: int
    group: int

    @classmethod
    def of(cls, pattern: CSB, shape: Sequence[int]) -> _Grid:
        height, width = shape
        group = min(pattern.row_group, max(height, 1))
        rows = min(pattern.block[0] or height, max(height, 1)) or 1
        cols = min(pattern.block[1] or width, max(width, 1)) or 1
        return cls((height, width), -(-rows // group) * group, cols, group)

    @property
    def row_groups(self) -> int:
        return self.rows // self.group

    @property
    def grid_rows(self) -> int:
        return -(-self.shape[0] // self.rows)

    @property
    def grid_cols(self) -> int:
        return -(-self.shape[1] // self.cols)

    def blocks(self, energy: Tensor) -> Tensor:
        """Sums each row group's energies: ``(blocks, row_groups, cols)``, zero-padded."""
        height, width = self.shape
        missing = (self.grid_cols * self.cols - width, self.grid_rows * self.rows - height)
        if any(missing):
            energy = pad(energy, (0, missing[0], 0, missing[1]))
        if self.group > 1:
            energy = energy.view(-1, self.group, energy.shape[1]).sum(1)
        tiles = energy.view(self.grid_rows, self.row_groups, self.grid_cols, self.cols)
        return tiles.transpose(1, 2).reshape(-1, self.row_groups, self.cols)

    def sizes(self, device: torch.device) -> tuple[Tensor, Tensor]:
        """Rows in each row group and width of each column: ``(blocks, row_groups | cols)``."""
        starts = torch.arange(0, self.grid_rows * self.rows, self.group, device=device)
        heights = (self.shape[0] - starts).clamp(0, self.group)
        widths = torch.arange(self.grid_cols * self.cols, device=device) < self.shape[1]
        grid = (self.grid_rows, self.grid_cols, -1)
        return (
            heights.view(self.grid_rows, 1, -1).expand(grid).reshape(-1, self.row_groups),
            widths.view(1, self.grid_cols, -1).expand(grid).reshape(-1, self.cols).long(),
        )

    def expand(self, rows: Tensor, cols: Tensor) -> Tensor:
        """Turns kept row groups and columns of each block into the matrix's mask."""
        grid = (self.grid_rows, self.grid_cols)
        row = rows.view(*grid, -1).repeat_interleave(self.group, 2).transpose(1, 2)
        mask = row[..., None] & cols.view(grid[0], 1, grid[1], -1)
        mask = mask.reshape(self.grid_rows * self.rows, self.grid_cols * self.cols)
        return mask[: self.shape[0], : self.shape[1]].contiguous()


def _choose_lines(
    grids: list[_Grid], blocks: list[Tensor], limit: int
) -> list[tuple[Tensor, Tensor]]:
    """Peels every block of every matrix and shares one budget over all of them.

    Matrices that fit the budget as they are keep every line that is not zero: exactly, where the
    sums that peeling compares would drown a small weight beside a large one.
    """
    sizes = [grid.sizes(block.device) for grid, block in zip(grids, blocks, strict=True)]
    live = [((block > 0).any(2), (block > 0).any(1)) for block in blocks]
    if sum(map(_count, live, sizes)) <= limit:
        return live
    peelings = [
        (peel_each if len(block) <= _FEW_BLOCKS else peel)(block, *size)
        for block, size in zip(blocks, sizes, strict=True)
    ]
    points = max(peeling.kept.shape[1] for peeling in peelings)
    # The last point keeps nothing: shorter curves are continued by zeros.
    kept = torch.cat([pad(p.kept, (0, points - p.kept.shape[1])) for p in peelings])
    energy = torch.cat([pad(p.energy, (0, points - p.energy.shape[1])) for p in peelings])
    chosen = torch.split(share_budget(kept, energy, limit), [len(block) for block in blocks])
    return [_lines_left(p, point) for p, point in zip(peelings, chosen, strict=True)]


def _count(lines: tuple[Tensor, Tensor], sizes: tuple[Tensor, Tensor]) -> int:
    """Weights where kept row groups and columns cross, in all blocks together."""
    rows, cols = ((kept * size).sum(1) for kept, size in zip(lines, sizes, strict=True))
    return int((rows * cols).sum())


def _lines_left(peeling: Peeling, point: Tensor) -> tuple[Tensor, Tensor]:
    # Some lines of an emptied block may never have been dropped: the others empty it.
    return peeling.row_drop >= point[:, None], peeling.col_drop >= point[:, None]


def _choose_stripes(
    grids: list[_Grid], blocks: list[Tensor], limit: int
) -> list[tuple[Tensor, Tensor]]:
    """Sorts the columns of all stripes: with one row group a block they are independent."""
    sizes = [grid.sizes(block.device) for grid, block in zip(grids, blocks, strict=True)]
    energy = torch.cat([block.reshape(-1) for block in blocks])
    cost = torch.cat([(rows * cols).reshape(-1) for rows, cols in sizes])
    cols = torch.split(choose_units(energy, cost, limit), [block.numel() for block in blocks])
    return [
        (mask.view(len(block), -1).any(1, keepdim=True), mask.view(len(block), -1))
        for mask, block in zip(cols, blocks, strict=True)
    ]
