"""`Recurrent` against torch.nn's modules and against the cells' NumPy definition."""

from __future__ import annotations

import copy
import io
import warnings

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from csbrnn import cells
from csbrnn.errors import ArgumentError, CsbrnnWarning
from csbrnn.nn.recurrent import Recurrent
from csbrnn.nn.rnn_layers import stack_of

torch.set_num_threads(1)

# Float64 throughout: 1e-12 leaves room for sums of a few dozen terms in another order.
CLOSE = {"rtol": 0.0, "atol": 1e-12}
CUSTOM = cells.Cell(
    name="constants",
    states={"h": "hidden"},
    parameters=cells.gated_parameters("zn", bias=("ih",)),
    equations="""
        z = minimum(maximum(0.2 * (W_iz @ x + b_iz + W_hz @ h) + exp(-1), 0), 1 / log(3))
        n = abs(W_in @ x) - tanh(W_hn @ (z * h) / 2)
        h_next = (1 - z) * -n + z * h
    """,
)
TORCH_CELLS = {
    "rnn_tanh": (nn.RNN, {}),
    "rnn_relu": (nn.RNN, {"nonlinearity": "relu"}),
    "lstm": (nn.LSTM, {}),
    "lstm_projection": (nn.LSTM, {"proj_size": 3}),
    "gru": (nn.GRU, {}),
}
ALL_CELLS = [*cells.CELLS.values(), CUSTOM]


def proj_size(cell: cells.Cell) -> int:
    return 3 if "proj" in cell.dimensions else 0


@pytest.mark.parametrize("name", TORCH_CELLS)
@settings(max_examples=15, deadline=None)
@given(
    layers=st.integers(1, 2),
    bias=st.booleans(),
    batch_first=st.booleans(),
    bidirectional=st.booleans(),
    batch=st.sampled_from([None, 1, 2]),
    with_states=st.booleans(),
)
def test_matches_torch(name, layers, bias, batch_first, bidirectional, batch, with_states):
    kind, extra = TORCH_CELLS[name]
    options = {"bias": bias, "batch_first": batch_first, "bidirectional": bidirectional}
    theirs = kind(4, 5, layers, **options, **extra).double()
    ours = Recurrent(
        cells.CELLS[name], 4, 5, layers, proj_size=extra.get("proj_size", 0), **options
    ).double()
    ours.load_state_dict(theirs.state_dict())
    assert list(ours.state_dict()) == list(theirs.state_dict())
    shape = (6, 4) if batch is None else (batch, 6, 4) if batch_first else (6, batch, 4)
    x = torch.randn(shape, dtype=torch.float64)
    states = None
    if with_states:
        shapes = ours.stack.state_shapes().values()
        values = [torch.randn(n, *([batch] if batch else []), m).double() for n, m in shapes]
        states = tuple(values) if len(values) > 1 else values[0]
    (y, after), (y2, after2) = ours(x, states), theirs(x, states)
    torch.testing.assert_close(y, y2, **CLOSE)
    torch.testing.assert_close(after, after2, **CLOSE)


@pytest.mark.parametrize("cell", ALL_CELLS, ids=lambda c: c.name)
@pytest.mark.parametrize("bidirectional", [False, True])
def test_matches_the_definition(cell, bidirectional):
    torch.manual_seed(0)
    module = Recurrent(
        cell, 4, 5, 2, proj_size=proj_size(cell), bidirectional=bidirectional
    ).double()
    x = torch.randn(6, 2, 4, dtype=torch.float64)
    parameters = {name: p.detach().numpy() for name, p in module.named_parameters()}
    expected, states = cells.run_stack(module.stack, parameters, x.numpy())
    y, after = module(x)
    after = after if isinstance(after, tuple) else (after,)
    np.testing.assert_allclose(y.detach().numpy(), expected, **CLOSE)
    for ours, theirs in zip(after, states.values(), strict=True):
        np.testing.assert_allclose(ours.detach().numpy(), theirs, **CLOSE)


@pytest.mark.parametrize("cell", ALL_CELLS, ids=lambda c: c.name)
def test_gradients(cell):
    torch.manual_seed(1)
    module = Recurrent(cell, 2, 3, proj_size=2 if proj_size(cell) else 0).double()
    names, values = zip(*module.named_parameters(), strict=True)

    def run(x, *parameters):
        y, after = torch.func.functional_call(
            module, dict(zip(names, parameters, strict=True)), (x,)
        )
        return y, *(after if isinstance(after, tuple) else (after,))

    x = torch.randn(3, 2, 2, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(run, (x, *values))


def test_without_bias_keeps_other_vectors():
    module = Recurrent(cells.LSTM_PEEPHOLE, 2, 3, bias=False)
    assert set(module.state_dict()) == {"weight_ih_l0", "weight_hh_l0", "weight_c_l0"}


def test_prunable_weights():
    module = Recurrent(cells.LSTM_PROJECTION, 4, 5, 2, proj_size=3)
    assert dict(module.prunable_weights()) == {
        f"weight_{which}_l{layer}": gates
        for layer in (0, 1)
        for which, gates in (("ih", 4), ("hh", 4), ("hr", 1))
    }
    shapes = {name: tuple(p.shape) for name, p in module.named_parameters()}
    assert all(len(shapes[name]) == 2 for name, _ in module.prunable_weights())


def test_initial_weights_are_bounded_and_seeded():
    torch.manual_seed(7)
    first = Recurrent(cells.LIGRU, 8, 16)
    torch.manual_seed(7)
    second = Recurrent(cells.LIGRU, 8, 16)
    for a, b in zip(first.parameters(), second.parameters(), strict=True):
        assert torch.equal(a, b)
        assert 0.2 < a.abs().max() <= 0.25  # 1 / sqrt(16)


def test_dropout_acts_between_layers_in_training_only():
    torch.manual_seed(0)
    module = Recurrent(cells.GRU, 3, 4, 2, dropout=0.5)
    x = torch.randn(5, 2, 3)
    assert not torch.equal(module(x)[0], module(x)[0])
    module.eval()
    assert torch.equal(module(x)[0], module(x)[0])
    with pytest.warns(CsbrnnWarning, match="there is only one"):
        Recurrent(cells.GRU, 3, 4, dropout=0.5)


def test_copies_and_checkpoints():
    module = Recurrent(cells.LIGRU, 3, 4)
    x = torch.randn(5, 3)
    buffer = io.BytesIO()
    torch.save(module, buffer)
    buffer.seek(0)
    for twin in (copy.deepcopy(module), torch.load(buffer, weights_only=False)):
        assert twin.cell == cells.LIGRU
        assert torch.equal(twin(x)[0], module(x)[0])
        assert all(a is not b for a, b in zip(twin.parameters(), module.parameters(), strict=True))


@pytest.mark.parametrize("cell", ALL_CELLS, ids=lambda c: c.name)
def test_autocast(cell):
    torch.manual_seed(0)
    module = Recurrent(cell, 4, 5, 2, proj_size=proj_size(cell))
    x = torch.randn(6, 2, 4)
    exact = module(x)[0]
    with torch.autocast("cpu", dtype=torch.bfloat16):
        y, _ = module(x)
        y.float().sum().backward()
    # bfloat16 keeps 8 bits: 2**-8 a product, through two layers and six steps.
    assert (y.float() - exact).abs().max() < 0.05
    assert all(p.grad is not None and p.grad.isfinite().all() for p in module.parameters())


@pytest.mark.parametrize(
    ("arguments", "options", "message"),
    [
        (("lstm", 3, 4), {}, "cell must be a csbrnn.cells.Cell, not 'lstm'"),
        ((cells.GRU, 0, 4), {}, "input_size must be a positive integer, got 0"),
        ((cells.GRU, 3, 4), {"proj_size": 2}, "proj_size must be 0 for this cell"),
        ((cells.LSTM_PROJECTION, 3, 4), {}, "proj_size must be positive"),
        ((cells.GRU, 3, 4), {"dropout": 1.5}, "dropout must be a number in 0..1, not 1.5"),
    ],
)
def test_bad_arguments(arguments, options, message):
    with pytest.raises(ArgumentError, match=message):
        Recurrent(*arguments, **options)


def test_bad_inputs():
    module = Recurrent(cells.LSTM, 3, 4, batch_first=True)
    with pytest.raises(ArgumentError, match=r"\(batch, seq_len, 3\) or \(seq_len, 3\), not \(5,"):
        module(torch.zeros(5, 4))
    with pytest.raises(ArgumentError, match="not PackedSequence"):
        module(nn.utils.rnn.pack_sequence([torch.zeros(2, 3)]))
    with pytest.raises(ArgumentError, match="at least one step"):
        module(torch.zeros(2, 0, 3))
    with pytest.raises(ArgumentError, match=r"2 state\(s\), in the order h, c; got 1"):
        module(torch.zeros(5, 3), torch.zeros(1, 4))
    with pytest.raises(ArgumentError, match=r"state 'c' must have shape \(1, 4\), not \(1, 5\)"):
        module(torch.zeros(5, 3), (torch.zeros(1, 4), torch.zeros(1, 5)))


def test_repr_names_the_cell_and_what_differs():
    assert repr(Recurrent(cells.LIGRU, 3, 4, bias=False)) == "Recurrent(ligru, 3, 4, bias=False)"


def test_stack_of_is_exact_and_shares_storage():
    modules = [kind(4, 5, 2, **extra) for kind, extra in TORCH_CELLS.values()]
    modules += [nn.LSTMCell(4, 5), nn.GRUCell(4, 5), nn.RNNCell(4, 5, nonlinearity="relu")]
    modules += [Recurrent(cells.LIGRU, 4, 5), nn.GRU(4, 5, bidirectional=True, bias=False)]
    for module in modules:
        stack, parameters = stack_of(module)
        own = dict(module.named_parameters())
        assert {t.data_ptr() for t in parameters.values()} == {t.data_ptr() for t in own.values()}
        assert set(parameters) <= set(stack.parameter_shapes())
        for name, tensor in parameters.items():
            assert tuple(tensor.shape) == stack.parameter_shapes()[name]


def test_stack_of_refuses_others():
    with pytest.raises(ArgumentError, match=r"recurrent module \(RNN, LSTM, .*, not Linear"):
        stack_of(nn.Linear(2, 2))


def test_no_warnings_in_normal_use():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        Recurrent(cells.LSTM, 2, 3)(torch.zeros(4, 2))
