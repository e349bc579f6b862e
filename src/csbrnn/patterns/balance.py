"""The same number of weights from every piece of every row: the projection of balanced patterns."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import pad

from csbrnn.patterns.selection import share_budget, top_k_rows

__all__ = ["Banks", "balanced_masks"]


class Banks(NamedTuple):
    """How the rows of a matrix are cut into banks; the last of each row may be short."""

    shape: tuple[int, int]
    size: int

    @classmethod
    def of(cls, shape: torch.Size, size: int | None) -> Banks:
        """Cuts a matrix of ``shape``; ``None`` makes each row one bank."""
        width = max(shape[1], 1)
        return cls((shape[0], shape[1]), width if size is None else min(size, width))

    @property
    def short(self) -> int:
        """Columns that the last bank of a row lacks."""
        return -self.shape[1] % self.size

    def split(self, energy: Tensor) -> Tensor:
        """Returns ``(rows * banks, size)``, with -1 in the columns that a short bank lacks."""
        return (pad(energy, (0, self.short), value=-1) if self.short else energy).reshape(
            -1, self.size
        )

    def join(self, mask: Tensor) -> Tensor:
        """Returns the matrix's mask from that of its banks."""
        rows, cols = self.shape
        return mask.view(rows, cols + self.short)[:, :cols].contiguous()

    def kept(self, device: torch.device) -> Tensor:
        """Returns how many weights the matrix keeps if every bank keeps ``0, 1, ..., size``."""
        rows, cols = self.shape
        count = torch.arange(self.size + 1, device=device)
        full, rest = divmod(cols, self.size)
        return rows * (full * count + count.clamp(max=rest))


def balanced_masks(energies: list[Tensor], size: int | None, limit: int) -> list[Tensor]:
    """Keeps the largest weights of each bank, the same number in all banks of a matrix.

    Exact for one matrix. Several share the budget by one Lagrange multiplier: exact but for the
    last few weights.

    Args:
        energies: Energies of each weight, not negative.
        size: Columns of a bank; None for whole rows.
        limit: Most weights that may be kept in all.
    """
    cuts = [Banks.of(energy.shape, size) for energy in energies]
    filled = [number for number, energy in enumerate(energies) if energy.numel()]
    masks = [torch.ones_like(energy, dtype=torch.bool) for energy in energies]
    if limit == sum(energy.numel() for energy in energies):
        return masks
    banks = [cuts[number].split(energies[number]) for number in filled]
    kept = [cuts[number].kept(energies[number].device) for number in filled]
    if len(filled) == 1:
        counts = [int((kept[0] <= limit).sum()) - 1]
    else:
        counts = _shared(banks, kept, limit) if filled else []
    for number, bank, count in zip(filled, banks, counts, strict=True):
        masks[number] = cuts[number].join(top_k_rows(bank, count))
    return masks


def _shared(banks: list[Tensor], kept: list[Tensor], limit: int) -> list[int]:
    """How many weights the banks of each matrix keep, so that all keep the most energy."""
    points = max(len(count) for count in kept)
    curves = []
    for bank in banks:
        # What the first, second, ... weights of all banks hold together.
        by_rank = bank.clamp(min=0).sort(dim=1, descending=True).values.sum(0, dtype=torch.float64)
        energy = pad(by_rank.cumsum(0), (1, 0))
        curves.append(pad(energy.flip(0), (0, points - len(energy))))
    falling = torch.stack([pad(count.flip(0), (0, points - len(count))) for count in kept])
    chosen = share_budget(falling, torch.stack(curves), limit).tolist()
    return [max(len(count) - 1 - point, 0) for count, point in zip(kept, chosen, strict=True)]
