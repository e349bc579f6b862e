"""Block-circulant: every block is given by its first column, each next one turned by a place."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import ClassVar, final

import torch
from torch import Tensor

from csbrnn.checks import make_plain
from csbrnn.patterns.base import Pattern, importance
from csbrnn.patterns.block import Tiling, keep_blocks
from csbrnn.patterns.sizes import check_size

__all__ = ["BlockCirculant", "expand_vectors", "first_vectors"]


@final
@dataclasses.dataclass(frozen=True)
class BlockCirculant(Pattern):
    """Every block of ``block`` x ``block`` is circulant: ``W[i, j] = v[(i - j) % block]``.

    Not a mask: the projection averages along the wrapped diagonals of each block, which is exact
    (and rounded to the weight's dtype). Blocks at the right and lower edges are cut off, and
    average over what they have.

    The pattern fixes the density, counting the weights of a first column where there is a block:
    ``1 / block``, :attr:`max_density`. At densities from there up to 1 every block is kept. Below,
    the blocks with the most energy after averaging are kept and the others are zero; the density
    is then met to one block. Density 1 leaves a matrix as it is.

    Args:
        block: Rows and columns of a block. Powers of two are fast to transform.

    Raises:
        ArgumentError: ``block`` is not a positive integer.

    Reference:
        Li et al., "E-RNN" (HPCA 2019): the Euclidean mapping. Fewer blocks than all: ours.
    """

    name: ClassVar[str] = "block_circulant"
    hardware_friendly: ClassVar[bool] = True
    is_linear: ClassVar[bool] = True

    block: int = 8

    def __post_init__(self) -> None:
        make_plain(self)
        check_size("block", self.block)

    @property
    def max_density(self) -> float:
        """``1 / block``."""
        return 1 / self.block

    def unit(self, shape: Sequence[int]) -> int:
        """Returns the weights that no density between ``1 / block`` and 1 adds."""
        self.validate(shape)
        numel = shape[0] * shape[1]
        # Two roundings, of the budget and of a block's share, come on top of a block.
        block = self.block + 1 if self.block > 1 else 1
        return max(block, numel - numel // self.block + 1)

    def kept(self, weight: Tensor) -> int:
        """Returns the weights of the blocks that are not zero, divided by ``block``.

        All that are not zero in a matrix that is not of the pattern. At ragged edges a first
        column is longer than a block's share: what is stored there is more.
        """
        self.validate(weight.shape)
        weight = weight.detach()
        if not torch.equal(self._circulant(weight), weight):
            return int(weight.count_nonzero())
        tiling = self._tiling(weight.shape)
        present = tiling.tiles((weight != 0).to(torch.uint8)).amax((1, 3)) > 0
        return int(tiling.sizes(weight.device)[present].sum()) // self.block

    def _project(
        self, weights: list[Tensor], scores: list[Tensor] | None, density: float
    ) -> list[Tensor]:
        total = sum(weight.numel() for weight in weights)
        if round(density * total) == total:
            return [weight.detach().clone() for weight in weights]
        averages = [self._circulant(weight.detach()) for weight in weights]
        # What a block weighs: the energy that is left of it, also where scores replace weights.
        measured = averages if scores is None else [self._circulant(s.sqrt()) for s in scores]
        # A block costs its weights / block; times block, all are whole numbers.
        limit = min(total, round(density * self.block * total))
        keep = keep_blocks(importance(measured, None), (self.block, self.block), limit)
        return [torch.where(mask, average, 0) for mask, average in zip(keep, averages, strict=True)]

    def _tiling(self, shape: Sequence[int]) -> Tiling:
        return Tiling((shape[0], shape[1]), self.block, self.block)

    def _circulant(self, weight: Tensor) -> Tensor:
        return expand_vectors(first_vectors(weight, self.block), tuple(weight.shape))


def first_vectors(weight: Tensor, block: int) -> Tensor:
    """Returns the first columns of the nearest circulant blocks; zero where none of it is used.

    Equal weights along a diagonal are returned bit for bit.

    Shape:
        weight: ``(outputs, inputs)``.
        result: ``(down, across, block)``, of the weight's dtype.
    """
    tiling = Tiling((weight.shape[0], weight.shape[1]), block, block)
    diagonals = _diagonals(tiling.tiles(weight))
    wide = diagonals.double()
    if weight.shape[0] % block or weight.shape[1] % block:
        there = _diagonals(tiling.tiles(torch.ones_like(weight, dtype=torch.bool)))
        counts = there.sum(-1, keepdim=True).clamp(min=1)
        low = wide.masked_fill(~there, torch.inf).amin(-1)
        high = wide.masked_fill(~there, -torch.inf).amax(-1)
        unused = ~there.any(-1)
        low, high = low.masked_fill(unused, 0), high.masked_fill(unused, 0)
        mean = (wide / counts).sum(-1)
    else:
        low, high = wide.aminmax(dim=-1)
        mean = (wide / block).sum(-1)
    # Divided before it is summed, the mean can't overflow; within its bounds, it is idempotent.
    return mean.clamp(low, high).to(weight.dtype)


def expand_vectors(vectors: Tensor, shape: tuple[int, ...]) -> Tensor:
    """Returns the matrix of ``shape`` with these first columns.

    Shape:
        vectors: ``(down, across, block)``.
        result: ``shape``.
    """
    down, across, block = vectors.shape
    row = torch.arange(block, device=vectors.device)
    turned = (row[:, None] - row) % block
    tiles = vectors[:, :, turned.reshape(-1)].view(down, across, block, block)
    matrix = tiles.transpose(1, 2).reshape(down * block, across * block)
    return matrix[: shape[0], : shape[1]].contiguous()


def _diagonals(tiles: Tensor) -> Tensor:
    """Returns ``d[..., k, j] = block[(j + k) % n, j]`` of ``(down, n, across, n)`` blocks."""
    down, block, across, _ = tiles.shape
    col = torch.arange(block, device=tiles.device)
    place = ((col[:, None] + col) % block) * block + col
    flat = tiles.transpose(1, 2).reshape(down * across, block * block)
    return flat[:, place.reshape(-1)].view(down, across, block, block)
