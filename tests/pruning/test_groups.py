"""Norms and magnitudes of groups, against loops over the groups."""

import math

import pytest
import torch

from csbrnn.patterns import CSB, Block
from csbrnn.pruning.groups import Groups, lowest_kept
from csbrnn.pruning.targets import Target


def groups_of(weight, pattern, pieces=1):
    return Groups(Target(("w",), torch.nn.Parameter(weight), pieces, pieces, pattern, 0.5))


def slow_groups(weight, pattern, pieces):
    """Every group's weights, written out."""
    for piece in torch.chunk(weight, pieces):
        for ids in pattern.groups(piece.shape):
            for number in ids.unique():
                yield piece[ids == number]


@pytest.mark.parametrize("pieces", [1, 2])
@pytest.mark.parametrize(
    "pattern", [Block((2, 3)), CSB((4, 4)), CSB((2, None), 2), CSB((None, None))], ids=str
)
def test_the_penalty_is_its_definition(pattern, pieces):
    weight = torch.randn(12, 7, dtype=torch.float64, requires_grad=True)
    penalty = groups_of(weight.detach(), pattern, pieces).penalty(weight)
    expected = sum(
        math.sqrt(group.numel()) * group.norm() for group in slow_groups(weight, pattern, pieces)
    )
    torch.testing.assert_close(penalty, expected)
    (gradient,) = torch.autograd.grad(penalty, weight)
    (slow,) = torch.autograd.grad(expected, weight)
    torch.testing.assert_close(gradient, slow)


def test_groups_of_zeros_are_left_alone():
    weight = torch.randn(4, 4)
    weight[:2, :2] = 0
    weight.requires_grad_()
    groups_of(weight.detach(), Block((2, 2))).penalty(weight).backward()
    assert weight.grad.isfinite().all()
    assert not weight.grad[:2, :2].any()
    assert weight.grad[2:].all()


def test_magnitudes():
    weight = torch.tensor([[1.0, -5.0, 2.0, 0.0], [-4.0, 3.0, 0.5, 1.0]])
    by_block = torch.tensor([[5.0, 5.0, 2.0, 2.0]] * 2)
    assert torch.equal(groups_of(weight, Block((2, 2))).magnitudes(weight), by_block)
    # Rows have 5 and 4, columns 4, 5, 2 and 1.
    least = torch.tensor([[4.0, 5.0, 2.0, 1.0], [4.0, 4.0, 2.0, 1.0]])
    assert torch.equal(groups_of(weight, CSB((None, None))).magnitudes(weight), least)


def test_patterns_without_groups_go_by_weight():
    weight = torch.randn(3, 5)
    from csbrnn.patterns import Unstructured

    assert torch.equal(groups_of(weight, Unstructured()).magnitudes(weight), weight.abs())


@pytest.mark.parametrize("density", [0.01, 0.25, 0.5, 1.0])
def test_the_threshold_of_a_density(density):
    values = torch.randn(200).abs()
    threshold = lowest_kept([values[:50], values[50:]], density)
    assert int((values >= threshold).sum()) == round(200 * density)


def test_no_threshold_keeps_nothing():
    assert lowest_kept([torch.ones(10)], 0.0) == math.inf
