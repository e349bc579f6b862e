import pytest
import torch

from csbrnn.errors import ArgumentError
from csbrnn.patterns import BankBalanced, RowBalanced


def test_the_largest_of_each_bank_stay():
    weight = torch.tensor([[1.0, -5.0, 2.0, 0.1], [-4.0, 3.0, 0.5, 9.0]])
    expected = torch.tensor([[0.0, -5.0, 2.0, 0.0], [-4.0, 0.0, 0.0, 9.0]])
    assert torch.equal(BankBalanced(2).project(weight, 0.5), expected)
    # By row, 3.0 would stay.
    weight = torch.tensor([[4.0, 3.0, 0.5, 0.1]])
    expected = torch.tensor([[4.0, 0.0, 0.5, 0.0]])
    assert torch.equal(BankBalanced(2).project(weight, 0.5), expected)


def test_a_short_bank_keeps_as_many_or_all_it_has():
    # Banks of 4, 4 and 2 columns: 1 of each is 3 a row, 2 are 6, 3 are 8.
    weight = 1 + torch.rand(5, 10)
    for budget, expected in ((0.35, [1, 1, 1]), (0.6, [2, 2, 2]), (0.8, [3, 3, 2])):
        mask = BankBalanced(4).mask(weight, budget)
        for columns, count in zip((mask[:, :4], mask[:, 4:8], mask[:, 8:]), expected, strict=True):
            assert columns.sum(1).tolist() == [count] * 5


def test_a_bank_as_wide_as_the_matrix_is_row_balanced():
    weight = torch.randn(12, 9)
    assert torch.equal(BankBalanced(64).mask(weight, 0.4), RowBalanced().mask(weight, 0.4))


def test_ties_go_by_index():
    kept = BankBalanced(3).mask(torch.ones(2, 6), 2 / 3)
    assert kept.tolist() == [[True, True, False] * 2] * 2


@pytest.mark.parametrize("size", [0, -1, 2.0, True, None, "64"])
def test_refused_sizes(size):
    with pytest.raises(ArgumentError, match="bank_size must be a positive integer, not"):
        BankBalanced(size)
