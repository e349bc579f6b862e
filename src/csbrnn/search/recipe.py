"""`SearchRecipe`: a TOML file that says what to search, refused whole if it can't work."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Final, final

from csbrnn.checks import is_integer, unknown_keys
from csbrnn.errors import ArgumentError, CsbrnnError
from csbrnn.search.criterion import Criterion
from csbrnn.search.lossless import Budget
from csbrnn.search.rates import Ladder
from csbrnn.tasks.protocol import TrainingProtocol
from csbrnn.tasks.registry import task_from_dict
from csbrnn.tasks.settings import read_tables, refusal, replaced
from csbrnn.tasks.task import Network

__all__ = ["SearchRecipe", "read_recipe"]

_TABLES: Final = ("pattern", "task", "network", "start", "finish", "method", "search")
_SEARCH: Final = (
    "first_rate",
    "step",
    "max_rate",
    "tolerance",
    "seeds",
    "warm_start",
    "trials",
    "hours",
)


@final
@dataclass(frozen=True)
class SearchRecipe:
    """A lossless search of one pattern and method on one task.

    Attributes:
        protocol: How networks are trained.
        network: Their sizes.
        pattern: Which weights may survive, as text.
        ladder: Rates to try.
        criterion: What counts as lossless.
        seeds: Each rate is trained once with each.
        warm_start: Whether each rate starts from the last one that held.
        budget: When to stop.
    """

    protocol: TrainingProtocol
    network: Network
    pattern: str
    ladder: Ladder
    criterion: Criterion
    seeds: tuple[int, ...]
    warm_start: bool
    budget: Budget

    def settings(self) -> dict[str, Any]:
        """What results depend on and `search` does not know, JSON-able."""
        return {
            "pattern": self.pattern,
            "network": asdict(self.network),
            **self.protocol.to_dict(),
        }


def read_recipe(
    source: Path | Mapping[str, Any], data: str | None = None, device: str = "cpu"
) -> SearchRecipe:
    """Reads a search recipe; see docs/search.md for its keys.

    Args:
        source: A TOML file, or its contents.
        data: Where the task's data lies, in place of what the recipe says.
        device: What to train on, as torch names it.

    Raises:
        ArgumentError: The file can't be read, or the search can't work; the message lists all
            reasons found.
    """
    needed = ("pattern", "task", "method")
    where, tables, reasons = read_tables(source, "search", known=_TABLES, needed=needed)
    search = tables.get("search", {})
    if not isinstance(search, Mapping):
        search = {}
        reasons.append("[search] must be a table")
    reasons += unknown_keys("[search]", search, _SEARCH)
    if reasons:
        raise refusal(where, reasons)
    try:
        return _build(tables, search, data, device)
    except CsbrnnError as error:
        raise refusal(where, [str(error)]) from None


def _build(
    tables: Mapping[str, Any], search: Mapping[str, Any], data: str | None, device: str
) -> SearchRecipe:
    task = task_from_dict(tables["task"], data)
    ladder = Ladder(
        **{
            field: search[key]
            for field, key in (("first", "first_rate"), ("step", "step"), ("max_rate", "max_rate"))
            if key in search
        }
    )
    seeds = search.get("seeds", [0, 1, 2])
    if not isinstance(seeds, list | tuple) or not all(is_integer(seed, 0) for seed in seeds):
        raise ArgumentError(
            f"search.seeds must be a list of whole numbers, at least 0, not {seeds!r}"
        )
    warm_start = search.get("warm_start", False)
    if not isinstance(warm_start, bool):
        raise ArgumentError(f"search.warm_start must be true or false, not {warm_start!r}")
    criterion = Criterion(task.lower_is_better, search.get("tolerance"))
    if criterion.tolerance is None and len(seeds) < 2:
        criterion.limit([0.0], 1)
    recipe = SearchRecipe(
        protocol=replace(TrainingProtocol.read(task, tables), device=device),
        network=replaced("network", task.network, tables.get("network", {})),
        pattern=str(tables["pattern"]),
        ladder=ladder,
        criterion=criterion,
        seeds=tuple(seeds),
        warm_start=warm_start,
        budget=Budget(search.get("trials"), search.get("hours")),
    )
    recipe.protocol.recipe_for(recipe.pattern, ladder.first)  # refuses what can't work
    return recipe
