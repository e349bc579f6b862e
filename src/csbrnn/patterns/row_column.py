"""Row-column: whole rows and columns of the matrix go."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import ClassVar, Final, final

from torch import Tensor

from csbrnn.patterns.base import MaskPattern
from csbrnn.patterns.csb import CSB

__all__ = ["RowColumn"]

_WHOLE: Final = CSB(block=(None, None))


@final
@dataclasses.dataclass(frozen=True)
class RowColumn(MaskPattern):
    """Whole rows and whole columns go: what is left is a smaller dense matrix.

    CSB with one block, and a baseline that papers name for itself. The projection is CSB's, a
    heuristic. The density is met to one line: never exceeded.

    Reference:
        Wen et al., "Learning Intrinsic Sparse Structures within LSTM" (ICLR 2018); the paper ties
        the lines of a hidden unit over all matrices, this pattern takes each matrix for itself.
    """

    name: ClassVar[str] = "row_column"
    hardware_friendly: ClassVar[bool] = True

    def unit(self, shape: Sequence[int]) -> int:
        """Returns the weights of the longest row or column."""
        self.validate(shape)
        return _WHOLE.unit(shape)

    def groups(self, shape: Sequence[int]) -> tuple[Tensor, ...]:
        """Returns the rows, then the columns."""
        self.validate(shape)
        return _WHOLE.groups(shape)

    def _masks(self, energies: list[Tensor], density: float) -> list[Tensor]:
        return _WHOLE._masks(energies, density)
