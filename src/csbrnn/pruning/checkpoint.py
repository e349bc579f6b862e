"""Whether a checkpoint fits the pruner that is to resume from it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from csbrnn.errors import RecipeError
from csbrnn.pruning.recipe import Recipe
from csbrnn.pruning.state import PruningState

__all__ = ["STATE_VERSION", "check"]

STATE_VERSION = 1
"""Raised whenever the meaning of a checkpoint's entries changes."""


def check(data: Mapping[str, Any], recipe: Recipe, state: PruningState) -> None:
    """Checks a checkpoint's version, recipe, and the names and shapes of its weights.

    Raises:
        RecipeError: They differ from those at hand; the message lists all differences.
    """
    if data.get("version") != STATE_VERSION:
        raise RecipeError(
            f"a pruner's checkpoint must be of version {STATE_VERSION}, not"
            f" {data.get('version')!r}; was it written by pruner.state_dict()?"
        )
    mine, saved = recipe.to_dict(), _complete(data["recipe"])
    differing = [key for key in mine | saved if mine.get(key) != saved.get(key)]
    shapes = {target.name: target.parameter.shape for target in state.targets}
    if set(shapes) != set(data["state"]["targets"]):
        differing.append("the pruned weights")
    for name, entry in data["state"]["targets"].items():
        tensors = (entry["dropped"], *entry["variables"].values())
        if any(t is not None and t.ndim and t.shape != shapes.get(name, t.shape) for t in tensors):
            differing.append(f"the shape of {name}")
    if differing:
        raise RecipeError(
            "a checkpoint must be resumed with the recipe and the model it was written for,"
            f" but {', '.join(differing)} differ; build both as before"
        )


def _complete(saved: Mapping[str, Any]) -> dict[str, Any]:
    """A recipe as today's would be written: a setting that is newer than it has its default."""
    try:
        return Recipe.from_dict(saved).to_dict()
    except RecipeError:
        return dict(saved)
