import torch

from csbrnn.patterns.selection import choose_units, top_k_mask, top_k_rows


def test_top_k_of_each_row_is_a_stable_sort():
    # Few distinct values: most rows have ties at the edge.
    for values in (torch.randint(0, 4, (40, 9)).float(), torch.rand(40, 9)):
        for count in range(10):
            best = values.sort(dim=1, descending=True, stable=True).indices[:, :count]
            expected = torch.zeros_like(values, dtype=torch.bool).scatter_(1, best, True)
            assert torch.equal(top_k_rows(values, count), expected)


def test_top_k_is_a_stable_sort():
    values = torch.randint(0, 5, (6, 7)).float()
    for count in range(43):
        best = values.reshape(-1).sort(descending=True, stable=True).indices[:count]
        expected = torch.zeros(42, dtype=torch.bool).index_fill_(0, best, True)
        assert torch.equal(top_k_mask(values, count).reshape(-1), expected)


def test_units_of_one_cost_are_sorted():
    energy = torch.tensor([1.0, 3.0, 0.0, 2.0, 5.0])
    cost = torch.tensor([4, 4, 4, 4, 0])
    assert choose_units(energy, cost, 11).tolist() == [False, True, False, True, False]
    # Without energy a unit does not fill the budget.
    assert choose_units(energy, cost, 16).tolist() == [True, True, False, True, False]


def test_units_of_several_costs_go_by_energy_a_weight_as_long_as_they_fit():
    energy = torch.tensor([6.0, 5.0, 3.0, 1.0])
    cost = torch.tensor([3, 2, 2, 1])
    # 2, 2.5, 1.5, 1 a weight. Within 4, after the second, the first no longer fits.
    assert choose_units(energy, cost, 5).tolist() == [True, True, False, False]
    assert choose_units(energy, cost, 4).tolist() == [False, True, True, False]
