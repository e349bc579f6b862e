import pytest
import torch

from csbrnn.errors import ArgumentError
from csbrnn.patterns import NM


def test_two_of_every_four():
    weight = torch.tensor([[1.0, -5.0, 2.0, 0.1, 0.2, 0.1, -0.4, 0.3]])
    expected = torch.tensor([[0.0, -5.0, 2.0, 0.0, 0.0, 0.0, -0.4, 0.3]])
    assert NM().max_density == 0.5
    assert torch.equal(NM().project(weight, 0.5), expected)


def test_below_its_density_the_largest_of_those_stay():
    weight = torch.tensor([[5.0, 4.0, 3.0, 3.0, 2.0, 1.0, 0.5, 0.1]])
    expected = torch.tensor([[5.0, 4.0, 0.0, 0.0, 2.0, 0.0, 0.0, 0.0]])
    assert torch.equal(NM(2, 4).project(weight, 3 / 8), expected)


def test_above_its_density_the_largest_others_stay_too():
    weight = torch.tensor([[5.0, 4.0, 3.0, 3.0, 2.0, 1.0, 0.5, 0.1]])
    expected = torch.tensor([[5.0, 4.0, 3.0, 0.0, 2.0, 1.0, 0.0, 0.0]])
    assert torch.equal(NM(2, 4).project(weight, 5 / 8), expected)


def test_a_short_run_keeps_up_to_n():
    mask = NM(2, 4).mask(torch.rand(3, 7), 0.5)
    # 10.5 rounds to 10 of the 12 candidates.
    assert mask[:, :4].sum(1).max() <= 2
    assert mask[:, 4:].sum(1).max() <= 2
    assert int(mask.sum()) == 10


def test_ties_go_by_index():
    assert NM(1, 3).mask(torch.ones(2, 6), 1 / 3).tolist() == [[True, False, False] * 2] * 2


@pytest.mark.parametrize(
    ("n", "m", "message"),
    [
        (0, 4, "n must be a positive integer, not 0"),
        (2, 4.0, "m must be a positive integer, not 4.0"),
        (3, 2, "n must not exceed m, but 3 > 2"),
    ],
)
def test_refused_sizes(n, m, message):
    with pytest.raises(ArgumentError, match=message):
        NM(n, m)
