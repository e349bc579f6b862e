import numpy as np
import pytest

from csbrnn.errors import ArgumentError, FormatError
from csbrnn.formats import CirculantMatrix, matrix_from_arrays
from csbrnn.formats.circulant import MAX_CIRCULANT
from csbrnn.numerics import BF16, FP32, INT8

#: Two blocks of 3 x 3 over one that is zero and one cut off, in 4 x 5.
WEIGHT = np.array(
    [
        [1, 3, 2, 4, 6],
        [2, 1, 3, 5, 4],
        [3, 2, 1, 6, 5],
        [0, 0, 0, 7, 9],
    ],
    np.float32,
)


def circulant(rows, cols, block, seed=0):
    rng = np.random.default_rng(seed)
    down, across = -(-rows // block), -(-cols // block)
    vectors = rng.standard_normal((down, across, block)).astype(np.float32)
    turn = (np.arange(block)[:, None] - np.arange(block)) % block
    whole = vectors[..., turn].transpose(0, 2, 1, 3).reshape(down * block, across * block)
    return np.ascontiguousarray(whole[:rows, :cols])


def test_bytes_counted_by_hand():
    matrix = CirculantMatrix.from_dense(WEIGHT, 3)
    # First columns; of the last block only the first row is there: v[0], then v[2].
    assert matrix.arrays()["values"].tolist() == [1, 2, 3, 4, 5, 6, 7, 0, 9]
    assert matrix.grid.index == "bitmap"
    assert matrix.arrays()["blocks"].tolist() == [0b10_11]
    assert (matrix.kept, matrix.index_bits) == (9, 8)


def test_whole_circulant_matrices_need_no_index():
    matrix = CirculantMatrix.from_dense(circulant(64, 48, 16), 16)
    assert (matrix.kept, matrix.index_bits) == (64 * 48 // 16, 0)


@pytest.mark.parametrize("precision", [FP32, BF16, INT8], ids=repr)
@pytest.mark.parametrize(("rows", "cols", "block"), [(12, 8, 4), (13, 11, 4), (3, 5, 8), (6, 6, 1)])
def test_products_agree_with_the_dense_matrix(rows, cols, block, precision):
    matrix = CirculantMatrix.from_dense(circulant(rows, cols, block), block)
    matrix = matrix.with_precision(precision)
    x = np.random.default_rng(1).standard_normal(cols)
    expected = matrix.to_dense().astype(np.float64) @ x
    # Sums of up to 11 products of about 1 in fp64; transforms lose a few units more.
    np.testing.assert_allclose(matrix.product(x), expected, rtol=0, atol=1e-13)
    np.testing.assert_allclose(matrix.product_by_fft(x), expected, rtol=0, atol=1e-13)


def test_what_is_multiplied_is_what_blocks_hold():
    matrix = CirculantMatrix.from_dense(WEIGHT, 3)
    assert (matrix.kept, matrix.multiplied) == (9, 9 + 6 + 2)


def test_products_leave_out_blocks_of_zeros():
    x = np.arange(5.0)
    for product in ("product", "product_by_fft"):
        y = getattr(CirculantMatrix.from_dense(WEIGHT, 3), product)(x)
        np.testing.assert_allclose(y, WEIGHT.astype(np.float64) @ x, atol=1e-13)


def test_a_vector_of_another_size_is_refused():
    with pytest.raises(ArgumentError, match=r"x must have shape \(5,\), not \(4,\)"):
        CirculantMatrix.from_dense(WEIGHT, 3).product(np.zeros(4))


def test_rows_of_whole_blocks_have_the_scales_they_have_anyway():
    weight = circulant(16, 24, 8)
    matrix = CirculantMatrix.from_dense(weight, 8).with_precision(INT8)
    expected = INT8.quantize(weight)
    np.testing.assert_array_equal(matrix.to_quantized().values, expected.values)
    np.testing.assert_array_equal(matrix.to_quantized().scales, expected.scales)
    assert matrix.arrays()["scales"].shape == (2,)
    assert matrix.nbytes == 16 * 24 // 8 + 8


def test_what_is_not_circulant_is_refused():
    weight = circulant(8, 8, 4)
    weight[5, 2] += 1
    message = "the one with row 5, column 2 is not; project the weight onto the pattern first"
    with pytest.raises(ArgumentError, match=message):
        CirculantMatrix.from_dense(weight, 4)


@pytest.mark.parametrize("block", [0, MAX_CIRCULANT + 1])
def test_refused_blocks(block):
    with pytest.raises(ArgumentError, match=r"block must lie in 1\.\.4096"):
        CirculantMatrix.from_dense(WEIGHT, block)


# --- hostile files -------------------------------------------------------------------------------

GOOD = CirculantMatrix.from_dense(WEIGHT, 3)


def attack(header=None, **arrays):
    return matrix_from_arrays(GOOD.header() | (header or {}), GOOD.arrays() | arrays)


def u8(*values):
    return np.array(values, np.uint8)


@pytest.mark.parametrize(
    ("header", "arrays", "message"),
    [
        ({"block": 0}, {}, r"block must be an integer in 1\.\.4096"),
        ({"block": 4097}, {}, r"block must be an integer in 1\.\.4096"),
        ({"block": [3, 3]}, {}, "block must be an integer"),
        ({"block": 1, "shape": [2**15, 2**15]}, {}, "at most 4194304 blocks"),
        ({"index": "all"}, {"blocks": u8()}, r"values must have shape \(12,\), not \(9,\)"),
        ({}, {"blocks": u8(0b11_11)}, r"values must have shape \(12,\), not \(9,\)"),
        ({}, {"blocks": u8(0b1_10_11)}, "last 4 bits"),
        ({}, {"values": np.ones((3, 3), "f4")}, "one-dimensional"),
        ({"dtype": "int8"}, {"values": np.ones(9, "i1")}, "array scales is missing"),
        (
            {"dtype": "int8"},
            {"values": np.ones(9, "i1"), "scales": np.ones(4, "f4")},
            r"scales must have shape \(2,\), not \(4,\)",
        ),
    ],
)
def test_hostile_files(header, arrays, message):
    with pytest.raises(FormatError, match=message):
        attack(header, **arrays)
