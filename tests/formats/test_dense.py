import numpy as np
import pytest

from csbrnn.errors import ArgumentError, FormatError
from csbrnn.formats import DenseMatrix, matrix_from_arrays


@pytest.mark.parametrize("shape", [(0, 0), (0, 3), (3, 0), (1, 1), (5, 3)])
def test_round_trip(shape):
    values = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
    matrix = DenseMatrix(values)
    again = matrix_from_arrays(matrix.header(), matrix.arrays())
    np.testing.assert_array_equal(again.to_dense(), values)
    assert (again.shape, again.kept, again.nbytes, again.index_bits) == (
        shape,
        values.size,
        4 * values.size,
        0,
    )
    assert again.density == 1


def test_transposed_values_are_stored_in_order():
    values = np.arange(6, dtype=np.float32).reshape(2, 3).T
    np.testing.assert_array_equal(DenseMatrix(values).arrays()["values"], values)
    assert DenseMatrix(values).arrays()["values"].flags.c_contiguous


def test_it_is_immutable_and_its_dense_form_is_a_copy():
    matrix = DenseMatrix(np.ones((2, 2), np.float32))
    with pytest.raises(ValueError, match="read-only"):
        matrix.values[0] = 2
    matrix.to_dense()[:] = 2
    assert matrix.values.max() == 1
    assert repr(matrix) == "DenseMatrix(2x2, kept=4, nbytes=16)"


def test_what_cannot_be_stored_is_refused():
    with pytest.raises(ArgumentError, match="2-D float32 array, not a int64 array"):
        DenseMatrix(np.ones((2, 2), np.int64))


@pytest.mark.parametrize(
    ("header", "values", "message"),
    [
        ({"shape": [2, 3]}, np.ones((2, 2), "f4"), r"values must have shape \(2, 3\)"),
        ({}, np.ones((2, 2), "u1"), "array values must be float32, not uint8"),
        ({}, np.full((2, 2), np.nan, "f4"), "must be finite; number 0 is not"),
        ({"block": [1, 1]}, np.ones((2, 2), "f4"), "unknown keys: 'block'"),
    ],
)
def test_hostile(header, values, message):
    good = {"format": "dense", "shape": [2, 2], "dtype": "fp32"}
    with pytest.raises(FormatError, match=message):
        matrix_from_arrays(good | header, {"values": values})
