"""`Laboratory`: trains, packs and measures one configuration."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Final, final

from torch import nn

from csbrnn.errors import CsbrnnError, ScheduleWarning
from csbrnn.explore.cost import measure
from csbrnn.explore.outcome import Cost, Outcome
from csbrnn.explore.recipe import ExploreRecipe
from csbrnn.explore.space import DENSE, Configuration
from csbrnn.model import PackedModel, save
from csbrnn.pruning import Recipe, prune_
from csbrnn.runtime import compile as compile_model
from csbrnn.tasks.fine_tuning import pack_trained
from csbrnn.tasks.protocol import forget
from csbrnn.tasks.task import Network

__all__ = ["CHECKS", "PACKED", "Laboratory"]

CHECKS: Final = 4
"""Looks at the held-out metric while a pruned network is trained, evenly between the step at which
its support is final and the last: before, the metric is that of other weights than those that
stay, and right then it says how much was cut off, not how well it will heal."""

PACKED: Final = "packed"
"""Directory, within that of a trial, of the packed model."""

Check = Callable[[int, float], bool]


class _GivenUpError(Exception):
    """Training was ended early."""


@final
class Laboratory:
    """Where trials are done: a recipe, and a directory of this worker for what they leave.

    Args:
        recipe: The exploration.
        directory: For checkpoints, dense networks to start from, and packed models.
        progress: Called after each training step with what is trained and the share done.
    """

    def __init__(
        self,
        recipe: ExploreRecipe,
        directory: Path,
        progress: Callable[[str, float], object] = lambda what, share: None,
    ) -> None:
        self.recipe, self.directory, self.progress = recipe, directory, progress

    def place(self, configuration: Configuration) -> Path:
        """The directory of a trial."""
        return self.directory / "trials" / configuration.key

    def run(
        self, configuration: Configuration, check: Check | None = None, *, bounded: bool = True
    ) -> Outcome:
        """Trains a configuration, going on from what a kill has left, and measures it.

        Args:
            configuration: What to train.
            check: Told steps and held-out metric a few times; returns whether to give up. None
                to train to the end.
            bounded: Whether to refuse what an untrained network shows to be too costly, or to
                lack a cost that is an objective.
        """
        for other in self.directory.glob("trials/*"):
            if other != self.place(configuration):
                forget(other)
        try:
            if bounded and (refusal := self._refusal(self.untrained_cost(configuration))):
                return refusal
            return self._train(configuration, check)
        except CsbrnnError as error:
            return Outcome(math.nan, None, "refused", " ".join(str(error).split()))

    def _refusal(self, cost: Cost) -> Outcome | None:
        if any(getattr(cost, name) is None for name in self.recipe.costs):
            return Outcome(math.nan, cost, "refused", cost.note)
        reason = self.recipe.bounds.too_costly(cost)
        return Outcome(math.nan, cost, "cost", reason) if reason else None

    def untrained_cost(self, configuration: Configuration) -> Cost:
        """What a network costs that was pruned, but not trained: its size and speed are known.

        Which weights stay depends on their values, so a trained network's cost differs a little.
        """
        task = self.recipe.protocol.task
        model = task.build(self._network(configuration), seed=self.recipe.seed)
        recipe = self._pruning(configuration)
        if recipe is not None:
            pruner = prune_(model, _untaught(recipe))
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", ScheduleWarning)  # that is meant
                pruner.finalize()
        return measure(self._packed(model, configuration), self.recipe.arch)

    def _train(self, configuration: Configuration, check: Check | None) -> Outcome:
        recipe, protocol = self.recipe, self.recipe.protocol
        network, place = self._network(configuration), self.place(configuration)
        name = f"{configuration.network}-seed{recipe.seed}"
        start = protocol.pretrain(
            network,
            recipe.seed,
            self.directory / "starts" / name,
            lambda model, done, loss: self.progress(f"start {name}", done / protocol.start.steps),
        )
        pruning = self._pruning(configuration)
        looks = set() if check is None or pruning is None else self._looks(pruning)
        steps = protocol.finish.steps if pruning is None else protocol.pruned.steps

        def watch(model: nn.Module, done: int, loss: float) -> None:
            self.progress(str(configuration), done / steps)
            if check is not None and not math.isfinite(loss):
                raise _GivenUpError("training diverged")
            if done in looks and check is not None:
                metric = protocol.task.evaluate(model).value
                if check(done, metric):
                    raise _GivenUpError(f"{protocol.task.metric} {metric:.4g} after {done} steps")

        try:
            trained = protocol.fine_tune(network, recipe.seed, start, place, pruning, watch=watch)
        except _GivenUpError as reason:
            forget(place, unfinished=True)
            return Outcome(math.nan, None, "accuracy", str(reason))
        if trained.score is None:
            return Outcome(math.nan, None, "accuracy", "training diverged")
        packed = self._packed(trained.model.cpu(), configuration)
        save(packed, place / PACKED)
        cost = measure(packed, self.recipe.arch)
        if cost.step_us is None:  # the engine lacks the precision: weights as stored, then
            return Outcome(trained.metric, cost)
        return Outcome(protocol.task.evaluate_engine(compile_model(packed)).value, cost)

    def _looks(self, pruning: Recipe) -> set[int]:
        """Steps at which to look at the metric."""
        last = self.recipe.protocol.pruned.steps
        first = min(max(pruning.method.retraining_from, 1), last)
        return {first + k * (last - first) // (CHECKS + 1) for k in range(1, CHECKS + 1)} - {last}

    def _network(self, configuration: Configuration) -> Network:
        return Network(
            configuration.cell,
            configuration.hidden_size,
            configuration.num_layers,
            self.recipe.network.dropout,
        )

    def _pruning(self, configuration: Configuration) -> Recipe | None:
        if configuration.pattern == DENSE:
            return None
        return self.recipe.protocol.recipe_for(
            configuration.pattern,
            configuration.pruning_rate,
            precision=configuration.precision,
        )

    def _packed(self, model: nn.Module, configuration: Configuration) -> PackedModel:
        pruning = self._pruning(configuration)
        return pack_trained(self.recipe.protocol.task, model, pruning, configuration.precision)


def _untaught(recipe: Recipe) -> Recipe:
    """The recipe without a teacher, for a network that is not trained."""
    return Recipe.from_dict({k: v for k, v in recipe.to_dict().items() if k != "distill"})
