import pytest
import torch

from csbrnn.errors import ArgumentError
from csbrnn.patterns import CSB, Block


def test_the_blocks_with_the_largest_norms_stay():
    weight = torch.tensor(
        [
            [1.0, 1.0, 3.0, 0.0],
            [1.0, 1.0, 0.0, 0.0],
            [2.0, 2.0, 0.1, 0.1],
            [2.0, 0.0, 0.1, 0.1],
        ]
    )
    # Squares: 4, 9, 12, 0.04. By the largest weight, the second block would beat the third.
    expected = torch.zeros(4, 4)
    expected[2:, :2] = weight[2:, :2]
    assert torch.equal(Block((2, 2)).project(weight, 0.25), expected)
    expected[:2, 2:] = weight[:2, 2:]
    assert torch.equal(Block((2, 2)).project(weight, 0.5), expected)


def test_ties_go_by_index():
    mask = Block((2, 2)).mask(torch.ones(4, 4), 0.5)
    assert mask.tolist() == [[True] * 4] * 2 + [[False] * 4] * 2


def test_ragged_blocks_cost_what_they_have():
    # Blocks of 4, 2, 2 and 1 weights; the ragged ones are worth more a weight.
    weight = torch.ones(3, 3)
    weight[2, :], weight[:, 2] = 2, 2
    mask = Block((2, 2)).mask(weight, 5 / 9)
    assert mask.tolist() == [[False, False, True], [False, False, True], [True, True, True]]


def test_whole_columns_are_csb_of_one_row_group():
    weight = torch.randn(12, 9)
    expected = CSB((12, 9), row_group=12).mask(weight, 0.4)
    assert torch.equal(Block((None, 1)).mask(weight, 0.4), expected)


def test_one_budget_over_matrices_of_different_shapes():
    small, large = torch.rand(4, 4), 1 + torch.rand(4, 8)
    small_kept, large_kept = Block((2, 2)).mask_together([small, large], 36 / 48)
    assert large_kept.all()
    assert int(small_kept.sum()) == 4


def test_groups_are_blocks():
    (labels,) = Block((2, 3)).groups((3, 4))
    assert labels.tolist() == [[0, 0, 0, 1], [0, 0, 0, 1], [2, 2, 2, 3]]


@pytest.mark.parametrize("block", [(0, 4), (4,), "4x4", (4, True), 4])
def test_refused_blocks(block):
    with pytest.raises(ArgumentError, match="block must be two sizes"):
        Block(block)
