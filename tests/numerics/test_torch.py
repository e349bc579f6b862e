"""What training computes with PyTorch's operations has the same bits."""

import numpy as np
import pytest
from hypothesis import given

from csbrnn.numerics import BF16, INT8

from .test_int8 import WEIGHTS

torch = pytest.importorskip("torch")


def int8_rounded(weight):
    """docs/spec/precision.md in PyTorch."""
    largest = weight.abs().amax(dim=1, keepdim=True)
    scale = largest * (1 / 127)  # Python's number is rounded to fp32 first
    scale = ((scale.view(torch.int32) + 64) & ~127).view(torch.float32)
    scale = torch.where(scale < 2.0**-125, 0, scale)
    inverse = torch.where(scale > 0, 1 / scale, 0)
    return (weight * inverse).clamp(-127, 127).round() * scale


@given(WEIGHTS)
def test_int8(weight):
    got = int8_rounded(torch.from_numpy(weight)).numpy()
    np.testing.assert_array_equal(got, INT8.rounded(weight))


@given(WEIGHTS)
def test_bf16(weight):
    got = torch.from_numpy(weight).to(torch.bfloat16).to(torch.float32).numpy()
    ours = BF16.rounded(weight)
    np.testing.assert_array_equal(np.where(np.isinf(got), ours, got), ours)
    assert (np.abs(weight[np.isinf(got)]) > 3.39e38).all()
