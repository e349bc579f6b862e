import pytest
import torch

from csbrnn.patterns.peeling import peel
from csbrnn.patterns.peeling_block import peel_each


@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("group", [1, 3])
@pytest.mark.parametrize("shape", [(1, 5, 7), (3, 8, 4), (2, 1, 6), (1, 40, 30)])
def test_one_block_at_a_time_is_the_same(shape, group, ties):
    energy = torch.randint(0, 3, shape).float() if ties else torch.rand(shape)
    heights = torch.full(shape[:2], group)
    heights[:, -1] = max(1, group - 1)
    widths = torch.ones(shape[0], shape[2], dtype=torch.int64)
    widths[:, -1], energy[:, :, -1] = 0, 0  # padding
    for ours, expected in zip(
        peel_each(energy, heights, widths), peel(energy, heights, widths), strict=True
    ):
        assert ours.dtype == expected.dtype
        assert torch.equal(ours, expected)
