"""Which pattern each matrix gets: block shape and row group, weighed against what they cost."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Sequence
from typing import final

import torch
from torch import Tensor, nn

from csbrnn.errors import ArgumentError
from csbrnn.patterns import Pattern, parse_pattern
from csbrnn.pruning.projection import Projection
from csbrnn.pruning.recipe import Recipe
from csbrnn.pruning.targets import Target, find_targets, unwrap

__all__ = ["BlockChoice", "Option", "choose_blocks"]

Measure = Callable[[str, Pattern, Tensor], float]
"""Takes a weight's name, a pattern, and the weight projected onto it; returns a number."""


@final
@dataclasses.dataclass(frozen=True)
class Option:
    """One pattern for one matrix.

    Attributes:
        name: The matrix.
        pattern: The pattern.
        cost: What it costs: less is better.
        worth: What it is worth: more is better.
    """

    name: str
    pattern: Pattern
    cost: float
    worth: float


@final
@dataclasses.dataclass(frozen=True)
class BlockChoice:
    """What `choose_blocks` chose: ``dataclasses.replace(recipe, patterns=choice.patterns)``.

    Attributes:
        chosen: One option for each matrix.
        options: All that were compared.
    """

    chosen: tuple[Option, ...]
    options: tuple[Option, ...]

    @property
    def patterns(self) -> dict[str, Pattern]:
        """The pattern of each matrix, as `Recipe` takes them."""
        return {option.name: option.pattern for option in self.chosen}

    @property
    def cost(self) -> float:
        """What all matrices cost together."""
        return math.fsum(option.cost for option in self.chosen)

    @property
    def worth(self) -> float:
        """What all matrices are worth together."""
        return math.fsum(option.worth for option in self.chosen)


@torch.no_grad()
def choose_blocks(
    model: nn.Module,
    recipe: Recipe,
    candidates: Sequence[Pattern | str],
    cost: Measure,
    *,
    worth: Measure | None = None,
    max_cost: float | None = None,
) -> BlockChoice:
    """Chooses a pattern for each matrix: the most worth at no more than a cost in all.

    Small matrices may afford finer blocks than large ones; where all units read the same inputs,
    wide stripes lose nothing. Each candidate is tried on each matrix, at the recipe's density.

    A heuristic for a knapsack: from the cheapest option of each matrix, the move that gains most
    worth for its cost is made, one after the other, as long as it fits.

    Args:
        model: The network, trained.
        recipe: Which weights, at which density; its own pattern is among the candidates.
        candidates: Patterns, or their text forms, that go with the recipe's method.
        cost: What a projected weight costs: its measured time in a step, its bytes.
        worth: What it is worth; the energy it keeps (the sum of its squares) if left out. To weigh
            matrices by their effect on the loss, multiply that by a sensitivity.
        max_cost: Most that all matrices may cost together; what they cost in the recipe's own
            pattern if left out.

    Returns:
        The choice, and all options.

    Raises:
        ArgumentError: A candidate is no pattern, a number is not finite, or even the cheapest
            options cost more than ``max_cost``.
        RecipeError: The recipe, or a candidate, does not fit the model or the method.

    Reference:
        Ours.
    """
    known = dict.fromkeys([recipe.pattern, *map(_read, candidates)])
    # Refuses what would not work in the recipe.
    for pattern in known:
        dataclasses.replace(recipe, patterns={"*": pattern})
    targets = find_targets(unwrap(model), recipe)
    options = [
        [
            _option(dataclasses.replace(target, pattern=p), recipe.scope, cost, worth or _energy)
            for p in known
        ]
        for target in targets
    ]
    own = [next(o for o in few if o.pattern == recipe.pattern) for few in options]
    limit = math.fsum(o.cost for o in own) if max_cost is None else max_cost
    chosen = _spend(options, limit)
    if _fits(own, limit) and _worth(own) >= _worth(chosen):
        chosen = own
    return BlockChoice(tuple(chosen), tuple(option for few in options for option in few))


def _spend(options: Sequence[Sequence[Option]], limit: float) -> list[Option]:
    chosen = [min(few, key=lambda o: (o.cost, -o.worth)) for few in options]
    if not _fits(chosen, limit):
        least = math.fsum(option.cost for option in chosen)
        raise ArgumentError(
            f"max_cost must be at least {least:.6g}, what the cheapest candidates cost together,"
            f" not {limit:.6g}; allow more, or add cheaper candidates"
        )
    while True:
        left = limit - math.fsum(option.cost for option in chosen)
        moves = [
            ((option.worth - now.worth) / max(option.cost - now.cost, 1e-300), number, option)
            for number, (now, few) in enumerate(zip(chosen, options, strict=True))
            for option in few
            if option.worth > now.worth and option.cost - now.cost <= left
        ]
        if not moves:
            return chosen
        _, number, option = max(moves, key=lambda move: move[0])
        chosen[number] = option


def _option(target: Target, scope: str, cost: Measure, worth: Measure) -> Option:
    weight, pattern = target.parameter.detach().float(), target.pattern
    (projected,) = Projection([target], scope).project([weight], [target.density])
    numbers = [float(measure(target.name, pattern, projected)) for measure in (cost, worth)]
    if not all(math.isfinite(number) for number in numbers):
        raise ArgumentError(
            f"cost and worth must be finite, but for {target.name} as {pattern} they are"
            f" {numbers[0]} and {numbers[1]}"
        )
    return Option(target.name, pattern, *numbers)


def _energy(name: str, pattern: Pattern, projected: Tensor) -> float:
    return float(projected.double().square().sum())


def _fits(chosen: Sequence[Option], limit: float) -> bool:
    # The sums of one set of numbers must not differ by how they were rounded.
    return math.fsum(option.cost for option in chosen) <= limit * (1 + 1e-12)


def _worth(chosen: Sequence[Option]) -> float:
    return math.fsum(option.worth for option in chosen)


def _read(candidate: Pattern | str) -> Pattern:
    if isinstance(candidate, str):
        return parse_pattern(candidate)
    if not isinstance(candidate, Pattern):
        raise ArgumentError(f"a candidate must be a Pattern or its text form, not {candidate!r}")
    return candidate
