"""Putting rows into equal groups so that each group shares its columns."""

from __future__ import annotations

import math

import torch
from torch import Tensor

__all__ = ["cluster_rows", "kept_energy"]


def cluster_rows(energy: Tensor, price: Tensor, height: int, sweeps: int = 1) -> Tensor:
    """Returns an order of the rows in which runs of ``height`` keep more energy than they cost.

    A group keeps the columns in which its summed energy exceeds ``height`` weights at the column's
    price. Greedy: a group begins with the unused row of most energy, and takes the row with which
    it keeps most, one after the other. Then sweeps: each row is swapped with the row of another
    group where both together gain most. Neither finds the optimum. Deterministic, ties included.

    Time: ``rows**2 * columns`` additions for the first order, and about four times as many a sweep.

    Args:
        energy: Energy of each weight, not negative.
        price: What a weight of each column costs.
        height: Rows of a group; the last may have fewer.
        sweeps: Rounds of swaps; they end early when none gains.

    Shape:
        energy: ``(rows, columns)``; price: ``(columns,)``; result: ``(rows,)``, int64.

    Reference:
        Ours.
    """
    groups = _greedy(energy, price, height)
    for _ in range(sweeps):
        if not _sweep(energy, price, groups):
            break
    return torch.tensor([row for group in groups for row in group], dtype=torch.int64)


def kept_energy(energy: Tensor, price: Tensor, height: int) -> float:
    """Returns what runs of ``height`` rows keep, less its cost: what `cluster_rows` raises."""
    parts = torch.split(energy, height)
    kept = [float((part.sum(0) - len(part) * price).relu().sum()) for part in parts]
    return math.fsum(kept)


def _greedy(energy: Tensor, price: Tensor, height: int) -> list[list[int]]:
    rows = len(energy)
    free = torch.ones(rows, dtype=torch.bool, device=energy.device)
    total = energy.sum(1)
    groups: list[list[int]] = []
    while len(groups) * height < rows:
        seed = int(total.masked_fill(~free, -1).argmax())
        group, sums = [seed], energy[seed].clone()
        free[seed] = False
        while len(group) < height and bool(free.any()):
            candidates = free.nonzero().squeeze(1)
            offer = energy[candidates].add_(sums - (len(group) + 1) * price).relu_().sum(1)
            row = int(candidates[int(offer.argmax())])
            group.append(row)
            sums += energy[row]
            free[row] = False
        groups.append(group)
    return groups


def _sweep(energy: Tensor, price: Tensor, groups: list[list[int]]) -> bool:
    """Makes the best swap of each row, if it gains; returns whether any did."""
    rows = len(energy)
    member = torch.empty(rows, dtype=torch.int64, device=energy.device)
    for number, group in enumerate(groups):
        member[group] = number
    cost = torch.stack([len(group) * price for group in groups])
    sums = torch.stack([energy[group].sum(0) for group in groups])
    worth = (sums - cost).relu_().sum(1)
    changed = False
    for row in range(rows):
        own = int(member[row])
        # This group without the row, with each other one; the other's group without it, with this.
        here = (energy + (sums[own] - energy[row] - cost[own])).relu_().sum(1)
        there = (sums - cost + energy[row]).index_select(0, member).sub_(energy).relu_().sum(1)
        gain = here + there - worth[own] - worth.index_select(0, member)
        gain[member == own] = 0
        best = int(gain.argmax())
        # Sums are updated by differences: gains within their rounding are none.
        if float(gain[best]) <= 1e-5 * float(worth[own]):
            continue
        other = int(member[best])
        difference = energy[best] - energy[row]
        sums[own] += difference
        sums[other] -= difference
        worth[own] = (sums[own] - cost[own]).relu_().sum()
        worth[other] = (sums[other] - cost[other]).relu_().sum()
        groups[own][groups[own].index(row)] = best
        groups[other][groups[other].index(best)] = row
        member[row], member[best] = other, own
        changed = True
    return changed
