"""How strong a group lasso should be: a first guess, from the weights and the time there is."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from csbrnn.checks import is_integer, is_number, is_positive
from csbrnn.errors import ArgumentError
from csbrnn.pruning.groups import Groups
from csbrnn.pruning.recipe import Recipe
from csbrnn.pruning.refusal import refuse
from csbrnn.pruning.targets import find_targets, unwrap

__all__ = ["lasso_strength"]


def lasso_strength(
    model: nn.Module, recipe: Recipe, *, steps: int, learning_rate: float, adaptive: bool = True
) -> float:
    """Returns the strength at which the penalty alone would drop what the density asks for.

    A heuristic. The penalty pulls the root mean square of every group towards zero at the same
    speed: ``learning_rate * strength`` a step under SGD, ``learning_rate * strength / g`` under
    Adam and its kin, where g is the root mean square of the loss's gradient, while the penalty's
    is the smaller one. The strength returned carries the group at the recipe's density (the
    smallest that is to stay) from where it stands to zero within ``steps``. The loss holds
    against it, more so for groups that matter. In our experiments, a third of it was worse and
    three times as much about as good.

    The paper tunes the strength for each network: it found smaller ones better with pruning.

    Args:
        model: The network, trained; with ``adaptive``, its parameters hold the gradients of a few
            batches (``loss.backward()`` without ``zero_grad()``, divided by their number).
        recipe: Which weights, which pattern and which density; its method may be any.
        steps: Steps that the penalty will be on.
        learning_rate: Their mean learning rate.
        adaptive: Whether the optimizer divides by the size of gradients, as Adam does.

    Returns:
        The strength: the mean over the weights, each matrix counted by its size.

    Raises:
        ArgumentError: A gradient is missing or zero, or ``steps`` or ``learning_rate`` is not
            positive.
        RecipeError: The recipe does not fit the model, or its pattern has no groups.

    Reference:
        Ours.
    """
    if not is_integer(steps, 1) or not is_number(learning_rate) or not learning_rate > 0:
        raise ArgumentError(
            f"steps must be a positive integer and learning_rate a positive number, not {steps!r}"
            f" and {learning_rate!r}"
        )
    total = strength = 0.0
    for target in find_targets(unwrap(model), recipe):
        weight = target.parameter.detach().float()
        systems = Groups(target).root_mean_squares(weight)
        if not systems:
            refuse("no strength", [f"{target.pattern} has no groups: group lasso can't prune it"])
        speed = learning_rate
        if adaptive:
            speed /= _gradient_size(target.name, target.parameter.grad)
        # Of overlapping systems, the one that reaches zero first decides.
        distance = min(_at_density(rms, sizes, target.density) for rms, sizes in systems)
        strength += weight.numel() * distance / (speed * steps)
        total += weight.numel()
    return strength / total


def _gradient_size(name: str, gradient: Tensor | None) -> float:
    size = 0.0 if gradient is None else float(gradient.float().square().mean().sqrt())
    if not is_positive(size):
        raise ArgumentError(
            f"{name} must have a finite gradient that is not zero; call loss.backward() on a few"
            " batches before, or set adaptive=False for SGD"
        )
    return size


def _at_density(rms: Tensor, sizes: Tensor, density: float) -> float:
    """The smallest value of the largest groups that together hold ``density`` of the weights."""
    order = rms.argsort(descending=True)
    share = sizes[order].cumsum(0) / sizes.sum()
    last = int(torch.searchsorted(share, density - 1e-6).clamp(max=len(order) - 1))
    return float(rms[order[last]])
