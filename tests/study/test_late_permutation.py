"""A trial whose units are put in order after some steps."""

import json

import pytest

from csbrnn.study import read_report, run_job
from csbrnn.tasks.settling import SETTLED

from .test_recipe import SMALL
from .test_training_job import jobs, text  # noqa: F401


def trial(text, **changes):  # noqa: F811
    methods = json.loads(json.dumps(SMALL["methods"]))
    methods["admm"]["method"] |= {"admm_steps": 6, "retrain_steps": 4, "interval": 2}
    methods["admm"] |= changes
    trials = [{"patterns": ["stripes"], "pruning_rates": [4]}]
    return jobs(text, methods=methods, trials=trials)


def test_a_trial_permutes_after_some_steps_and_goes_on_after_a_kill(text, tmp_path):  # noqa: F811
    start, dense, late = trial(text, permute=4)
    plain = trial(text)[-1]
    for job in (start, dense, plain):
        run_job(job, tmp_path)
    steps = []
    run_job(late, tmp_path, progress=lambda done, _: steps.append(done))
    whole = read_report(late, tmp_path)
    assert steps == list(range(1, late.steps + 1))
    assert whole["kept_weights"] == read_report(plain, tmp_path)["kept_weights"]
    assert whole["score"] != read_report(plain, tmp_path)["score"]
    left = {path.name for path in late.directory(tmp_path).iterdir()}
    assert left == {"report.json", "int8"}

    class KilledError(Exception):
        pass

    for last in (2, 4, 7):  # before, at and after the permutation
        (late.directory(tmp_path) / "report.json").unlink()

        def kill(done, _, last=last):
            if done == last:
                raise KilledError

        with pytest.raises(KilledError):
            run_job(late, tmp_path, progress=kill)
        assert (late.directory(tmp_path) / SETTLED).exists() == (last > 4)
        run_job(late, tmp_path)
        assert read_report(late, tmp_path)["score"] == whole["score"]
