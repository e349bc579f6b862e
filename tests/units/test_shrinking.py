"""What is taken out is what does not matter: the smaller network gives the same outputs."""

import numpy as np
import pytest
import torch
from torch import nn

import csbrnn
from csbrnn import cells
from csbrnn.errors import ArgumentError, UnsupportedModelError
from csbrnn.model import run_reference
from csbrnn.nn import Recurrent, to_torch
from csbrnn.pruning import Gradual, Recipe, prune_
from csbrnn.units import shrink
from csbrnn.units.module import units_of
from csbrnn.units.spaces import offsets

from .models import MODELS, Bare, Net, Residual, inputs


def silence(model, share=3):
    """Zeroes every third unit of each recurrent layer: rows, biases; columns stay."""
    units = units_of(model, what="test")
    spaces = units.spaces
    with torch.no_grad():
        for weight in spaces.weights():
            for name in units.names[id(weight)][:1]:
                parameter = model.get_parameter(name)
                for dim, axis in enumerate(spaces.axes(weight)):
                    # Rows and biases; and the table that units share with an embedding.
                    if dim and not spaces.makes(weight, dim):
                        continue
                    for space, start in offsets(axis):
                        if space in spaces.recurrent():
                            own = parameter.narrow(dim, start, space.size)
                            own.index_fill_(dim, torch.arange(0, space.size, share), 0)


every_model = pytest.mark.parametrize("make", MODELS.values(), ids=MODELS)


@pytest.mark.filterwarnings("ignore:LSTM with projections:UserWarning")
@every_model
def test_silent_units_go(make):
    model = make().eval()
    silence(model)
    x = inputs(model)
    smaller = shrink(model)
    count = sum(p.numel() for p in smaller.parameters())
    assert count < 0.85 * sum(p.numel() for p in model.parameters())
    assert type(smaller) is type(model)
    torch.testing.assert_close(smaller(x), model(x), rtol=1e-5, atol=1e-6)
    assert not {id(p) for p in smaller.parameters()} & {id(p) for p in model.parameters()}


@pytest.mark.filterwarnings("ignore:LSTM with projections:UserWarning")
@every_model
def test_packed_models_shrink_to_the_same(make):
    model = make().eval()
    silence(model)
    whole = csbrnn.pack(model)
    smaller, from_module = shrink(whole), csbrnn.pack(shrink(model))
    shapes = {name: matrix.shape for name, matrix in smaller.matrices.items()}
    assert shapes == {name: matrix.shape for name, matrix in from_module.matrices.items()}
    x = inputs(model).numpy()
    expected, _ = run_reference(whole, x)
    np.testing.assert_allclose(run_reference(smaller, x)[0], expected, rtol=1e-4, atol=1e-6)
    # And a model without zero units is left alone.
    again = shrink(smaller)
    assert {n: m.shape for n, m in again.matrices.items()} == shapes


def test_sizes():
    model = Net(nn.LSTM(5, 9, 2), 9)
    silence(model)
    smaller = shrink(model)
    assert (smaller.rnn.input_size, smaller.rnn.hidden_size) == (5, 6)
    assert smaller.rnn.weight_hh_l1.shape == (24, 6)
    assert (smaller.middle.in_features, smaller.middle.out_features) == (6, 6)
    assert repr(smaller.rnn) == "LSTM(5, 6, num_layers=2)"


def test_units_that_nothing_reads_go_whatever_their_bias():
    model = Bare(nn.GRU(5, 8), 8)
    with torch.no_grad():
        for parameter in (model.rnn.weight_hh_l0, model.head.weight):
            parameter[:, 2] = 0
            parameter[:, 5] = 0
        # Units 2 and 5 read each other, and nothing else reads them.
        model.rnn.weight_hh_l0[2, 5] = model.rnn.weight_hh_l0[5, 2] = 1
    smaller = shrink(model)
    assert smaller.rnn.hidden_size == 6
    x = torch.randn(4, 2, 5)
    torch.testing.assert_close(smaller(x), model(x), rtol=1e-5, atol=1e-6)


def test_a_unit_with_a_bias_is_not_zero():
    model = Bare(nn.GRU(5, 8), 8)
    with torch.no_grad():
        for parameter in (model.rnn.weight_hh_l0, model.rnn.weight_ih_l0):
            parameter[3::8] = 0
    assert shrink(model).rnn.hidden_size == 8
    with torch.no_grad():
        model.rnn.bias_ih_l0[16 + 3] = model.rnn.bias_hh_l0[16 + 3] = 0
    # The candidate is zero; the gates may do what they like.
    assert shrink(model).rnn.hidden_size == 7


def test_a_sigmoid_turns_zero_into_a_half():
    class Gated(Bare):
        def forward(self, x):
            return self.head(torch.sigmoid(self.rnn(x)[0]))

    model = Gated(nn.LSTM(5, 8), 8)
    silence(model)
    assert shrink(model).rnn.hidden_size == 8


def test_a_softmax_is_not_of_fewer():
    class Attending(Bare):
        def forward(self, x):
            return self.head(torch.softmax(self.rnn(x)[0], dim=-1))

    model = Attending(nn.LSTM(5, 8), 8)
    silence(model)
    with torch.no_grad():
        model.head.weight[:, ::3] = 0
    assert shrink(model).rnn.hidden_size == 8


def test_outputs_stay():
    """A stack that is the whole model has units nobody may take."""
    model = nn.LSTM(5, 6)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter[::3] = 0
    assert shrink(model).hidden_size == 6


def test_layers_of_one_stack_keep_the_size_that_one_needs():
    model = Bare(nn.LSTM(5, 8, 2), 8)
    with torch.no_grad():
        for name, parameter in model.rnn.named_parameters():
            if name.endswith("_l1"):
                parameter[::2] = 0
    assert shrink(model).rnn.hidden_size == 8


def test_everything_pruned_leaves_one_unit():
    model = Bare(nn.LSTM(5, 8), 8)
    with torch.no_grad():
        for parameter in model.rnn.parameters():
            parameter.zero_()
    smaller = shrink(model)
    assert smaller.rnn.hidden_size == 1
    x = torch.randn(4, 2, 5)
    torch.testing.assert_close(smaller(x), model(x))


def test_int8_models_keep_their_integers():
    model = Net(nn.LSTM(5, 9), 9)
    silence(model)
    whole = csbrnn.pack(model, precision="int8")
    smaller = shrink(whole)
    assert smaller.precision == "int8"
    x = inputs(model).numpy()
    np.testing.assert_allclose(
        run_reference(smaller, x)[0], run_reference(whole, x)[0], rtol=1e-4, atol=1e-5
    )
    assert smaller.layer("rnn").matrices["weight_hh_l0"].shape == (24, 6)


def test_refusals():
    with pytest.raises(ArgumentError, match=r"a PackedModel or a torch.nn.Module, not int"):
        shrink(3)
    model = Residual()
    model.spare = nn.Linear(6, 2)
    with pytest.raises(UnsupportedModelError, match=r"not depend on spare.weight, spare.bias"):
        shrink(model)
    model = Bare(nn.LSTM(5, 8), 8)
    pruner = prune_(model, Recipe("unstructured", 0.5, Gradual(0, 9)))
    with pytest.raises(UnsupportedModelError, match="its pruning has not ended"):
        shrink(model)
    pruner.detach()


def test_a_cell_of_ones_own():
    model = Bare(Recurrent(cells.LIGRU, 5, 9), 9)
    silence(model)
    smaller = shrink(model)
    assert smaller.rnn.stack.hidden_size == 6
    x = torch.randn(4, 2, 5)
    torch.testing.assert_close(smaller(x), model(x), rtol=1e-5, atol=1e-6)


@pytest.mark.filterwarnings("ignore:LSTM with projections:UserWarning")
@pytest.mark.parametrize("bidirectional", [False, True])
def test_a_layer_stays_wider_than_what_it_projects_to(bidirectional):
    """torch.nn.LSTM takes a projection to as many values as it has units for none."""
    torch.manual_seed(0)
    model = nn.LSTM(5, 6, proj_size=4, bidirectional=bidirectional)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.startswith("weight_hr"):
                parameter[:, 4:] = 0
    smaller = shrink(model)
    assert (smaller.hidden_size, smaller.proj_size) == (5, 4)
    x = torch.randn(3, 2, 5)
    torch.testing.assert_close(smaller(x)[0], model(x)[0])
    again = to_torch(shrink(csbrnn.pack(model)))
    torch.testing.assert_close(again(x)[0], model(x)[0])
