"""Gradual, one-shot and ADMM: what they do at which step."""

import dataclasses
from typing import ClassVar

import pytest
import torch

from csbrnn.errors import RecipeError
from csbrnn.patterns import CSB, NM, BlockCirculant, Pattern, RowColumn, Unstructured
from csbrnn.pruning import ADMM, Gradual, OneShot, Recipe, prune_
from csbrnn.pruning.state import PruningState
from csbrnn.pruning.targets import find_targets

from .models import Tagger, recipe, task_loss, train


@dataclasses.dataclass(frozen=True)
class Averaging(Pattern):
    """A projection that is no mask: every row becomes constant."""

    name: ClassVar[str] = "averaging"

    def unit(self, shape):
        return shape[1]

    def _project(self, weights, scores, density):
        return [weight.mean(1, keepdim=True).expand_as(weight).clone() for weight in weights]


def sgd(model, **options):
    return torch.optim.SGD(model.parameters(), lr=0.1, **options)


def test_one_shot_prunes_at_once():
    model = Tagger()
    weight = model.encoder.weight_hh_l0
    expected = CSB((4, 4)).project(weight, 0.25)
    pruner = prune_(model, recipe(OneShot()))
    assert pruner.complete
    assert model.encoder.weight_hh_l0 is weight
    assert torch.equal(weight, expected)


def test_one_shot_after_a_step():
    model = Tagger()
    pruner = prune_(model, recipe(OneShot(at=2)))
    densities = []
    for number in range(4):
        train(model, sgd(model), pruner, 1, number)
        densities.append(pruner.report().density)
    assert densities == [1, 0.25, 0.25, 0.25]


def test_gradual_follows_its_schedule():
    model = Tagger()
    pruner = prune_(model, recipe(Gradual(2, 8, 3), pattern=Unstructured()))
    densities, phases = [], []
    for number in range(10):
        train(model, sgd(model, momentum=0.9, weight_decay=0.1), pruner, 1, number)
        densities.append(pruner.report().density)
        phases.append(pruner.phase)
    halfway = 0.25 + 0.75 * 0.125
    expected = [1] * 4 + [halfway] * 3 + [0.25] * 3
    assert densities == pytest.approx(expected, abs=1e-3)
    assert phases == ["dense"] + ["pruning"] * 6 + ["complete"] * 3


def admm_state(model, **options):
    state = PruningState(find_targets(model, recipe(**options)), "matrix")
    return state, CSB((4, 4))


@pytest.mark.parametrize("pattern", [Unstructured(), CSB((4, 4)), RowColumn()], ids=str)
def test_what_gradual_pruning_dropped_never_comes_back(pattern):
    """Adam's momentum moves a dropped weight off zero before the next pruning looks at it."""
    model = Tagger()
    pruner = prune_(model, recipe(Gradual(0, 30, 1), pattern=pattern))
    optimizer = torch.optim.Adam(model.parameters(), lr=0.03)
    dropped = torch.zeros_like(model.encoder.weight_hh_l0, dtype=torch.bool)
    for number in range(30):
        train(model, optimizer, pruner, 1, number)
        now = model.encoder.weight_hh_l0.detach() == 0
        assert not bool((dropped & ~now).any())
        dropped = now


def test_admm_is_the_textbook_iteration():
    """Against Z = project(W + U), U += W - Z written out, over one change of rho."""
    model = torch.nn.RNN(8, 8)
    method = ADMM(8, 4, interval=2, rho=0.5, rho_schedule=(1, 2))
    state, pattern = admm_state(model)
    method.prepare(state)
    weight = model.weight_hh_l0
    Z, U = pattern.project(weight, 0.25), torch.zeros_like(weight)
    for step in range(1, 8):
        with torch.no_grad():
            for parameter in model.parameters():
                parameter += 0.1 * torch.randn_like(parameter)
        state.step = step
        method.step(state)
        if step % 2 == 0:
            Z = pattern.project(weight + U, 0.25)
            U = U + weight.detach() - Z
        if step == 4:  # rho doubles: the multiplier rho * U must not
            U = U / 2
        torch.testing.assert_close(state.variables["dual"][1], U)
        torch.testing.assert_close(state.variables["anchor"][1], Z - U)
        other = model.weight_ih_l0 - state.variables["anchor"][0]
        squares = (weight - Z + U).square().sum() + other.square().sum()
        torch.testing.assert_close(method.penalty(state), (0.5 if step < 4 else 1.0) / 2 * squares)
    state.step = 8
    expected = pattern.project(weight, 0.25)
    method.step(state)
    assert torch.equal(weight, expected)
    assert not state.variables
    assert method.penalty(state) is None


def test_density_of_z_falls_along_a_ramp():
    model = torch.nn.RNN(8, 8)
    method = ADMM(12, 4, begin=2, interval=2, ramp_steps=8)
    state, _ = admm_state(model)
    densities = []
    for step in range(13):
        state.step = step
        method.step(state)
        if step >= 2:
            z = state.variables["anchor"][1] + state.variables["dual"][1]
            densities.append(float((z.abs() > 1e-6).float().mean()))
    kept = [0.25 + 0.75 * (1 - n / 4) ** 3 for n in (0, 1, 2, 3, 4, 4)]
    assert densities[::2] == pytest.approx(kept, abs=1 / 64)
    assert densities[1::2] == densities[:-1:2]  # updates are two steps apart


def test_rho_rises_over_equal_parts():
    method = ADMM(90, 0, begin=10, rho=1.0)
    assert [method.rho_at(step) for step in (0, 10, 39, 40, 69, 70, 99)] == [1, 1, 1, 3, 3, 10, 10]


def test_admm_phases_and_density():
    model = Tagger()
    pruner = prune_(model, recipe(ADMM(4, 3, begin=2, interval=2)))
    phases, densities = [pruner.phase], []
    for number in range(10):
        train(model, sgd(model), pruner, 1, number)
        phases.append(pruner.phase)
        densities.append(pruner.report().density)
    assert phases == ["dense"] * 2 + ["admm"] * 4 + ["retraining"] * 3 + ["complete"] * 2
    assert densities == [1] * 5 + [0.25] * 5


def test_admm_pulls_weights_to_the_pattern():
    """With a strong penalty, projecting at the end takes almost nothing away."""
    model = Tagger()
    method = ADMM(300, 0, interval=10, rho=0.5)
    pruner = prune_(model, recipe(method))
    train(model, sgd(model), pruner, 299)
    weight = model.encoder.weight_hh_l0
    lost = (weight - CSB((4, 4)).project(weight, 0.25)).square().sum() / weight.square().sum()
    assert lost < 1e-3


def test_a_projection_that_is_no_mask():
    model = Tagger()
    pruner = prune_(model, recipe(ADMM(2, 2, interval=1), pattern=Averaging()))
    train(model, sgd(model, momentum=0.9), pruner, 4)
    weight = model.encoder.weight_hh_l0
    torch.testing.assert_close(weight, weight[:, :1].expand_as(weight))
    assert weight.any()


@pytest.mark.parametrize("scope", ["matrix", "gate", "global"])
@pytest.mark.parametrize("density", [1 / 4, 1 / 8])
def test_block_circulant(scope, density):
    """Training goes on inside the subspace: gradients are averaged, and blocks that went stay."""
    model = Tagger()
    plan = recipe(ADMM(4, 6, interval=2, rho=0.1), density, BlockCirculant(4), scope=scope)
    pruner = prune_(model, plan)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2, weight_decay=0.01)
    train(model, optimizer, pruner, 4)
    weight, gone = model.encoder.weight_hh_l0, model.encoder.weight_hh_l0 == 0
    assert int(gone.sum()) > 0 if density == 1 / 8 else not gone.any()
    before = weight.detach().clone()
    train(model, optimizer, pruner, 6, 4)
    assert torch.equal(weight == 0, gone)
    for gradient in (weight.grad, weight):
        assert torch.equal(BlockCirculant(4).project(gradient, 1 / 4), gradient)
    assert not torch.equal(weight, before)
    report = pruner.report()
    assert 0.9 * density < report.density <= density
    pruner.finalize()
    assert torch.equal(BlockCirculant(4).project(weight, 1 / 4), weight)


def test_block_circulant_beside_a_mask():
    model = Tagger()
    plan = recipe(ADMM(2, 3, interval=1), patterns={"*_hh_*": BlockCirculant(4)})
    train(model, sgd(model, momentum=0.9), prune_(model, plan), 5)
    circulant, masked = model.encoder.weight_hh_l0, model.encoder.weight_ih_l0
    assert torch.equal(BlockCirculant(4).project(circulant, 1 / 4), circulant)
    assert masked.count_nonzero() == masked.numel() / 4


def test_gradients_that_are_not_finite_are_left_to_the_loss_scaler():
    model = Tagger()
    pruner = prune_(model, recipe(ADMM(2, 0, interval=1), pattern=BlockCirculant(4)))
    train(model, sgd(model), pruner, 2)
    model.zero_grad()
    (model.encoder.weight_hh_l0 * float("inf")).sum().backward()
    assert not model.encoder.weight_hh_l0.grad.isfinite().any()


@pytest.mark.parametrize(
    ("pattern", "message"),
    [
        (BlockCirculant(8), r"block_circulant\(block=8\) has a density of 0.125 or less, and 0.5"),
        (NM(1, 4), r"n_m\(n=1,m=4\) has a density of 0.25 or less, and 0.5 is more; give"),
    ],
)
def test_densities_that_a_pattern_does_not_have(pattern, message):
    with pytest.raises(RecipeError, match=message):
        Recipe(pattern, 0.5, ADMM(90, 10))
    plan = Recipe(CSB(), 0.5, ADMM(90, 10), patterns={"encoder.*": pattern})
    with pytest.raises(RecipeError, match=r"weight_ih_l0: .* or less, not 0.5"):
        prune_(Tagger(), plan)


@pytest.mark.parametrize("scope", ["matrix", "gate", "global"])
def test_scopes(scope):
    model = Tagger()
    with torch.no_grad():
        model.encoder.weight_hh_l0[:16] *= 5  # the input gate
        model.encoder.weight_ih_l0 *= 0.1
    report = prune_(model, recipe(scope=scope)).report()
    ih, hh = (matrix.density for matrix in report.matrices)
    input_gate = float((model.encoder.weight_hh_l0[:16] != 0).float().mean())
    assert report.density == 0.25
    assert (ih == hh == 0.25) == (scope != "global")
    assert (input_gate == 0.25) == (scope == "gate")


def test_half_precision_weights():
    model = Tagger().to(torch.bfloat16)
    pruner = prune_(model, recipe(ADMM(4, 0, interval=1, rho=0.1)))
    assert pruner.penalty().dtype == torch.float32
    pruner.loss(task_loss(model(torch.randn(2, 3, 8).bfloat16()), torch.zeros(2, 3).long()))
    for _ in range(4):
        pruner.loss(torch.zeros(()))
        pruner.step()
    assert pruner.report().density == 0.25
    assert model.encoder.weight_hh_l0.dtype == torch.bfloat16
