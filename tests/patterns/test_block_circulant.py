import pytest
import torch

from csbrnn.errors import ArgumentError
from csbrnn.patterns import BlockCirculant
from csbrnn.patterns.block_circulant import expand_vectors, first_vectors


def circulant(vector):
    """By the definition, one weight after the other."""
    n = len(vector)
    return torch.tensor([[vector[(i - j) % n] for j in range(n)] for i in range(n)])


def test_averages_along_wrapped_diagonals():
    weight = torch.tensor([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0], [7.0, 8.0, 9.0]])
    # 1 5 9; 4 8 3; 7 2 6.
    expected = circulant([5.0, 5.0, 5.0])
    assert torch.equal(BlockCirculant(3).project(weight, 1 / 3), expected)
    weight[0, 0], weight[1, 0] = 4, 1
    assert torch.equal(BlockCirculant(3).project(weight, 1 / 3), circulant([6.0, 4.0, 5.0]))


def test_it_is_the_nearest_matrix():
    """No step along any first column comes nearer."""
    weight = torch.randn(6, 9, dtype=torch.float64)
    nearest = BlockCirculant(3).project(weight, 1 / 3)
    distance = (weight - nearest).square().sum()
    vectors = first_vectors(nearest, 3)
    for place in range(vectors.numel()):
        for step in (-1e-3, 1e-3):
            moved = vectors.clone()
            moved.view(-1)[place] += step
            assert (weight - expand_vectors(moved, (6, 9))).square().sum() > distance


def test_circulant_matrices_stay_bit_for_bit():
    weight = expand_vectors(torch.randn(5, 4, 7), (33, 26))
    for dtype in (torch.float32, torch.float64):
        exact = weight.to(dtype) / 3
        assert torch.equal(BlockCirculant(7).project(exact, 1 / 7), exact)


def test_ragged_blocks_average_what_they_have():
    weight = torch.tensor([[1.0, 2.0, 5.0], [3.0, 5.0, 7.0]])
    expected = torch.tensor([[3.0, 2.5, 5.0], [2.5, 3.0, 7.0]])
    assert torch.equal(BlockCirculant(2).project(weight, 0.5), expected)


def test_below_its_density_the_strongest_blocks_stay():
    # The first block is large, but little is left of it when it is averaged.
    weight = torch.tensor([[9.0, 1.0, 2.0, 2.0], [1.0, -9.0, 2.0, 2.0]])
    expected = torch.tensor([[0.0, 0.0, 2.0, 2.0], [0.0, 0.0, 2.0, 2.0]])
    assert torch.equal(BlockCirculant(2).project(weight, 0.25), expected)


def test_large_values_do_not_overflow():
    for dtype, large in ((torch.float32, 3e38), (torch.float64, 1.7e308)):
        weight = torch.full((4, 4), large, dtype=dtype)
        weight[0] = -large
        assert BlockCirculant(4).project(weight, 0.25).isfinite().all()


def test_density_between_its_own_and_one_keeps_every_block():
    weight = torch.randn(8, 8)
    for density in (0.25, 0.5, 0.9):
        assert torch.equal(BlockCirculant(4).project(weight, density), circulant_of(weight))


def circulant_of(weight):
    return expand_vectors(first_vectors(weight, 4), tuple(weight.shape))


def test_kept_counts_first_columns():
    pattern = BlockCirculant(4)
    projected = pattern.project(torch.randn(8, 12), 0.25)
    assert pattern.kept(projected) == 24
    projected[:4, :4] = 0
    assert pattern.kept(projected) == 20
    assert pattern.kept(torch.randn(8, 12)) == 96
    assert pattern.max_density == 0.25


@pytest.mark.parametrize("block", [0, (8, 8), None, 2.0])
def test_refused_blocks(block):
    with pytest.raises(ArgumentError, match="block must be a positive integer, not"):
        BlockCirculant(block)
