"""`random_banks`: which weights a random bank-balanced matrix keeps."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

__all__ = ["random_banks"]

_KEPT: Final = 4
"""So that a bank of 54 columns gives exactly 13.5x, and one of 48 12x."""


def random_banks(
    shape: tuple[int, int], pruning_rate: float, rng: np.random.Generator
) -> NDArray[np.bool_]:
    """Draws 4 columns of every bank of 4 x rate columns of a row; fewer in a short last one."""
    rows, cols = shape
    bank = max(round(_KEPT * pruning_rate), _KEPT)
    mask = np.zeros(shape, np.bool_)
    for left in range(0, cols, bank):
        width = min(bank, cols - left)
        kept = round(_KEPT * width / bank)
        ranks = rng.random((rows, width)).argsort(axis=1).argsort(axis=1)
        mask[:, left : left + width] = ranks < kept
    return mask
