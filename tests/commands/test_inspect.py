"""What inspect says of matrices in each format."""

import io
import json

import numpy as np
import pytest

from csbrnn.commands.inspect import inspect_model
from csbrnn.formats import (
    BSRMatrix,
    CirculantMatrix,
    CSBMatrix,
    CSRMatrix,
    DenseMatrix,
    SparseBanksMatrix,
)
from csbrnn.model import Features, Linear, PackedModel


def sparse(rows, cols):
    weight = np.zeros((rows, cols), np.float32)
    weight[::2, ::4] = 1
    return weight


MATRICES = {
    "a": (DenseMatrix(np.ones((8, 8), np.float32)), "dense", 1),
    "b": (CSRMatrix.from_dense(sparse(8, 8), 3), "csr gap_bits=3", 8),
    "c": (SparseBanksMatrix.from_dense(sparse(8, 8), 4), "sparse_banks 1 of 4", 4),
    "d": (BSRMatrix.from_dense(np.tril(np.ones((8, 8), np.float32), -4), (4, 4)), "bsr 4x4", 4),
    "e": (
        CirculantMatrix.from_dense(np.ones((8, 8), np.float32), 4),
        "block_circulant 4",
        4,
    ),
}


@pytest.fixture
def model():
    layers, source = [], "input"
    for name, (matrix, _, _) in MATRICES.items():
        layers.append(Linear(name, (source,), matrix))
        source = name
    return PackedModel(tuple(layers), Features(8), source)


def test_every_format_is_named_with_its_parameters(model):
    rows = {row.name: row for row in inspect_model(model).matrices}
    for name, (matrix, text, rate) in MATRICES.items():
        row = rows[f"{name}/weight"]
        assert (row.pattern, row.pruning_rate) == (text, rate)
        assert (row.kept, row.nbytes, row.index_bits) == (
            matrix.kept,
            matrix.nbytes,
            matrix.index_bits,
        )
        assert (row.blocks is None) == (name != "d")


def test_a_model_of_which_nothing_is_left_has_no_rate(tmp_path):
    matrix = CSBMatrix.from_dense(np.zeros((8, 8), np.float32), (4, 4))
    inspection = inspect_model(PackedModel((Linear("l", ("input",), matrix),), Features(8), "l"))
    assert json.loads(json.dumps(inspection.to_dict(), allow_nan=False))["pruning_rate"] is None
    assert inspection.sizes().columns[2].footer == "-"


def test_the_tables_show_them(model):
    from rich.console import Console

    inspection = inspect_model(model)
    file = io.StringIO()
    Console(width=80, file=file).print(inspection.sizes(), inspection.balance())
    text = file.getvalue()
    for _, layout, _ in MATRICES.values():
        assert layout in text
    # Without the dense one: 4 x 64 weights of which 8 + 16 + 16 + 16 are stored.
    assert f"{4 * 64 / 56:.1f}x" in text
