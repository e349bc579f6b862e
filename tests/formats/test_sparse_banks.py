import numpy as np
import pytest

from csbrnn.errors import ArgumentError, FormatError
from csbrnn.formats import SparseBanksMatrix, matrix_from_arrays

#: Banks of 4, 4 and 2 columns, two kept in each.
WEIGHT = np.array(
    [
        [1, 0, 2, 0, 0, 3, 0, 4, 5, 6],
        [0, 7, 8, 0, 9, 10, 0, 0, 11, 12],
    ],
    np.float32,
)


def test_bytes_counted_by_hand():
    matrix = SparseBanksMatrix.from_dense(WEIGHT, 4)
    assert (matrix.banking.count, matrix.banking.banks, matrix.kept) == (2, 3, 12)
    arrays = matrix.arrays()
    # The first of every bank, then the second of every bank.
    assert arrays["values"].tolist() == [[1, 3, 5, 2, 4, 6], [7, 9, 11, 8, 10, 12]]
    # 0 1 0 2 3 1 and 1 0 0 2 1 1, two bits each, the lowest first.
    assert arrays["indices"].tolist() == [0b10_00_01_00, 0b00_01_01_11, 0b01_01_10_00]
    assert matrix.index_bits == 24


def test_a_short_bank_keeps_no_more_than_it_has():
    weight = np.arange(1, 11, dtype=np.float32).reshape(1, 10)
    matrix = SparseBanksMatrix.from_dense(weight, 4)
    assert (matrix.banking.count, matrix.kept) == (4, 10)
    assert matrix.arrays()["values"].tolist() == [[1, 5, 9, 2, 6, 10, 3, 7, 4, 8]]
    np.testing.assert_array_equal(matrix.to_dense(), weight)


def test_banks_with_fewer_weights_store_zeros():
    weight = WEIGHT.copy()
    weight[0, 2] = 0
    matrix = SparseBanksMatrix.from_dense(weight, 4)
    assert matrix.kept == 12
    np.testing.assert_array_equal(matrix.to_dense(), weight)


def test_two_of_four_takes_two_bits_a_weight():
    weight = np.tile(np.array([[1, 0, 2, 0], [0, 1, 0, 2]], np.float32), (8, 16))
    matrix = SparseBanksMatrix.from_dense(weight, 4)
    assert matrix.index_bits == 2 * matrix.kept == weight.size


@pytest.mark.parametrize("size", [0, 2**24 + 1])
def test_refused_sizes(size):
    with pytest.raises(ArgumentError, match=r"bank_size must lie in 1\.\."):
        SparseBanksMatrix.from_dense(WEIGHT, size)


# --- hostile files -------------------------------------------------------------------------------

GOOD = SparseBanksMatrix.from_dense(WEIGHT, 4)


def attack(header=None, **arrays):
    return matrix_from_arrays(GOOD.header() | (header or {}), GOOD.arrays() | arrays)


def packed(*indices):
    bits = sum(index << (2 * i) for i, index in enumerate(indices))
    return np.frombuffer(bits.to_bytes(3, "little"), np.uint8)


def test_the_attacked_matrix_is_good():
    indices = packed(0, 1, 0, 2, 3, 1, 1, 0, 0, 2, 1, 1)
    np.testing.assert_array_equal(attack(indices=indices).to_dense(), WEIGHT)


@pytest.mark.parametrize(
    ("header", "arrays", "message"),
    [
        ({"bank_size": 0}, {}, "bank_size must be an integer"),
        ({"count": 5}, {}, r"count must be an integer in 0\.\.4, not 5"),
        ({"bank_size": 2**24, "count": 11}, {}, r"count must be an integer in 0\.\.10, not 11"),
        ({"count": 3}, {}, r"values must have shape \(2, 8\), not \(2, 6\)"),
        ({"bank_size": 5}, {}, r"values must have shape \(2, 4\), not \(2, 6\)"),
        ({"shape": [2**24, 10]}, {}, r"values must have shape \(16777216, 6\)"),
        ({}, {"indices": packed(0, 1)[:2]}, r"indices must have shape \(3,\), not \(2,\)"),
        ({}, {"indices": packed(0, 1, 2, 2, 3, 1)}, "indices of row 0 lie beyond their banks"),
        ({}, {"indices": packed(2, 1, 0, 2, 3, 1)}, "must ascend, but not in row 0"),
        (
            {},
            {"indices": packed(0, 1, 0, 2, 3, 1, 2, 0, 0, 1, 1, 1)},
            "must ascend, but not in row 1",
        ),
        ({}, {"values": np.full((2, 6), np.nan, "f4")}, "must be finite"),
    ],
)
def test_hostile_files(header, arrays, message):
    with pytest.raises(FormatError, match=message):
        attack(header, **arrays)


def test_no_rows_of_many_columns_take_nothing():
    header = GOOD.header() | {"shape": [0, 2**24], "bank_size": 1, "count": 1}
    arrays = {"values": np.zeros((0, 2**24), "f4"), "indices": np.zeros(0, "u1")}
    assert matrix_from_arrays(header, arrays).kept == 0
