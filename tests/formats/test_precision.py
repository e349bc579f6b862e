import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from csbrnn.errors import ArgumentError, FormatError
from csbrnn.formats import CSBCandidate, CSBMatrix, DenseMatrix, encode, matrix_from_arrays
from csbrnn.formats.csb import stored_nbytes
from csbrnn.numerics import BF16, FP32, INT8, PRECISIONS

from .test_csb import matrices

ALL = pytest.mark.parametrize("precision", PRECISIONS.values(), ids=PRECISIONS)


@ALL
@given(case=matrices(), dense=st.booleans())
@settings(max_examples=100)
def test_any_matrix_in_any_precision(precision, case, dense):
    weight, block, group = case
    weight = weight + np.float32(0)  # zeros outside kernels lose their sign
    exact = DenseMatrix(weight) if dense else CSBMatrix.from_dense(weight, block, group)
    matrix = exact.with_precision(precision)
    again = matrix_from_arrays(matrix.header(), matrix.arrays())
    expected = precision.quantize(weight)
    for one in (matrix, again):
        assert (one.precision, one.dtype) == (precision, precision.name)
        np.testing.assert_array_equal(one.to_dense(), precision.dequantize(expected))
        np.testing.assert_array_equal(one.to_quantized().values, expected.values)
        np.testing.assert_array_equal(one.to_quantized().scales, expected.scales)
        assert (one.kept, one.index_bits, one.shape) == (exact.kept, exact.index_bits, weight.shape)
        scale_bits = 32 * len(weight) if precision.scaled else 0
        assert (
            8 * one.nbytes
            == 8 * precision.storage.itemsize * one.kept + one.index_bits + scale_bits
        )
        for array in one.arrays().values():
            assert not array.flags.writeable
    if not dense:
        assert matrix.nbytes == stored_nbytes(weight != 0, matrix.blocking, precision)


@ALL
def test_precision_changes_lose_nothing_twice(precision):
    weight = np.random.default_rng(0).standard_normal((9, 20)).astype(np.float32)
    for exact in (DenseMatrix(weight), CSBMatrix.from_dense(weight, (3, 4))):
        matrix = exact.with_precision(precision)
        assert matrix.with_precision(precision) is matrix
        back = matrix.with_precision(FP32)
        np.testing.assert_array_equal(back.to_dense(), matrix.to_dense())
        again = back.with_precision(precision)
        for name, array in matrix.arrays().items():
            np.testing.assert_array_equal(again.arrays()[name], array)


def test_weights_that_become_zero_are_kept():
    matrix = CSBMatrix.from_dense(np.array([[1, 1e-9]], np.float32), (1, 2)).with_precision(INT8)
    assert matrix.values.tolist() == [127, 0]
    assert matrix.kept == 2


def test_the_smallest_format_depends_on_the_precision():
    # Bitmaps of 96 bits on one axis: worth it for 4 bytes a weight, not for 1.
    weight = np.ones((1, 96), np.float32)
    weight[:, :8] = 0
    candidates = [CSBCandidate((1, 96))]
    assert isinstance(encode(weight, candidates), CSBMatrix)
    assert isinstance(encode(weight, candidates, INT8), DenseMatrix)
    assert encode(weight, candidates, INT8).dtype == "int8"
    weight[:, :64] = 0
    assert isinstance(encode(weight, candidates, INT8), CSBMatrix)


def test_representation_says_the_precision():
    matrix = DenseMatrix(np.ones((2, 3), np.float32)).with_precision(INT8)
    assert repr(matrix) == "DenseMatrix(2x3 int8, kept=6, nbytes=14)"


ONE = np.ones(2, np.float32)


@pytest.mark.parametrize(
    ("values", "precision", "scales", "message"),
    [
        (np.zeros((2, 3), "i1"), BF16, None, "values in bf16 must be a 2-D uint16 array"),
        (np.zeros(3, "i1"), INT8, ONE, "a 2-D int8 array, not a int8 array of shape"),
        (np.zeros((2, 3), "i1"), INT8, None, r"scales in int8 must be \('float32', \(2,\)\), not"),
        (np.zeros((2, 3), "i1"), INT8, np.ones(2), "not \\('float64'"),
        (np.zeros((2, 3), "f4"), FP32, ONE, "scales in fp32 must be None"),
        (np.full((2, 3), -128, "i1"), INT8, ONE, "number 0 is -128"),
        (np.zeros((2, 3), "i1"), INT8, -ONE, "scales must be as scale_of"),
        (np.full((2, 3), 0x7FC0, "u2"), BF16, None, "must be finite; number 0"),
        (np.zeros((2, 133145), "i1"), INT8, ONE, "has 133145 columns, more than the 133144"),
    ],
)
def test_what_a_precision_cannot_hold_is_refused(values, precision, scales, message):
    with pytest.raises(ArgumentError, match=message):
        DenseMatrix(values, precision, scales)


def test_hostile_dtype():
    header = {"format": "dense", "shape": [1, 1], "dtype": "int4"}
    with pytest.raises(
        FormatError, match="dtype must be one of fp32, bf16, int8, fixed16, fixed12, not 'int4'"
    ):
        matrix_from_arrays(header, {"values": np.zeros((1, 1), "i1")})
