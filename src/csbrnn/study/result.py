"""`collect`: what a study has found so far, as rows."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from csbrnn.patterns import parse_pattern
from csbrnn.study.job import Job
from csbrnn.study.known import NOTHING, Known, missing
from csbrnn.study.recipe import StudyRecipe
from csbrnn.study.training_job import read_report
from csbrnn.tasks.registry import task_to_dict
from csbrnn.tasks.task import Network, Score
from csbrnn.tasks.training import Training

__all__ = ["collect"]


def collect(
    recipe: StudyRecipe,
    jobs: Sequence[Job],
    root: Path,
    times: Mapping[str, Any],
    known: Known = NOTHING,
) -> dict[str, Any]:
    """Puts together the reports of all jobs that are done, and the rows of those known before.

    Args:
        recipe: The study.
        jobs: From `csbrnn.study.job.jobs_of`.
        root: The study's directory.
        times: From `csbrnn.study.timing.time_models`, or empty.
        known: From an earlier result file. What was trained anew comes in place of it.

    Returns:
        The result file: see docs/studies.md.
    """
    reports = {job.name: read_report(job, root) for job in jobs if job.done(root)}
    references = {
        job.seed: reports[job.name] for job in jobs if job.kind == "dense" and job.name in reports
    }
    timing = {key: times[key] for key in ("environment", "settings") if key in times}
    task = task_to_dict(recipe.task)
    task.pop("data", None)  # where it lies is no one else's business
    return {
        "kind": "study",
        "name": recipe.name,
        "task": task
        | {
            "metric": recipe.task.metric,
            "lower_is_better": recipe.task.lower_is_better,
            "fingerprint": jobs[0].settings["task"]["fingerprint"],
        },
        "recipe": {key: value for key, value in recipe.source.items() if key != "task"},
        "jobs": len(jobs),
        "done": len(jobs) - sum(not job.done(root) for job in missing(jobs, known)),
        "timing": timing or known.timing,
        "rows": [
            _judged(
                _row(recipe, job, reports[job.name], references, times)
                if job.name in reports
                else known.row(job.name, timing)
            )
            for job in jobs
            if job.kind != "start" and (job.name in reports or job.name in known.rows)
        ],
    }


def _judged(row: Mapping[str, Any]) -> dict[str, Any]:
    """A row that says whether its pattern is hardware friendly: reports know no patterns."""
    pattern = row["pattern"]
    friendly = pattern == "dense" or parse_pattern(pattern).hardware_friendly
    return {**row, "hardware_friendly": friendly}


def _row(
    recipe: StudyRecipe,
    job: Job,
    report: Mapping[str, Any],
    references: Mapping[int, Mapping[str, Any]],
    times: Mapping[str, Any],
) -> dict[str, Any]:
    settings, score = report["settings"], report["score"]
    pruned = job.kind == "trial"
    time = times.get("rows", {}).get(job.name, {})
    recipe_used = report.get("recipe", {"pattern": "dense", "density": 1.0})
    row: dict[str, Any] = {
        "job": job.name,
        "task": recipe.task.name,
        "label": job.names.get("pattern", "dense"),
        "pattern": recipe_used["pattern"],
        "method": job.names.get("method", ""),
        "pruning_rate": round(1 / recipe_used["density"], 4),
        "seed": job.seed,
        "metric": recipe.task.metric,
        "value": score["value"],
        "stderr": score["stderr"],
        "gap": None,
        "gap_stderr": None,
        "value_int8": report.get("score_int8", {}).get("value"),
        "density": None,
        "kept_weights": report.get("kept_weights"),
        "total_weights": report.get("total_weights"),
        "total_bits_int8": report.get("total_bits_int8"),
        "total_bits_fp32": report.get("total_bits_fp32"),
        "nbytes_int8": report.get("nbytes_int8"),
        "nbytes_fp32": report.get("nbytes_fp32"),
        "us_per_step": time.get("median_us"),
        "us_per_step_iqr": time.get("iqr_us"),
        "train_step_ms": report["step_ms"],
        "settings": {
            "network": asdict(Network(**settings["network"])),
            "training": asdict(Training(**settings["training"])),
        }
        | ({"recipe": recipe_used} if pruned else {}),
        "machine": report["environment"]["cpu"],
        "commit": report["environment"]["git_commit"],
        "notes": [*report.get("notes", ()), *times.get("skipped", {}).get(job.name, ())],
    }
    if pruned:
        row["density"] = row["kept_weights"] / row["total_weights"]
    reference = references.get(job.seed)
    if pruned and reference is not None:
        gap, error = _score(score).difference(_score(reference["score"]))
        row |= {"gap": gap, "gap_stderr": error if math.isfinite(error) else None}
    return row


def _score(data: Mapping[str, Any]) -> Score:
    return Score(tuple(data["totals"]), tuple(data["counts"]), data["exponential"])
