"""CSB: the structure of what survives, how much energy it holds, and what is refused."""

import itertools

import hypothesis.strategies as st
import pytest
import torch
from hypothesis import given, settings

from csbrnn.errors import ArgumentError
from csbrnn.patterns import CSB

PATTERNS = [CSB((4, 5)), CSB((4, 6), row_group=2), CSB((3, 7), row_group=3), CSB((None, 4), 4)]


def assert_valid(mask, pattern):
    """An independent checker: every block is a set of row groups times a set of columns."""
    rows, cols = mask.shape
    block_rows, block_cols = pattern.block[0] or max(rows, 1), pattern.block[1] or max(cols, 1)
    for top, left in itertools.product(range(0, rows, block_rows), range(0, cols, block_cols)):
        block = mask[top : top + block_rows, left : left + block_cols].tolist()
        kept_rows = {r for r, line in enumerate(block) if any(line)}
        kept_cols = {c for line in block for c, kept in enumerate(line) if kept}
        assert all(block[r][c] for r in kept_rows for c in kept_cols)
        for r in kept_rows:
            start = r - r % pattern.row_group
            run = range(start, min(start + pattern.row_group, len(block)))
            assert kept_rows.issuperset(run)


@pytest.mark.parametrize("pattern", PATTERNS, ids=str)
@settings(max_examples=25, deadline=None)
@given(
    shape=st.tuples(st.integers(0, 14), st.integers(0, 14)),
    density=st.floats(0, 1),
    seed=st.integers(0, 9),
    zeros=st.booleans(),
)
def test_survivors_are_crossings_of_whole_lines(pattern, shape, density, seed, zeros):
    weight = torch.randn(shape, generator=torch.Generator().manual_seed(seed))
    if zeros:
        weight = weight.round()
    mask = pattern.mask(weight, density)
    assert_valid(mask, pattern)
    if weight.numel():
        # Where nothing is zero, `support` finds exactly the lines that were kept.
        support = pattern.support(mask.float())
        stored = (support.rows.sum(-1) * support.cols.sum(-1)).sum()
        assert stored == mask.sum()


def two_stage(weight, density, rows, cols):
    """The paper's projection: threshold the rows of all blocks, then their columns."""
    tiles = weight.unfold(0, rows, rows).unfold(1, cols, cols)  # (grid, grid, rows, cols)
    share = density**0.5

    def largest(norms):
        return norms >= norms.flatten().kthvalue(round((1 - share) * norms.numel()) + 1).values

    keep_rows = largest(tiles.square().sum(3))
    tiles = tiles * keep_rows[..., None]
    keep_cols = largest(tiles.square().sum(2))
    mask = keep_rows[..., None] & keep_cols[..., None, :]
    return mask.transpose(1, 2).reshape(weight.shape)


def heavy_tailed(rows, cols):
    """Like trained weights: rows and columns of different strength, and outliers in both."""
    strength = (0.3 * torch.randn(rows, 1)).exp() * (0.3 * torch.randn(1, cols)).exp()
    return torch.distributions.StudentT(5.0).sample((rows, cols)) * strength


@pytest.mark.parametrize("make", [torch.randn, heavy_tailed], ids=["random", "trained-like"])
@pytest.mark.parametrize("size", [8, 32, 64])
@pytest.mark.parametrize("rate", [4, 8, 13.5])
def test_keeps_more_energy_than_the_two_stage_threshold(make, size, rate):
    weight = make(256, 256)
    baseline = two_stage(weight, 1 / rate, size, size)
    # At the very density the baseline reached.
    ours = CSB((size, size)).project(weight, float(baseline.float().mean()))
    assert ours.square().sum() > 1.01 * weight[baseline].square().sum()


def test_a_planted_kernel_is_found():
    weight = 1e-3 * torch.rand(16, 16)
    rows, cols = torch.tensor([1, 4, 5, 9]), torch.tensor([0, 7, 8, 15])
    planted = torch.zeros(16, 16, dtype=torch.bool)
    planted[rows[:, None], cols] = True
    weight[planted] += 1
    assert torch.equal(CSB((16, 16)).mask(weight, 16 / 256), planted)


def test_close_to_the_best_kernel_of_a_small_block():
    """Against all 2**10 supports of a 5x5 block: peeling keeps over 90% on average."""
    subsets = torch.tensor(list(itertools.product([0.0, 1.0], repeat=5)))
    counts = subsets.sum(1)[:, None] * subsets.sum(1)[None, :]
    shares = []
    for _ in range(40):
        weight = torch.randn(5, 5)
        energy = subsets @ weight.square() @ subsets.T
        best = energy[counts <= 8].max()
        found = CSB((5, 5)).project(weight, 8 / 25).square().sum()
        assert found <= best * (1 + 1e-6)
        shares.append(float(found / best))
    assert sum(shares) / len(shares) > 0.9


def test_stripes_are_exact():
    weight = torch.randn(32, 40)
    columns = weight.view(2, 16, 40).square().sum(1).flatten()
    mask = CSB((16, 8), row_group=16).mask(weight, 0.25)
    assert mask.sum() == 320
    best = columns.topk(20).values.sum()
    torch.testing.assert_close(weight[mask].square().sum(), best)


def test_stripes_agree_with_peeling(monkeypatch):
    """Peeling of one row group drops the least column first, so both must find the same."""
    from csbrnn.patterns import csb

    weight = torch.randn(64, 96)
    pattern = CSB((16, 32), row_group=16)
    fast = pattern.mask(weight, 0.3)
    monkeypatch.setattr(csb, "_choose_stripes", csb._choose_lines)
    slow = pattern.mask(weight, 0.3)
    kept = weight[slow].square().sum() / weight[fast].square().sum()
    assert 0.999 < kept <= 1


def test_ragged_stripes_fill_the_budget_with_short_columns():
    weight = torch.ones(20, 4)  # one stripe of 16 rows, one of 4
    assert CSB((16, 4), row_group=16).mask(weight, 28 / 80).sum() == 28


def test_ties_go_by_index_even_over_many_blocks():
    mask = CSB((4, 4)).mask(torch.ones(64, 64), 0.5)
    assert mask[:32].all()
    assert not mask[32:].any()


def test_lines_without_energy_are_not_kept_to_fill_the_budget():
    weight = torch.zeros(8, 8)
    weight[2, 3] = 1
    mask = CSB((4, 4)).mask(weight, 0.5)
    assert mask.nonzero().tolist() == [[2, 3]]


def test_one_budget_favours_the_larger_matrix_and_allows_different_shapes():
    small, large = torch.rand(6, 9), 10 + torch.rand(12, 4)
    small_kept, large_kept = CSB((4, 4)).mask_together([small, large], 48 / 102)
    assert not small_kept.any()
    assert large_kept.all()


def test_support_of_ragged_blocks():
    weight = torch.zeros(5, 5)
    weight[4, 4] = 1
    support = CSB((4, 4), row_group=2).support(weight)
    assert support.rows.shape == (2, 2, 4)
    assert support.cols.shape == (2, 2, 4)
    # The matrix ends inside the row group: rows beyond it are not there.
    assert support.rows.nonzero().tolist() == [[1, 1, 0]]
    assert support.cols.nonzero().tolist() == [[1, 1, 0]]


def test_groups_are_row_groups_and_columns_of_blocks():
    by_row, by_col = CSB((4, 2), row_group=2).groups((4, 4))
    assert by_row.tolist() == [[0, 0, 1, 1], [0, 0, 1, 1], [2, 2, 3, 3], [2, 2, 3, 3]]
    assert by_col.tolist() == [[0, 1, 2, 3]] * 4


@pytest.mark.parametrize(
    ("block", "row_group", "message"),
    [
        ((0, 4), 1, r"two sizes .* not \(0, 4\)"),
        ((4,), 1, r"two sizes .* not \(4,\)"),
        (4, 1, "two sizes .* not 4"),
        ((4, 2.5), 1, r"not \(4, 2.5\)"),
        ((True, 4), 1, r"not \(True, 4\)"),
        ((4, 4), 0, "row_group must be a positive integer, not 0"),
        ((6, 4), 4, r"4 does not divide 6; take block=\(8, ...\)"),
    ],
)
def test_refused_sizes(block, row_group, message):
    with pytest.raises(ArgumentError, match=message):
        CSB(block, row_group)


def test_what_fits_is_left_alone_however_small():
    # In float64, 1 + (1e-30)**2 is 1: the sums that peeling compares can't see the small weight.
    weight = torch.tensor([[1.0, 1e-30], [0.0, 1.0]])
    once = CSB().project(weight, 0.5)
    assert torch.equal(CSB().project(once, 0.5), once)
    assert torch.equal(CSB().project(weight, 1.0), weight)
