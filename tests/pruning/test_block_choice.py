import dataclasses
from itertools import product

import pytest
import torch

from csbrnn.errors import ArgumentError, RecipeError
from csbrnn.patterns import CSB, Block, Unstructured
from csbrnn.pruning import ADMM, choose_blocks, prune_

from .models import Tagger, recipe, train

STRIPES = [CSB((g, None), g) for g in (1, 4, 16)]


def blocks_cost(name, pattern, projected):
    """The fewer rows share their columns, the more it costs."""
    return projected.numel() / pattern.row_group


def test_the_best_of_all_assignments():
    model = Tagger(num_layers=2)
    plan = recipe(pattern=CSB((4, None), 4))
    choice = choose_blocks(model, plan, STRIPES, blocks_cost)
    by_name = {}
    for option in choice.options:
        by_name.setdefault(option.name, []).append(option)
    limit = sum(option.cost for option in choice.options if option.pattern == plan.pattern)
    best = max(
        sum(option.worth for option in assignment)
        for assignment in product(*by_name.values())
        if sum(option.cost for option in assignment) <= limit
    )
    assert choice.cost <= limit
    assert choice.worth > 0.99 * best
    own = sum(option.worth for option in choice.options if option.pattern == plan.pattern)
    assert choice.worth >= own


def test_more_cost_buys_finer_blocks():
    model = Tagger()
    plan = recipe(pattern=CSB((16, None), 16))
    free = choose_blocks(model, plan, STRIPES, blocks_cost, max_cost=1e9)
    assert set(free.patterns.values()) == {STRIPES[0]}
    cheap = choose_blocks(model, plan, STRIPES, blocks_cost)
    assert set(cheap.patterns.values()) == {STRIPES[2]}


def test_worth_may_be_measured():
    model = Tagger()

    def worth(name, pattern, projected):
        return float("hh" in name) * float(projected.square().sum())

    choice = choose_blocks(
        model, recipe(pattern=STRIPES[2]), STRIPES, blocks_cost, worth=worth, max_cost=1100
    )
    assert choice.patterns["encoder.weight_hh_l0"] == STRIPES[0]
    assert choice.patterns["encoder.weight_ih_l0"] == STRIPES[2]


def test_it_goes_into_a_recipe():
    model = Tagger()
    plan = recipe(ADMM(2, 2, interval=1), pattern="csb(block=4x8,row_group=4)")
    texts = ["block(block=2x2)", "csb(block=8x8)"]
    choice = choose_blocks(model, plan, texts, lambda *_: 1.0)
    assert len(choice.options) == 6
    pruner = prune_(model, dataclasses.replace(plan, patterns=choice.patterns))
    train(model, torch.optim.Adam(model.parameters()), pruner, 4)
    assert pruner.report().density <= 0.25


@pytest.mark.parametrize(
    ("candidates", "options", "error", "message"),
    [
        ([3], {}, ArgumentError, "a candidate must be a Pattern or its text form, not 3"),
        (STRIPES, {"max_cost": 1.0}, ArgumentError, "max_cost must be at least 96, what the"),
        (["block_circulant"], {}, RecipeError, "Gradual trains under a mask"),
        ([Block()], {"cost": lambda *_: float("nan")}, ArgumentError, "must be finite, but for"),
    ],
)
def test_refusals(candidates, options, error, message):
    settings = {"cost": blocks_cost} | options
    with pytest.raises(error, match=message):
        choose_blocks(Tagger(), recipe(pattern=STRIPES[1]), candidates, **settings)


def test_a_shared_budget_has_one_pattern():
    with pytest.raises(RecipeError, match="patterns can't differ between weights"):
        choose_blocks(Tagger(), recipe(scope="global"), [Unstructured()], lambda *_: 1.0)


def test_what_is_measured_is_what_training_will_keep():
    model = Tagger()
    plan = recipe(pattern=CSB((4, 4)), scope="gate", keep_diagonal=True)
    seen = {}
    choose_blocks(model, plan, [], lambda name, _, projected: seen.update({name: projected}) or 1.0)
    prune_(model, plan).finalize()
    for name, projected in seen.items():
        assert torch.equal(projected, model.get_parameter(name).detach())
