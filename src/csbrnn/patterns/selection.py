"""Choosing under a budget: the best single weights, and the best cut of every block at once."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["choose_units", "share_budget", "top_k_mask", "top_k_rows"]

_SHORT = 16
"""Up to so many columns, comparing all pairs is faster than selection. Measured: twice as fast at 4
columns, equally at 28."""


def top_k_mask(values: Tensor, count: int) -> Tensor:
    """Marks the ``count`` largest values; equal values go by index, lowest first. Exact.

    Shape:
        values: any; the result is bool and of the same shape.
    """
    flat = values.reshape(-1)
    if count <= 0:
        return torch.zeros_like(values, dtype=torch.bool)
    if count >= flat.numel():
        return torch.ones_like(values, dtype=torch.bool)
    # torch.topk breaks ties as it likes: only its threshold is used.
    threshold = flat.topk(count, sorted=False).values.min()
    mask = flat > threshold
    ties = (flat == threshold).nonzero().squeeze(1)
    mask[ties[: count - int(mask.count_nonzero())]] = True
    return mask.view(values.shape)


def top_k_rows(values: Tensor, count: int) -> Tensor:
    """Marks the ``count`` largest values of every row; equal ones go by index. Exact.

    Shape:
        values: ``(rows, columns)``; the result is bool and of the same shape.
    """
    if count <= 0 or not values.numel():
        return torch.zeros_like(values, dtype=torch.bool)
    columns = values.shape[1]
    if count >= columns:
        return torch.ones_like(values, dtype=torch.bool)
    if columns <= _SHORT:
        return _rank_short(values) < count
    # The smallest value that stays; torch.topk breaks ties as it likes.
    threshold = values.kthvalue(columns - count + 1, dim=1, keepdim=True).values
    mask = values >= threshold
    crowded = (mask.sum(1) > count).nonzero().squeeze(1)
    if crowded.numel():
        some, edge = values[crowded], threshold[crowded]
        above = some > edge
        ties = some == edge
        room = count - above.sum(1, keepdim=True)
        mask[crowded] = above | (ties & (ties.cumsum(1) <= room))
    return mask


def _rank_short(values: Tensor) -> Tensor:
    """Ranks the values of every short row, from 0 for the largest, by comparing each two."""
    columns = values.t().contiguous()
    count = len(columns)
    # A rank begins as the number of later values; each comparison puts the larger one ahead, and of
    # equal ones the earlier.
    rank = torch.arange(count - 1, -1, -1, dtype=torch.uint8, device=values.device)
    rank = rank[:, None].repeat(1, columns.shape[1])
    for first in range(count - 1):
        ahead = columns[first] >= columns[first + 1 :]
        rank[first + 1 :] += ahead
        rank[first] -= ahead.sum(0, dtype=torch.uint8)
    return rank.t().contiguous()


def choose_units(energy: Tensor, cost: Tensor, limit: int) -> Tensor:
    """Chooses units (blocks, or columns of stripes) so that together they hold the most energy.

    Exact where all cost the same; else the most energy a weight first, as long as they fit: a
    heuristic for the last few weights of the knapsack. Equal units go by index. Units without
    energy are never chosen, and neither are those that cost nothing (padding).

    Args:
        energy: What each unit holds.
        cost: The weights that each unit keeps.
        limit: Most weights that may be kept in all.

    Shape:
        energy: ``(units,)``; cost: ``(units,)``, int64; the result: ``(units,)``, bool.
    """
    most = int(cost.max()) if cost.numel() else 0
    if most == 0:
        return torch.zeros_like(cost, dtype=torch.bool)
    energy = energy.masked_fill(cost == 0, 0)
    if bool(((cost == most) | (cost == 0)).all()):
        return top_k_mask(energy, limit // most) & (energy > 0)
    worth = energy / cost.clamp(min=1)
    order = worth.argsort(descending=True, stable=True)
    order = order[worth[order] > 0]
    keep = torch.zeros_like(energy, dtype=torch.bool)
    while order.numel():
        fits = cost[order].cumsum(0) <= limit
        keep[order[fits]] = True
        limit -= int(cost[order[fits]].sum())
        order = order[~fits]
        order = order[cost[order] <= limit]
    return keep


def share_budget(kept: Tensor, energy: Tensor, limit: int) -> Tensor:
    """Chooses one point on every block's curve so that together they keep the most energy.

    One Lagrange multiplier (the energy a weight must be worth) is bisected over all blocks: exact
    on the curves' concave hulls. What is left of the budget goes to the best single moves, one
    after the other, until none fits: a heuristic for the last few weights of the knapsack.

    Points before the first loss of energy are never chosen: weights without energy are not kept,
    nor are those with so little that a sum in float64 does not show it.

    Args:
        kept: Weights that each point keeps, not increasing from left to right, ending at 0.
        energy: Energy that each point keeps, not increasing.
        limit: Most weights that may be kept in all.

    Shape:
        kept: ``(blocks, points)``, int64.
        energy: ``(blocks, points)``, float64.
        result: ``(blocks,)``, int64: the point chosen on each curve.
    """
    # The rightmost point that has lost nothing yet, and the rightmost of all: keep all, keep none.
    richest = (energy == energy[:, :1]).cumprod(1).sum(1) - 1
    rich = richest.clone()
    poor = torch.full_like(rich, kept.shape[1] - 1)
    if int(_at(kept, rich).sum()) <= limit:
        return rich

    # Invariant: `poor` fits the budget, `rich` does not; blocks where they agree are settled.
    low = 0.0
    high = 2 * float((energy / kept.clamp(min=1)).max())
    active = (rich != poor).nonzero().squeeze(1)
    active_kept, active_energy = kept[active], energy[active]
    total = 0
    while active.numel():
        price = (low + high) / 2
        if not low < price < high:
            break
        point = (active_energy - price * active_kept).argmax(1)
        point = torch.maximum(point, rich[active]).minimum(poor[active])
        spent = int(_at(active_kept, point).sum())
        if total + spent <= limit:
            high = price
            poor[active] = point
        else:
            low = price
            rich[active] = point
        open_ = rich[active] != poor[active]
        total += int(_at(active_kept, poor[active])[~open_].sum())
        active = active[open_]
        active_kept, active_energy = active_kept[open_], active_energy[open_]

    # Blocks that tie at the final price move from `poor` to `rich` in order while they fit.
    left = limit - int(_at(kept, poor).sum())
    cost = (_at(kept, rich) - _at(kept, poor)).cumsum(0)
    chosen = torch.where(cost <= left, rich, poor)
    return _spend_rest(kept, energy, chosen, richest, limit - int(_at(kept, chosen).sum()))


def _spend_rest(kept: Tensor, energy: Tensor, point: Tensor, first: Tensor, left: int) -> Tensor:
    """Makes the best single move (most energy a weight) that fits, until none does."""
    point = point.clone()
    cost = kept - _at(kept, point)[:, None]
    worth = (energy - _at(energy, point)[:, None]) / cost.clamp(min=1)
    # A move is to a point further left, but not left of the first loss of energy.
    steps = torch.arange(kept.shape[1], device=kept.device)
    cost.masked_fill_(steps < first[:, None], 0)
    while left > 0:
        fits = (cost > 0) & (cost <= left)
        best = int(torch.where(fits, worth, -torch.inf).argmax())
        block, target = divmod(best, kept.shape[1])
        if not bool(fits[block, target]):
            break
        left -= int(cost[block, target])
        point[block] = target
        cost[block] = kept[block] - kept[block, target]
        cost[block, : int(first[block])] = 0
        worth[block] = (energy[block] - energy[block, target]) / cost[block].clamp(min=1)
    return point


def _at(curve: Tensor, point: Tensor) -> Tensor:
    return curve.gather(1, point[:, None]).squeeze(1)
