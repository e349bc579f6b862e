import copy
import pickle

import numpy as np
import pytest
from hypothesis import given

from csbrnn.errors import ArgumentError
from csbrnn.numerics import (
    BF16,
    FIXED12,
    FIXED16,
    FP32,
    INT8,
    PRECISIONS,
    bf16_from_fp32,
    fp32_from_bf16,
    precision_of,
)

from .test_int8 import WEIGHTS

ALL = pytest.mark.parametrize("precision", PRECISIONS.values(), ids=PRECISIONS)


@ALL
@given(weight=WEIGHTS)
def test_rounding_twice_is_rounding_once(precision, weight):
    quantized = precision.quantize(weight)
    assert quantized.values.shape == weight.shape
    assert quantized.values.dtype == precision.storage
    assert 8 * precision.storage.itemsize >= precision.bits
    assert (quantized.scales is not None) == precision.scaled
    assert precision.problem(*quantized) is None
    rounded = precision.dequantize(quantized)
    assert rounded.dtype == np.float32
    again = precision.quantize(rounded)
    np.testing.assert_array_equal(again.values, quantized.values)
    np.testing.assert_array_equal(precision.rounded(weight), rounded)


@ALL
@pytest.mark.parametrize("shape", [(0, 3), (3, 0), (0, 0)])
def test_empty_matrices(precision, shape):
    assert precision.rounded(np.zeros(shape, np.float32)).shape == shape


@ALL
def test_zero_is_all_bits_zero(precision):
    values, scales = precision.quantize(np.zeros((2, 2), np.float32))
    assert not values.view(np.uint8).any()
    # A power of two is no zero, whatever it multiplies.
    assert scales is None or not scales.any() or not precision.rounds_operand


@ALL
def test_only_finite_fp32_matrices_are_quantized(precision):
    with pytest.raises(ArgumentError, match="a 2-D float32 array, not a float64 array"):
        precision.quantize(np.ones((2, 2)))
    with pytest.raises(ArgumentError, match="must be finite"):
        precision.quantize(np.full((2, 2), np.inf, np.float32))


@ALL
def test_dequantized_weights_are_a_new_array(precision):
    quantized = precision.quantize(np.ones((1, 1), np.float32))
    precision.dequantize(quantized)[:] = 5
    np.testing.assert_allclose(precision.dequantize(quantized), 1, rtol=2**-17)


@pytest.mark.parametrize(
    ("bits", "expected"),
    [
        (0x3F800000, 0x3F80),
        (0x3F808000, 0x3F80),  # a tie, to even
        (0x3F818000, 0x3F82),  # a tie, to even
        (0x3F808001, 0x3F81),
        (0xBF80FFFF, 0xBF81),
        (0x3FFFFFFF, 0x4000),  # carries into the exponent
        (0x80000000, 0x8000),
        (0x00000001, 0x0000),
        (0x00018000, 0x0002),  # subnormal numbers are rounded like others
        (0x007FFFFF, 0x0080),
        (0x7F7FFFFF, 0x7F7F),  # would be infinite
        (0xFF7FFFFF, 0xFF7F),
        (0x7F7F7FFF, 0x7F7F),
    ],
)
def test_bf16_of_fp32(bits, expected):
    x = np.array([bits], np.uint32).view(np.float32)
    assert bf16_from_fp32(x).tolist() == [expected]


def test_every_finite_bf16_is_exact():
    bits = np.arange(2**16, dtype=np.uint16)
    finite = bits[(bits & 0x7F80) != 0x7F80]
    np.testing.assert_array_equal(bf16_from_fp32(fp32_from_bf16(finite)), finite)


@ALL
def test_copies_are_the_one_object(precision):
    assert pickle.loads(pickle.dumps(precision)) is precision
    assert copy.deepcopy(precision) is copy.copy(precision) is precision


def test_precisions_by_name():
    assert list(PRECISIONS) == ["fp32", "bf16", "int8", "fixed16", "fixed12"]
    assert [precision_of(name) for name in PRECISIONS] == [FP32, BF16, INT8, FIXED16, FIXED12]
    assert precision_of(BF16) is BF16
    assert repr(INT8) == "INT8"
    with pytest.raises(
        ArgumentError, match="must be one of fp32, bf16, int8, fixed16, fixed12, not 'fp16'"
    ):
        precision_of("fp16")
