"""Jobs: a study taken apart into trainings, each with a directory named by what it depends on."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any, Literal, final

from csbrnn.study.recipe import StudyRecipe, Trial
from csbrnn.tasks.fine_tuning import fine_tuning_of

__all__ = ["REPORT", "Job", "jobs_of"]

REPORT = "report.json"
"""Written last into a job's directory: it is there if, and only if, the job is done."""


@final
@dataclass(frozen=True)
class Job:
    """One training, as plain data that another process can be handed.

    Attributes:
        kind: "start": a dense network; "dense": the same, trained further, the reference;
            "trial": the same, pruned.
        name: Of its directory: readable, and with a digest of all that the outcome depends on, so
            that a changed recipe never meets what another one left.
        label: For people.
        names: How tables name what a trial does: "pattern", "method".
        settings: All that the outcome depends on, JSON-able.
        data: Where the task's data lies; not part of what the outcome depends on.
        needs: Names of the jobs whose networks it needs, by role ("start", "teacher").
        steps: Optimizer steps.
        seed: Of the study's seeds.
    """

    kind: Literal["start", "dense", "trial"]
    name: str
    label: str
    settings: Mapping[str, Any]
    data: str
    needs: Mapping[str, str]
    steps: int
    seed: int
    names: Mapping[str, str] = field(default_factory=dict)

    def directory(self, root: Path) -> Path:
        """Where the job keeps its files."""
        return root / self.name

    def done(self, root: Path) -> bool:
        """Whether it has ended."""
        return (self.directory(root) / REPORT).exists()

    def ready(self, root: Path) -> bool:
        """Whether what it needs has ended."""
        return all((root / name / REPORT).exists() for name in self.needs.values())


def jobs_of(recipe: StudyRecipe) -> tuple[Job, ...]:
    """Takes a study apart, in the order in which to run: what is needed comes before its users."""
    jobs: dict[str, Job] = {}
    dense: dict[int, tuple[Job, Job]] = {}
    for trial in recipe.trials:
        if trial.seed not in dense:
            dense[trial.seed] = _dense_jobs(recipe, trial.seed)
            jobs |= {job.name: job for job in dense[trial.seed]}
        job = _trial_job(recipe, trial, *dense[trial.seed])
        jobs.setdefault(job.name, job)
    return tuple(jobs.values())


def _dense_jobs(recipe: StudyRecipe, seed: int) -> tuple[Job, Job]:
    task = _written(recipe.task)
    data = task.pop("data", "")
    settings: dict[str, Any] = {
        "task": task | {"name": recipe.task.name, "fingerprint": recipe.task.fingerprint()},
        "network": _written(recipe.network),
        "training": _written(replace(recipe.start, seed=seed)),
        "seed": seed,
    }
    start = _job("start", f"start-seed{seed}", f"dense, seed {seed}", settings, data, {}, seed)
    further = settings | {
        "training": _written(fine_tuning_of(recipe.finish, seed)),
        "start": start.name,
    }
    label = f"dense reference, seed {seed}"
    needs = {"start": start.name}
    return start, _job("dense", f"dense-seed{seed}", label, further, data, needs, seed)


def _trial_job(recipe: StudyRecipe, trial: Trial, start: Job, dense: Job) -> Job:
    needs = {"start": start.name}
    if trial.recipe.distill is not None and trial.teacher == "finished":
        needs["teacher"] = dense.name
    settings = {
        **start.settings,
        "network": _written(replace(recipe.network, dropout=trial.dropout)),
        "training": _written(fine_tuning_of(trial.training, trial.seed)),
        "recipe": dict(trial.written),
        "needs": needs,
    }
    if trial.permute:
        settings["permute"] = True
    if trial.choose:
        settings["choose"] = trial.choose
    rate = f"{trial.recipe.pruning_rate:g}x"
    slug = re.sub(r"[^a-z0-9]+", "-", f"{trial.label}-{trial.method}".lower()).strip("-")
    label = f"{trial.label}, {trial.method}, {rate}, seed {trial.seed}"
    name = f"{slug}-{rate}-seed{trial.seed}"
    job = _job("trial", name, label, settings, start.data, needs, trial.seed)
    return replace(job, names={"pattern": trial.label, "method": trial.method})


def _written(settings: Any) -> dict[str, Any]:
    """What differs from the defaults: one that a later version adds must not make all jobs new."""
    return {
        entry.name: value
        for entry in fields(settings)
        if (value := getattr(settings, entry.name)) != entry.default
    }


def _job(
    kind: Literal["start", "dense", "trial"],
    slug: str,
    label: str,
    settings: Mapping[str, Any],
    data: str,
    needs: Mapping[str, str],
    seed: int,
) -> Job:
    text = json.dumps(settings, sort_keys=True, default=list)
    digest = hashlib.sha256(text.encode()).hexdigest()[:8]
    plain = json.loads(text)
    steps = plain["training"]["steps"]
    return Job(kind, f"{slug[:80]}-{digest}", label, plain, data, dict(needs), steps, seed)
