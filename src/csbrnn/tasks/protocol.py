"""`TrainingProtocol`: how one network is trained: dense first, then fine-tuned, dense or pruned."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final, final

from torch import nn

from csbrnn.errors import ArgumentError
from csbrnn.files import make_directory
from csbrnn.lock import locked
from csbrnn.pruning import Pruner, Recipe, prune_
from csbrnn.tasks.fine_tuning import (
    CHECKPOINT,
    TEACHERS,
    WEIGHTS,
    check_permute,
    check_schedule,
    check_teacher,
    fine_tuning_of,
    load_weights,
    read_pruned_training,
    read_training,
    save_weights,
)
from csbrnn.tasks.task import Network, Score, Task
from csbrnn.tasks.training import Training
from csbrnn.units import permute_

__all__ = ["METHOD_KEYS", "Trained", "TrainingProtocol", "forget"]

METHOD_KEYS: Final = ("training", "dropout", "teacher", "permute")
"""Keys of a [method] table that are no fields of a `csbrnn.pruning.Recipe`."""

Watch = Callable[[nn.Module, int, float], object]


@final
@dataclass(frozen=True)
class Trained:
    """A network that has been trained to the end.

    Attributes:
        model: In evaluation mode; pruned to exact zeros where a recipe says so.
        score: On held-out data; None if training diverged.
    """

    model: nn.Module
    score: Score | None

    @property
    def metric(self) -> float:
        """The score's value; NaN if training diverged."""
        return math.nan if self.score is None else self.score.value


@final
@dataclass(frozen=True)
class TrainingProtocol:
    """How networks of a task are trained, so that they compare.

    A dense network is trained by ``start``. From its weights the dense reference is fine-tuned by
    ``finish``, pruned ones by ``pruned``, for as many steps on the same batches.

    Attributes:
        task: What is learned.
        start: Training of the dense network that all begin with.
        finish: Training of the dense reference after that.
        pruned: Training of pruned networks after that.
        recipe: Fields of a `csbrnn.pruning.Recipe` but for pattern and rate.
        dropout: Of networks while they are pruned; None for the same as before.
        teacher: One of `TEACHERS`.
        permute: Whether hidden units are put in a better order before they are pruned
            (`csbrnn.units.permute_`).
        device: What to train on, as torch names it.
    """

    task: Task
    start: Training
    finish: Training
    pruned: Training
    recipe: Mapping[str, Any]
    dropout: float | None = None
    teacher: str = TEACHERS[0]
    permute: bool = False
    device: str = "cpu"

    @classmethod
    def read(
        cls, task: Task, tables: Mapping[str, Any], teacher: str = TEACHERS[0]
    ) -> TrainingProtocol:
        """Reads the tables [start], [finish] and [method] of a recipe file.

        Args:
            task: The task, whose own training is what tables change.
            tables: The file's contents.
            teacher: Where the [method] table doesn't say.

        Raises:
            ArgumentError: A setting is unknown or out of range.
        """
        start = read_training("start", task.training, tables.get("start", {}))
        finish = read_training("finish", task.training, tables.get("finish", {}))
        method = tables.get("method")
        if not isinstance(method, Mapping):
            raise ArgumentError("[method] must say how to prune, such as method = {name = ...}")
        dropout = method.get("dropout")
        if dropout is not None:
            replace(task.network, dropout=dropout)  # refuses what is out of range
        teacher = method.get("teacher", teacher)
        check_teacher(teacher)
        permute = method.get("permute", False)
        check_permute(permute)
        return cls(
            task,
            start,
            finish,
            read_pruned_training("method.training", finish, method.get("training", {})),
            {key: value for key, value in method.items() if key not in METHOD_KEYS},
            dropout,
            teacher,
            permute,
        )

    def recipe_for(self, pattern: str, pruning_rate: float, **fields: Any) -> Recipe:
        """Returns the recipe of a pruned network.

        Raises:
            CsbrnnError: It can't work, or takes more steps than there are.
        """
        given = {**self.recipe, **fields}
        if fixed := [key for key in ("pattern", "density", "pruning_rate") if key in self.recipe]:
            raise ArgumentError(f"[method] must leave out {', '.join(fixed)}: it is varied")
        recipe = Recipe.from_dict(given | {"pattern": pattern, "pruning_rate": pruning_rate})
        check_schedule(recipe, self.pruned)
        return recipe

    def to_dict(self) -> dict[str, Any]:
        """All that results depend on, JSON-able; places of data and devices left out."""
        task = {k: v for k, v in dataclasses.asdict(self.task).items() if k != "data"}  # type: ignore[call-overload]
        return {
            "task": {"name": self.task.name, **task, "fingerprint": self.task.fingerprint()},
            "start": dataclasses.asdict(self.start),
            "finish": dataclasses.asdict(self.finish),
            "pruned": dataclasses.asdict(self.pruned),
            "recipe": dict(self.recipe),
            "dropout": self.dropout,
            "teacher": self.teacher,
            # A setting that came later must not make older logs another search's.
            **({"permute": True} if self.permute else {}),
        }

    def pretrain(
        self, network: Network, seed: int, directory: Path, watch: Watch | None = None
    ) -> Path:
        """Trains the dense network that all begin with, unless that is done.

        Processes on one machine that need the same one wait for each other.

        Returns:
            ``directory``, which now holds its weights.
        """
        make_directory(directory)
        with locked(directory / "lock"):
            if not (directory / WEIGHTS).exists():
                model = self.task.build(network, seed=seed).to(self.device)
                self._train(model, replace(self.start, seed=seed), directory, None, watch)
                save_weights(model, directory)
                forget(directory)
        return directory

    def fine_tune(
        self,
        network: Network,
        seed: int,
        start: Path,
        directory: Path,
        recipe: Recipe | None = None,
        teacher: Path | None = None,
        watch: Watch | None = None,
    ) -> Trained:
        """Fine-tunes a network, dense or pruned, resuming from its checkpoint.

        Args:
            network: Its sizes.
            seed: Of the dense network and of the batches.
            start: Directory of the network to start from.
            directory: For checkpoint and weights.
            recipe: How to prune it; None for the dense reference.
            teacher: Directory of the network to distill from; None for a copy of the start.
            watch: Called after each step with the network, the steps done and the batch's loss.
        """
        make_directory(directory)
        if recipe is not None and self.dropout is not None:
            network = replace(network, dropout=self.dropout)
        model = self.task.build(network, seed=seed)
        model.load_state_dict(load_weights(start))
        model.to(self.device)
        pruner = None
        training = fine_tuning_of(self.finish if recipe is None else self.pruned, seed)
        if recipe is not None:
            if self.permute:
                permute_(model, recipe)
            pruner = self._prune(model, network, seed, recipe, teacher)
        try:
            self._train(model, training, directory, pruner, watch)
            if pruner is not None and _finite(model):
                pruner.finalize()
        except BaseException as error:
            if pruner is not None:  # it will not be finished; whoever goes on makes one anew
                pruner.detach()
            # Projections refuse weights that diverged. Here that is a result, by the score.
            if not isinstance(error, ArgumentError) or _finite(model):
                raise
        model.eval()
        if not _finite(model):
            return Trained(model, None)
        save_weights(model, directory)
        score = self.task.evaluate(model)
        return Trained(model, score if math.isfinite(score.value) else None)

    def _prune(
        self, model: nn.Module, network: Network, seed: int, recipe: Recipe, teacher: Path | None
    ) -> Pruner:
        if recipe.distill is None or teacher is None:
            return prune_(model, recipe)
        learned = self.task.build(network, seed=seed)
        learned.load_state_dict(load_weights(teacher))
        return prune_(model, recipe, teacher=learned)

    def _train(
        self,
        model: nn.Module,
        training: Training,
        directory: Path,
        pruner: Pruner | None,
        watch: Watch | None,
    ) -> None:
        def progress(done: int, loss: float) -> None:
            if watch is not None:
                watch(model, done, loss)

        self.task.train(
            model, training, checkpoint=directory / CHECKPOINT, pruner=pruner, progress=progress
        )


def forget(directory: Path, *, unfinished: bool = False) -> None:
    """Drops the checkpoint in a directory, several times as large as the weights beside it.

    Until whoever asked for the network has noted its score, the checkpoint must stay: it is what
    a run goes on from after a kill.

    Args:
        directory: Of a run.
        unfinished: Whether to drop it even if training has not ended.
    """
    if unfinished or (directory / WEIGHTS).exists():
        (directory / CHECKPOINT).unlink(missing_ok=True)


def _finite(model: nn.Module) -> bool:
    return all(bool(value.isfinite().all()) for value in model.parameters())
