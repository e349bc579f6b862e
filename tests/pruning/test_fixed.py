"""Training for the accelerator's weights: what was trained is what ships, to the bit."""

import numpy as np
import pytest
import torch

from csbrnn.nn import pack
from csbrnn.numerics import PRECISIONS
from csbrnn.pruning import Gradual, prune_
from csbrnn.pruning.rounding import rounded

from .models import Tagger, batch, recipe, train


@pytest.mark.parametrize("name", ["fixed16", "fixed12"])
def test_pruned_and_trained_in_fixed_point(name):
    torch.manual_seed(0)
    precision, model = PRECISIONS[name], Tagger()
    pruner = prune_(model, recipe(Gradual(0, 2, 1), precision=name))
    train(model, torch.optim.Adam(model.parameters(), lr=1e-2), pruner, 4)
    x, _ = batch(0)
    trained = model(x)
    pruner.finalize()
    assert torch.equal(model(x), trained)
    packed = pack(model)
    assert packed.precision == name
    weight = model.encoder.weight_hh_l0.detach()
    stored = packed.matrices["encoder/weight_hh_l0"]
    np.testing.assert_array_equal(stored.to_dense(), weight.numpy())
    assert torch.equal(rounded(weight, precision), weight)
    assert stored.precision is precision
