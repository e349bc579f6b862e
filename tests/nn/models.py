"""Packed models with random weights."""

from __future__ import annotations

import numpy as np

from csbrnn import cells
from csbrnn.cells import Stack
from csbrnn.formats import DenseMatrix
from csbrnn.model import (
    Activation,
    Combine,
    Embedding,
    Linear,
    PackedModel,
    Recurrent,
    Tokens,
)


def random_matrix(rng, *shape):
    return DenseMatrix(rng.uniform(-0.5, 0.5, shape).astype(np.float32))


def random_recurrent(rng, cell, *, input_size=3, inputs=("input",), name="rnn", **options):
    """A packed recurrent layer with random parameters."""
    proj_size = 3 if "proj" in cell.dimensions else 0
    stack = Stack(cell, input_size, 4, proj_size, **options)
    parameters = {
        name: random_matrix(rng, *shape)
        if len(shape) == 2
        else rng.uniform(-0.5, 0.5, shape).astype(np.float32)
        for name, shape in stack.parameter_shapes().items()
    }
    return Recurrent(name, inputs, stack, parameters)


def everything(rng) -> PackedModel:
    """Every kind of layer in one model, with names that torch modules can't have."""
    table = random_matrix(rng, 6, 3)
    rnn = random_recurrent(rng, cells.GRU, inputs=("net.emb",), name="net.rnn", num_layers=2)
    bias = rng.uniform(-1, 1, 4).astype(np.float32)
    return PackedModel(
        (
            Embedding("net.emb", ("input",), table),
            rnn,
            Linear("net_rnn", ("net.rnn",), random_matrix(rng, 4, 4), bias),
            Combine("sum", ("net.rnn", "net_rnn"), "add"),
            Activation("gate", ("net_rnn",), "sigmoid"),
            Combine("product", ("sum", "gate", "net.rnn"), "multiply"),
            Combine("output", ("product", "net.emb"), "concatenate"),
            Activation("forward", ("output",), "tanh"),
            Linear("head", ("forward",), random_matrix(rng, 3, 7)),
            Linear("tied", ("head",), table),
            Activation("y", ("tied",), "log_softmax"),
        ),
        Tokens(6),
        "y",
    )
