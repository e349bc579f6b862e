import pytest
import torch

from csbrnn.errors import RecipeError
from csbrnn.patterns import CSB, Block, BlockCirculant, Unstructured
from csbrnn.pruning import Recipe, ThresholdPruning, prune_

from .models import Tagger, recipe, train


def still(model):
    """An optimizer that leaves the weights where they are."""
    return torch.optim.SGD(model.parameters(), lr=0.0)


def test_the_start_slope_is_the_papers():
    begin, ramp, end, frequency, q = 100, 400, 1000, 20, 0.7
    method = ThresholdPruning(begin, ramp, end, frequency)
    theta = 2 * q * frequency / (2 * (ramp - begin) + 3 * (end - ramp))
    phi = 1.5 * theta
    for step in (100, 240, 400):
        assert method.share(step) * q == pytest.approx(theta * (step - begin) / frequency)
    for step in (440, 980, 1000):
        expected = (theta * (ramp - begin) + phi * (step - ramp)) / frequency
        assert method.share(step) * q == pytest.approx(expected)
    assert method.share(1000) == method.share(2000) == 1
    assert method.share(3) == 0


def test_when_it_prunes():
    method = ThresholdPruning(2, 4, 9, 3)
    assert [step for step in range(12) if method.is_due(step)] == [5, 8, 9]
    assert [method.phase(step) for step in (1, 2, 8, 9)] == [
        "dense",
        "pruning",
        "pruning",
        "complete",
    ]


@pytest.mark.parametrize("scope", ["matrix", "gate", "global"])
def test_groups_go_as_the_threshold_passes_them(scope):
    """On weights that stand still, what is kept is what reaches the threshold."""
    model = Tagger()
    weight = model.encoder.weight_hh_l0
    dense = weight.detach().clone()
    method = ThresholdPruning(0, 10, 10, 1)
    pruner = prune_(model, recipe(method, pattern=Unstructured(), scope=scope))
    final = float(pruner._state.variables["threshold"][1])
    seen = []
    for step in range(1, 11):
        train(model, still(model), pruner, 1, step)
        if scope == "matrix" and step < 10:
            expected = (dense.abs() >= method.share(step) * final).sum()
            assert abs(int(weight.count_nonzero()) - int(expected)) <= 1
        seen.append(pruner.report().density)
    assert seen == sorted(seen, reverse=True)
    assert len(set(seen)) > 5
    assert seen[-1] == 0.25


def test_blocks_go_by_their_largest_weight():
    model = Tagger()
    with torch.no_grad():
        for weight in (model.encoder.weight_ih_l0, model.encoder.weight_hh_l0):
            weight.fill_(0.1)
            weight[:4, :4] = 0.9
    pruner = prune_(
        model, recipe(ThresholdPruning(0, 1, 4, 1, final_threshold=0.4), pattern=Block())
    )
    train(model, still(model), pruner, 1)
    # The first threshold is 0.4 / 5.5: below every block's largest weight.
    assert pruner.report().density == 1
    train(model, still(model), pruner, 1)
    assert pruner.report().density == 0.25  # 2.5 / 5.5 * 0.4 > 0.1: as far as the target


def test_the_density_is_met_whatever_the_threshold():
    for final in (1e-9, 1e9):
        model = Tagger()
        method = ThresholdPruning(0, 2, 5, 1, final_threshold=final)
        pruner = prune_(model, recipe(method))
        densities = []
        for step in range(5):
            train(model, still(model), pruner, 1, step)
            densities.append(pruner.report().density)
        assert densities[-1] == 0.25
        assert densities[0] == (1 if final < 1 else 0.25)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ((3, 2, 9), "must come in this order, not 3, 2, 9"),
        ((3, 3, 3), "begin must come before end; to prune at once, use OneShot"),
        ((0, 1, 2, 0), "frequency must be a whole number of steps, at least 1, not 0"),
        ((0, 1, 2, 1, 0), "ramp_slope must be a positive number, not 0"),
        ((0, 1, 2, 1, 1.5, -1), "final_threshold must be a positive number, not -1"),
    ],
)
def test_refused_settings(settings, message):
    with pytest.raises(RecipeError, match=message):
        ThresholdPruning(*settings)


def test_refused_pairs():
    method = ThresholdPruning(0, 1, 2)
    with pytest.raises(RecipeError, match="ThresholdPruning trains under a mask, and block_circ"):
        Recipe(BlockCirculant(), 0.125, method)
    with pytest.raises(RecipeError, match="scope='units' drops whole units; use Gradual"):
        Recipe(CSB((None, None)), 0.5, method, scope="units")
