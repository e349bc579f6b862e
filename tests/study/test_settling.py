"""Steps without structure first, then units in order, then the pattern."""

import json

import pytest
import torch

from csbrnn.errors import ArgumentError
from csbrnn.patterns import Unstructured
from csbrnn.pruning import ADMM, Gradual, Recipe
from csbrnn.study import read_report, run_job
from csbrnn.study.settling import SETTLED, parts_of
from csbrnn.tasks.training import Training
from csbrnn.units import permute_

from .test_recipe import SMALL
from .test_training_job import jobs, text  # noqa: F401

STRIPES = "csb(block=4x8,row_group=4)"


def test_both_parts_are_as_long_as_the_whole_and_draw_its_batches():
    recipe = Recipe(STRIPES, 0.25, ADMM(60, 40, interval=10), patterns={"*_ih_*": "row_balanced"})
    training = Training(steps=110, learning_rate=0.01, decay_from=0.5, skip=7)
    (free, first), (later, rest) = parts_of(recipe, training, 30)
    assert (free.pattern, free.patterns, free.density) == (Unstructured(), {}, 0.25)
    assert free.method.retraining_from > first.steps  # weights stay free
    assert later.method == ADMM(30, 40, interval=10)
    assert (later.pattern, later.patterns) == (recipe.pattern, recipe.patterns)
    assert (first.skip, first.steps, rest.skip, rest.steps) == (7, 30, 37, 80)
    # The rate falls from the same step on.
    assert first.decay_from == 1
    assert 30 + rest.decay_from * rest.steps == pytest.approx(0.5 * 110)


@pytest.mark.parametrize(
    ("method", "steps", "message"),
    [
        (Gradual(0, 10, 2), 5, "the method must be admm"),
        (ADMM(60, 40, begin=5), 20, "with neither begin nor ramp_steps"),
        (ADMM(60, 40, ramp_steps=20), 20, "with neither begin nor ramp_steps"),
        (ADMM(60, 40, interval=20), 19, r"must lie in 20..40, not be 19"),
        (ADMM(60, 40, interval=20), 41, r"must lie in 20..40, not be 41"),
    ],
)
def test_what_can_not_be_cut(method, steps, message):
    with pytest.raises(ArgumentError, match=message):
        parts_of(Recipe(STRIPES, 0.25, method), Training(steps=100, learning_rate=0.1), steps)


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


class Net(torch.nn.Module):
    """Units of one group read the same inputs, but the order of the units hides which."""

    def __init__(self):
        super().__init__()
        self.rnn, self.head = torch.nn.LSTM(8, 16), torch.nn.Linear(16, 2)
        order = torch.randperm(16)
        with torch.no_grad():
            for parameter in (self.rnn.weight_ih_l0, self.rnn.weight_hh_l0):
                parameter *= 0.01
            for place, unit in enumerate(order):
                first = 2 * (place // 4)
                self.rnn.weight_ih_l0[unit::16, first : first + 2] += 1

    def forward(self, x):
        return self.head(self.rnn(x)[0])


def test_what_is_hidden_in_the_order_of_the_units_is_found():
    torch.manual_seed(0)
    result = permute_(Net(), "csb(block=4x8,row_group=4)", 0.25)
    assert result.energy_after > 0.9 > result.energy_before
