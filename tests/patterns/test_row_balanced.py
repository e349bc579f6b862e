import torch

from csbrnn.patterns import RowBalanced


def test_the_largest_of_each_row_stay():
    weight = torch.tensor([[1.0, -5.0, 2.0, 0.1], [-4.0, 3.0, 0.5, 9.0]])
    expected = torch.tensor([[0.0, -5.0, 2.0, 0.0], [-4.0, 0.0, 0.0, 9.0]])
    assert torch.equal(RowBalanced().project(weight, 0.5), expected)


def test_ties_go_by_index():
    kept = RowBalanced().mask(torch.ones(3, 4), 0.5)
    assert kept.tolist() == [[True, True, False, False]] * 3


def test_every_row_keeps_as_many_also_if_the_budget_does_not_divide():
    kept = RowBalanced().mask(torch.rand(6, 10), 23 / 60)
    assert kept.sum(1).tolist() == [3] * 6


def test_one_budget_favours_the_matrix_whose_weights_are_worth_more():
    small, large = torch.rand(4, 6), 2 + torch.rand(4, 3)
    small_kept, large_kept = RowBalanced().mask_together([small, large], 20 / 36)
    assert large_kept.all()
    assert small_kept.sum(1).tolist() == [2] * 4


def test_a_budget_is_shared_to_keep_the_most_energy():
    """Against every way to share it."""
    first, second = torch.rand(3, 5), torch.rand(2, 4)
    budget = 11
    shares = [(a, b) for a in range(6) for b in range(5) if 3 * a + 2 * b <= budget]

    def energy(count, weight):
        return float(weight.square().sort(1, descending=True).values[:, :count].sum())

    best = max(energy(a, first) + energy(b, second) for a, b in shares)
    kept = RowBalanced().project_together([first, second], budget / 23)
    found = sum(float(weight.square().sum()) for weight in kept)
    # Exact on concave curves but for the last weights: here those are one row of either matrix.
    assert found >= 0.95 * best
    assert sum(int(weight.count_nonzero()) for weight in kept) >= budget - 1
