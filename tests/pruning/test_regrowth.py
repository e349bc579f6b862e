"""Dropped weights come back where the loss asks for them."""

import copy
import itertools

import pytest
import torch

from csbrnn.errors import CsbrnnError, RecipeError
from csbrnn.patterns import CSB, Block, RowColumn, Unstructured
from csbrnn.pruning import Gradual, OneShot, Recipe, prune_
from csbrnn.pruning.regrowth import regrowth

from .models import Tagger, batch, recipe, task_loss, train


def sgd(model):
    return torch.optim.SGD(model.parameters(), lr=0.1)


def run(method, pattern=None, steps=6, **options):
    model = Tagger()
    pruner = prune_(model, recipe(method, pattern=pattern or Unstructured(), **options))
    masks = []
    optimizer = sgd(model)
    for number in range(steps):
        train(model, optimizer, pruner, 1, number)
        if pruner._state.dropped[1] is not None:
            masks.append(~pruner._state.dropped[1])
    return model, pruner, masks


def came_back(masks):
    return sum(int((now & ~before).sum()) for before, now in itertools.pairwise(masks))


def test_without_it_weights_only_go():
    assert came_back(run(Gradual(0, 6, 2))[2]) == 0


@pytest.mark.parametrize("pattern", [Unstructured(), CSB((4, 4)), Block()], ids=str)
def test_weights_come_back(pattern):
    method = Gradual(0, 2, 1, regrow=1.0, regrow_steps=4)
    model, pruner, masks = run(method, pattern)
    assert came_back(masks) > 0
    assert pruner.report().density <= 0.25
    assert pruner.complete
    weight = model.encoder.weight_hh_l0
    assert torch.equal(pattern.project(weight, 0.25), weight)


def test_single_weights_come_back_by_their_gradient():
    """RigL's choice: the dropped weights with the largest gradients, in the place of the least."""
    model = Tagger()
    pruner = prune_(model, recipe(OneShot(), pattern=Unstructured()))
    state = pruner._state
    state.wants_gradients = True
    x, labels = batch(0)
    task_loss(model(x), labels).backward()
    weight, dropped = model.encoder.weight_hh_l0, state.dropped[1]
    values = regrowth(state, 0.5)[1]
    assert torch.equal(values[~dropped], weight[~dropped])
    ratio = (values / weight.grad)[dropped]
    torch.testing.assert_close(ratio, ratio[:1].expand_as(ratio))
    assert ratio[0] < 0
    rms = values[dropped].square().mean().sqrt() / weight[~dropped].square().mean().sqrt()
    assert float(rms.detach()) == pytest.approx(0.5)


def test_the_gradient_is_dense_only_when_it_is_read():
    model = Tagger()
    method = Gradual(0, 8, 4, regrow=0.5)
    pruner = prune_(model, recipe(method, pattern=Unstructured()))
    dense = []
    for number in range(9):
        before = pruner._state.dropped[1]
        train(model, sgd(model), pruner, 1, number)
        gradient = model.encoder.weight_hh_l0.grad
        dense.append(before is None or bool(gradient[before].any()))
    # Nothing is dropped up to step 4; step 8 prunes again, by the gradient of the eighth.
    assert dense == [True] * 4 + [False] * 3 + [True, False]


def test_regrown_weights_begin_with_one_step_from_zero():
    model, _, masks = run(Gradual(0, 1, 1, regrow=1.0, regrow_steps=1), steps=2)
    new = masks[1] & ~masks[0]
    assert new.any()
    weight = model.encoder.weight_hh_l0
    torch.testing.assert_close(weight[new], -0.1 * weight.grad[new])


def test_units_come_back_too():
    model = Tagger()
    method = Gradual(0, 1, 1, regrow=2.0, regrow_steps=6)
    pruner = prune_(model, recipe(method, pattern=RowColumn(), scope="units"))
    optimizer, kept = sgd(model), []
    for number in range(8):
        train(model, optimizer, pruner, 1, number)
        kept.append(model.encoder.weight_hh_l0.detach().abs().sum(0) > 0)
    assert pruner.report().density <= 0.25


def test_resuming_before_a_pruning():
    """The dense gradient is asked for in the step before it, which a checkpoint may fall into."""
    plan = recipe(Gradual(0, 4, 2, regrow=1.0, regrow_steps=4), pattern=Unstructured())
    model = Tagger()
    optimizer, pruner = sgd(model), prune_(model, plan)
    for number in range(5):
        train(model, optimizer, pruner, 1, number)
    states = [copy.deepcopy(part.state_dict()) for part in (model, optimizer, pruner)]
    straight = train(model, optimizer, pruner, 4, 5)
    resumed = Tagger()
    parts = (resumed, sgd(resumed), prune_(resumed, plan))
    for part, state in zip(parts, states, strict=True):
        part.load_state_dict(state)
    assert train(resumed, parts[1], parts[2], 4, 5) == straight
    assert torch.equal(resumed.encoder.weight_hh_l0, model.encoder.weight_hh_l0)


def test_gradients_that_are_not_finite_change_nothing():
    model = Tagger()
    pruner = prune_(model, recipe(OneShot(), pattern=Unstructured()))
    for parameter in model.encoder.parameters():
        parameter.grad = torch.full_like(parameter, float("nan"))
    assert regrowth(pruner._state, 1.0) is None


def test_refusals():
    model = Tagger()
    pruner = prune_(model, recipe(Gradual(0, 1, 1, regrow=1.0, regrow_steps=2)))
    pruner.step()
    with pytest.raises(CsbrnnError, match=r"encoder.weight_ih_l0 in pruner.step\(\), and there is"):
        pruner.step()
    for settings, message in (
        ({"regrow": -1}, "regrow must be a number, at least 0, not -1"),
        ({"regrow_steps": 3}, "regrow_steps without regrow does nothing"),
        ({"regrow": 1, "regrow_steps": 0.5}, "regrow_steps must be a whole number of steps"),
    ):
        with pytest.raises(RecipeError, match=message):
            Gradual(0, 9, **settings)


def test_plain_data():
    plan = Recipe(Block(), 0.25, Gradual(0, 9, 3, regrow=0.3, regrow_steps=6))
    assert Recipe.from_dict(plan.to_dict()) == plan
    assert plan.method.total_steps == 15
    assert [plan.method.phase(step) for step in (0, 9, 14, 15)] == [
        "pruning",
        "regrowing",
        "regrowing",
        "complete",
    ]
