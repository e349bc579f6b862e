from dataclasses import replace

import numpy as np
import pytest

from csbrnn.accelerator import fixed_step
from csbrnn.accelerator.baselines import baselines, lock_step_cycles
from csbrnn.bench import Layout
from csbrnn.bench.cases import random_model
from csbrnn.cells import LSTM, Stack
from csbrnn.formats import CSBMatrix, DenseMatrix
from csbrnn.model import Features, Linear, PackedModel

from .models import ARCH

#: Four groups as 2 x 2, of 4 PEs as 2 x 2.
SQUARE = replace(ARCH, streams=2)


def linear(weight, block):
    matrix = DenseMatrix(weight) if block is None else CSBMatrix.from_dense(weight, block)
    model = PackedModel((Linear("l", ("input",), matrix),), Features(weight.shape[1]), "l")
    return fixed_step(model, SQUARE)


def test_lock_step_waits_for_the_largest_block():
    weight = np.zeros((8, 8), np.float32)
    weight[:4, :4] = 1  # 4 tiles of 2 x 2
    weight[:2, 4:6] = 1  # 1 tile
    step = linear(weight, (4, 4))
    assert lock_step_cycles(step, SQUARE, sharing=False) == 4
    # The full block's 4 tiles go to itself and its two neighbours: ceil(4 / 3). All 5 tiles of the
    # upper row have four groups that can help.
    assert lock_step_cycles(step, SQUARE, sharing=True) == 2


def test_rounds_follow_each_other():
    weight = np.zeros((16, 8), np.float32)
    weight[0, 0] = weight[8, 0] = 1
    step = linear(weight, (4, 4))
    assert lock_step_cycles(step, SQUARE, sharing=False) == 2


def test_a_dense_matrix_keeps_every_pe_busy():
    step = linear(np.ones((64, 64), np.float32), None)
    assert lock_step_cycles(step, SQUARE, sharing=False) == 64 * 64 // 16


def test_tiles_are_rounded_up():
    weight = np.zeros((8, 8), np.float32)
    weight[:3, :3] = 1
    assert lock_step_cycles(linear(weight, (4, 4)), SQUARE, sharing=False) == 4


def test_a_matrix_that_several_products_read_counts_for_each():
    matrix = DenseMatrix(np.ones((64, 64), np.float32))
    layers = (Linear("a", ("input",), matrix), Linear("b", ("a",), matrix))
    step = fixed_step(PackedModel(layers, Features(64), "b"), SQUARE)
    assert lock_step_cycles(step, SQUARE, sharing=False) == 2 * 64 * 64 // 16
    assert baselines(step, SQUARE)["lock_step"]["utilization"] == 1


def test_a_network_without_weights_left():
    found = baselines(linear(np.zeros((8, 8), np.float32), (4, 4)), SQUARE)
    assert found["lock_step"] | {"what": ""} == {"cycles": 0, "utilization": 0.0, "what": ""}
    assert {name: other["what"] for name, other in found.items()} == {
        "lock_step": "products alone, at best",
        "lock_step_neighbours": "products alone, at best",
        "unbalanced": "the whole step",
    }


def test_all_of_them_on_one_network():
    model = random_model(Stack(LSTM, 32, 128), Layout((16, 16)), 8.0)
    step = fixed_step(model, SQUARE)
    found = baselines(step, SQUARE)
    assert found["lock_step_neighbours"]["cycles"] < found["lock_step"]["cycles"]
    for other in found.values():
        assert other["utilization"] == step.kept / (SQUARE.pes * other["cycles"]) < 1
    many = replace(SQUARE, groups=32, x_write=4)
    assert baselines(step, many)["lock_step_neighbours"]["cycles"] is None


@pytest.mark.parametrize("block", [(4, 4), (8, 2)])
def test_no_machine_is_faster_than_its_pes(block):
    rng = np.random.default_rng(0)
    weight = rng.normal(0, 1, (30, 29)).astype(np.float32) * (rng.random((30, 29)) < 0.3)
    step = linear(weight, block)
    for sharing in (False, True):
        assert lock_step_cycles(step, SQUARE, sharing=sharing) * SQUARE.pes >= step.kept
