"""`to_torch`: the same network again, in torch modules."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from csbrnn import cells
from csbrnn.errors import UnsupportedModelError
from csbrnn.model import Features, PackedModel, run_reference
from csbrnn.model import Recurrent as PackedRecurrent
from csbrnn.nn import Recurrent, pack, to_torch

from .models import everything, random_recurrent

torch.set_num_threads(1)

KINDS = {
    "lstm": nn.LSTM,
    "lstm_projection": nn.LSTM,
    "gru": nn.GRU,
    "rnn_tanh": nn.RNN,
    "rnn_relu": nn.RNN,
}


@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("cell", cells.CELLS.values(), ids=lambda c: c.name)
def test_each_cell(cell, bidirectional):
    rng = np.random.default_rng(0)
    layer = random_recurrent(rng, cell, num_layers=2, bidirectional=bidirectional)
    packed = PackedModel((layer,), Features(3), "rnn")
    module = to_torch(packed)
    assert type(module.rnn) is KINDS.get(cell.name, Recurrent)
    assert not module.training
    module.double()
    xs = torch.randn(5, 2, 3, dtype=torch.float64)
    with torch.no_grad():
        first, states = module(xs[:2])
        second, _ = module(xs[2:], states)
        whole, _ = module(xs)
    expected, after = run_reference(packed, xs.numpy())
    np.testing.assert_allclose(whole.numpy(), expected, atol=1e-12)
    if not bidirectional:
        np.testing.assert_allclose(torch.cat([first, second]).numpy(), expected, atol=1e-12)
    final = module(xs)[1]["rnn"]
    final = final if isinstance(final, tuple) else (final,)
    for ours, theirs in zip(final, after["rnn"].values(), strict=True):
        np.testing.assert_allclose(ours.detach().numpy(), theirs, atol=1e-12)


def test_every_layer_and_back():
    packed = everything(np.random.default_rng(1))
    module = to_torch(packed)
    tokens = torch.randint(0, 6, (5, 2))
    expected, _ = run_reference(packed, tokens.numpy())
    again = pack(module)
    assert {type(layer) for layer in again.layers} == {type(layer) for layer in packed.layers}
    np.testing.assert_array_equal(run_reference(again, tokens.numpy())[0], expected)
    np.testing.assert_allclose(module.double()(tokens)[0].detach().numpy(), expected, atol=1e-12)


def test_shared_weights_stay_shared():
    module = to_torch(everything(np.random.default_rng(1)))
    assert module.net_emb.weight is module.tied.weight


def test_missing_vectors_are_zero():
    rng = np.random.default_rng(2)
    layer = random_recurrent(rng, cells.GRU)
    for drop in (("bias_hh_l0",), ("bias_hh_l0", "bias_ih_l0")):
        kept = {n: p for n, p in layer.parameters.items() if n not in drop}
        packed = PackedModel(
            (PackedRecurrent("rnn", ("input",), layer.stack, kept),), Features(3), "rnn"
        )
        xs = torch.randn(4, 3, dtype=torch.float64)
        y = to_torch(packed).double()(xs)[0].detach().numpy()
        np.testing.assert_allclose(y, run_reference(packed, xs.numpy())[0], atol=1e-12)


def test_the_module_trains_and_leaves_the_packed_model_alone():
    packed = everything(np.random.default_rng(1))
    before = packed.layer("head").weight.to_dense()
    module = to_torch(packed).train()
    optimizer = torch.optim.SGD(module.parameters(), 1.0)
    module(torch.randint(0, 6, (5, 2)))[0].square().sum().backward()
    optimizer.step()
    assert np.array_equal(packed.layer("head").weight.to_dense(), before)
    assert not torch.equal(module.head.weight, torch.from_numpy(before))


def test_an_invalid_model_is_refused():
    with pytest.raises(UnsupportedModelError, match="layers, not 0"):
        to_torch(PackedModel((), Features(3), "rnn"))


def test_a_projection_that_is_not_narrower_is_no_torch_lstm():
    packed = pack(Recurrent(cells.LSTM_PROJECTION, 3, 4, proj_size=4))
    module = to_torch(packed)
    (recurrent,) = (m for m in module.modules() if isinstance(m, Recurrent))
    assert recurrent.stack.proj_size == 4
    xs = torch.randn(5, 3)
    expected, _ = run_reference(packed, xs.numpy())
    with torch.no_grad():
        got = module(xs[:, None])[0][:, 0]
    np.testing.assert_allclose(got.numpy(), expected, atol=1e-6)
