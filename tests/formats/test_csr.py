import numpy as np
import pytest

from csbrnn.errors import ArgumentError, FormatError
from csbrnn.formats import CSRMatrix, matrix_from_arrays


def place(shape, where):
    weight = np.zeros(shape, np.float32)
    for value, index in enumerate(where, start=1):
        weight[index] = value
    return weight


def test_bytes_counted_by_hand():
    # Gaps 1, 4; none; 0. In 2 bits, 3 is a step: 01, 11 01, 00 from the lowest bit on.
    matrix = CSRMatrix.from_dense(place((3, 8), [(0, 1), (0, 6), (2, 0)]), 2)
    arrays = matrix.arrays()
    # Counts of 0 to 8 take 4 bits: 2, 0, 1.
    assert arrays["counts"].tolist() == [0x02, 0x01]
    assert arrays["gaps"].tolist() == [0b00_01_11_01]
    assert arrays["values"].tolist() == [1, 2, 3]
    assert (matrix.kept, matrix.index_bits) == (3, 24)


def test_gaps_are_counted_from_the_row_s_begin():
    weight = place((2, 20), [(0, 19), (1, 19)])
    for bits in (1, 2, 3, 4, 5, 16):
        matrix = CSRMatrix.from_dense(weight, bits)
        again = matrix_from_arrays(matrix.header(), matrix.arrays())
        np.testing.assert_array_equal(again.to_dense(), weight)
        codes = 19 // (2**bits - 1) + 1
        assert matrix.arrays()["gaps"].size == -(-2 * codes * bits // 8)


@pytest.mark.parametrize("density", [0.02, 0.1, 0.3, 0.7])
def test_the_best_width_is_the_smallest(density):
    rng = np.random.default_rng(0)
    weight = (rng.random((40, 300)) < density).astype(np.float32)
    sizes = [CSRMatrix.from_dense(weight, bits).nbytes for bits in range(1, 17)]
    assert CSRMatrix.from_dense(weight).nbytes == min(sizes)


def test_one_bit_is_a_bitmap():
    weight = place((1, 9), [(0, 2), (0, 3), (0, 7)])
    # Up to the last weight: 1 for a zero, 0 for a weight.
    assert CSRMatrix.from_dense(weight, 1).arrays()["gaps"].tolist() == [0b01110011]


def test_the_usual_numbers():
    """At 8x, 4 bits a gap, 0.6 of steps, and counts of 11 bits for rows of 128."""
    weight = (np.random.default_rng(0).random((256, 1024)) < 1 / 8).astype(np.float32)
    matrix = CSRMatrix.from_dense(weight)
    assert matrix.gap_bits == 4
    steps = 4 * 0.875**15 / (1 - 0.875**15)
    assert matrix.index_bits / matrix.kept == pytest.approx(4 + steps + 11 / 128, rel=0.01)


@pytest.mark.parametrize("bits", [0, 17])
def test_refused_widths(bits):
    with pytest.raises(ArgumentError, match=r"gap_bits must lie in 1\.\.16"):
        CSRMatrix.from_dense(np.ones((2, 2), np.float32), bits)


# --- hostile files -------------------------------------------------------------------------------

GOOD = CSRMatrix.from_dense(place((3, 8), [(0, 1), (0, 6), (2, 0)]), 2)


def attack(header=None, **arrays):
    return matrix_from_arrays(GOOD.header() | (header or {}), GOOD.arrays() | arrays)


def u8(*values):
    return np.array(values, np.uint8)


def test_the_attacked_matrix_is_good():
    np.testing.assert_array_equal(attack().to_dense(), GOOD.to_dense())


@pytest.mark.parametrize(
    ("header", "arrays", "message"),
    [
        ({"gap_bits": 0}, {}, r"gap_bits must be an integer in 1\.\.16"),
        ({"gap_bits": 17}, {}, r"gap_bits must be an integer in 1\.\.16"),
        ({"shape": [2**24, 8]}, {}, "counts of 16777216 rows of 4 bits must take 8388608 bytes"),
        ({"shape": [5, 8]}, {}, "counts of 5 rows of 4 bits must take 3 bytes, not 2"),
        ({"shape": [3, 6]}, {}, "rows keep 6 weights, but there are 3 values"),
        ({}, {"counts": u8(0x02, 0x11)}, "last 4 bits"),
        ({}, {"counts": u8(0x09, 0x01)}, "row 0 keeps 9 of 8 weights"),
        ({}, {"counts": u8(0x12, 0x01)}, "rows keep 4 weights, but there are 3 values"),
        ({}, {"values": np.ones(2, "f4")}, "rows keep 3 weights, but there are 2 values"),
        ({}, {"values": np.ones((3, 1), "f4")}, "one-dimensional"),
        ({}, {"gaps": u8(0xFF)}, "gaps must hold 3 weights, not 0"),
        ({}, {"gaps": u8(0b01_11_01, 0)}, "gaps must end with the last weight"),
        ({}, {"gaps": u8()}, "gaps must hold 3 weights, not 0"),
        ({}, {"gaps": u8(0b01_00_00_00)}, "gaps must end with the last weight"),
        ({}, {"gaps": u8(0b11_11_11_11, 0b00_00_11_11)}, "gaps must hold 3|a weight of row 0"),
        ({}, {"gaps": u8(0b10_11_11_01, 0b00)}, "a weight of row 0 lies beyond the 8 columns"),
    ],
)
def test_hostile_files(header, arrays, message):
    with pytest.raises(FormatError, match=message):
        attack(header, **arrays)


def test_rows_without_columns_take_nothing():
    header = GOOD.header() | {"shape": [2**24, 0]}
    matrix = matrix_from_arrays(header, {"values": np.zeros(0, "f4"), "counts": u8(), "gaps": u8()})
    assert (matrix.kept, matrix.rows.size) == (0, 0)
