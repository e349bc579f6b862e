import math
from dataclasses import fields

import numpy as np
import pytest

from csbrnn.errors import ArgumentError
from csbrnn.tasks.registry import TASKS, task_from_dict, task_to_dict
from csbrnn.tasks.task import Network, Score
from csbrnn.tasks.training import Training


def test_a_score_of_equal_units_has_the_error_of_a_mean():
    errors = np.random.default_rng(0).normal(2.0, 0.5, 400)
    score = Score(tuple(10 * errors), (10.0,) * 400)
    assert score.value == pytest.approx(errors.mean())
    assert score.stderr == pytest.approx(errors.std(ddof=1) / 20)


def test_the_error_of_a_score_is_that_of_repeated_draws():
    rng = np.random.default_rng(1)

    def draw():
        counts = rng.integers(3, 8, 200)
        return Score(tuple(map(float, rng.binomial(counts, 0.1))), tuple(map(float, counts)))

    scores = [draw() for _ in range(400)]
    spread = np.std([score.value for score in scores])
    # The spread of 400 draws is itself known to 1 / sqrt(800) = 3.5%; three times that.
    assert np.mean([score.stderr for score in scores]) == pytest.approx(spread, rel=0.11)


def test_a_difference_has_the_error_of_pairs():
    rng = np.random.default_rng(2)
    hard = rng.normal(100, 30, 50)
    a = Score(tuple(hard + rng.normal(5, 1, 50)), (50.0,) * 50)
    b = Score(tuple(hard), (50.0,) * 50)
    gap, error = a.difference(b)
    assert gap == pytest.approx(a.value - b.value)
    assert error < 0.1 * a.stderr
    assert abs(gap - 0.1) < 4 * error


def test_an_exponential_score_is_a_perplexity():
    score = Score((10.0, 14.0), (5.0, 5.0), exponential=True)
    assert score.value == pytest.approx(math.exp(2.4))
    assert score.stderr == pytest.approx(math.exp(2.4) * 0.4)
    other = Score((10.0, 13.0), (5.0, 5.0), exponential=True)
    gap, error = score.difference(other)
    assert gap == pytest.approx(math.exp(2.4) - math.exp(2.3))
    assert error == pytest.approx(math.exp(2.35) * 0.1)


def test_scores_of_other_units_do_not_compare():
    with pytest.raises(ArgumentError, match="same held-out units"):
        Score((1.0, 2.0), (3.0, 4.0)).difference(Score((1.0, 2.0), (3.0, 5.0)))


def test_one_unit_tells_nothing_of_its_error():
    assert Score((1.0,), (2.0,)).stderr == math.inf


def test_networks_that_can_not_be_are_refused_with_all_reasons():
    with pytest.raises(ArgumentError) as caught:
        Network("transformer", hidden_size=0, num_layers=1.5, dropout=1)
    for part in ("hidden_size must", "num_layers must", "cell must be one of lstm", "dropout must"):
        assert part in str(caught.value)


def test_trainings_that_can_not_be_are_refused_with_all_reasons():
    with pytest.raises(ArgumentError) as caught:
        Training(steps=0, learning_rate=-1, batch=True, decay_from=2, autocast="float16")
    parts = ("steps must", "learning_rate must", "batch must", "decay_from must")
    for part in (*parts, "autocast must be 'bfloat16' or left out, not 'float16'"):
        assert part in str(caught.value)


@pytest.mark.parametrize("name", TASKS)
def test_tasks_read_and_write_as_plain_data(name):
    names = [field.name for field in fields(TASKS[name])]
    settings = {"name": name} | ({"data": "somewhere"} if "data" in names else {})
    task = task_from_dict(settings)
    assert task_from_dict(task_to_dict(task)) == task
    assert task.name == name
    with pytest.raises(ArgumentError, match=r"has the settings .* and no 'colour'"):
        task_from_dict({"name": name, "colour": 1})


def test_unknown_tasks_are_refused():
    with pytest.raises(ArgumentError, match=r"must be one of char-lm, .* not 'chess'"):
        task_from_dict({"name": "chess"})
