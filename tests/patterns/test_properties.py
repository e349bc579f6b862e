"""What holds for every pattern in PATTERNS, on small, ragged and empty matrices."""

import hypothesis.extra.numpy as hnp
import hypothesis.strategies as st
import pytest
import torch
from hypothesis import given, settings

import csbrnn
from csbrnn.errors import ArgumentError
from csbrnn.formats import matrix_from_arrays
from csbrnn.patterns import (
    CSB,
    NM,
    PATTERNS,
    BankBalanced,
    Block,
    BlockCirculant,
    MaskPattern,
    parse_pattern,
    pattern_from_dict,
)

# Parameters that reach other code than the defaults do. A pattern not listed runs with its
# defaults alone.
VARIANTS = {
    "csb": [
        CSB((3, 4)),
        CSB((4, 3), row_group=2),
        CSB((4, 5), row_group=4),
        CSB((None, 2)),
        CSB((1, None)),
    ],
    "bank_balanced": [BankBalanced(1), BankBalanced(3), BankBalanced(4)],
    "n_m": [NM(1, 4), NM(3, 5), NM(4, 4), NM(2, 16)],
    "block": [Block((2, 3)), Block((1, 1)), Block((3, None)), Block((None, 2))],
    "block_circulant": [BlockCirculant(1), BlockCirculant(2), BlockCirculant(3), BlockCirculant(5)],
}
EVERY_PATTERN = [cls() for cls in PATTERNS.values()] + [p for v in VARIANTS.values() for p in v]

every_pattern = pytest.mark.parametrize("pattern", EVERY_PATTERN, ids=str)
quick = settings(max_examples=25, deadline=None)
shapes = st.tuples(st.integers(0, 13), st.integers(0, 11))
densities = st.floats(0, 1) | st.sampled_from([0.0, 0.125, 0.5, 1.0])
# Few distinct values make ties; zeros and subnormal numbers make lines without energy.
elements = st.sampled_from([0.0, -0.0, 1.0, -1.0, 2.0, 1e-30, 1e-45, 3e38]) | st.floats(
    -10, 10, width=32
)


comparable = st.one_of(
    st.just(0.0), st.floats(2**-10, 2**10, width=32), st.floats(-(2**10), -(2**-10), width=32)
)


@st.composite
def matrices(draw, elements=elements):
    return torch.from_numpy(draw(hnp.arrays("float32", draw(shapes), elements=elements)))


@every_pattern
@quick
@given(weight=matrices(), density=densities)
def test_idempotent_and_deterministic(pattern, weight, density):
    before = weight.clone()
    once = pattern.project(weight, density)
    assert torch.equal(pattern.project(once, density), once)
    assert torch.equal(pattern.project(before, density), once)
    assert torch.equal(weight, before), "the argument was modified"


@every_pattern
@quick
@given(weight=matrices(), density=densities)
def test_a_mask_never_introduces_a_value_nor_exceeds_the_budget(pattern, weight, density):
    projected = pattern.project(weight, density)
    assert (projected.shape, projected.dtype) == (weight.shape, weight.dtype)
    if isinstance(pattern, MaskPattern):
        mask = pattern.mask(weight, density)
        assert mask.dtype == torch.bool
        assert torch.equal(projected, weight.masked_fill(~mask, 0))
        assert mask.count_nonzero() <= round(density * weight.numel())


@every_pattern
@quick
@given(weight=matrices(st.floats(1, 10, width=32)), density=densities)
def test_density_is_met_to_one_unit(pattern, weight, density):
    kept = pattern.kept(pattern.project(weight, density))
    target = round(density * weight.numel())
    assert target - pattern.unit(weight.shape) < kept <= target


@every_pattern
@quick
@given(weight=matrices(st.floats(1, 10, width=32)), more=densities)
def test_more_density_than_the_pattern_has_is_no_loss(pattern, weight, more):
    """Densities above `max_density` keep at least what that keeps."""
    assert 0 < pattern.max_density <= 1
    density = pattern.max_density + more * (1 - pattern.max_density)
    full = pattern.project(weight, pattern.max_density)
    assert pattern.kept(pattern.project(weight, density)) >= pattern.kept(full)
    if isinstance(pattern, MaskPattern):
        assert pattern.mask(weight, density)[full != 0].all()


@every_pattern
@quick
@given(weight=matrices())
def test_density_zero_keeps_nothing_and_one_keeps_all(pattern, weight):
    assert not pattern.project(weight, 0.0).any()
    assert torch.equal(pattern.project(weight, 1.0), weight)


@every_pattern
@quick
@given(weights=st.lists(matrices(), max_size=3), density=densities)
def test_one_budget_over_several_matrices(pattern, weights, density):
    together = pattern.project_together(weights, density)
    assert [w.shape for w in together] == [w.shape for w in weights]
    kept = sum(pattern.kept(w) for w in together)
    assert kept <= round(density * sum(w.numel() for w in weights))


@every_pattern
@quick
@given(weights=st.lists(matrices(comparable), max_size=3), density=densities)
def test_one_budget_is_idempotent(pattern, weights, density):
    """Of weights whose energies a sum in float64 can tell from nothing, beside the largest."""
    together = pattern.project_together(weights, density)
    again = pattern.project_together(together, density)
    assert all(torch.equal(a, b) for a, b in zip(together, again, strict=True))


@every_pattern
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_every_float_dtype(pattern, dtype):
    weight = torch.randn(9, 10).to(dtype)
    projected = pattern.project(weight, 0.4)
    assert projected.dtype == dtype
    assert torch.equal(pattern.project(projected, 0.4), projected)


@every_pattern
def test_a_parameter_is_projected_without_a_graph(pattern):
    projected = pattern.project(torch.nn.Parameter(torch.randn(6, 8)), 0.5)
    assert not projected.requires_grad


@every_pattern
def test_strided_weights(pattern):
    weight = torch.randn(10, 9).t()
    assert torch.equal(pattern.project(weight, 0.4), pattern.project(weight.contiguous(), 0.4))


@every_pattern
def test_a_score_replaces_energy(pattern):
    weight = torch.randn(9, 10)
    score = torch.rand(9, 10)
    assert torch.equal(
        pattern.project(weight, 0.4, score=score) != 0, pattern.project(score.sqrt(), 0.4) != 0
    )


def trained_density(pattern):
    """0.4, or the most that it has; all where so little of a small matrix would be nothing."""
    density = min(0.4, pattern.max_density)
    if isinstance(pattern, MaskPattern):
        shapes = ((21, 11), (21, 7))
        if not all(pattern.mask(torch.ones(shape), density).any() for shape in shapes):
            return 1.0
    return density


def trained(pattern):
    """A model with ragged gates after three steps on the pattern, and its pruner."""
    torch.manual_seed(0)
    model = torch.nn.GRU(11, 7)
    density = trained_density(pattern)
    if isinstance(pattern, MaskPattern):
        recipe = csbrnn.Recipe(pattern, density, csbrnn.OneShot())
    else:
        method = csbrnn.ADMM(admm_steps=1, retrain_steps=2, interval=1)
        recipe = csbrnn.Recipe(pattern, density, method)
    pruner = csbrnn.prune_(model, recipe)
    # Momentum and decay move weights also where gradients are zero.
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9, weight_decay=0.1)
    for _ in range(3):
        optimizer.zero_grad()
        pruner.loss(model(torch.randn(4, 2, 11))[0].square().sum()).backward()
        optimizer.step()
        pruner.step()
    return model, pruner


@every_pattern
def test_training_stays_on_the_pattern_and_masks_gradients(pattern):
    model, pruner = trained(pattern)
    for weight in (model.weight_ih_l0, model.weight_hh_l0):
        density = trained_density(pattern)
        assert pattern.kept(weight) <= round(density * weight.numel())
        assert torch.equal(pattern.project(weight, density), weight)
        if isinstance(pattern, MaskPattern):
            assert not weight.grad[weight == 0].any()
            assert weight.grad.any() == weight.any()
    pruner.finalize()


@every_pattern
def test_pack_stores_it_without_loss(pattern):
    model, pruner = trained(pattern)
    pruner.finalize()
    packed = csbrnn.pack(model)
    for name in ("weight_ih_l0", "weight_hh_l0"):
        stored, weight = packed.matrices[f"gru/{name}"], getattr(model, name).detach().numpy()
        assert stored.to_dense().tobytes() == (weight + 0.0).tobytes()
        again = matrix_from_arrays(stored.header(), stored.arrays())
        assert again.to_dense().tobytes() == stored.to_dense().tobytes()


@every_pattern
def test_dictionary_and_text_round_trip(pattern):
    assert pattern_from_dict(pattern.to_dict()) == pattern
    assert parse_pattern(str(pattern)) == pattern
    assert parse_pattern(pattern.name) == type(pattern)()
    assert hash(pattern_from_dict(pattern.to_dict())) == hash(pattern)


@every_pattern
def test_groups_number_every_weight(pattern):
    for labels in pattern.groups((7, 9)):
        assert labels.shape == (7, 9)
        assert labels.dtype == torch.int64
        assert labels.min() == 0


@every_pattern
@pytest.mark.parametrize(
    ("weight", "density", "message"),
    [
        (torch.zeros(3), 0.5, r"must be a matrix \(outputs, inputs\), not of shape \(3,\)"),
        (torch.zeros(2, 2, 2), 0.5, r"must be a matrix .* \(2, 2, 2\)"),
        (torch.zeros(2, 2, dtype=torch.int32), 0.5, "floating-point dtype, not torch.int32"),
        (torch.tensor([[1, float("nan")]]), 0.5, "1 of its 2 values .* row 0, column 1"),
        (torch.tensor([[1.0], [float("inf")]]), 0.5, "NaN or infinite, .* row 1, column 0"),
        (torch.zeros(2, 2), 1.5, r"must lie in \[0, 1\], not 1.5"),
        (torch.zeros(2, 2), -0.1, r"must lie in \[0, 1\], not -0.1"),
        (torch.zeros(2, 2), float("nan"), r"must lie in \[0, 1\], not nan"),
        (torch.zeros(2, 2), "8x", "density must be a number, not '8x'"),
    ],
)
def test_refused_arguments(pattern, weight, density, message):
    with pytest.raises(ArgumentError, match=message):
        pattern.project(weight, density)


@every_pattern
@pytest.mark.parametrize(
    ("score", "message"),
    [
        (torch.ones(2, 3), r"must have its shape and device, \(2, 2\) on cpu, not \(2, 3\)"),
        (-torch.ones(2, 2), "must not be negative, but its least is -1.0"),
        (torch.full((2, 2), float("inf")), "the score of weight must be finite"),
    ],
)
def test_refused_scores(pattern, score, message):
    with pytest.raises(ArgumentError, match=message):
        pattern.project(torch.ones(2, 2), 0.5, score=score)


@every_pattern
def test_each_weight_needs_a_score(pattern):
    with pytest.raises(ArgumentError, match="not 1 for 2 weights"):
        pattern.project_together([torch.ones(2, 2)] * 2, 0.5, scores=[torch.ones(2, 2)])
