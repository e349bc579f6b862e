import dataclasses

import pytest
import torch
from torch import nn

from csbrnn.bench.product_time import product_time
from csbrnn.patterns import CSB
from csbrnn.pruning import OneShot, Recipe, choose_blocks


@pytest.mark.parametrize("precision", ["fp32", "int8"])
def test_more_weights_take_more_time(precision):
    torch.manual_seed(0)
    pattern, weight = CSB((16, 64), 16), torch.randn(1024, 512)
    cost = product_time(precision, budget_ms=20)
    times = [cost("w", pattern, pattern.project(weight, density)) for density in (0.02, 0.5)]
    assert 0 < times[0] < times[1] < 1e6


def test_blocks_are_chosen_by_it():
    torch.manual_seed(0)
    model = nn.LSTM(32, 64)
    recipe = Recipe(CSB((16, 64), 16), 0.25, OneShot())
    choice = choose_blocks(model, recipe, [CSB((4, 64), 4)], product_time(budget_ms=3))
    assert all(option.cost > 0 for option in choice.options)
    assert choice.cost <= sum(o.cost for o in choice.options if o.pattern == recipe.pattern)
    dataclasses.replace(recipe, patterns=choice.patterns)
