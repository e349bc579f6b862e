"""Pruning whole hidden units, in every method; what is left shrinks to a smaller network."""

import copy
import io

import pytest
import torch
from torch import nn

import csbrnn
from csbrnn import cells
from csbrnn.errors import ArgumentError, RecipeError
from csbrnn.nn import Recurrent
from csbrnn.patterns import CSB, RowColumn
from csbrnn.pruning import ADMM, Gradual, GroupLasso, OneShot, Recipe, prune_
from csbrnn.units import shrink

from .models import Tagger, batch, recipe, train

METHODS = {
    "one-shot": OneShot(at=1),
    "gradual": Gradual(0, 6, 2),
    "admm": ADMM(4, 4, interval=2, rho=1e-2),
    "group lasso": GroupLasso(1e-3, 4, 2, begin=1),
}
every_method = pytest.mark.parametrize("method", METHODS.values(), ids=METHODS)


def units(method=None, density=0.25, **options):
    return recipe(method, density, RowColumn(), scope="units", **options)


def adam(model):
    return torch.optim.Adam(model.parameters(), lr=1e-2, weight_decay=0.01)


@every_method
@pytest.mark.parametrize(
    "options", [{}, {"num_layers": 2}, {"num_layers": 2, "bidirectional": True}], ids=str
)
def test_what_is_left_is_a_smaller_network(method, options):
    model = Tagger(**options)
    pruner = prune_(model, units(method))
    train(model, adam(model), pruner, 9)
    pruner.finalize()
    assert 0.15 < pruner.report().density <= 0.25
    x, _ = batch(0)
    smaller = shrink(model)
    assert smaller.encoder.hidden_size < 10
    torch.testing.assert_close(smaller(x), model(x), rtol=1e-5, atol=1e-6)
    dense = sum(p.numel() for n, p in smaller.encoder.named_parameters() if "weight" in n)
    assert dense == pruner.report().kept
    packed = shrink(csbrnn.pack(model))
    assert {n: m.shape for n, m in packed.matrices.items()} == {
        n: m.shape for n, m in csbrnn.pack(smaller).matrices.items()
    }


def test_the_units_with_most_energy_stay_and_others_go_everywhere():
    model = Tagger()
    with torch.no_grad():
        for parameter in model.encoder.parameters():
            parameter.view(4, 16, -1)[:, 3:8] *= 10
    pruner = prune_(model, units(density=0.2))
    lstm = model.encoder
    for name, parameter in lstm.named_parameters():
        kept = parameter.detach().view(4, 16, -1).abs().sum((0, 2)) > 0
        assert kept.nonzero().flatten().tolist() == [3, 4, 5, 6, 7], name
    assert (lstm.weight_hh_l0.abs().sum(0) > 0).nonzero().flatten().tolist() == [3, 4, 5, 6, 7]
    assert pruner.report().kept == 20 * (5 + 8)


def test_biases_stay_at_zero_while_training_goes_on():
    model = Tagger()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.5, momentum=0.9)
    pruner = prune_(model, units(OneShot(at=2)))
    train(model, optimizer, pruner, 5)
    bias = model.encoder.bias_ih_l0
    gone = model.encoder.weight_hh_l0.detach().abs().sum(1) == 0
    assert gone.any()
    assert not bias[gone].any()
    assert not bias.grad[gone].any()
    assert bias[~gone].all()
    pruner.detach()
    train_step = bias.detach().clone()
    model(batch(0)[0]).sum().backward()
    assert torch.equal(bias, train_step)


@every_method
def test_resuming_repeats_training_bit_for_bit(method):
    model = Tagger(num_layers=2)
    optimizer, pruner = adam(model), prune_(model, units(method))
    train(model, optimizer, pruner, 5)
    buffer = io.BytesIO()
    torch.save([part.state_dict() for part in (model, optimizer, pruner)], buffer)
    straight = train(model, optimizer, pruner, 5, 5)
    buffer.seek(0)
    resumed = Tagger(num_layers=2)
    parts = (resumed, adam(resumed), prune_(resumed, units(method)))
    for part, state in zip(parts, torch.load(buffer, weights_only=True), strict=True):
        part.load_state_dict(state)
    assert train(resumed, parts[1], parts[2], 5, 5) == straight
    for name, value in model.state_dict().items():
        assert torch.equal(resumed.state_dict()[name], value), name


def test_copies_are_plain():
    model = Tagger()
    prune_(model, units())
    twin = copy.deepcopy(model)
    twin(batch(0)[0]).sum().backward()
    gone = twin.encoder.weight_ih_l0 == 0
    assert twin.encoder.weight_ih_l0.grad[gone].any()
    assert torch.equal(twin.encoder.weight_hh_l0, model.encoder.weight_hh_l0)


def test_linear_units_too():
    class Deep(Tagger):
        def __init__(self):
            super().__init__()
            self.middle = nn.Linear(16, 12)
            self.head = nn.Linear(12, 5)

        def forward(self, x):
            return self.head(torch.relu(self.middle(self.encoder(x)[0])))

    model = Deep()
    prune_(model, units(linear=True)).finalize()
    smaller = shrink(model)
    assert smaller.middle.out_features < 12
    assert smaller.head.out_features == 5
    x, _ = batch(0)
    torch.testing.assert_close(smaller(x), model(x), rtol=1e-5, atol=1e-6)


def test_the_group_lasso_of_a_unit():
    """Its rows and its columns, over all matrices, as one group."""
    model = Tagger(hidden=3)
    pruner = prune_(model, units(GroupLasso(1.0, 3), density=0.5))
    ih, hh = (w.detach() for w in (model.encoder.weight_ih_l0, model.encoder.weight_hh_l0))
    expected = 0.0
    for unit in range(3):
        squares = ih[unit::3].square().sum() + hh[unit::3].square().sum()
        squares += hh[:, unit].square().sum()
        expected += float((squares * (4 * 8 + 4 * 3 + 12)).sqrt())
    assert float(pruner.penalty().detach()) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize(
    ("model", "options", "message"),
    [
        (Tagger(), {"exclude": ("*_ih_*",)}, r"units go whole, so encoder.weight_ih_l0 must be"),
        (nn.LSTM(8, 16), {}, "units must stay, because they are the model's output"),
    ],
)
def test_models_that_do_not_fit(model, options, message):
    with pytest.raises(RecipeError, match=message):
        prune_(model, units(**options))


def test_a_cell_that_does_not_rest_at_zero():
    cell = cells.Cell(
        "loud",
        {"h": "hidden"},
        cells.gated_parameters("n"),
        "h_next = sigmoid(W_in @ x + b_in + W_hn @ h + b_hn)",
    )
    model = Tagger()
    model.encoder = Recurrent(cell, 8, 16, batch_first=True)
    with pytest.raises(RecipeError, match="not zero when their weights and biases are"):
        prune_(model, units())


def test_diverged_weights_and_tiny_densities():
    with pytest.raises(RecipeError, match=r"one unit each is a density of 0.02"):
        prune_(Tagger(), units(density=0.001))
    model = Tagger()
    pruner = prune_(model, units(OneShot(at=1)))
    with torch.no_grad():
        model.encoder.weight_hh_l0[1, 2] = float("inf")
    with pytest.raises(ArgumentError, match=r"encoder.weight_hh_l0 must be finite"):
        pruner.step()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"pattern": CSB((4, 4))}, r"csb\(block=4x4,row_group=1\) does not ask for that; take"),
        ({"densities": {"*": 0.5}}, "scope='units' shares one budget, so densities can't differ"),
        ({"keep_diagonal": True}, "scope='units' drops units whole, so keep_diagonal"),
    ],
)
def test_refused_recipes(changes, message):
    settings = {"pattern": RowColumn(), "density": 0.25, "method": OneShot(), "scope": "units"}
    with pytest.raises(RecipeError, match=message):
        Recipe(**(settings | changes))


def test_frozen_biases_go_with_their_units():
    model = Tagger()
    model.encoder.bias_hh_l0.requires_grad_(False)
    pruner = prune_(model, units())
    train(
        model, torch.optim.SGD([p for p in model.parameters() if p.requires_grad], 0.1), pruner, 2
    )
    gone = model.encoder.weight_hh_l0.detach().abs().sum(1) == 0
    assert not model.encoder.bias_hh_l0[gone].any()


def test_going_back_to_before_pruning_sets_biases_free_again():
    model = Tagger()
    pruner = prune_(model, units(Gradual(2, 3, 1)))
    optimizer = adam(model)
    train(model, optimizer, pruner, 1)
    early, weights = copy.deepcopy((pruner.state_dict(), model.state_dict()))
    train(model, optimizer, pruner, 5, first=1)
    bias = model.encoder.bias_ih_l0
    assert (bias.grad == 0).sum() > 20
    pruner.load_state_dict(early)
    model.load_state_dict(weights)
    train(model, optimizer, pruner, 1, first=1)
    assert not (bias.grad == 0).any()
