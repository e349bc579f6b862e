"""Models and small machines for the accelerator's tests."""

from dataclasses import replace

import numpy as np

from csbrnn.accelerator import Arch
from csbrnn.cells import CELLS, Stack
from csbrnn.formats import CSBMatrix, DenseMatrix
from csbrnn.model import Features, Linear, PackedModel, Recurrent

#: Large enough for the models below, and small enough to be followed by hand.
ARCH = Arch(
    "small",
    groups=4,
    streams=3,
    lanes=2,
    x_write=2,
    words=4096,
    strips=2048,
    x=512,
    y=256,
    vector=1024,
    program=128,
)

#: Machines of other shapes.
ARCHES = {
    "small": ARCH,
    "one": replace(
        ARCH, name="one", groups=1, streams=1, lanes=1, x_write=1, words=16384, strips=8192
    ),
    "wide": replace(ARCH, name="wide", groups=2, streams=2, lanes=4, x_write=1, acc_bits=40),
    "coarse": replace(
        ARCH, name="coarse", weight_bits=12, vector_bits=18, segments=64, max_shift=0
    ),
    "eight": replace(ARCH, name="eight", groups=8, streams=1, lanes=8, x_write=8, max_shift=7),
}


def random_matrix(rng, rows, cols, *, block=None, row_group=1, density=0.4, scale=0.5):
    """Dense without a block, else compressed structured blocks."""
    weight = rng.normal(0, scale, (rows, cols)).astype(np.float32)
    if block is None:
        return DenseMatrix(weight)
    mask = np.zeros((rows, cols), bool)
    for top in range(0, rows, block[0]):
        for left in range(0, cols, block[1]):
            tile = mask[top : top + block[0], left : left + block[1]]
            groups = -(-tile.shape[0] // row_group)
            keep_rows = np.repeat(rng.random(groups) < density**0.5, row_group)[: tile.shape[0]]
            tile[:] = keep_rows[:, None] & (rng.random(tile.shape[1]) < density**0.5)
    return CSBMatrix.from_dense(weight * mask, block, row_group)


def cell_model(rng, cell, *, size=5, hidden=12, layers=1, outputs=0, **pattern):
    """A stack of one of the built-in cells, perhaps with a linear layer on top."""
    stack = Stack(
        CELLS[cell], size, hidden, num_layers=layers, proj_size=7 if "proj" in cell else 0
    )
    scale = 0.2 if "relu" in cell or cell == "ligru" else 0.5
    parameters = {
        name: random_matrix(rng, *shape, scale=scale, **pattern)
        if len(shape) == 2
        else rng.normal(0, 0.3, shape).astype(np.float32)
        for name, shape in stack.parameter_shapes().items()
    }
    found = [Recurrent("rnn", ("input",), stack, parameters)]
    if outputs:
        weight = random_matrix(rng, outputs, 7 if "proj" in cell else hidden)
        bias = rng.normal(0, 0.3, outputs).astype(np.float32)
        found.append(Linear("out", ("rnn",), weight, bias))
    return PackedModel(tuple(found), Features(size), found[-1].name)


def features(rng, steps, size=5):
    return np.clip(rng.normal(0, 1, (steps, size)), -4, 4).astype(np.float32)
