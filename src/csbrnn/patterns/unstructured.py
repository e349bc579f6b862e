"""Unstructured: any weights may survive. The most energy at a density, the worst to index."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import ClassVar, final

import torch
from torch import Tensor

from csbrnn.patterns.base import MaskPattern, budget
from csbrnn.patterns.selection import top_k_mask

__all__ = ["Unstructured"]


@final
@dataclasses.dataclass(frozen=True)
class Unstructured(MaskPattern):
    """The matrices with at most a given number of nonzero weights.

    The projection is exact: the largest weights stay, and equal weights go by index. The density
    is met exactly.
    """

    name: ClassVar[str] = "unstructured"

    def unit(self, shape: Sequence[int]) -> int:
        """Returns 1: the density is met exactly."""
        self.validate(shape)
        return 1

    def _masks(self, energies: list[Tensor], density: float) -> list[Tensor]:
        flat = torch.cat([energy.reshape(-1) for energy in energies])
        mask = top_k_mask(flat, budget(flat.numel(), density))
        parts = torch.split(mask, [energy.numel() for energy in energies])
        return [part.view(e.shape) for part, e in zip(parts, energies, strict=True)]
