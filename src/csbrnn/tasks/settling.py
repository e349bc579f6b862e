"""`settle`: steps without structure first, which show what units have in common.

In a dense network hardly any two units read the same: `permute_` finds little. Some hundred steps
of ADMM towards the unstructured pattern, at the same rate, gather the energy in few weights, and
then an order of the units keeps far more of it (*measured* on connected digits at 32x, stripes of
16 rows: 0.35 for 0.25 of the energy, and 4.2% of digits wrong for 6.1%).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import torch
from torch import nn

from csbrnn.checks import is_integer
from csbrnn.errors import ArgumentError
from csbrnn.files import replace_file
from csbrnn.patterns import Unstructured
from csbrnn.pruning import ADMM, Recipe
from csbrnn.tasks.training import Training
from csbrnn.units import permute_

__all__ = ["SETTLED", "SETTLING", "check_permute", "parts_of", "settle"]

SETTLING: Final = "settling.pt"
"""In a training's directory: the checkpoint of the steps without structure."""

SETTLED: Final = "settled.pt"
"""In a training's directory: the network with its units in their new order."""

Stage = tuple[Recipe, Training]


def check_permute(permute: Any, recipe: Recipe, training: Training) -> None:
    """Refuses a value of the key ``permute`` of a method's table.

    Args:
        permute: True: units are put in order before pruning; a number: after so many steps.
        recipe: Of the whole.
        training: Of the whole.

    Raises:
        ArgumentError: It is something else, or the method can't be cut there.
    """
    if isinstance(permute, bool):
        return
    if not is_integer(permute, 1):
        raise ArgumentError(
            f"permute must be true, false or a number of steps, at least 1, not {permute!r}"
        )
    parts_of(recipe, training, permute)


def parts_of(recipe: Recipe, training: Training, steps: int) -> tuple[Stage, Stage]:
    """Cuts a training in two: towards the unstructured pattern, and towards the recipe's.

    Together they are as long as before, and draw the same batches.

    Args:
        recipe: Of the whole.
        training: Of the whole.
        steps: Of the first part.

    Raises:
        ArgumentError: The method is none that can be cut there.
    """
    method = recipe.method
    if not isinstance(method, ADMM) or method.begin or method.ramp_steps:
        raise ArgumentError(
            "permute after some steps cuts ADMM in two, so the method must be admm, with neither"
            " begin nor ramp_steps"
        )
    if not method.interval <= steps <= method.admm_steps - method.interval:
        raise ArgumentError(
            f"permute must leave both parts of ADMM an update: it must lie in {method.interval}"
            f"..{method.admm_steps - method.interval}, not be {steps}"
        )
    left = training.steps - steps
    # One step more than is done: the support stays free.
    free = replace(method, admm_steps=steps + 1, retrain_steps=0)
    decays = max(0.0, (training.decay_from * training.steps - steps) / left)
    return (
        (
            replace(recipe, pattern=Unstructured(), patterns={}, method=free),
            replace(training, steps=steps, decay_from=1.0),
        ),
        (
            replace(recipe, method=replace(method, admm_steps=method.admm_steps - steps)),
            replace(training, steps=left, decay_from=decays, skip=training.skip + steps),
        ),
    )


def settle(
    model: nn.Module,
    whole: Stage,
    steps: int,
    directory: Path,
    train: Callable[[Recipe, Training], None],
) -> Stage:
    """Does the first part and puts the units in order, unless that was done before.

    Args:
        model: The network to start from; holds the outcome afterwards.
        whole: Recipe and training of both parts together.
        steps: Of the first part.
        directory: Keeps the outcome, for a run that goes on after a kill.
        train: Trains the model, going on from its checkpoint; does not end the pruning.

    Returns:
        What is left to be done.
    """
    first, rest = parts_of(*whole, steps)
    settled = directory / SETTLED
    if settled.exists():
        model.load_state_dict(torch.load(settled, map_location="cpu", weights_only=True))
    else:
        train(*first)
        permute_(model, whole[0])
        replace_file(settled, lambda file: torch.save(model.state_dict(), file))
    return rest
