"""Tiny models that between them have every layer, format, index encoding and kind of input."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from csbrnn.cells import CELLS, Stack
from csbrnn.formats import (
    BSRMatrix,
    CirculantMatrix,
    CSBMatrix,
    CSRMatrix,
    DenseMatrix,
    Matrix,
    SparseBanksMatrix,
)
from csbrnn.model import (
    Activation,
    Combine,
    Embedding,
    Features,
    Linear,
    PackedModel,
    Recurrent,
    Tokens,
    quantize,
)


def weight(rng: np.random.Generator, rows: int, cols: int, density: float = 1.0) -> NDArray[Any]:
    values = rng.standard_normal((rows, cols)).astype(np.float32)
    return values * (rng.random((rows, cols)) < density)


def stripes(rng: np.random.Generator, rows: int, cols: int, group: int) -> CSBMatrix:
    values = weight(rng, rows, cols)
    for top in range(0, rows, group):
        values[top : top + group, rng.random(cols) < 0.7] = 0
    return CSBMatrix.from_dense(values, (group, 4), group)


def free(rng: np.random.Generator, rows: int, cols: int, block: tuple[int, int]) -> CSBMatrix:
    values = weight(rng, rows, cols)
    for top in range(0, rows, block[0]):
        for left in range(0, cols, block[1]):
            tile = values[top : top + block[0], left : left + block[1]]
            tile[rng.random(tile.shape[0]) < 0.5] = 0
            tile[:, rng.random(tile.shape[1]) < 0.5] = 0
    return CSBMatrix.from_dense(values, block)


def recurrent(
    rng: np.random.Generator, name: str, source: str, stack: Stack, pack: Any
) -> Recurrent:
    parameters: dict[str, Any] = {}
    for parameter, shape in stack.parameter_shapes().items():
        if len(shape) == 2:
            parameters[parameter] = pack(rng, *shape)
        else:
            parameters[parameter] = rng.standard_normal(shape).astype(np.float32)
    return Recurrent(name, (source,), stack, parameters)


def language_model() -> PackedModel:
    """Tokens -> embedding -> LSTM in stripes -> linear -> log softmax."""
    rng = np.random.default_rng(1)
    stack = Stack(CELLS["lstm"], 5, 6)
    return PackedModel(
        layers=(
            Embedding("embedding", ("input",), DenseMatrix(weight(rng, 7, 5))),
            recurrent(rng, "lstm", "embedding", stack, lambda *a: stripes(*a, 4)),
            Linear("head", ("lstm",), free(rng, 7, 6, (3, 6)), np.ones(7, np.float32)),
            Activation("log_probabilities", ("head",), "log_softmax"),
        ),
        input=Tokens(7),
        output="log_probabilities",
        metadata={"vocabulary": list("abcdé\n\0")},
        provenance={"pattern": {"name": "csb", "block": [4, 4]}, "loss": 1.5},
    )


def branching_model() -> PackedModel:
    """Features -> two layers of bidirectional GRU, added and multiplied with a linear branch."""
    rng = np.random.default_rng(2)
    gru = Stack(CELLS["gru"], 3, 4, num_layers=2, bidirectional=True)
    blocks = CSBMatrix.from_dense(np.kron(np.eye(4, 2), np.ones((2, 2))).astype("f4"), (2, 2))
    return PackedModel(
        layers=(
            recurrent(rng, "gru", "input", gru, lambda *a: free(*a, (4, 2))),
            Linear("skip", ("input",), DenseMatrix(weight(rng, 8, 3)), None),
            Combine("sum", ("gru", "skip"), "add"),
            Combine("product", ("sum", "gru"), "multiply"),
            Combine("both", ("product", "skip", "input"), "concatenate"),
            Activation("squashed", ("both",), "sigmoid"),
            Linear("down", ("squashed",), CSBMatrix.from_dense(weight(rng, 4, 19, 0.2), (1, 8))),
            Linear("out", ("down",), CSBMatrix.from_dense(np.ones((3, 4), "f4"), (2, 2))),
            Linear("blocks", ("down",), blocks),
        ),
        input=Features(3),
        output="blocks",
    )


def elman_model() -> PackedModel:
    """One Elman layer, its weights all pruned; the smallest file to mutate."""
    stack = Stack(CELLS["rnn_tanh"], 2, 3)
    zeros: Mapping[str, Matrix] = {
        name: CSBMatrix.from_dense(np.zeros(shape, np.float32), (2, 2), 2)
        for name, shape in stack.parameter_shapes().items()
        if len(shape) == 2
    }
    return PackedModel((Recurrent("rnn", ("input",), stack, zeros),), Features(2), "rnn")


def gaps_model() -> PackedModel:
    """Scattered lines, their places stored as gaps: of both axes, of columns, and of blocks."""
    rng = np.random.default_rng(4)
    both = free(rng, 7, 9, (3, 4))
    striped = np.kron(weight(rng, 2, 80, 0.2), np.ones((4, 1), "f4"))
    columns = CSBMatrix.from_dense(striped, (4, 64), 4)
    blocks = BSRMatrix.from_dense(np.kron(weight(rng, 4, 30, 0.2), np.ones((2, 1), "f4")), (2, 1))
    return PackedModel(
        layers=(
            Linear("both", ("input",), replace(both, row_index="gaps", col_index="gaps")),
            Linear("wide", ("both",), DenseMatrix(weight(rng, 80, 7))),
            Linear("columns", ("wide",), replace(columns, col_index="gaps")),
            Linear("thirty", ("columns",), DenseMatrix(weight(rng, 30, 8))),
            Linear("blocks", ("thirty",), replace(blocks, grid=replace(blocks.grid, index="gaps"))),
        ),
        input=Features(9),
        output="blocks",
    )


def int8_model() -> PackedModel:
    """The language model in int8, embedding included, one matrix with a static activation scale."""
    model = quantize(language_model(), "int8", include=["*"])
    return replace(model, activation_scales={"lstm/weight_hh_l0": 2.0**-7})


def bf16_model() -> PackedModel:
    """The branching model in bf16, but for one matrix in int8 and one left in fp32."""
    model = quantize(branching_model(), "bf16", keep_fp32=["skip/*"])
    return quantize(model, "int8", include=["down/weight"])


def circulant(rng: np.random.Generator, rows: int, cols: int, block: int) -> CirculantMatrix:
    """About half of its blocks."""
    down, across = -(-rows // block), -(-cols // block)
    vectors = rng.standard_normal((down, across, block)) * (rng.random((down, across, 1)) < 0.6)
    turn = (np.arange(block)[:, None] - np.arange(block)) % block
    whole = vectors[..., turn].transpose(0, 2, 1, 3).reshape(down * block, across * block)
    return CirculantMatrix.from_dense(whole[:rows, :cols].astype(np.float32), block)


def rivals_model() -> PackedModel:
    """Every format but CSB, ragged: a GRU of CSR, then linear layers of the others."""
    rng = np.random.default_rng(3)
    gru = Stack(CELLS["gru"], 3, 6)
    banked, blocked = weight(rng, 5, 6, 0.3), np.kron(weight(rng, 2, 3, 0.6), np.ones((4, 2)))
    return PackedModel(
        layers=(
            recurrent(rng, "gru", "input", gru, lambda *a: CSRMatrix.from_dense(weight(*a, 0.3))),
            Linear("banks", ("gru",), SparseBanksMatrix.from_dense(banked, 4), None),
            Linear("bsr", ("banks",), BSRMatrix.from_dense(blocked[:7, :5].astype("f4"), (4, 2))),
            Linear("circulant", ("bsr",), circulant(rng, 6, 7, 4), np.ones(6, np.float32)),
            Linear("steps", ("circulant",), CSRMatrix.from_dense(weight(rng, 3, 6, 0.4), 1)),
        ),
        input=Features(3),
        output="steps",
    )


def mixed_rivals_model() -> PackedModel:
    """The same in int8, but for one matrix in bf16."""
    model = quantize(rivals_model(), "bf16", include=["bsr/*"])
    return quantize(model, "int8", keep_fp32=["bsr/*"])


MODELS = {
    "language": language_model,
    "branching": branching_model,
    "elman": elman_model,
    "int8": int8_model,
    "bf16": bf16_model,
    "rivals": rivals_model,
    "mixed rivals": mixed_rivals_model,
    "gaps": gaps_model,
}
