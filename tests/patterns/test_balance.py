import torch

from csbrnn.patterns.balance import Banks, balanced_masks


def test_banks_of_a_ragged_matrix():
    banks = Banks.of(torch.Size((2, 5)), 3)
    weight = torch.arange(10.0).view(2, 5)
    split = banks.split(weight)
    assert split.tolist() == [[0, 1, 2], [3, 4, -1], [5, 6, 7], [8, 9, -1]]
    assert torch.equal(banks.join(split), weight)
    # None, 1, 2 and 3 of each bank, of which the second has two columns.
    assert banks.kept(weight.device).tolist() == [0, 4, 8, 10]


def test_a_bank_is_no_wider_than_the_matrix():
    assert Banks.of(torch.Size((2, 5)), 64).size == 5
    assert Banks.of(torch.Size((2, 5)), None).size == 5
    assert Banks.of(torch.Size((2, 0)), None).size == 1


def test_matrices_without_weights_take_no_budget():
    masks = balanced_masks([torch.zeros(0, 4), torch.ones(2, 4), torch.zeros(3, 0)], 2, 4)
    assert [tuple(mask.shape) for mask in masks] == [(0, 4), (2, 4), (3, 0)]
    assert masks[1].tolist() == [[True, False] * 2] * 2
