"""`permute_`: hidden units in an order in which a pattern keeps more of their weights' energy."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import final

import torch
from torch import Tensor, nn
from torch.nn.functional import pad

from csbrnn.errors import RecipeError
from csbrnn.patterns import MaskPattern, Pattern
from csbrnn.pruning import ADMM, Recipe, pruners_of, unwrap
from csbrnn.pruning.projection import Projection
from csbrnn.pruning.refusal import refuse
from csbrnn.pruning.targets import Target, find_targets
from csbrnn.units.clustering import cluster_rows
from csbrnn.units.module import ModuleUnits, units_of
from csbrnn.units.spaces import Space, offsets

__all__ = ["Permutation", "permute_"]


@final
@dataclasses.dataclass(frozen=True)
class Permutation:
    """What `permute_` did.

    Attributes:
        orders: Units (``rnn, layer 0``) -> their order: the k-th unit now is the former one of
            that number. States that a caller kept from before, and an optimizer's, must be put in
            this order too. Units that stayed as they were are left out.
        energy_before: Share of the pruned weights' energy (their squares) that the pattern keeps
            at the density, before.
        energy_after: The same, after.
    """

    orders: Mapping[str, Tensor]
    energy_before: float
    energy_after: float

    def __str__(self) -> str:
        moved = ", ".join(self.orders) or "no units"
        return (
            f"energy kept {self.energy_before:.4f} -> {self.energy_after:.4f}; new order for"
            f" {moved}"
        )


def permute_(
    model: nn.Module,
    pattern: Pattern | str | Recipe,
    density: float | None = None,
    *,
    sweeps: int = 1,
) -> Permutation:
    """Reorders hidden units in place, so that rows which a pattern groups use the same columns.

    The network computes the same: a unit's rows in all gates, its biases and states, and its
    columns in every weight that reads it move together, next layers, projections, both directions
    and linear layers included. Call it before ``prune_`` (and before the optimizer is built), on a
    network that has been trained: in an untrained one there is nothing to find.

    It helps where rows go together: stripes, row groups, blocks. Orders are found by greedy
    clustering and swaps (`csbrnn.units.clustering`), one order for all gates, and kept where the
    pattern's own projection says that they gain. Units that the model's output consists of stay.

    Args:
        model: A module that `csbrnn.pack` could pack.
        pattern: The pattern, or its text form; or the recipe that is to follow.
        density: Share of the weights to keep, unless a recipe is given.
        sweeps: Rounds of swaps after the greedy order.

    Returns:
        The orders, and the energy kept before and after.

    Raises:
        RecipeError: The model is being pruned already; or the pattern, the density or the recipe
            does not fit it.
        UnsupportedModelError: Not every use of the units can be found; with all reasons.

    Reference:
        Ours.
    """
    model = unwrap(model)
    if isinstance(pattern, Recipe):
        recipe = pattern
        if density is not None:
            raise RecipeError("the recipe has a density already; leave density out")
    else:
        # The method plays no part; this one goes with every pattern.
        recipe = Recipe(pattern, density, ADMM(1, 0, interval=1))
    what = f"can't permute {type(model).__name__}"
    if pruners_of(model):
        raise RecipeError(
            f"{what}: it is being pruned already, and its masks would not move along; permute"
            " before prune_"
        )
    targets = find_targets(model, recipe)
    refuse(
        what,
        [
            f"{t.name}: {t.pattern} chooses no weights, so their order does not matter to it"
            for t in targets
            if not isinstance(t.pattern, MaskPattern)
        ],
    )
    units = units_of(model, what="can't permute")
    search = _Search(model, units, targets, recipe, sweeps)
    before = search.energy()
    orders = {}
    for space in units.spaces.recurrent():
        order = None if space.fixed else search.improve(space)
        if order is not None:
            orders[space.name] = order
    return Permutation(orders, before, search.energy())


class _Search:
    """A model whose units are put into a better order, space by space."""

    def __init__(
        self,
        model: nn.Module,
        units: ModuleUnits,
        targets: Sequence[Target],
        recipe: Recipe,
        sweeps: int,
    ) -> None:
        self._model, self._units, self._targets = model, units, targets
        scope = "matrix" if recipe.scope == "units" else recipe.scope
        self._projection = Projection(targets, scope)
        self._sweeps = sweeps

    @torch.no_grad()
    def energy(self) -> float:
        """The share of all targets' energy that their patterns keep now."""
        weights = [target.parameter.detach().float() for target in self._targets]
        masks = self._projection.masks(weights, [target.density for target in self._targets])
        squares = [weight.double().square() for weight in weights]
        kept = sum(
            float(square[mask].sum())
            for square, mask in zip(squares, masks, strict=True)
            if mask is not None
        )
        return kept / max(sum(float(square.sum()) for square in squares), 1e-300)

    @torch.no_grad()
    def improve(self, space: Space) -> Tensor | None:
        """Reorders the units of a space if that gains energy; returns the order, or None."""
        energies, prices, heights = [], [], []
        for target in self._targets:
            rows = self._units.spaces.axes(self._units.weights()[target.name])[0]
            if space not in rows:
                continue
            energy = target.parameter.detach().float().square()
            height = _height(target)
            if height is None:
                continue
            price = _price(energy, target.density, height)
            for own, start in offsets(rows):
                if own is space:
                    energies.append(energy[start : start + space.size])
                    prices.append(energy.new_full((energy.shape[1],), price))
                    heights.append(height)
        if not heights:
            return None
        before = self.energy()
        order = cluster_rows(torch.cat(energies, 1), torch.cat(prices), min(heights), self._sweeps)
        self._apply(space, order)
        if self.energy() > before:
            return order
        self._apply(space, order.argsort())
        return None

    def _apply(self, space: Space, order: Tensor) -> None:
        spaces = self._units.spaces
        for weight in spaces.weights():
            parameter = self._model.get_parameter(self._units.names[id(weight)][0])
            for dim, axis in enumerate(spaces.axes(weight)):
                for own, start in offsets(axis):
                    if own is space:
                        part = parameter.detach().narrow(dim, start, space.size)
                        part.copy_(part.index_select(dim, order.to(part.device)))


def _height(target: Target) -> int | None:
    """How many rows go together under the target's pattern; None if each goes for itself."""
    rows, cols = target.parameter.shape
    runs = []
    for ids in target.pattern.groups((rows // target.pieces, cols)):
        run = int((ids[:, 0] == ids[0, 0]).cumprod(0).sum())
        if run > 1:
            runs.append(run)
    return min(runs, default=None)


def _price(energy: Tensor, density: float, height: int) -> float:
    """What a weight costs: the energy a weight of the last run that fits into the density."""
    whole = pad(energy, (0, 0, 0, -len(energy) % height))
    runs = whole.view(-1, height, energy.shape[1]).sum(1)
    count = max(1, round(density * runs.numel()))
    return float(runs.flatten().topk(count, sorted=False).values.min()) / height
