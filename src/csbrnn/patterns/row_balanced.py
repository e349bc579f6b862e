"""Row-balanced: the same number of weights in every row."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import ClassVar, final

from torch import Tensor

from csbrnn.patterns.balance import balanced_masks
from csbrnn.patterns.base import MaskPattern, budget

__all__ = ["RowBalanced"]


@final
@dataclasses.dataclass(frozen=True)
class RowBalanced(MaskPattern):
    """Every row keeps as many weights as any other: processors with a row each end together.

    The projection is exact: the largest weights of each row stay, equal ones go by index. The
    density is met to one weight a row. Matrices that share a budget share it by importance.

    Reference:
        Han et al., "ESE" (FPGA 2017): load-balance-aware pruning, each row a part of its own.
    """

    name: ClassVar[str] = "row_balanced"
    # hardware_friendly is False: rows are equal in work, but read their operands from anywhere.

    def unit(self, shape: Sequence[int]) -> int:
        """Returns one weight for each row."""
        self.validate(shape)
        return max(1, shape[0])

    def _masks(self, energies: list[Tensor], density: float) -> list[Tensor]:
        return balanced_masks(energies, None, budget(sum(e.numel() for e in energies), density))
