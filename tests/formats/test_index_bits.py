"""The last column of the table of formats in docs/spec/format.md."""

import re
from pathlib import Path

import numpy as np
import pytest

from csbrnn.formats import (
    BSRMatrix,
    CirculantMatrix,
    CSBMatrix,
    CSRMatrix,
    DenseMatrix,
    SparseBanksMatrix,
)

SPEC = (Path(__file__).parents[2] / "docs" / "spec" / "format.md").read_text(encoding="utf-8")
SIZE = 1024


def stated():
    table = SPEC.partition("## What an index takes")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| (.*?) \| .* \| ([0-9.]+)[^|]*\|$", table, re.MULTILINE)
    return {name.replace("`", ""): float(bits) for name, bits in rows}


def weight():
    return np.ones((SIZE, SIZE), np.float32)


def columns_of(rows, width):
    """One column in eight of each stripe of so many rows, the same number in each block."""
    rng = np.random.default_rng(0)
    keep = rng.random((SIZE // rows, SIZE // width, width)).argsort(2) < width // 8
    return np.repeat(keep.reshape(SIZE // rows, SIZE), rows, axis=0).astype(np.float32)


def blocks_of(size):
    keep = np.random.default_rng(0).random((SIZE // size, SIZE // size)) < 1 / 8
    return np.kron(keep, np.ones((size, size))).astype(np.float32)


def free_blocks():
    """Of each block of 32 x 32, 11 or 12 rows and columns at random."""
    rng = np.random.default_rng(0)
    whole = np.zeros((SIZE, SIZE), np.float32)
    for top in range(0, SIZE, 32):
        for left in range(0, SIZE, 32):
            rows, cols = (rng.permutation(32)[: rng.integers(11, 13)] for _ in range(2))
            whole[np.ix_(top + rows, left + cols)] = 1
    return whole


CASES = {
    "dense": lambda: DenseMatrix(weight()),
    "csb 32x32, free rows": lambda: CSBMatrix.from_dense(free_blocks(), (32, 32)),
    "csb stripes of 4 rows (block [4, 64], row_group 4)": lambda: CSBMatrix.from_dense(
        columns_of(4, 64), (4, 64), 4
    ),
    "csb stripes of 16 rows": lambda: CSBMatrix.from_dense(columns_of(16, 64), (16, 64), 16),
    "csr": lambda: CSRMatrix.from_dense(blocks_of(1)),
    "sparse_banks of 64": lambda: SparseBanksMatrix.from_dense(columns_of(1, 64), 64),
    "sparse_banks 1 of 8": lambda: SparseBanksMatrix.from_dense(columns_of(1, 8), 8),
    "bsr 4x4": lambda: BSRMatrix.from_dense(blocks_of(4), (4, 4)),
    "bsr 16x16": lambda: BSRMatrix.from_dense(blocks_of(16), (16, 16)),
    "block_circulant 8": lambda: CirculantMatrix.from_dense(weight(), 8),
}


def test_the_table_has_these_rows():
    assert list(stated()) == list(CASES)


@pytest.mark.parametrize("name", CASES)
def test_index_bits_are_as_stated(name):
    matrix = CASES[name]()
    assert matrix.index_bits / matrix.kept == pytest.approx(stated()[name], rel=0.06, abs=0.005)
