import copy
import math

import pytest
import torch

from csbrnn.errors import ArgumentError, RecipeError
from csbrnn.patterns import CSB, Block, BlockCirculant, Unstructured
from csbrnn.pruning import GroupLasso, OneShot, Recipe, ThresholdPruning, lasso_strength, prune_

from .models import Tagger, batch, recipe, task_loss, train


def test_the_penalty_is_lambda_times_the_norms():
    model = Tagger()
    pruner = prune_(model, recipe(GroupLasso(0.5, 3, begin=1), pattern=Block((4, 2))))
    assert float(pruner.penalty()) == 0
    pruner.step()
    blocks = [
        weight.detach().unfold(0, 4, 4).unfold(1, 2, 2).flatten(2)
        for weight in (model.encoder.weight_ih_l0, model.encoder.weight_hh_l0)
    ]
    expected = sum(math.sqrt(8) * block.norm(dim=2).sum() for block in blocks)
    torch.testing.assert_close(pruner.penalty().detach(), 0.5 * expected)


def test_phases_and_densities_alone():
    model = Tagger()
    pruner = prune_(model, recipe(GroupLasso(0.01, 3, 2, begin=1)))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    phases, densities = [pruner.phase], []
    for number in range(7):
        train(model, optimizer, pruner, 1, number)
        phases.append(pruner.phase)
        densities.append(pruner.report().density)
    assert phases == ["dense"] + ["lasso"] * 3 + ["retraining"] * 2 + ["complete"] * 2
    assert densities == [1] * 3 + [0.25] * 4


def test_phases_with_a_threshold():
    model = Tagger()
    method = GroupLasso(0.01, 6, 1, pruning=ThresholdPruning(1, 2, 5, 1))
    pruner = prune_(model, recipe(method))
    assert method.retraining_from == 5
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    phases = [pruner.phase]
    for number in range(7):
        train(model, optimizer, pruner, 1, number)
        phases.append(pruner.phase)
    assert phases == ["lasso"] + ["pruning"] * 4 + ["lasso", "retraining", "complete"]
    assert pruner.report().density == 0.25


def test_it_drives_groups_to_zero():
    """Without a task: what the penalty leaves at the end is what pruning keeps anyway."""
    model = Tagger()
    plan = recipe(pattern=Block())
    strength = lasso_strength(model, plan, steps=200, learning_rate=0.1, adaptive=False)
    pruner = prune_(model, recipe(GroupLasso(strength, 200), pattern=Block()))
    optimizer = torch.optim.SGD(model.encoder.parameters(), lr=0.1)
    weight = model.encoder.weight_hh_l0
    before = weight.detach().norm()
    for _ in range(199):
        optimizer.zero_grad()
        pruner.loss(torch.zeros(())).backward()
        optimizer.step()
        pruner.step()
    lost = weight.detach() - Block().project(weight, 0.25)
    assert lost.norm() < 0.15 * before  # all of the dropped three quarters, but for a last step
    kept = Block().project(weight, 0.25).unfold(0, 4, 4).unfold(1, 4, 4).flatten(2).norm(dim=2)
    assert (kept > 0).sum() == 16


def test_the_strength_for_adam_is_that_for_sgd_times_the_gradient():
    model = Tagger()
    plan = recipe(pattern=CSB((8, 8)))
    with pytest.raises(ArgumentError, match=r"weight_ih_l0 must have a finite gradient"):
        lasso_strength(model, plan, steps=10, learning_rate=0.1)
    x, labels = batch(0)
    task_loss(model(x), labels).backward()
    for parameter in model.parameters():
        parameter.grad.fill_(0.01)
    adam = lasso_strength(model, plan, steps=10, learning_rate=0.1)
    sgd = lasso_strength(model, plan, steps=10, learning_rate=0.1, adaptive=False)
    assert adam == pytest.approx(0.01 * sgd)
    with pytest.raises(ArgumentError, match="steps must be a positive integer"):
        lasso_strength(model, plan, steps=0, learning_rate=0.1)
    with pytest.raises(RecipeError, match=r"unstructured\(\) has no groups"):
        lasso_strength(model, recipe(pattern=Unstructured()), steps=1, learning_rate=1.0)


def test_plain_data():
    method = GroupLasso(1e-4, 100, pruning=ThresholdPruning(0, 20, 40, 10))
    plan = Recipe(Block(), 0.25, method)
    data = plan.to_dict()
    assert data["method"]["pruning"]["ramp"] == 20
    assert Recipe.from_dict(data) == plan
    assert "pruning" not in Recipe(Block(), 0.25, GroupLasso(1e-4, 100)).to_dict()["method"]


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: GroupLasso(0, 5), "strength must be a positive number, not 0"),
        (lambda: GroupLasso(1e-3, 0), "lasso_steps must be a whole number of steps, at least 1"),
        (lambda: GroupLasso(1e-3, 5, pruning=3), "pruning must be a ThresholdPruning or None"),
        (lambda: GroupLasso(1e-3, 5, pruning={"stop": 3}), "pruning has the settings begin, ramp"),
        (
            lambda: GroupLasso(1e-3, 5, pruning=ThresholdPruning(0, 1, 6)),
            "ends after step 6, and the penalty after 5",
        ),
        (
            lambda: Recipe(Unstructured(), 0.5, GroupLasso(1e-3, 5)),
            r"needs groups of weights that go together, and unstructured\(\) drops single weights",
        ),
        (
            lambda: Recipe(BlockCirculant(), 0.125, GroupLasso(1e-3, 5)),
            "trains under a mask, and block_circulant.* is none; use ADMM",
        ),
    ],
)
def test_refusals(build, message):
    with pytest.raises(RecipeError, match=message):
        build()


def test_the_strength_is_of_the_recipe_alone():
    """The method of the recipe plays no part."""
    model = Tagger()
    one, other = (
        lasso_strength(model, recipe(m, pattern=Block()), steps=5, learning_rate=1, adaptive=False)
        for m in (OneShot(), GroupLasso(1.0, 5))
    )
    assert one == other


def test_the_penalty_is_float32_in_mixed_precision():
    for model in (Tagger(), Tagger().to(torch.bfloat16)):
        pruner = prune_(model, recipe(GroupLasso(0.5, 3), pattern=Block()))
        outside = pruner.penalty()
        with torch.autocast("cpu", dtype=torch.bfloat16):
            inside = pruner.penalty()
        assert inside.dtype == torch.float32
        assert torch.equal(inside, outside)
        inside.backward()
        assert model.encoder.weight_hh_l0.grad.dtype == model.encoder.weight_hh_l0.dtype
        pruner.detach()


def test_the_penalty_follows_a_model_to_another_dtype():
    model = Tagger()
    pruner = prune_(model, recipe(GroupLasso(0.5, 3), pattern=Block()))
    single = float(pruner.penalty().detach())
    model.double()
    double = pruner.penalty()
    assert double.dtype == torch.float64
    assert float(double.detach()) == pytest.approx(single, rel=1e-5)


def test_copies_are_plain():
    model = Tagger()
    pruner = prune_(model, recipe(GroupLasso(0.5, 1), pattern=Block()))
    pruner.penalty()
    pruner.step()
    twin = copy.deepcopy(model)
    x, labels = batch(0)
    task_loss(twin(x), labels).backward()
    assert twin.encoder.weight_hh_l0.grad.all()
