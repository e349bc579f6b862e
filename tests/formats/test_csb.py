import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from csbrnn.errors import ArgumentError, FormatError
from csbrnn.formats import CSBMatrix, Matrix, matrix_from_arrays
from csbrnn.formats.blocking import Blocking
from csbrnn.formats.csb import stored_nbytes


def reread(matrix: Matrix) -> Matrix:
    return matrix_from_arrays(matrix.header(), matrix.arrays())


@st.composite
def matrices(draw):
    """Matrices of any size with free, striped, blocked or scattered zeros; and how to cut them."""
    rows, cols = draw(st.integers(0, 13)), draw(st.integers(0, 13))
    group = draw(st.integers(1, 5))
    block = (group * draw(st.integers(1, 4)), draw(st.integers(1, 15)))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    density = draw(st.sampled_from([0.0, 0.1, 0.5, 1.0]))
    weight = rng.standard_normal((rows, cols)).astype(np.float32)
    kind = draw(st.sampled_from(["scattered", "free", "stripes", "blocks"]))
    if kind == "scattered":
        return weight * (rng.random((rows, cols)) < density), block, group
    for top in range(0, rows, block[0]):
        for left in range(0, cols, block[1]):
            tile = weight[top : top + block[0], left : left + block[1]]
            if kind == "blocks":
                tile *= rng.random() < density
            else:
                tile[:, rng.random(tile.shape[1]) >= density] = 0
                if kind == "free":
                    tile[rng.random(tile.shape[0]) >= density] = 0
    return weight, block, group


@given(matrices())
@settings(max_examples=300)
def test_any_matrix_round_trips(case):
    weight, block, group = case
    matrix = CSBMatrix.from_dense(weight, block, group)
    again = reread(matrix)
    for one in (matrix, again):
        np.testing.assert_array_equal(one.to_dense(), weight)
        assert (one.shape, one.block, one.row_group) == (weight.shape, block, group)
        assert one.nbytes * 8 == 32 * one.kept + one.index_bits
    assert matrix.header() == again.header()
    assert matrix.nbytes == stored_nbytes(weight != 0, matrix.blocking)


@given(matrices())
@settings(max_examples=300)
def test_accessors_agree_with_a_plain_loop(case):
    weight, (block_rows, block_cols), group = case
    matrix = CSBMatrix.from_dense(weight, (block_rows, block_cols), group)
    b = 0
    for top in range(0, weight.shape[0], block_rows) if weight.size else ():
        for left in range(0, weight.shape[1], block_cols):
            tile = weight[top : top + block_rows, left : left + block_cols]
            rows = [
                top + r
                for first in range(0, len(tile), group)
                for r in range(first, min(first + group, len(tile)))
                if tile[first : first + group].any()
            ]
            cols = [left + c for c in range(tile.shape[1]) if tile[:, c].any()]
            assert matrix.rows[matrix.row_offsets[b] : matrix.row_offsets[b + 1]].tolist() == rows
            assert matrix.cols[matrix.col_offsets[b] : matrix.col_offsets[b + 1]].tolist() == cols
            kernel = matrix.values[matrix.value_offsets[b] : matrix.value_offsets[b + 1]]
            np.testing.assert_array_equal(kernel, weight[np.ix_(rows, cols)].reshape(-1))
            b += 1
    assert len(matrix.row_offsets) == len(matrix.col_offsets) == len(matrix.value_offsets) == b + 1


def place(shape, where):
    weight = np.zeros(shape, np.float32)
    for index in where:
        weight[index] = 1
    return weight


#: name -> weight, block, row group, encodings, bytes of rows and of cols, counted by hand.
SIZES = {
    # One stripe of 4 x 32, one column kept: nothing, and a count of ceil(log2(33)) = 6 bits + 5.
    "stripe": (place((4, 32), [np.s_[:, 3]]), (4, 32), 4, "all", "list", 0, 1 + 1),
    # 8 of 16 columns: 16 bits as a bitmap, 5 bits (1 byte) + 8 x 4 bits as a list.
    "fuller stripe": (place((4, 16), [np.s_[:, ::2]]), (4, 16), 4, "all", "bitmap", 0, 2),
    # 4 x 4 blocks of 8 x 8, on the diagonal whole: 16 flags for one axis, nothing for the other.
    "blocks": (np.kron(np.eye(4), np.ones((8, 8))).astype("f4"), (8, 8), 1, "all", "flags", 0, 2),
    "dense": (place((5, 7), [np.s_[:]]), (2, 3), 1, "all", "all", 0, 0),
    "empty matrix": (place((4, 4), []), (2, 2), 1, "all", "flags", 0, 1),
    # 2 x 2 of 4 x 4: each axis a bitmap of 4 bits; a list would take 3 + 2 x 2 bits, so 2 bytes.
    "free": (place((4, 4), [np.s_[1:3, 1:3]]), (4, 4), 1, "bitmap", "bitmap", 1, 1),
    # Groups of 2 in 3 rows: 2 units, the last one short.
    "short group": (place((3, 2), [np.s_[2, 0]]), (4, 2), 2, "bitmap", "bitmap", 1, 1),
    # 32 x 32, one weight: a count of 6 bits + 5 bits on each axis, against 32.
    "one weight": (place((32, 32), [(7, 9)]), (32, 32), 1, "list", "list", 2, 2),
    # 2 stripes of 64 columns, every eighth kept. Gaps are 7: 5 bytes, 16 x 2 bits (a zero, a one),
    # 16 x 2 bits. A list would take 2 x 7 + 16 x 6 bits, a bitmap 128.
    "scattered": (place((8, 64), [np.s_[:, 7::8]]), (4, 64), 4, "all", "gaps", 0, 5 + 4 + 4),
    "no rows": (np.zeros((0, 3), np.float32), (2, 2), 1, "all", "all", 0, 0),
}


@pytest.mark.parametrize("name", SIZES)
def test_sizes_match_hand_counts(name):
    weight, block, group, row_index, col_index, row_nbytes, col_nbytes = SIZES[name]
    matrix = CSBMatrix.from_dense(weight, block, group)
    assert (matrix.row_index, matrix.col_index) == (row_index, col_index)
    arrays = matrix.arrays()
    assert (arrays["rows"].nbytes, arrays["cols"].nbytes) == (row_nbytes, col_nbytes)
    assert matrix.index_bits == 8 * (row_nbytes + col_nbytes)


def test_zeros_inside_kernels_are_kept():
    weight = np.array([[1, 0], [0, 1]], np.float32)
    assert CSBMatrix.from_dense(weight, (2, 2)).kept == 4


def test_arrays_are_read_only():
    matrix = CSBMatrix.from_dense(np.ones((2, 2), np.float32), (2, 2))
    with pytest.raises(ValueError, match="read-only"):
        matrix.values[0] = 2


def test_kernel_stats():
    weight = place((4, 8), [np.s_[:, :3], np.s_[0, 4]])
    stats = CSBMatrix.from_dense(weight, (4, 2)).kernel_stats()
    assert (stats.blocks, stats.empty, stats.smallest, stats.largest) == (4, 1, 0, 8)
    assert (stats.median, stats.mean, stats.balance) == (2.5, 3.25, 3.25 / 8)
    nothing = CSBMatrix.from_dense(np.zeros((0, 0), np.float32), (4, 2)).kernel_stats()
    assert (nothing.blocks, nothing.balance) == (0, 1.0)


@pytest.mark.parametrize(
    ("weight", "message"),
    [
        (np.zeros((2, 2)), "must be a 2-D float32 array, not a float64 array"),
        (np.zeros(2, np.float32), "must be a 2-D float32 array"),
        ([[1.0]], "must be a 2-D float32 array, not list"),
        (np.full((1, 1), np.nan, np.float32), "must be finite"),
        (np.full((1, 1), -np.inf, np.float32), "must be finite"),
    ],
)
def test_what_cannot_be_stored_is_refused(weight, message):
    with pytest.raises(ArgumentError, match=message):
        CSBMatrix.from_dense(weight, (2, 2))


@pytest.mark.parametrize(
    ("block", "group", "message"),
    [
        ((4, 4), 3, "row_group must divide the block's rows; 3 does not divide 4"),
        ((0, 4), 1, r"must lie in 1\.\."),
        ((4, 4), 0, r"must lie in 1\.\."),
        ((4, 2**25), 1, r"must lie in 1\.\."),
    ],
)
def test_blocks_that_cannot_be_are_refused(block, group, message):
    with pytest.raises(ArgumentError, match=message):
        CSBMatrix.from_dense(np.ones((4, 4), np.float32), block, group)


# --- hostile files -------------------------------------------------------------------------------

GOOD = CSBMatrix.from_dense(place((32, 32), [(7, 9), (8, 9), (8, 11)]), (16, 32))


def attack(header=None, **arrays):
    changed = GOOD.header() | (header or {})
    kept = {k: v for k, v in (GOOD.arrays() | arrays).items() if v is not None}
    return matrix_from_arrays({k: v for k, v in changed.items() if v != "drop"}, kept)


def u8(*values):
    return np.array(values, np.uint8)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"format": "coo"}, "header.format must be one of dense, csb, .*, not 'coo'"),
        ({"dtype": "fp16"}, "header.dtype must be one of fp32"),
        ({"shape": [32]}, "header.shape must hold 2 integers"),
        ({"shape": [32, True]}, r"header.shape\[1\] must be an integer"),
        ({"shape": [-1, 32]}, r"header.shape\[0\] must be an integer"),
        ({"shape": [2**24, 2**24]}, "must have at most 1073741824 weights"),
        ({"shape": [2**24, 64]}, "must take"),
        ({"shape": [16, 32]}, "the last|must take"),
        ({"block": [16, 0]}, r"header.block\[1\] must be an integer"),
        ({"block": [1, 1]}, "must take"),
        ({"block": [2**24, 2**24]}, "last 6 bits of 2 packed bytes must be zero"),
        ({"row_group": 3}, "row_group must divide"),
        ({"row_group": 16}, "outside|kernels|must take|lines of one axis"),
        ({"row_index": "coo"}, "header.row_index must be one of"),
        ({"row_index": "all"}, "'all' of 2 blocks must take 0 bytes, not"),
        ({"row_index": "all", "col_index": "all"}, "must keep every weight, not 4"),
        ({"note": 1}, "unknown keys: 'note'"),
        ({"block": "drop"}, "header.block is missing"),
    ],
)
def test_hostile_headers(change, message):
    with pytest.raises(FormatError, match=message):
        attack(change)


def test_the_attacked_matrix_is_good():
    assert (GOOD.row_index, GOOD.col_index) == ("list", "list")
    assert GOOD.arrays()["rows"].tolist() == [2, 0, 0x87]  # counts 2, 0 of 5 bits; 7, 8 of 4
    attack()


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"rows": None}, "array rows is missing"),
        ({"extra": u8(0)}, "unknown arrays: 'extra'"),
        ({"rows": np.zeros(2, np.float32)}, "array rows must be uint8, not float32"),
        ({"rows": u8(2, 0, 0x87, 0)}, "rows: 8 bits must take 1 bytes, not 2"),
        ({"rows": u8(2)}, "must take at least 2 bytes, not 1"),
        ({"rows": u8(17, 0, 0x87)}, "block 0 keeps 17 of 16 lines"),
        ({"rows": u8(2, 4, 0x87)}, "last 6 bits of 2 packed bytes must be zero"),
        ({"values": np.zeros(5, np.float32)}, "hold 4 weights, but there are 5 values"),
        ({"values": np.zeros(3, np.float32)}, "more than the 3 values there are"),
        ({"values": np.zeros((2, 2), np.float32)}, "one-dimensional"),
        ({"values": np.array([1, 2, np.inf, 4], "f4")}, "must be finite; number 2 is not"),
    ],
)
def test_hostile_arrays(arrays, message):
    with pytest.raises(FormatError, match=message):
        attack(**arrays)


def lines(row_units, col_units, n=16):
    """One block of n x n with the given units, packed as lists without a check."""

    def packed(units):
        bits = sum(unit << (4 * i) for i, unit in enumerate(units))
        return np.concatenate([u8(len(units)), u8(*bits.to_bytes(-(-len(units) // 2), "little"))])

    header = {
        "format": "csb", "shape": [n, n], "dtype": "fp32", "block": [16, 16], "row_group": 1,
        "row_index": "list", "col_index": "list",
    }  # fmt: skip
    values = np.ones(len(row_units) * len(col_units), np.float32)
    arrays = {"values": values, "rows": packed(row_units), "cols": packed(col_units)}
    return matrix_from_arrays(header, arrays)


@pytest.mark.parametrize(
    ("row_units", "col_units", "message"),
    [
        ([5, 5], [1], "rows: the kept lines of a block must ascend"),
        ([1], [9, 8], "cols: the kept lines of a block must ascend"),
        ([], [1], "block 0 keeps lines of one axis but none of the other"),
    ],
)
def test_lines_out_of_order(row_units, col_units, message):
    assert lines([5, 6], [1]).kept == 2
    with pytest.raises(FormatError, match=message):
        lines(row_units, col_units)


def test_line_outside_a_ragged_block():
    header = CSBMatrix.from_dense(place((9, 9), [(0, 8)]), (16, 16)).header()
    arrays = {"values": np.ones(1, "f4"), "rows": u8(1, 0), "cols": u8(1, 9)}
    with pytest.raises(FormatError, match="cols: a kept line lies outside its block"):
        matrix_from_arrays(header | {"row_index": "list", "col_index": "list"}, arrays)


def test_huge_sizes_allocate_nothing_much():
    # The largest row group, on few rows, must not expand to the group's nominal height.
    weight = np.ones((3, 2), np.float32)
    matrix = reread(CSBMatrix.from_dense(weight, (2**24, 2**24), 2**24))
    assert matrix.rows.tolist() == [0, 1, 2]
    np.testing.assert_array_equal(matrix.to_dense(), weight)
    assert Blocking((3, 2), (2**24, 2**24), 2**24).tile == (3, 2)
