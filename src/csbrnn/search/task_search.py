"""`search_task`: a lossless search as a recipe file describes it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Final

from csbrnn.model import save
from csbrnn.pruning import prune_
from csbrnn.search.lossless import Run, search
from csbrnn.search.recipe import SearchRecipe
from csbrnn.search.result import SearchResult
from csbrnn.tasks.fine_tuning import pack_trained
from csbrnn.tasks.protocol import forget

__all__ = ["PACKED", "search_task"]

PACKED: Final = "packed"
"""Directory, within that of a pruned run, of the packed model."""


def search_task(
    recipe: SearchRecipe,
    directory: Path,
    *,
    report: Callable[[str], object] = lambda line: None,
    progress: Callable[[str, float], object] = lambda what, share: None,
) -> SearchResult:
    """Searches the highest rate at no loss of a pattern on a task; see `search`.

    The packed model of each pruned network is left in its run's directory.

    Args:
        recipe: What to search.
        directory: For the log, checkpoints and networks.
        report: Told in a line what has been found, as it is found.
        progress: Called after each training step with what is trained and the share done.
    """
    protocol, network = recipe.protocol, recipe.network

    def train_and_evaluate(run: Run) -> float:
        for other in run.directory.parent.iterdir():  # whose results are in the log
            if other != run.directory:
                forget(other)

        def watch(steps: int, what: str) -> Callable[[object, int, float], object]:
            return lambda model, done, loss: progress(what, done / steps)

        start = protocol.pretrain(
            network,
            run.seed,
            directory / "runs" / f"start-seed{run.seed}",
            watch(protocol.start.steps, f"start, seed {run.seed}"),
        )
        if run.pruning_rate is None:
            return protocol.fine_tune(
                network,
                run.seed,
                start,
                run.directory,
                watch=watch(protocol.finish.steps, str(run)),
            ).metric
        finished = run.directory.parent / f"dense-seed{run.seed}"
        pruning = protocol.recipe_for(recipe.pattern, run.pruning_rate)
        trained = protocol.fine_tune(
            network,
            run.seed,
            run.start or start,
            run.directory,
            pruning,
            finished if protocol.teacher == "finished" else None,
            watch(protocol.pruned.steps, str(run)),
        )
        if trained.score is not None:
            save(pack_trained(protocol.task, trained.model, pruning), run.directory / PACKED)
        return trained.metric

    # Better now than after the dense networks: a rate that can't be had, before any can.
    first = protocol.recipe_for(recipe.pattern, recipe.ladder.first)
    prune_(protocol.task.build(network), first).detach()
    result = search(
        train_and_evaluate,
        directory,
        ladder=recipe.ladder,
        criterion=recipe.criterion,
        seeds=recipe.seeds,
        budget=recipe.budget,
        warm_start=recipe.warm_start,
        metric=protocol.task.metric,
        settings=recipe.settings(),
        report=report,
    )
    for run_directory in (directory / "runs").glob("*"):  # their results are in the log
        forget(run_directory)
    return result
