"""The ladder's third rung: images against the fixed-point interpreter, bit for bit."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from csbrnn.accelerator import (
    Simulator,
    compile_model,
    compile_step,
    fixed_step,
    host_input,
    host_output,
    run_fixed,
    run_image,
)
from csbrnn.cells import CELLS, LSTM, Stack
from csbrnn.errors import ArgumentError
from csbrnn.formats import DenseMatrix
from csbrnn.model import Activation, Combine, Features, Linear, PackedModel, Recurrent

from .models import ARCH, ARCHES, cell_model, features, random_matrix


def check(model, arch, xs, **options):
    step = fixed_step(model, arch, input_range=4)
    compiled = compile_step(step, arch, **options)
    got = host_output(step, run_image(compiled.image, host_input(step, xs)))
    np.testing.assert_array_equal(got, run_fixed(step, arch, xs))
    return compiled


@pytest.mark.parametrize("arch", ARCHES.values(), ids=ARCHES)
@pytest.mark.parametrize("cell", CELLS)
def test_every_cell_on_every_shape_of_machine(arch, cell):
    rng = np.random.default_rng(0)
    model = cell_model(rng, cell, layers=2, outputs=5, block=(4, 3), row_group=2)
    check(model, arch, features(rng, 5))


@pytest.mark.parametrize("layers", [1, 2, 3, 4])
@pytest.mark.parametrize("cell", ["lstm", "gru_reset_before", "lstm_projection"])
def test_stages_take_the_halves_of_y_in_turn(cell, layers):
    rng = np.random.default_rng(layers)
    check(cell_model(rng, cell, layers=layers, hidden=8), ARCH, features(rng, 7))


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    cell=st.sampled_from(sorted(CELLS)),
    arch=st.sampled_from(sorted(ARCHES)),
    layers=st.integers(1, 2),
    size=st.integers(1, 9),
    hidden=st.integers(1, 19),
    outputs=st.integers(0, 4),
    block=st.none() | st.tuples(st.integers(1, 9), st.integers(1, 9)),
    density=st.floats(0, 1),
    balance=st.booleans(),
)
def test_random_models(seed, cell, arch, layers, size, hidden, outputs, block, density, balance):
    rng = np.random.default_rng(seed)
    hidden = max(hidden, 8) if "proj" in cell else hidden
    model = cell_model(
        rng,
        cell,
        size=size,
        hidden=hidden,
        layers=layers,
        outputs=outputs,
        block=block,
        density=density,
    )
    check(model, ARCHES[arch], features(rng, 3, size), balance=balance)


def test_several_block_sizes_in_one_program():
    rng = np.random.default_rng(1)
    stack = Stack(LSTM, 6, 16, num_layers=2)
    blocks = {"weight_ih_l0": (4, 6), "weight_hh_l0": (8, 16), "weight_ih_l1": (16, 4)}
    parameters = {
        name: random_matrix(rng, *shape, block=blocks.get(name))
        for name, shape in stack.parameter_shapes().items()
        if len(shape) == 2
    }
    model = PackedModel((Recurrent("rnn", ("input",), stack, parameters),), Features(6), "rnn")
    check(model, ARCH, features(rng, 6, 6))


def test_a_graph_of_layers():
    """Two stacks side by side, concatenated, added to, and an input that skips a layer."""
    rng = np.random.default_rng(2)
    stack = Stack(CELLS["gru"], 5, 6)
    parameters = [
        {
            name: random_matrix(rng, *shape)
            for name, shape in stack.parameter_shapes().items()
            if len(shape) == 2
        }
        for _ in range(2)
    ]
    model = PackedModel(
        (
            Recurrent("a", ("input",), stack, parameters[0]),
            Recurrent("b", ("input",), stack, parameters[1]),
            Combine("both", ("a", "b", "input"), "concatenate"),
            Linear("first", ("both",), random_matrix(rng, 6, 17)),
            Activation("bent", ("first",), "tanh"),
            Combine("sum", ("bent", "b"), "add"),
            Linear("out", ("sum",), random_matrix(rng, 3, 6), np.ones(3, np.float32)),
        ),
        Features(5),
        "out",
    )
    check(model, ARCH, features(rng, 6))


def test_runs_continue_where_they_ended():
    rng = np.random.default_rng(3)
    compiled = compile_model(cell_model(rng, "lstm", layers=3), ARCH)
    xs = host_input(compiled.step, features(rng, 7))
    whole = run_image(compiled.image, xs)
    simulator = Simulator(compiled.image)
    parts = [simulator.run(xs[:1]), simulator.run(xs[1:4]), simulator.run(xs[4:])]
    np.testing.assert_array_equal(np.concatenate(parts), whole)
    assert not simulator.y.any()  # everything was drained


@pytest.mark.parametrize(
    ("xs", "message"),
    [
        (np.zeros((0, 5), int), "at least one step"),
        (np.zeros((2, 4), int), r"shape \(steps, 5\)"),
        (np.zeros((2, 5)), "must hold integers in -32768..32767"),
        (np.full((2, 5), 40000), "must hold integers in"),
    ],
)
def test_inputs_that_don_t_fit(xs, message):
    compiled = compile_model(cell_model(np.random.default_rng(0), "rnn_tanh"), ARCH)
    with pytest.raises(ArgumentError, match=message):
        run_image(compiled.image, xs)


def test_outputs_that_are_parts_of_the_model_s():
    rng = np.random.default_rng(4)
    stack = Stack(CELLS["rnn_tanh"], 5, 6)
    parameters = {
        name: random_matrix(rng, *shape)
        for name, shape in stack.parameter_shapes().items()
        if len(shape) == 2
    }
    model = PackedModel(
        (
            Recurrent("a", ("input",), stack, parameters),
            Linear("b", ("a",), DenseMatrix(np.eye(4, 6, dtype=np.float32))),
            Combine("both", ("b", "a"), "concatenate"),
        ),
        Features(5),
        "both",
    )
    compiled = check(model, ARCH, features(rng, 5))
    assert len(compiled.image.outputs) == 2


def test_the_rivals_formats():
    """Each of the rivals' formats runs, and multiplies what it keeps."""
    from csbrnn.formats import BSRMatrix, CirculantMatrix, CSRMatrix

    rng = np.random.default_rng(5)
    sparse = rng.normal(0, 0.5, (12, 12)).astype(np.float32) * (rng.random((12, 12)) < 0.3)
    full = rng.normal(0, 0.5, (12, 12)).astype(np.float32)
    blocks = full * np.kron(rng.random((3, 3)) < 0.5, np.ones((4, 4), bool))
    matrices = [
        (CSRMatrix.from_dense(sparse), np.count_nonzero(sparse)),
        (BSRMatrix.from_dense(blocks, (4, 4)), None),
        (DenseMatrix(sparse), 144),
    ]
    circulant = np.stack([np.roll(np.arange(4), k) for k in range(4)]).astype(np.float32) / 8
    matrices.append((CirculantMatrix.from_dense(np.tile(circulant, (3, 3)), 4), 144))
    for matrix, kept in matrices:
        model = PackedModel((Linear("l", ("input",), matrix),), Features(12), "l")
        compiled = check(model, ARCH, features(rng, 3, 12))
        assert compiled.image.kept == (matrix.kept if kept is None else kept)
