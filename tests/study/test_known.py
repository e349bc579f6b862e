import dataclasses

import pytest

from csbrnn.errors import ArgumentError
from csbrnn.study import NOTHING, Known, jobs_of, missing, read_known, read_recipe
from csbrnn.tasks.training import Training

from .test_recipe import SMALL, small

JOBS = jobs_of(read_recipe(SMALL))


def row(job, us=3.0):
    return {
        "job": job.name,
        "label": job.label,
        "us_per_step": us,
        "us_per_step_iqr": 0.1,
        "notes": ["as it was"],
    }


def result(jobs):
    return {
        "kind": "study",
        "name": "small",
        "rows": [row(job) for job in jobs if job.kind != "start"],
        "timing": {"environment": {"cpu": "this one", "git_commit": "f00"}},
    }


def names(jobs):
    return [job.label for job in jobs]


def test_nothing_known_leaves_everything():
    assert missing(JOBS, NOTHING) == JOBS


def test_everything_known_leaves_nothing():
    assert missing(JOBS, read_known(result(JOBS))) == ()


def test_an_unknown_trial_wants_the_dense_networks_of_its_seed():
    left = missing(JOBS, read_known(result(JOBS[:-1])))
    assert names(left) == ["dense, seed 7", "dense reference, seed 7", JOBS[-1].label]


def test_an_unknown_reference_is_trained_without_its_trials():
    left = missing(JOBS, read_known(result([job for job in JOBS if job.kind != "dense"])))
    assert [job.kind for job in left] == ["start", "dense"] * 2


@pytest.mark.parametrize(
    "changes",
    [
        {"task": {"name": "char-lm", "max_chars": 3000}},
        {"network": {"hidden_size": 9}},
        {"finish": {"steps": 10, "autocast": "bfloat16"}},
        {"start": {"steps": 11}},
    ],
)
def test_rows_of_other_settings_are_not_known(changes):
    other = jobs_of(read_recipe(small(**changes)))
    assert missing(JOBS, read_known(result(other))) == JOBS


def test_a_default_that_is_new_makes_no_job_a_new_one(monkeypatch):
    @dataclasses.dataclass(frozen=True)
    class Later(Training):
        momentum: float = 0.9

    recipe = read_recipe(SMALL)
    as_later = {
        key: Later(**dataclasses.asdict(getattr(recipe, key))) for key in ("start", "finish")
    }
    trials = tuple(
        dataclasses.replace(trial, training=Later(**dataclasses.asdict(trial.training)))
        for trial in recipe.trials
    )
    later = dataclasses.replace(recipe, trials=trials, **as_later)
    assert [job.name for job in jobs_of(later)] == [job.name for job in JOBS]


@pytest.mark.parametrize("changed", ["cpu", "git_commit"])
def test_times_of_another_machine_or_engine_are_left_out(changed):
    known = read_known(result(JOBS))
    name = JOBS[-1].name
    assert known.row(name, {})["us_per_step"] == 3.0
    environment = {"cpu": "this one", "git_commit": "f00"}
    assert known.row(name, {"environment": environment})["us_per_step"] == 3.0
    other = known.row(name, {"environment": environment | {changed: "another"}})
    assert other["us_per_step"] is None
    assert other["us_per_step_iqr"] is None
    note = "timed before, not beside the others: this one, commit f00"
    assert other["notes"] == ["as it was", note]
    assert known.rows[name]["us_per_step"] == 3.0


def test_rows_that_were_never_timed_have_nothing_to_leave_out():
    known = Known({"a": row(JOBS[-1], us=None)})
    assert known.row("a", {"environment": {"cpu": "that one"}})["notes"] == ["as it was"]


def test_what_is_no_result_of_a_study_is_refused():
    with pytest.raises(ArgumentError, match=r"must be the result\.json of a study"):
        read_known({"kind": "search"})


def test_rows_must_say_what_they_are_of():
    old = result(JOBS)
    del old["rows"][0]["job"]
    with pytest.raises(ArgumentError, match=r"1 rows do not say by 'job'.*dense reference, seed 0"):
        read_known(old)
