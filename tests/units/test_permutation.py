"""The same network in another order of its units."""

import pytest
import torch
from torch import nn

import csbrnn
from csbrnn.errors import RecipeError, UnsupportedModelError
from csbrnn.model import run_reference
from csbrnn.patterns import CSB, Block, Unstructured
from csbrnn.pruning import OneShot, Recipe, prune_
from csbrnn.units import permute_

from .models import MODELS, Bare, Net, inputs

STRIPES = CSB((4, None), 4)


@pytest.mark.filterwarnings("ignore:LSTM with projections:UserWarning")
@pytest.mark.parametrize("make", MODELS.values(), ids=MODELS)
def test_outputs_stay_the_same(make):
    model = make().eval()
    x = inputs(model)
    expected = model(x)
    parameters = dict(model.named_parameters())
    values = {name: p.detach().clone() for name, p in parameters.items()}
    result = permute_(model, STRIPES, 0.25)
    torch.testing.assert_close(model(x), expected, rtol=1e-5, atol=1e-6)
    assert result.energy_after >= result.energy_before
    assert (result.energy_after > result.energy_before) == bool(result.orders)
    moved = [n for n, p in model.named_parameters() if not torch.equal(p, values[n])]
    assert bool(moved) == bool(result.orders)
    assert all(p is parameters[n] for n, p in model.named_parameters())


def test_hidden_stripes_are_found():
    """A network made of stripes, shuffled: the order in which it was made comes back."""
    model = Bare(nn.LSTM(16, 16), 16)
    with torch.no_grad():
        for weight in (model.rnn.weight_ih_l0, model.rnn.weight_hh_l0):
            weight.copy_(STRIPES.project(torch.randn_like(weight), 0.25))
            weight += 1e-3 * torch.randn_like(weight)
        shuffle = torch.randperm(16)
        for name, parameter in model.rnn.named_parameters():
            rows = parameter.view(4, 16, -1)[:, shuffle].reshape(parameter.shape)
            parameter.copy_(rows[:, shuffle] if "hh" in name and parameter.dim() > 1 else rows)
    result = permute_(model, STRIPES, 0.25)
    assert result.energy_before < 0.9
    # The gates' stripes were drawn apart, and one order serves all of them.
    assert result.energy_after > 0.999
    order = result.orders["rnn, layer 0"]
    groups = {frozenset(shuffle[order[start : start + 4]].tolist()) for start in range(0, 16, 4)}
    assert groups == {frozenset(range(start, start + 4)) for start in range(0, 16, 4)}
    assert str(result).endswith("new order for rnn, layer 0")


def test_states_follow_the_order():
    class Streaming(Bare):
        def forward(self, x, states=None):
            y, states = self.rnn(x, states)
            return self.head(y), states

    model = Streaming(nn.LSTM(5, 16), 16)
    x = torch.randn(4, 2, 5)
    states = (torch.randn(1, 2, 16), torch.randn(1, 2, 16))
    expected, (h, c) = model(x, states)
    result = permute_(model, STRIPES, 0.25)
    order = result.orders["rnn, layer 0"]
    y, after = model(x, tuple(state[..., order] for state in states))
    torch.testing.assert_close(y, expected)
    torch.testing.assert_close(after, (h[..., order], c[..., order]))


def test_a_recipe_goes_before_prune_():
    model = Net(nn.GRU(5, 16, 2), 16)
    plan = Recipe(STRIPES, 0.25, OneShot(), scope="gate", exclude=("*_ih_*",))
    result = permute_(model, plan)
    pruner = prune_(model, plan)
    pruner.finalize()
    assert result.orders
    packed = csbrnn.pack(model)
    x = inputs(model)
    y, _ = run_reference(packed, x.numpy())
    torch.testing.assert_close(torch.from_numpy(y).float(), model(x).detach(), rtol=1e-4, atol=1e-5)


def test_a_part_that_is_being_pruned_is_not_permuted():
    model = Net(nn.GRU(5, 16, 2), 16)
    prune_(model.rnn, Recipe(STRIPES, 0.25, OneShot()))
    with pytest.raises(RecipeError, match="it is being pruned already"):
        permute_(model, STRIPES, 0.25)


def test_units_of_the_output_stay():
    model = nn.LSTM(5, 8, 2)
    result = permute_(model, STRIPES, 0.25)
    assert not {name for name in result.orders if name.endswith("layer 1")}


@pytest.mark.parametrize("pattern", [Unstructured(), CSB((None, None))], ids=str)
def test_patterns_for_which_order_does_not_matter(pattern):
    model = Bare(nn.LSTM(5, 8), 8)
    result = permute_(model, pattern, 0.25)
    assert not result.orders
    assert result.energy_after == result.energy_before


def test_blocks():
    result = permute_(Bare(nn.LSTM(16, 32), 32), Block((4, 4)), 0.25)
    assert result.energy_after > result.energy_before


def test_refusals():
    model = Bare(nn.LSTM(5, 8), 8)
    with pytest.raises(RecipeError, match=r"block_circulant.* chooses no weights"):
        permute_(model, "block_circulant(block=4)", 0.25)
    with pytest.raises(RecipeError, match="the recipe has a density already"):
        permute_(model, Recipe(STRIPES, 0.25, OneShot()), 0.25)
    model.extra = nn.Parameter(torch.ones(3))
    with pytest.raises(UnsupportedModelError, match="does not depend on extra"):
        permute_(model, STRIPES, 0.25)
    del model.extra
    prune_(model, Recipe(STRIPES, 0.25, OneShot()))
    with pytest.raises(RecipeError, match="it is being pruned already"):
        permute_(model, STRIPES, 0.25)

    class Looping(Bare):
        def forward(self, x):
            for step in x:
                y = self.head(self.rnn(step[None])[0])
            return y

    with pytest.raises(
        UnsupportedModelError, match=r"can't permute Looping:\n.*forward can't be traced"
    ):
        permute_(Looping(nn.LSTM(5, 8), 8), STRIPES, 0.25)
