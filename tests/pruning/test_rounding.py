"""Rounding in PyTorch has the bits of csbrnn.numerics, and gradients go straight through."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from csbrnn.numerics import BF16, FP32, INT8, PRECISIONS
from csbrnn.pruning.rounding import rounded, straight_through

every_precision = pytest.mark.parametrize("precision", PRECISIONS.values(), ids=PRECISIONS)
# Ties, signed zeros, subnormal numbers, the ends of the range, and whatever hypothesis thinks of.
ELEMENTS = st.sampled_from(
    [0.0, -0.0, 1.0, -1.0, 0.5, 2.5, 127.0, -127.5, 1e-45, 1e-38, 2.0**-118, 3.4e38, -3.3895e38]
) | st.floats(width=32, allow_nan=False, allow_infinity=False)
WEIGHTS = hnp.arrays("float32", st.tuples(st.integers(0, 5), st.integers(0, 9)), elements=ELEMENTS)


def same_bits(torchs, numpys):
    np.testing.assert_array_equal(torchs.numpy().view(np.uint32), numpys.view(np.uint32))


@every_precision
@settings(max_examples=200, deadline=None)
@given(weight=WEIGHTS)
def test_the_bits_of_numerics(precision, weight):
    before = weight.copy()
    got = rounded(torch.from_numpy(weight), precision)
    same_bits(got, precision.rounded(weight))
    same_bits(rounded(got, precision), precision.rounded(weight))
    np.testing.assert_array_equal(weight, before)


@every_precision
@pytest.mark.parametrize("seed", range(3))
def test_the_bits_of_numerics_on_matrices_as_large_as_they_are(precision, seed):
    generator = torch.Generator().manual_seed(seed)
    weight = torch.randn(256, 301, generator=generator) * torch.logspace(-42, 38, 256)[:, None]
    same_bits(rounded(weight, precision), precision.rounded(weight.numpy()))
    # Columns are not contiguous: another code path in PyTorch.
    turned = weight.t()
    same_bits(rounded(turned, precision).contiguous(), precision.rounded(turned.numpy()))


@every_precision
def test_float64_is_rounded_by_way_of_float32(precision):
    weight = torch.randn(6, 7, dtype=torch.float64)
    got = rounded(weight, precision)
    assert got.dtype == torch.float64
    assert torch.equal(got, rounded(weight.float(), precision).double())


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
def test_a_row_that_is_not_finite_is_nan_in_int8(bad):
    weight = torch.ones(2, 3)
    weight[0, 1] = bad
    got = rounded(weight, INT8)
    assert got[0].isnan().all()
    assert got[1].isfinite().all()


@every_precision
def test_gradients_go_straight_through(precision):
    weight = torch.nn.Parameter(torch.randn(4, 5))
    factor = torch.randn(4, 5)
    shown = straight_through(weight, precision)
    assert torch.equal(shown, rounded(weight, precision))
    assert not shown.is_leaf
    (shown * factor).sum().backward()
    assert torch.equal(weight.grad, factor)


def test_precisions_differ():
    weight = torch.randn(4, 5)
    results = [rounded(weight, precision) for precision in (FP32, BF16, INT8)]
    assert torch.equal(results[0], weight)
    assert not torch.equal(results[1], weight)
    assert not torch.equal(results[2], weight)
