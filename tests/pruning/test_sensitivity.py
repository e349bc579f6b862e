import dataclasses

import pytest
import torch

from csbrnn.errors import ArgumentError, RecipeError
from csbrnn.patterns import CSB, BlockCirculant, Unstructured
from csbrnn.pruning import (
    ADMM,
    Gradual,
    OneShot,
    Recipe,
    fisher_sensitivity,
    loss_sensitivity,
    prune_,
)

from .models import Tagger, batch, recipe, task_loss, train


def losses(model, count=3):
    for number in range(count):
        x, labels = batch(number)
        yield task_loss(model(x), labels)


def test_fisher_is_the_mean_squared_gradient():
    model = Tagger()
    found = fisher_sensitivity(model, recipe(), losses(model))
    raw = {}
    for name, weight in model.encoder.named_parameters():
        if "weight" in name:
            squares = torch.zeros(4)
            for loss in losses(model):
                (gradient,) = torch.autograd.grad(loss, weight)
                squares += gradient.view(4, -1).square().mean(1) / 3
            raw["encoder." + name] = squares
    largest = max(float(values.max()) for values in raw.values())
    raw = {name: values.clamp(min=1e-3 * largest) for name, values in raw.items()}
    scale = (16 * raw["encoder.weight_hh_l0"].mean() + 8 * raw["encoder.weight_ih_l0"].mean()) / 24
    for name, values in raw.items():
        torch.testing.assert_close(torch.tensor(found[name]), values / scale)
    assert model.encoder.weight_hh_l0.grad is None


def test_loss_sensitivity_is_measured_piece_by_piece():
    """On a loss that is a weighted sum of squares, the factors are its weights."""
    model = Tagger()
    factors = {"encoder.weight_ih_l0": [1.0, 2, 3, 4], "encoder.weight_hh_l0": [8.0, 0, -1, 16]}

    def evaluate():
        return sum(
            -factor * float(gate.detach().square().sum())
            for name, values in factors.items()
            for factor, gate in zip(values, model.get_parameter(name).chunk(4), strict=True)
        )

    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    found = loss_sensitivity(model, recipe(pattern=Unstructured()), evaluate)
    assert all(torch.equal(p, before[n]) for n, p in model.named_parameters())
    ih, hh = found["encoder.weight_ih_l0"], found["encoder.weight_hh_l0"]
    assert [value / ih[0] for value in ih] == pytest.approx([1, 2, 3, 4], rel=1e-4)
    # A loss that falls when weights go counts as hardly any effect, not as a wish.
    assert [value / ih[0] for value in hh] == pytest.approx([8, 0.016, 0.016, 16], rel=1e-4)
    mean = (8 * sum(ih) / 4 + 16 * sum(hh) / 4) / 24
    assert mean == pytest.approx(1)


def test_sensitive_gates_keep_more():
    model = Tagger()
    plan = recipe(pattern=Unstructured(), scope="global")
    sensitivities = {"*_hh_*": (9.0, 1.0, 1.0, 1.0), "*": 1.0}
    prune_(model, dataclasses.replace(plan, sensitivities=sensitivities))
    gates = [float((gate != 0).float().mean()) for gate in model.encoder.weight_hh_l0.chunk(4)]
    assert gates[0] > 2 * max(gates[1:])
    weights = torch.cat(
        [w.detach().flatten() for w in (model.encoder.weight_ih_l0, model.encoder.weight_hh_l0)]
    )
    assert weights.count_nonzero() == weights.numel() / 4


@pytest.mark.parametrize(
    "method", [Gradual(0, 4, 2), ADMM(4, 2, interval=2)], ids=["gradual", "admm"]
)
def test_every_method_takes_them(method):
    model = Tagger()
    plan = recipe(method, scope="global", sensitivities={"*_hh_*": 100.0, "*_ih_*": 1.0})
    pruner = prune_(model, plan)
    train(model, torch.optim.Adam(model.parameters(), lr=1e-2), pruner, 6)
    ih, hh = pruner.report().matrices
    assert pruner.report().density == 0.25
    assert hh.density > 3 * ih.density


def test_plain_data():
    plan = recipe(scope="global", sensitivities={"*_hh_*": [1, 2, 3, 4.5], "*": 2})
    assert plan.sensitivities == {"*_hh_*": (1.0, 2.0, 3.0, 4.5), "*": (2.0,)}
    assert Recipe.from_dict(plan.to_dict()) == plan
    assert "sensitivities" not in recipe().to_dict()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"sensitivities": {"*": 2.0}}, "sensitivities divide one budget .* 'matrix' shares none"),
        ({"scope": "global", "sensitivities": {"*": 0}}, "must be a positive number, or one for"),
        ({"scope": "global", "sensitivities": {"*": ()}}, "must be a positive number, or one for"),
        ({"scope": "global", "sensitivities": 3}, "sensitivities must be a dictionary"),
        (
            {
                "scope": "global",
                "sensitivities": {"*": 2},
                "pattern": BlockCirculant(4),
                "method": ADMM(20, 1),
            },
            "sensitivities decide which weights a mask keeps, and block_circulant",
        ),
    ],
)
def test_refused_recipes(options, message):
    with pytest.raises(RecipeError, match=message):
        recipe(**options)


def test_refusals():
    model = Tagger()
    with pytest.raises(ArgumentError, match="needs the losses of some batches"):
        fisher_sensitivity(model, recipe(), [])
    with pytest.raises(ArgumentError, match="must return a finite loss, not nan"):
        loss_sensitivity(model, recipe(), lambda: float("nan"))
    with pytest.raises(RecipeError, match=r"block_circulant.* chooses no weights"):
        loss_sensitivity(model, recipe(ADMM(20, 1), pattern=BlockCirculant(4)), lambda: 0.0)
    plan = recipe(OneShot(), pattern=CSB((4, 4)), scope="global", sensitivities={"*": (1, 2)})
    with pytest.raises(RecipeError, match="one for each of its 4 gates, not 2"):
        prune_(model, plan)
    plan = recipe(scope="global", sensitivities={"decoder.*": 2})
    with pytest.raises(RecipeError, match=r"sensitivities: 'decoder.\*' matches none"):
        prune_(model, plan)
