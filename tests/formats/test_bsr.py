import numpy as np
import pytest

from csbrnn.errors import ArgumentError, FormatError
from csbrnn.formats import BSRMatrix, matrix_from_arrays

#: Blocks of 2 x 3 in 3 x 8: two rows of three; the last row has one line, the last column two.
WEIGHT = np.zeros((3, 8), np.float32)
WEIGHT[0, 3:6], WEIGHT[1, 3:6], WEIGHT[2, 6:8] = (1, 2, 3), (4, 0, 6), (7, 8)


def test_bytes_counted_by_hand():
    matrix = BSRMatrix.from_dense(WEIGHT, (2, 3))
    assert matrix.arrays()["values"].tolist() == [1, 2, 3, 4, 0, 6, 7, 8]
    # 010 and 001, the first block first. As a list: 2 counts of 2 bits, 2 numbers of 2 bits.
    assert matrix.grid.index == "bitmap"
    assert matrix.arrays()["blocks"].tolist() == [0b100_010]
    assert (matrix.kept, matrix.index_bits) == (8, 8)


def test_few_of_many_blocks_are_listed():
    weight = np.zeros((4, 4 * 64), np.float32)
    weight[:, 4 * 9 : 4 * 10] = 1
    matrix = BSRMatrix.from_dense(weight, (4, 4))
    # A count of 0 to 64 in 7 bits, then the number in 6 bits, each from a byte on.
    assert matrix.grid.index == "list"
    assert matrix.arrays()["blocks"].tolist() == [1, 9]


def test_nothing_to_say_takes_nothing():
    matrix = BSRMatrix.from_dense(np.ones((4, 4), np.float32), (2, 2))
    assert (matrix.grid.index, matrix.index_bits) == ("all", 0)


def test_kernel_stats():
    stats = BSRMatrix.from_dense(WEIGHT, (2, 3)).kernel_stats()
    assert (stats.blocks, stats.empty, stats.largest) == (6, 4, 6)


@pytest.mark.parametrize("block", [(0, 4), (4, 2**25)])
def test_refused_blocks(block):
    with pytest.raises(ArgumentError, match=r"must lie in 1\.\."):
        BSRMatrix.from_dense(WEIGHT, block)


# --- hostile files -------------------------------------------------------------------------------

GOOD = BSRMatrix.from_dense(WEIGHT, (2, 3))


def attack(header=None, **arrays):
    return matrix_from_arrays(GOOD.header() | (header or {}), GOOD.arrays() | arrays)


def u8(*values):
    return np.array(values, np.uint8)


def test_the_attacked_matrix_is_good():
    listed = u8(0b01_01, 0b10_01)
    np.testing.assert_array_equal(attack({"index": "list"}, blocks=listed).to_dense(), WEIGHT)


@pytest.mark.parametrize(
    ("header", "arrays", "message"),
    [
        ({"block": [2]}, {}, "block must hold 2 integers"),
        ({"block": [0, 3]}, {}, r"block\[0\] must be an integer"),
        ({"block": [1, 1], "shape": [2**15, 2**15]}, {}, "at most 4194304 blocks"),
        ({"index": "coo"}, {}, "index must be one of all, flags, bitmap, list"),
        ({"index": "all"}, {}, "'all' of 2 blocks must take 0 bytes, not 1"),
        ({"index": "all"}, {"blocks": u8()}, r"values must have shape \(24,\), not \(8,\)"),
        ({"index": "flags"}, {}, "last 6 bits"),
        ({}, {"blocks": u8(0b1100_010)}, "last 2 bits"),
        ({}, {"blocks": u8(0b111)}, r"values must have shape \(16,\), not \(8,\)"),
        ({}, {"blocks": u8(0b100_010, 0)}, "must take 1 bytes, not 2"),
        ({}, {"blocks": u8(0b100_010)[None]}, "one-dimensional"),
        ({"index": "list"}, {"blocks": u8(0b01_01, 0b11_01)}, "lies outside its block"),
        ({}, {"values": np.full(8, np.inf, "f4")}, "must be finite"),
    ],
)
def test_hostile_files(header, arrays, message):
    with pytest.raises(FormatError, match=message):
        attack(header, **arrays)
