"""Batched peeling: the order in which rows and columns leave a block, for all blocks at once."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

__all__ = ["Peeling", "peel"]

#: Blocks that are widened at a time: 1 MiB of blocks of 64 x 64. Measured: half of peeling's time
#: went into a copy of all.
_CHUNK = 32


class Peeling(NamedTuple):
    """How each block shrinks from full to empty, one line (row group or column) at a time.

    Point ``t`` of a block's curve is the block after ``t`` lines were dropped. A line is still
    there at point ``t`` if its drop time is at least ``t``.

    Attributes:
        row_drop: ``(blocks, row_groups)``, int64: drop time of each row group; -1 for padding.
        col_drop: ``(blocks, cols)``, int64: drop time of each column; -1 for padding.
        kept: ``(blocks, points)``, int64: weights kept at each point; 0 at the last.
        energy: ``(blocks, points)``, float64: energy kept at each point, not increasing.
    """

    row_drop: Tensor
    col_drop: Tensor
    kept: Tensor
    energy: Tensor


def peel(energy: Tensor, heights: Tensor, widths: Tensor) -> Peeling:
    """Peels every block: drops the line with the least energy per weight until none is left.

    A heuristic (the best kernel of each size is NP-hard), with ties going to columns before row
    groups and to low indices first. Line energies are updated by subtraction in float64, so an
    update's roundoff is 1e-16 of what the line held; lines without energy are found exactly,
    because only zeros are ever subtracted from them before they go.

    Time: one step a line, each of a few passes over ``(blocks, row_groups + cols)``.

    Shape:
        energy: ``(blocks, row_groups, cols)``, the summed energy of each row group and column.
        heights: ``(blocks, row_groups)``, int64: rows in each row group; 0 marks padding.
        widths: ``(blocks, cols)``, int64: 1, or 0 for padding.

    Reference:
        Ours; the sets are those of CSB-RNN (Shi et al., 2020), section 3.
    """
    blocks, row_groups, cols = energy.shape
    device = energy.device
    by_row = energy.reshape(blocks * row_groups, cols)
    by_col = energy.transpose(1, 2).reshape(blocks * cols, row_groups)
    height = heights.to(torch.float64)
    inverse_height = 1 / height.clamp(min=1)

    # Energy per row of a row group, and of a column: what the search compares. Inf when dropped.
    row_rate = _wide_sums(energy, 2).mul_(inverse_height)
    col_rate = _wide_sums(energy, 1)
    total = row_rate.mul(height).sum(1)
    row_rate.masked_fill_(heights == 0, torch.inf)
    col_rate.masked_fill_(widths == 0, torch.inf)
    grouped = bool((heights > 1).any())

    steps = row_groups + cols - 1
    row_drop = torch.full_like(heights, steps).masked_fill_(heights == 0, -1)
    col_drop = torch.full_like(widths, steps).masked_fill_(widths == 0, -1)
    rows_left, cols_left = heights.sum(1), widths.sum(1)
    row_base = torch.arange(blocks, device=device) * row_groups
    col_base = torch.arange(blocks, device=device) * cols
    kept, lost = [rows_left * cols_left], []

    for step in range(steps):
        row_least, row = row_rate.min(1)
        col_least, col = col_rate.min(1)
        # row_least / cols_left < col_least / rows_left, without the division by zero.
        drop_row = row_least * rows_left < col_least * cols_left
        live = kept[-1] > 0
        drop_col = live & ~drop_row
        drop_row &= live
        row_height = heights.gather(1, row[:, None]).squeeze(1)
        lost.append(torch.where(drop_row, row_least * row_height, col_least.where(drop_col, 0)))

        removed = by_row.index_select(0, row_base + row)
        col_rate.addcmul_(removed, drop_row.to(torch.float64)[:, None], value=-1)
        removed = by_col.index_select(0, col_base + col).to(torch.float64)
        if grouped:
            removed *= inverse_height
        row_rate.addcmul_(removed, drop_col.to(torch.float64)[:, None], value=-1)

        _drop(row_rate, row_drop, row[:, None], drop_row[:, None], step)
        _drop(col_rate, col_drop, col[:, None], drop_col[:, None], step)
        rows_left = rows_left - row_height * drop_row
        cols_left = cols_left - drop_col.to(torch.int64)
        kept.append(rows_left * cols_left)

    losses = torch.stack(lost, 1).clamp_(min=0) if lost else total.new_zeros(blocks, 0)
    # Summed from the right: small energies last long, and must not drown in large ones.
    tails = losses.flip(1).cumsum(1).flip(1)
    tails = torch.cat([tails, tails.new_zeros(blocks, 1)], 1)
    return Peeling(row_drop, col_drop, torch.stack(kept, 1), tails)


def _wide_sums(energy: Tensor, dim: int) -> Tensor:
    """Sums each block in float64. A few blocks at a time: sum() would widen a copy of them all."""
    if not len(energy):
        return energy.sum(dim, dtype=torch.float64)
    return torch.cat([part.sum(dim, dtype=torch.float64) for part in energy.split(_CHUNK)])  # type: ignore[no-untyped-call]


def _drop(rate: Tensor, drop_time: Tensor, line: Tensor, where: Tensor, step: int) -> None:
    rate.scatter_(1, line, rate.gather(1, line).masked_fill_(where, torch.inf))
    drop_time.scatter_(1, line, drop_time.gather(1, line).masked_fill_(where, step))
