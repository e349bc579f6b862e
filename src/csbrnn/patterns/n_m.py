"""N:M: at most n weights in every m neighbours of a row."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import ClassVar, final

import torch
from torch import Tensor

from csbrnn.checks import make_plain
from csbrnn.errors import ArgumentError
from csbrnn.patterns.balance import Banks
from csbrnn.patterns.base import MaskPattern, budget
from csbrnn.patterns.selection import top_k_mask, top_k_rows
from csbrnn.patterns.sizes import check_size

__all__ = ["NM"]


@final
@dataclasses.dataclass(frozen=True)
class NM(MaskPattern):
    """At most ``n`` of every ``m`` neighbouring weights of a row, from its first column on.

    The pattern fixes the density: a matrix has it at ``n / m``, :attr:`max_density`, where the
    ``n`` largest of every ``m`` stay. Other densities are met to one weight all the same:

    - below ``n / m`` the largest of those weights stay, so the pattern still holds;
    - above it the largest of the others stay as well. Such a matrix is on its way from dense to
      the pattern, as gradual pruning goes, and does *not* have it.

    The projection is exact; equal weights go by index. A short last run keeps up to ``n`` too.

    Args:
        n: Most weights of a run.
        m: Columns of a run.

    Raises:
        ArgumentError: ``n`` or ``m`` is not a positive integer, or ``n`` exceeds ``m``.

    Reference:
        Mishra et al., "Accelerating Sparse Deep Neural Networks" (2021): 2:4.
    """

    name: ClassVar[str] = "n_m"
    hardware_friendly: ClassVar[bool] = True

    n: int = 2
    m: int = 4

    def __post_init__(self) -> None:
        make_plain(self)
        check_size("n", self.n)
        check_size("m", self.m)
        if self.n > self.m:
            raise ArgumentError(
                f"n of every m weights stay, so n must not exceed m, but {self.n} > {self.m}"
            )

    @property
    def max_density(self) -> float:
        """``n / m``."""
        return self.n / self.m

    def unit(self, shape: Sequence[int]) -> int:
        """Returns 1: the density is met exactly."""
        self.validate(shape)
        return 1

    def _masks(self, energies: list[Tensor], density: float) -> list[Tensor]:
        limit = budget(sum(energy.numel() for energy in energies), density)
        best = [self._best(energy) for energy in energies]
        flat = torch.cat([energy.reshape(-1) for energy in energies])
        first = torch.cat([mask.reshape(-1) for mask in best])
        spare = limit - int(first.count_nonzero())
        if spare >= 0:
            mask = first | top_k_mask(flat.masked_fill(first, -1), spare)
        else:
            mask = top_k_mask(flat.masked_fill(~first, -1), limit)
        parts = torch.split(mask, [energy.numel() for energy in energies])
        return [part.view(e.shape) for part, e in zip(parts, energies, strict=True)]

    def _best(self, energy: Tensor) -> Tensor:
        if not energy.numel():
            return torch.zeros_like(energy, dtype=torch.bool)
        runs = Banks.of(energy.shape, self.m)
        return runs.join(top_k_rows(runs.split(energy), self.n))
