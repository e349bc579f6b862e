"""What networks that go on from one dense network have in common, so that they compare.

Studies, searches and explorations train a dense network first. From its weights the dense reference
and the pruned networks are fine-tuned for as many steps, on the same batches.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import torch
from torch import nn

from csbrnn.errors import ArgumentError
from csbrnn.files import replace_file
from csbrnn.model import PackedModel
from csbrnn.nn import pack
from csbrnn.numerics import Precision
from csbrnn.pruning import Recipe
from csbrnn.tasks.settings import replaced
from csbrnn.tasks.task import Task
from csbrnn.tasks.training import Training
from csbrnn.units import shrink

__all__ = [
    "CHECKPOINT",
    "TEACHERS",
    "WEIGHTS",
    "check_permute",
    "check_schedule",
    "check_teacher",
    "fine_tuning_of",
    "load_weights",
    "pack_trained",
    "read_pruned_training",
    "read_training",
    "save_weights",
]

CHECKPOINT: Final = "checkpoint.pt"
"""In a training's directory: all that resuming needs, while it lasts."""

WEIGHTS: Final = "weights.pt"
"""In a training's directory: the network at its end."""

TEACHERS: Final = ("finished", "start")
"""Whom pruned networks learn from where they distill: the dense network after equally long
training, or the one that all start from."""

#: Added to the seed: other batches than before, the same for every network.
_FINE_TUNING_SEED: Final = 10_000


def read_training(where: str, default: Training, changes: Any) -> Training:
    """Returns a training with some settings changed, as a table of a recipe file says.

    Args:
        where: The table's place, for messages.
        default: The training.
        changes: The table.

    Raises:
        ArgumentError: A setting is unknown or out of range; or it is the seed, by which networks
            of one recipe differ.
    """
    if isinstance(changes, Mapping) and "seed" in changes:
        raise ArgumentError(f"{where}: leave seed out: batches follow the seed of the network")
    return replaced(where, default, changes)


def read_pruned_training(where: str, finish: Training, changes: Any) -> Training:
    """Returns the training of pruned networks: that of the dense reference, with some changes.

    Args:
        where: The place of the table of changes, for messages.
        finish: Training of the dense reference.
        changes: The table.

    Raises:
        ArgumentError: As `read_training`, and if they would train longer or shorter.
    """
    if isinstance(changes, Mapping) and "steps" in changes:
        raise ArgumentError(
            f"{where}.steps: trials are as long as [finish] says, so that they compare with the"
            " dense reference; change it there"
        )
    return read_training(where, finish, changes)


def check_teacher(teacher: Any) -> None:
    """Refuses what is none of `TEACHERS`.

    Raises:
        ArgumentError: It is none.
    """
    if teacher not in TEACHERS:
        raise ArgumentError(f"teacher must be one of {', '.join(TEACHERS)}, not {teacher!r}")


def check_permute(permute: Any) -> None:
    """Refuses what is neither true nor false.

    Raises:
        ArgumentError: It is something else.
    """
    if not isinstance(permute, bool):
        raise ArgumentError(f"permute must be true or false, not {permute!r}")


def check_schedule(recipe: Recipe, training: Training) -> None:
    """Refuses a method that takes longer than the dense reference trains.

    Raises:
        ArgumentError: It does.
    """
    if recipe.method.total_steps > training.steps:
        raise ArgumentError(
            f"the schedule takes {recipe.method.total_steps} steps, and [finish] has only"
            f" {training.steps}"
        )


def fine_tuning_of(training: Training, seed: int) -> Training:
    """Returns a fine-tuning with the batches that all networks of a seed see."""
    return replace(training, seed=_FINE_TUNING_SEED + seed)


def pack_trained(
    task: Task, model: nn.Module, recipe: Recipe | None, precision: Precision | str | None = None
) -> PackedModel:
    """Packs a network as it would be deployed: shrunk, if whole units were pruned.

    Args:
        task: Its task.
        model: The network.
        recipe: By which it was pruned; None if it is dense.
        precision: As of `csbrnn.nn.pack`.

    Raises:
        UnsupportedModelError: Something can't be packed.
    """
    packed = pack(model, metadata=task.metadata(), precision=precision)
    return shrink(packed) if recipe is not None and recipe.scope == "units" else packed


def load_weights(directory: Path) -> dict[str, Any]:
    """Returns the state of the network that `save_weights` has left in a directory.

    Raises:
        ArgumentError: There is none, or it is damaged.
    """
    path = directory / WEIGHTS
    try:
        weights: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises what it likes
        raise ArgumentError(
            f"{path}: can't be read ({error!r:.200}); delete {directory} to train it again"
        ) from None
    return weights


def save_weights(model: nn.Module, directory: Path) -> None:
    """Replaces a directory's weights at once or not at all."""
    replace_file(directory / WEIGHTS, lambda file: torch.save(model.state_dict(), file))
