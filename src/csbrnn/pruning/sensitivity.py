"""What a weight's energy is worth to the loss, matrix by matrix or gate by gate.

A budget shared by ``scope="global"`` goes where most energy is. But a unit of energy (a squared
weight) costs the loss more in one matrix than in another. The functions here measure how much;
a recipe's ``sensitivities`` take the result.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from csbrnn.errors import ArgumentError
from csbrnn.patterns import MaskPattern
from csbrnn.pruning.refusal import refuse
from csbrnn.pruning.targets import Target, find_targets, unwrap

if TYPE_CHECKING:
    from csbrnn.pruning.recipe import Recipe

__all__ = ["fisher_sensitivity", "loss_sensitivity"]

#: Least sensitivity, as a share of the largest. Ours: a matrix whose measured effect drowns in
#: noise (or is an improvement) must not lose all its weights for it.
_FLOOR = 1e-3


def fisher_sensitivity(
    model: nn.Module, recipe: Recipe, losses: Iterable[Tensor], *, by_gate: bool = True
) -> dict[str, tuple[float, ...]]:
    """Returns the mean squared gradient of each target's weights, for ``Recipe.sensitivities``.

    To second order, with the diagonal of the Fisher information for the Hessian's, dropping a
    weight raises the loss by half its square times its mean squared gradient. Averaged over a
    matrix or a gate, so that single noisy gradients don't decide. Gradients are of batches: with
    large ones, the mean gradient's square comes in, which is small in a trained network.

    Args:
        model: The trained network; its gradients are used, and cleared.
        recipe: Which weights it prunes; its scope and method play no part.
        losses: Losses of some batches (30 or more), each with its graph: a generator, so that one
            graph lives at a time.
        by_gate: Whether each gate gets a factor of its own.

    Returns:
        Qualified name -> factors, scaled so that their mean over all weights is 1.

    Raises:
        ArgumentError: There are no losses, or a gradient is not finite.
        RecipeError: The recipe does not fit the model.

    Reference:
        LeCun et al., "Optimal brain damage" (1990), with Fisher's diagonal as in Theis et al.,
        "Faster gaze prediction with dense networks and Fisher pruning" (2018).
    """
    targets = find_targets(unwrap(model), recipe)
    totals = [[0.0] * _gates(target, by_gate) for target in targets]
    count = 0
    for loss in losses:
        model.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        for target, sums in zip(targets, totals, strict=True):
            gradient = target.parameter.grad
            if gradient is None:
                continue
            for gate, part in enumerate(torch.chunk(gradient.detach().float(), len(sums))):
                sums[gate] += float(part.square().mean())
        count += 1
    model.zero_grad()
    if not count:
        raise ArgumentError("fisher_sensitivity needs the losses of some batches, and got none")
    return _normalized(targets, [[value / count for value in sums] for sums in totals])


def loss_sensitivity(
    model: nn.Module, recipe: Recipe, evaluate: Callable[[], float], *, by_gate: bool = True
) -> dict[str, tuple[float, ...]]:
    """Returns the loss that a unit of each target's energy costs, for ``Recipe.sensitivities``.

    Prunes one matrix or gate after the other to the recipe's density, without training, measures
    how much the loss rises, and puts the weights back. Needs one evaluation for each, and one
    more. The loss of a network is not that of its parts added up, and retraining mends some parts
    better than others; but the effect is measured, at the density in question.

    Args:
        model: The trained network.
        recipe: Which weights it prunes, to which pattern and density; the rest plays no part.
        evaluate: Returns the loss of the model as it is now, on data it is not trained on.
        by_gate: Whether each gate gets a factor of its own.

    Returns:
        Qualified name -> factors, scaled so that their mean over all weights is 1.

    Raises:
        ArgumentError: A loss is not finite.
        RecipeError: The recipe does not fit the model, or a pattern is no mask.
    """
    targets = find_targets(unwrap(model), recipe)
    refuse(
        "no sensitivity",
        [
            f"{target.name}: {target.pattern} chooses no weights, so there is no budget to share"
            for target in targets
            if not isinstance(target.pattern, MaskPattern)
        ],
    )
    before = _finite(evaluate())
    slopes: list[list[float]] = []
    for target in targets:
        pieces = torch.chunk(target.parameter.detach(), _gates(target, by_gate))
        slopes.append([_slope(target, piece, evaluate, before) for piece in pieces])
    return _normalized(targets, slopes)


def _slope(target: Target, piece: Tensor, evaluate: Callable[[], float], before: float) -> float:
    """Loss gained per energy lost when a piece, a view of the target's weights, is pruned."""
    whole = piece.clone()
    projected = target.pattern.project(whole, target.density)
    lost = float((whole - projected).double().square().sum())
    try:
        piece.copy_(projected)
        after = _finite(evaluate())
    finally:
        piece.copy_(whole)
    return (after - before) / lost if lost else 0.0


def _finite(loss: float) -> float:
    if not math.isfinite(loss):
        raise ArgumentError(f"evaluate() must return a finite loss, not {loss}")
    return float(loss)


def _gates(target: Target, by_gate: bool) -> int:
    return target.gates if by_gate else 1


def _normalized(
    targets: Sequence[Target], values: Sequence[Sequence[float]]
) -> dict[str, tuple[float, ...]]:
    if not all(math.isfinite(value) for parts in values for value in parts):
        raise ArgumentError(
            "sensitivities must be finite, but some are not; the model has diverged"
        )
    largest = max(value for parts in values for value in parts)
    if largest <= 0:
        return {target.name: (1.0,) * len(v) for target, v in zip(targets, values, strict=True)}
    raised = [[max(value, _FLOOR * largest) for value in parts] for parts in values]
    sizes = [target.parameter.numel() for target in targets]
    mean = sum(n * sum(p) / len(p) for n, p in zip(sizes, raised, strict=True)) / sum(sizes)
    return {
        target.name: tuple(value / mean for value in parts)
        for target, parts in zip(targets, raised, strict=True)
    }
