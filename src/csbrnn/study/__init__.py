"""Studies: patterns, methods and rates compared on one task, restartable, over processes.

`recipe` reads what to compare, `job` takes it apart into trainings, `known` tells which need not
run, `pool` runs the others over processes: `training_job` one of them, with a `teacher` if it
distills, and with `shapes` chosen for each matrix if it asks for that. `timing` races the packed
networks, `result` collects the rows.
"""

from csbrnn.study.job import Job, jobs_of
from csbrnn.study.known import NOTHING, Known, missing, read_known
from csbrnn.study.pool import Failure, Watcher, run_jobs
from csbrnn.study.recipe import StudyRecipe, Trial, read_recipe
from csbrnn.study.result import collect
from csbrnn.study.timing import time_models
from csbrnn.study.training_job import read_report, run_job

__all__ = [
    "NOTHING",
    "Failure",
    "Job",
    "Known",
    "StudyRecipe",
    "Trial",
    "Watcher",
    "collect",
    "jobs_of",
    "missing",
    "read_known",
    "read_recipe",
    "read_report",
    "run_job",
    "run_jobs",
    "time_models",
]
