"""`ExploreRecipe`: a TOML file that says where to look and what to keep to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Final, final

from csbrnn.accelerator import load_arch
from csbrnn.checks import is_integer, unknown_keys
from csbrnn.errors import ArgumentError, CsbrnnError
from csbrnn.explore.outcome import COSTS, Bounds
from csbrnn.explore.space import DENSE, Configuration, Space
from csbrnn.search.lossless import Budget
from csbrnn.tasks.protocol import TrainingProtocol
from csbrnn.tasks.registry import task_from_dict
from csbrnn.tasks.settings import read_tables, refusal, replaced
from csbrnn.tasks.task import Network

__all__ = ["ExploreRecipe", "read_recipe"]

_TABLES: Final = (
    "name",
    "task",
    "network",
    "start",
    "finish",
    "method",
    "space",
    "bound",
    "explore",
)
_EXPLORE: Final = ("objectives", "arch", "seed", "trials", "hours", "prune_early", "stages")


@final
@dataclass(frozen=True)
class ExploreRecipe:
    """An exploration of a space on a task.

    Attributes:
        name: In its storage.
        protocol: How networks are trained.
        network: Sizes of the dense reference, and the dropout of all.
        space: Where to look.
        bounds: What networks must keep to.
        costs: Which costs are objectives, besides the metric.
        arch: The accelerator whose cycles count: a preset or a file; None for none.
        seed: Of training and sampling.
        budget: When to stop.
        prune_early: Whether trials that fall behind are given up.
        stages: Whether blocks, cells and sizes are bounded first; else a sampler chooses from the
            whole space at once.
    """

    name: str
    protocol: TrainingProtocol
    network: Network
    space: Space
    bounds: Bounds
    costs: tuple[str, ...]
    arch: str | None
    seed: int
    budget: Budget
    prune_early: bool
    stages: bool

    @property
    def reference(self) -> Configuration | None:
        """The dense network that the bound relates to; None if it relates to none."""
        if self.bounds.loss is None:
            return None
        network = self.network
        return Configuration(
            network.cell, network.hidden_size, network.num_layers, DENSE, 1.0, "fp32"
        )

    def settings(self) -> dict[str, Any]:
        """What outcomes depend on, JSON-able; bounds and budgets may change."""
        return {
            **self.protocol.to_dict(),
            "dropout of the dense": self.network.dropout,
            "seed": self.seed,
            "objectives": ["metric", *self.costs],
            "arch": None if self.arch is None else asdict(load_arch(self.arch)),
            "space": self.choices(),
        }

    def choices(self) -> dict[str, list[Any]]:
        """The values that each field of a configuration may have."""
        configurations = [*self.space.configurations]
        if self.reference is not None:
            configurations.append(self.reference)
        return {
            key: list(dict.fromkeys(getattr(c, key) for c in configurations))
            for key in configurations[0].to_dict()
        }


def read_recipe(
    source: Path | Mapping[str, Any], data: str | None = None, device: str = "cpu"
) -> ExploreRecipe:
    """Reads an exploration's recipe; see docs/search.md for its keys.

    Args:
        source: A TOML file, or its contents.
        data: Where the task's data lies, in place of what the recipe says.
        device: What to train on, as torch names it.

    Raises:
        ArgumentError: The file can't be read, or the exploration can't work; the message lists
            all reasons found.
    """
    needed = ("name", "task", "method", "space", "bound")
    where, tables, reasons = read_tables(source, "exploration", known=_TABLES, needed=needed)
    for table, known in (("explore", _EXPLORE), ("bound", ("loss", "metric", *COSTS))):
        if not isinstance(tables.get(table, {}), Mapping):
            reasons.append(f"[{table}] must be a table")
            continue
        reasons += unknown_keys(f"[{table}]", tables.get(table, {}), known)
    try:
        if not reasons:
            return _build(tables, data, device)
    except CsbrnnError as error:
        reasons = str(error).splitlines()
    raise refusal(where, reasons)


def _build(tables: Mapping[str, Any], data: str | None, device: str) -> ExploreRecipe:
    task = task_from_dict(tables["task"], data)
    protocol = replace(TrainingProtocol.read(task, tables, teacher="start"), device=device)
    if protocol.teacher != "start":
        raise ArgumentError(
            "method.teacher must be 'start': a finished dense network for each size would have to"
            " be trained as well"
        )
    network = replaced("network", task.network, tables.get("network", {}))
    defaults = {
        "cell": [network.cell],
        "hidden_size": [network.hidden_size],
        "num_layers": [network.num_layers],
        "pattern": [DENSE],
        "pruning_rate": [1],
        "precision": ["fp32"],
    }

    def check(configuration: Configuration) -> None:
        if configuration.pattern != DENSE:
            protocol.recipe_for(
                configuration.pattern,
                configuration.pruning_rate,
                precision=configuration.precision,
            )

    explore, bound = tables.get("explore", {}), tables["bound"]
    costs = explore.get("objectives", ("metric", "step_us", "nbytes"))
    if not isinstance(costs, list | tuple) or not all(isinstance(name, str) for name in costs):
        raise ArgumentError(f"explore.objectives must be a list of names, not {costs!r}")
    costs = tuple(costs)
    unknown = [name for name in costs if name not in ("metric", *COSTS)]
    if unknown or "metric" not in costs or len(set(costs)) != len(costs) or len(costs) < 2:
        raise ArgumentError(
            f"explore.objectives must be 'metric' and some of {', '.join(COSTS)}, not {list(costs)}"
        )
    arch = explore.get("arch")
    if arch is not None:
        load_arch(arch)  # refuses what is none
    elif "cycles" in (*costs, *bound):
        raise ArgumentError("cycles are those of an accelerator: name one by explore.arch")
    for key in ("prune_early", "stages"):
        if not isinstance(explore.get(key, True), bool):
            raise ArgumentError(f"explore.{key} must be true or false, not {explore[key]!r}")
    seed = explore.get("seed", 0)
    if not is_integer(seed, 0):
        raise ArgumentError(f"explore.seed must be a whole number, at least 0, not {seed!r}")
    return ExploreRecipe(
        name=str(tables["name"]),
        protocol=protocol,
        network=network,
        space=Space.read(tables["space"], defaults, check),
        bounds=Bounds(
            task.lower_is_better,
            bound.get("loss"),
            bound.get("metric"),
            {name: bound[name] for name in COSTS if name in bound},
        ),
        costs=tuple(name for name in costs if name != "metric"),
        arch=arch,
        seed=seed,
        budget=Budget(explore.get("trials"), explore.get("hours")),
        prune_early=explore.get("prune_early", True),
        stages=explore.get("stages", True),
    )
