import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from csbrnn.errors import ArgumentError
from csbrnn.numerics import (
    INT8,
    MAX_COLUMNS,
    MAX_SCALE,
    MIN_SCALE,
    int8_product,
    is_scale,
    quantize_vector,
    scale_of,
)

FLOATS = st.floats(width=32, allow_nan=False, allow_infinity=False)
WEIGHTS = arrays(np.float32, array_shapes(min_dims=2, max_dims=2, max_side=6), elements=FLOATS)
MAX = float(np.finfo(np.float32).max)


def plain(x: list[float]) -> tuple[list[int], float]:
    """docs/spec/precision.md, one number at a time."""
    f = np.float32
    if not all(math.isfinite(v) for v in x):
        return [0] * len(x), math.nan
    scale = f(max((abs(f(v)) for v in x), default=f(0))) * f(float.fromhex("0x1.020408p-7"))
    scale = ((np.array(scale).view(np.uint32) + np.uint32(64)) & np.uint32(0xFFFFFF80)).view(f)
    if scale < 2.0**-125:
        return [0] * len(x), 0.0
    inverse = f(1) / scale
    clamped = [min(max(f(v) * inverse, f(-127)), f(127)) for v in x]
    return [round(float(v)) for v in clamped], float(scale)  # Python rounds half to even


@given(st.lists(FLOATS, max_size=8))
def test_vectors_are_quantized_as_the_page_says(x):
    values, scale = quantize_vector(np.array(x, np.float32))
    assert (values.tolist(), float(scale)) == plain(x)
    assert values.dtype == np.int8
    assert scale.dtype == np.float32


@given(WEIGHTS)
def test_every_weight_is_within_half_a_scale(weight):
    values, scales = INT8.quantize(weight)
    for row, row_values, scale in zip(weight, values, scales, strict=True):
        for w, value in zip(row, row_values, strict=True):
            error = abs(Fraction(float(w)) - Fraction(float(scale)) * int(value))
            # 2**-15: 127 half-ulps of two fp32 roundings. Rows too small for a scale become zero.
            bound = Fraction(float(scale)) * (Fraction(1, 2) + Fraction(1, 2**15))
            assert error <= bound if scale else error < Fraction(2) ** -118


@given(WEIGHTS)
def test_quantizing_again_changes_nothing_and_weights_are_exact(weight):
    quantized = INT8.quantize(weight)
    dense = INT8.dequantize(quantized)
    exact = quantized.values.astype(np.float64) * quantized.scales[:, None].astype(np.float64)
    np.testing.assert_array_equal(dense, exact)
    again = INT8.quantize(dense)
    np.testing.assert_array_equal(again.values, quantized.values)
    np.testing.assert_array_equal(again.scales, quantized.scales)
    assert INT8.problem(*quantized) is None


def test_every_scale_survives():
    """All 2^16 fractions, at the least, a usual and the largest exponents."""
    fraction = np.arange(2**16) / 2**16 + 1
    for exponent in (-125, -124, -8, 0, 120):
        scales = (fraction * 2.0**exponent).astype(np.float32)
        np.testing.assert_array_equal(scale_of(127 * scales), scales)
    assert scale_of(127 * np.float32(MAX_SCALE)) == MAX_SCALE


def test_ties_go_to_even():
    x = np.array([0.5, 1.5, 2.5, -0.5, -1.5, -2.5, 126.5]) / 128
    assert quantize_vector(x, 2.0**-7)[0].tolist() == [0, 2, 2, 0, -2, -2, 126]


def test_static_scales_saturate():
    values, scale = quantize_vector([1e30, -1e30, MAX, 126.6, -127.4], 1.0)
    assert values.tolist() == [127, -127, 127, 127, -127]
    assert scale == 1
    # x / scale overflows to infinity, which saturates too.
    assert quantize_vector([MAX, -MAX], MIN_SCALE)[0].tolist() == [127, -127]


@pytest.mark.parametrize("scale", [None, 1.0])
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_what_is_not_finite_makes_every_product_nan(bad, scale):
    values, scale_x = quantize_vector([1, bad, 2], scale)
    assert values.tolist() == [0, 0, 0]
    assert np.isnan(scale_x)
    weight = INT8.quantize(np.array([[1, 0, 0], [0, 0, 0]], np.float32))
    assert np.isnan(int8_product(*weight, [1, bad, 2], scale)).all()


def test_only_the_vector_that_is_not_finite_suffers():
    weight = INT8.quantize(np.ones((2, 2), np.float32))
    product = int8_product(*weight, [[1, 1], [np.nan, 1]])
    assert np.isfinite(product).all(axis=-1).tolist() == [True, False]


def test_subnormal_numbers_are_zero_under_the_least_scale():
    subnormal = np.float32(2.0**-126 - 2.0**-149)
    assert quantize_vector([subnormal, -subnormal], MIN_SCALE)[0].tolist() == [0, 0]
    least = np.float32(127 * MIN_SCALE)
    assert quantize_vector([subnormal, least])[0].tolist() == [0, 127]
    values, scale = quantize_vector([subnormal, np.nextafter(least, 0) / 2])
    assert (values.tolist(), float(scale)) == ([0, 0], 0)


def test_zero_and_empty_vectors():
    for x in ([], [0.0, -0.0]):
        values, scale = quantize_vector(x)
        assert (values.tolist(), float(scale)) == ([0] * len(x), 0)
    assert int8_product(*INT8.quantize(np.ones((2, 0), np.float32)), []).tolist() == [0, 0]


@given(WEIGHTS, st.sampled_from([None, 2.0**-7, 1.0]), st.integers(0, 2**32))
def test_products_in_integers(weight, scale, seed):
    x = np.random.default_rng(seed).standard_normal(weight.shape[1]).astype(np.float32)
    values, scales = INT8.quantize(weight)
    quantized, scale_x = quantize_vector(x, scale)
    got = int8_product(values, scales, x, scale)
    assert got.dtype == np.float32
    for row, row_scale, product in zip(values, scales, got, strict=True):
        total = np.int32(sum(int(a) * int(b) for a, b in zip(row, quantized, strict=True)))
        with np.errstate(all="ignore"):
            expected = (scale_x * row_scale) * np.float32(total)
        np.testing.assert_array_equal(product, expected)


def test_the_largest_sum_fits_int32():
    assert MAX_COLUMNS * 127**2 < 2**31 <= (MAX_COLUMNS + 1) * 127**2
    total = int8_product(
        np.full((1, MAX_COLUMNS), 127), np.ones(1, np.float32), np.full(MAX_COLUMNS, 127.0)
    )
    assert total == np.float32(MAX_COLUMNS * 127**2)
    with pytest.raises(ArgumentError, match="has 133145 columns, more than the 133144 whose"):
        INT8.quantize(np.zeros((1, MAX_COLUMNS + 1), np.float32))


def test_what_a_scale_is():
    good = [0, 1, 2.0**-7, 1 + 2.0**-16, MIN_SCALE, MAX_SCALE]
    bad = [-0.0, -1, 1 + 2.0**-17, 0.1, MIN_SCALE / 2, 2 * MAX_SCALE, np.nan, np.inf, 1e300]
    assert is_scale(good).all()
    assert not is_scale(bad).any()
    assert (127 * np.float32(MAX_SCALE) < np.inf) & np.isnan(scale_of([np.inf, np.nan])).all()


@pytest.mark.parametrize("scale", [0.0, -1.0, 0.1, np.nan, np.inf])
def test_other_static_scales_are_refused(scale):
    with pytest.raises(ArgumentError, match="a static scale must have at most 17 significant bits"):
        quantize_vector([1.0], scale)
