"""`run_job`: trains one network of a study, prunes it if asked, measures it, packs it."""

from __future__ import annotations

import json
import math
import statistics
import time
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Any

from torch import nn

from csbrnn.bench import describe_environment
from csbrnn.errors import ArgumentError, CsbrnnError
from csbrnn.files import load_json, make_directory, write_json
from csbrnn.model import PackedModel, save
from csbrnn.nn import Recurrent
from csbrnn.pruning import Pruner, Recipe, prune_
from csbrnn.runtime import compile as compile_model
from csbrnn.study.job import REPORT, Job
from csbrnn.study.shapes import chosen_patterns
from csbrnn.study.teacher import Remembering, answers_of
from csbrnn.tasks.fine_tuning import CHECKPOINT, load_weights, pack_trained, save_weights
from csbrnn.tasks.registry import task_from_dict
from csbrnn.tasks.task import Network, Score, Task
from csbrnn.tasks.training import Training
from csbrnn.units import permute_

__all__ = ["PACKED", "read_report", "run_job"]

PACKED = "int8"
"""Directory, within a job's own, of the packed model."""


def run_job(
    job: Job,
    root: Path,
    *,
    device: str = "cpu",
    progress: Callable[[int, float], None] | None = None,
) -> None:
    """Runs a job to its end, going on from its checkpoint if it was begun before.

    Args:
        job: What to run; what it needs is done.
        root: The study's directory.
        device: What to train on, as torch names it.
        progress: Called after each step with the steps done and the batch's loss.

    Raises:
        CsbrnnError: Training diverged, or the recipe does not fit the network.
    """
    directory = job.directory(root)
    make_directory(directory)
    task = _task(json.dumps(job.settings["task"]), job.data)
    network = Network(**job.settings["network"])
    model = task.build(network, seed=job.seed)
    if "start" in job.needs:
        model.load_state_dict(load_weights(root / job.needs["start"]))
    model.to(device)
    pruner = _pruner(job, root, task, network, model) if job.kind == "trial" else None
    clock = _StepClock(progress)
    try:
        task.train(
            model,
            Training(**job.settings["training"]),
            checkpoint=directory / CHECKPOINT,
            pruner=pruner,
            progress=clock,
        )
        if not all(bool(value.isfinite().all()) for value in model.parameters()):
            raise ArgumentError(f"{job.label}: training diverged; lower the learning rate")
    except BaseException:
        if pruner is not None:
            pruner.detach()  # or it would warn, when it goes, that its schedule has not ended
        raise
    if pruner is not None:
        pruner.finalize()
    score = task.evaluate(model)
    report: dict[str, Any] = {
        "kind": job.kind,
        "label": job.label,
        "seed": job.seed,
        "settings": dict(job.settings),
        "metric": task.metric,
        "score": _plain(score),
        "step_ms": clock.median_ms,
        "environment": describe_environment() | {"device": device},
    }
    if pruner is not None:
        report["recipe"] = pruner.recipe.to_dict()
    model.cpu()
    if job.kind != "start":
        report |= _sizes(task, model, pruner, directory)
    if job.kind != "trial":
        save_weights(model, directory)
    write_json(directory / REPORT, report)
    (directory / CHECKPOINT).unlink(missing_ok=True)


def read_report(job: Job, root: Path) -> dict[str, Any]:
    """What a job that is done has found.

    Raises:
        ArgumentError: The file can't be read.
    """
    path = job.directory(root) / REPORT
    try:
        report: dict[str, Any] = load_json(path)
    except ArgumentError as error:
        raise ArgumentError(f"{error}; delete it to run again") from None
    return report


@lru_cache(maxsize=1)  # tasks keep what they have read and made; jobs of a study share one
def _task(settings: str, data: str) -> Task:
    """The task of a job, from its settings in JSON."""
    written = json.loads(settings)
    fingerprint = written.pop("fingerprint")
    task = task_from_dict(written | ({"data": data} if data else {}))
    if task.fingerprint() != fingerprint:
        raise ArgumentError("the data has changed since the study began; begin anew")
    return task


def _pruner(job: Job, root: Path, task: Task, network: Network, model: nn.Module) -> Pruner:
    recipe = Recipe.from_dict(job.settings["recipe"])
    if job.settings.get("permute"):
        permute_(model, recipe)
    if "choose" in job.settings:
        recipe = chosen_patterns(model, recipe, job.settings["choose"], job.directory(root))
    if "teacher" not in job.needs:
        return prune_(model, recipe)
    taught_by = root / job.needs["teacher"]
    teacher = task.build(network, seed=job.seed)
    teacher.load_state_dict(load_weights(taught_by))
    return prune_(model, recipe, teacher=Remembering(teacher, answers_of(taught_by)))


def _plain(score: Score) -> dict[str, Any]:
    if not math.isfinite(score.value):
        raise ArgumentError("training diverged: the measure is not finite; lower the learning rate")
    return {
        "value": score.value,
        "stderr": score.stderr if math.isfinite(score.stderr) else None,
        "totals": [round(total, 6) for total in score.totals],
        "counts": list(score.counts),
        "exponential": score.exponential,
    }


def _sizes(task: Task, model: nn.Module, pruner: Pruner | None, directory: Path) -> dict[str, Any]:
    """Weights and bytes of a network as stored, and the measure of its int8 form as deployed."""
    found: dict[str, Any] = {"notes": []}
    if pruner is not None:
        counted = pruner.report()
        found |= {"kept_weights": counted.kept, "total_weights": counted.total}
        names = [matrix.name for matrix in counted.matrices]
    else:
        names = _recurrent_weights(model)
    for precision in ("fp32", "int8"):
        try:
            packed = pack_trained(task, model, pruner.recipe if pruner else None, precision)
        except CsbrnnError as error:
            found["notes"].append(f"{precision}: {error}")
            continue
        found[f"nbytes_{precision}"] = packed.nbytes
        try:
            found[f"total_bits_{precision}"] = _matrix_bits(packed, names)
        except KeyError as error:
            found["notes"].append(f"{precision}: bits are not counted: no matrix is called {error}")
    if "nbytes_int8" not in found:
        return found
    save(packed, directory / PACKED)
    try:
        found["score_int8"] = _plain(task.evaluate_engine(compile_model(packed)))
    except CsbrnnError as error:
        found["notes"].append(f"int8: {error}")
    return found


def _recurrent_weights(model: nn.Module) -> list[str]:
    return [
        f"{prefix}.{name}" if prefix else name
        for prefix, module in model.named_modules()
        if isinstance(module, nn.RNNBase | Recurrent)
        for name, _ in module.named_parameters(recurse=False)
        if name.startswith("weight")
    ]


def _matrix_bits(packed: PackedModel, names: list[str]) -> int:
    """Bits of the pruned matrices as stored: values, indices, scales, padding.

    Raises:
        KeyError: The packed model has no matrix of one of the names.
    """
    products = packed.products
    return 8 * sum(products["/".join(name.rsplit(".", 1))].nbytes for name in names)


class _StepClock:
    """Passes progress on, and keeps how long steps take."""

    def __init__(self, progress: Callable[[int, float], None] | None) -> None:
        self._progress = progress
        self._last: float | None = None
        self._durations: list[float] = []

    def __call__(self, done: int, loss: float) -> None:
        now = time.perf_counter()
        if self._last is not None:
            self._durations.append(now - self._last)
        self._last = now
        if self._progress is not None:
            self._progress(done, loss)

    @property
    def median_ms(self) -> float | None:
        """Median of a step; None if there were too few to tell."""
        return 1e3 * statistics.median(self._durations) if self._durations else None
