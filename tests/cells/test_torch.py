"""The built-in cells that PyTorch has, against PyTorch.

1e-12: float64, sums of at most a few dozen terms of order one, in another order.
"""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from csbrnn.cells import (
    GRU,
    LSTM,
    LSTM_PROJECTION,
    RNN_RELU,
    RNN_TANH,
    Stack,
    cell_step,
    run_stack,
    split_parts,
)

STACKS = {
    "rnn_tanh": (RNN_TANH, torch.nn.RNN, {}),
    "rnn_relu": (RNN_RELU, torch.nn.RNN, {"nonlinearity": "relu"}),
    "lstm": (LSTM, torch.nn.LSTM, {}),
    "lstm_projection": (LSTM_PROJECTION, torch.nn.LSTM, {"proj": True}),
    "gru": (GRU, torch.nn.GRU, {}),
}
STEPS = {
    "rnn_tanh": (RNN_TANH, torch.nn.RNNCell, {}),
    "rnn_relu": (RNN_RELU, torch.nn.RNNCell, {"nonlinearity": "relu"}),
    "lstm": (LSTM, torch.nn.LSTMCell, {}),
    "gru": (GRU, torch.nn.GRUCell, {}),
}


def close(ours, theirs):
    np.testing.assert_allclose(ours, theirs.detach().numpy(), rtol=1e-12, atol=1e-12)


def arrays(module):
    return {name: p.detach().numpy() for name, p in module.named_parameters()}


@pytest.mark.parametrize("name", STACKS)
@settings(max_examples=25, deadline=None, derandomize=True)
@given(
    input_size=st.integers(1, 7),
    hidden_size=st.integers(2, 7),
    num_layers=st.integers(1, 3),
    bidirectional=st.booleans(),
    bias=st.booleans(),
    steps=st.integers(1, 5),
    batch=st.sampled_from([(), (1,), (3,)]),
    given_states=st.booleans(),
    seed=st.integers(0, 99),
    data=st.data(),
)
def test_stacks(
    name,
    input_size,
    hidden_size,
    num_layers,
    bidirectional,
    bias,
    steps,
    batch,
    given_states,
    seed,
    data,
):
    torch.manual_seed(seed)
    cell, kind, extra = STACKS[name]
    options = dict(extra)
    proj_size = data.draw(st.integers(1, hidden_size - 1)) if options.pop("proj", False) else 0
    if proj_size:
        options["proj_size"] = proj_size
    module = kind(
        input_size,
        hidden_size,
        num_layers,
        bias=bias,
        bidirectional=bidirectional,
        dtype=torch.float64,
        **options,
    )
    stack = Stack(cell, input_size, hidden_size, proj_size, num_layers, bidirectional)
    if bias:
        assert stack.parameter_shapes() == {k: v.shape for k, v in arrays(module).items()}
    xs = torch.randn(steps, *batch, input_size, dtype=torch.float64)
    states = {
        s: torch.randn(count, *batch, length, dtype=torch.float64)
        for s, (count, length) in stack.state_shapes().items()
    }
    start = (tuple(states.values()) if len(states) > 1 else states["h"]) if given_states else None
    expected, after = module(xs, start)
    ys, final = run_stack(
        stack,
        arrays(module),
        xs.numpy(),
        {s: v.numpy() for s, v in states.items()} if given_states else None,
    )
    close(ys, expected)
    for state, value in zip(states, after if len(states) > 1 else (after,), strict=True):
        close(final[state], value)


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("name", STEPS)
def test_single_steps(name, bias):
    torch.manual_seed(0)
    cell, kind, options = STEPS[name]
    module = kind(5, 4, bias=bias, dtype=torch.float64, **options)
    parts = split_parts(cell, arrays(module))
    x = torch.randn(3, 5, dtype=torch.float64)
    states = {s: torch.randn(3, 4, dtype=torch.float64) for s in cell.states}
    expected = module(x, tuple(states.values()) if len(states) > 1 else states["h"])
    after = cell_step(cell, parts, x.numpy(), {s: v.numpy() for s, v in states.items()})
    for state, value in zip(states, expected if len(states) > 1 else (expected,), strict=True):
        close(after[state], value)
