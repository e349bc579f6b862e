"""The groups of weights that patterns drop together: their norms, and their largest magnitudes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, final

import torch
from torch import Tensor

from csbrnn.patterns import Pattern
from csbrnn.patterns.base import budget
from csbrnn.pruning.targets import Target

__all__ = ["Groups", "has_groups", "lowest_kept"]


@final
class Groups:
    """The groups of one target, as its pattern has them in each piece that is projected alone.

    A pattern's groups may overlap (rows and columns of a block): then there are several systems,
    each of which has every weight in one group.

    Args:
        target: The weight.
    """

    def __init__(self, target: Target) -> None:
        rows, cols = target.parameter.shape
        pieces = target.pieces
        self.device = device = target.parameter.device
        self._systems: list[tuple[Tensor, Tensor]] = []
        for piece in target.pattern.groups((rows // pieces, cols)):
            count = int(piece.max()) + 1 if piece.numel() else 0
            numbers = torch.cat([piece + number * count for number in range(pieces)])
            ids = numbers.reshape(-1).to(device, torch.int32)
            sizes = torch.bincount(ids, minlength=count * pieces)
            self._systems.append((ids, sizes.to(torch.float32)))

    def penalty(self, weight: Tensor) -> Tensor:
        """Returns ``sum of sqrt(size) * ||group||`` over all groups of all systems.

        Its gradient is zero on groups that are zero.

        Shape:
            weight: that of the target, float32 or float64. The result: ``()``.
        """
        terms: list[Tensor] = [
            _WeightedNorms.apply(weight, ids, sizes.to(weight.dtype))  # type: ignore[no-untyped-call]
            for ids, sizes in self._systems
        ]
        return torch.stack(terms).sum()

    def root_mean_squares(self, values: Tensor) -> list[tuple[Tensor, Tensor]]:
        """Returns ``||group|| / sqrt(size)`` and the size of every group, system by system."""
        squares = values.detach().reshape(-1).square()
        return [
            (
                (_sums(squares, ids, len(sizes)) / sizes.to(values.dtype).clamp(min=1)).sqrt(),
                sizes,
            )
            for ids, sizes in self._systems
        ]

    def magnitudes(self, weight: Tensor) -> Tensor:
        """Returns for every weight the largest magnitude in its group; of several, the least.

        A threshold above it drops the weight.

        Shape:
            weight and the result: that of the target.
        """
        flat = weight.detach().abs().reshape(-1)
        least: Tensor | None = None
        for ids, sizes in self._systems:
            largest = flat.new_zeros(len(sizes))
            index = ids.long()
            largest.scatter_reduce_(0, index, flat, "amax")
            spread = largest.index_select(0, ids)
            least = spread if least is None else torch.minimum(least, spread)
        return (flat if least is None else least).view(weight.shape)


def has_groups(pattern: Pattern) -> bool:
    """Returns whether a pattern drops weights in groups, rather than each for itself."""
    return type(pattern).groups is not Pattern.groups


def lowest_kept(magnitudes: Sequence[Tensor], density: float) -> float:
    """Returns the threshold that keeps the share ``density``: that of the least weight kept."""
    flat = torch.cat([m.reshape(-1) for m in magnitudes])
    count = budget(flat.numel(), density)
    if count == 0:
        return float("inf")
    return float(flat.kthvalue(flat.numel() - count + 1).values)


class _WeightedNorms(torch.autograd.Function):
    """The penalty of one system: one pass of additions forward, one of look-ups backward."""

    @staticmethod
    def forward(ctx: Any, weight: Tensor, ids: Tensor, sizes: Tensor) -> Tensor:
        norms = _sums(weight.reshape(-1).square(), ids, len(sizes)).sqrt_()
        roots = sizes.sqrt()
        ctx.save_for_backward(weight, ids, torch.where(norms > 0, roots / norms, 0))
        return torch.dot(roots, norms)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> Any:
        weight, ids, factors = ctx.saved_tensors
        pull = (factors * gradients[0]).index_select(0, ids).view(weight.shape)
        return pull.mul_(weight), None, None


def _sums(values: Tensor, ids: Tensor, count: int) -> Tensor:
    return values.new_zeros(count).index_add_(0, ids, values)
