"""Bank-balanced: the same number of weights in every bank of every row."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import ClassVar, final

from torch import Tensor

from csbrnn.checks import make_plain
from csbrnn.patterns.balance import balanced_masks
from csbrnn.patterns.base import MaskPattern, budget
from csbrnn.patterns.sizes import check_size

__all__ = ["BankBalanced"]


@final
@dataclasses.dataclass(frozen=True)
class BankBalanced(MaskPattern):
    """Each row is cut into banks of equal size, and every bank keeps as many weights as any other.

    With one multiplier for each bank, none waits for another, and no two read the same bank of the
    vector. The size of a bank is given, not their number: it is what accuracy and index
    bits depend on, and means the same in matrices of any width.

    The projection is exact: the largest weights of each bank stay, equal ones go by index. A short
    last bank keeps as many, or all that it has. The density is met to one weight a bank. Matrices
    that share a budget share it by importance.

    Args:
        bank_size: Columns of a bank. 64 keeps 97% of the energy that row-balanced keeps, at 8x
            (measured on a trained LSTM), with indices of 6 bits.

    Raises:
        ArgumentError: ``bank_size`` is not a positive integer.

    Reference:
        Cao et al., "Efficient and Effective Sparse LSTM on FPGA with Bank-Balanced Sparsity"
        (FPGA 2019).
    """

    name: ClassVar[str] = "bank_balanced"
    hardware_friendly: ClassVar[bool] = True

    bank_size: int = 64

    def __post_init__(self) -> None:
        make_plain(self)
        check_size("bank_size", self.bank_size)

    def unit(self, shape: Sequence[int]) -> int:
        """Returns one weight for each bank."""
        self.validate(shape)
        return max(1, shape[0] * -(-shape[1] // self.bank_size))

    def _masks(self, energies: list[Tensor], density: float) -> list[Tensor]:
        limit = budget(sum(energy.numel() for energy in energies), density)
        return balanced_masks(energies, self.bank_size, limit)
