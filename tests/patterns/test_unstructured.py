import torch

from csbrnn.patterns import Unstructured


def test_the_largest_magnitudes_stay():
    weight = torch.tensor([[1.0, -5.0, 2.0], [-4.0, 3.0, 0.5]])
    expected = torch.tensor([[0.0, -5.0, 0.0], [-4.0, 3.0, 0.0]])
    assert torch.equal(Unstructured().project(weight, 0.5), expected)


def test_ties_go_by_index():
    kept = Unstructured().mask(torch.ones(3, 4), 5 / 12)
    assert kept.flatten().tolist() == [True] * 5 + [False] * 7


def test_one_budget_favours_the_larger_matrix():
    small, large = torch.rand(4, 4), 1 + torch.rand(4, 4)
    small_kept, large_kept = Unstructured().mask_together([small, large], 0.5)
    assert not small_kept.any()
    assert large_kept.all()
