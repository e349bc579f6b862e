"""Steps without structure first, then units in order, then the pattern."""

import pytest
import torch

from csbrnn.errors import ArgumentError
from csbrnn.patterns import Unstructured
from csbrnn.pruning import ADMM, Gradual, Recipe
from csbrnn.search.recipe import read_recipe
from csbrnn.tasks.road import forget
from csbrnn.tasks.settling import SETTLED, SETTLING, parts_of
from csbrnn.tasks.training import Training
from csbrnn.units import permute_
from search.recipes import recipe as tables

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


@pytest.mark.parametrize("permute", [True, 4])
def test_a_road_puts_units_in_order(tmp_path, permute):
    changed = tables(tmp_path)
    plain = read_recipe(changed).road
    changed["method"]["permute"] = permute
    read = read_recipe(changed)
    road = read.road
    assert plain.to_dict() | {"permute": permute} == road.to_dict()
    start = road.begin(read.network, 0, tmp_path / "start")
    steps = []

    def go_on(road, name):
        return road.go_on(
            read.network,
            0,
            start,
            tmp_path / name,
            road.recipe_for(read.pattern, 4),
            watch=lambda _, done, __: steps.append(done),
        )

    trained = go_on(road, "permuted")
    assert steps == list(range(1, road.pruned.steps + 1))
    assert trained.metric != go_on(plain, "plain").metric
    weight = trained.model.rnn.weight_hh_l0
    assert 0 < int(weight.count_nonzero()) <= weight.numel() // 4
    assert go_on(road, "permuted").metric == trained.metric  # by what is left, to the bit
    forget(tmp_path / "permuted")
    assert not {SETTLED, SETTLING} & {path.name for path in (tmp_path / "permuted").iterdir()}


@pytest.mark.parametrize(
    ("permute", "message"),
    [(0, "permute must be true, false or a number"), (11, "must lie in 4..8")],
)
def test_a_road_refuses_what_can_not_be_cut(tmp_path, permute, message):
    changed = tables(tmp_path)
    changed["method"]["permute"] = permute
    with pytest.raises(ArgumentError, match=message):
        read_recipe(changed)
