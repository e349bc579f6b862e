from itertools import permutations

import pytest
import torch

from csbrnn.units.clustering import cluster_rows, kept_energy


def best_of_all(energy, price, height):
    orders = (torch.tensor(order) for order in permutations(range(len(energy))))
    return max(kept_energy(energy[order], price, height) for order in orders)


def test_close_to_the_best_of_all_orders():
    for seed in range(5):
        energy = torch.rand(6, 12, generator=torch.Generator().manual_seed(seed)).pow(3)
        price = torch.full((12,), 0.3)
        found = kept_energy(energy[cluster_rows(energy, price, 2)], price, 2)
        assert found > 0.95 * best_of_all(energy, price, 2)


def test_sweeps_gain():
    energy, price = torch.rand(32, 64).pow(4), torch.full((64,), 0.3)
    kept = [kept_energy(energy[cluster_rows(energy, price, 4, n)], price, 4) for n in (0, 1, 5)]
    assert kept[0] < kept[1] <= kept[2]
    assert kept[0] > 1.1 * kept_energy(energy, price, 4)


@pytest.mark.parametrize(("rows", "height"), [(10, 4), (3, 8), (1, 1), (7, 7), (5, 1)])
def test_every_row_once(rows, height):
    order = cluster_rows(torch.rand(rows, 6), torch.full((6,), 0.5), height)
    assert order.sort().values.tolist() == list(range(rows))


def test_ties_are_broken_alike():
    energy, price = torch.ones(12, 5), torch.full((5,), 0.5)
    assert torch.equal(cluster_rows(energy, price, 4), torch.arange(12))
