"""Study recipes: a TOML file that says which networks to train and how, refused whole if wrong."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar, final

from csbrnn.checks import is_file_name, is_integer, is_number, unknown_keys
from csbrnn.errors import ArgumentError, CsbrnnError
from csbrnn.patterns import parse_pattern
from csbrnn.pruning import Recipe
from csbrnn.tasks.fine_tuning import (
    TEACHERS,
    check_permute,
    check_schedule,
    check_teacher,
    read_pruned_training,
    read_training,
)
from csbrnn.tasks.registry import task_from_dict
from csbrnn.tasks.settings import read_tables, refusal, replaced
from csbrnn.tasks.task import Network, Task
from csbrnn.tasks.training import Training

__all__ = ["StudyRecipe", "Trial", "read_recipe"]

T = TypeVar("T")

_KEYS = (
    *("name", "seeds", "reference_rate"),
    *("task", "network", "start", "finish", "patterns", "methods", "trials"),
)

#: Keys of a method's table that are no fields of a `csbrnn.pruning.Recipe`.
_OWN = ("training", "dropout", "teacher", "permute", "choose")
_FIXED = ("pattern", "density", "pruning_rate")


@final
@dataclass(frozen=True)
class Trial:
    """One cell of the grid.

    Attributes:
        label: How tables and plots name the pattern.
        method: How they name the method.
        recipe: What to prune, to what, and how.
        written: The same as the file has it, defaults left out.
        training: How, equally long as the dense reference.
        dropout: Of the network while it is pruned.
        teacher: One of `TEACHERS`.
        permute: Whether hidden units are put in a better order first; see `csbrnn.units.permute_`.
        choose: Patterns among which each matrix gets its own, besides the recipe's, in text form;
            see `csbrnn.study.shapes.chosen_patterns`.
        seed: Of the dense network and of the batches.
    """

    label: str
    method: str
    recipe: Recipe
    written: Mapping[str, Any]
    training: Training
    dropout: float
    teacher: str
    permute: bool
    choose: tuple[str, ...]
    seed: int


@final
@dataclass(frozen=True)
class StudyRecipe:
    """A study: a task, dense networks to start from, and trials in the order to run them.

    Attributes:
        name: Of the study.
        task: What is learned.
        network: Sizes.
        start: How the dense networks that all trials begin with are trained.
        finish: How they go on, unpruned: the reference, trained as long as every trial.
        trials: What to prune, the most telling first.
        source: The file as read.
    """

    name: str
    task: Task
    network: Network
    start: Training
    finish: Training
    trials: tuple[Trial, ...]
    source: Mapping[str, Any]

    @property
    def seeds(self) -> tuple[int, ...]:
        """All seeds, in the order in which trials need them."""
        return tuple(dict.fromkeys(trial.seed for trial in self.trials))


def read_recipe(source: Path | Mapping[str, Any], data: str | None = None) -> StudyRecipe:
    """Reads a study recipe; see docs/studies.md for its keys.

    Args:
        source: A TOML file, or its contents.
        data: Where the task's data lies, in place of what the recipe says.

    Raises:
        ArgumentError: The file can't be read, or the study can't work; the message lists all
            reasons found.
    """
    needed = ("name", "task", "finish", "methods", "trials")
    where, tables, reasons = read_tables(source, "study", known=_KEYS, needed=needed)
    reasons += _form_reasons(tables)
    if reasons:
        raise refusal(where, reasons)

    task = _try("task", lambda: task_from_dict(tables["task"], data), reasons)
    if task is None:
        raise refusal(where, reasons)
    network = _build(replaced, "network", task.network, tables.get("network", {}), reasons)
    start = _build(read_training, "start", task.training, tables.get("start", {}), reasons)
    finish = _build(read_training, "finish", task.training, tables["finish"], reasons)
    if reasons:
        raise refusal(where, reasons)
    trials: dict[str, Trial] = {}
    for number, group in enumerate(tables["trials"], 1):
        for trial in _expand(f"trials {number}", group, tables, network, finish, reasons):
            trials.setdefault(repr(trial), trial)
    if not trials and not reasons:
        reasons.append("there are no trials")
    if reasons:
        raise refusal(where, list(dict.fromkeys(reasons)))
    return StudyRecipe(
        str(tables["name"]), task, network, start, finish, tuple(trials.values()), tables
    )


def _form_reasons(tables: Mapping[str, Any]) -> list[str]:
    """What is no table, list or name and should be one."""
    name = tables.get("name", "x")
    reasons = []
    if not is_file_name(name):
        reasons.append(f"name must be made of letters, digits, '_', '-' and '.', not {name!r}")
    rate = tables.get("reference_rate", 1)
    if not is_number(rate) or not rate >= 1:
        reasons.append(f"reference_rate must be a number, at least 1, not {rate!r}")
    reasons += [
        f"{key} must be a table, not {tables[key]!r}"
        for key in ("task", "network", "start", "finish", "patterns", "methods")
        if not isinstance(tables.get(key, {}), Mapping)
    ]
    methods = tables.get("methods")
    if isinstance(methods, Mapping):
        reasons += [
            f"methods.{key} must be a table, not {value!r}"
            for key, value in methods.items()
            if not isinstance(value, Mapping)
        ]
    groups = tables.get("trials", [])
    if not isinstance(groups, list | tuple) or not all(isinstance(g, Mapping) for g in groups):
        reasons.append(f"trials must be tables, each begun by [[trials]], not {groups!r}")
    return reasons


def _expand(
    where: str,
    group: Mapping[str, Any],
    tables: Mapping[str, Any],
    network: Network,
    finish: Training,
    reasons: list[str],
) -> list[Trial]:
    """The trials of one group: seeds, then rates, then methods, then patterns, the last fastest."""
    known = ("patterns", "methods", "pruning_rates", "seeds")
    reasons += unknown_keys(where, group, known)
    methods = tables["methods"]
    patterns = _listed(where, group, "patterns", reasons)
    rates = _listed(where, group, "pruning_rates", reasons)
    names = _listed(where, group, "methods", reasons, default=list(methods)[:1])
    seeds = _listed(where, group, "seeds", reasons, default=tables.get("seeds", [0]))
    reasons += [
        f"{where}: method {name!r} is not described; there are {', '.join(methods)}"
        for name in names
        if name not in list(methods)
    ]
    reasons += [
        f"{where}: seeds must be whole numbers, at least 0, not {seed!r}"
        for seed in seeds
        if not is_integer(seed, 0)
    ]
    trials = []
    for rate in rates:
        for name in filter(list(methods).__contains__, names):
            for text in patterns:
                label = str(text)
                pattern = tables.get("patterns", {}).get(label, text)
                place = f"methods.{name} with {label} at {rate}x"
                made = _try(
                    place,
                    lambda n=name, p=pattern, r=rate: _trial(methods[n], p, r, network, finish),
                    reasons,
                )
                if made is not None:
                    trials.append(replace(made, label=label, method=name))
    return [replace(trial, seed=seed) for seed in seeds for trial in trials]


def _trial(
    method: Mapping[str, Any], pattern: Any, rate: Any, network: Network, finish: Training
) -> Trial:
    fields = {key: value for key, value in method.items() if key not in _OWN}
    if fixed := [key for key in _FIXED if key in fields]:
        raise ArgumentError(f"{', '.join(fixed)} are for [[trials]] to say; leave them out")
    written = fields | {"pattern": pattern, "pruning_rate": rate}
    recipe = Recipe.from_dict(written)
    training = read_pruned_training("training", finish, method.get("training", {}))
    check_schedule(recipe, training)
    dropout = method.get("dropout", network.dropout)
    replace(network, dropout=dropout)  # refuses what is out of range
    teacher = method.get("teacher", TEACHERS[0])
    check_teacher(teacher)
    permute = method.get("permute", False)
    check_permute(permute)
    choose = _candidates(method.get("choose", []), recipe)
    return Trial("", "", recipe, written, training, dropout, teacher, permute, choose, 0)


def _candidates(texts: Any, recipe: Recipe) -> tuple[str, ...]:
    if not isinstance(texts, list | tuple) or not all(isinstance(text, str) for text in texts):
        raise ArgumentError(f"choose must be a list of patterns in text form, not {texts!r}")
    for text in texts:
        replace(recipe, patterns={"*": parse_pattern(text)})  # refuses what the method can't do
    return tuple(texts)


def _listed(
    where: str,
    group: Mapping[str, Any],
    key: str,
    reasons: list[str],
    default: Sequence[Any] | None = None,
) -> list[Any]:
    value = group.get(key, default)
    if not isinstance(value, list | tuple) or not value:
        reasons.append(f"{where}: {key} must be a list of one or more, not {value!r}")
        return []
    return list(value)


def _build(
    read: Callable[[str, T, Any], T], where: str, default: T, changes: Any, reasons: list[str]
) -> T:
    try:
        return read(where, default, changes)
    except CsbrnnError as error:
        reasons.append(str(error))
        return default


def _try(where: str, make: Any, reasons: list[str]) -> Any:
    try:
        return make()
    except CsbrnnError as error:
        reasons.append(f"{where}: {error}")
        return None
