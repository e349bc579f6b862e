"""`time_models`: a step of every packed network of a study, all in one race."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from csbrnn.bench import Case, csbrnn_contenders, run_bench
from csbrnn.errors import ArgumentError, CsbrnnError
from csbrnn.model import PackedModel, load
from csbrnn.study.job import Job
from csbrnn.study.training_job import PACKED, read_report

__all__ = ["time_models"]

#: Of measuring for each network: some fifty turns.
_SECONDS_EACH = 0.5


def time_models(
    jobs: Sequence[Job], root: Path, progress: Callable[[str, float], object] | None = None
) -> dict[str, Any]:
    """Measures an int8 step at batch 1 on one thread, outputs checked first.

    All networks take turns of a few milliseconds, so whatever else the machine does disturbs all
    alike. Networks that the runtime has no kernel for are listed as skipped.

    Args:
        jobs: Whose networks; those not done, and those not packed, are left out.
        root: The study's directory.
        progress: As for `csbrnn.bench.run_bench`.

    Returns:
        "rows": job name -> statistics; "skipped": job name -> why; and how it was measured.
    """
    models = {
        job.name: _load(job.directory(root))
        for job in jobs
        if job.kind != "start" and job.done(root) and "nbytes_int8" in read_report(job, root)
    }
    if not models:
        return {"rows": {}, "skipped": {}}
    case = Case("study", next(iter(models.values())), models)
    result = run_bench(
        [case],
        threads=(1,),
        contenders=[
            contender
            for name, model in models.items()
            for contender in csbrnn_contenders([model.precision], [name], unpruned=False)
        ],
        seconds=_SECONDS_EACH * len(models),
        modes=("step",),
        progress=progress,
    ).to_dict()
    kept = ("median_us", "p99_us", "iqr_us", "min_us", "n", "max_abs_error")
    return {
        "rows": {row["layout"]: {key: row[key] for key in kept} for row in result["rows"]},
        "skipped": {
            name: [s["reason"] for s in result["skipped"]]
            for name in models
            if name not in {row["layout"] for row in result["rows"]}
        },
        "environment": result["environment"],
        "settings": {
            key: result["settings"][key]
            for key in ("threads", "seconds", "wall_s", "rounds", "preemptions", "slice_ms")
        },
    }


def _load(directory: Path) -> PackedModel:
    try:
        return load(directory / PACKED)
    except CsbrnnError as error:
        raise ArgumentError(f"{error}; delete {directory} to train it again") from None
