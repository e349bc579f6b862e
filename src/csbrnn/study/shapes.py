"""`chosen_patterns`: for each matrix of a trial the blocks that suit it, by measured time."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path

from torch import nn

from csbrnn.bench.product_time import product_time
from csbrnn.files import load_json, write_json
from csbrnn.pruning import Recipe, choose_blocks

__all__ = ["chosen_patterns"]

_CHOICE = "blocks.json"
"""In a trial's directory: the pattern of each matrix, and what all candidates cost and keep."""


def chosen_patterns(
    model: nn.Module, recipe: Recipe, candidates: Sequence[str], directory: Path
) -> Recipe:
    """Returns the recipe with a pattern for each matrix, as `csbrnn.pruning.choose_blocks` says.

    The cost is the measured time of the int8 product on one thread. Times differ from one
    measurement to the next, so the choice is kept: a trial that was killed goes on with it.

    Args:
        model: The network, trained.
        recipe: Its own pattern is among the candidates, and says what they may cost together.
        candidates: Patterns in their text forms.
        directory: The trial's.
    """
    path = directory / _CHOICE
    if not path.exists():
        choice = choose_blocks(model, recipe, candidates, product_time("int8"))
        options = [
            dataclasses.asdict(option) | {"pattern": str(option.pattern)}
            for option in choice.options
        ]
        patterns = {name: str(pattern) for name, pattern in choice.patterns.items()}
        write_json(path, {"patterns": patterns, "options": options})
    kept = load_json(path)
    return Recipe.from_dict(recipe.to_dict() | {"patterns": kept["patterns"]})
