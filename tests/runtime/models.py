"""Programs and matrices for the runtime's tests, and the comparison with their definition."""

import numpy as np

from csbrnn.cells import CELLS, Stack
from csbrnn.compiler import lower, run_program
from csbrnn.formats import CSBMatrix, DenseMatrix
from csbrnn.model import (
    Activation,
    Combine,
    Embedding,
    Features,
    Linear,
    PackedModel,
    Recurrent,
    Tokens,
)
from csbrnn.runtime import Engine, build_image, layout

EPSILON = 2.0**-24


def csb(rng, rows, columns, block, row_group, density):
    """A random CSB matrix: in each block, about sqrt(density) of row groups and of columns."""
    weight = rng.uniform(-1, 1, (rows, columns)).astype(np.float32)
    # A block as high as its group keeps all of its rows.
    share = density if block[0] == row_group else density**0.5
    for top in range(0, rows, block[0]):
        for left in range(0, columns, block[1]):
            tile = weight[top : top + block[0], left : left + block[1]]
            if block[0] != row_group:
                groups = rng.random(-(-tile.shape[0] // row_group)) >= share
                tile[np.repeat(groups, row_group)[: tile.shape[0]]] = 0
            tile[:, rng.random(tile.shape[1]) >= share] = 0
    return CSBMatrix.from_dense(weight, block, row_group)


def dense(rng, rows, columns):
    return DenseMatrix(rng.uniform(-1, 1, (rows, columns)).astype(np.float32))


def recurrent(rng, cell, name="rnn", source="input", *, make=dense, scale=0.3, **sizes):
    """A layer whose sums stay of order one, whatever its size."""
    stack = Stack(cell, proj_size=max(sizes["hidden_size"] - 1, 1) * ("proj" in cell.dimensions),
                  **sizes)  # fmt: skip
    parameters = {}
    for key, shape in stack.parameter_shapes().items():
        if len(shape) == 2:
            matrix = make(rng, *shape)
            factor = np.float32(scale / np.sqrt(max(matrix.kept / shape[0], 1)) * 2)
            weight = matrix.to_dense() * factor
            parameters[key] = (
                CSBMatrix.from_dense(weight, matrix.block, matrix.row_group)
                if isinstance(matrix, CSBMatrix)
                else DenseMatrix(weight)
            )
        else:
            parameters[key] = rng.uniform(-0.5, 0.5, shape).astype(np.float32)
    return Recurrent(name, (source,), stack, parameters)


def model(rng, cell=CELLS["lstm"], **options):
    layer = recurrent(rng, cell, **{"input_size": 5, "hidden_size": 20} | options)
    return PackedModel((layer,), Features(layer.stack.input_size), "rnn")


def language_model(rng, head="log_softmax", vocabulary=37, hidden=24):
    """Tokens, embedding, GRU, linear, (log) softmax."""
    return PackedModel(
        (
            Embedding("embedding", ("input",), dense(rng, vocabulary, 9)),
            recurrent(rng, CELLS["gru"], "gru", "embedding", input_size=9, hidden_size=hidden),
            Linear("head", ("gru",), dense(rng, vocabulary, hidden), np.ones(vocabulary, "f4")),
            Activation("out", ("head",), head),
        ),
        Tokens(vocabulary),
        "out",
    )


def branching_model(rng):
    """Bidirectional layers and element-wise parts of several sources."""
    return PackedModel(
        (
            recurrent(
                rng,
                CELLS["lstm"],
                "a",
                input_size=6,
                hidden_size=19,
                bidirectional=True,
                num_layers=2,
            ),
            Linear("skip", ("input",), dense(rng, 38, 6), None),
            Combine("sum", ("a", "skip"), "add"),
            Combine("product", ("sum", "a"), "multiply"),
            Combine("all", ("product", "input"), "concatenate"),
            Activation("out", ("all",), "sigmoid"),
        ),
        Features(6),
        "out",
    )


def sequence(rng, program, steps, batch=()):
    stream = program.streams["input"]
    if stream.dtype == "int32":
        return rng.integers(0, stream.bound, (steps, *batch))
    return rng.uniform(-1, 1, (steps, *batch, stream.width)).astype(np.float32)


def random_state(rng, engine, batch=None):
    state = engine.initial_state(batch)
    for name, value in state.items():
        state[name] = rng.uniform(-0.9, 0.9, value.shape)
    return state


def assert_right(engine, rng, *, steps=4, batch=None, tolerance=2e-6):
    """Compares a sequence with the interpreter in float64.

    Sums of up to a few hundred terms of order one, rounded to fp32 (2^-24) in random directions:
    20 eps = 1.2e-6; gates contract errors.
    """
    xs = sequence(rng, engine.program, steps, () if batch is None else (batch,))
    state = random_state(rng, engine, batch)
    expected, after = run_program(engine.program, xs, dict(state))
    ys, got = engine(xs, state)
    assert ys.dtype == np.float32
    np.testing.assert_allclose(ys, expected, rtol=tolerance, atol=tolerance)
    assert list(got) == list(after)
    for name, value in after.items():
        np.testing.assert_allclose(got[name], value, rtol=tolerance, atol=tolerance)
    return ys


def kinds(program, isa="avx512_vnni"):
    """The kinds and groups of the sections that an image for an instruction set has."""
    image = build_image(program, isa=isa).data
    place = image[: layout.HEADER.itemsize].view(layout.HEADER)[0]["sections"]
    start = int(place["offset"])
    records = image[start : start + int(place["count"]) * layout.SECTION.itemsize]
    names = {v: k for k, v in layout.SECTION_KINDS.items()}
    return {(names[int(s["kind"])], int(s["group"])) for s in records.view(layout.SECTION)}


def engine_of(packed, **options):
    return Engine(lower(packed), **options)
