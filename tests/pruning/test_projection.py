"""Kept diagonals: beside every mask pattern, in every method, inside of the density."""

import pytest
import torch
from torch import nn

import csbrnn
from csbrnn.errors import ArgumentError, RecipeError
from csbrnn.patterns import CSB, NM, BankBalanced, Block, BlockCirculant, RowBalanced, Unstructured
from csbrnn.pruning import ADMM, Gradual, GroupLasso, OneShot, Recipe, ThresholdPruning, prune_
from csbrnn.pruning.projection import diagonal_of

from .models import Tagger, recipe, train

PATTERNS = [Unstructured(), CSB((4, 4)), CSB((4, None), 4), Block(), RowBalanced(), BankBalanced(8)]
METHODS = [
    Gradual(0, 4, 2),
    ADMM(3, 2, interval=1),
    GroupLasso(1e-3, 3, 2),
    ThresholdPruning(0, 2, 4, 1),
]


def diagonal(weight):
    return torch.cat([gate.diagonal() for gate in weight.detach().chunk(4)])


@pytest.mark.parametrize("scope", ["matrix", "gate", "global"])
@pytest.mark.parametrize("pattern", PATTERNS, ids=str)
def test_the_diagonal_stays_and_counts(pattern, scope):
    model = Tagger()
    weight = model.encoder.weight_hh_l0
    before = diagonal(weight).clone()
    pruner = prune_(model, recipe(pattern=pattern, scope=scope, keep_diagonal=True))
    assert torch.equal(diagonal(weight), before)
    report = pruner.report()
    assert 0.25 - 8 * 24 / 1536 < report.density <= 0.25
    if isinstance(pattern, Unstructured):
        assert report.density == 0.25


@pytest.mark.parametrize("method", METHODS, ids=lambda method: method.name)
def test_in_every_method(method):
    model = Tagger()
    pruner = prune_(model, recipe(method, keep_diagonal=True))
    train(model, torch.optim.Adam(model.parameters(), lr=1e-2), pruner, 6)
    pruner.finalize()
    weight = model.encoder.weight_hh_l0
    assert diagonal(weight).all()
    assert pruner.report().density <= 0.25
    assert (weight == 0).any()
    packed = csbrnn.pack(model)
    stored = packed.layer("encoder").matrices["weight_hh_l0"].to_dense()
    assert torch.equal(torch.from_numpy(stored), weight.detach())


def test_what_is_beside_the_diagonal_has_the_pattern():
    model = Tagger()
    pattern = CSB((4, None), 4)
    prune_(model, recipe(pattern=pattern, keep_diagonal=True))
    weight = model.encoder.weight_hh_l0.detach()
    rest = (weight != 0) & ~diagonal_of(weight)
    for stripe, own in zip(rest.split(4), diagonal_of(weight).split(4), strict=True):
        # A column of a stripe is there whole or not at all, but for its diagonal weight.
        assert ((stripe | own).sum(0) % 4 == 0)[stripe.any(0)].all()


@pytest.mark.parametrize(
    "pattern", [RowBalanced(), BankBalanced(8), NM(1, 4), Unstructured()], ids=str
)
def test_patterns_of_single_weights_hold_with_the_diagonal(pattern):
    model = Tagger()
    prune_(model, recipe(pattern=pattern, keep_diagonal=True))
    weight = model.encoder.weight_hh_l0.detach()
    assert diagonal(weight).all()
    assert weight.count_nonzero() == weight.numel() / 4
    assert torch.equal(pattern.project(weight, 0.25), weight)


def test_banks_without_room_get_their_diagonal_all_the_same():
    model = Tagger()
    with torch.no_grad():
        model.encoder.weight_hh_l0 *= 1000
    plan = recipe(pattern=BankBalanced(4), density=0.2, keep_diagonal=True, include=("*_hh_*",))
    report = prune_(model, plan).report()
    assert diagonal(model.encoder.weight_hh_l0).all()
    assert report.density <= 0.2


def test_a_diagonal_that_is_not_finite_is_refused():
    model = Tagger()
    with torch.no_grad():
        model.encoder.weight_hh_l0[3, 3] = float("nan")
    for pattern in (Unstructured(), CSB((4, 4))):
        with pytest.raises(ArgumentError, match=r"weight_hh_l0: .* must be finite"):
            prune_(model, recipe(pattern=pattern, keep_diagonal=True))


def test_weights_that_a_pattern_covers_are_not_paid_twice():
    """Columns on the diagonal that stay anyway leave room for others."""
    model = Tagger()
    weight = model.encoder.weight_hh_l0
    with torch.no_grad():
        weight.mul_(0.01)
        # Stripe by stripe, the columns of its own diagonal are the strongest.
        for row in range(64):
            start = row % 16 // 4 * 4
            weight[row, start : start + 4] += 1
    prune_(model, recipe(pattern=CSB((4, None), 4), keep_diagonal=True))
    assert 250 < weight.count_nonzero() <= weight.numel() / 4


def test_only_square_recurrent_weights_have_one():
    model = Tagger(num_layers=2)
    prune_(model, recipe(density=0.1, keep_diagonal=True))
    square = model.encoder.weight_ih_l1  # from 16 units to 16 others
    assert not diagonal(square).all()
    assert diagonal(model.encoder.weight_hh_l1).all()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"keep_diagonal": 1}, "keep_diagonal must be True or False, not 1"),
        (
            {"pattern": BlockCirculant(4), "method": ADMM(20, 1), "keep_diagonal": True},
            "keep_diagonal keeps weights beside a mask, and block_circulant.* is none",
        ),
    ],
)
def test_refused_recipes(options, message):
    with pytest.raises(RecipeError, match=message):
        recipe(**options)


def test_refusals():
    with pytest.raises(
        RecipeError, match=r"none of the pruned weights has them: encoder.weight_ih"
    ):
        prune_(Tagger(), recipe(exclude=("*_hh_*",), keep_diagonal=True))
    # Refused at once, not when a schedule gets there; a gate has 16 of its 256 weights.
    for scope, message in (
        ("matrix", "weight_hh_l0: the kept diagonal has 64 weights, more than the 51"),
        ("gate", "weight_hh_l0: the kept diagonal has 16 weights, more than the 13"),
        ("global", "weight_ih_l0, encoder.weight_hh_l0: the kept diagonal has 64 weights"),
    ):
        plan = recipe(
            Gradual(5, 9), 0.03 if scope == "global" else 0.05, scope=scope, keep_diagonal=True
        )
        with pytest.raises(RecipeError, match=message):
            prune_(Tagger(), plan)


def test_plain_data():
    plan = Recipe(NM(1, 4), 0.25, OneShot(), keep_diagonal=True)
    assert plan.to_dict()["keep_diagonal"] is True
    assert Recipe.from_dict(plan.to_dict()) == plan
    assert "keep_diagonal" not in recipe().to_dict()


def test_a_model_without_gates():
    model = nn.RNN(6, 8)
    prune_(model, Recipe(Unstructured(), 0.25, OneShot(), keep_diagonal=True))
    assert model.weight_hh_l0.diagonal().all()
