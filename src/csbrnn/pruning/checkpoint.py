"""Whether a checkpoint fits the pruner that is to resume from it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from csbrnn.checks import is_integer
from csbrnn.errors import RecipeError
from csbrnn.pruning.recipe import Recipe
from csbrnn.pruning.state import PruningState

__all__ = ["STATE_VERSION", "check"]

STATE_VERSION = 1
"""Raised whenever the meaning of a checkpoint's entries changes."""


def check(
    data: Mapping[str, Any], recipe: Recipe, state: PruningState, copied: bool | None = None
) -> None:
    """Checks a checkpoint's version, recipe, and the names and shapes of its weights.

    Args:
        data: The checkpoint.
        recipe: That at hand.
        state: That of the pruner that resumes.
        copied: Whether its teacher is a copy of the model; None if it has none.

    Raises:
        RecipeError: They differ from those at hand; the message lists all differences.
    """
    version = data.get("version") if isinstance(data, Mapping) else data
    if version != STATE_VERSION:
        raise RecipeError(
            f"a pruner's checkpoint must be of version {STATE_VERSION}, not {version!r:.80}; was it"
            " written by pruner.state_dict()?"
        )
    if not _is_whole(data):
        raise RecipeError(
            "a pruner's checkpoint must hold what pruner.state_dict() returned, but some of it is"
            " missing or of another type"
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
    had_copy = data["teacher"] is not None
    if not data["finalized"] and copied is not None and copied != had_copy:
        raise RecipeError(
            "the checkpoint holds a teacher that was a copy of the model; leave out teacher= in"
            " prune_ to resume"
            if had_copy
            else "the checkpoint was written with a teacher of your own, which it does not hold;"
            " give the same teacher= to prune_ to resume"
        )


def _is_whole(data: Mapping[str, Any]) -> bool:
    """Whether all entries are there, and of the types that they have."""
    state = data.get("state")
    if not (
        isinstance(data.get("recipe"), Mapping)
        and isinstance(data.get("finalized"), bool)
        and isinstance(data.get("teacher"), Mapping | None)
        and _are_pairs(data.get("carried", []))
        and isinstance(state, Mapping)
        and is_integer(state.get("step"), 0)
        and isinstance(state.get("relaxation"), float | None)
        and isinstance(state.get("targets"), Mapping)
    ):
        return False
    return all(
        isinstance(entry, Mapping)
        and isinstance(entry.get("dropped"), Tensor | None)
        and isinstance(entry.get("variables"), Mapping)
        and all(isinstance(value, Tensor) for value in entry["variables"].values())
        for entry in state["targets"].values()
    )


def _are_pairs(carried: Any) -> bool:
    return isinstance(carried, list) and all(
        isinstance(pair, tuple | list)
        and len(pair) == 2
        and all(isinstance(tensor, Tensor) for tensor in pair)
        for pair in carried
    )


def _complete(saved: Mapping[str, Any]) -> dict[str, Any]:
    """A recipe as today's would be written: a setting that is newer than it has its default."""
    try:
        return Recipe.from_dict(saved).to_dict()
    except RecipeError:
        return dict(saved)
