"""The first line: setting a model up to be pruned, and finding its pruner again."""

from __future__ import annotations

import torch
from torch import nn

from csbrnn.errors import RecipeError
from csbrnn.pruning.distill import Select
from csbrnn.pruning.lifetime import pruners
from csbrnn.pruning.pruner import Pruner
from csbrnn.pruning.recipe import Recipe
from csbrnn.pruning.targets import unwrap

__all__ = ["prune_", "pruner_of", "pruners_of"]


def prune_(
    model: nn.Module,
    recipe: Recipe,
    *,
    teacher: nn.Module | None = None,
    select: Select | None = None,
) -> Pruner:
    """Sets a model up to be pruned in place while it trains.

    ::

        pruner = csbrnn.prune_(model, recipe)
        for inputs, labels in batches:
            loss = pruner.loss(task_loss(model(inputs), labels))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            pruner.step()
        pruner.finalize()

    Load or initialize the weights before. Parameters stay the same objects, so an optimizer may
    be built before or after. The model may be wrapped (DistributedDataParallel, torch.compile)
    before, or after if all ranks hold the same weights already. Copies of the model are
    plain models: they are not pruned.

    Where the recipe has a precision, forward passes see rounded weights from some step on; the
    parameters, which the optimizer moves and ``model.state_dict()`` holds, are rounded by
    ``finalize`` only.

    Args:
        model: The network; its recurrent layers are found, and nn.Linear on request.
        recipe: What to prune, to what, and how.
        teacher: The network to distill from, instead of a copy of ``model`` as it is now.
        select: Returns the logits of the model's output; its first floating-point tensor if None.

    Raises:
        RecipeError: The recipe does not fit the model; the message lists all reasons.
    """
    if not isinstance(recipe, Recipe):
        raise RecipeError(
            f"recipe must be a csbrnn.Recipe(pattern, density, method), not {recipe!r:.80}"
        )
    model = unwrap(model)
    if model in pruners:
        raise RecipeError(
            f"this {type(model).__name__} is being pruned already; call"
            " pruner_of(model).detach() before pruning it by another recipe"
        )
    if recipe.distill is None and (teacher is not None or select is not None):
        raise RecipeError(
            "teacher and select serve distillation, and the recipe has none;"
            " add distill=Distillation(...) to the recipe"
        )
    # What it keeps takes part in training, which tensors made in inference mode can't.
    with torch.inference_mode(False):
        pruner = Pruner(model, recipe, teacher=teacher, select=select)
    pruners[model] = pruner
    return pruner


def pruner_of(model: nn.Module) -> Pruner | None:
    """Returns the pruner of a model (wrapped or not), or None if it is not being pruned."""
    return pruners.get(unwrap(model))


def pruners_of(model: nn.Module) -> list[Pruner]:
    """Returns all pruners that hold weights of a model: its own, of parts of it, of its owner."""
    parameters = {id(parameter) for parameter in model.parameters()}
    return [pruner for pruner in list(pruners.values()) if pruner.holds(parameters)]
