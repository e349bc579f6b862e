"""Sums of int8 products, which strips store, blocks add to, and gates of several layers share."""

import numpy as np
import pytest

from csbrnn.cells import CELLS
from csbrnn.compiler import lower, run_program
from csbrnn.formats import CSBMatrix
from csbrnn.model import Features, PackedModel, quantize
from csbrnn.runtime import Engine, available_isas

from . import models

#: (block, row group, density) of the matrices with the input, and of those with the state.
LAYERS = [
    (((16, 64), 16), ((64, 64), 1)),
    (((32, 32), 1), ((8, 64), 8)),
    (((4, 64), 4), ((4, 64), 4)),
    (((16, 64), 16), ((16, 64), 16)),
    (((16, 64), 16), ((64, 64), 1, 0.0)),
]


def half_empty(block, group, density=0.3):
    """Matrices of which every second group of 8 rows or so is empty, in runs of random lengths."""

    def make(rng, rows, columns):
        weight = models.csb(rng, rows, columns, block, group, density).to_dense()
        weight[np.repeat(rng.random(-(-rows // 8)) < 0.5, 8)[:rows]] = 0
        return CSBMatrix.from_dense(weight, block, group)

    return make


def layer(rng, cell, name, source, size, hidden, of_input, of_state):
    parts = [
        models.recurrent(rng, cell, name, source, make=half_empty(*of), scale=1.0,
                         input_size=size, hidden_size=hidden)
        for of in (of_input, of_state)
    ]  # fmt: skip
    parameters = {
        key: parts["hh" in key].parameters[key] for key in parts[0].stack.parameter_shapes()
    }
    return type(parts[0])(name, (source,), parts[0].stack, parameters)


@pytest.mark.parametrize("isa", available_isas())
@pytest.mark.parametrize("cell", ["lstm", "gru"])
@pytest.mark.parametrize("hidden", [20, 36, 64])
def test_layers_leave_nothing_to_one_another(hidden, cell, isa):
    """Heights that no strip divides, empty strips, and layers that keep their rows differently.

    A state's last bit may move its int8 operand by one step of 127: by some 1e-2 of an output.
    What a layer found of another's sums would be of order one.
    """
    rng = np.random.default_rng(hidden)
    sizes = [30, *[hidden] * len(LAYERS)]
    layers, source = [], "input"
    for k, (of_input, of_state) in enumerate(LAYERS):
        layers.append(
            layer(rng, CELLS[cell], f"l{k}", source, sizes[k], hidden, of_input, of_state)
        )
        source = f"l{k}"
    program = lower(quantize(PackedModel(tuple(layers), Features(30), source), "int8"))
    xs = rng.standard_normal((6, 30)).astype(np.float32)
    expected, _ = run_program(program, xs)
    first = Engine(program, 1, isa)(xs)[0]
    np.testing.assert_allclose(first, expected, atol=2e-2)
    for threads in (2, 3):
        np.testing.assert_array_equal(Engine(program, threads, isa)(xs)[0], first)
