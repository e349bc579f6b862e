import numpy as np
import pytest

from csbrnn.accelerator import fixed_step
from csbrnn.accelerator.plan import plan
from csbrnn.cells import CELLS, LSTM, Cell, Stack
from csbrnn.cells.cell import gated_parameters
from csbrnn.compiler import lower
from csbrnn.errors import UnsupportedModelError
from csbrnn.formats import DenseMatrix
from csbrnn.model import Activation, Combine, Features, Linear, PackedModel, Recurrent

from .models import ARCH, cell_model, random_matrix


@pytest.mark.parametrize(
    ("cell", "operations"),
    [
        ("rnn_tanh", 1),
        ("rnn_relu", 1),
        ("lstm", 5),
        ("lstm_projection", 6),
        ("lstm_peephole", 8),
        ("gru", 5),
        ("gru_reset_before", 5),
        ("ligru", 3),
    ],
)
def test_how_many_vector_operations_a_cell_takes(cell, operations):
    step = fixed_step(cell_model(np.random.default_rng(0), cell), ARCH)
    assert len(step.operations) == operations


def test_fused_programs_are_refused():
    program = lower(cell_model(np.random.default_rng(0), "lstm"), fuse=True)
    with pytest.raises(UnsupportedModelError, match="LSTMGates: lower the model with fuse=False"):
        plan(program)


def test_bidirectional_models_are_refused():
    rng = np.random.default_rng(0)
    stack = Stack(LSTM, 3, 4, bidirectional=True)
    parameters = {
        name: random_matrix(rng, *shape)
        for name, shape in stack.parameter_shapes().items()
        if len(shape) == 2
    }
    model = PackedModel((Recurrent("rnn", ("input",), stack, parameters),), Features(3), "rnn")
    with pytest.raises(UnsupportedModelError, match="bidirectional"):
        fixed_step(model, ARCH)


def test_all_reasons_at_once():
    rng = np.random.default_rng(0)
    cell = Cell(
        name="odd",
        states={"h": "hidden"},
        parameters=gated_parameters("h"),
        equations="h_next = exp(W_ih @ x + b_ih + W_hh @ h + b_hh) / abs(h)",
    )
    stack = Stack(cell, 4, 4)
    parameters = {
        name: random_matrix(rng, *shape)
        for name, shape in stack.parameter_shapes().items()
        if len(shape) == 2
    }
    model = PackedModel(
        (
            Recurrent("rnn", ("input",), stack, parameters),
            Combine("sum", ("rnn", "input"), "add"),
            Activation("share", ("sum",), "softmax"),
            Linear("out", ("share",), DenseMatrix(np.eye(4, dtype=np.float32))),
        ),
        Features(4),
        "out",
    )
    with pytest.raises(UnsupportedModelError) as error:
        fixed_step(model, ARCH)
    text = str(error.value)
    for part in (
        "the vector engine has no abs, div, exp",
        "its input is used element-wise",
        "softmax is computed by the host",
    ):
        assert part in text


@pytest.mark.parametrize(
    "equations",
    [
        "h_next = tanh(W_ih @ x + b_ih + W_hh @ h + b_hh) - h",
        "h_next = -tanh(W_ih @ x + b_ih + W_hh @ h + b_hh) * 0.5",
        "s = W_ih @ x + b_ih\n t = W_hh @ h + b_hh\n h_next = sigmoid(s) * t + tanh(s) * 0.25 - t",
        "z = sigmoid(W_ih @ x + b_ih + h)\n h_next = z * h + (1 - z) * tanh(W_hh @ h + b_hh + z)",
        "h_next = 0.5 * (h - tanh(W_ih @ x)) + 0.25 * relu(W_hh @ h)",
    ],
)
def test_cells_of_one_s_own(equations):
    from csbrnn.accelerator import run_fixed
    from csbrnn.model import run_reference

    rng = np.random.default_rng(3)
    cell = Cell(
        name="own",
        states={"h": "hidden"},
        parameters=gated_parameters("h"),
        equations="\n".join(line.strip() for line in equations.splitlines()),
    )
    stack = Stack(cell, 4, 6)
    parameters = {
        name: random_matrix(rng, *shape, scale=0.3)
        if len(shape) == 2
        else rng.normal(0, 0.3, shape).astype(np.float32)
        for name, shape in stack.parameter_shapes().items()
    }
    model = PackedModel((Recurrent("rnn", ("input",), stack, parameters),), Features(4), "rnn")
    xs = rng.uniform(-1, 1, (6, 4))
    step = fixed_step(model, ARCH, input_range=1)
    # Six steps of rounding errors; see test_interpreter.
    np.testing.assert_allclose(run_fixed(step, ARCH, xs), run_reference(model, xs)[0], atol=5e-3)


def test_cells_that_share_values_are_drained_once():
    for cell in CELLS:
        step = fixed_step(cell_model(np.random.default_rng(0), cell, layers=2), ARCH)
        drained = [o.sum for o in step.operations if o.sum is not None]
        assert len(drained) == len(set(drained))
        rows = sum(part.length for part in drained)
        assert rows == sum(step.sum_sizes.values())
